import functools
import json
import operator
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_runs import KINDS, WITH_CARD, edit, edit_rows, make_run, wrong

from hf_transfer import RunConfig
from hf_transfer.cli.main import main
from hf_transfer.errors import ConfigError
from hf_transfer.runs.hub.files import collect
from hf_transfer.runs.records import Results
from hf_transfer.runs.schema import ShapeError, from_json
from hf_transfer.study.fold_runner import FoldRunner
from hf_transfer.verify.check import Check
from hf_transfer.verify.numbers import number_checks
from hf_transfer.verify.record import Record
from hf_transfer.verify.verify_run import verify_run


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_as_it_was_left_holds_together(runs, kind):
    checks = verify_run(runs(kind))
    assert not [check for check in checks if check.state == "wrong"]
    assert Counter(check.state for check in checks)["ok"] >= 13
    (card,) = [check for check in checks if check.name == "card"]
    assert card.state == ("ok" if kind in WITH_CARD else "not checked")


def publish(run, folder):
    """Copy what `push` would send."""
    for name, path in collect(run).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, folder / name)
    return folder


@pytest.mark.parametrize("kind", ["pictures", "words", "grid"])
def test_what_is_published_holds_together_under_another_name(runs, tmp_path, kind):
    checks = verify_run(publish(runs(kind), tmp_path / "snapshot"))
    states = {check.name: check.state for check in checks}
    assert "wrong" not in states.values()
    assert states["fold folders"] == "not checked"
    assert states.get("other configurations") == ("not checked" if kind == "grid" else None)


def test_published_weights_are_compared_with_those_of_the_run(runs, tmp_path):
    run = publish(runs("pictures"), tmp_path / "snapshot")
    (run / "model.safetensors").write_bytes(b"other weights")
    assert re.match(r"final\.sha256\.model\.safetensors: written '\w{64}', recomputed '\w{64}'$", wrong(run))


@pytest.mark.slow
def test_no_torch_is_needed(runs):
    code = (
        f"import sys; from hf_transfer.cli.main import main; code = main(['verify', {str(runs('text'))!r}]); "
        "sys.exit(code or 100 * ('torch' in sys.modules or 'transformers' in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=120).returncode == 0


# A configuration of the grid that another beats.
OTHER = "folds/lr0.1-wd0.1/r0f0/predictions.parquet"


def first_repeat(rows):
    return next(row for row in rows if row["fold"] >= 0)


def another_fold(rows):
    row = first_repeat(rows)
    row["fold"] = 1 - min(row["fold"], 1)


def other_label(rows):
    rows[0]["label"] = 1 - rows[0]["label"]


def other_logit(rows):
    rows[0]["logits"][0] += 1e-6


def other_class(rows):
    rows[0]["prediction"] = 1 - rows[0]["prediction"]


def other_tag(rows):
    row = rows[0]
    row["predictions"][0] = "O" if row["predictions"][0] != "O" else "B-PER"


def other_mention(rows):
    kind = next(iter(rows[0]["mentions"]))
    rows[0]["mentions"][kind] += 1


def swapped(rows):
    rows[0], rows[1] = rows[1], rows[0]


def doubled(rows):
    rows.append(rows[0])


@pytest.mark.parametrize(
    ("kind", "file", "change", "words"),
    [
        ("text", "folds.parquet", another_fold, [r"folds.parquet, column 'fold': row \d+ \(row_id \d+\)"]),
        (
            "groups",
            "folds.parquet",
            another_fold,
            [r"folds.parquet, column 'fold': row \d+ \(row_id k\d+\) written"],
        ),
        ("text", "folds.parquet", other_label, [r"column 'label': row \d+ .* written"]),
        (
            "words",
            "folds.parquet",
            other_mention,
            [r"predictions.parquet, r0f\d, column 'mentions': row \d+"],
        ),
        ("text", "folds.parquet", swapped, [r"folds_fingerprint: written '\w{64}', recomputed '\w{64}'"]),
        ("groups", "folds.parquet", list.pop, [r"folds.parquet: written 71 rows, recomputed 72"]),
        (
            "text",
            "predictions.parquet",
            other_logit,
            [
                r"folds.r0f0.readings\[0\].predictions: written",
                r"scores.log_loss.mean: written 0\.\d+",
            ],
        ),
        (
            "text",
            "predictions.parquet",
            other_class,
            [
                r"row 0 .*: prediction written \d, by its logits \d",
                r"folds.r0f0.scores.accuracy: written 0",
            ],
        ),
        ("text", "predictions.parquet", other_label, [r"column 'label': row 0 \(row_id \d+\)"]),
        (
            "words",
            "predictions.parquet",
            other_tag,
            [r"folds.r0f0.readings\[0\].predictions: written", r"folds.r0f0.scores.accuracy: written"],
        ),
        ("text", "predictions.parquet", swapped, [r"predictions of folds.r0f0, column 'row_id': row 0"]),
        (
            "text",
            "predictions.parquet",
            doubled,
            [r"predictions of folds.r0f0: written 13 rows, recomputed 12"],
        ),
        (
            "text",
            "predictions.parquet",
            list.pop,
            [r"predictions of folds.r0f2: written 11 rows, recomputed 12"],
        ),
        ("text", "predictions.parquet", list.clear, [r"^predictions.parquet: has no rows$"]),
        (
            "grid",
            OTHER,
            other_class,
            [r"grid\[3\].folds.r0f0.readings\[0\]", r"grid\[3\].scores.accuracy.mean: wri"],
        ),
        (
            "groups",
            "predictions.parquet",
            lambda rows: rows[0].update(unit=99),
            [r"column 'unit': row 0.* written 99"],
        ),
    ],
)
def test_an_altered_row_is_named(copy_of, kind, file, change, words):
    run = copy_of(kind)
    edit_rows(run, change, file)
    found = wrong(run)
    assert [one for one in words if not re.search(one, found, re.M)] == [], found


def put(path, value):
    """A change of the entry at a path such as `folds/0/seed`."""
    *inside, last = [int(part) if part.isdigit() else part for part in path.split("/")]

    def change(values):
        functools.reduce(operator.getitem, inside, values)[last] = value

    return change


# Each of these spoils a number of its own, so that one look must find them all.
OF_TEXT = [
    (put("scores/accuracy/mean", 0.99), r"^scores.accuracy.mean: written 0.99, recomputed 0\.\d+$"),
    (put("scores/accuracy/interval/0", 0.9), r"^scores.accuracy.interval\[0\]: written 0.9, rec"),
    (put("folds/1/scores/mcc", 0.9), r"^folds.r0f1.scores.mcc: written 0.9, recomputed"),
    (put("folds/1/num_valid", 13), r"^folds.r0f1.num_valid: written 13, recomputed 12$"),
    (put("folds/1/num_train", 23), r"^folds.r0f1.num_train: written 23, recomputed 24$"),
    (put("folds/1/seed", 1), r"^folds.r0f1.seed: written 1, recomputed \d+$"),
    (put("folds/1/readings/0/predictions", "0"), r"readings\[0\].predictions: written '0', recom"),
    (put("folds/1/readings/0/rows", 11), r"^folds.r0f1.readings\[0\].rows: written 11, recomputed"),
    (put("folds/1/seconds", 0.5), r"^folds.r0f1.seconds: 0.5 in results.json, .* in folds/r0f1/done.j"),
    (put("per_class/0/f1", 0.5), r"^per_class\[0\].f1: written 0.5, recomputed"),
    (put("confusion/0/0", 99), r"^confusion\[0\]\[0\]: written 99, recomputed \d+$"),
    (put("folds_fingerprint", "0"), r"^folds_fingerprint: written '0', recomputed '\w{64}'$"),
    (put("dataset/num_rows", 37), r"^dataset.num_rows: written 37, recomputed 36$"),
    (put("folds/0/frozen_hash_after", "0"), r"^frozen layers of r0f0: digest '0' after training, '\w"),
]
OF_ITS_SEED = [
    (put("config/seed", 4), r"^config.seed: 4 in results.json, 3 in config.yaml$"),
    (put("config/seed", 4), r"^folds.parquet, column 'fold': row"),
]
OF_PICTURES = [
    (put("final/num_rows", 41), r"^final.num_rows: written 41, recomputed 40$"),
    (put("final/sha256/model.safetensors", "0"), r"^final.sha256.model.safetensors: written '0',"),
]
OF_GRID = [
    (put("notes", []), r"^notes: lack 'Chosen from 4 configurations by accuracy"),
    (put("grid/2/scores/accuracy/mean", 1), r"^grid\[2\].scores.accuracy.mean: written 1, recom"),
    (put("grid/2/folds/1/scores/accuracy", 1), r"^grid\[2\].folds\[1\].scores.accuracy: written 1"),
]


@pytest.mark.parametrize(
    ("kind", "altered"),
    [("text", OF_TEXT), ("text", OF_ITS_SEED), ("pictures", OF_PICTURES), ("grid", OF_GRID)],
)
def test_altered_entries_of_the_results_are_all_named(copy_of, kind, altered):
    run = copy_of(kind)
    for change, _ in altered:
        edit(run, change)
    found = wrong(run)
    assert [words for _, words in altered if not re.search(words, found, re.M)] == [], found


@pytest.mark.parametrize(
    ("kind", "change", "words"),
    [
        (
            "text",
            put("scores/luck", {"mean": 1.0}),
            r"^files: .*results.json is not as a run writes it: scores.luck lacks 'std', ",
        ),
        (
            "text",
            lambda results: results["folds"][1].update(seed=results["folds"][1]["seed"] + 0.01),
            r"^files: .*results.json is not as .*: folds\[1\].seed is \d+\.01, not a whole number\.",
        ),
        (
            "text",
            put("folds/1/status", "failed"),
            r"^predictions of folds.r0f1: written 12 rows, recomputed 0$",
        ),
        (
            "text",
            put("folds/1/readings", []),
            r"^folds.r0f1: its held-out rows were read 0 times by the ledger",
        ),
        ("text", lambda results: results["folds"].pop(), r"rows of r0f2, which results.json does not list"),
        ("text", put("folds", []), r"^folds: written \[\], recomputed \['r0f0', 'r0f1', 'r0f2'\]$"),
        (
            "text",
            put("folds", "none"),
            r"^files: .*results.json is not as a run writes it: folds is 'none', not a list\.",
        ),
        (
            "text",
            put("label_names", ["a", "b"]),
            r"^dataset.class_counts.a: written nothing, recomputed \d+$",
        ),
        ("words", put("dataset/class_counts/O", 1), r"^dataset.class_counts.O: written 1, recomputed \d+$"),
        (
            "text",
            put("frozen_proof/hash_after", "0"),
            r"^frozen_proof.hash_after: written '0', recomputed '\w{32}'",
        ),
        ("text", put("task", "cooking"), r"^files: There is no task 'cooking'\. Use one of"),
        (
            "walk-forward",
            put("notes", []),
            r"^notes: lack 'The 10 earliest rows are trained on and never held out\.'$",
        ),
        (
            "grid",
            lambda results: results["grid"].pop(),
            r"grid: written 3 configurations, the settings make 4",
        ),
        ("grid", put("config/learning_rate", 0.5), r"learning_rate and weight_decay .* are not of the grid"),
    ],
)
def test_an_altered_entry_of_the_results_is_named(copy_of, kind, change, words):
    run = copy_of(kind)
    edit(run, change)
    assert re.search(words, wrong(run), re.M), wrong(run)


def checks_of(run, results):
    """The checks of a run's numbers with other results, or the one that these are misshapen."""
    try:
        return list(number_checks(Record(run, from_json(Results, results))))
    except ShapeError as error:
        return [Check("files", "wrong", "", (str(error),))]


def leaves(value, path=""):
    """Each number and where it stands."""
    if isinstance(value, dict | list):
        entries = value.items() if isinstance(value, dict) else enumerate(value)
        for key, entry in entries:
            yield from leaves(entry, f"{path}/{key}".lstrip("/"))
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield path, value


@pytest.mark.parametrize("kind", ["text", "grid", "words"])
@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_single_number_of_the_scores_can_be_altered(runs, kind, data):
    results = json.loads((runs(kind) / "results.json").read_text())
    parts = {name: results[name] for name in ("scores", "per_class", "confusion") if results[name]}
    parts["folds"] = [{"scores": fold["scores"]} for fold in results["folds"]]
    path, value = data.draw(st.sampled_from(list(leaves(parts))))
    other = data.draw(
        st.floats(-2, 2).map(lambda shift: value + shift).filter(lambda new: abs(new - value) > 1e-6)
        | st.none()
    )
    put(path, other)(results)
    found = [line for check in checks_of(runs(kind), results) for line in check.differences]
    last = path.rpartition("/")[2]
    assert any(f".{last}" in line or f"[{last}]" in line for line in found)


@pytest.mark.parametrize("number", [0, -1, 0.5, None, True])
def test_a_run_of_no_process_is_told(runs, number):
    results = json.loads((runs("text") / "results.json").read_text())
    results["hardware"]["num_processes"] = number
    (check,) = [check for check in checks_of(runs("text"), results) if check.state == "wrong"]
    assert re.search(
        rf"hardware.num_processes(:| is) {'null' if number is None else number}", check.differences[0]
    )


def numbers_that_count(run):
    """Each number of results.json, with its value, but for the circumstances, which are not checked."""
    results = json.loads((run / "results.json").read_text())
    told = RunConfig.load(run / "config.yaml").scored()
    settings_told = {name: results["config"].get(name) for name in told}
    results["leak"] = results["leak"] and results["leak"] | {
        "tested": []
    }  # from features, which are not kept
    return list(
        leaves(results | {"config": settings_told, "replay": [], "hardware": {}, "format_version": None})
    )


def code_of_altered(run, path, value):
    """The exit code of verify on a copy of a run with one other number."""
    results = json.loads((run / "results.json").read_text())
    put(path, value)(results)
    with tempfile.TemporaryDirectory(prefix="altered-") as folder:
        copy = shutil.copytree(run, Path(folder) / run.name)
        (copy / "results.json").write_text(json.dumps(results))
        return main(["verify", str(copy)])


SHIFTS = (1, -1, 0.01)


@pytest.mark.parametrize("kind", [pytest.param("pictures", marks=pytest.mark.slow), "words"])
@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_number_that_is_altered_ends_with_3(runs, kind, data):
    path, value = data.draw(st.sampled_from(numbers_that_count(runs(kind))))
    assert code_of_altered(runs(kind), path, value + data.draw(st.sampled_from(SHIFTS))) == 3


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["text", "pictures", "words", "grid"])
def test_every_number_that_is_altered_ends_with_3(runs, kind):
    altered = [(path, value + shift) for path, value in numbers_that_count(runs(kind)) for shift in SHIFTS]
    assert not [(path, new) for path, new in altered if code_of_altered(runs(kind), path, new) != 3]


@pytest.mark.parametrize("shift", [1e-10, -1e-10])
def test_what_another_version_rounds_otherwise_passes(runs, shift):
    results = json.loads((runs("text") / "results.json").read_text())
    for path, value in list(leaves({"scores": results["scores"]})):
        if isinstance(value, float):
            put(path, value + shift)(results)
    assert not [c for c in checks_of(runs("text"), results) if c.state == "wrong"]


def test_a_fold_that_failed_is_told_and_the_rest_holds(tmp_path, monkeypatch):
    original = FoldRunner.fit

    def fail_in_fold_1(self, rows, seed, title, **options):
        if "fold 2" in title:
            raise RuntimeError("out of luck")
        return original(self, rows, seed, title, **options)

    monkeypatch.setattr(FoldRunner, "fit", fail_in_fold_1)
    run = make_run("text", tmp_path, trainable="last:1")
    assert wrong(run) == ""
    edit(run, put("notes", []))
    assert "notes: lack '1 of 3 folds failed and are not part of the scores.'" in wrong(run)


def test_scores_of_the_hubs_metrics_are_not_made_again_but_their_mean_is(runs):
    results = json.loads((runs("text") / "results.json").read_text())
    results["config"]["metrics"] = ["luck"]
    for fold in results["folds"]:
        fold["scores"]["luck"] = 0.25
    checks = {check.name: check for check in checks_of(runs("text"), results)}
    assert checks["other metrics"].state == "not checked"
    assert checks["fold scores"].state == "ok"
    (line,) = checks["scores"].differences
    assert re.match(r"scores\.luck: written nothing, recomputed \{'mean': 0\.25, 'std': 0\.0,", line)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        (
            "predictions.parquet",
            None,
            r"^files: .*predictions.parquet is not there, and all numbers follow from it",
        ),
        ("folds.parquet", None, r"^files: .*folds.parquet is not there"),
        (
            "folds.parquet",
            b"PAR1",
            r"^files: .*folds.parquet cannot be read as Parquet: .* Get the file again\.$",
        ),
        ("config.yaml", None, r"^config.yaml: is not there$"),
        ("config.yaml", b"seed: 4", r"^config.seed: 3 in results.json, 4 in config.yaml$"),
        ("folds/r0f1/done.json", None, r"^folds/r0f1/done.json: is not there$"),
    ],
)
def test_a_file_that_is_lost_or_broken_is_named(copy_of, name, content, words):
    run = copy_of("text")
    (run / name).unlink() if content is None else (run / name).write_bytes(content)
    assert re.search(words, wrong(run), re.M), wrong(run)


def test_a_split_without_what_it_was_made_from_does_not_pass(copy_of):
    run = copy_of("text")
    table = pq.read_table(run / "folds.parquet")
    pq.write_table(table.select(["row_id", "repeat", "fold"]), run / "folds.parquet")
    assert "folds_scheme: written 'stratified', recomputed 'random'" in wrong(run)


def test_wider_types_and_large_lists_pass(copy_of):
    run = copy_of("text")
    table = pq.read_table(run / "predictions.parquet")
    wide = {"fold": pa.int64(), "repeat": pa.int64(), "logits": pa.large_list(pa.float64())}
    for name, kind in wide.items():
        place = table.column_names.index(name)
        table = table.set_column(place, name, table[name].cast(kind))
    pq.write_table(table, run / "predictions.parquet", store_schema=False)
    assert wrong(run) == ""


def test_a_folder_without_a_run_is_told(tmp_path):
    with pytest.raises(ConfigError, match=r"results\.json does not exist: the folder holds no finished run"):
        verify_run(tmp_path)


class TestCommand:
    def test_prints_what_was_looked_at(self, runs, capsys):
        assert main(["verify", str(runs("text"))]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert re.fullmatch(r"ok +folds +made again from the seed, row for row", lines[1])
        assert any(re.match(r"not checked +trainings", line) for line in lines)

    def test_ends_with_3_and_lists_each_difference(self, copy_of, capsys):
        run = copy_of("text")
        edit(run, put("scores/accuracy/std", 0.0))
        assert main(["verify", str(run)]) == 3
        printed = capsys.readouterr()
        assert re.search(r"^wrong +scores +1 difference$", printed.out, re.M)
        assert re.match(r"VerificationError: .* does not hold together: \d+ differences\.\n", printed.err)
        assert re.search(r"^  scores\.accuracy\.std: written 0\.0, recomputed 0\.\d+$", printed.err, re.M)

    def test_gives_one_json_list(self, copy_of, capsys):
        run = copy_of("text")
        edit(run, put("scores/accuracy/std", 0.0))
        assert main(["verify", str(run), "--json"]) == 3
        checks = json.loads(capsys.readouterr().out)
        (found,) = [check for check in checks if check["name"] == "scores"]
        assert found["state"] == "wrong"
        assert len(found["differences"]) == 1

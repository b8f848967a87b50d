"""A table beside pictures with a text the whole way: fitted inside the fold, folded, published, predicted."""

import json
import re
from contextlib import nullcontext

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import two_towers
from accelerate import Accelerator
from hub_case import hub_for
from safetensors.numpy import load_file
from small_runs import SOLVED, edit, plain_config, wrong
from two_towers import rows_in, save_clip

from hf_transfer import ImageTextClassification, cross_validate, open_dataset, predict, push, score
from hf_transfer.cli.main import main
from hf_transfer.errors import ConfigError, DataError, HubError, ModelError
from hf_transfer.layers.phases import freeze_for
from hf_transfer.replay.encoding import encode_rows
from hf_transfer.replay.proof import find_cut
from hf_transfer.replay.replayed import Replay
from hf_transfer.report.card.card import write_card
from hf_transfer.report.compare import compare_runs, open_runs
from hf_transfer.report.page.page import render
from hf_transfer.runs.hub.files import check_card, collect
from hf_transfer.runs.results import read_results
from hf_transfer.runs.summary import summary_text
from hf_transfer.study.final.trained import TrainedModel
from hf_transfer.study.retraining import train_again
from hf_transfer.verify.verify_run import verify_run

NEAR = 1e-6
COLUMNS = ("year", "colour")
QUICK = {"learning_rate": 0.1, "num_epochs": 8}


def lines_of(rows):
    return [json.loads(line) for line in rows.read_text().splitlines()]


def write(rows, lines):
    rows.write_text("\n".join(map(json.dumps, lines)))
    return rows


def with_table(rows, *, told: bool, seed=0):
    """Add a number and a category to each row; the number says the label for most, or nothing does."""
    rng, lines = np.random.default_rng(seed), lines_of(rows)
    for row, line in enumerate(lines):
        shift = 6 * (line["label"] == "red") if told else 0
        line["year"] = None if row % 11 == 0 else round(float(2000 + shift + 2 * rng.normal()), 2)
        line["colour"] = str(rng.choice(["grey", "green", "white"]))
    return write(rows, lines)


def trained(folder, rows, **settings):
    """Train a head on the rows and their table; give the run's folder and the data."""
    return two_towers.trained(folder, rows, **{"table_columns": COLUMNS, **settings})


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("table")
    save_clip(folder / "base")
    rows = with_table(rows_in(folder / "data", told_by=(), seed=2), told=True)
    run, _ = trained(folder, rows, **QUICK)
    write_card(run)
    return run


def test_the_table_stands_beside_the_stored_features_and_each_part_is_scored_alone(run):
    results = read_results(run)
    (stored,) = results.replay
    assert (stored.cut, stored.stored_per_row) == ("output", [3 * 8 + 2 + 2 + 4])
    assert results.frozen_proof.equal
    assert list(results.parts.means) == ["picture", "text", "table", "all"]
    assert results.parts.best == "table"
    assert re.search(r"text alone [\d.]+, table alone [\d.]+, all [\d.]+\. All ", summary_text(results))
    assert any("'year' (numbers), 'colour' (3 categories)" in note for note in results.notes)
    assert any(re.match(r"4 rows without 'year': ", note) for note in results.notes)


def test_everything_that_is_written_follows_from_the_predictions(run):
    checks = verify_run(run)
    assert [check for check in checks if check.state == "wrong"] == []
    before = (run / "results.json").read_bytes()
    edit(run, lambda results: results["parts"]["means"].update(table=0.123))
    try:
        assert "parts" in wrong(run)
    finally:
        (run / "results.json").write_bytes(before)


def test_the_code_of_the_card_gives_the_logits_of_the_kit_also_where_values_are_missing(run, monkeypatch):
    card = (run / "README.md").read_text()
    check_card(card)
    monkeypatch.chdir(run.parent)
    (run.parent / "picture.jpg").write_bytes((run.parent / "data/0.png").read_bytes())
    (code,) = re.findall(r"```python\n(.*?)```", card.split("<!-- hf-transfer:end use -->")[0], re.S)
    known = {}
    exec(code, known)
    assert known["table"] == {"year": None, "colour": None}
    rows = [
        ("data/3.png", "old cold", {"year": 2003.5, "colour": "grey"}),
        ("data/3.png", "old cold", {"colour": "unseen"}),
        (None, "small warm", {"year": 1990, "colour": None}),
        ("data/1.png", None, None),
        (None, None, {"year": 2001, "colour": "white"}),
    ]
    values = [
        {"image": path and {"bytes": None, "path": path}, "text": text, "table": table}
        for path, text, table in rows
    ]
    ours = TrainedModel.open(run).outputs(values)
    plain = [known["classify"](*row).log_softmax(dim=0).numpy() for row in rows]
    assert np.abs(np.concatenate(ours) - np.stack(plain)).max() <= NEAR
    assert np.abs(ours[0] - ours[1]).max() > 0.01


@pytest.mark.slow
def test_files_mappings_and_words_are_labelled_alike_and_rows_scored(run, monkeypatch, capsys):
    data = run.parent / "data"
    monkeypatch.chdir(data)
    tables = [{"year": 1999.5, "colour": "grey"}, {"year": None, "colour": "teal"}]
    rows = [{"image": "3.png", "text": "old cold", "label": label} for label in ("red", "blue")]
    flat = [row | table for row, table in zip(rows, tables, strict=True)]
    (data / "new.jsonl").write_text("\n".join(map(json.dumps, flat)))
    (data / "new.csv").write_text(
        "image,text,year,colour,label\n3.png,old cold,1999.5,grey,red\n3.png,old cold,,teal,blue\n"
    )
    given = [{"image": "3.png", "text": "old cold", "table": table} for table in tables]
    answers = [predict(run, way) for way in ("new.jsonl", "new.csv", given, list(map(json.dumps, given)))]
    first, *others = [[one["probability"] for one in some] for some in answers]
    assert all(one == first for one in others)
    assert predict(run, given[0])[0]["probability"] == pytest.approx(first[0], abs=NEAR)
    assert (
        "1 of 2 pictures with a text have a category in the table that no row of" in capsys.readouterr().err
    )
    missing = predict(run, ["3.png", "old cold"])[0]
    assert missing["probability"] == predict(run, given[0] | {"table": None})[0]["probability"]
    assert score(run, data / "new.csv").num_rows == 2


@pytest.mark.parametrize(
    ("table", "error"),
    [
        ({"yeer": 1}, r"no column 'yeer'; .*Did you mean 'year'"),
        ({"year": "old"}, "'old' in column 'year' is no finite number"),
        ([1], 'an object as "table"'),
    ],
)
def test_wrong_tables_are_told(run, table, error):
    with pytest.raises(DataError, match=error):
        predict(run, {"image": "3.png", "text": "old", "table": table})


def test_a_file_without_a_column_of_the_table_is_told(run):
    path = run.parent / "data/lacking.csv"
    path.write_text("image,text,colour\n3.png,old,grey\n")
    with pytest.raises(DataError, match="No column 'year' of the table"):
        predict(run, path)


@pytest.mark.filterwarnings("ignore:Use 'content=<...>' to upload raw bytes:DeprecationWarning")
def test_what_is_pushed_has_the_table_and_a_changed_one_is_refused(run, tmp_path, monkeypatch):
    assert {"table.json", "classifier.safetensors"} <= collect(run).keys()
    given = {
        "image": str(run.parent / "data/3.png"),
        "text": "old",
        "table": {"year": 1990, "colour": "grey"},
    }
    with hub_for(monkeypatch, tmp_path):
        push(run, "ada/tables")
        assert predict("ada/tables", given)[0]["probability"] == predict(run, given)[0]["probability"]
        table = run / "model/table.json"
        before = table.read_text()
        table.write_text(before.replace("grey", "gray"))
        try:
            with pytest.raises(HubError, match=r"file table\.json changed since"):
                push(run, "ada/tables")
            table.write_text("{}")
            with pytest.raises(ModelError, match="does not say which columns"):
                predict(run, given)
        finally:
            table.write_text(before)


@pytest.mark.slow
def test_hard_rows_are_shown_with_their_values(run):
    assert re.search(r"year (\d+|missing).*, colour (grey|green|white)\)", render(open_runs([run])[0]))


def test_rows_are_inspected_with_their_table(run, capsys):
    words = ["inspect", str(run.parent / "data/rows.jsonl"), "--kind", "image_text", "--table_columns"]
    assert main([*words, "year,colour"]) == 0
    assert "Beside each input stand the columns 'year' (numbers)" in capsys.readouterr().out
    assert main([*words, "yeer"]) == 3
    assert "No column 'yeer'" in capsys.readouterr().err


def weights(run, fold=1):
    (path,) = run.glob(f"model/fold-*f{fold}/classifier.safetensors")
    return load_file(path)["output.weight" if "output.weight" in load_file(path) else "weight"]


@pytest.mark.parametrize(
    "how", [pytest.param(SOLVED, marks=pytest.mark.slow, id="solved"), pytest.param({}, id="together")]
)
def test_values_of_held_out_rows_change_no_weight(how, tmp_path):
    save_clip(tmp_path / "base")
    rows = with_table(rows_in(tmp_path / "data", 16, seed=3), told=True)
    options = {"num_folds": 2, "final": "ensemble", "num_epochs": 1} | how
    first, data = trained(tmp_path, rows, **options)
    held_out = [row["row_id"] for row in read_folds(first) if row["fold"] == 1]
    lines = lines_of(rows)
    for row in held_out:
        lines[row]["year"], lines[row]["colour"] = 1e6 + row, "grey"
    second, other = trained(tmp_path, write(rows, lines), **options, output_dir=str(tmp_path / "other"))
    assert read_folds(first) == read_folds(second)
    assert data.fingerprint != other.fingerprint
    assert np.array_equal(weights(first), weights(second))
    assert not np.allclose(weights(first, 0), weights(second, 0))


def read_folds(run):
    return pq.read_table(run / "folds.parquet", columns=["row_id", "fold"]).to_pylist()


@pytest.mark.slow
def test_a_head_alone_learns_what_heads_together_do(tmp_path):
    save_clip(tmp_path / "base")
    rows = with_table(rows_in(tmp_path / "data", 16, seed=3), told=True)
    options = {"num_folds": 2, "final": "ensemble", "early_stopping": True, "patience": 2}
    together, _ = trained(tmp_path, rows, **options)
    alone, _ = trained(tmp_path, rows, **options, replay=False, output_dir=str(tmp_path / "alone"))
    assert read_results(together).replay
    assert not read_results(alone).replay
    one, two = weights(together), weights(alone)
    assert np.abs(one - two).max() <= 1e-5 * np.abs(one).max()


@pytest.mark.slow
def test_blocks_that_learn_read_the_table_beside_stored_features(tmp_path):
    save_clip(tmp_path / "base")
    rows = with_table(rows_in(tmp_path / "data", 24), told=True)
    config = plain_config(
        base_model=str(tmp_path / "base"), dataset=str(rows), trainable="last:1", table_columns=COLUMNS
    )
    data, alone = open_dataset(config, ImageTextClassification), Accelerator(cpu=True)
    task = data.task(config, data.target)
    replay = Replay(task, encode_rows(task, data.rows, data.fingerprint, alone), config, alone)
    model = task.build_model()
    cut = find_cut(model, freeze_for(model, config), replay._probes(), nullcontext())
    assert cut.module.startswith("towers.model.")
    run, _ = trained(tmp_path, rows, num_folds=2, trainable="last:1", num_epochs=1, final="none")
    results = read_results(run)
    assert results.frozen_proof.equal
    assert results.layers[-1].trainable == 2 * (26 + 2 + 4) + 2


@pytest.mark.slow
def test_a_useless_table_does_not_make_all_significantly_worse(tmp_path):
    save_clip(tmp_path / "base")
    rows = with_table(rows_in(tmp_path / "data", 80, told_by=("text",), seed=1), told=False)
    run, _ = trained(tmp_path, rows, final="none", **SOLVED)
    parts = read_results(run).parts
    assert parts.best == "text"
    assert parts.ahead > -0.05 or parts.p > 0.05


@pytest.mark.slow
def test_a_telling_table_wins(run, tmp_path):
    parts = read_results(run).parts
    assert parts.means["table"] >= max(parts.means["picture"], parts.means["text"]) + 0.15
    other, _ = trained(
        run.parent, run.parent / "data/rows.jsonl", table_columns=(), final="none", output_dir=str(tmp_path)
    )
    (pair,) = compare_runs(open_runs([run, other])).pairs
    assert pair.rows is not None
    metric = read_results(run).primary_metric
    assert read_results(run).scores[metric].mean > read_results(other).scores[metric].mean + 0.1


@pytest.mark.slow
def test_numbers_are_learned_at_both_scales(tmp_path, monkeypatch):
    save_clip(tmp_path / "base")
    rows = with_table(rows_in(tmp_path / "data", 24), told=True)
    lines = lines_of(rows)
    for line in lines:
        line["label"] = 1000 + 0.25 * (line["year"] or 2003)
    run, _ = trained(tmp_path, write(rows, lines), num_folds=2)
    results = read_results(run)
    assert results.target == "numbers"
    assert results.final.reload.difference <= NEAR


def test_a_task_that_was_made_without_the_table_is_refused(run, tmp_path):
    config = read_results(run).config.changed({"output_dir": str(tmp_path)})
    data = open_dataset(config, ImageTextClassification)
    with pytest.raises(ConfigError, match=r"made without it. Take data.task\(config, data.target\)"):
        cross_validate(ImageTextClassification(config, data.target), data, config)


def test_a_fold_that_is_trained_again_gives_the_same_predictions(run):
    results = read_results(run)
    (again,) = train_again(results, results.config, (), 1, seed=0)
    (fold,) = [one for one in results.folds if (one.repeat, one.fold) == (again.repeat, again.fold)]
    kept = pq.read_table(run / "predictions.parquet").filter(pc.field("fold") == fold.fold)
    ours, theirs = (np.stack(table.sort_by("row_id")["logits"].to_numpy()) for table in (again.rows, kept))
    assert np.abs(ours - theirs).max() <= NEAR

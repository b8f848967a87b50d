import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from fake_run import Shape, entity_scores, make_run, save
from sketches import changed

from hf_transfer.errors import ConfigError
from hf_transfer.machine.wording import plus_minus
from hf_transfer.report.compare import Run, compare_runs, open_runs
from hf_transfer.report.words.pairs import sentence
from hf_transfer.runs.paired import Pair, PairedBootstrap, RightRows
from hf_transfer.runs.schema import to_json
from hf_transfer.scores.statistics import mcnemar

Make = Callable[..., Path]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def runs(base: Path) -> tuple[Run, ...]:
    """Three runs of classes on the same folds: poor, good, and as poor as the first."""
    for name, skill in (("poor", 0.3), ("good", 3.0), ("equal", 0.35)):
        make_run(base / name, shape=Shape(num_rows=100, skill=skill))
    return open_runs([base / name for name in ("poor", "good", "equal")])


@pytest.fixture(scope="module")
def tagged(base: Path) -> tuple[Run, ...]:
    make_run(base / "tags", "token-classification", Shape(num_rows=60))
    results = make_run(base / "more-tags", "token-classification", Shape(num_rows=60))
    rows = pd.read_parquet(base / "more-tags" / "predictions.parquet")
    rows["predictions"] = rows["labels"]
    rows.to_parquet(base / "more-tags" / "predictions.parquet")
    for fold in results["folds"]:
        fold["scores"]["f1"] = 1 - 0.001 * fold["fold"]
    save(base / "more-tags", results)
    return open_runs([base / "tags", base / "more-tags"])


def test_two_runs_are_compared_in_the_order_given(runs: tuple[Run, ...]) -> None:
    found = compare_runs(runs[:2])
    (pair,) = found.pairs
    assert (pair.first, pair.second, pair.verdict) == ("poor", "good", "second is better")
    scores = [[fold.scores["f1_macro"] for fold in run.results.folds] for run in runs[:2]]
    assert list(pair.differences.values()) == pytest.approx((np.array(scores[1]) - scores[0]).tolist())


def test_the_loss_stands_beside_the_score(runs: tuple[Run, ...]) -> None:
    head, *lines = compare_runs(runs[:2]).to_text().splitlines()
    assert head.index("95 %") < head.index("log_loss") < head.index("folds")
    for run, line in zip(runs[:2], lines, strict=False):
        assert plus_minus(run.results.scores["log_loss"]) in line


def test_the_rows_that_one_was_right_on_are_counted_row_by_row(runs: tuple[Run, ...]) -> None:
    (pair,) = compare_runs(runs[:2]).pairs
    tables = [pd.read_parquet(run.folder / "predictions.parquet").sort_values("row_id") for run in runs[:2]]
    right = [(table.label == table.prediction).to_numpy() for table in tables]
    assert pair.rows == RightRows(**mcnemar(*right)._asdict(), repeat=0, num_rows=100)


def test_the_order_of_rows_in_a_file_does_not_matter(runs: tuple[Run, ...], tmp_path: Path) -> None:
    (pair,) = compare_runs(runs[:2]).pairs
    make_run(tmp_path / "good", shape=Shape(num_rows=100, skill=3.0))
    rows = pd.read_parquet(tmp_path / "good" / "predictions.parquet")
    rows.sample(frac=1, random_state=0).to_parquet(tmp_path / "good" / "predictions.parquet")
    assert compare_runs([runs[0], *open_runs([tmp_path / "good"])]).pairs == (pair,)


def test_more_runs_are_compared_with_the_best(runs: tuple[Run, ...]) -> None:
    found = compare_runs(runs)
    assert [(pair.first, pair.second) for pair in found.pairs] == [("poor", "good"), ("equal", "good")]
    assert all(pair.p is not None and pair.p_adjusted >= pair.p for pair in found.pairs)
    assert any("Holm" in note and "chosen by these folds" in note for note in found.notes)


def test_one_run_has_a_line_and_no_pair(runs: tuple[Run, ...]) -> None:
    found = compare_runs(runs[:1])
    assert (found.pairs, found.notes) == ((), ())
    first, line = found.to_text().splitlines()
    assert first.split()[:2] == ["run", "f1_macro"]
    assert line.split()[-7:] == ["5", "of", "5", "14,768,642", "124,647,170", "67.5", "s"]


def test_a_decided_pair_is_told_with_its_evidence(runs: tuple[Run, ...]) -> None:
    found = compare_runs(runs[:2])
    (pair,) = found.pairs
    (low, high), rows = pair.interval, pair.rows
    assert sentence(pair) == (
        f"good is better than poor by {pair.mean:.3f} F1 (macro) ({low:.3f} to {high:.3f}, corrected p "
        f"{pair.p:.2g}; of 100 rows {rows.only_first} were right only with poor, {rows.only_second} "
        "only with good, McNemar p below 0.001)."
    )
    assert sentence(pair) in found.to_text()


def test_an_undecided_pair_says_so_and_what_it_would_take(runs: tuple[Run, ...]) -> None:
    (pair,) = compare_runs([runs[0], runs[2]]).pairs
    assert pair.verdict == "can't tell"
    words = sentence(pair)
    assert words.startswith("Can't tell with this much data: ")
    assert words.endswith("times as many rows would be needed to settle a difference of this size.")


def test_the_one_ahead_is_named_first_whichever_is_given_first(runs: tuple[Run, ...]) -> None:
    words = [sentence(compare_runs(order).pairs[0]) for order in (runs[:2], runs[1::-1])]
    assert all(text.startswith("good is better than poor by ") for text in words)
    assert words[0].partition("; of")[0] == words[1].partition("; of")[0]


PAIR = Pair(
    "a", "b", "accuracy", True, 5, {"r0f0": 0.1, "r0f1": 0.2}, (), 0.15, (-0.1, 0.4), 0.3, 0.3, 5000.0
)
DECIDED = RightRows(num_rows=100, only_first=4, only_second=45, p=1e-9, repeat=0)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "b is ahead of a by 0.150 accuracy (-0.100 to 0.400, corrected p 0.3); more than 1,000 times"),
        ({"times_the_rows": 3.24}, "roughly 3.2 times as many rows"),
        ({"times_the_rows": 134.0}, "roughly 130 times as many rows"),
        ({"p_adjusted": 0.6}, "corrected p 0.3, 0.6 by Holm's rule)"),
        ({"mean": -0.15, "interval": (-0.4, 0.1)}, "a is ahead of b by 0.150 accuracy (-0.100 to 0.400, "),
        ({"higher_is_better": False}, "a is ahead of b by 0.150 accuracy (-0.100 to 0.400, "),
        ({"interval": None, "p": None, "times_the_rows": None}, "as every fold differs by the same, no test"),
        (
            {"interval": None, "p": None, "times_the_rows": None, "differences": {"r0f0": 0.15}},
            "a test needs two or more folds that both finished",
        ),
        (
            {"mean": 0.0004, "interval": (-0.1, 0.1)},
            "A tie: a and b differ by less than 0.001 accuracy (-0.100 to 0.100, corrected p 0.3).",
        ),
        ({"mean": 0.0004, "p_adjusted": 0.01}, "b is better than a by less than 0.001 accuracy ("),
        ({"mean": None, "differences": {}}, "Can't tell a and b apart: no fold was finished by both."),
        (
            {"differences": {"r0f0": 0.0, "r0f1": 0.0}, "mean": 0.0, "interval": None},
            "the same accuracy on every fold",
        ),
        (
            {"bootstrap": PairedBootstrap(0.0, (-0.2, 0.3), "sentence")},
            "of the pooled score, by a paired bootstrap over sentences, -0.200 to 0.300",
        ),
        (
            {"rows": DECIDED},
            "; on these rows the models differ, but other training rows may order them otherwise; more than",
        ),
        (
            {"bootstrap": PairedBootstrap(0.0, (0.1, 0.3), "sentence")},
            "on these rows the models differ, but other training rows may order them otherwise",
        ),
        ({"bootstrap": PairedBootstrap(0.0, None, "sentence")}, "over sentences, undefined"),
        (
            {"rows": DECIDED, "p_adjusted": 0.075},
            "On these rows b is better than a, and with other training rows likely: by 0.150 accuracy (",
        ),
        (
            {"rows": replace(DECIDED, only_first=45, only_second=4), "p_adjusted": 0.075},
            "Can't tell with this much data: b is ahead of a",
        ),
    ],
)  # fmt: skip
def test_every_case_has_its_words(changes: dict[str, Any], words: str) -> None:
    assert words in sentence(replace(PAIR, **changes))


def test_tagged_words_are_compared_by_a_bootstrap_of_whole_sentences(tagged: tuple[Run, ...]) -> None:
    (pair,) = compare_runs(tagged).pairs
    assert pair.rows is None
    pooled = entity_scores(pd.read_parquet(tagged[0].folder / "predictions.parquet"))["f1"]
    assert pair.bootstrap.difference == pytest.approx(1 - pooled)
    low, high = pair.bootstrap.interval
    assert 0 < low < 1 - pooled < high
    assert pair.bootstrap.unit == "sentence"


def test_a_run_against_itself_differs_in_no_resample(tagged: tuple[Run, ...]) -> None:
    again = Run("again", tagged[0].results, tagged[0].folder)
    (pair,) = compare_runs([tagged[0], again]).pairs
    assert pair.verdict == "same"
    assert pair.bootstrap == PairedBootstrap(0, (0, 0), "sentence")


@pytest.mark.slow
def test_rows_of_other_repeats_are_not_counted_again(tmp_path: Path) -> None:
    for name, skill in (("a", 1.0), ("b", 3.0)):
        make_run(tmp_path / name, shape=Shape(num_rows=60, num_repeats=2, skill=skill))
    found = compare_runs(open_runs([tmp_path / "a", tmp_path / "b"]))
    assert found.pairs[0].rows.num_rows == 60
    assert len(found.pairs[0].differences) == 10
    assert "Rows are counted in the first repeat only." in found.notes


@pytest.mark.slow
def test_folds_that_failed_are_left_out_and_named(tmp_path: Path) -> None:
    make_run(tmp_path / "a", shape=Shape(num_rows=60, failed=(1,)))
    make_run(tmp_path / "b", shape=Shape(num_rows=60, skill=3.0, failed=(3, 4)))
    found = compare_runs(open_runs([tmp_path / "a", tmp_path / "b"]))
    (pair,) = found.pairs
    assert list(pair.differences) == ["r0f0", "r0f2"]
    assert pair.rows.num_rows == 24
    note = "a and b: only folds that both finished are used, so without fold 2, fold 4, fold 5."
    assert note in found.to_text().splitlines()


def test_models_that_do_not_differ_on_the_rows_are_not_said_to() -> None:
    assert "models differ" not in sentence(replace(PAIR, rows=replace(DECIDED, only_second=5, p=1.0)))
    assert "models differ" not in sentence(replace(PAIR, bootstrap=PairedBootstrap(0.0, (-0.1, 0.3), "row")))


def test_more_repeats_are_advised_where_nothing_is_decided(runs: tuple[Run, ...]) -> None:
    advice = "Besides more rows, more repeats (num_repeats) make this test find more."
    assert advice in compare_runs([runs[0], runs[2]]).notes
    assert advice not in compare_runs(runs[:2]).notes


def test_a_run_chosen_from_a_grid_is_told(runs: tuple[Run, ...]) -> None:
    chosen = Run("chosen", changed(runs[1].results, grid=[{}, {}, {}]), runs[1].folder)
    notes = compare_runs([runs[0], chosen]).notes
    assert (
        "chosen is the best of 3 configurations, chosen on these folds: its score is somewhat too good."
        in notes
    )


def test_everything_is_in_the_json(runs: tuple[Run, ...]) -> None:
    found = json.loads(json.dumps(compare_runs(runs[:2]).to_dict(), allow_nan=False))
    assert found["runs"]["good"] == to_json(runs[1].results.scores)
    (pair,) = found["pairs"]
    assert pair["verdict"] == "second is better"
    assert {"differences", "interval", "p", "p_adjusted", "rows", "sentence", "times_the_rows"} <= pair.keys()


@pytest.mark.parametrize(
    ("key", "message"),
    [
        (
            "folds_fingerprint",
            r"'poor' and 'b' were scored on different folds .*'f000c0ffee0005' and 'other'",
        ),
        ("primary_metric", r"'poor' and 'b' have different primary metrics, 'f1_macro' and 'other'"),
    ],
)
def test_runs_that_cannot_be_compared_are_both_named(runs: tuple[Run, ...], key: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        compare_runs([runs[0], Run("b", changed(runs[1].results, **{key: "other"}), runs[1].folder)])


def test_nothing_to_compare_is_an_error() -> None:
    with pytest.raises(ConfigError, match="at least one run"):
        compare_runs([])


def test_a_run_without_predictions_is_an_error(runs: tuple[Run, ...], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"predictions\.parquet is not there. Run the recipe again"):
        compare_runs([runs[0], Run("b", runs[1].results, tmp_path)])


def test_a_folder_without_a_run_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds no finished run"):
        open_runs([tmp_path])


def test_runs_of_one_name_are_told_apart_by_their_paths(
    base: Path, runs: tuple[Run, ...], tmp_path: Path
) -> None:
    (tmp_path / "poor").symlink_to(base / "good")
    (tmp_path / "x").mkdir()
    names = [run.name for run in open_runs([base / "poor", base / "poor", base / "good"])]
    assert names == [str(base / "poor"), str(base / "poor"), "good"]

import json
import re
import shutil
from pathlib import Path

import pytest
from small_runs import edit, edit_rows, make_run, wrong

from hf_transfer.verify.verify_run import verify_run

SMALL = {"num_folds": 3, "sealed": 0.2, "learning_curve": True, "shuffled_labels": 2, "card": False}


@pytest.fixture(autouse=True, scope="module")
def _fewer_shuffles():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hf_transfer.scores.shuffled._NUM_CHANCES", 29)
        yield


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    return make_run("pictures", tmp_path_factory.mktemp("beside"), **SMALL)


@pytest.fixture
def copy(run, tmp_path) -> Path:
    return Path(shutil.copytree(run, tmp_path / "copy"))


def states(run: Path) -> dict[str, str]:
    return {check.name: check.state for check in verify_run(run)}


BESIDE = ("train scores", "sealed scores", "learning curve", "shuffled labels")


@pytest.mark.slow
def test_what_was_scored_beside_the_folds_is_made_again(run):
    assert {name: states(run)[name] for name in BESIDE} == dict.fromkeys(BESIDE, "ok")
    assert wrong(run) == ""


def other_class(rows):
    rows[0]["prediction"] = (rows[0]["prediction"] + 1) % 5


def put(*path_and_value):
    *path, last, value = path_and_value

    def change(values):
        for key in path:
            values = values[key]
        values[last] = value

    return change


def other_logit(rows):
    rows[0]["logits"][rows[0]["label"]] -= 0.01


RESULTS, SEALED, TRAIN = "results.json", "sealed_predictions.parquet", "train_predictions.parquet"
CURVE = "folds/curve-40/r0f1"


# What is altered at once spoils a number of its own each, so that one look must find them all.
ALTERED = {
    "numbers": [
        (RESULTS, put("learning_curve", "doubling", "gain", 0.5), r"curve\.doubling\.gain: written 0\.5"),
        (RESULTS, put("learning_curve", "sizes", 1, "train_scores", 0, 2), r"sizes\[1\]\.train_scores\[0\]"),
        (RESULTS, put("shuffled", "chance", 0.9), r"^shuffled\.chance: written 0\.9, recomputed 0"),
        (RESULTS, put("shuffled", "true_train_score", 0.1), r"^shuffled\.true_train_score: written 0\.1"),
        (RESULTS, put("final", "sealed", "scores", "accuracy", 2), r"^sealed\.scores\.accuracy: written 2"),
        (RESULTS, put("folds", 1, "train_scores", "mcc", 2), r"^r0f1\.train_scores\.mcc: written 2"),
    ],
    "rows": [
        (SEALED, other_class, r"^sealed_predictions\.parquet, row 0 .*: prediction written"),
        (SEALED, other_logit, r"^sealed\.scores\.log_loss: written"),
        (f"folds/r0f0/{TRAIN}", other_class, rf"^r0f0/{TRAIN}, row 0 .*: prediction written"),
        (f"folds/r0f0/{TRAIN}", other_logit, r"^r0f0\.train_scores\.log_loss: written"),
        (f"{CURVE}/predictions.parquet", other_class, rf"^{CURVE}\.readings\[0\]: written"),
        (f"{CURVE}/{TRAIN}", other_logit, r"^curve-40/r0f1\.train_scores\.log_loss: written"),
        (f"{CURVE}/done.json", put("num_train", 3), rf"^{CURVE}\.num_train: written 3, recomputed"),
        (f"{CURVE}/done.json", put("scores", "mcc", 2), rf"^{CURVE}\.scores\.mcc: written 2, recomputed"),
        (
            "folds/shuffled/r0f1/predictions.parquet",
            lambda rows: rows[0].update(label=(rows[0]["label"] + 1) % 5),
            r"^predictions of folds/shuffled/r0f1, column 'label': row 0",
        ),
    ],
    "order": [(f"folds/r0f0/{TRAIN}", lambda rows: rows.reverse(), rf"^r0f0/{TRAIN}, column 'row_id'")],
}  # fmt: skip


@pytest.mark.parametrize("altered", ALTERED.values(), ids=ALTERED)
def test_each_altered_number_or_row_is_named(copy, altered):
    for file, change, _ in altered:
        (edit if file.endswith(".json") else edit_rows)(copy, change, file)
    found = wrong(copy)
    assert [words for *_, words in altered if not re.search(words, found, re.MULTILINE)] == [], found


def test_a_lost_fold_is_named(copy):
    (copy / CURVE / "done.json").unlink()
    assert f"{CURVE}: has neither done.json nor failed.json" in wrong(copy)


def test_a_run_without_these_predictions_is_told_and_passes(copy):
    for path in [*copy.glob("folds/**/train_predictions.parquet"), copy / "sealed_predictions.parquet"]:
        path.unlink()
    for folder in ("curve-10", "curve-20", "curve-40", "curve-80", "shuffled"):
        shutil.rmtree(copy / "folds" / folder)
    assert {name: states(copy)[name] for name in BESIDE} == dict.fromkeys(BESIDE, "not checked")
    assert wrong(copy) == ""


def test_the_predictions_of_another_number_of_rows_do_not_pass(copy):
    results = json.loads((copy / "results.json").read_text())
    edit_rows(copy, list.pop, "sealed_predictions.parquet")
    rows = results["final"]["sealed"]["num_rows"]
    assert f"sealed.num_rows: written {rows}, recomputed {rows - 1}" in wrong(copy)

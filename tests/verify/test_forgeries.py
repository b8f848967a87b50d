"""What somebody may forge in a run's folder is called wrong, or said not to have been checked."""

import hashlib
import json
import re
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml
from small_runs import edit, edit_rows, make_run, wrong

from hf_transfer.verify.verify_run import verify_run


@pytest.fixture(scope="module")
def sealed_run(tmp_path_factory) -> Path:
    return make_run("pictures", tmp_path_factory.mktemp("sealed"), sealed=0.2, num_folds=3, card=False)


@pytest.fixture
def copy(sealed_run, tmp_path) -> Path:
    return Path(shutil.copytree(sealed_run, tmp_path / "copy"))


def states(run: Path) -> dict[str, str]:
    return {check.name: check.state for check in verify_run(run)}


def found(run: Path, name: str) -> str:
    return next(check.found for check in verify_run(run) if check.name == name)


def test_an_honest_run_passes_each_of_these_checks(sealed_run):
    names = ("stated twice", "names of scores", "sealed rows", "train scores", "weights", "model files")
    assert {name: states(sealed_run)[name] for name in names} == dict.fromkeys(names, "ok")


@pytest.mark.parametrize("num_rows", [4, 40])
def test_rows_that_were_set_aside_afterwards(copy, num_rows):
    table = pq.read_table(copy / "folds.parquet")
    aside = [row < num_rows for row in range(table.num_rows)]
    pq.write_table(table.append_column("aside", [aside]), copy / "folds.parquet")
    assert states(copy)["rows set aside"] == "wrong"


def one_row_often(rows):
    rows[:] = [rows[0]] * len(rows)


def of_the_folds(rows):
    (rows[0]["row_id"],) = OF_A_FOLD


def another_row(rows):
    rows[0]["row_id"] = 10**6


def one_less(rows):
    rows.pop()


OF_A_FOLD: list[int] = []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (one_row_often, r"more than once"),
        (of_the_folds, r"1 row of the folds, such as row_id \d+"),
        (another_row, r"1 row are not of them, such as row_id 1000000"),
        (one_less, r"sealed\.num_rows: written \d+, recomputed \d+"),
    ],
)
def test_sealed_rows_that_are_not_those_of_the_seed(copy, change, words):
    OF_A_FOLD[:] = [pq.read_table(copy / "folds.parquet")["row_id"][0].as_py()]
    edit_rows(copy, change, "sealed_predictions.parquet")
    checks = {check.name: check for check in verify_run(copy)}
    assert checks["sealed rows"].state == "wrong"
    assert re.search(words, "\n".join(checks["sealed rows"].differences))


def test_sealed_rows_of_a_run_that_seals_none(copy):
    set_both(copy, sealed=0.0)
    assert "the settings seal no rows (sealed=0)" in wrong(copy)


def set_both(run: Path, **settings) -> None:
    """Change settings in both places where they are written."""
    path = run / "config.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | settings))
    edit(run, lambda values: values["config"].update(settings))


@pytest.mark.parametrize(("setting", "column"), [("group_by", "group"), ("time_by", "time")])
def test_a_split_that_is_said_to_keep_what_it_does_not_hold(copy, setting, column):
    set_both(copy, **{setting: "patient"})
    assert f"folds.parquet: has no column '{column}', and {setting}='patient'" in wrong(copy)


def test_groups_that_only_the_results_tell_of(copy):
    edit(copy, lambda values: values["dataset"].update(grouped_by="patient"))
    assert "results.json says that 'patient' keeps rows together" in wrong(copy)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda v: v.update(base_model="somebody/else"), "base_model: written 'somebody/else', settings say"),
        (lambda v: v["dataset"].update(name="imagenet-1k"), "dataset.name: written 'imagenet-1k'"),
        (lambda v: v.update(from_scratch=True), "from_scratch: written True, and neither"),
        (lambda v: v.update(folds_path="../outside"), "folds_path: written '../outside'"),
        (
            lambda v: v["scores"].update({"\u0430ccuracy": v["scores"]["accuracy"]}),
            "is no score of the kit, and the settings ask for no other",
        ),
    ],
)
def test_what_is_stated_twice_and_differs(copy, change, words):
    edit(copy, change)
    assert words in wrong(copy)


def test_a_name_that_looks_like_the_kits_beside_a_metric_of_the_hub(copy):
    set_both(copy, metrics=["somebody/metric"])
    edit(copy, lambda v: v["scores"].update({"\u0430ccuracy": v["scores"]["accuracy"]}))
    assert "letters that are not ASCII" in wrong(copy)


def test_training_scores_without_the_predictions_of_some_folds(copy):
    for fold in ("r0f1", "r0f2"):
        (copy / "folds" / fold / "train_predictions.parquet").unlink()
    assert states(copy)["train scores"] == "not checked"
    assert found(copy, "train scores").startswith("those of 2 of 3 folds")


def test_a_note_that_nothing_makes_is_said_not_to_be_checked(copy):
    before = found(copy, "notes")
    edit(copy, lambda values: values["notes"].append("On our own 5,000 rows it reaches 0.999."))
    assert states(copy)["notes"] == "not checked"
    assert found(copy, "notes") != before


def test_tags_without_logits_are_said_not_to_be_checked(runs):
    assert states(runs("words"))["predictions"] == "not checked"
    assert found(runs("words"), "predictions").startswith("0 of ")


def forge(run: Path, name: str, change) -> None:
    """Change a JSON file of the model, and the digest that the results have of it."""
    path = run / "model" / name
    values = json.loads(path.read_text(encoding="utf-8"))
    change(values)
    path.write_text(json.dumps(values), encoding="utf-8")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    edit(run, lambda results: results["final"]["reload"]["sha256"].update({name: digest}))


def swap_names(values):
    if "id2label" in values:
        first, second = values["id2label"]["0"], values["id2label"]["1"]
        values["id2label"].update({"0": second, "1": first})
    if "label_names" in values:
        values["label_names"][:2] = values["label_names"][1::-1]


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("config.json", swap_names, r"config\.json, names of labels"),
        ("calibration.json", lambda v: v.update(temperature=1000.0), r"temperature: written 1000"),
        ("calibration.json", lambda v: v.update(in_weights="no"), r"in_weights: written 'no'"),
    ],
)
def test_a_model_that_answers_by_other_names_or_probabilities(copy, name, change, words):
    forge(copy, name, change)
    assert re.search(words, wrong(copy))


def test_a_file_of_the_model_that_changed(copy):
    path = copy / "model" / "config.json"
    path.write_text(path.read_text() + " ")
    assert "final.reload.sha256.config.json: written" in wrong(copy)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "modeling_own.py", "deeper/weights.pkl"])
def test_pickles_and_code_beside_the_weights(copy, name):
    path = copy / "model" / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"x")
    assert f"{name}: no part of the model that the run saved" in wrong(copy)


def test_other_weights_where_plain_libraries_look_first(copy):
    (copy / "model.safetensors").write_bytes(b"other")
    assert "weights lie here and in model/" in wrong(copy)

import io
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from fake_run import TASKS, Shape, class_scores, entity_scores, make_run, save
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sketches import filled, results_of

from hf_transfer.errors import ConfigError, DataError
from hf_transfer.machine.secrets import one_line
from hf_transfer.report.card import card
from hf_transfer.report.plots import scores as plots
from hf_transfer.runs.records import Results

HOSTILE = (
    "<script>alert(1)</script>",
    "a|b",
    "new\nline",
    "`tick`",
    "<!-- hf-transfer:end summary -->",
    "{{ x }}",
)


@pytest.fixture(autouse=True)
def quick_pictures(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Name the pictures without drawing them, except where a test is about them."""
    if "pictures" not in request.keywords.get("usefixtures", ()) and "draws" not in request.node.name:
        monkeypatch.setattr(plots, "save_plots", lambda run, results: ["folds", "confusion", "learning"])


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folders = {task: tmp_path_factory.mktemp("finished") / task for task in TASKS}
    for task, folder in folders.items():
        labels = ("cat", "dog", "owl") if task == "image-classification" else ("negative", "positive")
        make_run(folder, task, Shape(num_rows=60, num_repeats=2, label_names=labels, failed=(3,)))
    return folders


@pytest.fixture
def copy(finished: dict[str, Path], tmp_path: Path) -> Callable[..., Path]:
    """Give a run of one's own; dotted names change its results (`config__license="mit"`)."""

    def make(task: str = "text-classification", **changes: Any) -> Path:
        run = tmp_path / "reviews"
        shutil.copytree(finished[task], run, dirs_exist_ok=True)
        change(run, **changes)
        return run

    return make


def change(run: Path, **changes: Any) -> dict[str, Any]:
    results = json.loads((run / "results.json").read_text())
    for name, value in changes.items():
        *path, last = name.split("__")
        place = results
        for part in path:
            place = place[part]
        place[last] = value
    results = filled(Results, results)
    save(run, results)
    return results


def header_of(path: Path) -> dict[str, Any]:
    header: dict[str, Any] = yaml.safe_load(path.read_text().split("---\n")[1])
    return header


def section(text: str, name: str) -> str:
    return text.split(f"<!-- hf-transfer:begin {name} -->\n")[1].split(f"<!-- hf-transfer:end {name} -->")[0]


def table(text: str, first: str) -> list[dict[str, str]]:
    """Read the table whose first column is called `first`."""
    lines = text[text.index(f"| {first} |") :].split("\n\n")[0].splitlines()
    names, _, *rows = ([cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines)
    return [dict(zip(names, row, strict=True)) for row in rows]


def sections(text: str) -> dict[str, str]:
    names = re.findall(r"^<!-- hf-transfer:begin (\S+) -->$", text, re.M)
    return {name: text[text.index(f"<!-- hf-transfer:begin {name} -->") :].split(
        end := f"<!-- hf-transfer:end {name} -->\n")[0] + end for name in names}  # fmt: skip


def snippets(text: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", text, re.S)


# The numbers


def fold_values(run: Path, task: str, metric: str) -> dict[str, float]:
    """Recompute a score of each fold from the predictions alone."""
    rows = pd.read_parquet(run / "predictions.parquet")
    score = entity_scores if task == "token-classification" else class_scores
    return {
        f"repeat {r + 1}, fold {f + 1}": score(part)[metric]
        for (r, f), part in rows.groupby(["repeat", "fold"])
    }


@pytest.mark.parametrize("task", TASKS)
def test_the_numbers_are_those_of_the_predictions(copy: Callable[..., Path], task: str) -> None:
    run = copy(task)
    primary, name = ("f1", "F1 (entities)") if task == "token-classification" else ("f1_macro", "F1 (macro)")
    values = fold_values(run, task, primary)
    text = card.write_card(run).read_text()
    folds = [row for row in table(text, "Fold") if not row[name].startswith("failed")]
    assert {row["Fold"]: row[name] for row in folds} == {fold: f"{v:.3f}" for fold, v in values.items()}
    mean, std = np.mean(list(values.values())), np.std(list(values.values()), ddof=1)
    assert f"**{name}: {mean:.3f} ± {std:.3f}** (mean ± standard deviation over 8 folds)." in text
    pooled = (entity_scores if task == "token-classification" else class_scores)(
        pd.read_parquet(run / "predictions.parquet")
    )
    score = change(run)["scores"][primary]
    bounds = ["{:.3f} to {:.3f}".format(*score[kind]) for kind in ("interval", "conservative_interval")]
    row = [name, *(f"{x:.3f}" for x in (mean, std, pooled[primary])), *bounds, "8"]
    assert list(table(text, "Metric")[0].values()) == row


def test_training_scores_stand_beside_held_out_ones(copy: Callable[..., Path]) -> None:
    run = copy()
    folds = change(run)["folds"]
    for fold, train in zip(folds, (0.99, 0.97, 0.95, None, 0.93, 0.91, 0.99, 0.97, None, 0.95), strict=True):
        fold["train_scores"] = {} if train is None else {"f1_macro": train}
    change(run, folds=folds)
    text = card.write_card(run).read_text()
    column = [row["F1 (macro) on training rows"] for row in table(text, "Fold")]
    assert column[:5] == ["0.990", "0.970", "0.950", "", "0.930"]
    valid = float(np.mean(list(fold_values(run, "text-classification", "f1_macro").values())))
    train = np.mean([0.99, 0.97, 0.95, 0.93, 0.91, 0.99, 0.97, 0.95])
    said = section(text, "verdicts")
    assert f"F1 (macro) is {train:.3f} on training rows and {valid:.3f} on held-out rows" in said
    assert f"a gap of {train - valid:.3f} (" in said
    assert "Scores on training rows are those of up to 12 rows a fold." in said
    change(run, folds=[fold | {"train_rows_scored": fold["num_train"]} for fold in folds])
    assert "Scores on training rows" not in card.write_card(run).read_text()


@pytest.mark.parametrize("task", TASKS)
def test_a_card_answers_each_question_even_of_results_without_a_diagnosis(
    copy: Callable[..., Path], task: str
) -> None:
    said = section(card.write_card(copy(task)).read_text(), "verdicts")
    questions = [line.split("**")[1] for line in said.splitlines() if line.startswith("- **")]
    assert questions == [
        "Is the pretrained model a good start?",
        "Which layers, which learning rate?",
        "Has it learned enough?",
        "Does it overfit?",
        "What is published?",
    ]


def test_a_card_tells_the_diagnosis_in_the_results(copy: Callable[..., Path]) -> None:
    found = {
        "verdict": "stopped in time", "metric": "f1_macro", "gaps": {}, "above_chance": None,
        "turn": {"turned": True, "epoch": 3, "rise": 0.25, "interval": [0.1, 0.4], "train_fall": 0.5},
        "more_frozen": None,
    }  # fmt: skip
    said = section(card.write_card(copy(overfitting=found)).read_text(), "verdicts")
    assert "rises by 0.250 (0.100 to 0.400) while that on training rows falls by 0.500" in said


@pytest.mark.parametrize("task", TASKS)
def test_the_model_index_holds_the_means_as_the_hub_reads_them(copy: Callable[..., Path], task: str) -> None:
    from huggingface_hub import ModelCard

    run = copy(task)
    metrics = ("f1", "precision", "recall", "accuracy") if task == "token-classification" else (
        "f1_macro", "accuracy", "log_loss", "balanced_accuracy", "mcc")  # fmt: skip
    data = ModelCard(card.write_card(run).read_text()).data
    assert data.model_name == "reviews"
    means = [round(float(np.mean(list(fold_values(run, task, name).values()))), 4) for name in metrics]
    assert [result.metric_value for result in data.eval_results] == means
    first = data.eval_results[0]
    assert (first.task_type, first.metric_type, first.dataset_split) == (task, "f1", "train")
    assert first.metric_name.endswith(", mean of 5-fold cross-validation")


def test_the_table_of_classes_is_that_of_the_predictions(copy: Callable[..., Path]) -> None:
    run = copy("image-classification")
    rows = pd.read_parquet(run / "predictions.parquet")
    expected = []
    for i, name in enumerate(("cat", "dog", "owl")):
        right, found, true = (
            ((rows.label == i) & (rows.prediction == i)).sum(),
            rows.prediction == i,
            rows.label == i,
        )
        p, r = right / found.sum(), right / true.sum()
        numbers = [f"{x:.3f}" for x in (p, r, 2 * p * r / (p + r))]
        expected.append([str(i), name, *numbers, str(true.sum())])
    assert [list(row.values()) for row in table(card.write_card(run).read_text(), "Id")] == expected


def test_the_table_of_entities_is_that_of_the_predictions(copy: Callable[..., Path]) -> None:
    run = copy("token-classification")
    rows = pd.read_parquet(run / "predictions.parquet")
    found = {row.pop("Type"): row for row in table(card.write_card(run).read_text(), "Type")}
    for kind in ("LOC", "ORG", "PER"):
        scores = entity_scores(rows, kind)
        assert [found[kind][name] for name in ("Precision", "Recall", "F1")] == [
            f"{scores[name]:.3f}" for name in ("precision", "recall", "f1")
        ]
        assert found[kind]["Mentions"] == str(sum((tags == f"B-{kind}").sum() for tags in rows.labels))


def test_of_many_classes_the_drawn_ones_are_counted(copy: Callable[..., Path]) -> None:
    names = [f"c{i}" for i in range(40)]
    classes = [{"label": n, "precision": 0.5, "recall": 0.5, "f1": 0.5, "support": 2} for n in names]
    confusion = np.ones((40, 40), dtype=int).tolist()
    text = card.write_card(copy(per_class=classes, label_names=names, confusion=confusion)).read_text()
    assert "Of 40 classes, the 20 that are most often confused are drawn." in text


def test_of_many_classes_the_worst_are_listed(copy: Callable[..., Path]) -> None:
    names = [f"c{i}" for i in range(60)]
    classes = [
        {"label": n, "precision": 0.5, "recall": 0.5, "f1": (i * 7 % 60) / 60, "support": 2}
        for i, n in enumerate(names)
    ]
    classes[11]["f1"] = None
    text = card.write_card(copy(per_class=classes, label_names=names)).read_text()
    rows = table(text, "Id")
    assert len(rows) == 50
    assert [row["F1"] for row in rows[:3]] == ["n/a", "0.000", "0.017"]
    assert "The 50 classes with the lowest F1, of 60; all are in results.json." in text


def test_the_commonest_class_is_the_baseline(copy: Callable[..., Path]) -> None:
    text = card.write_card(copy(dataset__class_counts={"negative": 30, "positive": 10})).read_text()
    assert "the commonest class would give an accuracy of 0.750." in text


def test_a_score_that_is_undefined_is_said_to_be_so(copy: Callable[..., Path]) -> None:
    run = copy()
    results = change(run)
    results["scores"]["roc_auc"] = {
        "mean": None,
        "std": None,
        "pooled": None,
        "interval": None,
        "interval_kind": "x",
        "unit": "row",
        "num_folds": 0,
        "conservative_interval": None,
        "headline": "both",
    }
    save(run, results)
    path = card.write_card(run)
    (row,) = [row for row in table(path.read_text(), "Metric") if row["Metric"].startswith("ROC AUC")]
    assert list(row.values())[1:] == ["n/a", "n/a", "n/a", "n/a", "n/a", "0"]
    assert "roc_auc" not in {m["type"] for m in header_of(path)["model-index"][0]["results"][0]["metrics"]}


def test_an_interval_beside_the_mean_is_explained(copy: Callable[..., Path]) -> None:
    run = copy(scores__f1_macro__interval=[0.1, 0.2], scores__f1_macro__pooled=0.15)
    text = section(card.write_card(run).read_text(), "summary")
    assert "The optimistic one is **0.100 to 0.200** of the pooled score 0.150:" in text


def test_both_intervals_are_told_apart_until_there_are_three_repeats(copy: Callable[..., Path]) -> None:
    run = copy(scores__f1_macro__conservative_interval=[0.25, 0.75], scores__f1_macro__interval=[0.5, 0.625])
    text = section(card.write_card(run).read_text(), "summary")
    assert "95 % interval: **0.250 to 0.750**, the conservative one" in text
    assert "over 8 folds" in text
    assert "The optimistic one is **0.500 to 0.625**" in text
    assert "With fewer than three repeats, read both." in text
    change(run, scores__f1_macro__headline="conservative")
    text = section(card.write_card(run).read_text(), "summary")
    assert "**0.250 to 0.750**" in text
    assert "optimistic" not in text


def test_the_score_says_what_it_stands_on(copy: Callable[..., Path]) -> None:
    assert (
        "that of the procedure with so many rows: k = 5 folds, r = 2 repeats, n = 60 rows, drawn by row, "
        "configurations tried: 1." in section(card.write_card(copy()).read_text(), "summary")
    )


def test_folds_without_spread_have_an_optimistic_interval_only(copy: Callable[..., Path]) -> None:
    run = copy(scores__f1_macro__conservative_interval=None)
    text = section(card.write_card(run).read_text(), "summary")
    assert "an optimistic one" in text
    assert "so that there is no conservative one" in " ".join(text.split())


def grid_of(results: dict[str, Any], **best: Any) -> list[dict[str, Any]]:
    """Two configurations with the run's own scores."""
    entry = {
        "learning_rate": 0.1,
        "weight_decay": 0.0,
        "best": True,
        "scores": results["scores"],
        "folds": [],
    }
    return [entry | best, entry | {"learning_rate": 0.01, "best": False}]


def test_a_grid_tells_how_far_the_others_are_behind_and_what_the_choice_costs(
    copy: Callable[..., Path],
) -> None:
    run = copy()
    first, second = grid_of(change(run), behind=None, p=None, p_holm=None, bbc=0.8125)
    change(run, grid=[first, second | {"behind": 0.0625, "p": 0.25, "p_holm": 0.5, "bbc": None}])
    text = section(card.write_card(run).read_text(), "grid")
    rows = table(text, "Learning rate")
    assert [(row["Behind the best"], row["p (Holm)"]) for row in rows] == [("-", "-"), ("0.062", "0.500")]
    assert "corrected for the choice, F1 (macro) is **0.812**" in text
    assert "configurations tried: 2" in (run / "README.md").read_text()


def test_calibration_stands_in_the_card(copy: Callable[..., Path]) -> None:
    run = copy(
        calibration__ece_before=0.1875, calibration__ece_after=0.0625, calibration__temperature=1.625,
        calibration__log_loss_before=1.5, calibration__log_loss_after=0.5,
    )  # fmt: skip
    text = section(card.write_card(run).read_text(), "calibration")
    assert [list(row.values()) for row in table(text, "Measure")[:2]] == [
        ["Log loss", "1.500", "0.500"],
        ["Calibration error of the predicted class", "0.188", "0.062"],
    ]
    assert "The temperature of all\nout-of-fold rows is **1.625**: divide the model's logits by it" in text
    assert "nothing to correct" not in text
    change(run, final__temperature_in_weights=True)
    whole = card.write_card(run).read_text()
    assert "is **1.625**: the published weights are divided by it" in whole
    assert "The output layer is divided by 1.625" in whole
    change(run, calibration__floor_before=0.2, calibration__temperature=1.0)
    assert "these rows show nothing to correct" in card.write_card(run).read_text()
    change(run, calibration__temperature=1.0, final__temperature_in_weights=False)
    whole = card.write_card(run).read_text()
    assert "**the probabilities are published as they come**" in whole
    assert "divides the logits by" not in whole
    assert "calibration" not in sections(card.write_card(copy(calibration=None)).read_text())


def test_failed_folds_are_shown_and_counted(copy: Callable[..., Path]) -> None:
    text = card.write_card(copy()).read_text()
    failed = [row for row in table(text, "Fold") if row["Fold"].endswith("fold 4")]
    assert [row["F1 (macro)"] for row in failed] == ["failed: OutOfMemoryError: tried to take 2 GiB"] * 2
    assert "**2 of 10 folds failed**, so the scores are over the other 8." in text


def test_a_run_of_which_every_fold_failed_still_has_a_card(tmp_path: Path) -> None:
    make_run(tmp_path, shape=Shape(failed=(0, 1, 2, 3, 4)), final="none")
    path = card.write_card(tmp_path)
    assert "**No score:** no fold was finished" in path.read_text()
    assert "model-index" not in header_of(path)


def test_test_scores_stand_beside_the_cross_validated_ones(copy: Callable[..., Path]) -> None:
    run = copy(
        test={"num_rows": 25, "scores": {"f1_macro": 0.3125, "accuracy": None}}, config__test_split="test"
    )
    path = card.write_card(run)
    rows = table(path.read_text(), "Metric | Test")
    assert [(row["Metric"], row["Test"]) for row in rows] == [("F1 (macro)", "0.312"), ("accuracy", "n/a")]
    assert (
        rows[0]["Cross-validation"]
        == table(path.read_text(), "Metric")[0]["Mean"]
        + " ± "
        + table(path.read_text(), "Metric")[0]["Standard deviation"]
    )
    assert "The test F1 (macro) lies outside the cross-validated interval" in path.read_text()
    held_out = header_of(path)["model-index"][0]["results"][1]
    assert held_out["dataset"]["split"] == "test"
    assert held_out["metrics"] == [{"type": "f1", "value": 0.3125, "name": "F1 (macro), held-out test"}]
    change(run, scores__f1_macro__conservative_interval=[0.3, 0.9])
    assert "lies outside" not in card.write_card(run).read_text()


# What it says


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"final__kind": "none"},
        {"from_scratch": True, "base_model": "timm:resnet18", "base_model_revision": None},
        {"frozen_proof": None, "config__trainable": "all"},
        {"folds_scheme": "walk-forward", "config__time_by": "date", "config__gap": 2},
        {"dataset__grouped_by": "author", "dataset__hub": False, "dataset__name": "/home/ann/my reviews.csv"},
        {"config__id_column": "key", "dataset__config": "plain", "notes": []},
        {"folds_scheme": "a scheme of tomorrow", "hardware__num_threads": 3, "hardware__num_processes": 4},
    ],
    ids=str,
)
def test_every_card_is_whole_and_has_no_blank(
    copy: Callable[..., Path], task: str, changes: dict[str, Any]
) -> None:
    text = card.write_card(copy(task, **changes)).read_text()
    assert not re.search(r"\bNone\b|\bnan\b|\{\{|\{%|Undefined|\( *\)|  \|  \||ann|``", prose(text))
    assert text.count("hf-transfer:begin") == text.count("hf-transfer:end") >= 8


def prose(text: str) -> str:
    """Leave out what may rightly hold such letters: code and the record."""
    return re.sub(r"^```.*?^```$|^<!-- \{[^\n]*$", "", text, flags=re.M | re.S)


def test_the_header_says_only_what_is_known(copy: Callable[..., Path]) -> None:
    header = header_of(card.write_card(copy()))
    assert {key: header[key] for key in list(header)[:6]} == {
        "base_model": "FacebookAI/roberta-base",
        "base_model_relation": "finetune",
        "datasets": ["cornell-movie-review-data/rotten_tomatoes"],
        "pipeline_tag": "text-classification",
        "library_name": "transformers",
        "tags": ["hf-transfer-kit", "cross-validation", "text-classification"],
    }
    assert header["metrics"] == ["f1", "accuracy", "log_loss", "balanced_accuracy", "matthews_correlation"]
    assert "license" not in header


@pytest.mark.parametrize(
    "name", ["builtin:tiny-bert", "timm:resnet18", "/srv/models/bert", "./bert", "runs/x/model"]
)
def test_a_base_model_that_is_not_on_the_hub_is_not_linked(
    copy: Callable[..., Path], name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "runs/x/model").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    path = card.write_card(copy(base_model=name, base_model_revision=None))
    assert header_of(path).keys().isdisjoint({"base_model", "base_model_relation"})
    assert "(https://huggingface.co/" not in section(path.read_text(), "summary").split("fine-tuned")[0]


def test_a_local_folder_is_no_repository_of_the_same_name(copy: Callable[..., Path]) -> None:
    path = card.write_card(copy(base_model="models/bert", base_model_revision="blake2b:7ea80123"))
    assert header_of(path).keys().isdisjoint({"base_model", "base_model_relation"})
    said = section(path.read_text(), "summary")
    assert "It is `bert` (digest of its files `7ea80123`), fine-tuned" in said
    assert "huggingface.co/models" not in said


def test_a_folder_called_model_is_named_by_the_one_that_it_is_in(copy: Callable[..., Path]) -> None:
    path = card.write_card(copy(base_model="runs/reviews/model", base_model_revision="blake2b:7ea80123"))
    assert "It is `reviews` (" in section(path.read_text(), "summary")


def test_random_weights_are_no_fine_tuning(copy: Callable[..., Path]) -> None:
    path = card.write_card(copy(from_scratch=True))
    assert "base_model" not in header_of(path)
    assert "started from random weights, trained on" in path.read_text()


def test_local_data_are_named_without_their_folders(copy: Callable[..., Path]) -> None:
    path = card.write_card(copy(dataset__hub=False, dataset__name="/home/ann/Film Reviews.csv"))
    assert "datasets" not in header_of(path)
    dataset = header_of(path)["model-index"][0]["results"][0]["dataset"]
    assert (dataset["type"], dataset["name"]) == ("film-reviews.csv", "Film Reviews.csv")


def test_timm_weights_say_so(copy: Callable[..., Path]) -> None:
    path = card.write_card(copy("image-classification", config__push_to_hub="me/birds"))
    assert "timm" in header_of(path)["tags"]
    assert path.read_text().split("# ", 1)[1].startswith("birds\n")
    assert 'timm.create_model("hf-hub:me/birds", pretrained=True)' in path.read_text()
    assert 'pipeline("image-classification", model="me/birds")' in path.read_text()


@pytest.mark.parametrize("task", TASKS)
def test_transformers_own_models_are_not_called_timm_s(copy: Callable[..., Path], task: str) -> None:
    path = card.write_card(copy(task, library="transformers", architecture="vit", base_model="me/start"))
    assert "timm" not in header_of(path)["tags"]
    assert "timm" not in path.read_text()


def test_the_card_says_whose_score_it_is(copy: Callable[..., Path]) -> None:
    text = card.write_card(copy()).read_text()
    assert "trained on 48 of the 60 rows in the folds.\nThe score is therefore that of the procedure" in text
    assert "run once more on all 60 rows (epochs: 3);\nno rows are left to score them on." in text
    text = card.write_card(copy(final__kind="none")).read_text()
    assert "No weights are published." in text
    assert "How to use it" not in text


def test_the_card_says_how_it_was_made(copy: Callable[..., Path]) -> None:
    run = copy(hardware__seconds=754.2, config__seed=17, config__num_epochs=9)
    folds = change(run)["folds"]
    folds[0]["num_train"] = 47
    change(run, folds=folds)
    text = card.write_card(run).read_text()
    assert "trained on 47 to 48 of the 60 rows in the folds." in text
    assert "5 folds, 2 times, scheme `stratified`, seed 17, fingerprint `f000c0ffee0005`." in text
    assert "```sh\npython recipes/sentiment.py --trainable last:2\n```" in text
    assert "2026-11-20, on cpu: AMD EPYC, 2 cores: 12 min 34 s in all, threads" in text
    assert "hf-transfer-kit 0.1.0, python 3.11.9, torch 2.15.0" in text
    assert {"Setting": "num_epochs", "Value": "9"} in table(text, "Setting")


def test_the_freeze_is_proved_or_its_failure_is_told(copy: Callable[..., Path]) -> None:
    text = section(card.write_card(copy()).read_text(), "layers")
    assert "`last:2`: 14,768,642 of 124,647,170 parameters learned (11.8 %)." in text
    assert [row["Status"] for row in table(text, "Layers")] == ["frozen"] * 3 + ["trains"] * 3
    frozen = ["stem", "14", "7,087,872", "0", "frozen", "", "fixed", "off"]
    assert list(table(text, "Layers")[0].values()) == frozen
    trains = ["head", "14", "7,087,872", "7,087,872", "trains", "2e-05", "learns", "on"]
    assert list(table(text, "Layers")[-1].values()) == trains
    assert text.count("`" + "9f2c" * 8 + "`") == 2
    assert "equal to the bit, in all 8 folds." in text
    run = copy()
    results = change(run)
    results["folds"][1]["frozen_hash_after"] = "dead"
    save(run, results)
    assert "**The frozen layers moved.**" in (text := section(card.write_card(run).read_text(), "layers"))
    assert "and differ in repeat 1, fold 2." in text


def test_simulated_coverage_is_told_for_bootstrap_intervals_only(copy: Callable[..., Path]) -> None:
    assert "83 to 91 % of cases" in card.write_card(copy()).read_text()
    run = copy(scores__f1_macro__interval_kind="corrected resampled t over repeats and folds")
    assert "83 to 91 %" not in card.write_card(run).read_text()


def test_rows_in_time_have_their_own_warning(copy: Callable[..., Path]) -> None:
    warning = "54 % of simulated cases"
    assert warning not in card.write_card(copy()).read_text()
    assert warning in section(card.write_card(copy(config__time_by="date")).read_text(), "limits")


def test_the_code_that_recomputes_the_scores_gives_the_scores(
    copy: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    for task, column in (("text-classification", "accuracy"), ("token-classification", "F1 (entities)")):
        run = copy(task)
        text = card.write_card(run).read_text()
        monkeypatch.chdir(run)
        with redirect_stdout(io.StringIO()) as printed:
            exec("import pandas as pd\n" + snippets(section(text, "split"))[1], {})
        found = [
            f"{float(number):.3f}" for number in re.findall(r"\d\.\d+|(?<= )1(?=\n)", printed.getvalue())
        ]
        assert found == [row[column] for row in table(text, "Fold") if row["Epochs"]]


@pytest.mark.parametrize("id_column", [None, "key"])
def test_the_code_that_rebuilds_the_split_gives_the_split(
    copy: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, id_column: str | None
) -> None:
    import datasets

    run = copy(config__id_column=id_column, dataset__config="plain")
    rows = datasets.Dataset.from_dict({"key": range(60), "text": [f"text {i}" for i in range(60)]})
    asked = {}
    monkeypatch.setattr(
        datasets, "load_dataset", lambda *names, **more: asked.update(names=names, **more) or rows
    )
    monkeypatch.chdir(run)
    names: dict[str, Any] = {}
    exec(snippets(section(card.write_card(run).read_text(), "split"))[0], names)
    assert asked == {"names": ("cornell-movie-review-data/rotten_tomatoes", "plain"), "split": "train"}
    assert names["rows"]["key"][:] == list(range(0, 60, 5))
    assert sorted({*names["held_out"], *names["trained_on"]}) == list(range(60))


def test_blocks_of_time_are_trained_on_earlier_ones(
    copy: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = copy(folds_scheme="walk-forward", dataset__hub=False)
    results = change(run)
    change(run, folds=[fold for fold in results["folds"] if fold["fold"] == 2])
    monkeypatch.chdir(run)
    names: dict[str, Any] = {}
    exec(snippets(section(card.write_card(run).read_text(), "split"))[0], names)
    assert (set(names["held_out"] % 5), set(names["trained_on"] % 5)) == ({2}, {0, 1})


def test_every_snippet_is_python(copy: Callable[..., Path]) -> None:
    for task in TASKS:
        found = snippets(card.write_card(copy(task, config__output_dir='runs/a "b"')).read_text())
        assert len(found) >= 3
        for snippet in found:
            compile(snippet, "card", "exec")


# Hostile values


@pytest.mark.parametrize("task", TASKS)
def test_hostile_values_do_not_break_the_card(copy: Callable[..., Path], task: str) -> None:
    run = copy(
        task,
        label_names=list(HOSTILE),
        per_class=[{"label": n, "precision": 0.5, "recall": 0.5, "f1": 0.5, "support": 1} for n in HOSTILE],
        confusion=None,
        notes=list(HOSTILE),
        command="x '```\n<!-- hf-transfer:end run -->\n'",
        dataset__name="| <b> [x](y) `",
        dataset__hub=True,
        dataset__column="a|`b",
    )
    path = card.write_card(run)
    text = path.read_text()
    assert len(table(text, "Type" if task == "token-classification" else "Id")) == len(HOSTILE)
    parser = pytest.importorskip("markdown_it").MarkdownIt("commonmark").enable("table")
    page = parser.render(text.split("---\n", 2)[2])
    assert "<script" not in page
    assert page.count("<h2>") == len(re.findall("^## ", text, re.M))
    assert all(f"alert(1)&lt;/script&gt;</{tag}>" in page for tag in ("code", "td", "li"))
    assert is_plain(header_of(path))
    before = path.read_bytes()
    assert card.write_card(run).read_bytes() == before


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.text(min_size=1), split=st.text(), title=st.text(min_size=1))
def test_any_names_give_a_header_that_reads_back(
    finished: dict[str, Path], name: str, split: str, title: str
) -> None:
    results = json.loads((finished["text-classification"] / "results.json").read_text())
    results["dataset"] |= {"name": name, "split": split}
    header = card.card_header(results_of(results), one_line(title))
    assert yaml.safe_load(yaml.safe_dump(header, allow_unicode=True)) == header
    assert is_plain(header)


def is_plain(value: Any) -> bool:
    if isinstance(value, dict):
        return all(type(key) is str and is_plain(item) for key, item in value.items())
    if isinstance(value, list):
        return all(map(is_plain, value))
    return type(value) in (str, int, float, bool)


# What a person wrote


def renewed(run: Path) -> str:
    """Write the card of the same run with another number."""
    change(run, scores__f1_macro__mean=0.4567)
    return card.write_card(run).read_text()


def test_writing_twice_gives_the_same_bytes(copy: Callable[..., Path]) -> None:
    run = copy()
    first = card.write_card(run).read_bytes()
    assert card.write_card(run).read_bytes() == first
    assert sorted(path.name for path in run.iterdir() if path.name.startswith((".", "README"))) == [
        "README.md"
    ]


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.integers(0, 8), st.text("ab #|*`<>-\n{}%é", min_size=1, max_size=30), min_size=1))
def test_text_between_sections_is_kept_and_numbers_are_new(
    finished: dict[str, Path], tmp_path_factory: pytest.TempPathFactory, texts: dict[int, str]
) -> None:
    run = tmp_path_factory.mktemp("own") / "reviews"
    shutil.copytree(finished["text-classification"], run)
    path = card.write_card(run)
    path.write_text(with_texts(path.read_text(), texts))
    kept = renewed(run)
    path.unlink()
    assert kept == with_texts(card.write_card(run).read_text(), texts)


def with_texts(text: str, texts: dict[int, str]) -> str:
    for place, own in texts.items():
        mark = re.findall(r"^<!-- hf-transfer:begin .*$", text, re.M)[place]
        text = text.replace(mark, f"own {own} text\n\n{mark}")
    return text


def test_text_before_and_after_everything_is_kept(copy: Callable[..., Path]) -> None:
    path = card.write_card(run := copy())
    text = path.read_text().replace("---\n\n<!--", "---\nA word before.\n\n<!--") + "\nA word after."
    path.write_text(text)
    kept = renewed(run)
    assert kept.count("A word before.") == kept.count("A word after.") == 1
    assert "**F1 (macro): 0.457 ±" in kept
    assert kept.count("\n# ") == 1


def test_keys_that_a_person_adds_changes_or_removes_stay_so(copy: Callable[..., Path]) -> None:
    path = card.write_card(run := copy(config__license="apache-2.0"))
    _, header, body = path.read_text().split("---\n", 2)
    mine = yaml.safe_load(header) | {"language": "en", "license": "mit", "tags": ["films"]}
    del mine["library_name"]
    path.write_text(f"---\n{yaml.safe_dump(mine)}---\n{body}")
    for _ in range(2):
        renewed(run)
        header = header_of(path)
        assert (header["language"], header["license"], header["tags"]) == ("en", "mit", ["films"])
        assert "library_name" not in header
        assert header["model-index"][0]["results"][0]["metrics"][0]["value"] == 0.4567


def test_a_key_that_nobody_touched_follows_the_run(copy: Callable[..., Path]) -> None:
    path = card.write_card(run := copy(config__license="apache-2.0"))
    change(run, config__license=None, base_model="google-bert/bert-base-cased")
    card.write_card(run)
    assert header_of(path)["base_model"] == "google-bert/bert-base-cased"
    assert "license" not in header_of(path)


def test_results_of_others_are_kept_and_ours_are_never_stale(copy: Callable[..., Path]) -> None:
    path = card.write_card(run := copy())
    _, header, body = path.read_text().split("---\n", 2)
    mine = yaml.safe_load(header)
    other = {
        "task": {"type": "x"},
        "dataset": {"type": "y", "name": "y"},
        "metrics": [{"type": "f1", "value": 1}],
    }
    mine["model-index"][0]["results"][0]["dataset"]["name"] = "renamed"
    mine["model-index"][0]["results"].append(other)
    mine["model-index"].append({"name": "elsewhere", "results": [other]})
    path.write_text(f"---\n{yaml.safe_dump(mine)}---\n{body}")
    for _ in range(2):
        renewed(run)
        index = header_of(path)["model-index"]
        assert [len(entry["results"]) for entry in index] == [2, 1]
        assert index[0]["results"][0]["metrics"][0]["value"] == 0.4567
        assert index[0]["results"][1] == index[1]["results"][0] == other


def test_a_section_that_a_person_removed_stays_away(copy: Callable[..., Path]) -> None:
    path = card.write_card(run := copy())
    text = path.read_text()
    path.write_text(text.replace(sections(text)["limits"], ""))
    for _ in range(2):
        assert "What the numbers do not say" not in renewed(run)


def test_sections_come_and_go_with_what_there_is_to_say(copy: Callable[..., Path]) -> None:
    path = card.write_card(run := copy())
    first = path.read_text()
    change(run, test={"num_rows": 25, "scores": {"accuracy": 0.5}})
    order = list(sections(card.write_card(run).read_text()))
    assert order[order.index("test") - 1 : order.index("test") + 2] == ["learning", "test", "layers"]
    change(run, test=None)
    assert card.write_card(run).read_text() == first


def test_a_card_that_the_kit_did_not_write_is_kept_whole(copy: Callable[..., Path]) -> None:
    run = copy()
    (run / "README.md").write_text("---\nlicense: mit\npipeline_tag: other\n---\n\n# Mine\n\nHello.\n")
    text = card.write_card(run).read_text()
    assert text.split("---\n", 2)[2].startswith("\n# Mine\n\nHello.\n\n<!-- hf-transfer:begin summary -->\n")
    assert (header_of(run / "README.md")["license"], header_of(run / "README.md")["pipeline_tag"]) == (
        "mit",
        "other",
    )
    assert card.write_card(run).read_text() == text


def test_windows_line_ends_and_a_byte_order_mark_are_understood(copy: Callable[..., Path]) -> None:
    path = card.write_card(run := copy())
    text = path.read_text()
    path.write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    assert card.write_card(run).read_text() == text


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda t: t.replace("<!-- hf-transfer:end use -->\n", ""), "needs an end of the same name, once"),
        (lambda t: t + "\n" + sections(t)["use"], "needs an end of the same name, once"),
        (lambda t: "---\na: [\n---\n", "cannot be brought up to date: while parsing"),
        (lambda t: "---\n- a\n---\n", "must hold 'key: value' lines"),
        (lambda t: "\udcff", "can't decode byte 0xff"),
    ],
)
def test_a_broken_card_is_refused_and_left_alone(
    copy: Callable[..., Path], break_it: Callable[[str], str], message: str
) -> None:
    path = card.write_card(run := copy())
    path.write_bytes(before := break_it(path.read_text()).encode(errors="surrogateescape"))
    with pytest.raises(DataError, match=message):
        card.write_card(run)
    assert path.read_bytes() == before


# Its files


def test_a_folder_without_results_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"results\.json does not exist: the folder holds no finished run"):
        card.write_card(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not readable as JSON"),
        ("[]", "is not as a run writes it: it is a list of 0, not an object"),
        ("{}", r"names no format, and this kit \(.*\) reads format 1: run the recipe again"),
        ('{"format_version": 2, "kit_version": "9.1"}', r"is of format 2, .*the kit that wrote it \(9\.1\)"),
        ('{"format_version": 1}', "is not as a run writes it: it lacks 'kit_version'"),
    ],
)
def test_results_that_are_no_results_are_refused(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "results.json").write_text(content)
    with pytest.raises(ConfigError, match=message):
        card.write_card(tmp_path)
    assert not (tmp_path / "README.md").exists()


@pytest.mark.parametrize("lacking", ["trainable__spec", "dataset__hub"])
def test_a_value_that_is_missing_deep_inside_is_named(copy: Callable[..., Path], lacking: str) -> None:
    run = copy()
    results = change(run)
    part, name = lacking.split("__")
    del results[part][name]
    save(run, results)
    with pytest.raises(ConfigError, match=rf"results\.json is not as a run writes it: {part} lacks '{name}'"):
        card.write_card(run)


def test_it_draws_the_pictures_it_shows(copy: Callable[..., Path]) -> None:
    run = copy("image-classification")
    text = card.write_card(run).read_text()
    shown = set(re.findall(r"\]\((plots/\w+\.png)\)", text))
    assert shown == {f"plots/{name}.png" for name in ("folds", "confusion", "learning", "reliability")}
    assert all((run / name).read_bytes().startswith(b"\x89PNG") for name in shown)


def test_it_draws_no_confusion_of_entities(copy: Callable[..., Path]) -> None:
    run = copy("token-classification")
    assert "confusion.png" not in card.write_card(run).read_text()
    assert not (run / "plots/confusion.png").exists()


@pytest.mark.slow
def test_a_card_needs_no_torch(copy: Callable[..., Path]) -> None:
    code = "import sys; from hf_transfer import write_card; write_card(sys.argv[1]); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code, copy()], capture_output=True, text=True, check=True)
    heavy = {"torch", "transformers", "datasets", "evaluate", "timm", "sklearn"}
    assert heavy.isdisjoint(done.stdout.split())


def test_a_pushed_ensemble_tells_how_to_fetch_it(copy: Callable[..., Path]) -> None:
    run = copy(
        final__kind="ensemble", final__members=["fold-r0f0", "fold-r0f1"], config__push_to_hub="me/my_reviews"
    )
    text = card.write_card(run).read_text("utf-8")
    assert 'hf download "me/my_reviews" --local-dir "my_reviews"' in text
    assert 'hf-transfer predict "my_reviews" INPUT' in text
    assert 'model=f"{folder}/fold-r0f0"' in text
    assert "takes 2 times what one model takes" in text
    assert "unknown, as each row was learned from by 1 of them" in text


def test_scores_on_sealed_rows_are_told_and_indexed(copy: Callable[..., Path]) -> None:
    run = copy(final__sealed={"num_rows": 12, "scores": {"f1_macro": 0.75}}, config__sealed=0.1)
    text = card.write_card(run).read_text("utf-8")
    assert "12 rows, a share of 10 % as asked, were set aside before the split" in text
    assert "one on the sealed rows, below" in text
    assert "F1 (macro), sealed rows, the published model" in text


def test_an_agreement_that_cannot_be_missed_is_not_asked_for(copy: Callable[..., Path]) -> None:
    for expected, asked in ((0.4, True), (-0.48, False)):
        text = card.write_card(copy(final__agreement={"share": 0.5, "expected": expected})).read_text("utf-8")
        assert "they give the out-of-fold prediction in 50 % of cases" in text
        assert ("must do so in 40 % or more" in text) is asked
        assert "-48" not in text


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "(column `text` →\n`label`), and scored"),
        (
            {"input": "text_pair", "dataset__column": "question,context"},
            "(columns `question` and `context` →\n`label`), and scored",
        ),
        (
            {"config__label_columns": ["a", "b", "c"], "dataset__label_column": "labels of several columns"},
            "(column `text` →\ncolumns `a`, `b` and `c`), and scored",
        ),
    ],
)
def test_a_card_names_all_columns(copy: Callable[..., Path], changes: dict[str, Any], words: str) -> None:
    run = copy(**changes)
    assert words in card.write_card(run).read_text()


CUT_SETS = {
    "target": "label_sets",
    "cuts": {
        "points": [{"name": "negative", "value": 0.3}, {"name": "positive", "value": 0.5}],
        "moved": 1,
        "scores": {},
    },
}


@pytest.mark.parametrize(
    ("library", "words"),
    [
        ("transformers", "# what a pipeline says of an input"),
        ("sentence-transformers", "# labels with their probabilities: 1 / (1 + exp(-logit))"),
    ],
)
def test_thresholds_speak_of_what_the_card_loads(copy: Callable[..., Path], library: str, words: str) -> None:
    text = card.write_card(copy(library=library, **CUT_SETS)).read_text()
    assert words in text
    assert ("a pipeline" in text.split("### Thresholds")[1]) == ("import pipeline" in text)

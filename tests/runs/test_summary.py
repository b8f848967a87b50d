from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from fake_run import Shape, class_scores, make_run
from sketches import results_of, sketch

from hf_transfer.runs import summary
from hf_transfer.runs.records import Tried
from hf_transfer.runs.summary import configuration_name, shown_metrics, varying_settings


def summary_text(results: Any) -> str:
    return summary.summary_text(results_of(results))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("runs") / "reviews"
    return folder, make_run(folder, shape=Shape(num_rows=60))


def test_the_summary_has_the_numbers_of_the_predictions(run: tuple[Path, dict[str, Any]]) -> None:
    lines = summary_text(run[1]).splitlines()
    rows = pd.read_parquet(run[0] / "predictions.parquet")
    by_fold = [class_scores(rows[rows.fold == fold])["f1_macro"] for fold in range(5)]
    assert lines[0].split()[:2] == ["fold", "f1_macro"]
    assert [line.split()[:3] for line in lines[1:6]] == [
        ["fold", str(fold + 1), f"{score:.3f}"] for fold, score in enumerate(by_fold)
    ]
    mean, std = pd.Series(by_fold).mean(), pd.Series(by_fold).std()
    low, high = run[1]["scores"]["f1_macro"]["interval"]
    (line,) = [line for line in lines[6:] if line.startswith("f1_macro ")]
    assert line.split() == [
        "f1_macro",
        f"{mean:.3f}",
        "±",
        f"{std:.3f}",
        f"{low:.3f}",
        "to",
        f"{high:.3f}",
        *("{:.3f} to {:.3f}".format(*run[1]["scores"]["f1_macro"]["conservative_interval"]).split()),
        "5",
    ]
    assert lines[-1].startswith("14,768,642 of 124,647,170 parameters trained (last:2) in 67.5 s on cpu")


def test_the_summary_says_which_interval_is_which(run: tuple[Path, dict[str, Any]]) -> None:
    text = summary_text(run[1])
    assert "optimistic: bootstrap over out-of-fold rows, within folds; the models as they are\n" in text
    assert "conservative: corrected t over folds; other training sets too (quote both)\n" in text
    assert (
        "of the procedure with 48 training rows: k = 5 folds, r = 1 repeat, n = 60 rows, drawn by row, "
        "configurations tried: 1\n" in text
    )
    score = run[1]["scores"]["f1_macro"] | {"headline": "conservative"}
    often = run[1] | {"scores": {"f1_macro": score}, "num_repeats": 3}
    assert "training sets too (the one to quote)" in summary_text(often)


def test_a_mean_outside_of_its_interval_is_explained(run: tuple[Path, dict[str, Any]]) -> None:
    scores = run[1]["scores"]
    score = scores["f1_macro"] | {"mean": 0.1, "pooled": 0.5, "interval": [0.4, 0.6]}
    text = summary_text(run[1] | {"scores": scores | {"f1_macro": score}})
    assert "it is of one score over all folds together, here f1_macro 0.500" in text
    assert "all folds together" not in summary_text(
        run[1] | {"scores": scores | {"f1_macro": score | {"mean": 0.45}}}
    )


def test_scores_of_equal_folds_have_one_interval(run: tuple[Path, dict[str, Any]]) -> None:
    equal = {name: score | {"conservative_interval": None} for name, score in run[1]["scores"].items()}
    text = summary_text(run[1] | {"scores": equal})
    assert "interval: bootstrap over out-of-fold rows, within folds\n" in text
    assert "conservative" not in text


def test_a_grid_is_set_beside_its_best(run: tuple[Path, dict[str, Any]]) -> None:
    entry = {"learning_rate": 0.1, "weight_decay": 0.0, "best": True, "scores": run[1]["scores"], "bbc": 0.75}
    other = entry | {"learning_rate": 0.2, "best": False, "behind": 0.0625, "p_holm": 0.5, "bbc": None}
    lines = summary_text(run[1] | {"grid": [entry, other]}).splitlines()
    (first,) = [line.split() for line in lines if line.split()[:1] == ["0.1"]]
    (second,) = [line.split() for line in lines if line.split()[:1] == ["0.2"]]
    assert first[-3:] == ["-", "-", "best"]
    assert second[-2:] == ["0.062", "0.500"]
    assert any(line.endswith("Corrected for the choice: f1_macro 0.750.") for line in lines)
    assert "Corrected" not in summary_text(run[1] | {"grid": [entry | {"bbc": None}, other]})


def test_the_summary_tells_failed_folds_and_test_scores(tmp_path: Path) -> None:
    results = make_run(tmp_path, shape=Shape(num_rows=60, failed=(1,)))
    results["test"] = {"num_rows": 9, "scores": {"f1_macro": 0.8125}}
    text = summary_text(results)
    assert "fold 2 failed: OutOfMemoryError: tried to take 2 GiB" in text
    assert [line.split()[-1] for line in text.splitlines() if line.startswith("f1_macro ")] == ["0.812"]


def test_a_configuration_is_named_by_the_settings_that_vary() -> None:
    choices = ((1e-3, "head"), (1e-2, "last:2"))
    grid = [sketch(Tried, {"learning_rate": rate, "trainable": spec, "p": rate}) for rate, spec in choices]
    assert varying_settings(grid) == ["learning_rate", "trainable"]
    assert configuration_name(grid[1], grid) == "learning_rate=0.01, trainable=last:2"
    assert configuration_name(grid[0], grid[:1]) == "learning_rate=0.001"


def test_the_primary_metric_is_shown_first_and_each_once() -> None:
    names = ("accuracy", "balanced_accuracy", "bleu", "f1_macro", "log_loss", "mcc")
    results = results_of({"primary_metric": "log_loss", "scores": {name: {} for name in names}})
    assert shown_metrics(results) == ["log_loss", "accuracy", "f1_macro", "balanced_accuracy"]
    assert sorted(shown_metrics(results, None)) == sorted(names)

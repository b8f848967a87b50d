from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import sklearn.metrics as sk
from fake_run import Shape, make_run
from sketches import results_of

from hf_transfer.runs.commonest import commonest_line, commonest_scores, uneven_line
from hf_transfer.runs.records import Results


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Results]:
    """A run with a score and counts of one's own."""
    found = make_run(tmp_path_factory.mktemp("runs") / "reviews", shape=Shape(num_rows=40))

    def results(metric: str, mean: float, **counts: int) -> Results:
        score = found["scores"]["accuracy"] | {"mean": mean}
        values = found | {"primary_metric": metric, "scores": {metric: score}}
        return results_of(values | {"dataset": found["dataset"] | {"class_counts": counts}})

    return results


def test_the_commonest_class_scores_as_scikit_learn_says() -> None:
    truth = np.repeat([0, 1, 2], [6, 3, 1])
    guess = np.zeros(10, int)
    assert commonest_scores({"a": 6, "b": 3, "c": 1, "never": 0}) == pytest.approx(
        {
            "accuracy": sk.accuracy_score(truth, guess),
            "balanced_accuracy": sk.balanced_accuracy_score(truth, guess),
            "f1_macro": sk.f1_score(truth, guess, average="macro", zero_division=0),
            "f1_micro": sk.f1_score(truth, guess, average="micro", zero_division=0),
            "f1_weighted": sk.f1_score(truth, guess, average="weighted", zero_division=0),
            "mcc": sk.matthews_corrcoef(truth, guess),
        }
    )
    assert commonest_scores({}) == {}


@pytest.mark.parametrize(
    ("mean", "line"),
    [
        (0.8, "always answering 'yes', the commonest class: accuracy 0.750"),
        (
            0.75,
            "Warning: accuracy 0.750 is no better than always answering 'yes', the commonest class (0.750)",
        ),
        (0.7, "Warning: accuracy 0.700 is below always answering 'yes', the commonest class (0.750)"),
    ],
)
def test_a_score_stands_beside_that_of_the_commonest_class(
    made: Callable[..., Results], mean: float, line: str
) -> None:
    assert commonest_line(made("accuracy", mean, no=10, yes=30)) == line


def test_uneven_classes_suggest_another_headline(made: Callable[..., Results]) -> None:
    advice = uneven_line(made("accuracy", 0.9, no=10, yes=90))
    assert advice is not None
    assert advice.startswith("The classes are 9 to 1, so accuracy says little of the rare ones")
    assert "--metric_for_best_model balanced_accuracy" in advice
    assert uneven_line(made("accuracy", 0.9, no=10, yes=40)) is None
    assert uneven_line(made("balanced_accuracy", 0.9, no=10, yes=90)) is None


def test_the_summary_shows_both(made: Callable[..., Results], tmp_path: Path) -> None:
    from hf_transfer.runs.summary import summary_text

    text = summary_text(made("accuracy", 0.85, no=10, yes=90))
    assert "Warning: accuracy 0.850 is below always answering 'yes'" in text
    assert "The classes are 9 to 1" in text


@pytest.mark.parametrize(("explained", "warned"), [(-0.02, True), (0.0, True), (0.3, False)])
def test_numbers_that_are_no_better_than_their_mean_are_said_to_be(
    made: Callable[..., Results], explained: float, warned: bool
) -> None:
    results = replace(made("r_squared", explained), confusion=None)
    line = commonest_line(results)
    assert (line is not None) == warned
    if line:
        assert line.endswith(f"{explained:.3f} is no better than always giving the mean (0.000)")

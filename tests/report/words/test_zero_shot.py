from dataclasses import replace
from pathlib import Path

import pytest
from fake_run import Shape, make_run
from sketches import results_of

from hf_transfer.report.compare import Run, compare_runs
from hf_transfer.report.words.verdicts import verdicts, worth_it
from hf_transfer.runs.records import ZeroShot
from hf_transfer.runs.summary import summary_text
from hf_transfer.runs.zero_shot import Asked, zero_shot_part

ASKED = Asked(
    "/home/me/clip", None, "a photo of a {}.", ["a photo of a cat.", "a photo of a dog."], "zero-shot-0"
)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    folder = tmp_path_factory.mktemp("runs")
    skills = {"good": 3.0, "bad": 0.2}
    made = {
        name: make_run(folder / name, shape=Shape(num_rows=100, skill=skill))
        for name, skill in skills.items()
    }
    return {name: Run(name, results_of(results), folder / name) for name, results in made.items()}


def part(without: Run, trained: Run) -> ZeroShot:
    folds, tables = zip(*[(run.results.folds, run.predictions) for run in (without, trained)], strict=True)
    scorer = trained.target.scorer.headed_by(trained.results.primary_metric)
    return zero_shot_part(ASKED, folds, tables, trained.target, scorer, seed=0)


def test_the_test_is_that_of_two_runs(runs: dict[str, Run]) -> None:
    (pair,) = compare_runs([runs["bad"], runs["good"]]).pairs
    found = part(runs["bad"], runs["good"])
    assert replace(found.pair, first="bad", second="good") == pair
    assert found.scores["accuracy"].mean == runs["bad"].results.scores["accuracy"].mean


@pytest.mark.parametrize(
    ("without", "trained", "answer"),
    [
        ("bad", "good", "yes"),
        ("good", "bad", "no, zero-shot is better"),
        ("good", "good", "it changes nothing"),
    ],
)
def test_the_answer_is_that_of_the_test(
    runs: dict[str, Run], without: str, trained: str, answer: str
) -> None:
    found = part(runs[without], runs[trained])
    results = replace(runs[trained].results, zero_shot=found)
    (verdict,) = worth_it(results)
    assert (verdict.code, verdict.answer) == ("worth-it", answer)
    assert verdict in verdicts(results)
    assert verdict.words.startswith("Without training, clip reaches ")
    assert "(in 'a photo of a {}.')" in verdict.words
    assert "commonest class would reach" in verdict.words
    assert found.verdict in summary_text(results)


def test_without_such_a_model_nothing_is_asked(runs: dict[str, Run]) -> None:
    assert worth_it(runs["good"].results) == []


def test_folds_that_failed_are_left_out(runs: dict[str, Run], tmp_path: Path) -> None:
    results = make_run(tmp_path / "r", shape=Shape(num_rows=100, skill=3.0, failed=(1,)))
    some = Run("some", results_of(results), tmp_path / "r")
    assert part(runs["bad"], some).pair.left_out == ("r0f1",)

import pytest

from hf_transfer.errors import ConfigError
from hf_transfer.scores.class_scorer import ClassificationScorer
from hf_transfer.scores.names import decisive, shown_first
from hf_transfer.scores.number_scorer import NumberScorer
from hf_transfer.scores.tag_scorer import TaggingScorer
from hf_transfer.tasks import metric_name


@pytest.mark.parametrize(
    ("name", "task", "written"),
    [
        ("mcc", "", "Matthews correlation"),
        ("accuracy", "text-classification", "accuracy"),
        ("accuracy", "token-classification", "accuracy (tags)"),
        ("owner/own", "", "owner/own"),
    ],
)
def test_metrics_have_readable_names(name: str, task: str, written: str) -> None:
    assert metric_name(name, task) == written


@pytest.mark.parametrize(
    ("asked", "meant"),
    [("eval_loss", "log_loss"), ("f1", "f1_macro"), ("mcc", "mcc"), ("eval_accuracy", "accuracy")],
)
def test_the_deciding_score_goes_by_the_names_that_people_give_it(asked: str, meant: str) -> None:
    scorer = ClassificationScorer(["a", "b"])
    assert scorer.headed_by(asked).primary_metric == meant
    assert scorer.headed_by(None) is scorer
    assert scorer.primary_metric == "accuracy"


def test_entities_have_an_f1_of_their_own_and_no_loss() -> None:
    names = TaggingScorer(["O", "B-X", "I-X"]).higher_is_better
    assert decisive("f1", names) == "f1"
    with pytest.raises(ConfigError, match=r"'eval_loss' is no score of this task.*Use one of precision, rec"):
        decisive("eval_loss", names)


@pytest.mark.parametrize(
    ("columns", "shown"),
    [
        (["a"], ["mae", "rmse", "r_squared", "pearsonr"]),
        (["b", "a"], ["r_squared", "r_squared of b", "r_squared of a", "rmse"]),
        (["a", "b", "c", "d"], ["r_squared", "rmse", "mae", "pearsonr"]),
    ],
)
def test_of_several_numbers_each_is_shown_or_none(columns: list[str], shown: list[str]) -> None:
    scorer = NumberScorer(columns)
    assert shown_first(scorer.primary_metric, scorer.higher_is_better) == shown
    assert sorted(shown_first(scorer.primary_metric, scorer.ranges, None)) == sorted(scorer.ranges)

import pytest

from hf_transfer import SequenceClassification, TokenClassification
from hf_transfer.errors import ConfigError, DataError
from hf_transfer.tasks.targets.choice import choose_target
from hf_transfer.tasks.targets.labels import LabelColumn

TARGETS = SequenceClassification.targets


@pytest.mark.parametrize(
    ("values", "name"),
    [
        (["good", "bad"], "classes"),
        ([0, 1, 5], "classes"),
        ([True, False], "classes"),
        (["0", "1"], "classes"),
        (["v1.5", "2.5"], "classes"),
        ([1, None], "classes"),
        ([0.5, 1.0, float("nan")], "numbers"),
        (["0.5", "2"], "numbers"),
        (["0.5", "nan"], "numbers"),
        ([["a"], [], None], "label_sets"),
        ([[1, 2]], "label_sets"),
    ],
)
def test_the_labels_say_what_they_are(values, name):
    assert choose_target(LabelColumn(values, "column 'x'"), TARGETS).name == name


def test_declared_names_are_classes_or_sets():
    assert choose_target(LabelColumn([0, 1], "x", ("a", "b")), TARGETS).name == "classes"
    assert choose_target(LabelColumn([[0], []], "x", ("a", "b")), TARGETS).name == "label_sets"


@pytest.mark.parametrize("values", [[4.0, 1.0, None], ["4.0", "1.0", ""]])  # in memory, and of a CSV file
def test_whole_numbers_with_a_point_are_asked_about(values):
    column = LabelColumn(values, "column 'stars'")
    with pytest.raises(DataError, match=r"numbers such as '?4\.0.* --target classes or --target numbers"):
        choose_target(column, TARGETS)
    assert choose_target(column, TARGETS, "numbers").name == "numbers"
    assert choose_target(column, TARGETS, "classes").name == "classes"


def test_a_task_learns_its_own_targets_only():
    column = LabelColumn([["O"]], "x")
    assert choose_target(column, TokenClassification.targets).name == "tags"
    with pytest.raises(ConfigError, match="target='numbers' is not one of tags"):
        choose_target(column, TokenClassification.targets, "numbers")

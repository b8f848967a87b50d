import numpy as np
import pyarrow as pa
import pytest
import torch
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from hf_transfer import RunConfig
from hf_transfer.errors import DataError
from hf_transfer.tasks.targets.label_sets import LabelSets
from hf_transfer.tasks.targets.labels import LabelColumn
from hf_transfer.tasks.targets.reading import Reading

SETS = LabelSets(["cat", "dog", "owl"])


def read(*values, declared=None):
    return LabelSets.read([LabelColumn(column, "column 'labels'", declared) for column in values])


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weighted", [False, True])
def test_a_loss_is_that_of_pytorch_over_the_rows_that_count(smoothing, weighted):
    torch.manual_seed(0)
    outputs, labels = torch.randn(2, 4, 7, 3), torch.randint(0, 2, (2, 7, 3))
    weights = torch.tensor([[1.0, 2.0, 0.5], [3.0, 1.0, 1.0]]) if weighted else None
    labels[1, 5:] = SETS.missing
    loss, weight = SETS.head_losses(outputs, labels, weights, smoothing)
    for fold, count in ((0, 7), (1, 5)):
        assert weight[fold].tolist() == [3 * count]
        wanted = labels[fold, :count].float() * (1 - smoothing) + smoothing / 2
        for head in range(4):
            plain = functional.binary_cross_entropy_with_logits(
                outputs[fold, head, :count],
                wanted,
                reduction="sum",
                pos_weight=None if weights is None else weights[fold],
            )
            assert loss[fold, head] == pytest.approx(float(plain), rel=1e-5)
    alone = SETS.loss(outputs[1, 2], labels[1], None if weights is None else weights[1], smoothing)
    assert alone == pytest.approx(float(loss[1, 2]), rel=1e-6)
    assert SETS.weight(labels[1]) == 15


@settings(max_examples=30, deadline=None)
@given(st.lists(st.sets(st.integers(0, 2)), min_size=1, max_size=30))
def test_labels_are_marked_and_read_back(rows):
    marks = SETS.marks([sorted(row) for row in rows])
    assert [set(np.flatnonzero(row).tolist()) for row in marks] == rows
    weights = SETS.balanced_weights(SETS.encoded(rows))
    for column, weight in enumerate(weights):
        having = sum(column in row for row in rows)
        assert weight == pytest.approx((len(rows) - having) / having if having else 1.0)


def test_names_come_from_lists_of_texts_and_of_numbers():
    found = read([["dog", "cat"], [], ["dog", "dog"]], [["owl"]])
    assert (found.names, found.ids) == (("cat", "dog", "owl"), ([[0, 1], [], [1]], [[2]]))
    assert found.notes == ("Only the test split has rows of 'owl'; they cannot be learned.",)
    assert read([[10, 2], [2]]).names == ("2", "10")
    found = read([[1], []], declared=("no", "yes"))
    assert (found.names, found.ids) == (("no", "yes"), ([[1], []],))


def test_a_label_that_all_rows_have_is_told():
    found = read([["a", "b"], ["a"], ["a"]])
    assert found.notes == ("All 3 rows have the label 'a': it has no ROC AUC.",)


@pytest.mark.parametrize(
    ("values", "declared", "message"),
    [
        (
            [["a"], None],
            None,
            "1 row without a list of labels .*: row 1 .*an empty list says",
        ),
        ([["a"], "b"], None, "1 row whose labels in column 'labels' are no list: row 1 .*--label_separator"),
        (
            [["a"], ["b", None]],
            None,
            r"1 row with something else than a label .*: row 1 .*has \['b', None",
        ),
        ([[0], [3]], ("no", "yes"), "from 0 to 1"),
        ([["Pos"], ["pos"]], None, "'Pos' and 'pos' in column 'labels' differ only in case"),
        ([[], []], None, "No row has any label in column 'labels'"),
    ],
)
def test_what_is_no_set_of_labels_is_refused(values, declared, message):
    with pytest.raises(DataError, match=message):
        read(values, declared=declared)


def test_predictions_are_labels_of_a_half_or_more():
    logits = [np.array([[0.0, -1.0, 2.0]], np.float32), np.array([[-1.0, -2.0, -3.0]], np.float32)]
    found = SETS.columns(Dataset.from_dict({"label": [[0], []]}), logits)
    assert found["prediction"].to_pylist() == [[0, 2], []]
    assert found["label"].to_pylist() == [[0], []]
    answers, text = SETS.answers(["x", "y"], found, Reading())
    assert [one["labels"] for one in answers] == [["cat", "owl"], []]
    assert answers[0]["probabilities"]["cat"] == pytest.approx(0.5)
    assert [line.split() for line in text.splitlines()] == [["cat,", "owl", "x"], ["-", "y"]]


def test_two_models_agree_on_the_whole_set():
    table = pa.table({"prediction": [[0, 1], [2]], "label": [[1, 0], []]})
    given_, labels = SETS.compared(table)
    assert (given_ == labels).tolist() == [True, False]


def test_weights_need_a_solver_that_has_them():
    config = RunConfig(trainable="head", head_solver="ridge", class_weights="balanced")
    assert "needs another head_solver than ridge" in SETS.problems(config)[0]

import numpy as np
import pyarrow as pa
import pytest

from hf_transfer.tasks.targets.classes import Classes
from hf_transfer.tasks.targets.reading import Reading
from hf_transfer.tasks.targets.tags import Tags
from hf_transfer.tasks.targets.target import IGNORE_INDEX

CLASSES = Classes(("ant", "bee", "cat"))
TAGS = Tags(("O", "B-PER", "I-PER", "B-LOC", "I-LOC"))


def test_labels_count_for_classes_or_types_of_entities():
    assert [CLASSES.classes_of(label) for label in (2, 0)] == [("cat",), ("ant",)]
    assert (TAGS.classes_of([1, 2, 0, 3, 1]), TAGS.class_names) == (["PER", "LOC", "PER"], ["PER", "LOC"])


def test_rows_have_one_label_or_one_a_word():
    assert CLASSES.num_items([1, 0]).tolist() == [1, 1]
    assert TAGS.num_items([[IGNORE_INDEX, 1, 2, IGNORE_INDEX], [], [0]]).tolist() == [2, 0, 1]
    assert (CLASSES.outside, TAGS.outside, Tags(("B-X", "I-X")).outside) == (None, 0, None)


def test_new_labels_go_to_every_window_of_a_sentence():
    windows = [[IGNORE_INDEX, 5, 6, IGNORE_INDEX], [8, 9], [IGNORE_INDEX, 7]]
    found = list(TAGS.relabelled(windows, [0, 1, 0], [[1, 2, 3], [4, 0]]))
    assert found == [[IGNORE_INDEX, 1, 2, IGNORE_INDEX], [4, 0], [IGNORE_INDEX, 3]]
    assert list(CLASSES.relabelled([0, 1], [0, 1], [3, 4])) == [3, 4]


def test_shuffled_labels_stay_in_their_fold_and_entities_in_their_sentence():
    labels, folds = list(range(3)) * 4, np.arange(12) // 6
    found = CLASSES.shuffled(labels, folds, seed=0, groups=None)
    assert sorted(found[:6]) == sorted(labels[:6])
    assert found != labels
    rows = [[1, 2, 0, 0, 3], [0, 0]]
    assert [sorted(row) for row in TAGS.shuffled(rows, np.zeros(2), seed=1, groups=None)] == [
        [0, 0, 1, 2, 3],
        [0, 0],
    ]
    assert (CLASSES.exchanged([0, 1], None), TAGS.exchanged(rows, None)) == ("row", "word")
    assert CLASSES.exchanged([0, 0, 1], ["x", "x", "y"]) == "group"


def test_predictions_are_compared_row_by_row_or_word_by_word():
    rows = pa.table({"prediction": [0, 2], "label": [0, 1]})
    assert [column.tolist() for column in CLASSES.compared(rows)] == [[0, 2], [0, 1]]
    sentences = pa.table({"predictions": [["O", "O"], ["B-PER"]], "labels": [["O", "B-LOC"], ["O"]]})
    assert [list(c) for c in TAGS.compared(sentences)] == [["O", "O", "B-PER"], ["O", "B-LOC", "O"]]


def test_answers_are_labels_with_probabilities_or_tags():
    columns = {"logits": np.log(np.array([[0.2, 0.7, 0.1]]))}
    found, text = CLASSES.answers(["a.png"], columns, Reading())
    assert found == [{"input": "a.png", "label": "bee", "probability": pytest.approx(0.7)}]
    assert text.split() == ["bee", "0.700", "a.png"]
    logs = np.full((2, len(TAGS.label_names)), -9.0)
    logs[0, TAGS.label_names.index("B-PER")] = logs[1, TAGS.label_names.index("O")] = 0.0
    found, text = TAGS.answers(["Ann ran"], {"tokens": [["Ann", "ran"]], "outputs": [logs]}, Reading())
    assert (found[0]["tokens"], found[0]["tags"]) == (["Ann", "ran"], ["B-PER", "O"])
    (mention,) = found[0]["entities"]
    assert (mention["type"], mention["start"], mention["end"], mention["text"]) == ("PER", 0, 3, "Ann")
    assert text.split()[:3] == ["Ann", "ran", "PER"]


def test_a_threshold_is_for_two_classes():
    assert Classes(("no", "yes")).not_two_classes is None
    assert CLASSES.not_two_classes == "has 3 classes"
    assert TAGS.not_two_classes == "tags words"

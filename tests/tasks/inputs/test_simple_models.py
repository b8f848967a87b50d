import numpy as np
import pytest
from datasets import Dataset
from PIL import Image

from hf_transfer.tasks import task_of_kind
from hf_transfer.tasks.inputs.simple_models import overlaps, picture_features, spellings


def folds(n, k=4):
    rows = np.arange(n)
    return [(rows[rows % k != i], rows[rows % k == i]) for i in range(k)]


def picture(red):
    return {"bytes": None, "path": None} | encoded(Image.new("RGB", (20, 12), (red, 10, 10)))


def encoded(image):
    from io import BytesIO

    stream = BytesIO()
    image.save(stream, "png")
    return {"bytes": stream.getvalue()}


def right(probe, labels):
    return (probe.of_rows(len(labels)) == labels).mean()


def test_colours_are_told_apart():
    labels = np.arange(40) // 4 % 2
    rows = Dataset.from_dict(
        {"input": [picture(60 + 120 * int(label) + i) for i, label in enumerate(labels)]}
    )
    features = picture_features(rows)
    assert features.shape == (40, 3 * 16 + 3 * 64)
    assert features[:, :48].sum(axis=1) == pytest.approx(3)
    assert right(task_of_kind("image").input.simple_probe(rows, labels, folds(40)), labels) == 1


@pytest.mark.parametrize("num_labels", [2, 3])
def test_words_decide_a_text(num_labels):
    words = ["fine", "poor", "odd"]
    labels = np.arange(48) // 4 % num_labels
    rows = Dataset.from_dict(
        {"input": [f"a {words[label]} thing number {i}" for i, label in enumerate(labels)]}
    )
    probe = task_of_kind("text").input.simple_probe(rows, labels, folds(48))
    assert right(probe, labels) == 1
    assert probe.decisions[0].shape == (12, num_labels)


def test_words_are_learned_inside_the_fold():
    rows = Dataset.from_dict({"input": [f"word{i}" for i in range(8)]})  # none occurs twice
    labels = np.array([0, 1, 0, 1, 0, 1, 0, 1])
    for decisions in task_of_kind("text").input.simple_probe(rows, labels, folds(8)).decisions:
        assert np.ptp(decisions, axis=0) == pytest.approx(0)


def test_what_two_texts_share_decides_a_pair():
    """No word tells the classes: only whether the two texts have the same one."""
    labels = np.arange(96) // 4 % 2
    seconds = [i if label else i + 500 for i, label in enumerate(labels)]
    pairs = [{"text": f"it is w{i}", "text_pair": f"now w{other}"} for i, other in enumerate(seconds)]
    probe = task_of_kind("text_pair").input.simple_probe
    assert right(probe(Dataset.from_dict({"input": pairs}), labels, folds(96)), labels) > 0.9
    joined = Dataset.from_dict({"input": [" ".join(pair.values()) for pair in pairs]})
    assert right(task_of_kind("text").input.simple_probe(joined, labels, folds(96)), labels) < 0.7
    numbers = probe(Dataset.from_dict({"input": pairs}), labels[:, None] + 0.5, folds(96))
    assert numbers.decisions[0].shape == (24, 1)


def test_overlaps_are_shares_of_words():
    found = overlaps(["Rome fell fell", "", "a b"], ["rome", "x", "c d"])
    assert found[0] == pytest.approx([0.5**0.5, 0.5, 1.0, 0.5])
    assert found[1] == pytest.approx([0.0, 0.0, 0.0, 1.0])
    assert found[2] == pytest.approx([0.0, 0.0, 0.0, 1.0])


def test_spelling_finds_names_and_an_unseen_class_is_no_error():
    sentences = [["in", "Rome", "today"], ["she", "saw", "Ann", "there"]] * 12
    labels = np.array([0, 1, 0, 0, 0, 1, 0] * 12)
    labels[-1] = 2  # once only, so that one fold never sees it
    rows = Dataset.from_dict({"input": sentences})
    probe = task_of_kind("tokens").input.simple_probe(rows, labels, folds(len(labels)))
    assert right(probe, labels) > 0.95
    assert all(decisions.shape[1] == 3 for decisions in probe.decisions)


def test_a_word_is_spelled_with_its_neighbours():
    first, second = spellings(["McKay", "2019-x"])
    assert "shape=XxXx" in first
    assert "first" in first
    assert {"shape=9-x", "before=mckay", "before shape=XxXx"} <= set(second)
    assert not any(word.startswith("next") for word in second)

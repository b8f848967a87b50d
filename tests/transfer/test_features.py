"""Features of two data sets by one model: what its output layer reads, row for row."""

import json

import numpy as np
import pytest
import torch
from datasets import Dataset
from PIL import Image

from hf_transfer import RunConfig
from hf_transfer.errors import DataError
from hf_transfer.layers.output import output_layer
from hf_transfer.machine.cache import cache_folder, clear
from hf_transfer.replay.encoding import encode_rows
from hf_transfer.replay.features.forward import pretrained_model
from hf_transfer.training.workers import make_accelerator
from hf_transfer.transfer.features import (
    chosen,
    features_of,
    labelled_features,
    open_domain,
    shared_rows,
    without,
)

REVIEWS = {"dataset": "builtin:reviews", "base_model": "builtin:tiny-bert", "max_rows": 12, "max_length": 16}
DIGITS = {"dataset": "builtin:digits_5to9", "base_model": "builtin:digits-resnet", "max_rows": 12}
TONES = {"dataset": "builtin:tones", "base_model": "builtin:tiny-wav2vec2", "max_rows": 12}


def pairs(folder):
    rows = [
        {"text": f"a man walks {n}", "text_pair": f"someone runs {n}", "label": ("no", "yes")[n % 2]}
        for n in range(12)
    ]
    (folder / "pairs.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return REVIEWS | {"dataset": str(folder / "pairs.jsonl")}


def features(settings, **changes):
    config = RunConfig(**settings | changes)
    return labelled_features(config, make_accelerator(config))


@pytest.fixture(autouse=True)
def _empty_cache():
    clear(cache_folder())


@pytest.mark.parametrize("kind", ["texts", "pictures", "sounds", "pairs"])
def test_features_are_what_the_output_layer_reads(kind, tmp_path):
    settings = {"texts": REVIEWS, "pictures": DIGITS, "sounds": TONES}.get(kind) or pairs(tmp_path)
    found = features(settings)
    config, accelerator = found.task.settings, make_accelerator(found.task.settings)
    model, _ = pretrained_model(found.task, config, accelerator)
    encoded = encode_rows(found.task, found.data.rows, found.data.fingerprint, accelerator)
    entered = []
    output_layer(model)[1].register_forward_pre_hook(lambda _, inputs: entered.append(inputs[0]))
    batch = found.task.transform(found.task.collate([encoded[7]]))
    del batch["labels"]
    with torch.inference_mode():
        model(**batch)
    assert found.values.shape == (12, entered[0].shape[1])
    assert found.values.dtype == np.float32
    assert found.values[7] == pytest.approx(entered[0][0].numpy(), abs=1e-5)
    assert found.labels.tolist() == found.data.rows["label"][:]
    assert found.row_ids == tuple(found.data.rows["row_id"])


def test_they_are_stored_for_the_same_rows():
    assert not features(REVIEWS).reused
    assert features(REVIEWS).reused
    assert not features(REVIEWS, max_rows=11).reused


def test_repeats_are_left_out_and_groups_numbered(tmp_path):
    rows = [{"text": f"row {n % 9}", "label": n % 2, "who": f"p{n % 3}"} for n in range(12)]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    found = features(REVIEWS, dataset=str(tmp_path / "rows.jsonl"), group_by="who")
    assert len(found) == len(found.values) == len(found.labels) == 9
    assert "3 rows left out, as they repeat another exactly." in found.notes
    assert found.groups.tolist() == [0, 1, 2] * 3


def second(first, dataset, **changes):
    config = first.task.settings.changed({"dataset": str(dataset)} | changes)
    (found,) = features_of([open_domain(config, first)], make_accelerator(config))
    return found


def test_labels_of_a_second_data_set_are_in_the_numbers_of_the_first(tmp_path):
    first = features(REVIEWS)
    rows = [{"text": f"row {n}", "label": ("positive", "negative")[n % 2]} for n in range(4)]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    found = second(first, tmp_path / "rows.jsonl")
    names = [first.label_names[label] for label in found.labels]
    assert names == ["positive", "negative"] * 2
    assert found.label_names == first.label_names
    assert found.data.rows["label"][:] == found.labels.tolist()


def test_encoded_rows_of_a_second_data_set_are_no_others(tmp_path):
    """Its own run would read what is stored under the same fingerprint, labels too."""
    rows = [{"text": f"row {n}", "label": "abc"[n % 3]} for n in range(12)]
    (tmp_path / "three.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "two.jsonl").write_text("\n".join(json.dumps(row) for row in rows if row["label"] != "a"))
    first = features(REVIEWS, dataset=str(tmp_path / "three.jsonl"))
    found, alone = (
        second(first, tmp_path / "two.jsonl"),
        features(REVIEWS, dataset=str(tmp_path / "two.jsonl")),
    )
    assert (found.labels.tolist(), alone.labels.tolist()) == ([1, 2] * 4, [0, 1] * 4)
    assert found.data.fingerprint != alone.data.fingerprint


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("rows.txt", "one\n\ntwo\nthree\n", "one input a line"),
        ("rows.csv", "text,year\none,1\ntwo,2\nthree,3\n", "No column 'label'"),
        ("rows.csv", "text,label\none,positive\ntwo,\nthree,negative\n", "without a label"),
        ("rows.csv", "text,label\none,other\ntwo,positive\nthree,negative\n", "cannot give: 'other'"),
        ("rows.csv", "text,label\none,0.5\ntwo,1.5\nthree,2.5\n", "its labels are numbers"),
    ],
)
def test_a_second_data_set_needs_no_labels(name, content, why, tmp_path):
    first = features(REVIEWS)
    (tmp_path / name).write_text(content)
    found = second(first, tmp_path / name)
    assert found.labels is None
    assert found.values.shape == (3, first.values.shape[1])
    assert found.data.rows["input"][:] == ["one", "two", "three"]
    assert any(why in note for note in found.notes)


def test_a_folder_of_pictures_needs_no_folders_of_classes(tmp_path):
    first = features(DIGITS)
    for n in range(3):
        place = tmp_path / ("deeper" if n else ".")
        place.mkdir(exist_ok=True)
        Image.fromarray(np.full((8, 8), 40 * n, np.uint8)).save(place / f"{n}.png")
    found = second(first, tmp_path)
    assert (found.labels, len(found)) == (None, 3)


def test_what_is_nowhere_is_an_error():
    first = features(REVIEWS)
    with pytest.raises(DataError, match="No such file or folder"):
        second(first, "./nowhere.csv")


def test_words_have_no_features_of_a_row():
    with pytest.raises(DataError, match="a label for each word"):
        features(REVIEWS, dataset="builtin:mentions")


def test_rows_in_both_are_found_and_left_out(tmp_path):
    first = features(REVIEWS)
    texts = [*first.data.rows["input"][:2], "something else"]
    Dataset.from_dict({"text": texts}).to_csv(tmp_path / "rows.csv")
    found = second(first, tmp_path / "rows.csv")
    shared = shared_rows(first.data, found.data)
    assert shared.exact == (0, 1)
    assert "2 exactly, 0 almost" in shared.notes[0]
    rest = without(found, shared.exact)
    assert (rest.row_ids, rest.data.rows["input"][:]) == ((2,), ["something else"])
    assert np.array_equal(rest.values, found.values[2:])
    assert not shared_rows(first.data, rest.data).notes
    assert chosen(first, [3, 1]).labels.tolist() == first.labels[[3, 1]].tolist()


def test_a_second_data_set_needs_no_column_of_groups_or_folds(tmp_path):
    rows = [{"text": f"row {n}", "label": n % 2, "who": n % 3, "day": n} for n in range(12)]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    first = features(REVIEWS, dataset=str(tmp_path / "rows.jsonl"), group_by="who")
    (tmp_path / "more.jsonl").write_text(
        "\n".join(json.dumps({"text": f"more {n}", "label": n % 2}) for n in range(4))
    )
    found = second(first, tmp_path / "more.jsonl")
    assert (found.groups, found.labels.tolist()) == (None, [0, 1, 0, 1])
    assert second(first, tmp_path / "rows.jsonl").groups.tolist() == first.groups.tolist()
    (tmp_path / "bare.jsonl").write_text("\n".join(json.dumps({"text": f"bare {n}"}) for n in range(4)))
    bare = second(first, tmp_path / "bare.jsonl")
    assert (bare.groups, bare.labels, len(bare)) == (None, None, 4)

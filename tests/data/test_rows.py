import csv
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Image, List, Value
from hypothesis import given, settings
from hypothesis import strategies as st

from hf_transfer import RunConfig
from hf_transfer.data import builtin
from hf_transfer.data.opening import open_dataset
from hf_transfer.data.rows import label_rows
from hf_transfer.errors import DataError
from hf_transfer.tasks.inputs.pictures import encode_pixels, read_picture

TEXTS = ["null", "NA", "a, b", 'say "x"', "two\nlines", "é", "None", "7"]
LABELS = ["pos", "neg", "pos", "neg", "neg", "pos", "pos", "neg"]
SENTENCES = [["Ann", "left"], ["New", "York"], ["Bob"]]
TAGS = [["B-PER", "O"], ["B-LOC", "I-LOC"], ["B-PER"]]


TOO_GOOD = "that the test score is too good."


def shade(value):
    return encode_pixels(np.full((2, 2), value, np.uint8))


def write_csv(path, columns):
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([list(columns), *zip(*columns.values(), strict=True)])


def write_json_lines(path, columns):
    rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def write_parquet(path, columns):
    pq.write_table(pa.table(columns), path)


def write_disk(path, columns):
    Dataset.from_dict(columns).save_to_disk(path)


WRITERS = {
    "rows.csv": write_csv, "rows.jsonl": write_json_lines, "rows.parquet": write_parquet, "rows": write_disk,
}  # fmt: skip


def texts_of(labels=LABELS, texts=TEXTS, **columns):
    return Dataset.from_dict({"text": texts, "label": labels, **columns})


def opened(path, kind="text", **settings):
    return open_dataset(RunConfig(dataset=str(path), **settings), kind)


def labelled(dataset, kind="text", **settings):
    return label_rows(dataset, RunConfig(**settings), kind)


@pytest.fixture
def csv_file(tmp_path):
    def write(**columns):
        write_csv(tmp_path / "rows.csv", columns)
        return tmp_path / "rows.csv"

    return write


@pytest.mark.parametrize("name", WRITERS)
def test_texts_of_each_storage_are_the_same(tmp_path, name):
    WRITERS[name](tmp_path / name, {"text": TEXTS, "label": LABELS})
    data = opened(tmp_path / name)
    assert data.rows.features == {"row_id": Value("int64"), "input": Value("string"), "label": Value("int64")}
    assert data.rows["input"][:] == TEXTS
    assert (data.label_names, data.rows["label"][:]) == (("neg", "pos"), [1, 0, 1, 0, 0, 1, 1, 0])
    assert data.fingerprint == labelled(texts_of()).fingerprint
    assert (data.name, data.split, data.hub) == (name, "train", False)
    assert data.notes == (
        "2 rows with the text 'None', 'null' in the input kept: rows 0, 6. If it means a missing text, leave "
        "them out.",
    )


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.parquet", "rows"])
def test_words_of_each_storage_are_the_same(tmp_path, name):
    WRITERS[name](tmp_path / name, {"tokens": SENTENCES, "ner_tags": TAGS})
    data = opened(tmp_path / name, "tokens")
    assert (data.rows["input"][:], data.rows["label"][:]) == (SENTENCES, [[3, 0], [1, 2], [3]])
    assert data.label_names == ("O", "B-LOC", "I-LOC", "B-PER", "I-PER")
    assert data.rows.features["label"] == List(Value("int64"))
    assert data.class_counts == {"LOC": 1, "PER": 2}


@pytest.mark.parametrize("storage", ["folder", "csv", "parquet", "disk"])
def test_pictures_of_each_storage_are_the_same(tmp_path, storage):
    features = Features({"image": Image(decode=False), "label": Value("string")})
    in_memory = {
        "image": [{"bytes": shade(i), "path": None} for i in (1, 2, 3)],
        "label": ["cat", "cat", "dog"],
    }
    for i, label in zip((1, 2, 3), in_memory["label"], strict=True):
        (tmp_path / "rows" / label).mkdir(parents=True, exist_ok=True)
        (tmp_path / "rows" / label / f"{i}.png").write_bytes(shade(i))
    if storage == "csv":
        paths = ["rows/cat/1.png", "rows/cat/2.png", "rows/dog/3.png"]
        write_csv(tmp_path / "rows.csv", {"path": paths, "label": in_memory["label"]})
    elif storage == "parquet":
        Dataset.from_dict(in_memory, features).to_parquet(tmp_path / "rows.parquet")
    elif storage == "disk":
        Dataset.from_dict(in_memory, features).save_to_disk(tmp_path / "disk")
    place = {"folder": "rows", "csv": "rows.csv", "parquet": "rows.parquet", "disk": "disk"}[storage]
    data = opened(tmp_path / place, "image")
    assert [read_picture(picture).getpixel((0, 0))[0] for picture in data.rows["input"]] == [1, 2, 3]
    assert (data.label_names, data.rows["label"][:]) == (("cat", "dog"), [0, 0, 1])
    assert data.rows.features["input"] == Image(decode=False)
    assert data.fingerprint == labelled(Dataset.from_dict(in_memory, features), "image").fingerprint


@pytest.mark.parametrize("labels", [[0, 1, 10, 1], ["0", "1", "10", "1"], [0.0, 1.0, 10.0, 1.0]])
def test_labels_of_each_type_get_the_same_ids(labels):
    declared = texts_of([0, 1, 2, 1], list("abcd")).cast_column("label", ClassLabel(names=["0", "1", "10"]))
    data = labelled(texts_of(labels, list("abcd")), target="classes")  # of 10.0 nobody could tell
    other = labelled(declared)
    assert (data.label_names, data.rows["label"][:]) == (other.label_names, other.rows["label"][:])
    assert data.fingerprint == other.fingerprint


@pytest.mark.parametrize("kind", ["image", "text", "tokens"])
def test_builtin_sets_load(kind):
    for name in builtin.names(kind):
        data = opened(name, kind, max_rows=40)
        assert (data.name, len(data.rows), data.input.name) == (name, 40, kind)
        assert data.notes == ()


def test_label_names_come_from_rows_and_test_rows(tmp_path):
    write_csv(tmp_path / "train.csv", {"text": ["a", "b"], "label": ["x", "z"]})
    write_csv(tmp_path / "test.csv", {"text": ["c", "d"], "label": ["y", "x"]})
    data = opened(tmp_path, test_split="test")
    assert (data.label_names, data.rows["label"][:], data.test["label"][:]) == (
        ("x", "y", "z"),
        [0, 2],
        [1, 0],
    )
    assert data.notes == ("Only the test split has rows of 'y'; they cannot be learned.",)


def test_another_split_may_be_taken(tmp_path):
    for split in ("train", "dev"):
        write_csv(tmp_path / f"{split}.csv", {"text": [split, "b"], "label": ["x", "z"]})
    data = opened(tmp_path, split="dev", test_split="train")
    assert (data.split, data.rows["input"][0], data.test["input"][0]) == ("validation", "dev", "train")
    with pytest.raises(DataError, match=r"split and test_split are both 'validation'"):
        opened(tmp_path, split="dev", test_split="val")


def test_pictures_named_by_metadata_have_groups(tmp_path):
    for i in range(2):
        (tmp_path / f"{i}.png").write_bytes(shade(i))
    columns = {"file_name": ["0.png", "1.png"], "label": ["x", "y"], "patient": [7, 8]}
    write_csv(tmp_path / "metadata.csv", columns)
    data = opened(tmp_path, "image", group_by="patient")
    assert data.rows["group"][:] == ["7", "8"]


def test_groups_that_are_in_the_test_rows_too_are_told(tmp_path):
    write_csv(tmp_path / "train.csv", {"text": ["a", "b"], "label": ["x", "z"], "who": ["ann", "bob"]})
    write_csv(tmp_path / "test.csv", {"text": ["c", "d"], "label": ["x", "z"], "who": ["bob", "cid"]})
    told = [f"1 group of the 2 in the test rows (1 row) is also in the rows to train on, so {TOO_GOOD}"]
    assert list(opened(tmp_path, test_split="test", group_by="who").notes) == told
    assert opened(tmp_path, test_split="test").notes == ()


def test_settings_add_columns_and_ids():
    extra = {"id": ["r1", "r2"], "author": [4, 5], "year": [2020, 2021], "part": [1, 0]}
    settings = {"id_column": "id", "group_by": "author", "fold_column": "part"}
    rows = labelled(texts_of(["x", "y"], ["a", "b"], **extra), **settings).rows
    assert rows.column_names == ["row_id", "input", "label", "group", "fold"]
    assert rows[1] == {"row_id": "r2", "input": "b", "label": 1, "group": "5", "fold": 0}
    rows = labelled(texts_of(["x", "y"], ["a", "b"], **extra), time_by="year").rows
    assert rows["time"][:] == [2020, 2021]


def test_empty_texts_are_left_out_and_counted():
    texts = ["a", "", "b", None, " \n", "c"]
    data = labelled(texts_of(["x", "x", "y", "y", "x", "y"], texts))
    assert data.rows["row_id"][:] == [0, 2, 5]
    assert data.notes == ("3 rows with empty text left out: rows 1, 3, 4.",)
    with pytest.raises(
        DataError, match=r"3 rows with empty text: rows 1, 3, 4. Fill them in, or leave strict out"
    ):
        labelled(texts_of(["x", "x", "y", "y", "x", "y"], texts), strict=True)


def test_texts_of_marks_that_nobody_sees_are_empty():
    texts = ["a", "\u200b\u200d", "b\u200b", "\ufeff \u202e", "\U0001f600"]
    data = labelled(texts_of(["x", "x", "y", "y", "x"], texts))
    assert data.rows["row_id"][:] == [0, 2, 4]
    assert data.notes == ("2 rows with empty text left out: rows 1, 3.",)


def test_sentences_without_words_are_left_out_and_counted():
    dataset = Dataset.from_dict({"tokens": [["a"], [], ["b"]], "ner_tags": [["B-X"], [], ["O"]]})
    data = labelled(dataset, "tokens")
    assert (data.rows["row_id"][:], data.notes) == ([0, 2], ("1 row without words left out: row 1.",))


@given(st.integers(2, 40), st.integers(2, 40), st.integers(0, 9))
@settings(max_examples=25, deadline=None)
def test_fewer_rows_are_part_of_more_and_keep_their_order(few, many, seed):
    dataset = texts_of(["x", "y"] * 20, [str(i) for i in range(40)])
    fewer, more = (labelled(dataset, max_rows=n, seed=seed).rows["row_id"][:] for n in sorted((few, many)))
    assert len(fewer) == min(few, many)
    assert set(fewer) <= set(more)
    assert more == sorted(more)


def test_fewer_rows_keep_all_label_names():
    data = labelled(texts_of([str(i) for i in range(8)]), max_rows=2)
    assert len(data.label_names) == 8
    assert sum(data.class_counts.values()) == 2


def test_the_fingerprint_is_that_of_the_contents():
    base = labelled(texts_of())
    assert base.fingerprint == "0a8f41bef00df297404deccb916f27e1a4cbfff92a0e668e405782abfd71d41c"
    same = [labelled(texts_of(author=LABELS)), labelled(texts_of().select(range(8)).with_format("numpy"))]
    others = [
        labelled(texts_of(texts=[*TEXTS[:-1], "8"])),
        labelled(texts_of(labels=[*LABELS[:-1], "pos"])),
        labelled(texts_of(texts=TEXTS[::-1], labels=LABELS[::-1])),
        labelled(texts_of(name=[f"r{i}" for i in range(8)]), id_column="name"),
        labelled(texts_of(), max_rows=7),
    ]
    assert {data.fingerprint for data in same} == {base.fingerprint}
    assert len({base.fingerprint, *(data.fingerprint for data in others)}) == len(others) + 1


def test_words_are_not_run_together_in_the_fingerprint():
    one, other = ({"tokens": [words], "ner_tags": [["B-X", "O"]]} for words in (["ab", "c"], ["a", "bc"]))
    prints = {labelled(Dataset.from_dict(rows), "tokens").fingerprint for rows in (one, other)}
    assert len(prints) == 2


def pictures_of(values):
    features = Features({"image": Image(decode=False), "label": Value("string")})
    pictures = [{"bytes": value, "path": None} for value in values]
    return Dataset.from_dict({"image": pictures, "label": ["x", "y"] * (len(values) // 2)}, features)


def test_bad_pictures_are_listed_with_reasons():
    bad = [shade(0), b"<html>", *[b"x"] * 22]
    with pytest.raises(
        DataError, match=r"(?s)23 pictures of 24 cannot .*row 1: not a.*… and 3 more\nMend .* skip"
    ):
        labelled(pictures_of(bad), "image")


def test_bad_pictures_may_be_left_out_and_are_named(tmp_path):
    for name, content in {"x/1.png": shade(1), "x/2.png": b"cut", "y/3.png": shade(3)}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    with pytest.raises(
        DataError, match=rf"1 picture of 3 cannot be read:\n  {tmp_path}/x/2.png: not a picture"
    ):
        opened(tmp_path, "image")
    data = opened(tmp_path, "image", on_bad_image="skip")
    assert data.rows["row_id"][:] == [0, 2]
    assert data.notes == ("1 picture of 3 cannot be read, so left out: x/2.png.",)


def test_pictures_that_are_not_taken_are_not_read():
    dataset = pictures_of([shade(0), b"bad"] * 10)
    kept = labelled(dataset, "image", max_rows=4, on_bad_image="skip")
    assert sum(int(note.split()[0]) for note in kept.notes) + len(kept.rows) == 4


def test_nothing_left_is_refused():
    with pytest.raises(DataError, match=r"No row of .* is left. 2 rows with empty text"):
        labelled(texts_of(["x", "y"], ["", " "]))


def test_a_shuffled_dataset_keeps_rows_together():
    dataset = texts_of(["x", "y"] * 4, [f"{label}{i}" for i, label in enumerate(["x", "y"] * 4)])
    data = labelled(dataset.shuffle(seed=1))
    assert all(
        text[0] == data.label_names[label]
        for text, label in zip(data.rows["input"], data.rows["label"], strict=True)
    )


def test_several_splits_are_refused_with_the_way_to_take_one():
    splits = DatasetDict(train=texts_of(), test=texts_of())
    with pytest.raises(
        DataError,
        match=r"Expected one split, got a DatasetDict with 'train' and 'test'. Pass dataset\['train'\]",
    ):
        labelled(splits)


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        (["a", "b"], "Expected a datasets.Dataset, got list"),
        (texts_of([], []), "The dataset has no rows"),
    ],
)
def test_what_is_no_dataset_is_refused(dataset, message):
    with pytest.raises(DataError, match=message):
        labelled(dataset)


def test_test_rows_must_have_the_same_columns(tmp_path):
    write_csv(tmp_path / "train.csv", {"text": ["a", "b"], "label": ["x", "z"]})
    write_csv(tmp_path / "test.csv", {"text": ["c", "d"], "target": ["y", "x"]})
    with pytest.raises(
        DataError, match=r"The test rows have no column 'label'; their columns are \['target', 'text'\]"
    ):
        opened(tmp_path, test_split="test")


def test_unlabelled_test_rows_are_refused():
    declared = Features({"text": Value("string"), "label": ClassLabel(names=["a", "b"])})
    rows = Dataset.from_dict({"text": TEXTS, "label": [0, 1] * 4}, declared)
    test = Dataset.from_dict({"text": TEXTS, "label": [-1] * 8}, declared)
    with pytest.raises(
        DataError, match=r"8 rows with label -1, which means unlabelled, in column 'label' of the test"
    ):
        label_rows(rows, RunConfig(), "text", test=test)


@pytest.mark.parametrize(
    ("columns", "settings", "message"),
    [
        (
            {"text": ["a", "b"], "stars": ["1", "2"]},
            {},
            "No column 'label' in the dataset; it has 'stars', 'text'",
        ),
        ({"text": ["a", "b"], "label": ["x", ""]}, {}, "1 row without a label in column 'label': row 1"),
        ({"text": ["a", "b"], "label": ["x", "x"]}, {}, "All 2 rows have the label 'x'"),
        ({"text": ["a", "b"], "label": ["x", "X "]}, {}, "'X ' and 'x' .* differ only in case or spaces"),
        (
            {"text": ["a", "b"], "label": ["0.5", "1.5"]},
            {"target": "classes"},
            "Row 0 has the label 0.5 .* names or whole numbers.*--target numbers",
        ),
        (
            {"text": ["a", "b"], "label": ["x", "y"]},
            {"split": "dev"},
            "rows.csv has no split 'dev'; it has 'train'",
        ),
        ({"text": ["a", "b"], "label": ["x", "y"]}, {"group_by": "who"}, "No column 'who' .* --group_by"),
        (
            {"text": ["a", "b"], "label": ["x", "y"], "id": ["1", "1"]},
            {"id_column": "id"},
            "The id '1' .* row 1",
        ),
    ],
)
def test_rows_that_cannot_be_used_are_refused(csv_file, columns, settings, message):
    with pytest.raises(DataError, match=message):
        opened(csv_file(**columns), **settings)


@pytest.mark.parametrize(
    ("kind", "message"), [("tokens", "not lists of words"), ("image", "No column 'image'")]
)
def test_texts_are_no_other_kind(csv_file, kind, message):
    with pytest.raises(DataError, match=message):
        opened(csv_file(text=["a", "b"], tokens=["a b", "b"], ner_tags=["O", "O"], label=["x", "y"]), kind)


def test_paths_of_a_hub_dataset_are_refused():
    from hf_transfer.data.origins import Origin

    dataset = Dataset.from_dict({"image": ["a.png", "b.png"], "label": ["x", "y"]})
    with pytest.raises(DataError, match=r"Column 'image' of me/x holds paths"):
        label_rows(dataset, RunConfig(), "image", origin=Origin("me/x", hub=True))


def test_pictures_that_a_list_names_elsewhere_are_read_where_that_is_allowed(tmp_path):
    for i in (1, 2):
        (tmp_path / f"{i}.png").write_bytes(shade(i))
    (tmp_path / "lists").mkdir()
    names = [str(tmp_path / "1.png"), "..\\2.png"]
    write_csv(tmp_path / "lists" / "rows.csv", {"image": names, "label": ["x", "y"]})
    write_csv(tmp_path / "lists" / "metadata.csv", {"file_name": names, "label": ["x", "y"]})
    for place in ("lists/rows.csv", "lists"):
        with pytest.raises(DataError, match=r"leaves the folder lists; only what is inside it is read"):
            opened(tmp_path / place, "image")
        data = opened(tmp_path / place, "image", allow_outside=True)
        assert [read_picture(one).getpixel((0, 0))[0] for one in data.rows["input"]] == [1, 2]


def test_labels_that_may_stand_for_missing_ones_are_told():
    data = labelled(texts_of(["x", "nan", "x", "NA", "nan", "x", "NA", "None"], [*"abcdefgh"]))
    assert data.notes == (
        "3 rows with the label 'None', 'nan' in column 'label' kept: rows 1, 4, 7. If it means a missing "
        "label, leave them out.",
    )


def test_declared_labels_may_have_any_name():
    features = Features({"text": Value("string"), "label": ClassLabel(names=["None", "x"])})
    assert labelled(Dataset.from_dict({"text": ["a", "b"], "label": [0, 1]}, features)).notes == ()

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st

from hf_transfer.data import data_files
from hf_transfer.data.data_files import read_file, read_shards, split_files
from hf_transfer.errors import DataError

TEXTS = ["null", "NA", "None", "nan", "", " a ", 'say "x", y', "line\nbreak", "é\u2028ü", "007"]


def write(folder, name, content):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def as_csv(texts, delimiter=","):
    quoted = [f'"{text.replace(chr(34), chr(34) * 2)}"' for text in texts]
    return "".join(f"{text}{delimiter}a\n" for text in ["text", *quoted]).replace(
        f"{delimiter}a", f"{delimiter}label", 1
    )


def rows_of(path):
    return read_file(path)[0].to_dict()["text"]


@pytest.mark.parametrize(
    ("name", "delimiter"), [("a.csv", ","), ("a.csv", ";"), ("a.csv", "\t"), ("a.tsv", "\t")]
)
def test_texts_of_a_csv_stay_as_they_are(tmp_path, name, delimiter):
    assert rows_of(write(tmp_path, name, as_csv(TEXTS, delimiter))) == TEXTS


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r")), min_size=1))
@settings(max_examples=40, deadline=None)
def test_any_text_survives_each_format(tmp_path_factory, texts):
    folder = tmp_path_factory.mktemp("files")
    rows = [{"text": text, "label": 0} for text in texts]
    paths = [
        write(folder, "a.csv", as_csv(texts)),
        write(folder, "a.jsonl", "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)),
        write(folder, "a.json", json.dumps(rows)),
        write(folder, "b.json", json.dumps({"text": texts})),
        write(folder, "c.json", json.dumps({"version": 1, "data": rows})),
    ]
    pq.write_table(pa.table({"text": texts}), folder / "a.parquet")
    for path in [*paths, folder / "a.parquet"]:
        assert rows_of(path) == texts


def test_a_byte_order_mark_and_blank_lines_are_passed_over(tmp_path):
    assert rows_of(write(tmp_path, "a.csv", "\ufefftext,label\n\nx,1\n\n")) == ["x"]
    assert rows_of(write(tmp_path, "a.jsonl", '\ufeff{"text": "x"}\r\n\r\n')) == ["x"]


def test_long_texts_are_read(tmp_path):
    assert rows_of(write(tmp_path, "a.csv", f"text,label\n{'x' * 200_000},1\n")) == ["x" * 200_000]


def test_json_lines_may_be_called_json(tmp_path):
    assert rows_of(write(tmp_path, "a.json", '{"text": "x"}\n{"text": "y"}\n')) == ["x", "y"]


def test_a_key_that_a_line_lacks_is_missing_there(tmp_path):
    assert rows_of(write(tmp_path, "a.jsonl", '{"text": "x"}\n{"label": 1}\n')) == ["x", None]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "", "a.csv holds no rows"),
        ("a.csv", "text,label\n", "a.csv holds no rows"),
        (
            "a.csv",
            "text,label\na,1\nb,2,3\n",
            "a.csv, line 3 has 3 values, but the first line names 2 columns",
        ),
        ("a.csv", "text,label\na,1\n\nb\n", "line 4 has 1 values"),
        ("a.csv", "text,text,label\na,b,1\n", "more than one column 'text'"),
        ("a.csv", 'text,label\n"a"b,1\n', "a.csv, line 2: .* each doubled"),
        ("a.csv", 'text,label\n"a,1\nb,2\n', "a.csv, line 3: unexpected end of data"),
        ("a.csv", "text,label\né,1\n".encode("latin-1"), "not UTF-8: byte 11 is 0xe9. Save it as UTF-8"),
        ("a.csv", "\ufefftext,label\n".encode() + b"\xe9,1\n", "byte 14 is 0xe9"),
        ("a.csv", "text,label\na,1\n".encode("utf-16"), "byte 0 is 0xff; it looks like UTF-16"),
        ("a.jsonl", "", "a.jsonl holds no rows"),
        (
            "a.jsonl",
            '{"text": "x"}\n{"text": \n',
            "a.jsonl, line 2 is not JSON: Expecting value, at column 10",
        ),
        ("a.jsonl", '{"text": "x"}\n[1]\n', "line 2 is a list; each line must be an object"),
        ("a.jsonl", '{"label": 0}\n{"label": "x"}\n', "mixes types: 0 .int. in row 0 and 'x' .str. in row 1"),
        ("a.jsonl", '{"text": "\\ud800"}\n', "Column 'text' of a.jsonl cannot be read: .*surrogates"),
        ("a.json", '[{"text": "x"},\n]', "a.json, line 1 is not JSON|a.json, line 2 is not JSON"),
        ("a.json", "[1, 2]", "must hold a list of objects"),
        ("a.json", "[]", "must hold a list of objects"),
        ("a.json", '{"text": ["a", "b"], "label": [1]}', "different lengths: .'text': 2, 'label': 1"),
        ("a.parquet", b"PAR1 and no more", "a.parquet is not a whole Parquet file"),
        ("a.parquet", b"", "a.parquet is not a whole Parquet file"),
    ],
)
def test_damaged_files_are_refused_with_the_place(tmp_path, name, content, message):
    with pytest.raises(DataError, match=message):
        read_file(write(tmp_path, name, content))


def test_a_parquet_file_cut_short_is_refused(tmp_path):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": ["x"] * 1000}), path)
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(DataError, match=r"a.parquet is not a whole Parquet file"):
        read_file(path)


def test_a_missing_file_is_named_in_full(tmp_path):
    with pytest.raises(DataError, match=f"No such file: {tmp_path}/absent.csv"):
        read_file(tmp_path / "absent.csv")


def test_shards_are_joined_in_order(tmp_path):
    paths = [write(tmp_path, f"{i}.csv", f"text,label\n{i},a\n") for i in range(3)]
    assert read_shards(paths)[0]["text"][:] == ["0", "1", "2"]


def test_shards_of_other_columns_or_types_are_refused(tmp_path):
    first = write(tmp_path, "a.jsonl", '{"text": "x", "label": 1}\n')
    with pytest.raises(DataError, match=r"a.jsonl has .'label', 'text'., b.jsonl has .'class', 'text'"):
        read_shards([first, write(tmp_path, "b.jsonl", '{"text": "x", "class": 1}\n')])
    with pytest.raises(DataError, match=r"The types of columns differ between a.jsonl, c.jsonl"):
        read_shards([first, write(tmp_path, "c.jsonl", '{"text": "x", "label": "1"}\n')])


def test_files_are_grouped_by_the_split_their_name_says():
    names = [
        "train-00001-of-00002.parquet",
        "train-00000-of-00002.parquet",
        "my_val.csv",
        "contest.test.jsonl",
    ]
    groups = split_files([Path(name) for name in names])
    assert {split: [path.name for path in paths] for split, paths in groups.items()} == {
        "train": ["train-00000-of-00002.parquet", "train-00001-of-00002.parquet"],
        "validation": ["my_val.csv"],
        "test": ["contest.test.jsonl"],
    }


def test_files_that_say_no_split_are_one_split():
    assert split_files([Path("contest.csv"), Path("detrained.csv")]) == {
        "train": [Path("contest.csv"), Path("detrained.csv")]
    }


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["train.csv", "more.csv"], "more.csv says no split, but train.csv does"),
        (["train_test.csv"], "train_test.csv says two splits, .'test', 'train'"),
    ],
)
def test_names_that_would_lose_rows_are_refused(names, message):
    with pytest.raises(DataError, match=message):
        split_files([Path(name) for name in names])


def test_a_parquet_file_that_swells_is_not_read_to_its_end(tmp_path, monkeypatch):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": ["x" * 1000] * 5000}), path)
    assert len(read_file(path)[0]) == 5000
    monkeypatch.setattr(data_files, "_MAX_BYTES", 10_000)
    with pytest.raises(DataError, match=r"a\.parquet has .* bytes and stands for more than .*Write it anew"):
        read_file(path)


def test_a_folder_that_looks_like_a_column_adds_none(tmp_path):
    (tmp_path / "x=1").mkdir()
    pq.write_table(pa.table({"text": ["a"]}), tmp_path / "x=1" / "a.parquet")
    assert read_file(tmp_path / "x=1" / "a.parquet")[0].column_names == ["text"]


@pytest.mark.parametrize("size", [1, 2, 3, 1000])
def test_the_byte_that_is_not_utf8_is_named_wherever_a_large_file_is_cut(tmp_path, monkeypatch, size):
    monkeypatch.setattr("hf_transfer.data.text_files._BYTES_AT_ONCE", size)
    path = tmp_path / "rows.csv"
    path.write_bytes("text,label\nü€,1\n".encode() + b"a\xff,0\n")
    with pytest.raises(DataError, match=r"not UTF-8: byte 20 is 0xff"):
        read_file(path)


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_file_of_many_rows_is_read_in_parts_and_whole(tmp_path, monkeypatch, suffix):
    monkeypatch.setattr("hf_transfer.machine.mapped.KEPT_IN_MEMORY", 100)
    rows = Dataset.from_dict({"text": [f"ü {i}" for i in range(2500)], "label": ["a", "b"] * 1250})
    path = tmp_path / f"rows.{suffix}"
    getattr(rows, f"to_{suffix}")(path)
    assert read_file(path)[0].to_dict() == rows.to_dict()

"""Pairs of texts as inputs: found, read, written out."""

import pytest
from datasets import Dataset

from hf_transfer import RunConfig, SequenceClassification, TextPairClassification, open_dataset
from hf_transfer.data.opening import find_task
from hf_transfer.data.rows import label_rows
from hf_transfer.errors import ConfigError, DataError
from hf_transfer.tasks import task_class, task_of_kind
from hf_transfer.tasks.inputs.text_pair import TextPair

PAIR = TextPair()


def rows(*names, **columns):
    texts = {name: [f"{name} one", f"{name} two", f"{name} three"] for name in names}
    return Dataset.from_dict(texts | {"label": ["a", "b", "a"]} | columns)


def read(dataset, **settings):
    return label_rows(dataset, RunConfig(**settings), "text_pair")


@pytest.mark.parametrize("columns", TextPair.columns)
def test_usual_columns_are_found_in_their_order(columns):
    first, second = columns.split(",")
    data = read(rows(second.upper(), first))
    assert data.input_column == f"{first},{second.upper()}"
    assert data.rows["input"][0] == {"text": f"{first} one", "text_pair": f"{second.upper()} one"}
    assert data.notes[0].startswith(f"Columns {first!r} and {second.upper()!r} are read as pairs")


def test_named_columns_come_before_usual_ones():
    data = read(rows("premise", "hypothesis", "x", "y"), input_column="y, x")
    assert data.input_column == "y,x"
    assert data.rows["input"][0] == {"text": "y one", "text_pair": "x one"}


@pytest.mark.parametrize(
    ("names", "settings", "task"),
    [
        (("premise", "hypothesis"), {}, TextPairClassification),
        (("question", "sentence"), {}, TextPairClassification),
        (("question", "sentence"), {"input_column": "sentence"}, SequenceClassification),
        (("text", "other"), {"input_column": "text,other"}, TextPairClassification),
        (("text", "question", "answer"), {}, SequenceClassification),  # as before there were pairs
        (("text",), {}, SequenceClassification),
    ],
)
def test_the_rows_say_whether_they_are_pairs(names, settings, task, tmp_path):
    path = tmp_path / "rows.jsonl"
    rows(*names).to_json(path)
    config = RunConfig(dataset=str(path), **settings)
    assert open_dataset(config, SequenceClassification).task is task
    assert find_task(config) is task
    assert open_dataset(config, task.input.name).task is task


def test_two_columns_are_needed():
    with pytest.raises(
        DataError, match=r"in two columns, and input_column='a,b,c' names 3\. Write them as in"
    ):
        read(rows("a", "b", "c"), input_column="a,b,c")
    with pytest.raises(DataError, match=r"No column 'z' in the dataset; it has 'a', 'b', 'label'"):
        read(rows("a", "b"), input_column="a,z")
    with pytest.raises(
        DataError, match=r"No columns 'text' and 'text_pair', nor others .* it has 'a', 'label'"
    ):
        read(rows("a"))


def test_rows_with_an_empty_text_are_left_out():
    data = read(
        Dataset.from_dict({"text": ["a", "b", "c"], "text_pair": ["d", " ", None], "label": [0, 1, 2]})
    )
    assert len(data.rows) == 1
    assert "2 rows with an empty text left out: rows 1, 2." in data.notes


def test_texts_shared_with_the_test_rows_are_told():
    test = rows("premise", hypothesis=["PREMISE  one", "new", "newer"])
    data = label_rows(rows("premise", "hypothesis"), RunConfig(), "text_pair", test=test)
    assert data.notes[-1] == (
        "3 test rows of 3 share a text with a row to train on (3 texts), so that the test score may be too "
        "good."
    )
    apart = label_rows(
        rows("premise", "hypothesis"),
        RunConfig(),
        "text_pair",
        test=Dataset.from_dict(
            {"premise": ["p", "hypothesis two"], "hypothesis": ["h", "i"], "label": ["a", "b"]}
        ),
    )
    assert apart.notes[-1].startswith("1 test row of 2 share")


def test_named_groups_shared_with_the_test_rows_are_told_whatever_texts_are_shared():
    """Rows are joined by their texts into groups of other names."""
    train = rows("premise", hypothesis=["same", "same", "other"], who=["1", "2", "x"])
    test = rows("text_a", who=["0", "1", "y"]).rename_columns({"text_a": "premise"})
    test = test.add_column("hypothesis", ["h", "i", "j"])
    data = label_rows(train, RunConfig(group_by="who"), "text_pair", test=test)
    (note,) = [note for note in data.notes if "in the test rows" in note]
    assert note.startswith("1 group of the 3 in the test rows (1 row) is also in the rows to train on")


def test_a_setting_of_pairs_is_none_of_texts(tmp_path):
    path = tmp_path / "rows.jsonl"
    rows("text").to_json(path)
    with pytest.raises(ConfigError, match=r"shared_texts='apart': texts have no such setting"):
        open_dataset(RunConfig(dataset=str(path), shared_texts="apart"), SequenceClassification)


@pytest.mark.parametrize("text", ["a\tb", '{"text_pair": "b", "text": "a"}'])
def test_a_pair_is_written_as_one(text):
    assert PAIR.from_text(text) == {"text": "a", "text_pair": "b"}
    assert PAIR.from_words(["c", "d", text]) == ["c\td", text]


@pytest.mark.parametrize("text", ["alone", "a\tb\tc", '{"text": "a"}', '{"text": "a", "text_pair": 1}', "{"])
def test_what_is_no_pair_is_refused(text):
    with pytest.raises(DataError, match=r"is not a pair of texts\. Write two texts with a tab"):
        PAIR.from_text(text)


def test_a_pair_is_shown_in_short():
    value = {"text": "one  two", "text_pair": "three " * 200}
    assert PAIR.excerpt(value, 20) == "'one two' / 'three thr…'"
    assert PAIR.original(value).text.startswith("one  two\nthree")
    assert PAIR.content(value) == ["one  two", "three " * 200]
    assert PAIR.lengths({"input": [value, value]})["max"] == 202


def test_the_task_of_an_id_follows_from_the_input():
    assert task_class("text-classification", "text_pair") is TextPairClassification
    assert task_of_kind("text_pair") is TextPairClassification

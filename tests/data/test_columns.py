import datetime

import numpy as np
import pytest
from datasets import ClassLabel, Dataset, Features, Image, Value

from hf_transfer import RunConfig
from hf_transfer.data.columns import find_columns, folds, groups, row_ids, times
from hf_transfer.errors import DataError
from hf_transfer.tasks import task_of_kind


def table(**columns):
    return Dataset.from_dict(columns)


def names(*columns):
    return table(**{name: ["x"] for name in columns})


def found(dataset, kind="text", **settings):
    columns = find_columns(dataset, RunConfig(**settings), task_of_kind(kind))
    return columns.input, columns.label


@pytest.mark.parametrize(
    ("kind", "columns", "expected"),
    [
        ("text", ["id", "sentence", "sentiment"], ("sentence", "sentiment")),
        ("text", ["Category", "Message"], ("Message", "Category")),
        ("image", ["img", "fine_label", "coarse_label"], ("img", "fine_label")),
        ("tokens", ["tokens", "pos_tags", "chunk_tags", "ner_tags"], ("tokens", "ner_tags")),
    ],
)
def test_columns_are_found_by_their_usual_names(kind, columns, expected):
    assert found(names(*columns), kind) == expected


def test_columns_that_are_named_win():
    settings = {"input_column": "b", "label_column": "text"}
    assert found(names("text", "label", "b"), **settings) == ("b", "text")


def test_a_column_has_one_use():
    assert found(names("text", "content", "label"), id_column="text") == ("content", "label")


def test_a_choice_between_several_is_said():
    notes = find_columns(names("review", "text", "label"), RunConfig(), task_of_kind("text")).notes
    assert notes == ("Column 'text' is taken where 'review' would also do; --input_column takes another.",)


def test_the_name_of_a_file_is_no_rival_of_its_picture():
    features = Features(
        {"image": Image(decode=False), "file_name": Value("string"), "label": Value("string")}
    )
    rows = {"image": [{"bytes": b"", "path": "0.png"}], "file_name": ["0.png"], "label": ["x"]}
    dataset = Dataset.from_dict(rows, features)
    assert find_columns(dataset, RunConfig(), task_of_kind("image")).notes == ()
    both = dataset.add_column("photo", dataset["image"][:], feature=features["image"])
    assert "where 'photo' would also do" in find_columns(both, RunConfig(), task_of_kind("image")).notes[0]


def test_columns_are_found_by_their_type():
    features = Features({"scan": Image(decode=False), "finding": ClassLabel(names=["a", "b"])})
    dataset = Dataset.from_dict({"scan": [{"bytes": b"", "path": None}], "finding": [0]}, features)
    assert found(dataset, "image") == ("scan", "finding")
    assert len(find_columns(dataset, RunConfig(), task_of_kind("image")).notes) == 2


@pytest.mark.parametrize(
    ("columns", "settings", "message"),
    [
        (
            ["a", "label"],
            {},
            "No column 'text' in the dataset; it has 'a', 'label'. Pass --input_column NAME",
        ),
        (
            ["a nice film, this one", "1"],
            {},
            "Pass --input_column NAME. If the first line is a row already, put",
        ),
        (["x", "b"], {}, "Pass --input_column NAME. If the first line is a row already, put a line of names"),
        (["text", "a"], {}, "No column 'label' .* Pass --label_column NAME"),
        (["text", "labell"], {}, "Pass --label_column labell"),
        (["text", "label"], {"input_column": "tex"}, "No column 'tex' .* Pass --input_column text"),
        (["text", "label"], {"group_by": "author"}, "No column 'author' .* Pass --group_by NAME"),
        (["text", "label"], {"id_column": "id"}, "Pass --id_column"),
        (
            ["caption", "label"],
            {"kind": "image_text"},
            "No columns 'image' and 'text', nor others of usual names, .* Pass --input_column NAME,NAME",
        ),
    ],
)
def test_absent_columns_are_refused_with_those_there_are(columns, settings, message):
    with pytest.raises(DataError, match=message):
        found(names(*columns), **settings)


def test_one_column_is_no_pair():
    with pytest.raises(DataError, match=r"--input_column names 'a' twice\. Name two columns, or it"):
        found(names("a", "b", "label"), "text_pair", input_column="a,a")


def test_the_name_of_a_file_is_no_rival_of_its_sound():
    rows = {"audio": [{"bytes": b"", "path": "0.wav"}], "file_name": ["0.wav"], "label": ["x"]}
    assert find_columns(Dataset.from_dict(rows), RunConfig(), task_of_kind("audio")).notes == ()


def test_ids_are_row_numbers_or_the_columns_values():
    dataset = table(a=["x", "y"], b=[7, 5])
    assert list(row_ids(dataset, None)) == [0, 1]
    assert (row_ids(dataset, "a"), row_ids(dataset, "b")) == (["x", "y"], [7, 5])


def test_ids_that_repeat_or_miss_are_refused():
    with pytest.raises(
        DataError, match=r"The id 'x' in column 'a' is that of row 0 and of row 2; 1 rows repeat"
    ):
        row_ids(table(a=["x", "y", "x"]), "a")
    with pytest.raises(DataError, match=r"1 row without an id in column 'a': row 1"):
        row_ids(table(a=["x", None]), "a")


@pytest.mark.parametrize("kind", ["image", "text", "audio"])
@pytest.mark.parametrize("name", ["episode_index", "episode", "Episode_ID"])
def test_frames_of_an_episode_stay_together_unless_something_else_is_asked(kind, name):
    rows = table(**{"image": ["x"], "text": ["x"], "audio": ["x"], "label": ["a"], name: [3], "frame": [0]})
    columns = find_columns(rows, RunConfig(), task_of_kind(kind))
    assert columns.group == name
    assert columns.fold_notes[0].startswith(f"Rows of one {name!r} stay together in a fold.")
    for settings in ({"scheme": "stratified"}, {"group_by": "frame"}, {"fold_column": "frame"}):
        found_group = find_columns(rows, RunConfig(**settings), task_of_kind(kind)).group
        assert found_group == settings.get("group_by")


def test_an_episode_that_is_the_label_or_the_input_groups_nothing():
    rows = table(text=["x"], episode=["a"])
    assert find_columns(rows, RunConfig(label_column="episode"), task_of_kind("text")).group is None


def test_speakers_come_before_episodes():
    rows = table(audio=["x"], label=["a"], episode=[1], speaker=["ann"])
    assert find_columns(rows, RunConfig(), task_of_kind("audio")).group == "speaker"


def test_groups_are_texts():
    assert groups(table(a=[3, 1]), "a") == ["3", "1"]
    for values in ([float("nan"), 1.0, None], ["nan", "NA", "<NA>"]):
        with pytest.raises(DataError, match=r"2 rows without a group in column 'a': rows 0, 2"):
            groups(table(a=values), "a")
    with pytest.raises(DataError, match=r"1 row without a site in .* Name a site for every row\."):
        groups(table(a=["x", None]), "a", "site")


@pytest.mark.parametrize(
    "values",
    [
        [10, 9],
        ["10", "9"],
        ["10.5", "9"],
        ["2026-01-10", "2026-01-09T23:59"],
        ["2026-01-10T00:30:00+00:00", "2026-01-10T01:00:00+02:00"],
        [datetime.datetime(2026, 1, 10), datetime.datetime(2026, 1, 9)],
    ],
)
def test_times_are_ordered_as_numbers_or_dates(values):
    later, earlier = times(table(a=values), "a")
    assert earlier < later


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (["2026-01-10", "yesterday"], "neither all numbers nor all ISO dates .*value 'yesterday'"),
        (["2026-01-10", ""], "neither all numbers"),
        ([1.0, None], "1 row without a time in column 'a': row 1"),
        (["1", "nan"], "1 row without a time"),
    ],
)
def test_times_that_cannot_be_ordered_are_refused(values, message):
    with pytest.raises(DataError, match=message):
        times(table(a=values), "a")


def test_folds_are_whole_numbers_or_names():
    assert folds(table(a=["0", "10", "9.0"]), "a") == [0, 10, 9]
    assert folds(table(a=["north", "1"]), "a") == ["north", "1"]
    with pytest.raises(DataError, match=r"1 row without a fold in column 'a': row 1"):
        folds(table(a=[0, None]), "a")


def test_dates_stay_dates_in_a_dataset():
    dataset = Dataset.from_dict({"a": ["2026-01-10"]}, Features({"a": Value("string")}))
    assert times(dataset, "a").dtype == np.dtype("datetime64[us]")

"""What may say which rows come from one source."""

import numpy as np
import pytest
from datasets import Dataset

from hf_transfer import RunConfig
from hf_transfer.data.rows import label_rows
from hf_transfer.data.sources import SOURCES, column_of, in_words, listed_sources, sources_of


def rows(num_rows: int = 24, **columns):
    own = {
        "text": [f"text {i}" for i in range(num_rows)],
        "label": [("no", "yes")[i % 2] for i in range(num_rows)],
    }
    return label_rows(Dataset.from_dict(own | columns), RunConfig(), "text").rows


def names(found: Dataset) -> list[str]:
    return [in_words(name) for name in sources_of(found)]


def test_a_column_with_equal_values_is_one():
    found = rows(author=[f"ann {i % 6}" for i in range(24)])
    assert names(found) == ["column 'author'"]
    (keys,) = sources_of(found).values()
    assert (keys == np.arange(24) % 6).all()
    assert not any("ann" in str(value) for value in found[0][SOURCES].values())


@pytest.mark.parametrize(
    "values",
    [
        ["same"] * 24,
        [f"a text of its own, number {i}, with many words" for i in range(24)],
        [i % 2 for i in range(24)],
        [i / 7 for i in range(24)],
        [None] * 24,
        ["a"] * 18 + [f"b {i // 2}" for i in range(6)],
    ],
)
def test_what_no_fold_could_leave_out_is_none(values):
    assert SOURCES not in rows(other=values).column_names


def test_missing_values_share_nothing():
    found = rows(author=[None, "", " "] + [f"ann {i % 7}" for i in range(21)])
    (keys,) = sources_of(found).values()
    assert len(set(keys[:3])) == 3
    assert not set(keys[:3]) & set(keys[3:])


def test_equal_partitions_are_one_candidate():
    authors = [i % 6 for i in range(24)]
    assert names(rows(author=[f"ann {i}" for i in authors], author_code=[f"a-{i}" for i in authors])) == [
        "column 'author'"
    ]


def test_names_of_files_give_what_stands_before_their_numbers():
    files = [f"film{i % 6}_scene{i % 3}_frame{100 - i}.png" for i in range(24)]
    assert names(rows(file=files)) == [
        "names in column 'file' without their last number",
        "order of the names in column 'file'",
    ]


def test_folders_and_hosts_are_candidates():
    found = rows(url=[f"https://site{i % 4}.org/{i % 8}/page{i}" for i in range(24)])
    assert names(found)[:2] == ["hosts in column 'url'", "folders in column 'url'"]


def test_in_order_nine_comes_before_ten():
    files = [f"frame{number}.png" for number in np.random.default_rng(0).permutation(24)]
    keys = sources_of(rows(file=files))["order of the names in column 'file'"]
    assert [files[row] for row in np.argsort(keys)] == [f"frame{i}.png" for i in range(24)]


def test_whole_numbers_that_all_differ_are_an_order():
    places = np.random.default_rng(0).permutation(24)
    assert (sources_of(rows(frame=places.tolist()))["=frame"] == places).all()


def test_they_follow_their_rows():
    data = Dataset.from_dict({
        "text": [f"text {i}" if i % 3 else "" for i in range(24)], "label": ["no", "yes"] * 12,
        "who": [f"w{i // 4}" for i in range(24)],
    })  # fmt: skip
    found = label_rows(data, RunConfig(max_rows=10), "text").rows
    assert (sources_of(found)["=who"] == np.array(found["row_id"]) // 4).all()


def test_likely_ones_are_listed_first():
    found = listed_sources(
        rows(tone=[f"t{i % 4}" for i in range(24)], patient=[f"p{i // 3}" for i in range(24)])
    )
    assert [(column_of(one.name), one.groups, one.rows, one.likely) for one in found] == [
        ("patient", 8, 3, True),
        ("tone", 4, 6, False),
    ]


def test_amounts_that_are_written_as_texts_are_no_names():
    assert SOURCES not in rows(price=[f"{i}.{i % 10}0" for i in range(24)]).column_names

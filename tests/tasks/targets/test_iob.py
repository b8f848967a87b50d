import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hf_transfer.errors import DataError
from hf_transfer.tasks.targets.iob import entity_types, name_tags
from hf_transfer.tasks.targets.labels import LabelColumn

NAMES = ("O", "B-PER", "I-PER")


def column(*rows, declared=None, words=None):
    words = words if words is not None else [["w"] * len(row) if row else [] for row in rows]
    return LabelColumn(list(rows), "column 'tags'", declared, words)


@st.composite
def iob2_rows(draw):
    kinds = st.sampled_from(["ORG", "LOC", "PER"])
    spans = draw(st.lists(st.lists(st.tuples(kinds, st.integers(0, 3))), min_size=1, max_size=5))
    rows = [[tag for kind, n in row for tag in ["O", f"B-{kind}", *[f"I-{kind}"] * n]] for row in spans]
    return [*rows, ["B-PER"]]


@given(iob2_rows())
@settings(max_examples=50)
def test_ids_read_back_as_the_tags(rows):
    result = name_tags([column(*rows)])
    assert [[result.names[i] for i in row] for row in result.ids[0]] == rows


@given(iob2_rows())
@settings(max_examples=50)
def test_texts_and_declared_names_give_the_same_ids(rows):
    texts = name_tags([column(*rows)])
    ids = [[texts.names.index(tag) for tag in row] for row in rows]
    assert name_tags([column(*ids, declared=texts.names)]) == texts


def test_names_are_outside_first_and_then_pairs_by_type():
    result = name_tags([column(["B-PER", "I-PER", "O"], ["B-LOC"])])
    assert result.names == ("O", "B-LOC", "I-LOC", "B-PER", "I-PER")


def test_types_of_the_test_rows_get_names_and_a_note():
    result = name_tags([column(["B-PER"]), column(["B-LOC"])])
    assert "B-LOC" in result.names
    assert result.notes == ("Only the test split has rows of 'LOC'; they cannot be learned.",)


def test_missing_partners_of_declared_names_are_added_at_the_end():
    result = name_tags([column([1, 0], declared=("O", "B-PER", "I-LOC"))])
    assert result.names == ("O", "B-PER", "I-LOC", "I-PER", "B-LOC")


def test_an_empty_sentence_has_no_tags():
    assert name_tags([column([], ["B-PER"])]).ids[0] == [[], [1]]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            [["B-PER"], ["O", "I-PER"]],
            "Row 1, word 1 has the tag 'I-PER' after 'O' .*not IOB2.*There are 1 such tags.*IOB1",
        ),
        ([["I-PER", "I-PER"], ["B-LOC", "I-PER"]], "Row 0, word 0 has .*after 'the start'.*There are 2 such"),
        ([["NN", "VB"]], "Tags in column 'tags' are not IOB2.*: 'NN', 'VB'. .*Parts of speech"),
        ([["O", "B-PER", "LOC"]], "not IOB2.*: 'LOC'. Allowed"),
        ([["S-PER", "E-PER", "O"]], "Row 0, word 1 has the tag 'E-PER' after 'S-PER' .*not BIOES"),
        (
            [["B-X", "L-X", "S-X", "O"]],
            "begin with B, L, S, which no one scheme has; known are IOB2 .BI., BIOES",
        ),
        ([["B-"]], "not IOB2.*: 'B-'"),
        ([[0, 1, 2]], "are numbers without names.*list of ClassLabel"),
        ([["O", None]], "A tag in column 'tags' is None"),
        ([["O", "O"]], "Every tag in column 'tags' is 'O'"),
        ([["B-PER"], None], "1 row without a list of tags in column 'tags': row 1"),
        ([["B-PER"], "O"], "1 row without a list of tags"),
        ([["B-PER", "B-per"]], "Labels 'B-PER' and 'B-per' .* differ only in case"),
    ],
)
def test_tags_that_are_not_iob2_are_refused(rows, message):
    with pytest.raises(DataError, match=message):
        name_tags([column(*rows)])


def test_words_and_tags_must_be_as_many():
    words = [["a"], ["a", "b"], ["a"]]
    with pytest.raises(DataError, match=r"Row 1 has 2 words but 3 tags .*2 rows in all differ"):
        name_tags([column(["O"], ["O"] * 3, [], words=words)])


@pytest.mark.parametrize("tag", [-100, 3, None])
def test_ids_that_no_declared_name_has_are_refused(tag):
    with pytest.raises(DataError, match=r"1 row with a tag id outside 0 to 2 .*: row 1"):
        name_tags([column([0, 1], [tag], declared=NAMES)])


def test_declared_names_that_are_not_iob2_are_refused_even_unused():
    with pytest.raises(DataError, match=r"not IOB2.*: 'X'"):
        name_tags([column([1], declared=("O", "B-PER", "X"))])


def test_each_entity_counts_once():
    assert list(entity_types(["B-PER", "I-PER", "O", "B-LOC", "B-PER"])) == ["PER", "LOC", "PER"]

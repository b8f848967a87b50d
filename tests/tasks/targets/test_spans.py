"""Spans of characters as tags of words."""

import pytest
from datasets import Dataset, List, Value

from hf_transfer.errors import DataError
from hf_transfer.tasks.inputs.text_words import word_places
from hf_transfer.tasks.targets.spans import Aligner, is_empty_list, is_spans, span_columns

TEXT = "Ann Berg's \U0001f600 (in Oslo)."


def tagged(*spans, text=TEXT):
    aligner = Aligner("column 'label'")
    tags = aligner.tags(3, text, word_places(text), [as_span(span) for span in spans])
    return tags, aligner.notes()[1:]


def as_span(span):
    return dict(zip(("start", "end", "label"), span, strict=True)) if isinstance(span, tuple) else span


@pytest.mark.parametrize(
    "spans",
    [
        [(0, 8, "PER"), (17, 21, "LOC")],
        [(17, 21, "LOC"), (0, 9 - 1, "PER"), (0, 8, "PER")],
        [{"start_offset": 0, "end_offset": 8, "label": "PER"}, {"begin": 16, "end": 21, "type": "LOC"}],
        [{"start": 0, "end": 8, "labels": ["PER"]}, {"start": 18, "end": 22, "label": "LOC", "text": "Oslo"}],
    ],
    ids=["in order", "in no order, one twice", "other names, a space more", "offsets of a browser"],
)
def test_words_get_the_tags_of_their_spans(spans):
    assert tagged(*spans) == (["B-PER", "I-PER", "O", "O", "O", "O", "O", "B-LOC", "O", "O"], ())


def test_a_span_that_cuts_a_word_is_widened_and_told_with_its_row():
    tags, notes = tagged((0, 6, "PER"))
    assert tags[:3] == ["B-PER", "I-PER", "O"]
    assert notes == (
        "1 span in column 'label' widened to whole words, as they cut one: row 3. The first, 'Ann Be', "
        "became 'Ann Berg'.",
    )


def test_of_spans_that_overlap_the_longest_counts():
    tags, notes = tagged((4, 8, "X"), (0, 8, "PER"), (3, 4, "SPACE"))
    assert tags[:3] == ["B-PER", "I-PER", "O"]
    assert notes[0].startswith("2 spans in column 'label' left out, as each shares a word with a longer one")


def test_a_row_without_a_list_has_no_entity_and_is_told():
    aligner = Aligner("column 'label'")
    assert aligner.tags(0, "a", [(0, 1)], None) == ["O"]
    assert "1 row without a list in column 'label' taken as having no entity: row 0." in aligner.notes()


@pytest.mark.parametrize(
    ("span", "message"),
    [
        (
            (17, 40, "LOC"),
            r"Row 3 has a span in column 'label' from 17 to 40, where its text of 23 characters",
        ),
        ((-1, 2, "LOC"), "from -1 to 2"),
        ((2, 2, "LOC"), "from 2 to 2"),
        ((2, 3, ""), "with the label ''"),
        (("2", 3, "LOC"), "from '2' to 3"),
        ({"start": 0, "end": 3, "label": "LOC", "text": "Oslo"}, "has 'Ann' and not 'Oslo'"),
    ],
)
def test_spans_that_fit_no_text_are_refused_with_their_row(span, message):
    with pytest.raises(DataError, match=message):
        tagged(span)


def test_columns_of_spans_are_known_by_their_type():
    span = {"start": 0, "end": 1, "label": "X"}
    rows = Dataset.from_dict(
        {"other": [[span]], "Label": [[span]], "words": [["a"]], "text": ["a"], "none": [[]]}
    )
    assert span_columns(rows.features) == ["label", "other"]
    assert not is_spans(List({"start": Value("int64"), "text": Value("string")}))
    assert is_empty_list(rows.features["none"])
    assert is_empty_list(Value("null"))
    assert not is_empty_list(rows.features["words"])

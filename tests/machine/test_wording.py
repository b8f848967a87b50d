import math

import pytest

from hf_transfer.machine.wording import (
    aligned,
    duration,
    fold_key,
    fold_name,
    inline,
    number,
    plus_minus,
    probability,
    size_words,
    some,
)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "n/a"),
        (3.21, "3.2 s"),
        (99.9, "99.9 s"),
        (99.96, "1 min 40 s"),
        (250, "4 min 10 s"),
        (7500, "2 h 5 min"),
    ],
)
def test_times_are_written_for_people(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


def test_numbers_stand_to_the_right_and_words_to_the_left() -> None:
    rows = [["name", "n", "note"], ["a", "5", "short"], ["bcd", "1,234", "longer one"]]
    assert aligned(rows) == "name      n  note\na         5  short\nbcd   1,234  longer one"


@pytest.mark.parametrize(
    ("p", "written"), [(0.02345, "0.023"), (0.5, "0.5"), (0.0002, "below 0.001"), (1.0, "1"), (None, "n/a")]
)
def test_p_values_have_two_digits_and_no_false_exactness(p: float | None, written: str) -> None:
    assert probability(p) == written


def test_a_number_that_rounds_to_nothing_has_no_sign() -> None:
    assert (number(-0.0001), number(-0.0006)) == ("0.000", "-0.001")


@pytest.mark.parametrize(
    ("size", "words"), [(5, "5 bytes"), (1500, "1.5 kB"), (2e6, "2.0 MB"), (3.21e9, "3.2 GB")]
)
def test_sizes_are_said_as_a_person_would(size, words):
    assert size_words(size) == words


def test_nothing_undefined_is_printed_as_none_or_nan() -> None:
    assert [number(None), number(math.nan), plus_minus(None), duration(None)] == ["n/a"] * 4


@pytest.mark.parametrize(
    ("repeat", "fold", "num_repeats", "name"),
    [(0, 0, 1, "fold 1"), (0, 1, 3, "repeat 1, fold 2"), (2, 0, 3, "repeat 3, fold 1")],
)
def test_people_count_folds_from_1_and_name_the_repeat_where_there_are_several(
    repeat, fold, num_repeats, name
):
    assert fold_name(repeat, fold, num_repeats) == name


def test_files_count_folds_from_0():
    assert fold_key(0, 3) == "r0f3"


def test_names_of_data_stay_on_their_line() -> None:
    assert inline("one\ntwo\x1b[31m") == "one\\ntwo\\u001b[31m"
    assert inline("plain") == "plain"
    assert some(["a\nb", 3]) == "rows a\\nb, 3"

from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers.modeling_outputs import BaseModelOutput

from hf_transfer.replay.shapes import Shape, fit_shape, fit_tree, length_of, rows_of, stand_in

SIZES = [(2, 7), (3, 12), (5, 9)]  # no rule gives the same numbers for them as another
CPU = torch.device("cpu")

dims = st.lists(st.tuples(st.integers(1, 40), st.booleans(), st.booleans()), max_size=4).map(tuple)
sizes = st.tuples(st.integers(1, 30), st.integers(1, 30))


@given(dims, sizes)
def test_a_rule_is_found_again_from_the_shapes_it_gives(dims, other):
    shape = Shape(dims, torch.float16)
    found = fit_shape([shape.at(*size) for size in SIZES], SIZES, torch.float16)
    assert found == shape
    assert found.at(*other) == shape.at(*other)


@given(dims, st.lists(sizes, min_size=1, max_size=3))
def test_a_rule_fits_all_batches_that_it_was_read_from(dims, seen):
    wanted = [Shape(dims, torch.float32).at(*size) for size in seen]
    found = fit_shape(wanted, seen, torch.float32)
    assert [found.at(*size) for size in seen] == wanted


@given(st.lists(st.lists(st.integers(1, 50), min_size=2, max_size=2).map(tuple), min_size=3, max_size=3))
def test_shapes_that_follow_no_rule_are_given_up(shapes):
    found = fit_shape(shapes, SIZES, torch.float32)
    assert found is None or [found.at(*size) for size in SIZES] == shapes


def test_other_numbers_of_dimensions_follow_no_rule():
    assert fit_shape([(2, 4), (3, 4, 1), (5, 4)], SIZES, torch.float32) is None
    assert fit_shape([(2, 4), (3, 5), (5, 4)], SIZES, torch.float32) is None


@pytest.mark.parametrize(
    ("shapes", "row_by_row", "by_token"),
    [
        ([(2, 4), (3, 4), (5, 4)], True, False),
        ([(2, 7, 4), (3, 12, 4), (5, 9, 4)], True, True),
        ([(2, 6, 4, 4), (3, 6, 4, 4), (5, 6, 4, 4)], True, False),
        ([(4, 2), (4, 3), (4, 5)], False, False),  # rows come second
        ([(4, 4), (6, 4), (10, 4)], False, False),  # two for each row
        ([(14, 4), (36, 4), (45, 4)], False, False),  # rows and tokens in one
        ([(2, 14, 4), (3, 24, 4), (5, 18, 4)], False, True),  # two for each token
        ([(2, 2, 7, 7), (3, 2, 12, 12), (5, 2, 9, 9)], False, False),  # attention
        ([(7, 4), (12, 4), (9, 4)], False, False),
        ([(), (), ()], False, False),
    ],
)
def test_only_what_belongs_to_a_row_or_its_tokens_can_be_stored(shapes, row_by_row, by_token):
    shape = fit_shape(shapes, SIZES, torch.float32)
    assert (shape.is_row_by_row, shape.by_token) == (row_by_row, by_token)


def test_rows_and_length_of_batches():
    text = {"input_ids": torch.zeros(3, 5, dtype=torch.long), "attention_mask": torch.ones(3, 5)}
    assert (rows_of(text), length_of(text)) == (3, 5)
    filters = SimpleNamespace(config=SimpleNamespace(conv_kernel=(10, 3), conv_stride=(5, 2)))
    waves = {"input_values": torch.zeros(2, 100), "attention_mask": torch.ones(2, 100)}
    assert (rows_of(waves), length_of(waves, filters)) == (2, 9)
    assert length_of({"input_values": torch.zeros(2, 32, 16)}, filters) == 1  # a spectrogram
    picture = {"pixel_values": torch.zeros(4, 3, 8, 8)}
    assert (rows_of(picture), length_of(picture)) == (4, 1)


def hidden(rows, length, dtype=torch.float32):
    return torch.ones(rows, length, 4, dtype=dtype)


def check(found, shape, dtype=torch.float32):
    assert found.shape == shape
    assert found.dtype == dtype
    assert bool(found.isnan().all())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_stand_in_is_nan_of_the_right_shape_and_type(dtype):
    rule = fit_tree([hidden(*size, dtype) for size in SIZES], SIZES)
    check(stand_in(rule, 6, 11, CPU), (6, 11, 4), dtype)


@pytest.mark.parametrize("kind", [tuple, list])
def test_a_stand_in_keeps_sequences_and_what_is_nothing_in_them(kind):
    outputs = [kind([hidden(n, m), None, torch.ones(n, 2), (torch.ones(5),)]) for n, m in SIZES]
    found = stand_in(fit_tree(outputs, SIZES), 6, 11, CPU)
    assert type(found) is kind
    assert len(found) == 4
    assert found[1] is None
    check(found[0], (6, 11, 4))
    check(found[2], (6, 2))
    assert type(found[3]) is tuple
    check(found[3][0], (5,))


def test_a_stand_in_keeps_mappings():
    outputs = [{"a": hidden(n, m), "b": None, "c": (torch.ones(n, m, m),)} for n, m in SIZES]
    found = stand_in(fit_tree(outputs, SIZES), 6, 11, CPU)
    assert type(found) is dict
    assert found.get("b") is None
    check(found["a"], (6, 11, 4))
    check(found["c"][0], (6, 11, 11))


def test_a_stand_in_keeps_the_outputs_of_transformers():
    outputs = [BaseModelOutput(last_hidden_state=hidden(n, m)) for n, m in SIZES]
    found = stand_in(fit_tree(outputs, SIZES), 6, 11, CPU)
    assert type(found) is BaseModelOutput
    assert found.hidden_states is None
    check(found.last_hidden_state, (6, 11, 4))
    check(found[0], (6, 11, 4))


@pytest.mark.parametrize(
    "output",
    [
        torch.ones(2, dtype=torch.long),  # there is no NaN among whole numbers
        (torch.ones(2), torch.ones(2, dtype=torch.bool)),
        {"a": torch.ones(2), "b": 3},
        {},
        (),
        "text",
        None,
    ],
)
def test_what_cannot_be_nan_has_no_stand_in(output):
    assert fit_tree([output] * 3, SIZES) is None


def test_a_stand_in_that_follows_no_rule_is_none():
    assert (
        fit_tree([(torch.ones(n), torch.ones(k)) for (n, _), k in zip(SIZES, (1, 4, 4), strict=True)], SIZES)
        is None
    )


def test_a_stand_in_that_is_written_to_has_memory_of_its_own():
    shape = Shape(((1, True, False), (4, False, False)), torch.float32)
    shared, own = (stand_in(shape, 3, 1, CPU, copied=copied) for copied in (False, True))
    assert shared.stride() == (0, 0)
    own[0, 0] = 1
    assert own.isnan().sum() == 11

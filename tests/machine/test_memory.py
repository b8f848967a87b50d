import gc
import weakref

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hf_transfer.errors import ShortOfMemoryError
from hf_transfer.machine.memory import (
    attempt,
    explained,
    if_it_fits,
    in_parts,
    is_out_of_memory,
    keep_for_speed,
    let_go,
    noted,
)


class Copy:
    """Something on a device that may go."""

    def __init__(self) -> None:
        self.held = True
        keep_for_speed(self)

    def let_go(self) -> bool:
        held, self.held = self.held, False
        return held


@pytest.fixture(autouse=True)
def nothing_kept():
    let_go()


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        torch.OutOfMemoryError("XPU out of memory. Tried to allocate 2.00 GiB."),
        RuntimeError("NPU out of memory. Tried to allocate 2.00 GiB (NPU 0; 60.97 GiB total capacity"),
        RuntimeError("MPS backend out of memory (MPS allocated: 17.2 GiB, other allocations: 1.1 GiB)"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        RuntimeError("HIP error: out of memory"),
        RuntimeError("level_zero backend failed with error: 39 (UR_RESULT_ERROR_OUT_OF_DEVICE_MEMORY)"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory: 12"),
        RuntimeError("std::bad_alloc"),
        MemoryError(),
        ShortOfMemoryError("it does not fit"),
    ],
    ids=str,
)
def test_every_device_says_in_its_own_words_that_memory_ran_out(error):
    assert is_out_of_memory(error)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("mat1 and mat2 shapes cannot be multiplied (3x4 and 5x6)"),
        ValueError("out of memory"),
        RuntimeError("CUDA error: an illegal memory access was encountered"),
    ],
    ids=str,
)
def test_other_errors_are_no_lack_of_memory(error):
    assert not is_out_of_memory(error)


@given(st.lists(st.integers(1, 20), max_size=5), st.integers(1, 25))
def test_every_row_is_taken_once_in_order_and_never_more_than_fit(sizes, room):
    parts = np.split(np.arange(sum(sizes)), np.cumsum(sizes)[:-1]) if sizes else []

    def run(part):
        if len(part) > room:
            raise torch.OutOfMemoryError
        return part * 2

    with noted([]):
        found = list(in_parts(run, parts, "at a test"))
    assert [row for part, _ in found for row in part.tolist()] == list(range(sum(sizes)))
    assert all(np.array_equal(part * 2, result) and len(part) <= room for part, result in found)
    if max(sizes, default=0) <= room:
        assert [len(part) for part, _ in found] == sizes


def test_what_ran_out_is_not_tried_again_with_as_many_rows(capsys):
    tried, notes = [], []

    def run(part):
        tried.append(len(part))
        if len(part) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried.")

    with noted(notes):
        list(in_parts(run, np.split(np.arange(24), 3), "as rows were predicted"))
    assert tried == [8, 4, 2, 2, 2, 2] + [2] * 8
    assert notes == [
        "Memory ran out as rows were predicted: 2 rows at a time instead of 8.",
    ]
    assert capsys.readouterr().err.splitlines() == notes


def test_a_single_row_that_does_not_fit_is_an_error_that_says_what_to_do():
    def run(_part):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried.\nmore")

    words = r"^Memory ran out at a test \(CUDA out of memory\. Tried\)\. Take smaller inputs .*more memory\.$"
    with pytest.raises(ShortOfMemoryError, match=words), noted([]):
        list(in_parts(run, [np.arange(4)], "at a test"))


def test_copies_go_before_fewer_rows_are_taken():
    copy, tried, notes = Copy(), [], []

    def run(part):
        tried.append(len(part))
        if copy.held or len(part) > 4:
            raise torch.OutOfMemoryError

    with noted(notes):
        list(in_parts(run, [np.arange(8)], "at a test"))
    assert tried == [8, 8, 4, 4]
    assert ["read from disk" in note for note in notes] == [True, False]


def test_what_a_failed_call_held_is_free_before_the_next():
    held, alive = [], []

    def run():
        tensor = torch.zeros(3)
        alive.append([ref() is not None for ref in held])
        held.append(weakref.ref(tensor))
        if len(held) < 2:
            raise torch.OutOfMemoryError
        return len(held)

    gc.disable()
    try:
        assert attempt(run, "at a test", tries=2) == 2
    finally:
        gc.enable()
    assert alive == [[], [False]]


def test_a_call_is_taken_back_before_it_is_made_again():
    value, undone = [], []

    def run():
        value.append(1)
        if len(undone) < 2:
            raise torch.OutOfMemoryError

    copies = Copy(), Copy()
    with pytest.raises(ShortOfMemoryError, match="at a test"), noted([]):
        attempt(run, "at a test", undo=lambda: (undone.append(1), value.clear()))
    assert (len(undone), value, [copy.held for copy in copies]) == (2, [], [False, False])


def test_a_process_tries_again_where_another_has_let_something_go():
    calls, given_back = [], []

    def run():
        calls.append(1)
        if len(calls) == 1:  # as it does in every process
            raise torch.OutOfMemoryError
        return len(calls)

    with noted([]):
        assert attempt(run, "at a test", agreed=lambda mine: given_back.append(mine) or True) == 2
    assert given_back == [False]


def test_another_error_passes_as_it_is():
    for run in (attempt, lambda fail, when: if_it_fits(fail, when)):
        with pytest.raises(ZeroDivisionError, match="division"):
            run(lambda: 1 / 0, "at a test")


def test_what_is_only_faster_is_left_out_with_a_note():
    def fail():
        raise torch.OutOfMemoryError

    notes = []
    with noted(notes):
        assert if_it_fits(fail, "It is read from disk.") is None
        assert if_it_fits(lambda: 3, "It is read from disk.") == 3
    assert notes == ["It is read from disk."]


def test_what_cannot_be_taken_back_ends_in_one_line():
    with (
        pytest.raises(ShortOfMemoryError, match=r"Memory ran out at update 4 \(none left\)"),
        explained("at update 4"),
    ):
        raise torch.OutOfMemoryError("none left")
    with pytest.raises(ValueError, match="a defect"), explained("at update 4"):
        raise ValueError("a defect")

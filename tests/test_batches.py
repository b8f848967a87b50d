from itertools import pairwise, permutations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_runs import KINDS

from hf_transfer import RunConfig, batches, open_dataset
from hf_transfer.batches import Batches, cut_by_size, fits_on_device
from hf_transfer.encoding import encode_rows
from hf_transfer.replay import Replay
from hf_transfer.training import Job, fit
from hf_transfer.training.loop import Loop
from hf_transfer.workers import Workers, make_accelerator

sizes_of_a_batch = st.lists(st.integers(1, 200), min_size=1, max_size=40).map(np.array)


def cost(sizes, parts, overhead):
    return sum(len(part) * sizes[part].max() + overhead for part in parts)


@settings(max_examples=60, deadline=None)
@given(sizes_of_a_batch, st.integers(1, 300))
def test_parts_hold_every_row_once_and_cost_no_more_than_one_pass(sizes, overhead):
    parts = cut_by_size(sizes, overhead)
    assert sorted(np.concatenate(parts).tolist()) == list(range(len(sizes)))
    assert cost(sizes, parts, overhead) <= cost(sizes, [np.arange(len(sizes))], overhead)
    assert all(sizes[a].max() <= sizes[b].min() for a, b in pairwise(parts))


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 50), min_size=1, max_size=5).map(np.array), st.integers(1, 60))
def test_no_other_cut_costs_less(sizes, overhead):
    found = cost(sizes, cut_by_size(sizes, overhead), overhead)
    for order in permutations(range(len(sizes))):
        for marks in range(2 ** (len(sizes) - 1)):
            cuts = [i + 1 for i in range(len(sizes) - 1) if marks >> i & 1]
            assert found <= cost(sizes, np.split(np.array(order), cuts), overhead)


def test_rows_of_one_size_stay_together():
    assert len(cut_by_size(np.full(32, 128), 100)) == 1


@pytest.fixture
def job_of(tmp_path):
    """A job of a kind of run, from scratch so that nothing is replayed."""

    def make(kind: str, **changes) -> Job:
        task_class, values = KINDS[kind]
        config = RunConfig(
            **values | {"trainable": "all", "batch_size": 8} | changes, output_dir=str(tmp_path)
        )
        data = open_dataset(config, task_class.kind)
        accelerator = make_accelerator(config)
        task = task_class(config, data.label_names)
        encoded = encode_rows(task, data.rows, data.fingerprint, accelerator)
        replay = Replay(task, encoded, config, accelerator)
        return Job(task, replay, config, 1, Workers(accelerator, together=False))

    return make


@pytest.fixture
def with_room(monkeypatch):
    """Every device has room, and the rows that are read are counted."""
    read, batch_rows = [], batches.batch_rows
    monkeypatch.setattr(batches, "fits_on_device", lambda needed, device: needed < 10**9)
    monkeypatch.setattr(batches, "batch_rows", lambda e, rows: (read.extend(rows), batch_rows(e, rows))[1])
    return read


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_a_processor_has_no_memory_of_its_own_to_keep_rows_in():
    assert not fits_on_device(1, torch.device("cpu"))


def test_pictures_that_fit_are_read_once_and_are_the_same(job_of, with_room):
    plain = job_of("pictures", augmentation="crop-flip").replay.plain
    positions, seeds = np.array([5, 39, 0, 5]), [1, 2, 3, 4]
    wanted = [plain.collate(positions), plain.collate(positions, seeds)]
    plain.hold()
    assert plain.held["pixel_values"].dtype == torch.uint8
    with_room.clear()
    assert all(
        same(a, b)
        for a, b in zip([plain.collate(positions), plain.collate(positions, seeds)], wanted, strict=True)
    )
    plain.hold()
    assert with_room == []


def test_texts_are_not_kept_as_they_have_no_common_length(job_of, with_room):
    plain = job_of("text").replay.plain
    plain.hold()
    assert plain.held is None


def test_what_was_let_go_is_read_again_and_not_kept_again(job_of, with_room):
    plain = job_of("pictures").replay.plain
    assert not Batches(plain.task, plain.encoded, plain.device).let_go()
    plain.hold()
    wanted = plain.collate(np.arange(3))
    assert plain.let_go()
    plain.hold()
    assert plain.held is None
    assert same(plain.collate(np.arange(3)), wanted)
    assert not plain.let_go()


def test_kept_pictures_go_before_batches_are_halved(job_of, with_room, monkeypatch):
    """A training with kept pictures ends with the weights of one without, and short of memory too."""
    made, loss, tried = job_of("pictures"), Loop._loss, []

    def fails(self, batch):
        tried.append(self.fitted.batches.held is not None)
        if tried[-1]:
            raise torch.OutOfMemoryError
        return loss(self, batch)

    rows = np.arange(32)
    kept = fit(made, rows)
    assert made.replay.plain.held is not None
    monkeypatch.setattr(Loop, "_loss", fails)
    short = fit(made, rows)
    assert tried == [True, False, False, False, False]
    assert short.notes == []
    made.replay.plain.let_go()
    without = fit(made, rows)
    for name, tensor in kept.model.state_dict().items():
        assert torch.equal(tensor, short.model.state_dict()[name])
        assert torch.equal(tensor, without.model.state_dict()[name])

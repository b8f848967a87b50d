from itertools import pairwise, permutations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_runs import KINDS, plain_config

from hf_transfer import open_dataset
from hf_transfer.machine.memory import fits_on_device, let_go
from hf_transfer.replay import batching as batches
from hf_transfer.replay.batching import Batches, DeviceCopy, _Whole, cut_by_size
from hf_transfer.replay.encoding import encode_rows
from hf_transfer.replay.replayed import Replay
from hf_transfer.training.fitting import fit
from hf_transfer.training.job import Job
from hf_transfer.training.predicting import predict
from hf_transfer.training.workers import Workers, make_accelerator

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
    """A job of a kind of run in which everything learns, so that nothing is replayed."""

    def make(kind: str, **changes) -> Job:
        task_class, values = KINDS[kind]
        config = plain_config(
            **values | {"trainable": "all", "batch_size": 8} | changes, output_dir=str(tmp_path)
        )
        data = open_dataset(config, task_class)
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


@pytest.fixture
def short_of_memory(monkeypatch):
    """Memory runs out in every pass as long as rows are kept; gives whether they were, pass by pass."""
    tried, forward = [], _Whole.forward

    def fails(self, **inputs):
        logits = forward(self, **inputs)
        tried.append(
            DeviceCopy._last is not None
            and DeviceCopy._last() is not None
            and DeviceCopy._last().inputs is not None
        )
        if tried[-1]:
            raise torch.OutOfMemoryError
        return logits

    monkeypatch.setattr(_Whole, "forward", fails)
    return tried


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def same_weights(one, other):
    return same(one.model.state_dict(), other.model.state_dict())


def test_a_processor_has_no_memory_of_its_own_to_keep_rows_in():
    assert not fits_on_device(1, torch.device("cpu"))


def test_pictures_that_fit_are_read_once_and_are_the_same(job_of, with_room):
    plain = job_of("pictures", augmentation="crop-flip").replay.plain
    positions, seeds = np.array([5, 39, 0, 5]), [1, 2, 3, 4]
    wanted = [plain.collate(positions), plain.collate(positions, seeds)]
    plain.hold()
    assert plain.device_copy.inputs["pixel_values"].dtype == torch.uint8
    with_room.clear()
    found = [plain.collate(positions), plain.collate(positions, seeds)]
    plain.hold()
    assert with_room == []
    assert all(same(one, other) for one, other in zip(found, wanted, strict=True))


def test_texts_are_not_kept_as_they_have_no_common_length(job_of, with_room):
    plain = job_of("text").replay.plain
    plain.hold()
    assert plain.device_copy.inputs is None


def test_rows_under_other_labels_share_what_is_kept(job_of, with_room):
    replay = job_of("pictures").replay
    labels = np.roll(replay.encoded["labels"][:], 1).tolist()
    changed = replay.encoded.remove_columns("labels").add_column("labels", labels)
    replay.plain.hold()
    other = replay.relabelled(changed).plain
    with_room.clear()
    ours, theirs = replay.plain.collate(np.arange(9)), other.collate(np.arange(9))
    assert with_room == []
    assert torch.equal(ours["pixel_values"], theirs["pixel_values"])
    assert theirs["labels"].tolist() == labels[:9] != ours["labels"].tolist()
    assert other.device_copy.let_go()
    assert not replay.plain.device_copy.let_go()


def test_one_set_of_rows_is_kept_at_a_time(job_of, with_room):
    one, other = (job_of("pictures", max_rows=n).replay.plain for n in (40, 30))
    one.hold()
    other.hold()
    assert (one.device_copy.inputs is None, other.device_copy.inputs is None) == (True, False)
    one.hold()
    assert (one.device_copy.inputs is None, other.device_copy.inputs is None) == (False, True)


def test_what_was_let_go_is_read_again_and_not_kept_again(job_of, with_room):
    plain = job_of("pictures").replay.plain
    assert not Batches(plain.task, plain.encoded, plain.device).device_copy.let_go()
    plain.hold()
    wanted = plain.collate(np.arange(3))
    assert plain.device_copy.let_go()
    plain.hold()
    assert plain.device_copy.inputs is None
    assert same(plain.collate(np.arange(3)), wanted)
    assert not plain.device_copy.let_go()


def test_rows_that_do_not_fit_after_all_are_read_from_disk(job_of, with_room, monkeypatch):
    """Two processes on one GPU may both find room for what only one of them has."""
    plain = job_of("pictures").replay.plain

    def none_left(self, *size, **options):
        raise torch.OutOfMemoryError

    monkeypatch.setattr(torch.Tensor, "new_empty", none_left)
    plain.hold()
    assert plain.device_copy.inputs is None
    assert not plain.device_copy.allowed
    assert len(plain.collate(np.arange(3))["labels"]) == 3


def test_an_error_in_keeping_rows_that_is_no_lack_of_memory_is_shown(job_of, with_room, monkeypatch):
    plain = job_of("pictures").replay.plain
    monkeypatch.setattr(torch.Tensor, "new_empty", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError, match="division"):
        plain.hold()


def test_kept_pictures_go_before_batches_are_halved(job_of, with_room, short_of_memory):
    """In a model without dropout and statistics a training is the same after that."""
    rows = np.arange(32)
    made = job_of("pictures", trainable="head", replay=False)
    short = fit(made, rows)
    assert short_of_memory == [True, False, False, False, False]
    assert short.notes == [
        "Memory ran out at update 1: from there on rows are read from disk for every batch, "
        "and no longer kept on the device."
    ]
    assert same_weights(short, fit(made, rows))


def test_processes_that_share_batches_keep_nothing_as_they_could_not_let_go_alone(job_of, with_room):
    made = job_of("pictures", num_epochs=1)
    made.workers.together = True
    fit(made, np.arange(16))
    assert made.replay.plain.device_copy.inputs is None


def test_scoring_goes_on_without_kept_pictures(job_of, with_room, short_of_memory):
    made = job_of("pictures")
    plain, model = made.replay.plain, made.task.build_model()
    short_of_memory.clear()
    wanted = predict(plain.learner(model), plain, np.arange(40), made.workers)
    plain.hold()
    short_of_memory.clear()
    found = predict(plain.learner(model), plain, np.arange(40), made.workers)
    assert short_of_memory == [True, False, False, False]
    assert all(np.array_equal(found[row], wanted[row]) for row in wanted)


def test_a_store_is_let_go_with_the_rows_below_it(job_of, with_room):
    replay = job_of("pictures", trainable="head").replay
    replay.prepare()
    (found,) = replay.prepared.values()
    wanted = found.batches.collate(np.arange(5))
    found.batches.store.load_to(torch.device("cpu"))
    replay.plain.hold()
    found.batches.hold()
    assert same(found.batches.collate(np.arange(5)), wanted)
    assert let_go()
    assert found.batches.store.on_device is None
    assert replay.plain.device_copy.inputs is None
    assert same(found.batches.collate(np.arange(5)), wanted)
    assert not let_go()

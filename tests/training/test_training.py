import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from small_runs import plain_config

from hf_transfer import ImageClassification, SequenceClassification, open_dataset
from hf_transfer.errors import RunError, ShortOfMemoryError
from hf_transfer.layers.phases import plan_phases
from hf_transfer.replay.encoding import encode_rows
from hf_transfer.replay.replayed import Replay
from hf_transfer.training import fitting
from hf_transfer.training.epochs import effective_batches, label_weights, shares, tokens_a_pass
from hf_transfer.training.fitting import fit
from hf_transfer.training.job import Job
from hf_transfer.training.loop import Loop
from hf_transfer.training.optimizer import learning_rate_factor
from hf_transfer.training.predicting import mean_loss, predict
from hf_transfer.training.workers import Workers, make_accelerator


@pytest.fixture(scope="module")
def reviews(tmp_path_factory):
    config = plain_config(
        base_model="builtin:tiny-bert", dataset="builtin:reviews", max_rows=40, num_epochs=1, batch_size=8,
        learning_rate=1e-3, max_length=32, output_dir=str(tmp_path_factory.mktemp("run")),
    )  # fmt: skip
    data = open_dataset(config, "text")
    task = SequenceClassification(config, data.label_names)
    accelerator = make_accelerator(config)
    return task, encode_rows(task, data.rows, data.fingerprint, accelerator), config, accelerator


def job(reviews, seed=1, **settings) -> Job:
    task, encoded, config, accelerator = reviews
    config = replace(config, **settings)
    task = SequenceClassification(config, task.label_names)
    replay = Replay(task, encoded, config, accelerator)
    return Job(task, replay, config, seed, Workers(accelerator, together=False))


ROWS = np.arange(32)


def weights(fitted):
    return torch.cat([p.detach().flatten() for p in fitted.model.parameters()])


def test_equal_seeds_give_equal_weights_and_others_do_not(reviews):
    a, b, c = (fit(job(reviews, seed), ROWS) for seed in (1, 1, 2))
    assert torch.equal(weights(a), weights(b))
    assert not torch.equal(weights(a), weights(c))


def test_a_head_is_solved_once_for_all_rates_and_each_starts_from_it(reviews, monkeypatch):
    made = job(reviews, head_start="probe", trainable="last:1")
    other_rate = replace(made, config=replace(made.config, learning_rate=2e-3))
    other_rows = replace(made, seed=2)
    alone = [fit(replace(one, replay=job(reviews).replay), ROWS) for one in (made, other_rate, other_rows)]
    solved = []
    solve = fitting.start_output_layer
    monkeypatch.setattr(
        fitting, "start_output_layer", lambda *args, **options: solved.append(solve(*args, **options))
    )
    shared = [fit(one, ROWS) for one in (made, other_rate, other_rows)]
    assert len(solved) == 2
    assert all(torch.equal(weights(a), weights(b)) for a, b in zip(alone, shared, strict=True))


def test_smaller_steps_do_not_change_the_update(reviews):
    def no_dropout(**settings):
        made = job(reviews, num_epochs=2, class_weights="balanced", label_smoothing=0.1, **settings)
        for name in ("hidden_dropout_prob", "attention_probs_dropout_prob"):
            setattr(made.task.base.config, name, 0.0)  # a mask is drawn for each step
        return fit(made, ROWS)

    whole, parts = no_dropout(), no_dropout(per_device_batch_size=3)
    assert len(shares(ROWS[:8], job(reviews).workers, 3, 1)) == 3
    assert torch.allclose(weights(whole), weights(parts), atol=1e-4)
    assert not torch.allclose(weights(whole), weights(no_dropout(batch_size=16)), atol=1e-4)


def test_cutting_batches_by_length_does_not_change_the_update(reviews, monkeypatch):
    def lengths_of_passes(by_size):
        monkeypatch.setattr("hf_transfer.training.loop.tokens_a_pass", lambda _: 5 if by_size else 10**6)
        made = job(reviews, num_epochs=2, batch_size=16)
        for name in ("hidden_dropout_prob", "attention_probs_dropout_prob"):
            setattr(made.task.base.config, name, 0.0)
        seen = []
        collate = made.replay.plain.collate
        monkeypatch.setattr(
            made.replay.plain,
            "collate",
            lambda rows, seeds: (seen.append(len(rows)), collate(rows, seeds))[1],
        )
        return weights(fit(made, ROWS)), seen

    (cut, parts), (whole, passes) = lengths_of_passes(True), lengths_of_passes(False)
    assert passes == [16] * 4
    assert len(parts) > len(passes)
    assert sum(parts) == sum(passes)
    assert torch.allclose(cut, whole, atol=1e-4)


def test_a_pass_through_a_small_model_costs_many_tokens():
    words = torch.nn.Embedding(10**6, 8)
    small, large = (torch.nn.Sequential(words, torch.nn.Linear(n, n)) for n in (100, 4000))
    assert tokens_a_pass(small) > 10_000
    assert tokens_a_pass(large) == 62


def test_a_head_sees_whole_batches_as_its_dropout_must_not_depend_on_the_store(reviews, monkeypatch):
    made = job(reviews, trainable="head")
    collate, seen = made.replay.plain.collate, []
    monkeypatch.setattr(
        made.replay.plain, "collate", lambda rows, seeds: (seen.append(len(rows)), collate(rows, seeds))[1]
    )
    fit(made, ROWS)
    assert seen == [8] * 4


def test_the_proof_covers_frozen_layers_and_nothing_is_frozen_by_all(reviews):
    frozen = fit(job(reviews, trainable="head"), ROWS)
    assert frozen.hash_before == frozen.hash_after is not None
    assert fit(job(reviews, trainable="all"), ROWS).hash_before is None


@pytest.mark.parametrize("schedule", ["constant", "lp-ft", "gradual"])
def test_schedules_keep_the_proof_and_record_their_phases(reviews, schedule):
    fitted = fit(job(reviews, schedule=schedule, num_epochs=3, trainable="last:1"), ROWS)
    phases = [epoch["phase"] for epoch in fitted.history]
    assert (
        phases
        == {"constant": ["all"] * 3, "lp-ft": ["head", "head", "all"], "gradual": ["top 1", "all", "all"]}[
            schedule
        ]
    )
    assert fitted.hash_before == fitted.hash_after is not None


def test_training_lowers_the_loss(reviews):
    fitted = fit(job(reviews, num_epochs=10, learning_rate=3e-3), ROWS)
    assert fitted.history[-1]["train_loss"] < 0.7 * fitted.history[0]["train_loss"]


def test_early_stopping_keeps_the_best_epoch(reviews):
    settings = {"num_epochs": 12, "patience": 2, "learning_rate": 3e-3, "early_stopping": True}
    fitted = fit(job(reviews, **settings), ROWS[:24], ROWS[24:])
    inner = [epoch["inner_loss"] for epoch in fitted.history]
    smooth = [inner[0]]
    for loss in inner[1:]:
        smooth.append(0.5 * smooth[-1] + 0.5 * loss)
    assert fitted.best_epoch == int(np.argmin(smooth)) + 1
    assert len(fitted.history) < 12
    again = job(reviews, **settings)
    loss = mean_loss(fitted.learner, fitted.batches, ROWS[24:], again.workers)
    assert loss == pytest.approx(inner[fitted.best_epoch - 1], rel=1e-5)


def test_an_infinite_loss_stops_the_fold(reviews):
    broken = job(reviews)
    build = broken.task.build_model

    def build_with_nan():
        model = build()
        model.classifier.bias.data[0] = float("nan")
        return model

    broken.task.build_model = build_with_nan
    broken = replace(broken, row_ids=[f"row {number}" for number in range(40)])
    words = (
        r"loss is not a finite number from update 1 on \(epoch 1, learning_rate=0\.001; rows of that "
        r"update: 'row \d.*Lower learning_rate"
    )
    with pytest.raises(RunError, match=words):
        fit(broken, ROWS)


def test_a_last_update_that_spoils_the_weights_is_noticed(reviews, monkeypatch):
    stepped = Loop._update

    def spoil(self, batch, epoch):
        loss = stepped(self, batch, epoch)
        if self.step == 3:
            self.model.classifier.bias.data[0] = float("inf")
        return loss

    monkeypatch.setattr(Loop, "_update", spoil)
    with pytest.raises(RunError, match=r"A weight is not a finite number from update 4 on \(epoch 1"):
        fit(job(reviews), ROWS)


OUT_OF_MEMORY = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    RuntimeError("[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory: 12 bytes"),
    MemoryError(),
]


def short_of_memory(monkeypatch, error: Exception, rows: int) -> None:
    """Let every step with more rows than that fail, as on a small device."""
    loss = Loop._loss

    def fails(self, batch):
        if len(batch["labels"]) > rows:
            raise error
        return loss(self, batch)

    monkeypatch.setattr(Loop, "_loss", fails)


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=lambda error: type(error).__name__)
def test_when_memory_runs_out_half_the_rows_are_taken_at_a_time(reviews, monkeypatch, error):
    short_of_memory(monkeypatch, error, 4)
    fitted = fit(job(reviews), ROWS)
    (note,) = fitted.notes
    assert note == (
        "Memory ran out at update 1: from there on 4 rows were taken at a time instead of 8. "
        "Each update is still by 8 rows."
    )
    monkeypatch.undo()
    assert torch.equal(weights(fitted), weights(fit(job(reviews, per_device_batch_size=4), ROWS)))


def test_when_memory_runs_out_again_half_of_the_half_is_taken(reviews, monkeypatch):
    short_of_memory(monkeypatch, OUT_OF_MEMORY[0], 2)
    fitted = fit(job(reviews), ROWS)
    assert [re.findall(r"from there on (\d) rows", note) for note in fitted.notes] == [["4"], ["2"]]
    monkeypatch.undo()
    assert torch.equal(weights(fitted), weights(fit(job(reviews, per_device_batch_size=2), ROWS)))


def test_when_not_even_one_row_fits_the_fold_fails_and_says_what_to_do(reviews, monkeypatch):
    short_of_memory(monkeypatch, OUT_OF_MEMORY[0], 0)
    words = r"Memory ran out at update 1 \(CUDA out of memory\. Tried.*\)\. Take smaller inputs"
    with pytest.raises(ShortOfMemoryError, match=words):
        fit(job(reviews), ROWS)


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """Jobs on pictures for a network whose last block normalises one number a channel by batches."""
    config = plain_config(
        base_model="builtin:digits-resnet", dataset="builtin:digits_5to9", max_rows=9, num_epochs=1,
        batch_size=8, trainable="last:1", replay=False, output_dir=str(tmp_path_factory.mktemp("run")),
    )  # fmt: skip
    data, accelerator = open_dataset(config, "image"), make_accelerator(config)
    task = ImageClassification(config, data.label_names)
    encoded = encode_rows(task, data.rows, data.fingerprint, accelerator)
    return lambda **settings: Job(
        task, Replay(task, encoded, config, accelerator), replace(config, **settings), 1,
        Workers(accelerator, together=False),
    )  # fmt: skip


def test_what_normalises_by_batches_is_given_no_single_row(digits, monkeypatch):
    rows = np.arange(7)
    fitted = fit(digits(per_device_batch_size=1), rows)  # in parts of 3, 2 and 2
    assert torch.equal(weights(fitted), weights(fit(digits(per_device_batch_size=2), rows)))
    short_of_memory(monkeypatch, OUT_OF_MEMORY[0], 1)
    with pytest.raises(ShortOfMemoryError, match="Memory ran out at update 1"):
        fit(digits(), rows)


def test_another_error_is_not_taken_for_a_lack_of_memory(reviews, monkeypatch):
    short_of_memory(monkeypatch, RuntimeError("mat1 and mat2 shapes cannot be multiplied"), 4)
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        fit(job(reviews), ROWS)


def test_predictions_come_back_by_row_in_any_order(reviews):
    fitted = fit(job(reviews), ROWS)
    workers = Workers(reviews[-1], together=False)
    forth = predict(fitted.learner, fitted.batches, ROWS, workers)
    back = predict(fitted.learner, fitted.batches, ROWS[::-1].copy(), workers)
    assert sorted(forth) == ROWS.tolist()
    assert all(np.array_equal(forth[row], back[row]) for row in forth)


@pytest.mark.parametrize(
    ("rows", "size", "expected"), [(10, 4, [4, 4, 2]), (9, 4, [4, 5]), (3, 8, [3]), (1, 8, [1])]
)
def test_no_batch_is_a_single_leftover_row(reviews, rows, size, expected):
    batches = effective_batches(np.arange(rows), size, 1)
    assert [len(batch) for batch in batches] == expected


def test_balanced_weights_come_from_the_training_rows_only(reviews):
    labels = np.array(reviews[1]["labels"][:])
    rows = np.concatenate([np.flatnonzero(labels == 0)[:6], np.flatnonzero(labels == 1)[:2]])
    made = job(reviews, class_weights="balanced")
    assert label_weights(made.replay, made.config, rows).tolist() == pytest.approx([8 / 12, 8 / 4])


def test_the_rate_rises_then_falls_to_zero():
    config = plain_config(warmup=0.2)
    rates = [learning_rate_factor(config, step=s, total=10, phase_step=s, phase_total=10) for s in range(11)]
    assert rates[:3] == [0.0, 0.5, 1.0]
    assert rates[2:] == sorted(rates[2:], reverse=True)
    assert rates[10] == 0.0


@pytest.mark.parametrize("groups", range(1, 8))
@pytest.mark.parametrize("epochs", range(1, 8))
def test_phases_use_up_the_epochs_and_end_with_everything(groups, epochs):
    names = [f"g{i}" for i in range(groups)]
    for schedule in ("constant", "lp-ft", "gradual"):
        phases = plan_phases(schedule, epochs, names)
        assert sum(phase.num_epochs for phase in phases) == epochs
        assert phases[-1].only is None
        assert all(phase.num_epochs > 0 and names[-1] in (phase.only or names) for phase in phases)

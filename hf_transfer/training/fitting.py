"""Train one model: the entry point for every task."""

import hashlib
import sys
from collections.abc import Sequence
from dataclasses import replace

from torch import nn

from hf_transfer import _guard  # noqa: F401
from hf_transfer.layers.freezing import frozen_hash
from hf_transfer.layers.output import output_layer
from hf_transfer.layers.phases import freeze_but_output, freeze_for
from hf_transfer.machine.digests import json_digest
from hf_transfer.replay.batching import Positions
from hf_transfer.scores.regression import Split
from hf_transfer.training.checkpoint import State
from hf_transfer.training.column_scale import column_scale, columns_scaled
from hf_transfer.training.heads.solvers import solve_output_layer, start_output_layer
from hf_transfer.training.job import Fitted, Job
from hf_transfer.training.loop import Loop
from hf_transfer.training.scale import fold_scale, label_scale, unfold_scale
from hf_transfer.training.sharding import shard
from hf_transfer.training.start import fresh_model, start_hash
from hf_transfer.training.stopping import Stopper
from hf_transfer.training.wise import keep_ends


def fit(job: Job, train: Positions, inner: Positions | None = None, splits: Sequence[Split] = ()) -> Fitted:
    """Train a fresh model, or resume its training; the job's seed decides new weights and row order.

    Where the job has checkpoints of this very training, it goes on from the newest, and ends with the
    weights that it would have had without the stop.

    Args:
        job: Task, rows, settings, seed and processes.
        train: Positions of the encoded rows to learn from.
        inner: Positions of an inner split, by whose loss to stop and to choose the epoch; None
            trains all epochs and keeps the last state. Never the held-out fold.
        splits: Parts of `train` to learn from and to choose by how strong the penalty of a head in closed
            form is, instead of `weight_decay`.

    Raises:
        RunError: If the loss becomes infinite or NaN, or memory is short.
        Interrupted: If the process was asked to stop.
    """
    model = fresh_model(job.task, job.config, job.seed, job.workers.birthplace)
    if job.config.head_start == "probe":
        _start_from_probe(job, model, train)
    freezing = freeze_for(model, job.config)
    shard(model, job.workers)
    fitted = Fitted(model, freezing, job.replay.plain, hash_before=frozen_hash(model, freezing))
    fitted.start_hash = start_hash(model, job.config)
    if job.config.solved:
        return _solve(job, fitted, train, splits)
    job = _with_own_checkpoints(job, train, inner)
    fitted.scale = label_scale(model, job.replay, train)
    start = fitted.weights() if job.config.wise else None
    stopper = Stopper(fitted, job, inner)
    loop = Loop(job, fitted, train, stopper)
    if (state := _kept_before(job, fitted)) is not None:
        loop.restore(state)
        for epoch in fitted.history if job.on_epoch else ():
            job.on_epoch(epoch)  # type: ignore[misc]
    try:
        with columns_scaled(model, column_scale(job.replay.plain, train)):
            loop.run()
            fitted.best_epoch = stopper.finish()
    finally:
        job.workers.accelerator.free_memory()  # or its list keeps every fold's model alive
    if start is not None:
        keep_ends(fitted, start)
    else:
        fold_scale(model, fitted.scale)
    freeze_for(model, job.config)
    fitted.hash_after = frozen_hash(model, freezing)
    model.eval()
    return fitted


def _with_own_checkpoints(job: Job, train: Positions, inner: Positions | None) -> Job:
    """Make the job's checkpoints identify this training: settings, seed, rows, processes."""
    if job.checkpoints is None:
        return job
    rows = [
        some if some is None else hashlib.sha256(some.astype("<i8").tobytes()).hexdigest()
        for some in (train, inner)
    ]
    workers = job.workers
    parts = [job.checkpoints.identity, job.config.scored(), job.seed, rows, workers.size]
    identity = json_digest([*parts, "sharded"] if workers.sharded else parts)
    return replace(job, checkpoints=replace(job.checkpoints, identity=identity))


def _kept_before(job: Job, fitted: Fitted) -> State | None:
    """The checkpoint to resume from; None to start afresh."""
    state = None if job.checkpoints is None else job.checkpoints.load()
    steps = job.workers.gather([None if state is None else state.step])
    if state is None or set(steps) != {state.step}:
        return None
    if state.values["hash_before"] != fitted.hash_before:
        print(f"{job.title}: begun again, as its frozen layers are others now.", file=sys.stderr)
        return None
    return state


def _solve(job: Job, fitted: Fitted, train: Positions, splits: Sequence[Split]) -> Fitted:
    """Solve the head in closed form: without epochs, and nothing is random."""
    fitted.batches = job.replay.batches(fitted.model, fitted.freezing)
    fitted.strength = solve_output_layer(fitted.model, fitted.batches, train, job.config, splits)
    fitted.best_epoch = 1
    fitted.hash_after = frozen_hash(fitted.model, fitted.freezing)
    fitted.model.eval()
    return fitted


def _start_from_probe(job: Job, model: nn.Module, train: Positions) -> None:
    """Solve the output layer first, so that its gradients do not distort the pretrained layers.

    References:
        Kumar et al., "Fine-Tuning can Distort Pretrained Features", ICLR 2022,
        https://arxiv.org/abs/2202.10054.
    """
    freezing = freeze_but_output(model, job.config)
    batches = job.replay.batches(model, freezing)
    key = (job.config.at_any_rate, job.seed, train.tobytes(), batches is job.replay.plain)
    _, layer = output_layer(model)
    if key in job.replay.starts:
        layer.load_state_dict(job.replay.starts[key])
        return
    start_output_layer(model, batches, train, job.config)
    unfold_scale(model, label_scale(model, job.replay, train))
    job.replay.starts[key] = {name: tensor.clone() for name, tensor in layer.state_dict().items()}

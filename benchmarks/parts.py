"""What each part of a training gives: an epoch as it is, and with one part left out or another put in."""

import argparse
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from accelerate.state import AcceleratorState
from report import number, table
from timing import Timing, all_of_it, interleaved, ratio
from workload import Clock, Workload, empty_cache

from hf_transfer.replay.batching import Batches, Positions, as_rows
from hf_transfer.replay.encoding import encode_rows
from hf_transfer.replay.replayed import Replay
from hf_transfer.training.fitting import fit
from hf_transfer.training.job import Job
from hf_transfer.training.workers import Workers, make_accelerator

AS_IT_IS = "as it is"


@dataclass(frozen=True)
class Part:
    """One part of a training.

    Attributes:
        patched: Leaves it out while entered.
        settings: Puts it in, where it is not there by itself.
    """

    patched: Callable[[], AbstractContextManager[Any]] = nullcontext
    settings: Mapping[str, Any] = field(default_factory=dict)


def parts(work: Workload, options: argparse.Namespace) -> None:
    """An epoch of the first fold's training with each part left out, and with each put in."""
    with TemporaryDirectory() as folder, empty_cache(Path(folder) / "cache"):
        epochs = max(2, work.config.num_epochs)  # the first warms up
        work = work.changed(output_dir=str(Path(folder) / "run"), num_epochs=epochs)
        encoded, making = encode(work)
        known = known_parts(work)
        ways = {AS_IT_IS: Part()} | known
        contenders = {name: partial(epoch, work, encoded, part) for name, part in ways.items()}
        found = interleaved(contenders, options.repeats)
        share = share_of_batches(work, encoded)
    rows = [(name, *gain(found, name, put_in=bool(part.settings))) for name, part in known.items()]
    seconds = number(median(t.whole for t in found[AS_IT_IS]))
    print(table(("part", "by itself", "s of an epoch otherwise", "times faster with it"), rows, words=2))
    print(
        f"\nMedians of {options.repeats} interleaved repeats, of the epochs after the first. As it is, an "
        f"epoch takes {seconds} s, of which {share:.1%} to read rows and make batches of them. To read and "
        f"encode all rows, which is done once for all folds and epochs, takes {number(making)} s."
    )


def gain(found: dict[str, list[Timing]], name: str, *, put_in: bool) -> tuple[str, str, str]:
    """Whether a part is there by itself, the seconds of an epoch in the other way, and what it gives."""
    pair = (AS_IT_IS, name) if put_in else (name, AS_IT_IS)
    return "no" if put_in else "yes", number(median(t.whole for t in found[name])), ratio(found, *pair)


def known_parts(work: Workload) -> dict[str, Part]:
    """The parts that such a work has."""
    gpu = torch.cuda.is_available()
    found = {
        "one kernel for a step of the optimizer": Part(without_fused),
        "compile": Part(settings={"compile": True}),
    }
    if work.config.mixed_precision != "bf16":
        found["bfloat16"] = Part(settings={"mixed_precision": "bf16"})
    if work.kind == "image":
        found |= {
            "pictures decoded and resized once": Part(partial(read_anew, work)),
            "convolutions channels last": Part(without_channels_last),
        }
        if gpu:
            found["pictures kept on the GPU"] = Part(partial(patch.object, Batches, "hold", lambda _: None))
    elif not gpu:
        found["batches cut by length"] = Part(
            partial(patch, "hf_transfer.training.loop.pads_much", lambda *_: False)
        )
    return found


def without_channels_last() -> AbstractContextManager[Any]:
    return patch("hf_transfer.training.start.placed", lambda model, device: model.to(device))


def without_fused() -> AbstractContextManager[Any]:
    return patch("hf_transfer.training.loop.make_optimizer", lambda groups, _: torch.optim.AdamW(groups))


@contextmanager
def read_anew(work: Workload) -> Iterator[None]:
    """Let every access open, decode and resize the pictures, in several threads."""

    def stacked(self: Batches, positions: Positions) -> dict[str, torch.Tensor]:
        rows = work.data.rows[positions]
        return self.moved(self.task.collate(as_rows(work.task.encode(rows, positions.tolist()))))

    with patch.object(Batches, "stacked", stacked), patch.object(Batches, "hold", lambda _: None):
        yield


def encode(work: Workload) -> tuple[Any, float]:
    """The encoded rows, and the seconds that they took."""
    rows = work.data.rows
    clock = Clock()
    found = encode_rows(work.task, rows, work.data.fingerprint, make_accelerator(work.config))
    return found, clock.lap()


def epoch(work: Workload, encoded: Any, part: Part) -> Timing:
    """An epoch of the first fold's training, after one to warm up."""
    with part.patched():
        return all_of_it(median(seconds_of_epochs(work.changed(**part.settings), encoded)[1:]))


def seconds_of_epochs(work: Workload, encoded: Any) -> list[float]:
    config, data, plan = work.config, work.data, work.plan
    AcceleratorState._reset_state(reset_partial_state=True)  # or it would keep to its first precision
    accelerator = make_accelerator(config)
    task = type(work.task)(config, data.label_names)
    replay = Replay(task, encoded, config, accelerator)
    train = np.flatnonzero(np.isin(replay.plain.row_of, plan.train(0)))
    job = Job(task, replay, config, config.seed, Workers(accelerator, together=False))
    return [record["seconds"] for record in fit(job, train).history]


def share_of_batches(work: Workload, encoded: Any) -> float:
    """What part of an epoch passes until batches are made; on a GPU it works on meanwhile."""
    with counted() as spent:
        whole = sum(seconds_of_epochs(work, encoded))
    return sum(spent) / whole


@contextmanager
def counted() -> Iterator[list[float]]:
    """Seconds of every batch that is made while entered."""
    spent: list[float] = []
    collate = Batches.collate

    def timed(self: Batches, *given: Any) -> dict[str, torch.Tensor]:
        clock = Clock()
        batch = collate(self, *given)
        spent.append(clock.lap())
        return batch

    with patch.object(Batches, "collate", timed):
        yield spent

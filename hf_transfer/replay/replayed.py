"""Decide which layers to replay, and provide batches that start at the cut."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import nn

from hf_transfer import _guard  # noqa: F401
from hf_transfer.config.run_config import RunConfig
from hf_transfer.layers.adapters import has_adapters
from hf_transfer.layers.freezing import Freezing, tensor_digest
from hf_transfer.layers.phases import freeze_but_output, freeze_for, phases_of
from hf_transfer.machine.devices import on_processor, placed
from hf_transfer.machine.memory import attempt, fits_on_device, if_it_fits, in_parts
from hf_transfer.replay.batching import Batch, Batches, DeviceCopy, Positions
from hf_transfer.replay.cut import Cut, features_at
from hf_transfer.replay.proof import find_cut
from hf_transfer.replay.replayed_batches import ReplayedBatches
from hf_transfer.replay.store import store_bytes
from hf_transfer.replay.stores import Stores, from_main
from hf_transfer.tasks.task import Task

if TYPE_CHECKING:
    from datasets import Dataset

_READ_PER_SECOND = 1e9  # bytes from a memory-mapped file into a batch, on a slow day
_READ_ON_DEVICE = 1e11  # from the device's own memory


class Replay:
    """Batches of encoded rows, with stored output of the frozen layers wherever it is valid.

    Before `prepare`, and wherever replaying is not possible, they are plain batches.

    Args:
        task: What to learn.
        encoded: The encoded rows.
        config: Of which `replay`, `cached_views` and `cache_gb` are used.
        accelerator: The processes that compute the stored tensors together.
        grid: What will be trained, of which `trainable`, `schedule` and how heads are made are used;
            the configurations of `config` when not given.
        device_copy: What the device holds of the same rows already.
    """

    def __init__(
        self,
        task: Task,
        encoded: "Dataset",
        config: RunConfig,
        accelerator: Accelerator,
        grid: Sequence[RunConfig] = (),
        device_copy: DeviceCopy | None = None,
    ) -> None:
        self.task, self.config, self.accelerator = task, config, accelerator
        self.grid = grid or config.grid()
        self.plain = Batches(task, encoded, accelerator.device, device_copy)
        self.stores = Stores(self.plain, config, accelerator)
        self.prepared: dict[frozenset[str], _Prepared] = {}
        self.notes: list[str] = []
        self._is_prepared = False
        self.starts: dict[Any, Any] = {}
        """Output layers solved on the frozen layers, by all that decides them: equal for every rate."""

    @property
    def encoded(self) -> "Dataset":
        """The encoded rows."""
        return self.plain.encoded

    def prepare(self) -> None:
        """Find the cut of each phase and store its features, once; all processes must call this."""
        if self._is_prepared or not self.config.replay or self._refused():
            return
        self._is_prepared = True
        if self.stores.blind:
            self.notes.append(
                "The frozen layers run in full: the folder for their output is not shared by all machines "
                f"({', '.join(self.stores.blind)}). HF_DATASETS_CACHE names another."
            )
            return
        model = placed(self.task.build_model(), self.accelerator.device)
        seen: set[frozenset[str]] = set()
        for config in self.grid:
            for freeze in _ways_to_freeze(model, config):
                freezing = freeze()
                if freezing.frozen_groups and freezing.trainable not in seen:
                    seen.add(freezing.trainable)
                    self._prepare(model, freezing)
            if has_adapters(model):  # which the other configurations have not
                model = placed(self.task.build_model(), self.accelerator.device)

    def batches(self, model: nn.Module, freezing: Freezing) -> Batches:
        """Batches for a model as it is frozen now: replayed if its frozen part is the stored one."""
        found = self.prepared.get(freezing.trainable)
        if found is None or tensor_digest(model, found.batches.cut.below) != found.digest:
            return self.plain
        return found.batches

    def stored(self, model: nn.Module, config: RunConfig) -> ReplayedBatches | None:
        """Replayed batches of the first phase that has any; None without one.

        The model is left frozen as in that phase.
        """
        for freeze in _ways_to_freeze(model, config):
            found = self.batches(model, freeze())
            if isinstance(found, ReplayedBatches):
                return found
        return None

    def relabelled(self, encoded: "Dataset") -> "Replay":
        """A copy for other labels on the same rows, which reuses the stored features."""
        other = Replay(self.task, encoded, self.config, self.accelerator, self.grid, self.plain.device_copy)
        for trainable, found in self.prepared.items():
            before = found.batches
            batches = ReplayedBatches(other.plain, before.cut, before.store, before.num_views)
            other.prepared[trainable] = replace(found, batches=batches)
        return other

    def describe(self) -> list[dict[str, Any]]:
        """Describe what was replayed, for results.json."""
        return [found.about for found in self.prepared.values()]

    def _refused(self) -> bool:
        config = self.config
        if config.from_scratch or not self.task.base.has_weights:
            return True  # another backbone in each fold: nothing to share
        if config.parallel == "fsdp" and self.accelerator.num_processes > 1:
            if any(one.trainable != "all" for one in self.grid):
                self.notes.append(
                    "The frozen layers run in full for every batch, as the model is shared out over the "
                    "processes (parallel=fsdp). Where it fits on one device, without that is faster."
                )
            return True
        if self.task.augments and not config.cached_views:
            self.notes.append(
                "Frozen layers were run for every picture and epoch, as augmentation changes the pictures. "
                "cached_views=4 would store four changed versions of each."
            )
            return True
        return False

    def _prepare(self, model: nn.Module, freezing: Freezing) -> None:
        find = partial(attempt, partial(self._find, model, freezing), "in the proof of replay")
        otherwise = "The frozen layers run in full: memory ran out in the proof that they can be replayed."
        found = from_main(self.accelerator, lambda: if_it_fits(find, otherwise))
        cut, digest, reason, seconds = found or (None, "", None, 0.0)
        if cut is None:
            if reason:
                self.notes.append(reason)
            return
        began = time.monotonic()
        store, reused, reason = self.stores.get(cut, digest, model)
        if store is None:
            self.notes += [] if reason in self.notes else [str(reason)]
            return
        about = {
            "cut": cut.module,
            "stored_per_row": list(cut.shape.at(1, 1)[1:]),
            "bytes": store.num_bytes,
            "reused": reused,
            "seconds": seconds + (time.monotonic() - began),
        }
        batches = ReplayedBatches(self.plain, cut, store, self.stores.num_views - 1)
        self.prepared[freezing.trainable] = _Prepared(batches, digest, about)

    def _find(self, model: nn.Module, freezing: Freezing) -> tuple[Cut | None, str, str | None, float]:
        """Find the cut and the digest of its frozen part, or why there is none; and the seconds it took."""
        began = time.monotonic()
        probes = self._probes()
        reason: str | None = None
        cut = find_cut(model, freezing, probes, self.accelerator.autocast())
        if cut is None:
            reason = "no place was found from which they can be replayed"
        elif self.config.compile and not cut.chain:
            reason = "compile takes the model as a whole"
        else:
            reason = self._not_worth(model, cut, probes[-1])
        if cut is None or reason:
            return None, "", f"The frozen layers run in full: {reason}.", 0.0
        return cut, tensor_digest(model, cut.below), None, time.monotonic() - began

    def _probes(self) -> list[Batch]:
        """Small batches of different lengths without labels, with and without padding."""
        order = np.lexsort((np.arange(len(self.plain.sizes)), self.plain.sizes))
        found = []
        # The shortest row twice: where nearly all rows have one length, only this batch has another.
        together = ((0, 0), (0, 0.5, 1), (0, 0.2, 0.4, 0.6, 0.8))
        one_row = ((0, 0), (0.5,) * 3, (1,) * 5)  # where rows of other lengths cannot be stacked
        for shares in together if self.plain.alike is None else one_row:
            positions = order[[round(share * (len(order) - 1)) for share in shares]]
            batch = self.plain.collate(positions)
            found.append({name: tensor for name, tensor in batch.items() if name != "labels"})
        return found

    def _not_worth(self, model: nn.Module, cut: Cut, probe: Batch) -> str | None:
        """Why replay would be slower than computing; None if it is not."""
        computing = self._seconds_a_row(model, cut, probe)
        needed = store_bytes(cut.shape, self.plain.sizes, 1)
        speed = _READ_ON_DEVICE if fits_on_device(needed, self.accelerator.device) else _READ_PER_SECOND
        reading = needed / len(self.plain.sizes) / speed
        if reading > computing:
            return (
                f"reading their output takes {reading * 1e3:.2f} ms a row, computing it {computing * 1e3:.2f}"
            )
        return None

    def _seconds_a_row(self, model: nn.Module, cut: Cut, probe: Batch) -> float:
        """Time of the frozen layers; on an accelerator of a full pass, where few rows take as long."""
        device = self.accelerator.device
        rows = np.arange(len(next(iter(probe.values()))))
        if not on_processor(device):
            rows = np.arange(max(len(rows), self.plain.rows_a_pass)) % len(rows)

        def timed(part: Positions) -> float:
            chosen = torch.from_numpy(part).to(device)
            batch = {name: tensor[chosen] for name, tensor in probe.items()}
            for _ in range(1 if on_processor(device) else 2):  # the first chooses and loads its kernels
                began = time.perf_counter()
                _ = features_at(model, cut, batch).sum().item()  # waits for a GPU
            return time.perf_counter() - began

        model.eval()
        with torch.inference_mode(), self.accelerator.autocast():
            parts = in_parts(timed, [rows], "as the frozen layers were timed")
            return sum(seconds for _, seconds in parts) / len(rows)


def _ways_to_freeze(model: nn.Module, config: RunConfig) -> Iterator[Callable[[], Freezing]]:
    """Yield one function for each way in which a training freezes the model."""
    if config.head_start == "probe":
        yield lambda: freeze_but_output(model, config)
    for phase in phases_of(config, freeze_for(model, config)):
        yield partial(freeze_for, model, config, only=phase.only)


@dataclass(frozen=True)
class _Prepared:
    batches: ReplayedBatches
    digest: str
    about: dict[str, Any]

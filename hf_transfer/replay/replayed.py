"""Decide what can be replayed, store it once, and hand out batches that start at the cut."""

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from torch import nn

from hf_transfer import _guard  # noqa: F401
from hf_transfer.batches import Batch, Batches, Positions
from hf_transfer.cache import StoreFolder, stores_folder
from hf_transfer.config import RunConfig
from hf_transfer.folds import derive_seed
from hf_transfer.layers import Freezing, has_adapters, tensor_digest
from hf_transfer.models import placed
from hf_transfer.progress import progress_bar
from hf_transfer.replay.batches import ReplayedBatches
from hf_transfer.replay.cut import Cut, features_at, find_cut
from hf_transfer.replay.store import FeatureStore, create_store, store_bytes
from hf_transfer.schedule import freeze_but_output, freeze_for, phases_of
from hf_transfer.tasks.base import Task

if TYPE_CHECKING:
    from datasets import Dataset

_READ_PER_SECOND = 1e9  # bytes from a memory-mapped file into a batch, on a slow day
_READ_ON_DEVICE = 1e11  # from the device's own memory


class Replay:
    """Batches of encoded rows, from the stored output of the frozen layers where that is the same.

    Before `prepare`, and wherever replaying is not possible, they are plain batches.

    Args:
        task: What to learn.
        encoded: The encoded rows.
        config: Of which `replay`, `cached_views` and `cache_gb` are used.
        accelerator: The processes that compute the stored tensors together.
        grid: What will be trained, of which `trainable`, `schedule` and how heads are made are used;
            the configurations of `config` when not given.
    """

    def __init__(
        self,
        task: Task,
        encoded: "Dataset",
        config: RunConfig,
        accelerator: Accelerator,
        grid: Sequence[RunConfig] = (),
    ) -> None:
        self.task, self.config, self.accelerator = task, config, accelerator
        self.grid = grid or config.grid()
        self.plain = Batches(task, encoded, accelerator.device)
        self.prepared: dict[frozenset[str], _Prepared] = {}
        self.notes: list[str] = []

    @property
    def encoded(self) -> "Dataset":
        """The encoded rows."""
        return self.plain.encoded

    def prepare(self) -> None:
        """Find the cut of each phase of the training and store what enters it; all processes call this."""
        if not self.config.replay or self._refused():
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
        """Batches for a model in this state: replayed if prepared, and if its frozen part is the same."""
        found = self.prepared.get(freezing.trainable)
        if found is None or tensor_digest(model, found.batches.cut.below) != found.digest:
            return self.plain
        return found.batches

    def relabelled(self, encoded: "Dataset") -> "Replay":
        """The same rows and stored tensors under other labels: `encoded` differs in `labels` alone."""
        other = Replay(self.task, encoded, self.config, self.accelerator, self.grid)
        for trainable, found in self.prepared.items():
            before = found.batches
            batches = ReplayedBatches(other.plain, before.cut, before.store, before.num_views)
            other.prepared[trainable] = replace(found, batches=batches)
        return other

    def describe(self) -> list[dict[str, Any]]:
        """What was replayed, for results.json."""
        return [found.about for found in self.prepared.values()]

    def _refused(self) -> bool:
        config = self.config
        if config.from_scratch or not self.task.base.has_weights:
            return True  # another backbone in each fold: nothing to share
        if self.task.augments and not config.cached_views:
            self.notes.append(
                "Frozen layers were run for every picture and epoch, as augmentation changes the pictures. "
                "cached_views=4 would store four changed versions of each."
            )
            return True
        return False

    def _prepare(self, model: nn.Module, freezing: Freezing) -> None:
        cut, digest, reason, seconds = self._from_main(lambda: self._find(model, freezing))
        if cut is None:
            if reason:
                self.notes.append(reason)
            return
        folder = StoreFolder(stores_folder(), self.config.cache_gb * 1e9)
        key = self._key(cut, digest)
        began = time.monotonic()
        reused = self._from_main(lambda: self._usable(folder, key, cut, model))
        store = self._open(folder, key, cut) if reused else self._build(folder, key, cut, model)
        if store is None:
            return
        self._to_device(store)
        about = {
            "cut": cut.module,
            "stored_per_row": list(cut.shape.at(1, 1)[1:]),
            "bytes": store.num_bytes,
            "reused": reused,
            "seconds": seconds + (time.monotonic() - began),
        }
        batches = ReplayedBatches(self.plain, cut, store, self._num_views - 1)
        self.prepared[freezing.trainable] = _Prepared(batches, digest, about)

    def _find(self, model: nn.Module, freezing: Freezing) -> tuple[Cut | None, str, str | None, float]:
        """The cut, what its prefix weighs on, or why there is none; and how long the search took."""
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
        """Small batches without labels, of unlike sizes, in which short rows are padded or alone."""
        order = np.lexsort((np.arange(len(self.plain.sizes)), self.plain.sizes))
        found = []
        # The shortest row twice: where nearly all rows have one length, only this batch has another.
        for shares in ((0, 0), (0, 0.5, 1), (0, 0.2, 0.4, 0.6, 0.8)):
            positions = order[[round(share * (len(order) - 1)) for share in shares]]
            batch = self.plain.collate(positions)
            found.append({name: tensor for name, tensor in batch.items() if name != "labels"})
        return found

    def _not_worth(self, model: nn.Module, cut: Cut, probe: Batch) -> str | None:
        """Why storing would cost more than it saves, if so."""
        rows = len(next(iter(probe.values())))
        model.eval()
        with torch.inference_mode(), self.accelerator.autocast():
            began = time.perf_counter()
            _ = features_at(model, cut, probe).sum().item()  # waits for a GPU
            computing = (time.perf_counter() - began) / rows
        needed = store_bytes(cut.shape, self.plain.sizes, 1)
        speed = _READ_ON_DEVICE if self._fits_on_device(needed) else _READ_PER_SECOND
        reading = needed / len(self.plain.sizes) / speed
        if reading > computing:
            return (
                f"reading their output takes {reading * 1e3:.2f} ms a row, computing it {computing * 1e3:.2f}"
            )
        return None

    def _usable(self, folder: StoreFolder, key: str, cut: Cut, model: nn.Module) -> bool:
        """Whether a finished store is there and agrees with the model."""
        if not folder.file(key).is_file():
            return False
        try:
            store = self._open(folder, key, cut)
        except (ValueError, OSError, EOFError):
            return False
        if not self._agrees(store, cut, model):
            return False
        folder.used(key)
        return True

    def _open(self, folder: StoreFolder, key: str, cut: Cut) -> FeatureStore:
        return FeatureStore(folder.file(key), cut.shape, self.plain.sizes, self._num_views)

    @property
    def _num_views(self) -> int:
        return 1 + (self.config.cached_views if self.task.augments else 0)

    def _build(self, folder: StoreFolder, key: str, cut: Cut, model: nn.Module) -> FeatureStore | None:
        """Compute and write everything, each process its part; None if there is no room for it."""
        needed = store_bytes(cut.shape, self.plain.sizes, self._num_views)
        part, reason = self._from_main(lambda: self._start(folder, key, cut, needed))
        if reason:
            self.notes.append(f"The output of the frozen layers was not stored: {reason}.")
            return None
        store = FeatureStore(part, cut.shape, self.plain.sizes, self._num_views, writable=True)
        model.eval()
        with torch.inference_mode(), self.accelerator.autocast():
            self._fill(store, cut, model)
        store.flush()
        self.accelerator.wait_for_everyone()
        about = {
            "base_model": self.config.base_model,
            "dataset": self.config.dataset,
            "cut": cut.module,
            "rows": len(self.plain.sizes),
        }
        if self.accelerator.is_main_process:
            folder.finish(part, key, about)
        self.accelerator.wait_for_everyone()
        store = self._open(folder, key, cut)
        if self._from_main(lambda: self._agrees(store, cut, model)):
            return store
        self.notes.append("The frozen layers run in full: what they stored did not agree with the model.")
        return None

    def _start(self, folder: StoreFolder, key: str, cut: Cut, needed: int) -> tuple[Path, str | None]:
        part = folder.unfinished(key)
        reason = folder.make_room(needed)
        if reason is None:
            try:
                create_store(part, cut.shape, self.plain.sizes, self._num_views)
            except OSError as error:
                part.unlink(missing_ok=True)
                reason = f"{folder.path} cannot be written ({error.strerror or error})"
        return part, reason

    def _fill(self, store: FeatureStore, cut: Cut, model: nn.Module) -> None:
        # The blocks are the same for any number of processes, so the bits are too.
        blocks = [
            (view, block)
            for view in range(self._num_views)
            for block in self.plain.by_size(np.arange(len(self.plain.sizes)))
        ]
        mine = blocks[self.accelerator.process_index :: self.accelerator.num_processes]
        rank = self.accelerator.process_index
        with progress_bar("frozen layers", total=len(mine), unit="batch", position=rank) as bar:
            for view, block in mine:
                batch = self.plain.collate(block, self._view_seeds(view, block))
                del batch["labels"]
                store.write(block, features_at(model, cut, batch), view)
                bar.update()

    def _view_seeds(self, view: int, block: Positions) -> list[int] | None:
        if view == 0:
            return None
        return [derive_seed(self.config.seed, "view", view, position) for position in block.tolist()]

    def _agrees(self, store: FeatureStore, cut: Cut, model: nn.Module) -> bool:
        """Whether some stored rows are what the model gives for them now, up to rounding."""
        positions = np.linspace(0, len(self.plain.sizes) - 1, 3).astype(np.int64)
        batch = self.plain.collate(positions)
        del batch["labels"]
        model.eval()
        with torch.inference_mode(), self.accelerator.autocast():
            wanted = features_at(model, cut, batch).cpu().float()
        found = store.read(positions, np.zeros_like(positions)).float()
        if cut.shape.by_token:  # what stands in the padding is nobody's
            inside = torch.arange(wanted.shape[1]) < torch.from_numpy(self.plain.sizes[positions])[:, None]
            found, wanted = found[inside], wanted[inside]
        # Autocast gives float32 after a normalisation too, from arithmetic that was coarser.
        exact = cut.shape.dtype == torch.float32 and self.accelerator.mixed_precision in (None, "no")
        near = 1e-4 if exact else 5e-2
        return bool(torch.allclose(found, wanted, rtol=near, atol=near * max(1.0, float(wanted.abs().max()))))

    def _fits_on_device(self, needed: float) -> bool:
        device = self.accelerator.device
        if device.type != "cuda":
            return False
        return needed < 0.5 * torch.cuda.mem_get_info(device)[0]

    def _to_device(self, store: FeatureStore) -> None:
        if self._fits_on_device(store.num_bytes):
            store.load_to(self.accelerator.device)

    def _key(self, cut: Cut, digest: str) -> str:
        """Equal keys mean equal bits: the same rows through the same frozen layers in the same arithmetic."""
        parts = {
            "encoded": self.encoded._fingerprint,
            "prefix": digest,
            "cut": [cut.module, cut.argument, cut.first_only, cut.shape.dims, str(cut.shape.dtype)],
            "views": [self._num_views, self.config.augmentation, self.config.seed]
            if self._num_views > 1
            else [],
            "arithmetic": [
                torch.__version__,
                self.accelerator.device.type,
                str(self.accelerator.mixed_precision),
                torch.get_num_threads(),
                self.plain.rows_a_pass,
            ],
        }
        return hashlib.blake2b(json.dumps(parts).encode(), digest_size=16).hexdigest()

    def _from_main(self, find: Any) -> Any:
        """What the main process finds, for all: they must take the same way."""
        found = [find() if self.accelerator.is_main_process else None]
        if self.accelerator.num_processes > 1:
            broadcast_object_list(found)
        return found[0]


def _ways_to_freeze(model: nn.Module, config: RunConfig) -> Iterator[Callable[[], Freezing]]:
    """The states that a training goes through, each to be made when it is its turn."""
    if config.head_start == "probe":
        yield lambda: freeze_but_output(model, config)
    for phase in phases_of(config, freeze_for(model, config)):
        yield partial(freeze_for, model, config, only=phase.only)


@dataclass(frozen=True)
class _Prepared:
    batches: ReplayedBatches
    digest: str
    about: dict[str, Any]

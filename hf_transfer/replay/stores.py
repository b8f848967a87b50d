"""Find the stored features of an earlier run, or compute them with all processes."""

from collections.abc import Callable
from functools import cached_property, partial
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list, gather_object
from torch import Tensor, nn

from hf_transfer import _guard  # noqa: F401
from hf_transfer.config.run_config import RunConfig
from hf_transfer.folds.order import derive_seed
from hf_transfer.machine.cache import StoreFolder, stores_folder
from hf_transfer.machine.devices import arithmetic_of
from hf_transfer.machine.digests import json_digest
from hf_transfer.machine.memory import fits_on_device, if_it_fits, in_parts
from hf_transfer.machine.processes import blind_to, wait_for_all
from hf_transfer.machine.progress import progress_bar
from hf_transfer.replay.batching import Batches, Positions
from hf_transfer.replay.cut import Cut, features_at
from hf_transfer.replay.store import BlockWriter, FeatureStore, create_store, store_bytes

Value = TypeVar("Value")


class Stores:
    """Stored features at the cuts of a run, for all of its rows.

    Args:
        plain: The rows in full.
        config: Of which `cache_gb`, `cached_views`, `augmentation` and names are used.
        accelerator: The processes that compute together.
    """

    def __init__(self, plain: Batches, config: RunConfig, accelerator: Accelerator) -> None:
        self.plain, self.config, self.accelerator = plain, config, accelerator

    def get(self, cut: Cut, digest: str, model: nn.Module) -> tuple[FeatureStore | None, bool, str | None]:
        """Find or build a store; tell whether it was reused, or why there is none.

        Args:
            cut: What it is of.
            digest: Of what the stored tensors depend on in the model.
            model: Computes them.
        """
        key = self._key(cut, digest)
        reused = from_main(self.accelerator, lambda: self._usable(key, cut, model))
        store, reason = (self._open(key, cut), None) if reused else self._build(key, cut, model)
        if store is not None and fits_on_device(store.num_bytes, self.accelerator.device):
            store.load_to(self.accelerator.device)
        return store, reused, reason

    @cached_property
    def folder(self) -> StoreFolder:
        """The folder of the stores, and its size limit."""
        return StoreFolder(stores_folder(), self.config.cache_gb * 1e9)

    @cached_property
    def blind(self) -> list[str]:
        """Machines that do not see the folder of the main process; all processes must ask."""
        if self.accelerator.is_main_process:
            self.folder.path.mkdir(parents=True, exist_ok=True)
        return blind_to(self.accelerator, self.folder.path)

    @property
    def num_views(self) -> int:
        """Number of versions of each row: the plain one and the augmented ones."""
        return 1 + (self.config.cached_views if self.plain.task.augments else 0)

    def _usable(self, key: str, cut: Cut, model: nn.Module) -> bool:
        """Whether a finished store exists and the model reproduces it."""
        if not self.folder.found(key):
            return False
        try:
            store = self._open(key, cut)
        except (ValueError, OSError, EOFError):
            return False
        if not self._agrees(store, cut, model):
            return False
        self.folder.used(key)
        return True

    def _open(self, key: str, cut: Cut) -> FeatureStore:
        return FeatureStore(self.folder.file(key), cut.shape, self.plain.sizes, self.num_views)

    def _build(self, key: str, cut: Cut, model: nn.Module) -> tuple[FeatureStore | None, str | None]:
        """Compute and write all features, each process its share; without room, return the reason."""
        needed = store_bytes(cut.shape, self.plain.sizes, self.num_views)
        path, reason = from_main(self.accelerator, lambda: self._start(key, cut, needed))
        if reason:
            return None, f"The output of the frozen layers was not stored: {reason}."
        store = FeatureStore(path, cut.shape, self.plain.sizes, self.num_views, writable=True)
        model.eval()
        otherwise = "The frozen layers run in full: memory ran out as their output was stored."
        with torch.inference_mode(), self.accelerator.autocast():
            filled = if_it_fits(lambda: self._fill(store, cut, model), otherwise)
        store.flush()
        wait_for_all(self.accelerator)
        if not all(gather_object([bool(filled)])):
            path.unlink(missing_ok=True)
            return None, otherwise
        about = {
            "base_model": self.config.base_model,
            "dataset": self.config.dataset,
            "cut": cut.module,
            "rows": len(self.plain.sizes),
        }
        if self.accelerator.is_main_process:
            self.folder.finish(path, key, about)
        wait_for_all(self.accelerator)
        store = self._open(key, cut)
        if from_main(self.accelerator, lambda: self._agrees(store, cut, model)):
            return store, None
        return None, "The frozen layers run in full: what they stored did not agree with the model."

    def _start(self, key: str, cut: Cut, needed: int) -> tuple[Path, str | None]:
        path = self.folder.unfinished(key)
        reason = self.folder.make_room(needed)
        if reason is None:
            try:
                create_store(path, cut.shape, self.plain.sizes, self.num_views)
            except OSError as error:
                path.unlink(missing_ok=True)
                reason = f"{self.folder.path} cannot be written ({error.strerror or error})"
        return path, reason

    def _fill(self, store: FeatureStore, cut: Cut, model: nn.Module) -> bool:
        # The blocks are the same for any number of processes, so the bits are too.
        blocks = [
            (view, block)
            for view in range(self.num_views)
            for block in self.plain.by_size(np.arange(len(self.plain.sizes)))
        ]
        mine = blocks[self.accelerator.process_index :: self.accelerator.num_processes]
        rank = self.accelerator.process_index
        total, writer = sum(len(block) for _, block in mine), BlockWriter(store, self.accelerator.device)
        with progress_bar("frozen layers", total=total, unit="row", position=rank) as bar:
            for view in range(self.num_views):
                blocks_of_view = [block for one, block in mine if one == view]
                run = partial(self._features, cut, model, view)
                for block, features in in_parts(run, blocks_of_view, "as the frozen layers were run"):
                    writer.write(block, features, view)
                    bar.update(len(block))
        writer.finish()
        return True

    def _features(self, cut: Cut, model: nn.Module, view: int, block: Positions) -> Tensor:
        batch = self.plain.collate(block, self._view_seeds(view, block))
        del batch["labels"]
        return features_at(model, cut, batch)

    def _view_seeds(self, view: int, block: Positions) -> list[int] | None:
        if view == 0:
            return None
        return [derive_seed(self.config.seed, "view", view, position) for position in block.tolist()]

    def _agrees(self, store: FeatureStore, cut: Cut, model: nn.Module) -> bool:
        """Whether the model reproduces three of the stored rows, up to rounding."""
        some = np.linspace(0, len(self.plain.sizes) - 1, 3).astype(np.int64)
        agree = partial(self._agree, store, cut, model)
        otherwise = "Stored features are not used: memory ran out as the model was run to compare them."
        parts = self.plain.by_size(some)
        return bool(if_it_fits(lambda: all(ok for _, ok in in_parts(agree, parts, "")), otherwise))

    def _agree(self, store: FeatureStore, cut: Cut, model: nn.Module, positions: Positions) -> bool:
        batch = self.plain.collate(positions)
        del batch["labels"]
        model.eval()
        with torch.inference_mode(), self.accelerator.autocast():
            expected = features_at(model, cut, batch).cpu().float()
        stored = store.read(positions, np.zeros_like(positions)).float()
        if cut.shape.by_token:  # what stands in the padding is nobody's
            inside = torch.arange(expected.shape[1]) < torch.from_numpy(self.plain.sizes[positions])[:, None]
            stored, expected = stored[inside], expected[inside]
        # Autocast gives float32 after a normalisation too, from arithmetic that was coarser.
        exact = cut.shape.dtype == torch.float32 and self.accelerator.mixed_precision in (None, "no")
        near = 1e-4 if exact else 5e-2
        return bool(
            torch.allclose(stored, expected, rtol=near, atol=near * max(1.0, float(expected.abs().max())))
        )

    def _key(self, cut: Cut, digest: str) -> str:
        """Cache key: equal for the same rows, frozen layers and arithmetic, so for the same bits."""
        parts = {
            "encoded": self.plain.encoded._fingerprint,
            "prefix": digest,
            "cut": [cut.module, cut.argument, cut.first_only, cut.shape.dims, str(cut.shape.dtype)],
            "views": [self.num_views, self.config.augmentation, self.config.seed]
            if self.num_views > 1
            else [],
            "arithmetic": [
                torch.__version__,
                arithmetic_of(self.accelerator.device),
                str(self.accelerator.mixed_precision),
                torch.get_num_threads(),
                self.plain.rows_a_pass,
            ],
        }
        return json_digest(parts)


def from_main(accelerator: Accelerator, find: Callable[[], Value]) -> Value:
    """Call a function in the main process, and broadcast its result to all."""
    result = [find() if accelerator.is_main_process else None]
    if accelerator.num_processes > 1:
        broadcast_object_list(result)
    return result[0]  # type: ignore[return-value]

"""Pooled features of every layer group for all rows, computed once and stored."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from accelerate import Accelerator
from numpy.typing import NDArray
from torch import nn

from hf_transfer import _guard  # noqa: F401
from hf_transfer.config.run_config import RunConfig
from hf_transfer.folds.order import derive_seed
from hf_transfer.layers.freezing import tensor_digest
from hf_transfer.machine.devices import placed
from hf_transfer.replay.batching import Batch, Batches, Positions
from hf_transfer.replay.features.outputs import GroupOutputs, Output, below_output
from hf_transfer.replay.features.stored import FeaturePass, Ints, StoredFeatures
from hf_transfer.tasks.task import Task

if TYPE_CHECKING:
    from datasets import Dataset


@dataclass(frozen=True, eq=False)
class LayerFeatures:
    """Features of each layer group, for the same rows.

    Attributes:
        groups: Names from the input to the output. The last is `head` where the model has pretrained
            layers between its last block and its output layer.
        row_of: The data row of each row of the features, (m,): for words their sentence's.
        reused: Whether they were found stored.
        seconds: To compute, or to find them.
        num_parameters: Of the model, with a head for the labels.
    """

    groups: tuple[str, ...]
    row_of: Ints
    reused: bool
    seconds: float
    num_parameters: int
    _values: Any
    _starts: tuple[int, ...]
    _parts: tuple[tuple[str, ...], ...]

    def __getitem__(self, group: str) -> NDArray[np.float32]:
        """Features of one group, (m, d) in float32."""
        place = self.groups.index(group)
        return np.ascontiguousarray(
            self._values[:, self._starts[place] : self._starts[place + 1]], dtype=np.float32
        )

    def tables(self) -> Iterator[tuple[str, str | None, NDArray[np.float32]]]:
        """Yield each group's features; for texts one table by a token and one by the mean."""
        for group, parts in zip(self.groups, self._parts, strict=True):
            values = self[group]
            if not parts:
                yield group, None, values
            for name, table in zip(parts, np.split(values, max(1, len(parts)), axis=1), strict=False):
                yield group, name, np.ascontiguousarray(table)

    def depth(self, group: str) -> float:
        """Relative depth of a group: 0 is the first, 1 the last."""
        return self.groups.index(group) / max(1, len(self.groups) - 1)


def layer_features(
    task: Task,
    encoded: "Dataset",
    config: RunConfig,
    accelerator: Accelerator,
    *,
    rows: Ints | None = None,
) -> LayerFeatures:
    """Run the frozen model once over all rows, in eval mode and without augmentation.

    Computed in float32 and stored as such up to 1 GB; beyond, as float16, in which larger values
    than 65504 are cut. Stored beside what frozen layers put out, by the digest of the weights and of
    the encoded rows, within `cache_gb`; where there is no room, they stay in memory.

    Args:
        task: Builds the model. With `from_scratch` its random weights follow from the seed.
        encoded: What `encode_rows` made.
        config: Of which `seed` and `cache_gb` are used.
        accelerator: Of which the device is used.
        rows: Data rows to compute, all when not given.

    Raises:
        ModelError: If the model cannot be built.
    """
    began = time.monotonic()
    stored = stored_layers(task, encoded, config, accelerator, rows=rows)
    forward, (values, reused) = stored.forward, stored.found_or_made()
    return LayerFeatures(
        groups=forward.names,
        row_of=np.repeat(forward.batches.row_of[forward.chosen], forward.items),
        reused=reused,
        seconds=time.monotonic() - began,
        num_parameters=sum(parameter.numel() for parameter in forward.model.parameters()),
        _values=values,
        _starts=forward.starts,
        _parts=forward.parts,
    )


def stored_layers(
    task: Task,
    encoded: "Dataset",
    config: RunConfig,
    accelerator: Accelerator,
    *,
    rows: Ints | None = None,
) -> StoredFeatures:
    """Find the place in the cache of what `layer_features` reads, and what fills it."""
    forward = layer_pass(task, encoded, config, accelerator, rows=rows)
    return StoredFeatures(forward, config, "every layer group, pooled")


def layer_pass(
    task: Task,
    encoded: "Dataset",
    config: RunConfig,
    accelerator: Accelerator,
    *,
    rows: Ints | None = None,
) -> FeaturePass:
    """Build the model, ready to run over encoded rows and to be read at every layer group."""
    batches = Batches(task, encoded, accelerator.device)
    chosen = np.arange(len(encoded)) if rows is None else batches.positions_of(rows)
    model, is_head_pretrained = pretrained_model(task, config, accelerator)
    return _LayerPass(model, batches, task, chosen, head=is_head_pretrained)


def pretrained_model(task: Task, config: RunConfig, accelerator: Accelerator) -> tuple[nn.Module, bool]:
    """Build the model, and tell whether its head has pretrained layers before the last.

    What is new in it follows from the seed.
    """
    seeds = (derive_seed(config.seed, "features", i) for i in range(2))
    torch.manual_seed(next(seeds))
    model = task.build_model()
    before = below_output(model, len(task.label_names))
    is_head_pretrained = bool(before)
    if before and task.base.has_weights and not config.from_scratch:
        # What another seed changes is new, and random layers would pass for pretrained ones.
        torch.manual_seed(next(seeds))
        is_head_pretrained = tensor_digest(task.build_model(), before) == tensor_digest(model, before)
    return placed(model, accelerator.device).eval(), is_head_pretrained


class _LayerPass(FeaturePass):
    """A forward pass over encoded rows, pooled for each group."""

    kind = "layers"

    def __init__(
        self, model: nn.Module, batches: Batches, task: Task, chosen: Positions, *, head: bool
    ) -> None:
        self.outputs = GroupOutputs(model, len(task.label_names), head=head)
        self.pool = task.input.pooling(model)
        super().__init__(model, batches, chosen, self.outputs.tensors)
        self.items = task.target.num_items(self._labels())
        found, batch = self._outputs(chosen[:1])
        self.parts = tuple(self.pool.parts(output) for output in found.values())
        self.sized({name: self.pool(output, batch).shape[1] for name, output in found.items()})

    def _labels(self) -> list[Any]:
        """Of each encoded row, by which its tagged words are counted."""
        return list(self.batches.encoded.select_columns(["labels"])[self.chosen]["labels"])

    def run(self, positions: Positions) -> dict[str, NDArray[np.float32]]:
        """Features (m, d) of each group for some encoded rows."""
        found, batch = self._outputs(positions)
        pooled = {name: self.pool(output, batch).float() for name, output in found.items()}
        together = torch.cat(list(pooled.values()), 1).cpu().numpy()  # a copy for each would wait for each
        ends = np.cumsum([table.shape[1] for table in pooled.values()])
        return dict(zip(pooled, np.split(together, ends[:-1], axis=1), strict=True))

    @torch.inference_mode()
    def _outputs(self, positions: Positions) -> tuple[dict[str, Output], Batch]:
        """Outputs of each group for some encoded rows, and the batch itself."""
        batch = self.batches.collate(positions)
        inputs = {name: tensor for name, tensor in batch.items() if name != "labels"}
        with self.outputs.recorded() as found:
            self.model(**inputs)
        return {name: found[name] for name in (*self.outputs.ends, "head") if name in found}, batch

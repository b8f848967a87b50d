"""What the output layer of a pretrained model reads of every row, computed once and stored."""

import time
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from accelerate import Accelerator
from numpy.typing import NDArray
from torch import nn

from hf_transfer import _guard  # noqa: F401
from hf_transfer.config.run_config import RunConfig
from hf_transfer.errors import LayerSelectionError, ModelError
from hf_transfer.layers.output import output_layer
from hf_transfer.replay.batching import Batches, Positions
from hf_transfer.replay.features.forward import pretrained_model
from hf_transfer.replay.features.outputs import below_output
from hf_transfer.replay.features.stored import FeaturePass, StoredFeatures
from hf_transfer.tasks.task import Task

if TYPE_CHECKING:
    from datasets import Dataset


@dataclass(frozen=True, eq=False)
class OutputInputs:
    """What the output layer reads.

    Attributes:
        values: A line for each row, (n, d) in float32.
        reused: Whether they were found stored.
        seconds: To compute, or to find them.
        notes: What to know of them, a sentence each.
    """

    values: NDArray[np.float32]
    reused: bool
    seconds: float
    notes: tuple[str, ...]


def output_inputs(
    task: Task, encoded: "Dataset", config: RunConfig, accelerator: Accelerator
) -> OutputInputs:
    """Run the frozen model once over all rows, up to its output layer, in eval mode.

    A linear head that was fitted to these values is the output layer of `pretrained_model`, exactly.

    Args:
        task: Builds the model; each row has one label.
        encoded: What `encode_rows` made.
        config: Of which `seed`, from which new weights follow, and `cache_gb` are used.
        accelerator: Of which the device is used.

    Raises:
        ModelError: If the model cannot be built, or its output is no linear layer.
    """
    began = time.monotonic()
    forward = output_pass(task, encoded, config, accelerator)
    values, reused = _stored(forward, config).found_or_made()
    note = "Before the output layer lie layers with new, random weights, through which features pass."
    return OutputInputs(
        values=np.ascontiguousarray(values, dtype=np.float32),
        reused=reused,
        seconds=time.monotonic() - began,
        notes=(note,) if forward.is_new_below else (),
    )


def stored_outputs(
    task: Task, encoded: "Dataset", config: RunConfig, accelerator: Accelerator
) -> StoredFeatures:
    """Find the place in the cache of what `output_inputs` reads, and what fills it."""
    return _stored(output_pass(task, encoded, config, accelerator), config)


def _stored(forward: FeaturePass, config: RunConfig) -> StoredFeatures:
    return StoredFeatures(forward, config, "what the output layer reads")


def output_pass(task: Task, encoded: "Dataset", config: RunConfig, accelerator: Accelerator) -> "OutputPass":
    """Build the model, ready to run over encoded rows up to its output layer."""
    model, is_head_pretrained = pretrained_model(task, config, accelerator)
    pretrained = is_head_pretrained or not task.base.has_weights or config.from_scratch
    is_new_below = not pretrained and bool(below_output(model, len(task.label_names)))
    batches = Batches(task, encoded, accelerator.device)
    return OutputPass(model, batches, np.arange(len(encoded)), is_new_below=is_new_below)


class OutputPass(FeaturePass):
    """A forward pass up to the output layer, whose place is left empty.

    Attributes:
        is_new_below: Whether layers with new weights lie between a pretrained backbone and the output layer.
    """

    kind = "output"

    def __init__(self, model: nn.Module, batches: Batches, chosen: Positions, *, is_new_below: bool) -> None:
        self.is_new_below = is_new_below
        try:
            name, layer = output_layer(model, biased=False)
        except LayerSelectionError as error:
            raise ModelError(
                f"{type(model).__name__} has no linear output layer, so that there are no features that it "
                "reads. Give another --base_model."
            ) from error
        model.set_submodule(name, nn.Identity())
        tensors = chain(model.named_parameters(), model.named_buffers())
        super().__init__(model, batches, chosen, [name for name, _ in tensors])
        self.items = np.ones(len(chosen), np.int64)
        self.sized({"output": layer.in_features})

    @torch.inference_mode()
    def run(self, positions: Positions) -> dict[str, NDArray[np.float32]]:
        """What the output layer would read of some encoded rows, (b, d)."""
        batch = self.batches.collate(positions)
        inputs = {name: tensor for name, tensor in batch.items() if name != "labels"}
        outputs: Any = self.batches.learner(self.model)(**inputs)
        return {"output": outputs.float().cpu().numpy()}

"""Both ends of a final model of averaged weights, kept beside its record, and models between them."""

from collections.abc import Mapping
from itertools import chain
from typing import TYPE_CHECKING

import torch
from safetensors.torch import load_file, save
from torch import Tensor, nn

from hf_transfer import _guard  # noqa: F401
from hf_transfer.errors import ConfigError
from hf_transfer.layers.output import divide_logits
from hf_transfer.machine.devices import placed
from hf_transfer.machine.wording import some
from hf_transfer.runs.unit_files import DONE, changed_files
from hf_transfer.study.final.model_folder import task_in
from hf_transfer.training.job import Ends
from hf_transfer.training.wise import between

if TYPE_CHECKING:
    from hf_transfer.study.final.trained import TrainedModel

START_FILE, TUNED_FILE = "start.safetensors", "tuned.safetensors"


def ends_files(ends: Ends | None) -> dict[str, bytes]:
    """Content of the files that keep both ends, by name; none without ends."""
    if ends is None:
        return {}
    return {START_FILE: _bytes(ends.start), TUNED_FILE: _bytes(ends.tuned)}


def _bytes(weights: Mapping[str, Tensor]) -> bytes:
    return save({name: tensor.cpu().contiguous() for name, tensor in weights.items()})


def read_ends(model: "TrainedModel") -> tuple[Ends, float]:
    """Read both ends of a run's final model, and the share of fine-tuned weights that it publishes.

    Raises:
        ConfigError: If it is no average, or its ends are gone or changed.
    """
    run, final = model.run, model.results.final
    if final.wise is None:
        why = f"publishes final={final.kind}" if model.results.config.wise else "was made without --wise"
        raise ConfigError(
            f"wise_curve goes from the pretrained weights to the fine-tuned ones, and {run} {why}. Run the "
            "recipe with --wise auto and --final refit into another --output_dir."
        )
    home = run / "final"
    again = (
        f"Remove {home} and run the recipe again: its folds are kept, and the final model is made anew "
        "with both ends."
    )
    if not all((home / name).is_file() for name in (START_FILE, TUNED_FILE)):
        raise ConfigError(
            f"{home} does not hold {START_FILE} and {TUNED_FILE}, both ends of the average: they were "
            f"deleted or not downloaded, or an earlier version made the run. {again}"
        )
    if changed := changed_files(home / DONE):
        raise ConfigError(f"In {home}, {some(changed, noun='file')} changed since the run. {again}")
    return Ends(load_file(home / START_FILE), load_file(home / TUNED_FILE)), final.wise.share


class BetweenEnds:
    """Models between both ends of a run's final model, one after the other in the same memory.

    Args:
        model: The run's.
        device: Where the models are to be.

    Attributes:
        share: Of the fine-tuned weights, as published.
    """

    def __init__(self, model: "TrainedModel", device: torch.device) -> None:
        self.ends, self.share = read_ends(model)
        self.temperature = model.temperature if model.in_weights else 1.0
        self.task = task_in(model.task, model.members[0])
        self.model = placed(self.task.build_model(), device)

    def at(self, share: float) -> nn.Module:
        """The model of a share of the fine-tuned weights; of the published one, that model to the bit."""
        tensors = dict(chain(self.model.named_parameters(), self.model.named_buffers()))
        with torch.no_grad():
            for name, weights in between(self.ends, share).items():
                tensors[name].copy_(weights)
        if self.temperature != 1.0:
            divide_logits(self.model, self.temperature)
        return self.model

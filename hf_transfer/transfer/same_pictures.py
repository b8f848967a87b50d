"""An objective for pictures of every backbone: two views of a picture have the same features."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from hf_transfer import _guard  # noqa: F401
from hf_transfer.models.pretrainable import save_backbone
from hf_transfer.replay.batching import Batch
from hf_transfer.replay.features.outputs import GroupOutputs
from hf_transfer.tasks.inputs.picture_views import views
from hf_transfer.transfer.objective import Objective

_SAME, _SPREAD, _APART = 25.0, 25.0, 1.0  # weights of the three terms, as published
_NARROWEST, _WIDEST, _WIDER = 256, 2048, 4  # of the projector; by how much it is wider than the features
_TINY = 1e-4  # of a variance, whose root has no slope at 0


class SamePictures(Objective):
    """VICReg: features of two views of a picture agree, while they vary between pictures.

    A crop in other colours (`views`) must be known again. Chosen over SimSiam, whose features stay apart only
    as long as its predictor is near the optimum: a new one is far from it at the low rates at which a
    pretrained model goes on learning, and small models lose dimensions by it (Li et al.). Here the loss
    itself says that each dimension varies, and that no two say the same; it needs neither a predictor nor
    other pictures to tell apart, so that batches may be small. Features are what the model's output layer
    reads; the projector above them is new, belongs to the training alone, and is left out of what is saved.

    Args:
        task: Of which the base model is used, and whether `augmentation` flips.
        from_scratch: Whether all weights begin anew.

    Raises:
        ModelError: If the model cannot be used for pictures.

    References:
        Bardes et al., "VICReg", ICLR 2022, https://arxiv.org/abs/2105.04906. Li et al., "Understanding
        Collapse in Non-Contrastive Siamese Representation Learning", ECCV 2022,
        https://arxiv.org/abs/2209.15007.
    """

    name: ClassVar[str] = "same-pictures"
    title: ClassVar[str] = "knowing a picture again through other crops and colours"
    fewest_rows: ClassVar[int] = 2

    def __init__(self, task: Any, *, from_scratch: bool) -> None:
        self.task, self.from_scratch = task, from_scratch or not task.base.has_weights
        self.mirror = "flip" in task.settings.augmentation
        settings = replace(task.settings, from_scratch=self.from_scratch)
        self.backbone = Backbone(type(task)(settings, task.target).build_model(), task)
        self.model = nn.Sequential(self.backbone, _projector(self.backbone.width))
        self.new: list[str] = []  # the projector is not saved

    def loss(self, model: nn.Module, batch: Batch, random: torch.Generator) -> Tensor:
        """That of VICReg, between two views of each picture."""
        seen = [views(batch["pixel_values"], random, mirror=self.mirror) for _ in range(2)]
        projected = model(self.task.transform({"pixel_values": torch.cat(seen)})["pixel_values"])
        return vicreg(*projected.float().chunk(2))

    def features(self, batch: Batch) -> Tensor:
        """What the output layer reads of whole pictures."""
        found: Tensor = self.backbone(self.task.transform(batch)["pixel_values"])
        return found

    def save(self, folder: Path) -> None:
        """The backbone alone, for any labels."""
        save_backbone(self.backbone.model, self.task.base, folder, from_scratch=self.from_scratch)


class Backbone(nn.Module):
    """A classifier of pictures up to its output layer: from pixels to features (b, d).

    Args:
        model: A classifier of transformers or timm.
        task: That it is for.

    Attributes:
        width: Number of features.
    """

    def __init__(self, model: nn.Module, task: Any) -> None:
        super().__init__()
        self.model = model
        self.outputs = GroupOutputs(model, len(task.label_names), head=True)
        self.pool = task.input.pooling(model)
        self.eval()
        with torch.no_grad():
            blank = torch.zeros(1, *task.processor.shape, dtype=torch.uint8)
            self.width = self(task.transform({"pixel_values": blank})["pixel_values"]).shape[1]

    def forward(self, pixels: Tensor) -> Tensor:
        """Compute features, (b, d)."""
        with self.outputs.recorded() as found:
            self.model(pixel_values=pixels)
        batch: Mapping[str, Tensor] = {"pixel_values": pixels}
        features: Tensor = self.pool(found["head"], batch)
        return features


def _projector(width: int) -> nn.Sequential:
    """Three layers above the features, in which dimensions may be asked to say different things."""
    hidden = min(_WIDEST, max(_NARROWEST, _WIDER * width))
    return nn.Sequential(
        nn.Linear(width, hidden, bias=False),
        nn.BatchNorm1d(hidden),
        nn.ReLU(),
        nn.Linear(hidden, hidden, bias=False),
        nn.BatchNorm1d(hidden),
        nn.ReLU(),
        nn.Linear(hidden, hidden, bias=False),
    )


def vicreg(first: Tensor, second: Tensor) -> Tensor:
    """How far two views lie apart, how little each dimension varies, and how alike dimensions are; weighted.

    Args:
        first: Projections of a view of each picture, (b, d), of two pictures or more.
        second: Of another view.
    """
    with torch.autocast(first.device.type, enabled=False):
        same = functional.mse_loss(first, second)
        terms = [_spread_and_likeness(one) for one in (first, second)]
        spread, alike = (torch.stack(values).sum() for values in zip(*terms, strict=True))
    return _SAME * same + _SPREAD * spread / 2 + _APART * alike


def _spread_and_likeness(projected: Tensor) -> tuple[Tensor, Tensor]:
    """How far deviations fall short of 1, and squared covariances of a dimension with others, on average."""
    rows, width = projected.shape
    short = functional.relu(1 - (projected.var(dim=0) + _TINY).sqrt()).mean()
    centred = projected - projected.mean(dim=0)
    covariance = centred.T @ centred / (rows - 1)
    return short, (covariance.square().sum() - covariance.diagonal().square().sum()) / width

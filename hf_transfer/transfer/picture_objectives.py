"""An objective for pictures: to draw what is masked."""

from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from transformers import AutoModelForMaskedImageModeling

from hf_transfer import _guard  # noqa: F401
from hf_transfer.errors import ConfigError, ModelError
from hf_transfer.models.pretrainable import masked_picture_config, open_for_pretraining, save_pretrained
from hf_transfer.replay.batching import Batch
from hf_transfer.transfer.objective import Objective

_SHARE = 0.6  # of the blocks of a picture that are masked
_BLOCK = 32  # pixels of a block's side, at most


class MaskedPictures(Objective):
    """SimMIM: 60 % of a picture's blocks are masked, and a linear layer draws their pixels.

    Args:
        task: Of which the base model is used.
        from_scratch: Whether all weights begin anew.

    Raises:
        ModelError: If transformers has no such head for the model.
        ConfigError: If pictures are to be of another size than the model was made for.

    References:
        Xie et al., "SimMIM", CVPR 2022, https://arxiv.org/abs/2111.09886.
    """

    name: ClassVar[str] = "masked-pictures"
    title: ClassVar[str] = "drawing masked parts of pictures"

    def __init__(self, task: Any, *, from_scratch: bool) -> None:
        self.task, self.base, self.from_scratch = task, task.base, from_scratch
        if task.settings.image_size is not None:
            raise ConfigError("image_size is for runs: masked pictures have the size that the model has.")
        if type(task.base.config) not in AutoModelForMaskedImageModeling._model_mapping:
            raise ModelError(
                f"base_model={task.base.name!r} ({task.base.architecture}) has no head that draws masked "
                "pictures. Give a ViT, DeiT, Swin, Swin v2 or FocalNet in the layout of transformers, or "
                "--objective same-pictures, which takes every model of pictures."
            )
        self.model, self.new = open_for_pretraining(
            task.base,
            AutoModelForMaskedImageModeling,
            from_scratch=from_scratch,
            allowed=("mask_token",),
            **masked_picture_config(task.base.config),
        )
        config: Any = self.model.config
        self.side = int(config.image_size) // int(config.patch_size)
        self.block = block_patches(int(config.image_size), int(config.patch_size), int(config.encoder_stride))

    def loss(self, model: nn.Module, batch: Batch, random: torch.Generator) -> Tensor:
        """Mean absolute error of the masked pixels."""
        seeds = torch.randint(2**62, (len(batch["pixel_values"]),), generator=random).tolist()
        pixels = self.task.transform(batch, seeds if model.training else None)["pixel_values"]
        mask = masked_blocks(len(pixels), self.side, self.block, random).to(pixels.device)
        loss: Tensor = model(pixel_values=pixels, bool_masked_pos=mask).loss
        return loss

    def save(self, folder: Path) -> None:
        """With the head that draws pixels."""
        save_pretrained(self.model, self.base, folder, keep_new=True, from_scratch=self.from_scratch)


def block_patches(image_size: int, patch_size: int, stride: int) -> int:
    """Side of a masked block in patches: 32 pixels, or what of the model's own steps fits the picture."""
    sides = (stride * max(1, _BLOCK // stride), stride)
    side = next((one for one in sides if image_size % one == 0 and image_size > one), patch_size)
    return side // patch_size


def masked_blocks(num_rows: int, side: int, block: int, random: torch.Generator) -> Tensor:
    """Choose 60 % of the blocks of each picture; whether each patch is masked, (b, side²)."""
    blocks = (side // block) ** 2
    order = torch.rand(num_rows, blocks, generator=random).argsort(dim=1).argsort(dim=1)
    mask = (order < max(1, round(blocks * _SHARE))).view(num_rows, side // block, side // block)
    return mask.repeat_interleave(block, 1).repeat_interleave(block, 2).flatten(1)

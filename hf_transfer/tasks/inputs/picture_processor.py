"""A base model's picture processing in two steps: resize once, normalise at every use."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from transformers import AutoImageProcessor

from hf_transfer import _guard  # noqa: F401
from hf_transfer.errors import ModelError
from hf_transfer.machine.environment import pool_size
from hf_transfer.models.base_model import BaseModel, quiet
from hf_transfer.models.image_size import size_processor, sized_config
from hf_transfer.tasks.inputs.pictures import Picture, is_large, made_small, read_picture


class PictureProcessor:
    """The published model's image processor in two steps, with the same result.

    Args:
        base: The base model.

    Raises:
        ModelError: If the model has no image processor, or it does not give the size asked for.
    """

    def __init__(self, base: BaseModel) -> None:
        self.name = base.name
        self.processor = _timm_processor(base) if base.is_timm else base.load(AutoImageProcessor)
        if base.image_size and not base.is_timm:
            size_processor(self.processor, base.image_size)
        self._moved: dict[torch.device, list[Tensor]] = {}
        self._grey = _channels(base) == 1
        self.shape = tuple(self.resize([_blank()])[0].shape)
        if base.image_size and set(self.shape[1:]) != {base.image_size}:
            raise ModelError(
                f"image_size={base.image_size}: the image processor of {self.name!r} gives pictures of "
                f"{self.shape[2]} x {self.shape[1]} all the same. Save one with a 'size' into "
                "the model's folder."
            )

    def resize(self, pictures: Sequence[Image.Image]) -> list[Tensor]:
        """Resize and crop RGB pictures as the processor does, each to uint8 (3, h, w).

        A model of one channel gets them in grey, (1, h, w).
        """
        taken = [picture.convert("L") for picture in pictures] if self._grey else list(pictures)
        if hasattr(self.processor, "val_transforms"):
            return [self._timm_resize(picture) for picture in taken]
        off = dict.fromkeys(("do_rescale", "do_normalize"), False)
        if hasattr(self.processor, "include_top"):  # EfficientNet's, which normalises a second time
            off["include_top"] = False
        found = self.processor(taken, **off)["pixel_values"]  # not stacked: `from_bytes` tells unequal sizes
        return [torch.as_tensor(one).to(torch.uint8) for one in found]

    def read(self, pictures: Sequence[Picture]) -> list[Tensor]:
        """Decode pictures and `resize` them in parallel, as Pillow releases the lock.

        Raises:
            DataError: As `read_picture` does, of the first that is wrong.
        """
        with ThreadPoolExecutor(pool_size()) as pool:
            if hasattr(self.processor, "val_transforms"):
                return list(
                    pool.map(
                        lambda picture: made_small(picture, lambda image: self.resize([image])[0]), pictures
                    )
                )
            found = list(pool.map(self._small, pictures))
        decoded = [one for one in found if isinstance(one, Image.Image)]
        resized = iter(self.resize(decoded) if decoded else ())
        return [next(resized) if isinstance(one, Image.Image) else one for one in found]

    def _small(self, picture: Picture) -> Image.Image | Tensor:
        """A decoded picture; of a large one what is left of it, so that few of them are in memory."""
        if is_large(picture):
            return cast(Tensor, made_small(picture, lambda image: self.resize([image])[0]))
        return read_picture(picture)

    def normalise(self, pixels: Tensor) -> Tensor:
        """Scale and normalise uint8 (b, 3, h, w) to float32, on their device."""
        if hasattr(self.processor, "val_transforms"):
            return self._timm_normalise(pixels.float().div_(255))
        options = dict.fromkeys(("do_resize", "do_center_crop", "do_pad", "do_convert_rgb"), False)
        # A processor that works with NumPy or Pillow takes only what lies in main memory.
        where_they_are = getattr(self.processor, "backend", "") == "torchvision"
        taken = pixels if where_they_are else pixels.cpu()
        found = self.processor(taken, return_tensors="pt", **options)["pixel_values"]
        return cast(Tensor, found.to(pixels.device))

    def from_bytes(self, pictures: Sequence[bytes]) -> Tensor:
        """Rebuild resized pictures (b, 3, h, w) from `tobytes`.

        Raises:
            ModelError: If the processor gives pictures of unequal size, which cannot be stacked.
        """
        size = int(np.prod(self.shape))
        if any(len(picture) != size for picture in pictures):
            raise ModelError(
                f"The image processor of {self.name!r} gives pictures of different sizes, which cannot be "
                "batched. Save one with a fixed 'size' or 'crop_size' into the model's folder."
            )
        found = np.empty((len(pictures), size), np.uint8)
        for row, picture in zip(found, pictures, strict=True):
            row[:] = np.frombuffer(picture, np.uint8)
        return torch.from_numpy(found.reshape(-1, *self.shape))

    def save(self, folder: Path) -> None:
        """Write preprocessor_config.json; nothing for timm, whose config.json has it all."""
        if not hasattr(self.processor, "val_transforms"):
            self.processor.save_pretrained(folder)

    def _timm_steps(self) -> tuple[list[Any], Any]:
        """Transforms of timm before and after a picture becomes a tensor."""
        steps = self.processor.val_transforms.transforms
        cut = next(i for i, step in enumerate(steps) if type(step).__name__ in {"ToTensor", "MaybeToTensor"})
        return steps[:cut], steps[cut + 1]

    def _timm_normalise(self, pixels: Tensor) -> Tensor:
        from torchvision.transforms.v2.functional import normalize  # which timm needs, and nothing else here

        # Not by the step itself: it looks whether a deviation is 0, and waits for a GPU to know. Nor are
        # its numbers moved there each time, which takes a wait too.
        if pixels.device not in self._moved:
            step = self._timm_steps()[1]
            self._moved[pixels.device] = [
                torch.as_tensor(numbers, dtype=pixels.dtype, device=pixels.device)
                for numbers in (step.mean, step.std)
            ]
        return cast(Tensor, normalize(pixels, *self._moved[pixels.device], inplace=True))

    def _timm_resize(self, picture: Image.Image) -> Tensor:
        for step in self._timm_steps()[0]:
            picture = step(picture)
        # Not by torch, of which each of several threads would start its own threads.
        return torch.from_numpy(np.ascontiguousarray(np.atleast_3d(np.array(picture)).transpose(2, 0, 1)))


def augment(pixels: Tensor, how: str, seeds: Sequence[int]) -> Tensor:
    """Flip and shift pictures at random, each by its own seed, whatever the order of rows.

    Args:
        pixels: uint8 (b, 3, h, w), on any device.
        how: `flip`, `crop` (up to an eighth of the side, edges repeated), or `crop-flip`.
        seeds: One a picture.
    """
    draws = [np.random.default_rng(seed) for seed in seeds]
    drawn = [(draw.random() < 0.5, draw.integers(-100, 101), draw.integers(-100, 101)) for draw in draws]
    flip, down, right = (
        torch.from_numpy(np.array(drawn, np.int64)).to(pixels.device, non_blocking=True).T[..., None]
    )
    rows, columns = (
        torch.arange(side, device=pixels.device).expand(len(pixels), -1) for side in pixels.shape[2:]
    )
    if "crop" in how:
        rows, columns = _shifted(rows, down), _shifted(columns, right)
    if "flip" in how:
        columns = columns.flip(-1).where(flip.bool(), columns)
    pixels = pixels.gather(2, rows[:, None, :, None].expand(pixels.shape))
    return pixels.gather(3, columns[:, None, None, :].expand(pixels.shape))


def _shifted(places: Tensor, percents: Tensor) -> Tensor:
    """Pixel positions (b, n) along a side shifted by percents (b, 1) of an eighth, repeating the edge."""
    side = places.shape[1]
    moved = places + (percents * (side // 8)).div(100, rounding_mode="floor")
    return moved.clamp(0, side - 1)


def _timm_processor(base: BaseModel) -> Any:
    """Processor from the model's pretrained_cfg, which for `timm:ARCH` is in no file."""
    from transformers import TimmWrapperImageProcessor

    config: Any = sized_config(base, base.config)
    with quiet():
        return TimmWrapperImageProcessor(
            pretrained_cfg=config.pretrained_cfg or {}, architecture=config.architecture
        )


def _channels(base: BaseModel) -> int | None:
    """Number of channels that a model reads, where its configuration says so."""
    if base.is_timm:
        return (base.config.model_args or {}).get("in_chans")
    return getattr(base.config, "num_channels", None)


def _blank() -> Image.Image:
    return Image.new("RGB", (64, 48))

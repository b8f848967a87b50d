"""Views of pictures for learning without labels: crops in other colours, which show the same thing."""

import math

import torch
from torch import Tensor
from torch.nn import functional

from hf_transfer import _guard  # noqa: F401

_SMALLEST, _ASPECT = 0.35, 4 / 3  # of a picture's area that is seen, at least; of its sides, at most
_LIGHT, _COLOUR, _HUE = 0.4, 0.2, 0.1  # brightness and contrast, saturation: by so much; hue: of a turn
_MIRRORED, _JITTERED, _GREYED, _BLURRED = 0.5, 0.8, 0.2, 0.5  # shares of the views
_SHARPEST = 64  # pixels of the shorter side, below which a blur leaves too little
_WIDEST = 1 / 112  # deviation of the blur, as a share of that side, at most
_FOCUSED = 0.1  # pixels of a deviation that changes nothing
_NUM_DRAWS = 13


def views(pixels: Tensor, random: torch.Generator, *, mirror: bool) -> Tensor:
    """Draw a view of each picture: a crop at full size, lighter or darker, of other colours, grey or blurred.

    All rows at once, each by its own draws: torchvision's operations have one strength for a whole batch.

    Args:
        pixels: uint8 (b, 3, h, w), or (b, 1, h, w) of grey ones, on any device.
        random: On a processor; as many numbers are drawn whatever the pictures are.
        mirror: Whether half of the views are flipped, which makes something else of digits and letters.

    Returns:
        uint8, of the same shape.

    References:
        Chen et al., "SimCLR", ICML 2020, https://arxiv.org/abs/2002.05709.
    """
    draws = torch.rand(len(pixels), _NUM_DRAWS, generator=random).to(pixels.device)
    crop, colours, focus = torch.tensor_split(draws, (5, 11), dim=1)
    seen = _cropped(pixels.float() / 255, crop, mirror=mirror)
    seen = _recoloured(seen, colours)
    if min(pixels.shape[2:]) >= _SHARPEST:
        seen = _blurred(seen, focus)
    return seen.mul(255).round().to(torch.uint8)


def _cropped(pixels: Tensor, draws: Tensor, *, mirror: bool) -> Tensor:
    """Cut a window out of each picture and stretch it to full size."""
    area, aspect, across, down, mirrored = draws.T
    ratio = _ASPECT ** (2 * aspect - 1)
    share = _SMALLEST + (1 - _SMALLEST) * area
    sides = (share * torch.stack([ratio, 1 / ratio])).sqrt().clamp(max=1)  # width and height, (2, b)
    places = (1 - sides) * (2 * torch.stack([across, down]) - 1)
    if mirror:
        sides[0] = torch.where(mirrored < _MIRRORED, -sides[0], sides[0])
    windows = torch.cat([torch.diag_embed(sides.T), places.T[..., None]], dim=2)
    grid = functional.affine_grid(windows, list(pixels.shape), align_corners=False)
    return functional.grid_sample(pixels, grid, padding_mode="border", align_corners=False)


def _recoloured(pixels: Tensor, draws: Tensor) -> Tensor:
    """Change brightness, contrast, saturation and hue of most pictures, and take the colour out of some."""
    light, contrast, colour, turn, jittered, greyed = draws.T[..., None, None, None]
    strength = (jittered < _JITTERED).to(pixels.dtype)
    light, contrast = (1 + strength * _LIGHT * (2 * drawn - 1) for drawn in (light, contrast))
    colour = (1 + strength * _COLOUR * (2 * colour - 1)).where(greyed >= _GREYED, 0)
    angle = strength * _HUE * (2 * turn - 1) * 2 * math.pi
    grey = pixels.mean(dim=1, keepdim=True)
    shade = pixels - grey  # a turn about the axis of greys is one of the hue
    across = (shade.roll(1, dims=1) - shade.roll(-1, dims=1)) / math.sqrt(3)
    shade = colour * (angle.cos() * shade + angle.sin() * across)
    middle = grey.mean(dim=(2, 3), keepdim=True)
    changed: Tensor = light * (middle + contrast * (grey - middle + shade))
    return changed.clamp(0, 1)


def _blurred(pixels: Tensor, draws: Tensor) -> Tensor:
    """Blur some pictures, by Gaussians of their own deviations along rows and columns."""
    widest = _WIDEST * min(pixels.shape[2:])
    deviation = (_FOCUSED + (widest - _FOCUSED) * draws[:, 0]).where(draws[:, 1] < _BLURRED, _FOCUSED)
    down, across = (_gaussian(side, deviation)[:, None] for side in pixels.shape[2:])
    return (down @ pixels @ across.mT).clamp(0, 1)


def _gaussian(side: int, deviation: Tensor) -> Tensor:
    """Weights of the pixels along a side that each one becomes, (b, side, side)."""
    places = torch.arange(side, dtype=deviation.dtype, device=deviation.device)
    away = (places[:, None] - places) ** 2
    return torch.softmax(-away / (2 * deviation[:, None, None] ** 2), dim=2)

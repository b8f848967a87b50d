"""Pictures and weights for a machine that has none: the size of real ones, and nothing to learn from."""

from pathlib import Path

import numpy as np
from PIL import Image

from hf_transfer.data import builtin
from hf_transfer.tasks.inputs.pictures import read_picture

_SIDE = 224
_NOISE = 16  # grey levels; a smooth picture would decode faster than a photograph


def write_pictures(folder: Path, number: int, seed: int) -> str:
    """Write handwritten digits as photograph-sized JPEG files, a folder for each class."""
    rows = builtin.load("digits_5to9", "image")
    noise = np.random.default_rng(seed)
    for position in range(number):
        row = rows[position % len(rows)]
        small = read_picture(row["image"])
        pixels = np.asarray(small.resize((_SIDE, _SIDE), Image.Resampling.BICUBIC), np.float32)
        pixels = np.clip(pixels + noise.normal(0, _NOISE, pixels.shape), 0, 255).astype(np.uint8)
        place = folder / rows.features["label"].int2str(row["label"])
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(place / f"{position:05d}.jpg", quality=90)
    return str(folder)


def write_weights(folder: Path, architecture: str = "resnet18", seed: int = 0) -> str:
    """Write random weights to a file, which makes them the pretrained ones of all contenders.

    Without a file each fold would draw a backbone of its own, and there would be nothing to share.
    """
    import timm
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(seed)
    model = timm.create_model(architecture, pretrained=False, num_classes=0)
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{architecture}.safetensors"
    save_file(model.state_dict(), str(file))
    return f"timm:{architecture}@{file}"

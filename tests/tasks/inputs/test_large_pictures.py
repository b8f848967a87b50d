"""Large pictures take little more memory than one of them decoded, and the same pixels as ever."""

import io
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image, ImageOps

from hf_transfer.tasks.inputs import pictures, windows
from hf_transfer.tasks.inputs.pictures import read_picture

SIDE, MANY = 6_000, 8
DECODED = SIDE * SIDE * 4 / 2**20  # MiB, as Pillow holds RGB

# What opening, the audit and the simple model do with pictures, and how much more it took than small ones.
SCRIPT = """
import io, resource, sys
from datasets import Dataset, Features, Image
from PIL import Image as Pillow
from hf_transfer.tasks.inputs.image import Image as Pictures
from hf_transfer.tasks.inputs.simple_models import picture_features

def peak(side, many):
    stream = io.BytesIO()
    Pillow.new(sys.argv[3], (side, side), "#7f3a55").save(stream, "PNG")
    rows = [{"bytes": stream.getvalue(), "path": None}] * many
    data = Dataset.from_dict({"input": rows}, Features({"input": Image(decode=False)}))
    assert Pictures().unreadable(data, lambda *_: None) == []
    Pictures().likeness([data])
    picture_features(data.select([0]))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10

small = peak(64, 8)
print(peak(int(sys.argv[1]), int(sys.argv[2])) - small)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in other units, and freed memory is kept")
@pytest.mark.parametrize(("mode", "most"), [("RGB", 2), ("L", 2), ("RGBA", 3)])
def test_many_large_pictures_take_the_memory_of_one_of_them(mode, most):
    """Beside one decoded picture there are its greys, or what it was before it was RGB."""
    order = [sys.executable, "-c", SCRIPT, str(SIDE), str(MANY), mode]
    done = subprocess.run(order, capture_output=True, text=True, check=True)
    assert float(done.stdout) < most * DECODED


def drawn(mode: str) -> Image.Image:
    """Random pixels; of palettes and RGB some may be seen through."""
    values = np.random.default_rng(0).integers(0, 256, (23, 17, 4), np.uint8)
    if mode == "I;16":
        return Image.fromarray(values[:, :, :2].copy().view(np.uint16)[:, :, 0])
    return Image.fromarray(values, "RGBA" if mode in ("RGBA", "LA") else None).convert(mode)


def at_once(image: Image.Image) -> Image.Image:
    """What `read_picture` is to give, with all copies that it takes."""
    image = ImageOps.exif_transpose(image)
    if image.mode == "I;16":
        scaled = np.floor(np.asarray(image).astype(np.float64) * (255.0 / 65535) + 0.5)
        return Image.fromarray(scaled.astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(
    ("mode", "file_format", "options"),
    [
        *((mode, "PNG", {}) for mode in ("1", "L", "P", "LA", "RGB", "RGBA", "I;16")),
        ("P", "PNG", {"transparency": 3}), ("P", "PNG", {"transparency": bytes(range(256))}),
        ("L", "PNG", {"transparency": 7}), ("RGB", "PNG", {"transparency": (1, 2, 3)}),
        ("RGB", "JPEG", {}), ("L", "JPEG", {}), ("CMYK", "JPEG", {}),
        ("RGB", "WEBP", {}), ("RGBA", "TIFF", {}),
    ],
)  # fmt: skip
def test_pictures_that_are_read_in_strips_have_the_same_pixels(
    monkeypatch, mode, file_format, options, orientation
):
    exif, stream = Image.Exif(), io.BytesIO()
    exif[0x0112] = orientation
    drawn(mode).save(stream, file_format, exif=exif, **options)
    whole = read_picture(stream.getvalue())
    monkeypatch.setattr(pictures, "_STRIP", 40)
    monkeypatch.setattr(windows, "_AT_ONCE", 50)
    in_strips = read_picture(stream.getvalue())
    wanted = at_once(Image.open(stream))
    assert in_strips.mode == whole.mode == "RGB"
    assert np.array_equal(np.asarray(in_strips), np.asarray(wanted))
    assert np.array_equal(np.asarray(whole), np.asarray(wanted))

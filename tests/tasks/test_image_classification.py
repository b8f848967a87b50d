import io
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional
from transformers import (
    AutoImageProcessor,
    CLIPImageProcessor,
    ConvNextImageProcessor,
    ResNetConfig,
    ResNetForImageClassification,
    ViTConfig,
    ViTForImageClassification,
    ViTImageProcessor,
)

import hf_transfer
from hf_transfer import ImageClassification, RunConfig
from hf_transfer.errors import ModelError
from hf_transfer.replay.batching import as_rows
from hf_transfer.tasks.inputs.picture_processor import augment

DIGITS = Path(hf_transfer.__file__).parent / "data" / "builtin" / "digits-resnet"


def pictures(count: int = 3) -> list[Image.Image]:
    draw = np.random.default_rng(0)
    sizes = [(50, 70), (64, 64), (90, 40), (33, 35)]
    return [Image.fromarray(draw.integers(0, 256, (*sizes[i % 4], 3), dtype=np.uint8)) for i in range(count)]


def png(picture: Image.Image) -> dict:
    stream = io.BytesIO()
    picture.save(stream, "png")
    return {"bytes": stream.getvalue(), "path": None}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Models of three processors: timm's, a fixed size, and a shortest edge with a crop."""
    root = tmp_path_factory.mktemp("vision")
    ViTForImageClassification(
        ViTConfig(
            image_size=32, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16
        )
    ).save_pretrained(root / "vit")
    ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(root / "vit")
    ResNetForImageClassification(
        ResNetConfig(embedding_size=8, hidden_sizes=[8], depths=[1], layer_type="basic")
    ).save_pretrained(root / "resnet")
    ConvNextImageProcessor(size={"shortest_edge": 32}, crop_pct=0.875).save_pretrained(root / "resnet")
    return {"timm": DIGITS, "vit": root / "vit", "resnet": root / "resnet"}


@pytest.mark.parametrize("name", ["timm", "vit", "resnet"])
def test_two_steps_give_what_the_published_processor_gives(folders, name):
    task = ImageClassification(RunConfig(base_model=str(folders[name])), ("a", "b"))
    originals = pictures()
    encoded = task.encode({"input": [png(p) for p in originals], "label": [0, 1, 0]}, [0, 1, 2])
    rows = as_rows(encoded)
    ours = task.transform(task.collate(rows))["pixel_values"]
    processor = AutoImageProcessor.from_pretrained(folders[name])
    theirs = processor(originals, return_tensors="pt")["pixel_values"]
    assert torch.equal(ours, theirs)


@pytest.mark.parametrize("how", ["flip", "crop", "crop-flip"])
def test_pictures_are_flipped_and_shifted_as_asked(how):
    pixels = torch.from_numpy(np.random.default_rng(3).integers(0, 256, (40, 3, 24, 32), dtype=np.uint8))
    down, right = [range(-3, 4), range(-4, 5)] if "crop" in how else [[0], [0]]  # an eighth of each side
    seen = set()
    for picture, found in zip(pixels, augment(pixels, how, range(40)), strict=True):
        padded = functional.pad(picture[None].float(), (4, 4, 3, 3), mode="replicate")[0].byte()
        ways = {
            (y, x, flip): window.flip(-1) if flip else window
            for y, x, flip in product(down, right, [False, True] if "flip" in how else [False])
            for window in [padded[:, 3 + y : 27 + y, 4 + x : 36 + x]]
        }
        (way,) = [way for way, window in ways.items() if torch.equal(window, found)]
        seen.add(way)
    assert len(seen) > (15 if "crop" in how else 1)


def test_every_random_change_follows_its_own_seed():
    pixels = torch.randint(0, 256, (4, 3, 16, 16), dtype=torch.uint8)
    together = augment(pixels, "crop-flip", [1, 2, 3, 4])
    alone = torch.cat([augment(pixels[i : i + 1], "crop-flip", [i + 1]) for i in range(4)])
    assert torch.equal(together, alone)
    assert not torch.equal(together, pixels)


def test_pictures_change_only_in_training():
    task = ImageClassification(RunConfig(base_model=str(DIGITS), augmentation="crop-flip"), ("a", "b"))
    encoded = task.encode({"input": [png(p) for p in pictures()], "label": [0, 1, 0]}, [0, 1, 2])
    rows = as_rows(encoded)
    batch = task.collate(rows)
    plain, *changed = (task.transform(batch, seeds)["pixel_values"] for seeds in (None, [5, 6, 7], [5, 6, 7]))
    assert torch.equal(plain, task.transform(batch)["pixel_values"])
    assert not torch.equal(plain, changed[0])
    assert torch.equal(*changed)
    assert batch["pixel_values"].dtype == torch.uint8  # and as it was, for the next epoch


def test_pictures_that_the_processor_leaves_of_different_sizes_are_told(tmp_path):
    config = ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1])
    config.save_pretrained(tmp_path)
    CLIPImageProcessor(size={"shortest_edge": 32}, do_center_crop=False).save_pretrained(tmp_path)
    task = ImageClassification(RunConfig(base_model=str(tmp_path)), ["a", "b"])
    encoded = as_rows(task.encode({"input": [png(p) for p in pictures()], "label": [0, 1, 0]}, [0, 1, 2]))
    with pytest.raises(ModelError, match=r"gives pictures of different sizes.*fixed 'size' or 'crop_size'"):
        task.collate(encoded)

"""Models that take pictures of another size than they were made for."""

import re

import pytest
import timm
import torch
from PIL import Image
from transformers import (
    CONFIG_MAPPING,
    AutoImageProcessor,
    AutoModelForImageClassification,
    CLIPImageProcessor,
    ConvNextImageProcessor,
    ViTImageProcessor,
)

from hf_transfer import ImageClassification, RunConfig
from hf_transfer.errors import ModelError
from hf_transfer.models.saving import save_model

SMALL = {
    "image_size": 32, "patch_size": 8, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
    "intermediate_size": 16,
}  # fmt: skip
WORDS = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": 20}
RESNET = {"embedding_size": 8, "hidden_sizes": [8], "depths": [1], "layer_type": "basic"}
CONFIGS = {
    "vit": SMALL,
    "dinov2": SMALL,
    "clip": {"vision_config": SMALL, "text_config": WORDS | {"eos_token_id": 1, "bos_token_id": 0}},
    "siglip": {"vision_config": SMALL, "text_config": WORDS | {"eos_token_id": 1, "bos_token_id": 0}},
    "resnet": RESNET,
}
WHOLE = ViTImageProcessor(size={"height": 32, "width": 32})
CROPPED = CLIPImageProcessor(size={"shortest_edge": 36}, crop_size={"height": 32, "width": 32})


def saved(folder, name, processor=WHOLE, **values):
    config = CONFIG_MAPPING[name](**(CONFIGS.get(name, {}) | values))
    AutoModelForImageClassification.from_config(config).save_pretrained(folder)
    processor.save_pretrained(folder)
    return str(folder)


def task(model, size=64):
    return ImageClassification(RunConfig(base_model=model, image_size=size), ("a", "b"))


@pytest.mark.parametrize("processor", [WHOLE, CROPPED], ids=["whole", "cropped"])
@pytest.mark.parametrize("name", CONFIGS)
def test_what_is_published_takes_the_size_by_plain_code(name, processor, tmp_path):
    sized = task(saved(tmp_path / "base", name, processor))
    model = sized.build_model().eval()
    save_model(model, tmp_path / "out")
    sized.save_processor(tmp_path / "out")
    pictures = AutoImageProcessor.from_pretrained(tmp_path / "out")(
        Image.new("RGB", (70, 50), "red"), return_tensors="pt"
    )["pixel_values"]
    assert pictures.shape == (1, *sized.processor.shape) == (1, 3, 64, 64)
    plain = AutoModelForImageClassification.from_pretrained(tmp_path / "out").eval()
    torch.testing.assert_close(plain(pictures).logits, model(pictures).logits)
    again = task(str(tmp_path / "out"))  # as predict opens it, with the settings of the run
    torch.testing.assert_close(again.build_model().eval()(pictures).logits, model(pictures).logits)
    assert again.processor.shape == (3, 64, 64)


def test_positions_are_interpolated_as_transformers_does(tmp_path):
    folder = saved(tmp_path, "vit")
    original = AutoModelForImageClassification.from_pretrained(folder).eval()
    pictures = torch.rand(2, 3, 64, 64)
    ours = task(folder).build_model().eval()
    expected = original.vit(pictures, interpolate_pos_encoding=True).last_hidden_state
    torch.testing.assert_close(ours.vit(pictures).last_hidden_state, expected)


@pytest.mark.parametrize("architecture", ["test_vit", "test_resnet"])
def test_a_timm_model_is_published_at_its_size(architecture, tmp_path):
    sized = task(f"timm:{architecture}", 64)
    model = sized.build_model().eval()
    save_model(model, tmp_path)
    plain = timm.create_model(f"local-dir:{tmp_path}", pretrained=True).eval()
    pictures = torch.rand(2, 3, 64, 64)
    torch.testing.assert_close(plain(pictures), model(pictures).logits)
    assert tuple(timm.data.resolve_model_data_config(plain)["input_size"]) == (3, 64, 64)
    assert sized.processor.shape == (3, 64, 64)


@pytest.mark.parametrize(
    ("model", "size", "message"),
    [
        ("timm:mixer_s32_224", 64, "image_size=64: .* one size only, as timm says"),
        ("timm:test_vit", 50, "reads patches of 16 pixels. Give a multiple of it, such as 48 or 64"),
        ("vit", 50, "reads patches of 8 pixels. Give a multiple of it, such as 48 or 56"),
        ("pvt", 64, "position_embeddings is made for, and it cannot be interpolated. Leave image_size out"),
    ],
)
def test_a_size_that_a_model_cannot_take_is_refused(model, size, message, tmp_path):
    if ":" not in model:
        model = saved(tmp_path, model, **({"image_size": 32} if model == "pvt" else {}))
    with pytest.raises(ModelError, match=message):
        task(model, size).build_model()


def test_a_processor_without_a_fixed_size_is_refused(tmp_path):
    processor = ConvNextImageProcessor(size={"shortest_edge": 384}, crop_pct=1.0, do_resize=False)
    folder = saved(tmp_path, "resnet", processor)
    with pytest.raises(ModelError, match=re.escape("gives pictures of 64 x 48 all the same")):
        _ = task(folder).processor.shape

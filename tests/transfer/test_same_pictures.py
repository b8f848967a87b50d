"""VICReg on pictures: its three terms, what is saved, and features that collapse."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from transformers import (
    AutoModelForImageClassification,
    ResNetConfig,
    ResNetForImageClassification,
    SwinConfig,
    SwinForImageClassification,
    ViTConfig,
    ViTForImageClassification,
    ViTImageProcessor,
)

from hf_transfer import RunConfig, pretrain
from hf_transfer.errors import ConfigError, ModelError
from hf_transfer.tasks import task_of_kind
from hf_transfer.transfer.objective import spread
from hf_transfer.transfer.pretrain_words import pretrain_text
from hf_transfer.transfer.same_pictures import SamePictures, vicreg

SMALL = {"objective": "same-pictures", "batch_size": 11, "learning_rate": 1e-3, "num_epochs": 1}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder, random = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    for n in range(24):
        shade = random.integers(20, 220, (1, 1, 3)) + random.integers(0, 30, (32, 40, 3))
        Image.fromarray(shade.astype(np.uint8)).save(folder / f"{n}.png")
    return folder


def by_hand(first, second):
    """The loss as the paper has it, the mean over dimensions for each of its sums over them."""
    total = 25 * np.mean((first - second) ** 2)
    for one in (first, second):
        covariance = np.cov(one.T)
        total += 25 / 2 * np.maximum(0, 1 - np.sqrt(np.diag(covariance) + 1e-4)).mean()
        total += ((covariance - np.diag(np.diag(covariance))) ** 2).sum() / one.shape[1]
    return total


@settings(deadline=None, max_examples=30)
@given(st.integers(2, 9), st.integers(2, 7), st.floats(0.1, 3), st.integers(0, 99))
def test_the_loss_is_that_of_the_formulas_and_symmetric(rows, width, scale, seed):
    random = torch.Generator().manual_seed(seed)
    first, second = (scale * torch.randn(rows, width, generator=random) for _ in range(2))
    assert float(vicreg(first, second)) == pytest.approx(by_hand(first.numpy(), second.numpy()), rel=1e-3)
    assert float(vicreg(first, second)) == pytest.approx(float(vicreg(second, first)), rel=1e-5)


def test_views_that_agree_vary_and_are_uncorrelated_cost_nothing():
    rows = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    assert float(vicreg(rows, rows)) == pytest.approx(0, abs=1e-6)
    assert float(vicreg(rows * 0, rows * 0)) == pytest.approx(25 * 0.99)


def test_each_term_pushes_both_views():
    first, second = (torch.randn(6, 3, requires_grad=True) for _ in range(2))
    vicreg(first, second).backward()
    assert first.grad.abs().min() > 0
    assert second.grad.abs().min() > 0


def test_the_spread_is_0_of_one_direction_and_1_of_all():
    rows = torch.randn(4000, 32, generator=torch.Generator().manual_seed(0))
    assert spread(rows) == pytest.approx(1, abs=0.02)
    assert spread(rows[:1].expand(9, -1) * torch.arange(1, 10)[:, None]) == pytest.approx(0, abs=1e-6)


def folder_of(kind, config, folder):
    torch.manual_seed(0)
    kind(config).save_pretrained(folder)
    grey = {"image_mean": [0.5], "image_std": [0.5]} if config.num_channels == 1 else {}
    ViTImageProcessor(size={"height": 32, "width": 32}, **grey).save_pretrained(folder)
    return str(folder)


VIT = {
    "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16,
    "image_size": 32, "patch_size": 8,
}  # fmt: skip
SWIN = {
    "image_size": 32, "patch_size": 2, "embed_dim": 8, "depths": [1, 1], "num_heads": [1, 1],
    "window_size": 4,
}  # fmt: skip
RESNET = {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "layer_type": "basic"}
MODELS = {
    "resnet": (ResNetForImageClassification, ResNetConfig(**RESNET)),
    "grey": (ResNetForImageClassification, ResNetConfig(**RESNET, num_channels=1)),
    "vit": (ViTForImageClassification, ViTConfig(**VIT, num_labels=5)),
    "swin": (SwinForImageClassification, SwinConfig(**SWIN)),
}


@pytest.mark.parametrize("name", MODELS)
def test_the_folder_is_a_base_model_without_projector_and_labels(name, pictures, tmp_path):
    base = folder_of(*MODELS[name], tmp_path / "base")
    record = pretrain(pictures, base_model=base, output_dir=str(tmp_path / "m"), **SMALL)
    assert (record.objective, record.new_weights) == ("same-pictures", [])
    assert all(0 < one.feature_spread <= 1 for one in record.losses)
    assert "spread" in pretrain_text(record)
    made, told = AutoModelForImageClassification.from_pretrained(tmp_path / "m", output_loading_info=True)
    assert {key.split(".")[0] for key in told["missing_keys"]} == {"classifier"}
    assert (set(told["unexpected_keys"]), made.config.problem_type) == (set(), None)
    first = AutoModelForImageClassification.from_pretrained(base)
    assert made.base_model.state_dict().keys() == first.base_model.state_dict().keys()
    moved = [torch.equal(a, b) for a, b in zip(made.parameters(), first.parameters(), strict=False)]
    assert not all(moved)


@pytest.mark.parametrize("name", ["builtin:digits-resnet", "timm:test_vit", "timm:levit_128s"])
def test_models_of_timm_load_in_timm_again(name, pictures, tmp_path):
    timm = pytest.importorskip("timm")
    objective = SamePictures(
        task_of_kind("image")(RunConfig(base_model=name), ["a", "b"]), from_scratch=False
    )
    objective.save(tmp_path / "m")
    task = task_of_kind("image")(RunConfig(base_model=str(tmp_path / "m")), ["a", "b", "c"])
    again = task.build_model().eval().timm_model
    plain = timm.create_model(f"local-dir:{tmp_path / 'm'}", pretrained=True, num_classes=3).eval()
    pixels = torch.rand(2, *task.processor.shape)
    with torch.no_grad():
        expected = objective.backbone.model.eval().timm_model.forward_features(pixels)
        assert torch.equal(again.forward_features(pixels), expected)
        assert torch.equal(plain.forward_features(pixels), expected)


def test_features_that_collapse_are_noted(pictures, tmp_path, monkeypatch):
    whole = SamePictures.features

    def alike(self, batch):
        found = whole(self, batch)
        return found[:1] + 0.01 * found

    given = {"base_model": "timm:test_vit", "output_dir": str(tmp_path / "m")}
    assert not any("nearly the same way" in note for note in pretrain(pictures, **SMALL, **given).notes)
    monkeypatch.setattr(SamePictures, "features", alike)
    record = pretrain(pictures, **SMALL, **given, overwrite=True)
    assert any("Features of all rows point nearly the same way" in note for note in record.notes)
    assert "nearly the same way" in (tmp_path / "m" / "README.md").read_text()


def test_a_batch_of_half_precision_is_compared_in_float32(pictures):
    first, second = (torch.randn(4, 3) for _ in range(2))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = vicreg(first, second)
    assert (inside.dtype, float(inside)) == (torch.float32, float(vicreg(first, second)))


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"batch_size": 1}, ConfigError, "batch_size=1: same-pictures compares .* Give 2 or more"),
        ({"objective": "same-texts"}, ConfigError, "not for pictures. Take masked-pictures or same-pictures"),
        ({"base_model": "builtin:tiny-bert"}, ModelError, "a model of texts .* needs one of pictures"),
        ({"objective": "masked-pictures"}, ModelError, "or --objective same-pictures"),
    ],
)
def test_what_cannot_be_done_is_told(given, error, message, pictures, tmp_path):
    with pytest.raises(error, match=message):
        pretrain(
            pictures,
            output_dir=str(tmp_path / "m"),
            **{"base_model": "builtin:digits-resnet"} | SMALL | given,
        )

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from hf_transfer.tasks.inputs.pooling import PicturePooling, TextPooling, WordPooling

PIXELS = {"pixel_values": torch.zeros(2, 3, 16, 16)}


class Model(nn.Module):
    def __init__(self, **values):
        super().__init__()
        for name, value in values.items():
            setattr(self, name, value)


def test_maps_are_averaged_over_places():
    maps = torch.randn(2, 5, 3, 4)
    assert torch.equal(PicturePooling(Model())(maps, PIXELS), maps.mean(dim=(2, 3)))
    last = PicturePooling(Model(timm_model=Model(output_fmt="NHWC")))
    assert torch.allclose(last(maps.permute(0, 2, 3, 1), PIXELS), maps.mean(dim=(2, 3)))


@pytest.mark.parametrize(
    ("model", "tokens", "prefix"),
    [
        (Model(timm_model=Model(num_prefix_tokens=1)), 17, 1),
        (Model(timm_model=Model(num_prefix_tokens=0)), 16, 0),
        (Model(config=SimpleNamespace(patch_size=4)), 17, 1),
        (Model(config=SimpleNamespace(patch_size=[4, 4])), 18, 2),
        (Model(config=SimpleNamespace(patch_size=4)), 4, 0),  # patches merged
        (Model(), 17, 0),
    ],
)
def test_the_class_token_stands_beside_the_mean_of_the_patches(model, tokens, prefix):
    output = torch.randn(2, tokens, 3)
    mean = output[:, prefix:].mean(dim=1)
    wanted = torch.cat([output[:, 0], mean], dim=1) if prefix else mean
    assert torch.allclose(PicturePooling(model)(output, PIXELS), wanted)


@pytest.mark.parametrize("side", ["right", "left"])
def test_padding_is_no_part_of_a_text(side):
    output = torch.randn(1, 3, 2)
    padded = torch.cat([output, torch.full((1, 2, 2), 99.0)], dim=1)
    mask = torch.tensor([[1, 1, 1, 0, 0]])
    if side == "left":
        padded, mask = padded.roll(2, dims=1), mask.roll(2, dims=1)
    found = TextPooling(Model())(padded, {"attention_mask": mask})
    assert torch.allclose(found, torch.cat([output[:, 0], output.mean(dim=1)], dim=1))


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("causal", [[True, True], [True, False]])
def test_where_tokens_see_only_those_before_them_the_last_is_read(causal, side):
    output = torch.randn(2, 4, 3)
    mask = torch.tensor([[1, 1, 1, 0], [1, 1, 1, 1]])
    output, mask = (output, mask) if side == "right" else (output.flip(1), mask.flip(1))
    layers = nn.ModuleList(Model(is_causal=value) for value in causal)
    pool = TextPooling(Model(layers=layers))
    ends = [[0, 2], [0, 3]] if side == "right" else [[1, 3], [0, 3]]
    wanted = torch.stack([row[end[all(causal)]] for row, end in zip(output, ends, strict=True)])
    assert torch.equal(pool(output, {"attention_mask": mask})[:, :3], wanted)
    assert pool.parts(output) == ("last token" if all(causal) else "first token", "mean")


def test_a_text_without_a_mask_is_all_text():
    output = torch.randn(2, 3, 2)
    assert torch.allclose(TextPooling(Model())(output, {})[:, 2:], output.mean(dim=1))
    assert torch.equal(TextPooling(Model())(output[:, 0], {}), output[:, 0])


def test_words_are_their_first_subwords_in_order():
    output = torch.arange(12.0).reshape(2, 3, 2)
    labels = torch.tensor([[-100, 4, -100], [1, -100, 0]])
    found = WordPooling(Model())(output, {"labels": labels})
    assert found.tolist() == [[2, 3], [6, 7], [10, 11]]

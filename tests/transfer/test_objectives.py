"""Masks of words and of pictures, and what a base model is after an objective."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from transformers import SwinConfig, SwinForImageClassification, ViTConfig, ViTForImageClassification
from transformers import ViTImageProcessor as Processor

from hf_transfer import pretrain
from hf_transfer.transfer.picture_objectives import block_patches, masked_blocks
from hf_transfer.transfer.text_objectives import begins_word, masked_words

TOKENS = ["[PAD]", "[CLS]", "[SEP]", "a", "##b", "c", "##d", "##e"]
SPECIAL = torch.tensor([True] * 3 + [False] * 5)
BEGINS = torch.tensor(begins_word(TOKENS))


def row(words, width):
    """Token ids of words of so many tokens each, padded."""
    ids = [1, *(token for size in words for token in [3, *[4] * (size - 1)]), 2]
    return ids + [0] * (width - len(ids))


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.lists(st.integers(1, 4), min_size=1, max_size=30), min_size=1, max_size=4), st.integers(0, 99)
)
def test_whole_words_are_masked_a_share_of_each_text(texts, seed):
    width = max(sum(words) for words in texts) + 2
    ids = torch.tensor([row(words, width) for words in texts])
    chosen = masked_words(ids, SPECIAL, BEGINS, torch.Generator().manual_seed(seed))
    assert not chosen[SPECIAL[ids]].any()
    for words, mask in zip(texts, chosen.tolist(), strict=True):
        ends = np.cumsum([1, *words])
        parts = [mask[start:end] for start, end in pairwise(ends)]
        assert all(len({*part}) == 1 for part in parts)
        assert sum(part[0] for part in parts) == max(1, round(torch.tensor(len(words) * 0.15).item()))


@pytest.mark.parametrize(
    ("tokens", "begins"),
    [
        (["the", "##re", "a"], [True, False, True]),
        (["Ġthe", "re", "Ġa"], [True, False, True]),
        (["▁the", "re"], [True, False]),
        (["a", "b"], [True, True]),
    ],
)
def test_a_word_begins_as_the_tokenizer_marks_it(tokens, begins):
    assert begins_word(tokens) == begins


def test_a_first_token_without_a_mark_begins_a_word():
    ids = torch.tensor([[1, 4, 4, 2]])
    chosen = masked_words(ids, SPECIAL, BEGINS, torch.Generator().manual_seed(0))
    assert chosen.tolist() == [[False, True, True, False]]


@pytest.mark.parametrize(
    ("image_size", "patch_size", "stride", "patches"),
    [(224, 16, 16, 2), (224, 4, 32, 8), (32, 8, 8, 1), (240, 16, 16, 1), (64, 32, 32, 1)],
)
def test_blocks_fit_the_picture(image_size, patch_size, stride, patches):
    assert block_patches(image_size, patch_size, stride) == patches


def test_blocks_are_masked_whole():
    mask = masked_blocks(3, 4, 2, torch.Generator().manual_seed(0)).view(3, 2, 2, 2, 2)
    assert mask.sum(dim=(1, 2, 3, 4)).tolist() == [8, 8, 8]
    assert all(
        len({*block.flatten().tolist()}) == 1 for one in mask for r in one.unbind(0) for block in r.unbind(1)
    )


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder, random = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    for n in range(24):
        Image.fromarray(random.integers(200, 240, (32, 32, 3), np.uint8)).save(folder / f"{n}.png")
    return folder


MODELS = {
    "vit": (
        ViTForImageClassification,
        ViTConfig(
            hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, image_size=32,
            patch_size=8,
        ),
    ),
    "swin": (
        SwinForImageClassification,
        SwinConfig(image_size=32, patch_size=2, embed_dim=8, depths=[1, 1], num_heads=[1, 1], window_size=4),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
def test_pictures_are_drawn_and_the_model_classifies_again(name, pictures, tmp_path):
    kind, config = MODELS[name]
    torch.manual_seed(0)
    base = tmp_path / "base"
    kind(config).save_pretrained(base)
    Processor(size={"height": 32, "width": 32}).save_pretrained(base)
    record = pretrain(
        pictures, base_model=str(base), output_dir=str(tmp_path / "m"), num_epochs=2, batch_size=8,
        learning_rate=1e-2,
    )  # fmt: skip
    assert record.objective == "masked-pictures"
    assert record.losses[-1].held_out_loss < record.losses[0].held_out_loss
    assert any("mask_token" in one for one in record.new_weights)
    assert any("no head for drawing masked parts" in note for note in record.notes)
    _, report = kind.from_pretrained(tmp_path / "m", output_loading_info=True)
    assert {key.split(".")[0] for key in report["missing_keys"]} <= {"classifier"}

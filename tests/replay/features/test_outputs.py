import pytest
import torch
from torch import nn
from transformers import (
    AutoModelForImageClassification,
    AutoModelForSequenceClassification,
    BertConfig,
    ConvNextConfig,
    LlamaConfig,
    Qwen2Config,
    ResNetConfig,
    RobertaConfig,
    SwinConfig,
    ViTConfig,
)

from hf_transfer.layers import layer_groups
from hf_transfer.replay.features.outputs import GroupOutputs, below_output

SMALL = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 16}
PICTURE = {"pixel_values": torch.randn(2, 3, 32, 32)}
TEXT = {
    "input_ids": torch.tensor([[2, 5, 6, 3], [2, 7, 3, 0]]),
    "attention_mask": torch.tensor([[1] * 4, [1, 1, 1, 0]]),
}


def picture_model(config):
    return AutoModelForImageClassification.from_config(config).eval()


def text_model(kind):
    config = kind(vocab_size=50, num_labels=2, max_position_embeddings=40, **SMALL)
    return AutoModelForSequenceClassification.from_config(config).eval()


def recorded(model, batch, *, head=True):
    outputs = GroupOutputs(model, 2, head=head)
    with outputs.recorded() as found, torch.no_grad():
        logits = model(**batch).logits
    return outputs, found, logits


def test_a_block_of_a_transformer_ends_after_its_residual_connection():
    model = picture_model(ViTConfig(image_size=32, patch_size=8, **SMALL))
    _, found, _ = recorded(model, PICTURE)
    with torch.no_grad():
        states = model(**PICTURE, output_hidden_states=True).hidden_states
    assert list(found) == ["stem", "block.0", "block.1", "block.2", "head"]
    for name, state in zip(list(found)[:3], states, strict=False):
        assert torch.equal(found[name], state)


@pytest.mark.parametrize("kind", [Qwen2Config, LlamaConfig])
def test_layers_of_a_decoder_are_its_hidden_states_and_not_its_table_of_positions(kind):
    config = kind(vocab_size=50, num_labels=2, pad_token_id=0, num_key_value_heads=1, **SMALL)
    model = AutoModelForSequenceClassification.from_config(config).eval()
    _, found, _ = recorded(model, TEXT)
    with torch.no_grad():
        states = model(**TEXT, output_hidden_states=True).hidden_states
    for name, state in zip(["stem", "block.0", "block.1", "head"], states, strict=True):
        assert torch.equal(found[name], state)


@pytest.mark.parametrize("kind", [BertConfig, RobertaConfig])
def test_layers_of_text_models_are_their_hidden_states(kind):
    model = text_model(kind)
    outputs, found, logits = recorded(model, TEXT)
    with torch.no_grad():
        states = model(**TEXT, output_hidden_states=True).hidden_states
    for name, state in zip(["stem", "block.0", "block.1", "block.2"], states, strict=True):
        assert torch.equal(found[name], state)
    layer = model.get_submodule(outputs.output_layer)
    assert torch.allclose(nn.functional.linear(found["head"], layer.weight, layer.bias), logits, atol=1e-6)


CONVOLUTIONS = {"hidden_sizes": [8, 16], "depths": [2, 2]}


@pytest.mark.parametrize(
    ("config", "shapes"),
    [
        (
            ResNetConfig(embedding_size=8, layer_type="basic", **CONVOLUTIONS),
            [(8, 8, 8)] * 2 + [(16, 4, 4)] * 2,
        ),
        (ConvNextConfig(patch_size=4, num_stages=2, **CONVOLUTIONS), [(8, 8, 8)] * 2 + [(16, 4, 4)] * 2),
        (
            SwinConfig(
                image_size=32, patch_size=4, embed_dim=8, depths=[2, 2], num_heads=[2, 2], window_size=4
            ),
            [(64, 8), (16, 16), (16, 16), (16, 16)],  # its down-sampling ends the second block
        ),
    ],
)
def test_layers_between_stages_belong_to_one_block(config, shapes):
    _, found, _ = recorded(picture_model(config), PICTURE, head=False)
    assert [tuple(found[f"block.{i}"].shape[1:]) for i in range(4)] == shapes
    assert not torch.equal(found["block.2"], found["block.3"])
    assert "head" not in found


def test_timms_blocks_are_their_own_features():
    timm = pytest.importorskip("timm")
    model = timm.create_model("vit_tiny_patch16_224", num_classes=2, img_size=32, depth=3).eval()
    outputs = GroupOutputs(model, 2, head=True)
    with outputs.recorded() as found, torch.no_grad():
        model(PICTURE["pixel_values"])
        states = model.forward_intermediates(
            PICTURE["pixel_values"], output_fmt="NLC", intermediates_only=True, return_prefix_tokens=True
        )
    for index, (patches, prefix) in enumerate(states):
        assert torch.equal(found[f"block.{index}"], torch.cat([prefix, patches], dim=1))
    assert found["head"].shape == (2, 192)


def test_only_tensors_that_matter_are_named():
    model = text_model(BertConfig)
    *groups, head = layer_groups(model)
    below = {name for group in groups for name in (*group.parameters, *group.buffers)}
    without = GroupOutputs(model, 2, head=False)
    assert set(without.tensors) == below
    assert without.output_layer is None
    with_head = GroupOutputs(model, 2, head=True)
    assert set(with_head.tensors) - below == {"bert.pooler.dense.weight", "bert.pooler.dense.bias"}
    assert below_output(model, 2) == ("bert.pooler.dense.weight", "bert.pooler.dense.bias")
    assert set(head.parameters) - set(below_output(model, 2)) == {"classifier.weight", "classifier.bias"}


def test_hooks_go_away_even_after_an_error():
    model = text_model(BertConfig)
    outputs = GroupOutputs(model, 2, head=True)
    with pytest.raises(ValueError, match="stop"), outputs.recorded():
        raise ValueError("stop")
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())

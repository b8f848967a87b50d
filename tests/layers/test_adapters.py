import sys

import pytest
import timm
import torch
import transformers as hf
from torch import nn

from hf_transfer.errors import ConfigError, LayerSelectionError
from hf_transfer.layers import adaptable, freeze, frozen_hash, has_adapters, layer_groups, merged

TEXT = {
    "hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 16, "num_hidden_layers": 2,
    "vocab_size": 50, "max_position_embeddings": 40,
}  # fmt: skip
TOKENS = {"input_ids": torch.arange(2, 26).reshape(2, 12)}
PIXELS = {"pixel_values": torch.linspace(-1, 1, 2 * 3 * 32 * 32).reshape(2, 3, 32, 32)}

# family -> (model, a batch, layers that get an adapter)
FAMILIES = {
    "bert": (lambda: hf.BertForSequenceClassification(hf.BertConfig(**TEXT)), TOKENS, 4),
    "roberta": (lambda: hf.RobertaForSequenceClassification(hf.RobertaConfig(**TEXT)), TOKENS, 4),
    "distilbert": (
        lambda: hf.DistilBertForSequenceClassification(
            hf.DistilBertConfig(dim=16, n_heads=2, hidden_dim=16, n_layers=2, vocab_size=50)
        ),
        TOKENS,
        4,
    ),
    "deberta-v2": (lambda: hf.DebertaV2ForSequenceClassification(hf.DebertaV2Config(**TEXT)), TOKENS, 4),
    "vit": (
        lambda: hf.ViTForImageClassification(hf.ViTConfig(**TEXT, image_size=32, patch_size=16)),
        PIXELS,
        4,
    ),
    "swin": (
        lambda: hf.SwinForImageClassification(
            hf.SwinConfig(embed_dim=8, depths=[2, 1], num_heads=[2, 2], image_size=32, window_size=2)
        ),
        PIXELS,
        6,
    ),
    "timm vit": (lambda: timm.create_model("test_vit", img_size=32), {"x": PIXELS["pixel_values"]}, 6),
}


def built(family: str) -> nn.Module:
    torch.manual_seed(0)
    return FAMILIES[family][0]().eval()


def logits_of(model: nn.Module, family: str) -> torch.Tensor:
    with torch.no_grad():
        found = model.eval()(**FAMILIES[family][1])
    return found if isinstance(found, torch.Tensor) else found.logits


def shaken(model: nn.Module) -> nn.Module:
    """Adapters that add something."""
    for name, parameter in model.named_parameters():
        if ".lora_B." in name:
            nn.init.normal_(parameter, std=2.0)
    return model


@pytest.mark.parametrize("family", FAMILIES)
def test_adapters_go_beside_queries_and_values_of_all_blocks(family):
    model = built(family)
    names = adaptable(model)
    assert len(names) == FAMILIES[family][2]
    blocks = [group for group in layer_groups(model)[1:-1] if not set(names).isdisjoint(group.modules)]
    assert len(blocks) == len(layer_groups(model)) - 2


@pytest.mark.parametrize("family", FAMILIES)
def test_they_begin_by_adding_nothing_and_merge_to_plain_weights(family):
    pytest.importorskip("peft")
    model = built(family)
    names, before = set(model.state_dict()), logits_of(model, family)
    freezing = freeze(model, "head+lora:3")
    assert torch.equal(logits_of(model, family), before)
    assert has_adapters(model)
    after = logits_of(shaken(model), family)
    assert not torch.allclose(after, before, atol=1e-4)
    plain = merged(model)
    assert set(plain.state_dict()) == names
    torch.testing.assert_close(logits_of(plain, family), after, atol=1e-4, rtol=1e-4)
    # The model itself keeps its adapters, and its freezing.
    assert has_adapters(model)
    assert {name for name, p in model.named_parameters() if p.requires_grad} == freezing.trainable


def test_only_the_head_and_the_adapters_learn():
    pytest.importorskip("peft")
    model = built("bert")
    freezing = freeze(model, "head+lora")
    head = set(freezing.groups[-1].parameters)
    adapters = freezing.trainable - head
    assert head < freezing.trainable
    assert all(".lora_" in name for name in adapters)
    assert sum(dict(model.named_parameters())[name].numel() for name in adapters) == 4 * 2 * 8 * 16
    before, start = frozen_hash(model, freezing), logits_of(model, "bert")
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.1)
    model.train()
    model(**TOKENS, labels=torch.tensor([0, 1])).loss.backward()
    optimizer.step()
    assert frozen_hash(model, freezing) == before
    assert not torch.equal(logits_of(model, "bert"), start)


def test_a_model_keeps_the_adapters_that_it_has():
    pytest.importorskip("peft")
    model = built("bert")
    freeze(model, "head+lora:2")
    names = [name for name, _ in model.named_parameters()]
    freeze(model, "head+lora:2+norm")
    assert [name for name, _ in model.named_parameters()] == names
    assert not any("lora" in name for name in freeze(model, "head").trainable)


def test_equal_seeds_give_equal_adapters():
    pytest.importorskip("peft")
    states = []
    for _ in range(2):
        model = built("vit")
        freeze(model, "head+lora")
        states.append(model.state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


@pytest.mark.parametrize(
    ("build", "trainable", "words"),
    [
        (lambda: timm.create_model("test_resnet"), "head+lora", "this model has no such linear layers"),
        (lambda: built("bert"), "head+lora:0", "adapters of rank 0; use 1 or more"),
    ],
)
def test_adapters_that_cannot_be(build, trainable, words):
    with pytest.raises(LayerSelectionError, match=words):
        freeze(build(), trainable)


def test_without_peft_it_is_said_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(LayerSelectionError, match=r'pip install "hf-transfer-kit\[adapters\]"'):
        freeze(built("bert"), "head+lora")


def test_a_mean_of_weights_is_not_made_of_adapters():
    from hf_transfer import RunConfig

    with pytest.raises(ConfigError, match="final='soup' averages weights, and \\+lora"):
        RunConfig(trainable="head+lora", final="soup", sealed=0.1)


def test_gpt2_gets_adapters_beside_its_turned_matrices():
    import transformers as hf

    torch.manual_seed(0)
    config = hf.GPT2Config(vocab_size=20, n_positions=8, n_embd=16, n_layer=2, n_head=2, pad_token_id=1)
    model = hf.GPT2ForSequenceClassification(config).eval()
    ids = torch.tensor([[3, 4, 5]])
    with torch.no_grad():
        before = model(ids).logits
        freezing = freeze(model, "head+lora:2")
        assert sum("c_attn.lora" in name for name in freezing.trainable) == 4
        for name, parameter in model.named_parameters():
            if ".lora_B." in name:
                parameter.normal_()
        after = model(ids).logits
        assert torch.allclose(merged(model)(ids).logits, after, atol=1e-5)
    assert not torch.allclose(before, after)

import copy
import io
import pickle

import pytest
import timm
import torch
import torchvision
import transformers as hf
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from hf_transfer.errors import LayerSelectionError
from hf_transfer.layers import (
    freeze,
    freeze_table,
    frozen_hash,
    layer_groups,
    parameter_groups,
    trained_hash,
)

TEXT = {
    "hidden_size": 16,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "num_hidden_layers": 3,
    "vocab_size": 50,
    "max_position_embeddings": 40,
}
VIT = {**TEXT, "image_size": 32, "patch_size": 16}

# family -> (model, number of blocks)
FAMILIES = {
    "bert": (lambda: hf.BertForSequenceClassification(hf.BertConfig(**TEXT)), 3),
    "bert tagger": (lambda: hf.BertForTokenClassification(hf.BertConfig(**TEXT)), 3),
    "roberta": (lambda: hf.RobertaForSequenceClassification(hf.RobertaConfig(**TEXT)), 3),
    "electra": (lambda: hf.ElectraForSequenceClassification(hf.ElectraConfig(embedding_size=8, **TEXT)), 3),
    "distilbert": (
        lambda: hf.DistilBertForSequenceClassification(
            hf.DistilBertConfig(dim=16, n_heads=2, hidden_dim=16, n_layers=3, vocab_size=50)
        ),
        3,
    ),
    "deberta-v2": (
        lambda: hf.DebertaV2ForSequenceClassification(
            hf.DebertaV2Config(relative_attention=True, pos_att_type=["c2p"], conv_kernel_size=3, **TEXT)
        ),
        3,
    ),
    "vit": (lambda: hf.ViTForImageClassification(hf.ViTConfig(**VIT)), 3),
    "deit": (lambda: hf.DeiTForImageClassification(hf.DeiTConfig(**VIT)), 3),
    "resnet": (
        lambda: hf.ResNetForImageClassification(
            hf.ResNetConfig(embedding_size=8, hidden_sizes=[8, 8], depths=[2, 1], layer_type="basic")
        ),
        3,
    ),
    "convnext": (
        lambda: hf.ConvNextForImageClassification(
            hf.ConvNextConfig(hidden_sizes=[8, 8], depths=[2, 1], num_stages=2)
        ),
        3,
    ),
    "swin": (
        lambda: hf.SwinForImageClassification(
            hf.SwinConfig(embed_dim=8, depths=[2, 1], num_heads=[2, 2], image_size=32, window_size=2)
        ),
        3,
    ),
    "timm resnet": (lambda: timm.create_model("test_resnet"), 4),
    "timm vit": (lambda: timm.create_model("test_vit"), 6),
    "timm convnext": (lambda: timm.create_model("test_convnext"), 9),
    "timm efficientnet": (lambda: timm.create_model("test_efficientnet"), 6),
    "nobody's": (lambda: Stack(4), 4),
}


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear, self.norm, self.drop = nn.Linear(8, 8), nn.BatchNorm1d(8), nn.Dropout(0.5)

    def forward(self, x):
        return self.drop(self.norm(self.linear(x)))


class Stack(nn.Module):
    """A family that nobody listed."""

    def __init__(self, depth: int) -> None:
        super().__init__()
        self.entry = nn.Linear(4, 8)
        self.deep = nn.ModuleList(Block() for _ in range(depth))
        self.head = nn.Linear(8, 2)

    def forward(self, x):
        x = self.entry(x)
        for block in self.deep:
            x = block(x)
        return self.head(x)


@pytest.fixture(params=FAMILIES, scope="module")
def family(request):
    build, blocks = FAMILIES[request.param]
    torch.manual_seed(0)
    return build(), blocks


def test_every_tensor_is_in_exactly_one_group(family):
    model, _ = family
    groups = layer_groups(model)
    assert sorted(p for g in groups for p in g.parameters) == sorted(n for n, _ in model.named_parameters())
    assert sorted(b for g in groups for b in g.buffers) == sorted(n for n, _ in model.named_buffers())


def test_groups_are_named_in_order(family):
    model, blocks = family
    names = [group.name for group in layer_groups(model)]
    assert names == ["stem", *(f"block.{i}" for i in range(blocks)), "head"]


def test_execution_order_mends_the_order_of_definition():
    model = Stack(3)
    model._modules = dict(reversed(model._modules.items()))
    groups = layer_groups(model, {"x": torch.zeros(2, 4)})
    assert groups[0].modules == ("entry",)
    assert groups[-1].modules == ("head",)
    assert model.training


def test_what_is_defined_first_and_used_under_another_name_stays_below():
    model = Stack(3)
    model._modules = {"shared": nn.Embedding(5, 4), **model._modules}
    groups = layer_groups(model, {"x": torch.zeros(2, 4)})
    assert groups[0].modules == ("shared", "entry")
    assert groups[-1].modules == ("head",)


def test_a_model_that_cannot_run_without_an_example_is_taken_in_order_of_definition():
    groups = layer_groups(Stack(3))
    assert [groups[0].modules, groups[-1].modules] == [("entry",), ("head",)]
    with pytest.raises(TypeError, match="unexpected keyword argument 'y'"):
        layer_groups(Stack(3), {"y": torch.zeros(2, 4)})


def test_deberta_shared_layers_are_below_its_blocks():
    stem = layer_groups(FAMILIES["deberta-v2"][0]())[0]
    assert any("rel_embeddings" in name for name in stem.parameters)
    assert any("encoder.conv" in name for name in stem.parameters)


def test_what_follows_the_last_block_is_head():
    bert = layer_groups(FAMILIES["bert"][0]())[-1].parameters
    assert {name.split(".")[0] for name in bert} == {"bert", "classifier"}
    assert all("pooler" in name or "classifier" in name for name in bert)


def test_the_head_of_timm_is_its_classifier_and_the_pretrained_layers_below_it_are_not():
    *_, block, head = layer_groups(FAMILIES["timm vit"][0]())
    assert set(head.parameters) == {"head.weight", "head.bias"}
    assert {"norm.weight", "norm.bias"} < set(block.parameters)  # a norm alone is no block
    *_, neck, head = layer_groups(FAMILIES["timm efficientnet"][0]())
    assert set(head.parameters) == {"classifier.weight", "classifier.bias"}
    assert set(neck.parameters) == {"conv_head.weight", "bn2.weight", "bn2.bias"}


def lstm_model():
    return nn.ModuleDict({"words": nn.Embedding(9, 8), "rnn": nn.LSTM(8, 8, 2), "out": nn.Linear(8, 2)})


def with_own_head():
    return nn.ModuleDict(
        {
            "body": torchvision.models.get_model("efficientnet_b0", weights=None).features,
            "top": nn.Sequential(nn.Linear(1280, 8), nn.ReLU(), nn.Linear(8, 2)),
        }
    )


# What people train in a loop of their own: how many blocks, where the first is, and what the head is.
OTHERS = {
    "resnet18": (8, "layer1.0", "fc"),
    "vgg16": (14, "features.2", "classifier.6"),
    "efficientnet_b0": (17, "features.1.0", "classifier.1"),
    "mobilenet_v2": (18, "features.1", "classifier.1"),
    "mobilenet_v3_small": (12, "features.1", "classifier.3"),
    "densenet121": (58, "features.denseblock1.denselayer1", "classifier"),
    "regnet_y_400mf": (16, "trunk_output.block1.block1-0", "fc"),
    "vit_b_16": (12, "encoder.layers.encoder_layer_0", "heads.head"),
    "swin_t": (12, "features.1.0", "head"),
    "convnext_tiny": (18, "features.1.0", "classifier.2"),
    "transformer": (6, "encoder.layers.0", None),
    "sequential": (1, "2", "4"),
    "lstm": (1, "rnn", "out"),
    "own head": (17, "body.1.0", "top"),
}
MAKERS = {
    "transformer": lambda: nn.Transformer(16, 2, 3, 3, 16, batch_first=True),
    "sequential": lambda: nn.Sequential(
        nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2)
    ),
    "lstm": lstm_model,
    "own head": with_own_head,
}


@pytest.mark.parametrize("name", OTHERS)
def test_blocks_of_any_module_are_what_a_person_calls_so(name):
    blocks, first, head = OTHERS[name]
    on = "cpu" if name == "regnet_y_400mf" else "meta"  # which starts from values
    with torch.device(on):
        make = MAKERS.get(name)
        model = make() if make else torchvision.models.get_model(name, weights=None)
    groups = layer_groups(model)
    assert len(groups) - 2 == blocks
    assert f"{groups[1].modules[0]}.".startswith(f"{first}.")
    assert sorted(p for g in groups for p in g.parameters) == sorted(n for n, _ in model.named_parameters())
    if head:
        assert set(groups[-1].parameters) == {
            n for n, _ in model.named_parameters() if n.startswith(head + ".")
        }


def test_classifiers_aside_are_of_the_head_and_branches_of_a_block_are_no_blocks():
    with torch.device("meta"):
        groups = layer_groups(torchvision.models.get_model("inception_v3", weights=None, init_weights=False))
    assert [g.modules[0].split(".")[0] for g in groups[1:-1]][:3] == ["Mixed_5b", "Mixed_5c", "Mixed_5d"]
    assert len(groups) == 13
    assert {name.split(".")[0] for name in groups[-1].parameters} == {"AuxLogits", "fc"}


@pytest.mark.parametrize("name", ["cait_xxs24_224", "inception_v3", "inception_resnet_v2"])
def test_timm_models_that_tell_their_layers_by_a_function(name):
    with torch.device("meta"):
        model = timm.create_model(name, num_classes=3)
    groups = layer_groups(model)
    assert len(groups) > 10
    assert {p.shape[0] for p in map(model.get_parameter, groups[-1].parameters)} == {3}


@pytest.mark.parametrize(
    ("spec", "learning"),
    [
        ("all", ["stem", "block.0", "block.1", "block.2", "head"]),
        ("head", ["head"]),
        ("last:0", ["head"]),
        ("last:1", ["block.2", "head"]),
        ("last:50%", ["block.1", "block.2", "head"]),
        ("from:block.1", ["block.1", "block.2", "head"]),
        ("block.0", ["block.0", "head"]),
        ("stem,block.0", ["stem", "block.0", "head"]),
        ("block.*,-block.1", ["block.0", "block.2", "head"]),
        ("-stem", ["block.0", "block.1", "block.2", "head"]),
        ("re:layer\\.2\\.", ["block.2", "head"]),
        ("bert.encoder.layer.0.attention", ["block.0", "head"]),
        ("head+norm", ["stem", "block.0", "block.1", "block.2", "head"]),
    ],
)
def test_trainable_selects(spec, learning):
    model = FAMILIES["bert"][0]()
    freezing = freeze(model, spec)
    assert [g.name for g in freezing.groups if not freezing.trainable.isdisjoint(g.parameters)] == learning
    assert {n for n, p in model.named_parameters() if p.requires_grad} == freezing.trainable


@pytest.fixture(scope="module")
def bert():
    return FAMILIES["bert"][0]()


WORDS = st.sampled_from(
    ["all", "head", "last:1", "last:50%", "from:block.1", "stem", "block.*", "-block.0", "-stem"]
)


@given(
    WORDS, st.sampled_from(["", "+norm", "+bias", "+norm+bias"]), st.sampled_from(["auto", "freeze", "train"])
)
@settings(max_examples=25, deadline=None)
def test_what_learns_and_what_is_frozen_are_all_there_is(bert, spec, added, norm):
    freezing = freeze(bert, spec + added, norm=norm)
    flags = {name: p.requires_grad for name, p in bert.named_parameters()}
    assert {name for name, learns in flags.items() if learns} == freezing.trainable
    bert.train()
    freeze(bert, "all")
    assert all(p.requires_grad for p in bert.parameters())
    assert all(module.training for module in bert.train().modules())


@given(st.text(max_size=12) | st.text("lastfromre:%.*+-,[(0123456789", max_size=12))
@settings(max_examples=60, deadline=None)
def test_any_text_selects_layers_or_is_refused(bert, spec):
    refused = None
    try:
        freeze(bert, spec)
    except LayerSelectionError as error:
        refused = str(error)
    assert refused is None or repr(spec) in refused or "is not a regular expression" in refused


def test_from_a_module_reaches_up_to_the_head():
    freezing = freeze(FAMILIES["bert"][0](), "from:bert.encoder.layer.1.output")
    block = [name for name in freezing.trainable if "layer.1." in name]
    assert block
    assert all("layer.1.output" in name for name in block)
    assert any("layer.2." in name for name in freezing.trainable)


def test_bias_and_norm_add_only_those():
    model = FAMILIES["bert"][0]()
    below = lambda names: {n for n in names if "encoder" in n or "embeddings" in n}  # noqa: E731
    assert all(name.endswith("bias") for name in below(freeze(model, "head+bias").trainable))
    assert all("LayerNorm" in name for name in below(freeze(model, "head+norm").trainable))


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("last:9", "asks for more blocks than there are.*N from 0 to 3"),
        ("last:two", "not a number of blocks"),
        ("from:nowhere", "no group or module is called 'nowhere'.*stem, block.0"),
        ("block.7", "'block.7' matches no layers.*stem, block.0"),
        ("hed", "'hed' matches no layers"),
        ("re:[", "not a regular expression"),
        ("-*", "nothing to learn"),
    ],
)
def test_what_matches_nothing_is_refused(spec, message):
    with pytest.raises(LayerSelectionError, match=message):
        freeze(FAMILIES["bert"][0](), spec)


def test_half_frozen_ties_are_refused():
    model = FAMILIES["bert"][0]()
    model.bert.encoder.layer[2].output.dense.weight = model.bert.encoder.layer[0].output.dense.weight
    with pytest.raises(LayerSelectionError, match=r"layer\.0\.output\.dense.*layer\.2\.output\.dense.*tied"):
        freeze(model, "re:layer\\.2\\.output")


@pytest.mark.parametrize("spec", ["head", "last:1", "last:2", "block.0", "head+norm"])
def test_frozen_layers_do_not_move_in_training(family, spec):
    model, _ = copy.deepcopy(family)
    freezing = freeze(model, spec)
    before = frozen_hash(model, freezing)
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    _train_a_step(model)
    assert frozen_hash(model, freezing) == before
    for name in freezing.frozen_groups:
        group = next(g for g in freezing.groups if g.name == name)
        for tensor in (*group.parameters, *group.buffers):
            if tensor in state:
                assert torch.equal(model.state_dict()[tensor], state[tensor]), tensor
    assert any(not torch.equal(model.state_dict()[n], state[n]) for n in freezing.trainable)


def _train_a_step(model):
    """One large step on random input, after every way in which somebody may call train()."""
    model.train()
    for module in model.children():
        module.train()
    optimizer = torch.optim.SGD(parameter_groups(model, learning_rate=0.5), lr=0.5)
    inputs = _inputs(model)
    output = model(**inputs) if isinstance(inputs, dict) else model(inputs)
    getattr(output, "logits", output).float().pow(2).sum().backward()
    optimizer.step()


def _inputs(model):
    if isinstance(model, Stack):
        return torch.randn(4, 4)
    if "input_ids" in getattr(model, "main_input_name", ""):
        return {"input_ids": torch.randint(5, 50, (4, 12))}
    size = getattr(getattr(model, "config", None), "image_size", None) or 64
    pictures = torch.randn(
        4, 3, *(model.pretrained_cfg["input_size"][1:] if hasattr(model, "pretrained_cfg") else (size, size))
    )
    return {"pixel_values": pictures} if isinstance(model, hf.PreTrainedModel) else pictures


def test_frozen_dropout_is_off_and_trained_dropout_is_on():
    model = FAMILIES["bert"][0]()
    freeze(model, "last:1")
    model.train()
    assert not model.bert.encoder.layer[0].output.dropout.training
    assert not model.bert.encoder.layer[0].attention.training
    assert model.bert.encoder.layer[2].output.dropout.training
    assert model.training


def test_eval_mode_reaches_what_learns_and_train_mode_does_not_reach_what_is_frozen():
    model = FAMILIES["timm resnet"][0]()
    freeze(model, "last:1")
    model.eval()
    assert not any(module.training for module in model.modules())
    model.train()
    assert model.layer4[0].bn1.training
    assert not model.layer1[0].bn1.training


def test_freezing_again_replaces_the_selection():
    model = FAMILIES["timm resnet"][0]()
    freeze(model, "head")
    freeze(model, "all")
    model.train()
    assert all(module.training for module in model.modules())
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_a_copy_of_a_frozen_model_holds_too():
    model = FAMILIES["timm resnet"][0]()
    freeze(model, "head")
    twin = copy.deepcopy(model)
    twin.train()
    assert not twin.layer1[0].bn1.training
    assert twin.layer1[0].bn1.train.module is twin.layer1[0].bn1


def test_a_frozen_model_can_be_pickled_and_saved_and_holds_still():
    model = Stack(2)
    freeze(model, "last:1")
    stream = io.BytesIO()
    torch.save(model, stream)
    stream.seek(0)
    for twin in (pickle.loads(pickle.dumps(model)), torch.load(stream, weights_only=False)):
        twin.train()
        assert [block.training for block in twin.deep] == [False, True]
        freeze(twin, "all")
        twin.train()
        assert twin.deep[0].training
        assert not model.deep[0].training


@pytest.mark.parametrize(("norm", "learns", "moves"), [("auto", False, False), ("train", True, True)])
def test_norm_decides_about_frozen_normalisation(norm, learns, moves):
    model = FAMILIES["timm resnet"][0]()
    freeze(model, "head", norm=norm)
    model.train()
    assert model.layer1[0].bn1.weight.requires_grad is learns
    assert model.layer1[0].bn1.training is moves


def test_norm_freeze_holds_normalisation_in_blocks_that_learn():
    model = FAMILIES["timm resnet"][0]()
    freeze(model, "all", norm="freeze")
    model.train()
    assert model.layer4[0].conv1.weight.requires_grad
    assert not model.layer4[0].bn1.weight.requires_grad
    assert not model.layer4[0].bn1.training


def test_layer_decay_falls_with_the_distance_from_the_head():
    model = FAMILIES["bert"][0]()
    freeze(model, "last:2")
    rates = {g["name"]: g["lr"] for g in parameter_groups(model, learning_rate=1.0, layer_decay=0.5)}
    assert rates == {"block.1": 0.25, "block.2": 0.5, "head": 1.0}


def test_norms_and_biases_do_not_decay():
    model = FAMILIES["bert"][0]()
    freeze(model, "all")
    names = {id(p): n for n, p in model.named_parameters()}
    for group in parameter_groups(model, learning_rate=1.0, weight_decay=0.1):
        for parameter in group["params"]:
            plain = "LayerNorm" in names[id(parameter)] or names[id(parameter)].endswith("bias")
            assert (group["weight_decay"] == 0.0) is plain


@given(depth=st.integers(1, 6), last=st.integers(0, 6))
@settings(max_examples=20, deadline=None)
def test_the_optimizer_gets_each_learning_parameter_once(depth, last):
    model = Stack(depth)
    freezing = freeze(model, f"last:{min(last, max(0, len(layer_groups(model)) - 2))}")
    given_ = [id(p) for group in parameter_groups(model, learning_rate=0.1) for p in group["params"]]
    assert len(given_) == len(set(given_)) == len(freezing.trainable)


def test_the_table_adds_up():
    model = FAMILIES["timm resnet"][0]()
    freezing = freeze(model, "last:1")
    rows = freeze_table(model, freezing, learning_rate=0.1, layer_decay=0.5)
    assert sum(row["parameters"] for row in rows) == sum(p.numel() for p in model.parameters())
    assert [row["status"] for row in rows] == ["frozen"] * 4 + ["trains"] * 2
    assert [row["learning_rate"] for row in rows[-2:]] == [0.05, 0.1]
    assert rows[0]["norm"] == "fixed"
    assert rows[4]["norm"] == "learns"


def test_the_hash_of_what_learned_follows_it_and_nothing_else():
    model = FAMILIES["bert"][0]()
    freezing = freeze(model, "head")
    before = trained_hash(model, freezing)
    with torch.no_grad():
        model.bert.embeddings.word_embeddings.weight.add_(1)
    assert trained_hash(model, freezing) == before
    with torch.no_grad():
        model.classifier.bias.add_(1)
    assert trained_hash(model, freezing) != before


def test_statistics_that_move_are_part_of_what_learned():
    model = FAMILIES["resnet"][0]()
    freezing = freeze(model, "all")
    before = trained_hash(model, freezing)
    next(buffer for name, buffer in model.named_buffers() if name.endswith("running_mean")).add_(1)
    assert trained_hash(model, freezing) != before


def test_a_model_without_blocks_lists_its_modules():
    class Reader(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed = nn.Embedding(5, 4)
            self.read = nn.Linear(4, 4)
            self.answer = nn.Linear(4, 2)

    with pytest.raises(LayerSelectionError, match=r"'from:NAME' with a module of its: embed, read, answer\."):
        freeze(Reader(), "last:1")
    assert freeze(Reader(), "from:read").trainable == {
        "read.weight", "read.bias", "answer.weight", "answer.bias"
    }  # fmt: skip

import copy
from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import transformers as hf
from timm.models.densenet import DenseNet
from torch import nn
from torch.nn import functional

from hf_transfer.layers import freeze
from hf_transfer.machine.devices import seeded
from hf_transfer.models.base_model import quiet
from hf_transfer.replay.cut import Suffix, features_at
from hf_transfer.replay.proof import find_cut
from hf_transfer.replay.store import store_bytes

SPECS = ("head", "last:1", "last:50%")
TEXT = {
    "hidden_size": 16,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "num_hidden_layers": 4,
    "vocab_size": 50,
    "max_position_embeddings": 40,
    "pad_token_id": 0,
    "num_labels": 3,
}
PIXELS = 32
VIT = {**TEXT, "image_size": PIXELS, "patch_size": 16}


def distilbert():
    return hf.DistilBertConfig(dim=16, n_heads=2, hidden_dim=16, n_layers=4, vocab_size=50, num_labels=3)


def deberta():
    return hf.DebertaV2Config(relative_attention=True, pos_att_type=["p2c", "c2p"], **TEXT)


def modern_bert(**options):
    special = dict.fromkeys(("bos_token_id", "eos_token_id", "cls_token_id", "sep_token_id"), 1)
    return hf.ModernBertConfig(**TEXT, **special, **options)


def small_resnet():
    return hf.ResNetForImageClassification(
        hf.ResNetConfig(embedding_size=8, hidden_sizes=[8, 8, 8], depths=[1, 2, 1], layer_type="basic")
    )


def small_swin():
    return hf.SwinForImageClassification(
        hf.SwinConfig(embed_dim=8, depths=[2, 1], num_heads=[2, 2], image_size=32, window_size=2)
    )


def from_timm(name, pixels=PIXELS):
    fitting = {"img_size": pixels} if "vit" in name else {}
    config = hf.TimmWrapperConfig(architecture=name, num_labels=3, model_args=fitting)
    with quiet():
        return hf.TimmWrapperForImageClassification(config)


CLASSIFIERS = {
    "bert": lambda: hf.BertForSequenceClassification(hf.BertConfig(**TEXT)),
    "roberta": lambda: hf.RobertaForSequenceClassification(hf.RobertaConfig(**TEXT)),
    "electra": lambda: hf.ElectraForSequenceClassification(hf.ElectraConfig(embedding_size=8, **TEXT)),
    "distilbert": lambda: hf.DistilBertForSequenceClassification(distilbert()),
    "deberta-v2": lambda: hf.DebertaV2ForSequenceClassification(deberta()),
    "modernbert": lambda: hf.ModernBertForSequenceClassification(modern_bert()),
    "modernbert, averaged": lambda: hf.ModernBertForSequenceClassification(
        modern_bert(classifier_pooling="mean")
    ),
}
TAGGERS = {
    "bert tagger": lambda: hf.BertForTokenClassification(hf.BertConfig(**TEXT)),
    "roberta tagger": lambda: hf.RobertaForTokenClassification(hf.RobertaConfig(**TEXT)),
    "distilbert tagger": lambda: hf.DistilBertForTokenClassification(distilbert()),
    "deberta-v2 tagger": lambda: hf.DebertaV2ForTokenClassification(deberta()),
    "modernbert tagger": lambda: hf.ModernBertForTokenClassification(modern_bert()),
}
READERS = CLASSIFIERS | TAGGERS
SEERS = {
    "vit": lambda: hf.ViTForImageClassification(hf.ViTConfig(**VIT)),
    "resnet": small_resnet,
    "convnext": lambda: hf.ConvNextForImageClassification(
        hf.ConvNextConfig(hidden_sizes=[8, 8], depths=[2, 2], num_stages=2, image_size=32)
    ),
    "swin": small_swin,
    "timm resnet": lambda: from_timm("test_resnet"),
    "timm vit": lambda: from_timm("test_vit"),
    "timm vit, averaged": lambda: from_timm("test_vit2"),
    "timm convnext": lambda: from_timm("test_convnext"),
    "timm efficientnet": lambda: from_timm("test_efficientnet"),
}
FAMILIES = READERS | SEERS
FIRST_TOKEN = {
    "roberta",
    "electra",
    "modernbert",
    "vit",
}  # of these, the head gets all tokens and reads one


def texts(rows, length, shortest=None):
    """Random token ids; all rows but the last are padded, unless `shortest` is the length."""
    sizes = torch.linspace(shortest or max(2, length - 3), length, rows).long()
    mask = (torch.arange(length) < sizes[:, None]).long()
    return {"input_ids": torch.randint(5, 50, (rows, length)) * mask, "attention_mask": mask}


def pictures(rows, pixels):
    return {"pixel_values": torch.randn(rows, 3, pixels, pixels)}


def probes_of(name):
    if name in READERS:
        return [texts(1, 7, 7), texts(3, 12), texts(5, 9)]  # the first has nothing to pad
    return [pictures(rows, PIXELS) for rows in (2, 3, 5)]


def others_of(name):
    """Batches of sizes that no probe has."""
    if name in READERS:
        return [texts(4, 10), texts(7, 15, 2), texts(2, 8, 8)]
    return [pictures(rows, PIXELS) for rows in (1, 4, 7)]


def found_for(name, spec, **options):
    model = FAMILIES[name]()
    freezing = freeze(model, spec, **options)
    return model, freezing, find_cut(model, freezing, probes_of(name), nullcontext())


def from_the_cut(model, cut, batch):
    """As in a run: the features come from eval mode, and nothing that learns is at work in them."""
    mode = model.training
    model.eval()
    with torch.no_grad():
        features = features_at(model, cut, batch)
    model.train(mode)
    return Suffix(model, cut)(features, **batch)


def check_untouched(model):
    for name, module in model.named_modules():
        assert "forward" not in module.__dict__, name
        assert len(module._forward_pre_hooks) + len(module._forward_hooks) == 0, name


def check_same_logits(model, cut, batches):
    """Bit for bit what the untouched model gives."""
    untouched = copy.deepcopy(model).eval()
    model.eval()
    for batch in batches:
        with torch.no_grad():
            wanted, found = untouched(**batch).logits, from_the_cut(model, cut, batch)
        assert torch.equal(found, wanted), len(wanted)
    check_untouched(model)


# The middle of a model: a few families are enough, which also train from there.
IN_THE_MIDDLE = ("bert tagger", "deberta-v2", "vit", "resnet")


@pytest.mark.parametrize(
    ("name", "spec"),
    [
        pytest.param(
            name,
            spec,
            marks=[pytest.mark.slow] if spec == "last:50%" and name not in IN_THE_MIDDLE else [],
        )
        for name in FAMILIES
        for spec in SPECS
    ],
)
def test_a_cut_is_found_and_gives_the_logits_of_the_whole_model(name, spec):
    model, freezing, cut = found_for(name, spec)
    assert cut is not None
    check_untouched(model)
    assert freezing.trainable.isdisjoint(cut.below)
    # Attention above the cut reads all tokens, and so do token labels and averages.
    assert cut.first_only == (spec == "head" and name in FIRST_TOKEN)
    if name in READERS and spec != "head":
        assert cut.shape.by_token
        assert cut.chain == ()  # each block needs the mask
    check_same_logits(model, cut, others_of(name))


@pytest.mark.parametrize("spec", ["head", "last:50%"])
@pytest.mark.parametrize("name", IN_THE_MIDDLE)
def test_training_from_the_cut_draws_the_same_dropout_and_gives_the_same_gradients(name, spec):
    model, _, cut = found_for(name, spec)
    batch = others_of(name)[1]
    learning = {n: p for n, p in model.named_parameters() if p.requires_grad}
    model.train()
    gradients = []
    for run in (lambda: model(**batch).logits, lambda: from_the_cut(model, cut, batch)):
        with seeded(3, torch.device("cpu")):
            logits = run()
        gradients.append(
            (logits, *torch.autograd.grad(logits.square().sum(), learning.values(), allow_unused=True))
        )
    assert len(gradients[0]) > 1
    for wanted, found in zip(*gradients, strict=True):
        assert wanted is found is None or torch.equal(found, wanted)


@pytest.mark.parametrize("name", ["bert", "distilbert tagger", "vit", "resnet"])
def test_what_is_stored_depends_on_nothing_but_what_is_named_below(name):
    model, _, cut = found_for(name, "last:1")
    model.eval()
    batch = others_of(name)[0]
    tensors = dict((*model.named_parameters(), *model.named_buffers()))
    with torch.no_grad():
        before = features_at(model, cut, batch).clone()
        for tensor in (t for n, t in tensors.items() if n not in cut.below and t.is_floating_point()):
            tensor.add_(1)
        assert torch.equal(features_at(model, cut, batch), before)
        for tensor in (t for n, t in tensors.items() if n in cut.below and t.is_floating_point()):
            tensor.mul_(1.5)
        assert not torch.equal(features_at(model, cut, batch), before)


@pytest.mark.parametrize("name", ["bert", "resnet"])
def test_looking_for_a_cut_changes_no_parameter(name):
    model = FAMILIES[name]()
    freezing = freeze(model, "last:1")
    before = copy.deepcopy(model)
    find_cut(model, freezing, probes_of(name), nullcontext())
    for old, new in zip(before.parameters(), model.parameters(), strict=True):
        assert torch.equal(old, new)
        assert old.requires_grad == new.requires_grad


@pytest.mark.parametrize("name", ["bert", "swin", "timm resnet"])
def test_everything_that_learns_leaves_nothing_to_store(name):
    assert found_for(name, "all")[2] is None


@pytest.mark.parametrize("spec", ["head", "last:1"])
@pytest.mark.parametrize("name", ["resnet", "timm efficientnet"])
def test_statistics_that_move_are_never_below_the_cut(name, spec):
    model, freezing, cut = found_for(name, spec, norm="train")
    assert any("running_mean" in n for n, _ in model.named_buffers())
    _, _, usual = found_for(name, spec)
    assert cut is None or len(cut.below) < len(usual.below)
    assert cut is None or not any(b.rpartition(".")[0] in freezing.moving for b in cut.below)
    assert cut is None or check_same_logits(model, cut, others_of(name)) is None


@pytest.mark.parametrize("name", ["bert", "vit"])
def test_norms_that_learn_are_never_below_the_cut(name):
    _, freezing, cut = found_for(name, "head+norm")
    assert cut is None or freezing.trainable.isdisjoint(cut.below)


def test_a_bias_that_learns_lower_down_moves_the_cut_below_it():
    model, _, cut = found_for("bert", "classifier,bert.encoder.layer.1.output.dense.bias")
    assert not any(name.startswith("bert.encoder.layer.1.output") for name in cut.below)
    assert any(name.startswith("bert.encoder.layer.0") for name in cut.below)
    check_same_logits(model, cut, others_of("bert"))


HIGH_UP = ("head", "from:layer.3", "from:layer.2")


class Model(nn.Module):
    """Nobody's family: a stem, four blocks and a head, joined by `between`."""

    def __init__(self, between):
        super().__init__()
        self.stem = nn.Linear(8, 8)
        self.layer = nn.ModuleList(nn.Sequential(nn.Linear(8, 8), nn.Tanh()) for _ in range(4))
        self.head = nn.Linear(8, 3)
        self.between = between

    def forward(self, pixel_values):
        hidden = self.stem(pixel_values)
        for layer in self.layer:
            hidden = self.between(self, layer, hidden)
        return SimpleNamespace(logits=self.head(hidden))


def vectors(rows):
    return {"pixel_values": torch.randn(rows, 8)}


def cut_of(model, spec):
    freezing = freeze(model, spec)
    return find_cut(model, freezing, [vectors(2), vectors(3)], nullcontext())


def test_plain_blocks_are_a_chain():
    model = Model(lambda self, layer, hidden: layer(hidden))
    cut = cut_of(model, "from:layer.3")
    assert cut.chain[-1] == "head"
    assert not cut.stand_ins
    check_same_logits(model, cut, [vectors(n) for n in (1, 5)])


@pytest.mark.parametrize("spec", HIGH_UP)
def test_a_dropout_without_a_module_that_is_active_below_is_noticed(spec):
    model = Model(lambda self, layer, hidden: functional.dropout(layer(hidden), 0.5, self.training))
    assert cut_of(model, spec) is None


@pytest.mark.parametrize("spec", HIGH_UP)
def test_a_sum_around_the_blocks_is_not_lost(spec):
    model = Model(lambda self, layer, hidden: hidden + layer(hidden))
    cut = cut_of(model, spec)
    assert cut is None or check_same_logits(model, cut, [vectors(n) for n in (1, 5)]) is None
    if spec == "head":
        assert cut.chain == ("head",)


class Dense(nn.Module):
    """Every layer reads all layers below it."""

    def __init__(self):
        super().__init__()
        self.timm_model = DenseNet(growth_rate=4, block_config=(2, 2, 2), num_classes=3)
        # Statistics so far off that running a block with its own input alone cannot go unnoticed.
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                nn.init.normal_(module.weight)

    def forward(self, pixel_values):
        return SimpleNamespace(logits=self.timm_model(pixel_values))


@pytest.mark.parametrize("spec", ["head", "from:timm_model.features.denseblock3.denselayer2"])
def test_layers_that_read_all_below_them_are_not_cut_between(spec):
    model = Dense()
    freezing = freeze(model, spec)
    cut = find_cut(model, freezing, [pictures(2, 32), pictures(3, 32)], nullcontext())
    assert spec != "head" or cut is not None
    assert cut is None or check_same_logits(model, cut, [pictures(n, 32) for n in (1, 4)]) is None


@pytest.mark.slow
@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("name", ["densenet121", "swin_tiny_patch4_window7_224", "mobilenetv3_small_100"])
def test_big_families_are_cut_in_the_right_place_or_not_at_all(name, spec):
    model = from_timm(name)
    freezing = freeze(model, spec)
    cut = find_cut(model, freezing, [pictures(2, 224), pictures(3, 224)], nullcontext())
    assert (cut is None) == (name == "densenet121" and spec != "head")
    if cut is not None:
        check_same_logits(model, cut, [pictures(n, 224) for n in (1, 4)])


@pytest.mark.parametrize("name", ["swin", "timm vit, averaged", "distilbert"])
def test_a_head_that_starts_from_zeros_hides_nothing(name):
    model = FAMILIES[name]()
    freezing = freeze(model, "head")
    learning = [p for p in model.parameters() if p.requires_grad]
    for parameter in learning:
        nn.init.zeros_(parameter)
    cut = find_cut(model, freezing, probes_of(name), nullcontext())
    for parameter in learning:
        nn.init.normal_(parameter)
    check_same_logits(model, cut, others_of(name))


def test_bytes_of_a_row():
    _, _, by_token = found_for("bert", "last:1")
    assert store_bytes(by_token.shape, np.array([30]), 1) == 30 * 16 * 4
    assert store_bytes(by_token.shape, np.array([29, 30]), 1) == 59 * 16 * 4
    _, _, first_only = found_for("roberta", "head")
    assert store_bytes(first_only.shape, np.array([30]), 1) == 16 * 4


def test_the_model_is_whole_again_after_an_error():
    model, _, cut = found_for("bert", "last:1")
    batch = others_of("bert")[0]
    with pytest.raises(RuntimeError, match=r"mat1 and mat2|shape|size"):
        Suffix(model, cut)(torch.zeros(4, 10, 5), **batch)
    check_untouched(model)
    check_same_logits(model, cut, [batch])

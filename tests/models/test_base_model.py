import json

import pytest
import timm
import torch
from safetensors.torch import save_file
from transformers import (
    CONFIG_MAPPING,
    AutoModel,
    AutoModelForImageClassification,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    BertConfig,
    BertForSequenceClassification,
    MobileNetV1Config,
    MobileNetV1ForImageClassification,
)

from hf_transfer import RunConfig
from hf_transfer.errors import ModelError
from hf_transfer.models.base_model import open_base_model
from hf_transfer.models.building import bare_model, build_model
from hf_transfer.models.notes import dropout_note, head_note, kept_share_note
from hf_transfer.models.saving import save_model

PICTURES = AutoModelForImageClassification
TEXTS = AutoModelForSequenceClassification


def build(name, auto_class, labels=("a", "b", "c"), seed=0, **settings):
    config = RunConfig(base_model=str(name), **settings)
    torch.manual_seed(seed)
    return build_model(open_base_model(config), auto_class, labels, config)


def same(a, b, where=""):
    a, b = a.state_dict(), b.state_dict()
    return all(
        torch.equal(a[name], b[name]) for name in a if where in name and a[name].shape == b[name].shape
    )


def test_weights_are_float32_whatever_the_checkpoint(tiny_bert_folder, tmp_path):
    from transformers import BertModel

    BertModel.from_pretrained(tiny_bert_folder).to(torch.bfloat16).save_pretrained(tmp_path)
    assert {p.dtype for p in build(tmp_path, TEXTS).parameters()} == {torch.float32}


def test_only_the_head_depends_on_the_seed(tiny_bert_folder):
    a, b, c = (build(tiny_bert_folder, TEXTS, seed=seed) for seed in (1, 1, 2))
    assert same(a, b)
    assert same(a, c, "encoder")
    assert not same(a, c, "classifier")


def test_from_scratch_has_the_architecture_and_not_the_weights(tiny_bert_folder):
    a, b = build(tiny_bert_folder, TEXTS), build(tiny_bert_folder, TEXTS, from_scratch=True)
    assert [(n, p.shape) for n, p in a.named_parameters()] == [(n, p.shape) for n, p in b.named_parameters()]
    assert not same(a, b, "encoder.layer.0.attention.self.query.weight")


def test_timm_from_scratch_starts_as_timm_starts():
    model = build("timm:test_resnet", PICTURES).timm_model
    torch.manual_seed(0)
    expected = timm.create_model("test_resnet", num_classes=3).layer1[0].conv1.weight.std().item()
    assert model.layer1[0].conv1.weight.std().item() == pytest.approx(expected, rel=0.1)


def test_reinit_top_gives_new_weights_to_the_top_blocks_only(tiny_bert_folder):
    a, b = build(tiny_bert_folder, TEXTS), build(tiny_bert_folder, TEXTS, reinit_top=1)
    assert same(a, b, "layer.2.")
    assert not same(a, b, "layer.3.attention.self.query.weight")


def test_too_many_new_blocks_are_refused(tiny_bert_folder):
    with pytest.raises(ModelError, match="reinit_top=9 is more than the 4 blocks"):
        build(tiny_bert_folder, TEXTS, reinit_top=9)


@pytest.mark.parametrize("name", ["xlm-roberta", "camembert", "albert"])
@pytest.mark.parametrize("auto_class", [TEXTS, AutoModelForTokenClassification])
def test_a_base_checkpoint_is_taken_by_models_that_define_their_head_first(name, auto_class, tmp_path):
    sizes = {"hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 16, "embedding_size": 8}
    base = AutoModel.from_config(CONFIG_MAPPING[name](vocab_size=40, num_hidden_layers=2, **sizes))
    base.save_pretrained(tmp_path)
    a, b = (build(tmp_path, auto_class, seed=seed) for seed in (1, 2))
    assert same(base, a.base_model, "encoder")
    assert same(a, b, a.base_model_prefix)
    assert not same(a, b, "classifier")


def test_a_head_of_other_labels_is_replaced_even_when_its_size_fits(tmp_path):
    config = BertConfig(
        vocab_size=50, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        id2label={0: "x", 1: "y", 2: "z"},
    )  # fmt: skip
    original = BertForSequenceClassification(config)
    original.save_pretrained(tmp_path)
    assert same(original, build(tmp_path, TEXTS, ("x", "y", "z")), "classifier.weight")
    assert not same(original, build(tmp_path, TEXTS, ("a", "b", "c")), "classifier.weight")
    assert same(original, build(tmp_path, TEXTS, ("a", "b", "c")), "pooler")
    base = open_base_model(RunConfig(base_model=str(tmp_path)))
    assert "replaced by a new one for 2 labels" in head_note(base, ("a", "b"))
    assert "kept" in head_note(base, ("x", "y", "z"))
    base.config.architectures = ["BertForMaskedLM"]  # whose configuration says two labels too
    assert head_note(base, ("a", "b")) is None


def test_a_new_head_of_two_labels_costs_no_second_model(tiny_bert_folder, monkeypatch):
    """Two token types beside two labels: only the head's own sizes tell whether its output is new."""
    monkeypatch.setattr(TEXTS, "from_config", lambda *_, **__: pytest.fail("a second model was made"))
    one, other = (build(tiny_bert_folder, TEXTS, ("a", "b"), seed) for seed in (1, 2))
    assert one.config.type_vocab_size == 2
    assert not same(one, other, "classifier")


@pytest.mark.parametrize("args", [{}, {"num_classes": 1000}])
def test_a_timm_folder_loads_and_saves_for_timm_and_transformers(tmp_path, args):
    original = timm.create_model("test_resnet")
    config = {"architecture": "test_resnet", "num_classes": 1000, "pretrained_cfg": original.pretrained_cfg}
    (tmp_path / "config.json").write_text(json.dumps(config | {"model_args": args}))
    save_file(original.state_dict(), tmp_path / "model.safetensors")
    model = build(tmp_path, PICTURES)
    save_model(model, tmp_path / "saved")
    pixels = torch.randn(2, 3, 64, 64)
    again = AutoModelForImageClassification.from_pretrained(tmp_path / "saved").eval()
    plain = timm.create_model(f"local-dir:{tmp_path / 'saved'}", pretrained=True).eval()
    with torch.no_grad():
        expected = model.eval()(pixels).logits
        assert torch.equal(again(pixels).logits, expected)
        assert torch.equal(plain(pixels), expected)
    assert again.config.id2label == {0: "a", 1: "b", 2: "c"}


def test_a_timm_architecture_takes_weights_from_a_file(tmp_path):
    original = timm.create_model("test_resnet")
    save_file(original.state_dict(), tmp_path / "w.safetensors")
    model = build(f"timm:test_resnet@{tmp_path / 'w.safetensors'}", PICTURES)
    assert same(model.timm_model, original, "layer")


def test_weights_under_the_wrapper_s_names_are_saved_under_timm_s(tmp_path):
    model = build("builtin:digits-resnet", PICTURES)
    save_model(model, tmp_path)
    plain = timm.create_model(f"local-dir:{tmp_path}", pretrained=True)
    again = AutoModelForImageClassification.from_pretrained(tmp_path)
    for other in (plain, again.timm_model):
        assert same(model.timm_model, other, "")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "No base_model is given.*builtin:tiny-bert"),
        ("builtin:nothing", "no built-in model 'nothing'.*builtin:digits-resnet"),
        ("./nowhere", "no such folder .*nowhere"),
        ("timm:resnet1000000", "timm has no architecture 'resnet1000000'"),
        ("timm:test_resnet@none.safetensors", "none.safetensors does not exist. Give a"),
        (
            "google-bert/bert-base-uncased",
            "neither a local folder nor reachable on the Hub.*builtin:tiny-bert",
        ),
    ],
)
def test_a_model_that_is_not_there_says_what_to_give(name, message):
    with pytest.raises(ModelError, match=message):
        open_base_model(RunConfig(base_model=name))


def test_a_folder_without_configuration_is_refused(tmp_path):
    with pytest.raises(ModelError, match=r"holds no config\.json"):
        open_base_model(RunConfig(base_model=str(tmp_path)))


def test_a_model_of_another_task_is_refused(tiny_bert_folder):
    with pytest.raises(
        ModelError, match=r"is a model of texts \(bert\), and this task needs one of pictures"
    ):
        build(tiny_bert_folder, PICTURES)
    with pytest.raises(
        ModelError, match=r"is a model of pictures \(timm_wrapper\), and this task needs one of"
    ):
        build("builtin:digits-resnet", AutoModelForTokenClassification)


def test_weights_missing_below_the_head_are_refused(tiny_bert_folder, tmp_path):
    from safetensors.torch import load_file

    weights = load_file(tiny_bert_folder / "model.safetensors")
    save_file(
        {k: v for k, v in weights.items() if "layer.1." not in k},
        tmp_path / "model.safetensors",
        {"format": "pt"},
    )
    (tmp_path / "config.json").write_text((tiny_bert_folder / "config.json").read_text())
    with pytest.raises(ModelError, match="lacks 16 weights below the head"):
        build(tmp_path, TEXTS)


def test_layers_of_a_model_cost_no_weights():
    assert all(p.is_meta for p in bare_model(RunConfig(base_model="builtin:tiny-bert")).parameters())


def test_dropout_that_lets_nothing_through_is_told():
    usual = torch.nn.Sequential(torch.nn.Dropout(0.5), torch.nn.Linear(2, 2))
    assert dropout_note(usual) is None
    assert "dropout of 0.999" in dropout_note(torch.nn.Sequential(usual, torch.nn.Dropout(0.999)))


@pytest.mark.parametrize(("written", "dropped"), [(0.999, 0.001), (0.8, 0.2), (0.1, 0.1)])
def test_a_dropout_that_holds_what_is_kept_is_read_so(tmp_path, written, dropped):
    config = MobileNetV1Config(image_size=32, depth_multiplier=0.25, classifier_dropout_prob=written)
    MobileNetV1ForImageClassification(config).save_pretrained(tmp_path)
    model = build(tmp_path, PICTURES)
    assert model.dropout.p == model.config.classifier_dropout_prob == pytest.approx(dropped)
    note = kept_share_note(open_base_model(RunConfig(base_model=str(tmp_path))))
    assert (note is None) == (written == dropped)

"""Where the head of a classifier of transformers is, as what changes with the number of labels shows."""

import pytest
import torch
import transformers as hf
from transformers.models.auto import modeling_auto as auto

from hf_transfer.errors import LayerSelectionError
from hf_transfer.layers import freeze, layer_groups

TASKS = {
    "sequence": auto.MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING,
    "token": auto.MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING,
    "image": auto.MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING,
    "audio": auto.MODEL_FOR_AUDIO_CLASSIFICATION_MAPPING,
}
# Each way in which families differ: where head, pooler and last norm are defined, and how blocks are found.
SOME = {
    "sequence": [
        "albert", "bert", "camembert", "deberta-v2", "distilbert", "electra", "funnel", "gpt2", "gte",
        "jina_embeddings_v3", "modernbert", "mpnet", "nomic_bert", "opt", "qwen3", "qwen3_5", "roberta",
        "t5", "xlm-roberta", "xlm-roberta-xl", "xlnet",
    ],
    "token": ["albert", "bert", "camembert", "jina_embeddings_v3", "qwen3_5", "roberta", "xlm-roberta"],
    "image": [
        "clip", "convnext", "cvt", "dinov2", "efficientnet", "levit", "mobilenet_v1", "mobilenet_v2",
        "mobilevit", "poolformer", "resnet", "segformer", "siglip", "swin", "vit",
    ],
    "audio": ["audio-spectrogram-transformer", "hubert", "wav2vec2", "wavlm"],
}  # fmt: skip
SIZES = ("num_hidden_layers", "num_layers", "n_layer", "n_layers", "encoder_layers", "decoder_layers")
# What a configuration without values raises that is for no model by itself, or needs another library.
UNBUILDABLE = (ImportError, KeyError, TypeError, ValueError, AttributeError)


def some(chosen):
    return [(task, name) for task, names in chosen.items() for name in names if name in hf.CONFIG_MAPPING]


def every():
    return {task: mapping._model_mapping for task, mapping in TASKS.items()}


def small(config, num_layers=4):
    """Fewer layers; the widths cost nothing, as nothing is allocated."""
    for name, value in vars(config).items():
        if name in SIZES and isinstance(value, int):
            setattr(config, name, min(value, num_layers))
        elif isinstance(value, hf.PreTrainedConfig):
            small(value)
    return config


def built(task, name, num_labels):
    config = hf.CONFIG_MAPPING[name](num_labels=num_labels)
    kind = TASKS[task][type(config)]
    with torch.device("meta"):
        return (kind[0] if isinstance(kind, tuple) else kind)(small(config))


def check(task, name):
    model, wider = (built(task, name, num_labels) for num_labels in (3, 5))
    shapes = {tensor: p.shape for tensor, p in wider.named_parameters()}
    output = {tensor for tensor, p in model.named_parameters() if p.shape != shapes[tensor]}
    groups = layer_groups(model)
    head = set(groups[-1].parameters)
    assert groups[-1].name == "head"
    assert output
    assert output <= head
    assert sorted(p for g in groups for p in g.parameters) == sorted(n for n, _ in model.named_parameters())
    assert sorted(b for g in groups for b in g.buffers) == sorted(n for n, _ in model.named_buffers())
    assert len(head) < len(list(model.parameters()))
    if type(model.config) not in auto.MODEL_MAPPING:
        return  # no base checkpoints
    model.config.architectures = [type(model.base_model).__name__]  # which Funnel has two of
    with torch.device("meta"):
        base = set(hf.AutoModel.from_config(model.config).state_dict())
    lacking = {name for name in model.state_dict() if not {name, name.partition(".")[2]} & base}
    assert lacking <= head | set(groups[-1].buffers)


@pytest.mark.parametrize(("task", "name"), some(SOME))
def test_the_head_is_what_a_base_checkpoint_lacks_and_it_holds_the_output(task, name):
    check(task, name)


OTHERS = {
    "perceiver": "its base model takes what was embedded already",
    "whisper": "its encoder has another name than in its base model",
    "shieldgemma2": "it answers yes or no, whatever the labels",
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("task", "name"),
    some({task: [name for name in names if name not in OTHERS] for task, names in every().items()}),
)
def test_the_head_of_every_family_that_can_be_built(task, name):
    try:
        built(task, name, 3)
    except UNBUILDABLE as error:
        pytest.skip(f"not built from its configuration alone: {error}")
    check(task, name)


@pytest.mark.parametrize("name", ["camembert", "jina_embeddings_v3", "xlm-roberta"])
def test_a_head_that_is_defined_first_learns_with_the_last_block(name):
    model = built("sequence", name, 3)
    groups = [group.name for group in layer_groups(model)]
    assert groups == ["stem", "block.0", "block.1", "block.2", "block.3", "head"]
    assert set(layer_groups(model)[-1].parameters) == {
        n for n, _ in model.named_parameters() if "classifier" in n
    }
    learns = freeze(model, "last:1").trainable
    assert {n for n, _ in model.named_parameters() if n.startswith("classifier.") or ".3." in n} == learns


@pytest.mark.parametrize(
    ("name", "neck"),
    [("mobilenet_v2", "conv_1x1."), ("efficientnet", "encoder.top_conv"), ("mobilevit", "conv_1x1_exp.")],
)
def test_pretrained_convolutions_above_the_last_block_are_a_block_and_not_the_head(name, neck):
    model = built("image", name, 3)
    *_, below, last, head = layer_groups(model)
    assert any(neck in parameter for parameter in last.parameters)
    assert not any(neck in parameter for parameter in below.parameters)
    assert set(head.parameters) == {"classifier.weight", "classifier.bias"}


@pytest.mark.parametrize("name", ["siglip", "siglip2"])
def test_a_pooling_that_the_classifier_passes_by_is_no_block(name):
    *_, last, head = layer_groups(built("image", name, 3))
    assert last.name == "block.3"
    assert any(".layers.3." in parameter for parameter in last.parameters)
    assert set(head.parameters) == {"classifier.weight", "classifier.bias"}


def test_layers_that_share_their_weights_are_no_blocks():
    model = built("sequence", "albert", 3)
    words = "'last:1' asks for blocks, and none of this model's can learn without the others.*albert.encoder"
    with pytest.raises(LayerSelectionError, match=words):
        freeze(model, "last:1")
    assert {name.split(".")[0] for name in freeze(model, "last:0").trainable} == {"albert", "classifier"}
    assert all("pooler" in name or "classifier" in name for name in freeze(model, "head").trainable)

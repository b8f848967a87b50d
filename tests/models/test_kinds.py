"""A base model of another kind than a task needs is told of in two short sentences."""

from pathlib import Path

import pytest
from transformers import (
    AutoFeatureExtractor,
    AutoImageProcessor,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertConfig,
    ResNetConfig,
    ViTConfig,
    Wav2Vec2Config,
)

from hf_transfer.config.run_config import RunConfig
from hf_transfer.errors import ModelError
from hf_transfer.models.base_model import open_base_model
from hf_transfer.models.building import build_model
from hf_transfer.models.kinds import wrong_kind

CONFIGS = {
    "texts": (BertConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8),),
    "pictures": (ViTConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=1), ResNetConfig()),
    "sounds": (Wav2Vec2Config(hidden_size=8, num_hidden_layers=1, num_attention_heads=1),),
}
LOADERS = {"texts": AutoTokenizer, "pictures": AutoImageProcessor, "sounds": AutoFeatureExtractor}
CASES = [
    pytest.param(config, reads, needed, id=f"{config.model_type} for {needed}")
    for reads, configs in CONFIGS.items()
    for config in configs
    for needed in LOADERS
]


@pytest.mark.parametrize(("config", "reads", "needed"), CASES)
def test_it_is_said_what_a_model_reads_and_what_is_needed(config, reads, needed, tmp_path: Path):
    config.save_pretrained(tmp_path)
    base = open_base_model(RunConfig(base_model=str(tmp_path)))
    words = rf"is a model of {reads} \({config.model_type}\), and this task needs one of {needed}\. Take one"
    own = "has no usable" if reads == needed else words  # no file but the configuration is there
    if reads == needed == "texts":
        return  # a BERT of no vocabulary opens
    with pytest.raises(ModelError, match=own) as raised:
        base.load(LOADERS[needed])
    assert reads == needed or len(str(raised.value)) < 250 + len(str(tmp_path))


def test_a_model_with_a_tokenizer_of_its_own_is_refused_when_it_is_built(tmp_path: Path):
    CONFIGS["sounds"][0].save_pretrained(tmp_path)
    settings = RunConfig(base_model=str(tmp_path))
    with pytest.raises(ModelError, match=r"is a model of sounds .* needs one of texts"):
        build_model(open_base_model(settings), AutoModelForSequenceClassification, ("a", "b"), settings)


def test_what_is_not_known_is_left_to_the_library():
    assert wrong_kind("me/x", BertConfig(), type("AutoThing", (), {})) is None

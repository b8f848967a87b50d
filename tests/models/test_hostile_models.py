"""Model folders that somebody wrote who wants another model loaded, or the kit to stop with a traceback."""

import json
import os
import shutil
from pathlib import Path

import pytest

import hf_transfer
from hf_transfer import RunConfig
from hf_transfer.errors import ModelError
from hf_transfer.models.base_model import open_base_model
from hf_transfer.models.building import bare_model, build_model

TINY = Path(hf_transfer.__file__).parent / "data" / "builtin" / "tiny-bert"


@pytest.fixture
def folder(tmp_path):
    return Path(shutil.copytree(TINY, tmp_path / "model"))


def change(folder, **values):
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


@pytest.mark.parametrize(
    "values",
    [
        {"dtype": "float17"}, {"dtype": [1]}, {"dtype": 3}, {"dtype": {"a": 1}},
        {"pad_token_id": 10**9}, {"pad_token_id": 10**300}, {"pad_token_id": "x"}, {"pad_token_id": [1]},
        {"hidden_size": 0}, {"hidden_size": -1}, {"hidden_size": 10**12}, {"hidden_size": "x"},
        {"vocab_size": 0}, {"vocab_size": -1}, {"num_hidden_layers": 10**9}, {"num_attention_heads": 0},
        {"hidden_act": "nosuch"}, {"id2label": "x"},
    ],
    ids=str,
)  # fmt: skip
def test_a_senseless_configuration_ends_in_one_line(folder, values):
    change(folder, **values)
    with pytest.raises(ModelError, match="base_model=") as caught:
        bare_model(RunConfig(base_model=str(folder)))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("file", ["config.json", "tokenizer_config.json"])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[" * 10**5, "nested too deep"),
        ('{"a": ' + "9" * 5000 + "}", "a number is too long"),
        ('{"model_type": "bert", "model_type": "gpt2"}', "it has 'model_type' twice"),
        ("{", "Expecting property name"),
    ],
    ids=["deep", "long", "twice", "cut"],
)
def test_a_file_that_is_no_plain_json_is_named(folder, file, content, message):
    (folder / file).write_text(content)
    with pytest.raises(ModelError, match=f"{file} cannot be used: .*{message}"):
        open_base_model(RunConfig(base_model=str(folder)))


@pytest.mark.parametrize("file", ["config.json", "tokenizer.json", "model.safetensors"])
def test_a_pipe_in_a_model_is_not_waited_for(folder, file):
    (folder / file).unlink(missing_ok=True)
    os.mkfifo(folder / file)
    with pytest.raises(ModelError, match=f"{file} is a pipe, not a file"):
        open_base_model(RunConfig(base_model=str(folder)))


@pytest.mark.parametrize("stray", [None, "weights.pt", "tf_model.h5", "model.safetensors.index.json"])
def test_a_folder_without_weights_is_no_start_unless_that_is_asked_for(folder, stray):
    from transformers import AutoModelForSequenceClassification

    if stray:
        (folder / stray).write_text("{}")
    settings = RunConfig(base_model=str(folder))
    make = AutoModelForSequenceClassification
    with pytest.raises(
        ModelError, match=r"no weights: .* \*\.safetensors or pytorch_model\*\.bin.*from_scratch"
    ):
        build_model(open_base_model(settings), make, ("a", "b"), settings)
    settings = settings.changed({"from_scratch": True})
    build_model(open_base_model(settings), make, ("a", "b"), settings)


def test_adapters_that_lie_beside_a_model_are_refused(folder):
    adapters = {"base_model_name_or_path": "/elsewhere", "peft_type": "LORA"}
    (folder / "adapter_config.json").write_text(json.dumps(adapters))
    with pytest.raises(ModelError, match=r"holds adapter_config.json, by which .* another model.*Merge"):
        open_base_model(RunConfig(base_model=str(folder)))


def test_a_padding_token_below_0_is_refused(folder):
    change(folder, pad_token_id=-1)
    with pytest.raises(ModelError, match=r"pad_token_id is -1, and no token .* Set it to the tokenizer's"):
        open_base_model(RunConfig(base_model=str(folder)))

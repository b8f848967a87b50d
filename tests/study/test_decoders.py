"""Qwen, Llama and SmolLM as classifiers, with tokenizers that have no padding: to what plain code loads."""

import json

import numpy as np
import pytest
import torch
import transformers as hf
from datasets import Dataset
from safetensors import safe_open
from scipy.special import expit, softmax
from small_runs import plain_config
from target_rows import WORDS, texts
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from hf_transfer import SequenceClassification, cross_validate
from hf_transfer.data.rows import label_rows
from hf_transfer.runs.results import read_results
from hf_transfer.study.final.export import export_onnx
from hf_transfer.study.final.predict import predict_inputs
from hf_transfer.verify.verify_run import verify_run

SMALL = {
    "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1,
    "intermediate_size": 32, "max_position_embeddings": 24, "pad_token_id": None,
}  # fmt: skip
MODELS = {
    "qwen2": lambda **sizes: hf.Qwen2ForCausalLM(hf.Qwen2Config(**sizes)),
    "llama": lambda **sizes: hf.LlamaForCausalLM(hf.LlamaConfig(**sizes)),
    "smollm": lambda **sizes: hf.LlamaForCausalLM(hf.LlamaConfig(tie_word_embeddings=True, **sizes)),
}
END = "<|endoftext|>"
CASES = [
    pytest.param(("qwen2", "classes", "head"), marks=pytest.mark.slow, id="qwen2-classes-head"),
    ("qwen2", "numbers", "head+lora"),
    pytest.param(
        ("llama", "label_sets", "head+lora"), marks=pytest.mark.slow, id="llama-label_sets-head+lora"
    ),
    ("smollm", "classes", "head+lora"),
]


def decoder(name, folder):
    """Write a decoder with random weights, and a tokenizer that has an end of text and no padding."""
    pieces = Tokenizer(models.BPE())
    pieces.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=[END], initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    pieces.train_from_iterator([" ".join(WORDS)], trainer)
    tokenizer = hf.PreTrainedTokenizerFast(tokenizer_object=pieces, eos_token=END, model_max_length=24)
    torch.manual_seed(0)
    MODELS[name](vocab_size=len(tokenizer), initializer_range=0.3, **SMALL).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def rows_of(target):
    rows = texts("numbers" if target == "numbers" else "label_sets")
    rows["text"] = [" ".join(text.split()[: 1 + place % 5]) for place, text in enumerate(rows["text"])]
    if target == "classes":
        rows["label"] = ["good" if "good" in text else "other" for text in rows["text"]]
    return Dataset.from_dict(rows)


@pytest.fixture(scope="module", params=CASES, ids="-".join)
def run(request, tmp_path_factory):
    name, target, trainable = request.param
    if "lora" in trainable:
        pytest.importorskip("peft")
    folder = tmp_path_factory.mktemp(name)
    config = plain_config(
        base_model=decoder(name, folder / "base"), num_folds=2, num_epochs=2, trainable=trainable,
        learning_rate=1e-2, output_dir=str(folder / "r"),
    )  # fmt: skip
    data = label_rows(rows_of(target), config, "text")
    assert data.target.name == target
    cross_validate(SequenceClassification(config, data.target), data, config)
    return folder / "r", data, trainable


def plain_logits(folder, inputs, *, together):
    """What plain transformers makes of some texts, in one padded batch or one by one."""
    tokenizer = hf.AutoTokenizer.from_pretrained(folder / "model")
    model = hf.AutoModelForSequenceClassification.from_pretrained(folder / "model").eval()
    batches = [list(inputs)] if together else [[text] for text in inputs]
    with torch.no_grad():
        found = [model(**tokenizer(some, padding=True, return_tensors="pt")).logits for some in batches]
    return torch.cat(found).numpy()


def test_plain_code_gives_the_answers_of_the_kit_alone_and_in_a_batch(run):
    folder, data, _ = run
    inputs = data.rows["input"][:8]
    answers, _ = predict_inputs(folder, inputs, all_probabilities=not data.target.scales)
    if data.target.name == "numbers":
        own = np.array([[answer["number"]] for answer in answers])
    else:
        own = np.array([[answer["probabilities"][name] for name in data.label_names] for answer in answers])
    turned = {
        "classes": lambda logits: softmax(logits, 1),
        "label_sets": expit,
        "numbers": lambda logits: logits,
    }
    alone, together = (plain_logits(folder, inputs, together=how) for how in (False, True))
    assert np.abs(alone - together).max() <= 1e-5 * max(1, np.abs(alone).max())
    plain = turned[data.target.name](together)
    assert np.abs(plain - own).max() <= 1e-6 * max(1, np.abs(own).max())


def test_published_are_plain_weights_without_adapters(run):
    folder, data, _ = run
    assert not list(folder.glob("model/adapter*"))
    with safe_open(folder / "model/model.safetensors", "pt") as weights:
        names = set(weights.keys())
    assert "score.weight" in names
    assert not [name for name in names if "lora" in name or "base_layer" in name]
    config = json.loads((folder / "model/config.json").read_text())
    assert config["pad_token_id"] == hf.AutoTokenizer.from_pretrained(folder / "model").pad_token_id
    assert list(config["id2label"].values()) == list(data.label_names)


def test_its_export_answers_as_plain_code_does(run):
    runtime = pytest.importorskip("onnxruntime")
    folder, data, _ = run
    inputs = data.rows["input"][:5]
    session = runtime.InferenceSession(export_onnx(folder))
    tokens = hf.AutoTokenizer.from_pretrained(folder / "onnx")(inputs, padding=True, return_tensors="np")
    names = {one.name for one in session.get_inputs()}
    (found,) = session.run(["logits"], {name: value for name, value in tokens.items() if name in names})
    wanted = plain_logits(folder, inputs, together=True)
    assert np.abs(found - wanted).max() <= 1e-4 * max(1, np.abs(wanted).max())


def test_frozen_layers_are_replayed_and_all_is_verified(run):
    folder, _, trainable = run
    results = read_results(folder)
    assert [check for check in verify_run(folder) if check.state == "wrong"] == []
    assert results.frozen_proof.equal
    assert results.final.reload.problem is None
    assert bool(results.replay) == (trainable == "head")
    assert results.trainable.parameters < results.trainable.total / 2

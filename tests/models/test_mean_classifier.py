import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from small_runs import SOLVED
from transformers import AutoModelForSequenceClassification, AutoTokenizer, ModernBertConfig, T5Config

from hf_transfer import RunConfig, SequenceClassification, cross_validate, open_dataset, write_card
from hf_transfer.cli.main import main
from hf_transfer.errors import ModelError
from hf_transfer.layers import layer_groups
from hf_transfer.models.base_model import content_digest, open_base_model
from hf_transfer.models.building import text_classifier
from hf_transfer.models.mean_classifier import MeanClassifier, mean_of_tokens
from hf_transfer.study.final.model_folder import save_trained
from hf_transfer.study.final.predict import predict_inputs
from hf_transfer.verify.verify_run import verify_run

LABELS = ("bad", "good", "neither")
TEXTS = ["A wonderful little radio.", "It broke.", "It broke, and nobody answered for weeks and weeks."]
PLAIN = AutoModelForSequenceClassification


def task_of(folder, labels=LABELS, **settings):
    return SequenceClassification(RunConfig(base_model=str(folder), **settings), labels)


def built(folder, labels=LABELS, seed=0, **settings):
    torch.manual_seed(seed)
    return task_of(folder, labels, **settings).build_model()


def logits_of(model, folder, texts=TEXTS):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    with torch.no_grad():
        return model.eval()(**tokenizer(texts, padding=True, return_tensors="pt")).logits


def same(a, b, where=""):
    a, b = a.state_dict(), b.state_dict()
    return all(torch.equal(a[name], b[name]) for name in a if where in name)


def with_pooling(encoder, folder, pooling):
    """A copy of an encoder that says to have been made for another pooling; None says nothing."""
    shutil.copytree(encoder, folder)
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode": pooling}))
    if pooling is None:
        (folder / "modules.json").unlink()
    return folder


@pytest.mark.parametrize(
    ("declared", "asked", "by_mean"),
    [
        ("mean", "auto", True), ("mean", "first", False), ("mean", "mean", True),
        ("cls", "auto", False), ("cls", "mean", True), ("max", "auto", False),
        (None, "auto", False), (None, "first", False), (None, "mean", True),
    ],
)  # fmt: skip
def test_auto_takes_the_pooling_that_the_checkpoint_was_made_for(
    sentence_encoder, tmp_path, declared, asked, by_mean
):
    folder = with_pooling(sentence_encoder, tmp_path / "encoder", declared)
    task = task_of(folder, pooling=asked)
    assert isinstance(task.build_model(), MeanClassifier) == by_mean
    assert task.library == ("sentence-transformers" if by_mean else "transformers")
    assert bool(task.notes) == by_mean


def test_the_note_says_how_it_loads_and_what_the_other_way_is(sentence_encoder):
    (note,) = task_of(sentence_encoder).notes
    assert note == (
        "Texts are pooled by their mean, as the checkpoint was made for; the published model loads with "
        "sentence-transformers; --pooling first gives a plain pipeline model, at a cost."
    )
    (note,) = task_of(sentence_encoder, pooling="mean").notes
    assert note.startswith("Texts are pooled by their mean, as pooling=mean asks for;")
    assert "cost" not in note


def test_padding_and_other_texts_change_nothing(sentence_encoder):
    model = built(sentence_encoder)
    alone = torch.cat([logits_of(model, sentence_encoder, [text]) for text in TEXTS])
    assert torch.allclose(logits_of(model, sentence_encoder), alone, atol=1e-6)


def test_the_mean_is_that_of_the_tokens():
    tokens = torch.randn(2, 5, 3)
    assert torch.allclose(mean_of_tokens(tokens, None), tokens.mean(dim=1))
    mask = torch.tensor([[1, 1, 0, 0, 0], [0, 0, 0, 0, 0]])
    found = mean_of_tokens(tokens, mask)
    assert torch.allclose(found[0], tokens[0, :2].mean(dim=0))
    assert found[1].tolist() == [0, 0, 0]


def test_layers_have_the_names_that_transformers_gives_them(sentence_encoder):
    ours, theirs = built(sentence_encoder), built(sentence_encoder, pooling="first")
    for mine, other in zip(layer_groups(ours)[:-1], layer_groups(theirs)[:-1], strict=True):
        assert (mine.name, mine.parameters) == (other.name, other.parameters)
    assert layer_groups(ours)[-1].parameters == ("output.weight", "output.bias")
    assert same(ours.encoder.encoder, theirs.bert.encoder)


def test_only_the_head_depends_on_the_seed(sentence_encoder):
    a, b, c = (built(sentence_encoder, seed=seed) for seed in (1, 1, 2))
    assert same(a, b)
    assert same(a, c, "encoder")
    assert not same(a, c, "output.weight")


def test_the_control_arms_keep_the_architecture(sentence_encoder):
    model = built(sentence_encoder)
    scratch, top = built(sentence_encoder, from_scratch=True), built(sentence_encoder, reinit_top=1)
    for arm in (scratch, top):
        assert [(n, p.shape) for n, p in arm.named_parameters()] == [
            (n, p.shape) for n, p in model.named_parameters()
        ]
    assert not same(model, scratch, "layer.0.attention.self.query.weight")
    assert same(model, top, "layer.2.")
    assert not same(model, top, "layer.3.attention.self.query.weight")


@pytest.fixture
def saved(sentence_encoder, tmp_path):
    task = task_of(sentence_encoder)
    model = task.build_model()
    save_trained(task, model, tmp_path / "model")
    return model, tmp_path / "model"


def test_what_is_saved_is_the_same_model_for_the_same_labels(saved):
    model, folder = saved
    again = built(folder, seed=9)
    assert same(model, again)
    assert torch.equal(logits_of(again, folder), logits_of(model, folder))
    assert "kept" in task_of(folder).notes[1]


@pytest.mark.parametrize("labels", [("x", "y", "z"), ("bad", "good")])
def test_a_head_for_other_labels_is_new(saved, labels):
    model, folder = saved
    again = built(folder, labels, seed=9)
    assert same(model, again, "encoder")
    assert not torch.equal(model.output.weight[:2], again.output.weight[:2])
    assert "replaced by a new one" in task_of(folder, labels).notes[1]


def test_the_pooler_that_it_does_without_is_saved_with_it(saved, sentence_encoder):
    _, folder = saved
    here, there = (load_file(place / "model.safetensors") for place in (sentence_encoder, folder))
    assert here.keys() == there.keys()
    assert torch.equal(here["pooler.dense.weight"], there["pooler.dense.weight"])


def test_sentence_transformers_gives_the_same_logits(saved):
    library = pytest.importorskip("sentence_transformers")
    model, folder = saved
    found = library.SentenceTransformer(str(folder), device="cpu").encode(TEXTS)
    assert np.allclose(found, logits_of(model, folder).numpy(), atol=1e-5)


def test_the_digest_of_a_folder_sees_its_last_layer(saved):
    model, folder = saved
    before = content_digest(folder)
    torch.nn.init.zeros_(model.output.weight)
    model.save_pretrained(folder)
    assert content_digest(folder) != before


@pytest.mark.parametrize(("declared", "asked", "pooling"), [
    ("mean", "auto", "mean"), ("cls", "auto", "cls"), (None, "auto", "mean"), ("mean", "first", "cls"),
    (None, "mean", "mean"),
])  # fmt: skip
def test_where_transformers_has_a_word_for_it_the_model_stays_plain(tmp_path, declared, asked, pooling):
    size = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2}
    ModernBertConfig(vocab_size=20, pad_token_id=0, classifier_pooling="mean", **size).save_pretrained(
        tmp_path
    )
    if declared:
        kinds = [("Transformer", ""), ("Pooling", "1_Pooling")]
        (tmp_path / "modules.json").write_text(
            json.dumps([{"type": kind, "path": path} for kind, path in kinds])
        )
        (tmp_path / "1_Pooling").mkdir()
        (tmp_path / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode": declared}))
    task = task_of(tmp_path, pooling=asked, from_scratch=True)
    model = task.build_model()
    assert (type(model).__name__, task.library) == ("ModernBertForSequenceClassification", "transformers")
    assert model.config.classifier_pooling == pooling
    why = {"auto": "the checkpoint was made for", "mean": "pooling=mean asks for"}.get(asked)
    told = pooling == "mean" and (declared or asked == "mean")
    assert list(task.notes) == [f"Texts are pooled by their mean, as {why}."] * bool(told)


def test_the_mean_of_a_model_with_a_decoder_is_refused(tmp_path):
    T5Config(vocab_size=20, d_model=8, num_layers=1).save_pretrained(tmp_path)
    base = open_base_model(RunConfig(base_model=str(tmp_path)))
    with pytest.raises(ModelError, match=r"takes an encoder alone, .*Use --pooling first"):
        text_classifier(base, RunConfig(pooling="mean"))
    assert text_classifier(base, RunConfig()) == (PLAIN, {})


def test_damaged_modules_say_what_to_do(sentence_encoder, tmp_path):
    folder = with_pooling(sentence_encoder, tmp_path / "encoder", "mean")
    (folder / "modules.json").write_text("{")
    with pytest.raises(
        ModelError, match=r"does not say how its tokens are pooled: modules.json .*--pooling first"
    ):
        task_of(folder).build_model()
    assert type(task_of(folder, pooling="first").build_model()).__name__ == "BertForSequenceClassification"


@pytest.fixture
def config(reviews_config, sentence_encoder):
    small = {"max_rows": 40, "num_folds": 2, "max_length": 16}
    return replace(reviews_config, base_model=str(sentence_encoder), learning_rate=1e-2, **small)


def run(config):
    data = open_dataset(config, "text")
    return cross_validate(SequenceClassification(config, data.label_names), data, config)


@pytest.mark.parametrize(
    ("settings", "cut"),
    [
        ({"trainable": "head"}, "output"),
        pytest.param({"trainable": "head"} | SOLVED, "output", marks=pytest.mark.slow),
        pytest.param({"trainable": "last:1"}, "bert.encoder.layer.3.attention", marks=pytest.mark.slow),
        pytest.param({"trainable": "head+lora:2"}, "bert.encoder.layer.0.attention", marks=pytest.mark.slow),
    ],
)
def test_frozen_layers_are_replayed_to_the_same_scores(config, settings, cut):
    if "+lora" in settings["trainable"]:
        pytest.importorskip("peft")
    found = run(config.changed(settings))
    assert [replayed.cut for replayed in found.results.replay] == [cut]
    assert found.results.frozen_proof.equal
    whole = run(config.changed(settings | {"replay": False, "overwrite": True}))
    for metric, score in whole.scores.items():
        assert found.scores[metric].mean == pytest.approx(score.mean, abs=1e-3), metric


@pytest.mark.parametrize("final", ["refit", pytest.param("ensemble", marks=pytest.mark.slow)])
def test_a_run_is_published_verified_used_and_started_from(config, final, capsys):
    config = replace(config, trainable="head", final=final)
    result = run(config)
    assert result.results.library == "sentence-transformers"
    assert sum("pooled by their mean" in note for note in result.results.notes) == 1
    assert "the published model loads with sentence-transformers" in result.summary()
    card = write_card(config.output_dir).read_text()
    assert "library_name: sentence-transformers" in card
    assert "import SentenceTransformer" in card
    assert "import pipeline" not in card
    assert {check.state for check in verify_run(config.output_dir)} <= {"ok", "not checked"}
    folder = f"{config.output_dir}/model{'/fold-r0f0' if final == 'ensemble' else ''}"
    found, _ = predict_inputs(config.output_dir, TEXTS)
    labels = tuple(result.results.label_names)
    if final == "refit":
        plain = logits_of(built(folder, labels), folder).softmax(1)
        assert [one["probability"] for one in found] == pytest.approx(plain.amax(1).tolist(), abs=1e-5)
    assert main(["layers", folder, "--trainable", "head"]) == 0
    assert f"{32 * 2 + 2} of" in capsys.readouterr().out

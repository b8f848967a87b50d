"""Each head of the batched program is the head that the plain loop trains."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from datasets import Dataset
from small_runs import SOLVED, plain_config
from target_rows import texts

from hf_transfer import (
    ImageClassification,
    SequenceClassification,
    TokenClassification,
    cross_validate,
    open_dataset,
)
from hf_transfer.data.rows import label_rows
from hf_transfer.layers import layer_groups, trained_hash
from hf_transfer.layers.output import output_layer
from hf_transfer.replay.encoding import encode_rows
from hf_transfer.replay.replayed import Replay
from hf_transfer.training.fitting import fit
from hf_transfer.training.heads.fitting import fit_heads, heads_together
from hf_transfer.training.heads.optimizer import StackedOptimizer
from hf_transfer.training.heads.template import Rows
from hf_transfer.training.job import Job
from hf_transfer.training.workers import Workers, make_accelerator

# Sums in another order, and AdamW's division by a root: rounding, not another result.
NEAR = 2e-5

CONFIG = plain_config(
    num_epochs=3, batch_size=8, learning_rate=3e-2, trainable="head", max_rows=60, final="none"
)
TASKS = {"image": ImageClassification, "text": SequenceClassification, "tokens": TokenClassification}
# Unequal numbers of rows: the last batches differ in size, and one fold has a step less.
FOLDS = (Rows(1, np.arange(24)), Rows(2, np.arange(10, 50)), Rows(3, np.arange(20, 51)))


def prepared(kind: str, folder, **settings) -> Replay:
    sources = {
        "image": ("builtin:digits-resnet", "builtin:digits_5to9"),
        "text": (str(folder), "builtin:reviews"),
    }
    base, dataset = sources.get(kind, (str(folder), "builtin:mentions"))
    config = replace(
        CONFIG, base_model=base, dataset=dataset, max_length=None if kind == "image" else 24, **settings
    )
    data = open_dataset(config, kind)
    task = TASKS[kind](config, data.label_names)
    accelerator = make_accelerator(config)
    replay = Replay(task, encode_rows(task, data.rows, data.fingerprint, accelerator), config, accelerator)
    replay.prepare()
    return replay


def prepared_for(target: str, folder, **settings) -> Replay:
    """The same for texts with other labels."""
    config = replace(CONFIG, base_model=str(folder), max_length=24, **settings)
    data = label_rows(Dataset.from_dict(texts(target)), config, "text")
    task = SequenceClassification(config, data.target)
    accelerator = make_accelerator(config)
    replay = Replay(task, encode_rows(task, data.rows, data.fingerprint, accelerator), config, accelerator)
    replay.prepare()
    return replay


def learned(model) -> torch.Tensor:
    names = set(layer_groups(model)[-1].parameters)
    return torch.cat([p.detach().flatten() for name, p in model.named_parameters() if name in names])


def differences(replay: Replay, configs, folds=FOLDS, starts=None) -> list[float]:
    """The largest difference of a weight between the two ways, for every head; their starts go into a set."""
    found = []
    for c, f, batched in fit_heads(heads_together(replay, replay.config), configs, folds):
        if starts is not None:
            starts.add(batched.start_hash)
        weights, history, best = learned(batched.model), batched.history, batched.best_epoch
        workers = Workers(replay.accelerator, together=False)
        plain = fit(
            Job(replay.task, replay, configs[c], folds[f].seed, workers), folds[f].train, folds[f].inner
        )
        assert (best, len(history)) == (plain.best_epoch, len(plain.history))
        assert batched.hash_before == batched.hash_after == plain.hash_before
        for mine, other in zip(history, plain.history, strict=True):
            assert mine["train_loss"] == pytest.approx(other["train_loss"], abs=1e-4)
            assert mine["learning_rate"] == pytest.approx(other["learning_rate"])
        found.append(float((weights - learned(plain.model)).abs().max()))
    return found


@pytest.mark.parametrize("kind", [pytest.param("image", marks=pytest.mark.slow), "text"])
def test_heads_that_share_their_start_equal_the_plain_loop_too(kind, tiny_bert_folder):
    replay = prepared(kind, tiny_bert_folder, final="soup", sealed=0.1)
    starts: set[str | None] = set()
    assert max(differences(replay, [replay.config], starts=starts)) < NEAR
    assert len(starts) == 1
    assert None not in starts


GRID = ((3e-2, 0.0), (1e-3, 0.5))  # rates with a weight decay


@pytest.mark.parametrize(
    "kind", [*(pytest.param(kind, marks=pytest.mark.slow) for kind in ("image", "text")), "tokens"]
)
def test_heads_of_all_folds_and_settings_equal_the_plain_loop(kind, tiny_bert_folder):
    replay = prepared(kind, tiny_bert_folder)
    assert heads_together(replay, replay.config) is not None
    configs = [replace(replay.config, learning_rate=rate, weight_decay=decay) for rate, decay in GRID]
    found = differences(replay, configs)
    assert len(found) == len(FOLDS) * len(GRID)
    assert max(found) < NEAR


@pytest.mark.parametrize(
    "settings",
    [
        {"optimizer": "sgd", "weight_decay": 0.1},
        {"class_weights": "balanced", "label_smoothing": 0.2},
        {"scheduler": "cosine", "warmup": 0.5, "max_grad_norm": 0.01},
        {"batch_size": 7, "max_grad_norm": 0.0},
    ],
)
def test_every_setting_of_the_loop_counts(settings, tiny_bert_folder):
    replay = prepared("text", tiny_bert_folder, **settings)
    assert max(differences(replay, [replay.config], FOLDS[:2])) < NEAR


@pytest.mark.parametrize(
    ("target", "settings", "near"),
    [
        ("numbers", {}, 40 * NEAR),  # their weights are in the unit of the labels
        ("numbers", {"number_loss": "huber", "head_start": "random"}, 40 * NEAR),
        ("label_sets", {"class_weights": "balanced", "label_smoothing": 0.1}, NEAR),
    ],
)
def test_heads_of_other_labels_equal_the_plain_loop(target, settings, near, tiny_bert_folder):
    stops = {"early_stopping": True, "patience": 1}
    replay = prepared_for(target, tiny_bert_folder, **settings, **stops)
    folds = [Rows(seed, np.arange(seed, 40), np.arange(40, 60)) for seed in (1, 2)]
    found = differences(replay, [replay.config], folds)
    assert len(found) == 2
    assert max(found) < near


@pytest.mark.parametrize("target", ["numbers", "label_sets"])
def test_heads_of_other_labels_in_closed_form_are_those_of_the_plain_loop(target, tiny_bert_folder):
    solver = "ridge" if target == "numbers" else "lbfgs"
    replay = prepared_for(target, tiny_bert_folder, **SOLVED | {"head_solver": solver, "weight_decay": 0.01})
    for _, f, batched in fit_heads(heads_together(replay, replay.config), [replay.config], FOLDS):
        workers = Workers(replay.accelerator, together=False)
        plain = fit(Job(replay.task, replay, replay.config, FOLDS[f].seed, workers), FOLDS[f].train)
        assert torch.allclose(learned(batched.model), learned(plain.model), rtol=1e-4, atol=1e-4)


def test_each_head_stops_for_itself(tiny_bert_folder):
    settings = {"num_epochs": 15, "patience": 2, "early_stopping": True, "learning_rate": 0.3}
    replay = prepared("text", tiny_bert_folder, **settings)
    folds = [Rows(seed, np.arange(seed, 40), np.arange(40, 60)) for seed in (1, 2)]
    configs = [replace(replay.config, learning_rate=rate) for rate in (0.3, 1e-3)]
    lengths = {
        len(fitted.history) for *_, fitted in fit_heads(heads_together(replay, replay.config), configs, folds)
    }
    assert len(lengths) > 1
    assert min(lengths) < 15
    assert max(differences(replay, configs, folds)) < NEAR


def test_a_head_that_calls_functions_between_its_layers(tmp_path):
    from transformers import AutoTokenizer, RobertaConfig, RobertaModel

    import hf_transfer

    source = f"{hf_transfer.__path__[0]}/data/builtin/tiny-bert"
    tokenizer = AutoTokenizer.from_pretrained(source)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}
    RobertaModel(RobertaConfig(vocab_size=len(tokenizer), pad_token_id=0, **sizes)).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    replay = prepared("text", tmp_path)
    assert heads_together(replay, replay.config) is not None
    assert max(differences(replay, [replay.config])) < NEAR


@pytest.mark.parametrize(
    "settings", [{"trainable": "last:1"}, {"per_device_batch_size": 2}, {"replay": False}]
)
def test_what_is_not_only_a_head_is_not_batched(settings, tiny_bert_folder):
    replay = prepared("text", tiny_bert_folder, **settings)
    assert heads_together(replay, replay.config) is None


def test_a_frozen_part_with_new_weights_is_not_shared(tiny_bert_folder, tmp_path):
    from transformers import BertModel

    BertModel.from_pretrained(tiny_bert_folder, add_pooling_layer=False).save_pretrained(tmp_path)
    for file in tiny_bert_folder.glob("tok*"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    replay = prepared("text", tmp_path, trainable="classifier.*,-bert.pooler.*")
    assert heads_together(replay, replay.config) is None


def test_a_loss_that_is_not_finite_leaves_the_other_heads_alone(tiny_bert_folder):
    replay = prepared("text", tiny_bert_folder, optimizer="sgd", max_grad_norm=0.0)
    configs = [replace(replay.config, learning_rate=rate) for rate in (99.0, 1e-2)]
    configs[0] = replace(configs[0], weight_decay=1e30)
    done = [(c, f) for c, f, _ in fit_heads(heads_together(replay, replay.config), configs, FOLDS)]
    assert done == [(1, 0), (1, 1), (1, 2)]


def test_many_heads_are_trained_in_parts_with_the_same_result(tiny_bert_folder, monkeypatch):
    replay = prepared("text", tiny_bert_folder)
    configs, folds = [replace(replay.config, learning_rate=rate) for rate in (1e-2, 1e-3)], FOLDS[:2]
    whole = [learned(f.model) for *_, f in fit_heads(heads_together(replay, replay.config), configs, folds)]
    monkeypatch.setattr("hf_transfer.training.heads.fitting._BYTES_AT_ONCE", 1)
    parts = {
        (c, f): learned(fitted.model)
        for c, f, fitted in fit_heads(heads_together(replay, replay.config), configs, folds)
    }
    assert len(parts) == len(whole) == 4
    assert all(torch.allclose(parts[c, f], whole[c * 2 + f], atol=NEAR) for c, f in parts)


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("longest", [0.0, 1.0])
def test_the_optimizer_follows_pytorchs_however_gradients_lie(optimizer, turned, longest):
    configs = [
        plain_config(optimizer=optimizer, learning_rate=r, weight_decay=w, max_grad_norm=longest)
        for r, w in ((0.1, 0.0), (0.01, 0.3))
    ]
    start = torch.randn(1, 2, 4, 3)
    state = {"w": start.clone()}
    stacked = StackedOptimizer(state, {"w": True}, configs, [5])
    gradients = torch.randn(5, 1, 2, 4, 3)
    if turned:
        gradients = gradients.transpose(-1, -2).contiguous().transpose(-1, -2)
    for gradient in gradients.clone():
        stacked.step({"w": gradient}, torch.ones(1, 2, dtype=torch.bool), [1.0])
    for g, config in enumerate(configs):
        weight = start[0, g].clone().requires_grad_()
        kind = torch.optim.AdamW if optimizer == "adamw" else torch.optim.SGD
        options = {} if optimizer == "adamw" else {"momentum": 0.9}
        own = kind([weight], lr=config.learning_rate, weight_decay=config.weight_decay, **options)
        for gradient in gradients:
            weight.grad = gradient[0, g].clone()
            if longest:
                torch.nn.utils.clip_grad_norm_([weight], longest)
            own.step()
        assert torch.allclose(state["w"][0, g], weight.detach(), atol=1e-6)


PENALTIES = (1e-4, 1e-2)


@pytest.mark.parametrize(
    ("kind", "solver"),
    [
        ("image", "lbfgs"),
        ("text", "ridge"),
        ("tokens", "lbfgs"),
        pytest.param("image", "ridge", marks=pytest.mark.slow),
        pytest.param("text", "lbfgs", marks=pytest.mark.slow),
        pytest.param("tokens", "ridge", marks=pytest.mark.slow),
    ],
)
def test_a_head_solved_with_others_is_that_solved_alone(kind, solver, tiny_bert_folder):
    replay = prepared(kind, tiny_bert_folder, **SOLVED | {"head_solver": solver})
    configs = [replace(replay.config, weight_decay=penalty) for penalty in PENALTIES]
    workers, names = Workers(replay.accelerator, together=False), set()
    for c, f, solved in fit_heads(heads_together(replay, configs[0]), configs, FOLDS):
        together = output_layer(solved.model)[1].weight.clone()
        alone = fit(Job(replay.task, replay, configs[c], FOLDS[f].seed, workers), FOLDS[f].train)
        other = output_layer(alone.model)[1].weight
        assert torch.allclose(together, other, rtol=1e-5, atol=1e-5 * float(other.detach().abs().max()))
        assert solved.hash_before == solved.hash_after == alone.hash_before
        names.add(trained_hash(solved.model, solved.freezing))
    assert len(names) == len(PENALTIES) * len(FOLDS)


def test_what_is_lost_of_a_run_comes_back_the_same(tmp_path):
    config = replace(
        prepared("image", tmp_path).config,
        **SOLVED, weight_decays=PENALTIES, num_folds=2, output_dir=str(tmp_path / "run"),
    )  # fmt: skip
    data = open_dataset(config, "image")

    def run():
        return cross_validate(TASKS["image"](config, data.label_names), data, config)

    whole = run()
    lost = next((tmp_path / "run" / "folds").glob("*wd0.01/r0f1"))
    kept = pq.read_table(lost / "predictions.parquet")
    shutil.rmtree(lost)
    Path(tmp_path / "run" / "results.json").unlink()
    again = run()
    logits = (
        np.array(table["logits"].to_pylist()) for table in (kept, pq.read_table(lost / "predictions.parquet"))
    )
    assert np.array_equal(*logits)
    assert again.scores == whole.scores

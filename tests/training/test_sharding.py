"""A model shared out by FSDP2: in a group of one process here, and in two real ones in the slow tests."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.tensor import DTensor

import hf_transfer
from hf_transfer import RunConfig
from hf_transfer.errors import ConfigError
from hf_transfer.layers import freeze, parameter_groups
from hf_transfer.layers.freezing import frozen_hash, trained_hash
from hf_transfer.layers.shards import is_shard, local, read_shards, reshard, whole, write, write_shards
from hf_transfer.training.checkpoint import Checkpoints, State
from hf_transfer.training.scale import fold_scale
from hf_transfer.training.sharding import _block_classes, shard

ROOT = Path(hf_transfer.__file__).parents[1]
DYING = ROOT / "tests" / "support" / "dying_recipe.py"
ALONE = SimpleNamespace(num_processes=1, is_main_process=True, mixed_precision="no")


@pytest.fixture
def group():
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def bert(**settings):
    from transformers import BertConfig, BertForSequenceClassification

    torch.manual_seed(0)
    still = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    return BertForSequenceClassification(BertConfig(vocab_size=300, **sizes, **still, **settings))


@pytest.fixture
def sharded(group):
    model = bert()
    freezing = freeze(model, "last:1")
    accelerator = SimpleNamespace(**vars(ALONE), state=SimpleNamespace())
    shard(model, SimpleNamespace(sharded=True, accelerator=accelerator))
    return model, freezing


def inputs():
    return {"input_ids": torch.arange(12).view(3, 4), "attention_mask": torch.ones(3, 4, dtype=torch.long)}


def test_every_parameter_is_a_shard_and_every_block_is_gathered_by_itself(sharded):
    model, _ = sharded
    assert all(isinstance(p, DTensor) for p in model.parameters())
    kinds = {name: type(module).__name__ for name, module in model.named_modules()}
    assert {name for name, kind in kinds.items() if kind == "FSDPBertLayer"} == {
        "bert.encoder.layer.0",
        "bert.encoder.layer.1",
    }
    assert _block_classes(nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))) == []


def test_a_pass_before_training_leaves_nothing_gathered(sharded):
    """Of a model that was looked at first, the optimizer would train copies that nobody reads."""
    model, freezing = sharded
    before = frozen_hash(model, freezing), trained_hash(model, freezing)
    model.eval()
    with torch.no_grad():
        model(**inputs())
    assert not all(map(is_shard, model.parameters()))  # what FSDP2 does; else `reshard` is of no use
    reshard(model)
    assert all(map(is_shard, model.parameters()))
    groups = parameter_groups(model, learning_rate=1e-2)
    optimizer = torch.optim.AdamW(groups)
    model.train()
    model(**inputs()).logits.square().sum().backward()
    optimizer.step()
    assert frozen_hash(model, freezing) == before[0]
    assert trained_hash(model, freezing) != before[1]


def test_a_frozen_shard_that_moves_changes_the_hash(sharded):
    model, freezing = sharded
    before = frozen_hash(model, freezing)
    with torch.no_grad():
        local(model.bert.embeddings.word_embeddings.weight)[0, 0] += 1
    assert frozen_hash(model, freezing) != before


def test_whole_values_are_written_into_shards(sharded):
    layer = sharded[0].classifier
    value = torch.randn(layer.weight.shape)
    with torch.no_grad():
        write(layer.weight, value)
    assert torch.equal(whole(layer.weight), value)
    scale = torch.tensor([[1.0, 2.0], [3.0, 4.0]])  # mean and spread of two outputs
    bias = whole(layer.bias).clone()
    fold_scale(sharded[0], scale)
    assert torch.allclose(whole(layer.weight), value * scale[1][:, None])
    assert torch.allclose(whole(layer.bias), bias * scale[1] + scale[0])


def test_a_checkpoint_holds_shards_as_safetensors_and_damage_is_seen(sharded, tmp_path):
    model, _ = sharded
    kept = Checkpoints(tmp_path / "checkpoint", "this", 5)
    shards = {f"model.{name}": p.detach().clone() for name, p in model.named_parameters()}
    write_shards(kept.shards, shards, ALONE)
    kept.save(State(3, {"a": 1}, {**shards, "losses": torch.ones(2)}))
    state = kept.load()
    assert state.tensors.keys() == {"losses"}
    like = {name: torch.zeros_like(tensor) for name, tensor in shards.items()} | {"other": torch.zeros(1)}
    found = state.shards(like)
    assert found.keys() == shards.keys()
    assert all(torch.equal(local(found[name]), local(shards[name])) for name in shards)
    assert read_shards(state.folder, {}) == {}
    files = [path for path in state.folder.iterdir() if path.name.startswith("shard-")]
    assert files
    assert {path.suffix for path in state.folder.iterdir()} == {".json", ".safetensors"}  # no pickle
    files[0].write_bytes(files[0].read_bytes()[:-1] + b"?")
    assert kept.load() is None


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"folds_per_device": 2}, "folds_per_device=2 gives each process folds of its own"),
        ({"mixed_precision": "fp16"}, "parallel='fsdp' goes with mixed_precision='bf16' or 'no'"),
        ({"compile": True}, "parallel='fsdp' takes the model apart"),
        ({"head_start": "probe"}, "head_start='probe' solves a head first in one process"),
        ({"wise": "0.5"}, "wise averages with a solved head in one process"),
        ({"final": "ensemble"}, "final='ensemble' joins the folds' models in one process"),
        ({"head_solver": "ridge", "trainable": "head"}, "head_solver='ridge' solves a head in one process"),
    ],
)
def test_what_needs_the_whole_model_is_refused(settings, words):
    with pytest.raises(ConfigError, match=words):
        RunConfig(parallel="fsdp", **settings)


SMALL = [
    "--dataset", "builtin:reviews", "--max_rows", "40", "--num_folds", "2", "--num_repeats", "1",
    "--seed", "1", "--num_epochs", "2", "--batch_size", "8", "--learning_rate", "1e-3", "--num_threads", "1",
]  # fmt: skip


@pytest.fixture(scope="module")
def still(tmp_path_factory):
    """A base model without dropout, whose draws depend on who takes which rows."""
    from transformers import AutoTokenizer

    from hf_transfer.models.base_model import open_base_model

    folder = tmp_path_factory.mktemp("still")
    tiny = open_base_model(RunConfig(base_model="builtin:tiny-bert")).location
    tokenizer = AutoTokenizer.from_pretrained(tiny)
    tokenizer.save_pretrained(folder)
    model = bert()
    model.resize_token_embeddings(len(tokenizer))
    model.save_pretrained(folder)
    return folder


def launch(folder, base, *words, processes, dying=("none", "start", "kill")):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node"]
    command += [str(processes), str(DYING), *dying, *SMALL, "--base_model", str(base), *words]
    return subprocess.run(
        [*command, "--output_dir", str(folder)], capture_output=True, text=True, timeout=400, env=os.environ
    )


def logits(folder):
    table = pq.read_table(folder / "predictions.parquet").sort_by("row_id")
    return np.array(table["logits"].to_pylist())


@pytest.mark.slow
@pytest.mark.parametrize("trainable", ["all", "last:1", "head+lora"])
def test_two_processes_with_half_a_model_each_find_what_one_finds(tmp_path, still, trainable):
    from transformers import AutoModelForSequenceClassification

    one, two = tmp_path / "one", tmp_path / "two"
    for folder, processes, how in ((one, 1, "auto"), (two, 2, "fsdp")):
        words = ("--trainable", trainable, "--parallel", how)
        done = launch(folder, still, *words, processes=processes)
        assert done.returncode == 0, done.stderr
    assert np.abs(logits(one) - logits(two)).max() < 1e-5
    load = AutoModelForSequenceClassification.from_pretrained  # as anybody would
    states = [load(folder / "model").state_dict() for folder in (one, two)]
    assert states[0].keys() == states[1].keys()
    assert all(torch.allclose(states[0][name], states[1][name], atol=1e-5) for name in states[0])


@pytest.mark.slow
def test_a_sharded_training_that_was_killed_goes_on_to_the_same_end(tmp_path, still):
    words = ("--parallel", "fsdp", "--checkpoint_minutes", "0", "--final", "none")
    whole_run, killed = tmp_path / "whole", tmp_path / "killed"
    assert launch(whole_run, still, *words, processes=2).returncode == 0
    done = launch(killed, still, *words, processes=2, dying=("1", "update", "kill"))
    assert done.returncode != 0
    assert list(killed.glob("folds/*/checkpoint/step-*/shard-00002-*.safetensors"))
    done = launch(killed, still, *words, processes=2)
    assert done.returncode == 0, done.stderr
    assert np.array_equal(logits(whole_run), logits(killed))
    assert not list(killed.glob("folds/*/checkpoint"))

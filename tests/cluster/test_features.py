import json

import numpy as np
import pytest

from hf_transfer.cli.main import main
from hf_transfer.cluster import features
from hf_transfer.cluster.features import read_shards
from hf_transfer.errors import ConfigError

DATA = ["features", "builtin:reviews", "--base_model", "builtin:tiny-bert", "--max_rows", "50", "--json"]


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch):
    monkeypatch.setattr(features, "_BLOCK", 8)


def made(folder, shard, capsys, *more):
    assert main([*DATA, *more, "--output_dir", str(folder), "--shard", shard]) == 0
    return json.loads(capsys.readouterr().out)


def test_shards_that_are_joined_are_one_pass_to_the_bit(tmp_path, capsys):
    made(tmp_path / "one", "0/1", capsys)
    for index in (2, 0, 1):
        shard = made(tmp_path / "three", f"{index}/3", capsys)
    assert shard["lacking"] == []
    ids, values = read_shards(tmp_path / "one")
    other_ids, other_values = read_shards(tmp_path / "three")
    assert ids == other_ids
    assert len(set(ids)) == 50
    assert np.array_equal(values, other_values)
    assert values.shape == (50, shard["width"])
    assert len(np.unique(values, axis=0)) > 40


def test_a_shard_that_is_there_is_not_made_again(tmp_path, capsys):
    first = made(tmp_path, "0/2", capsys)
    path = tmp_path / "features-0-of-2.parquet"
    before = path.stat().st_mtime_ns
    again = made(tmp_path, "0/2", capsys)
    assert (first["found"], again["found"], path.stat().st_mtime_ns) == (False, True, before)
    assert made(tmp_path, "0/2", capsys, "--seed", "0", "--max_rows", "40")["found"] is False


def test_shards_that_do_not_go_together_are_not_joined(tmp_path, capsys):
    made(tmp_path, "0/2", capsys)
    with pytest.raises(ConfigError, match="lacks shard 1 of 2"):
        read_shards(tmp_path)
    made(tmp_path, "1/2", capsys, "--max_rows", "40")
    with pytest.raises(ConfigError, match="different data or base models"):
        read_shards(tmp_path)


@pytest.mark.parametrize(
    ("shard", "code", "message"),
    [("2/2", 2, "shard='2/2' is no part"), ("x", 2, "is no part"), ("0/99", 3, "at most as many shards")],
)
def test_what_is_no_shard_is_told(shard, code, message, tmp_path, capsys):
    assert main([*DATA, "--output_dir", str(tmp_path), "--shard", shard]) == code
    assert message in capsys.readouterr().err

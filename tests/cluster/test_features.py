import json

import numpy as np
import pytest
from near_carrier import NearCarrier

from hf_transfer.cli.main import main
from hf_transfer.cluster import features
from hf_transfer.cluster.features import read_shards, write_shards
from hf_transfer.config.run_config import RunConfig
from hf_transfer.errors import ConfigError, RunError

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


def placed(folder, carrier, number=None, **changes):
    settings = {"dataset": DATA[1], "base_model": DATA[3], "max_rows": 50} | changes
    return write_shards(RunConfig(**settings, output_dir=str(folder)), carrier, number)


@pytest.mark.parametrize(("number", "pieces"), [(None, 7), (3, 3), (1, 1)])
def test_shards_from_nodes_leave_what_one_process_leaves(number, pieces, tmp_path, capsys):
    made(tmp_path / "one", "0/1", capsys)
    shard = placed(tmp_path / "many", carrier := NearCarrier(), number)
    assert [order["kind"] for order in carrier.orders] == ["features"] * pieces
    assert (shard.rows, shard.found, shard.lacking) == (50, False, [])
    (file,) = (tmp_path / "many").iterdir()
    assert file.read_bytes() == (tmp_path / "one" / file.name).read_bytes()
    assert placed(tmp_path / "many", carrier, number).found
    assert len(carrier.orders) == pieces


def test_pictures_go_along_as_files_and_are_encoded_on_nodes(tmp_path, capsys):
    changes = {"dataset": "builtin:digits_5to9", "base_model": "builtin:digits-resnet", "max_rows": 20}
    flags = [word for name, value in changes.items() for word in (f"--{name}", str(value))]
    assert main(["features", *flags[1:2], *flags[2:], "--output_dir", str(tmp_path / "one")]) == 0
    placed(tmp_path / "many", NearCarrier(), **changes)
    files = [tmp_path / run / "features-0-of-1.parquet" for run in ("one", "many")]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_shards_that_arrived_are_not_computed_again(tmp_path, capsys):
    with pytest.raises(KeyboardInterrupt, match="SIGTERM"):
        placed(tmp_path, NearCarrier(stop_after=3))
    assert len([*tmp_path.iterdir()]) == 3
    lost = iter(["the node died.", *[None] * 9])
    with pytest.raises(RunError, match=r"1 of 7 shards did not come back from the cluster: the node died\."):
        placed(tmp_path, NearCarrier(lambda order: next(lost)))
    assert len([*tmp_path.iterdir()]) == 6
    placed(tmp_path, carrier := NearCarrier())
    assert len(carrier.orders) == 1
    made(tmp_path / "one", "0/1", capsys)
    assert np.array_equal(read_shards(tmp_path)[1], read_shards(tmp_path / "one")[1])


def test_shards_of_machines_whose_bits_differ_are_not_joined(tmp_path, capsys, monkeypatch):
    made(tmp_path, "0/2", capsys)
    monkeypatch.setattr("hf_transfer.replay.features.stored.arithmetic_here", lambda _: ["2.14", "other", 1])
    made(tmp_path, "1/2", capsys)
    with pytest.raises(ConfigError, match="or of machines whose bits differ"):
        read_shards(tmp_path)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--engine", "ray", "--shard", "0/2"], "--engine ray all. Leave one of them out; --shards N says"),
        (["--shards", "2"], "--shards 2 is for --engine ray. Add it, or give --shard 0/2"),
        (["--engine", "ray", "--shards", "0"], "--shards 0 is too small; use 1 or more"),
        (["--engine", "parts"], "features takes no --engine parts; run, search, recipes"),
    ],
)
def test_flags_that_do_not_go_together(flags, message, tmp_path, capsys):
    assert main([*DATA, *flags, "--output_dir", str(tmp_path)]) == 2
    assert message in capsys.readouterr().err


def test_words_have_no_features_of_rows(tmp_path, capsys):
    words = ["features", "builtin:mentions", *DATA[2:], "--output_dir", str(tmp_path)]
    assert main(words) == 3
    assert "has a label for each word, and these features are of rows" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("shard", "code", "message"),
    [("2/2", 2, "shard='2/2' is no part"), ("x", 2, "is no part"), ("0/99", 3, "at most as many shards")],
)
def test_what_is_no_shard_is_told(shard, code, message, tmp_path, capsys):
    assert main([*DATA, "--output_dir", str(tmp_path), "--shard", shard]) == code
    assert message in capsys.readouterr().err

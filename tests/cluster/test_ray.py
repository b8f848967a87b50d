"""A real cluster of two nodes on this machine, each with one processor and a store of 200 MB."""

import signal
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import pyarrow.parquet as pq
import pytest
from small_runs import KINDS, plain_config
from two_nodes import two_nodes, wait_for

from hf_transfer import RunConfig, cross_validate, open_dataset
from hf_transfer.cluster.doors import engine_of
from hf_transfer.errors import ConfigError

TEXT = KINDS["text"][1] | {"trainable": "all", "final": "refit", "num_folds": 5, "num_repeats": 2}


def test_without_ray_the_engine_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError, match=r"needs Ray: pip install \"hf-transfer-kit\[ray\]\""):
        engine_of(RunConfig(engine="ray"))


def test_one_process_drives_it(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match="from one process, and 2 were launched"):
        engine_of(RunConfig(engine="parts"))


@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:1", "nowhere.invalid:6379"])
def test_where_nothing_listens_is_told_without_ray_asking_for_minutes(address, monkeypatch):
    def asks(**_):
        raise AssertionError("Ray was asked")

    ray = SimpleNamespace(is_initialized=lambda: False, init=asks)
    monkeypatch.setitem(sys.modules, "ray", ray)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with pytest.raises(ConfigError, match=rf"ray_address='{address}': no Ray cluster answers there"):
        engine_of(RunConfig(engine="ray", ray_address=address))
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(ConfigError, match="ray_address='auto': no Ray cluster answers there"):
        engine_of(RunConfig(engine="ray"))
    with pytest.raises(ConfigError, match=f"and RAY_ADDRESS='{address}' in the environment, which Ray"):
        engine_of(RunConfig(engine="ray", ray_address="first:6379"))


def run(config, kind="text"):
    data = open_dataset(config, kind)
    return cross_validate(data.task(config, data.target), data, config)


def same(one, other):
    names = [path.relative_to(one) for path in sorted(one.rglob("*predictions.parquet"))]
    assert names
    assert all(pq.read_table(one / name) == pq.read_table(other / name) for name in names)
    models = [path.relative_to(one) for path in one.rglob("model/*.safetensors")]
    assert all((one / name).read_bytes() == (other / name).read_bytes() for name in models)


@pytest.fixture(scope="module")
def cluster():
    with two_nodes() as made:
        yield made


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # Ray leaves sockets and files open
def test_two_nodes_find_what_one_process_finds_though_one_is_killed(cluster, tmp_path):
    config = plain_config(**TEXT, output_dir=str(tmp_path / "one"))
    run(config)
    far = replace(config, engine="ray", ray_address=cluster.address, output_dir=str(tmp_path / "two"))
    heads = plain_config(**KINDS["pictures"][1], output_dir=str(tmp_path / "heads"))
    run(heads, "image")
    run(replace(heads, engine="ray", ray_address=cluster.address, output_dir=str(tmp_path / "h2")), "image")
    same(tmp_path / "heads", tmp_path / "h2")
    code = (
        "from hf_transfer import *; import sys\n"
        "config = RunConfig.load(sys.argv[1]); data = open_dataset(config, 'text')\n"
        "fine_tune(data.task(config, data.target), data, config)"
    )
    far.save(tmp_path / "far.yaml")
    command = [sys.executable, "-c", code, str(tmp_path / "far.yaml")]

    def folds():
        return list((tmp_path / "two").glob("folds/*/done.json"))

    driver = subprocess.Popen(command)
    wait_for(folds, 3, driver)
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    kept = set(folds())
    assert 3 <= len(kept) < 10
    driver = subprocess.Popen(command)
    wait_for(folds, len(kept) + 1, driver)
    cluster.remove_node(cluster.second, allow_graceful=False)
    assert driver.wait(300) == 0
    same(tmp_path / "one", tmp_path / "two")

"""Features by a real cluster of two nodes, of which one is killed, and whose driver is."""

import json
import shutil
import signal
import subprocess
import sys

import pytest
from two_nodes import two_nodes, wait_for

from hf_transfer.cli.main import main
from hf_transfer.cluster import features
from hf_transfer.machine.cache import cache_folder, clear
from hf_transfer.models.base_model import _builtin_folder

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # Ray leaves sockets and files open

CODE = """
import sys
from hf_transfer.cluster import features
features._BLOCK = 4
from hf_transfer.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture
def cluster():
    with two_nodes() as made:
        yield made


def killed(command, found, cluster, least):
    """Run a command whose driver is killed, and again with a node that is; gives what the first left."""
    driver = subprocess.Popen(command)
    wait_for(found, least, driver)
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    kept = {path: path.stat().st_ino for path in found()}
    driver = subprocess.Popen(command)
    wait_for(found, len(kept) + 1, driver)
    cluster.remove_node(cluster.second, allow_graceful=False)
    assert driver.wait(300) == 0
    return kept


def test_shards_are_those_of_one_process_though_driver_and_node_are_killed(
    cluster, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(features, "_BLOCK", 4)
    words = ["features", "builtin:reviews", "--base_model", "builtin:tiny-bert", "--max_rows", "200"]
    assert main([*words, "--output_dir", str(tmp_path / "one")]) == 0
    command = [sys.executable, "-c", CODE, *words, "--output_dir", str(tmp_path / "two")]
    command += ["--engine", "ray", "--ray_address", cluster.address]
    kept = killed(command, lambda: list((tmp_path / "two").glob("features-*-of-50.parquet")), cluster, 5)
    assert 5 <= len(kept) < 50
    name = "features-0-of-1.parquet"
    assert [path.name for path in (tmp_path / "two").iterdir()] == [name]
    assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_a_ranking_is_that_of_one_process_though_driver_and_node_are_killed(
    cluster, tmp_path, monkeypatch, capsys
):
    models = [str(tmp_path / f"model{number}") for number in range(4)]
    for model in models:
        shutil.copytree(_builtin_folder("builtin:digits-resnet"), model)
    words = ["rank", "builtin:digits_5to9", *models, "--num_repeats", "1", "--num_folds=2", "--max_rows=300"]
    clear(cache_folder())
    assert main([*words, "--output_dir", str(tmp_path / "one")]) == 0
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    command = [sys.executable, "-c", CODE, *words, "--output_dir", str(tmp_path / "two")]
    command += ["--engine", "ray", "--ray_address", cluster.address]
    stores = tmp_path / "cache" / "hf-transfer-kit" / "frozen-layers"
    kept = killed(command, lambda: list(stores.glob("[!.]*.npy")), cluster, 1)
    assert 1 <= len(kept) < 8
    assert {path: path.stat().st_ino for path in kept} == kept  # not written again
    found = [told(tmp_path / run) for run in ("one", "two")]
    assert found[0] == found[1]


def told(folder):
    """What rank.json says of the models, without times and where features come from."""
    ranking = json.loads((folder / "rank.json").read_text())
    for one in ranking["candidates"]:
        del one["features_seconds"], one["features_reused"]
    return {name: ranking[name] for name in ("candidates", "controls", "folds", "dataset")}

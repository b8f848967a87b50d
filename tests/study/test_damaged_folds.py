"""A run whose finished folds were damaged on the disk trains these again, and ends with the same bits."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest
from small_runs import KINDS, plain_config

from hf_transfer import cross_validate, open_dataset
from hf_transfer.config.run_config import RunConfig


def run(config: RunConfig, task):
    data = open_dataset(config, task)
    return cross_validate(task(config, data.target), data, config).results


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:20])


def zeros(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run that has ended: its settings, task, and what it found."""
    task, settings = KINDS["pictures"]
    folder = tmp_path_factory.mktemp("runs") / "run"
    config = plain_config(**settings | {"final": "none"}, output_dir=str(folder))
    return config, task, run(config, task), pq.read_table(folder / "predictions.parquet")


SELDOM = (Path.unlink, cut, lambda path: path.write_bytes(b""))


@pytest.mark.parametrize("name", ["done.json", "predictions.parquet", "history.jsonl"])
@pytest.mark.parametrize("damage", [zeros, *(pytest.param(one, marks=pytest.mark.slow) for one in SELDOM)])
def test_a_damaged_fold_is_trained_again(finished, capsys, name, damage):
    config, task, results, predictions = finished
    damage(Path(config.output_dir) / "folds" / "r0f1" / name)
    again = run(config, task)
    assert again.scores == results.scores
    assert pq.read_table(Path(config.output_dir) / "predictions.parquet").equals(predictions)
    lost = name == "done.json" and damage is Path.unlink  # as if it had been killed before the end
    assert ("Fold r0f1 is trained again: its files are damaged." in capsys.readouterr().err) is not lost

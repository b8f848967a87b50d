"""A run whose finished folds were damaged on the disk trains these again, and ends with the same bits."""

import json
import re
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from small_runs import KINDS, plain_config, wrong

from hf_transfer import cross_validate, open_dataset
from hf_transfer.config.run_config import RunConfig
from hf_transfer.verify.verify_run import verify_run


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


def test_a_changed_number_in_a_whole_file_is_found(finished, capsys):
    config, task, results, _ = finished
    done = Path(config.output_dir) / "folds" / "r0f1" / "done.json"
    kept = json.loads(done.read_text())
    kept["scores"]["accuracy"] += 0.25
    done.write_text(json.dumps(kept))
    assert "folds/r0f1/done.json: is not as it was kept, by done.json" in wrong(done.parents[2])
    assert run(config, task).scores == results.scores
    assert "Fold r0f1 is trained again: its files are damaged." in capsys.readouterr().err


@pytest.mark.parametrize("name", ["predictions.parquet", "train_predictions.parquet", "scores.json"])
def test_a_flipped_bit_beside_is_found(finished, capsys, name):
    config, task, results, predictions = finished
    path = Path(config.output_dir) / "folds" / "r0f0" / name
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 1
    path.write_bytes(content)
    assert run(config, task).scores == results.scores
    assert "Fold r0f0 is trained again" in capsys.readouterr().err
    assert pq.read_table(Path(config.output_dir) / "predictions.parquet").equals(predictions)
    assert path.read_bytes() != content


def test_folds_of_an_earlier_version_without_digests_still_go_on(finished, capsys):
    config, task, results, _ = finished
    for done in Path(config.output_dir).glob("folds/**/done.json"):
        kept = json.loads(done.read_text())
        del kept["digest"], kept["files"]
        done.write_text(json.dumps(kept))
    assert run(config, task).scores == results.scores
    assert "again" not in capsys.readouterr().err
    checks = {check.name: check for check in verify_run(config.output_dir)}
    assert re.search(r"\((\d+) of \1 not checked\)$", checks["unit files"].found)


@pytest.mark.parametrize(
    "damage", [zeros, lambda path: path.write_text(path.read_text().replace("1", "2", 1))]
)
def test_a_damaged_record_of_the_final_model_is_made_again(tmp_path, capsys, damage):
    task, settings = KINDS["pictures"]
    config = plain_config(**settings, output_dir=str(tmp_path / "run"))
    before = run(config, task)
    damage(tmp_path / "run" / "final" / "done.json")
    assert run(config, task).final.sha256 == before.final.sha256
    assert "The final model is made again" in capsys.readouterr().err
    assert not wrong(tmp_path / "run")

"""What earlier runs stored is looked at before it is used: damage never changes a score."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_runs import KINDS, plain_config

from hf_transfer import cross_validate, open_dataset
from hf_transfer.errors import DataError
from hf_transfer.machine import cache
from hf_transfer.machine.cache import cache_folder, stores_folder
from hf_transfer.selection.rank.ranking import rank_models


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """A cache of the test's own, in a process that has looked at nothing yet."""
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(cache, "_INTACT", {})


def run(folder: Path, **changes):
    """Train the head of a small network on digits; give the out-of-fold logits."""
    task, settings = KINDS["pictures"]
    config = plain_config(**settings | {"final": "none"} | changes, output_dir=str(folder))
    data = open_dataset(config, task)
    result = cross_validate(task(config, data.target), data, config)
    return result, np.array(result.predictions["logits"].to_pylist())


def another_process(monkeypatch) -> None:
    monkeypatch.setattr(cache, "_INTACT", {})


def damage(path: Path, start: float = 0.6) -> None:
    """Set the last part of a file to zeros, as a lost block of a disk would."""
    data = bytearray(path.read_bytes())
    first = int(len(data) * start)
    data[first:] = bytes(len(data) - first)
    path.write_bytes(data)


@pytest.mark.parametrize("where", ["stores", pytest.param("encoded", marks=pytest.mark.slow)])
@pytest.mark.parametrize("start", [pytest.param(0.0, marks=pytest.mark.slow), 0.6])
def test_a_damaged_file_is_made_again_and_no_score_changes(tmp_path, monkeypatch, capsys, where, start):
    _, wanted = run(tmp_path / "first")
    folder, pattern = (stores_folder(), "*.npy") if where == "stores" else (cache_folder(), "*.arrow")
    (path,) = folder.glob(pattern)
    damage(path, start)
    another_process(monkeypatch)
    capsys.readouterr()
    result, found = run(tmp_path / "second")
    assert (found == wanted).all()
    assert f"{path} is not as it was written, and is made again" in capsys.readouterr().err
    assert [stored.reused for stored in result.results.replay] == [where == "encoded"]


def test_an_intact_file_is_used_again(tmp_path, monkeypatch):
    run(tmp_path / "first")
    another_process(monkeypatch)
    result, _ = run(tmp_path / "second")
    assert [stored.reused for stored in result.results.replay] == [True]


@pytest.mark.slow
def test_a_file_without_a_digest_is_made_again_without_a_word(tmp_path, monkeypatch, capsys):
    _, wanted = run(tmp_path / "first")
    for path in cache_folder().rglob("*.sha256"):
        path.unlink()
    another_process(monkeypatch)
    capsys.readouterr()
    result, found = run(tmp_path / "second")
    assert "as it was written" not in capsys.readouterr().err
    assert (found == wanted).all()
    assert [stored.reused for stored in result.results.replay] == [False]


def test_damaged_features_of_rank_are_made_again(monkeypatch, capsys):
    _, settings = KINDS["pictures"]
    config = plain_config(dataset=settings["dataset"], max_rows=40, num_folds=2)
    wanted = rank_models(config, [settings["base_model"]], num_repeats=1).candidates[0].score.folds
    for path in stores_folder().glob("*.npy"):
        damage(path)
    another_process(monkeypatch)
    found = rank_models(config, [settings["base_model"]], num_repeats=1).candidates[0]
    assert (found.score.folds == wanted).all()
    assert not found.reused
    assert "made again" in capsys.readouterr().err


@pytest.fixture
def pictures(tmp_path) -> Path:
    """A folder of two classes of noise, told apart by their brightness."""
    draws = np.random.default_rng(0)
    for label, light in (("dark", 40), ("light", 200)):
        (tmp_path / "data" / label).mkdir(parents=True)
        for number in range(10):
            values = (draws.normal(light, 20, (8, 8, 3))).clip(0, 255).astype(np.uint8)
            Image.fromarray(values).save(tmp_path / "data" / label / f"{number}.png")
    return tmp_path / "data"


def darken(folder: Path) -> None:
    for path in folder.rglob("*.png"):
        Image.new("RGB", (8, 8)).save(path)


def test_pictures_that_change_between_opening_and_encoding_are_refused(pictures, tmp_path, monkeypatch):
    task, settings = KINDS["pictures"]
    settings = settings | {"dataset": str(pictures), "max_rows": None, "final": "none"}
    true = {path: path.read_bytes() for path in pictures.rglob("*.png")}
    config = plain_config(**settings, output_dir=str(tmp_path / "changed"))
    data = open_dataset(config, task)
    darken(pictures)
    with pytest.raises(DataError, match="pictures changed after they were opened"):
        cross_validate(task(config, data.target), data, config)
    for path, content in true.items():
        path.write_bytes(content)
    result, _ = run(tmp_path / "true", dataset=str(pictures), max_rows=None)
    assert [stored.reused for stored in result.results.replay] == [False]


@pytest.mark.slow
def test_test_rows_that_changed_between_two_runs_are_encoded_anew(pictures, tmp_path, monkeypatch):
    folder = tmp_path / "splits"
    for split in ("train", "test"):
        for path in pictures.rglob("*.png"):
            target = folder / split / path.parent.name / path.name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    changes = {"dataset": str(folder), "max_rows": None, "test_split": "test", "final": "refit"}
    first, _ = run(tmp_path / "first", **changes)
    darken(folder / "test")
    second, _ = run(tmp_path / "second", **changes)
    losses = [result.results.test.scores["log_loss"] for result in (first, second)]
    assert losses[0] != losses[1]

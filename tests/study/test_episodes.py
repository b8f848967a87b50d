"""The set of the page on robots: its answers are known, and the kit finds them."""

import csv
import importlib.util
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hf_transfer import RunConfig, k_folds, open_dataset
from hf_transfer.report.outcomes import compare_outcomes

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "episodes.py"


@pytest.fixture(scope="module")
def robots(tmp_path_factory):
    spec = importlib.util.spec_from_file_location("episodes", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    folder = tmp_path_factory.mktemp("robots") / "set"
    module.write(folder, episodes=20)
    return folder


def nearest_frame_accuracy(folder, folds):
    """How often the frame of the training rows that looks most alike has the label of a held-out one."""
    with (folder / "metadata.csv").open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    pixels = np.stack([np.asarray(Image.open(folder / row["file_name"]).convert("L")) for row in rows])
    seen, labels = pixels.reshape(len(rows), -1).astype(float), np.array([row["label"] for row in rows])
    squares = (seen**2).sum(axis=1)
    apart = squares[:, None] + squares - 2 * seen @ seen.T
    right = []
    for fold in folds:
        held, others = np.array(fold.valid["row"]), np.array(fold.train["row"])
        right += list(labels[others[apart[np.ix_(held, others)].argmin(axis=1)]] == labels[held])
    return np.mean(right)


def test_random_folds_flatter_what_cannot_be_known(robots):
    data = open_dataset(RunConfig(dataset=str(robots / "frames")), "image")
    assert data.grouped_by == "episode_index"
    assert len(set(data.rows["group"])) == 40
    rows = data.rows.select_columns(["label", "group"]).add_column("row", list(range(len(data.rows))))
    by_episode = list(k_folds(rows, 5, seed=0, stratify_by="label", group_by="group"))
    for fold in by_episode:
        assert not set(fold.train["group"]) & set(fold.valid["group"])
    assert 0.35 < nearest_frame_accuracy(robots / "frames", by_episode) < 0.65
    assert nearest_frame_accuracy(robots / "frames", k_folds(rows, 5, seed=0, stratify_by="label")) > 0.85


def test_the_cubes_place_is_numbers(robots):
    config = RunConfig(dataset=str(robots / "simulation"), label_columns=("cube_x", "cube_y"))
    data = open_dataset(config, "image")
    assert data.label_names == ("cube_x", "cube_y")
    assert data.grouped_by == "episode_index"


def test_the_policy_without_skill_is_told_from_the_one_with(robots):
    found = compare_outcomes(robots / "outcomes.csv", ("policy_a", "policy_b"), control="idle")
    verdicts = [pair.verdict for pair in (found.pair, *found.against_control)]
    assert verdicts == ["second is better", "can't tell", "second is better"]

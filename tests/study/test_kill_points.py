"""Runs killed at named points, in forked children, and gone on with."""

import json
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from kill_points import POINTS, die_at, ended, in_child
from small_runs import plain_config

from hf_transfer import RunConfig, SequenceClassification, cross_validate, open_dataset, write_card
from hf_transfer.machine.cache import cache_folder, clear
from hf_transfer.runs.run_folder import weight_digests

TIMES = ("seconds", "at", "created", "command", "hardware", "replay")


def run(config: RunConfig, with_card: bool = True) -> None:
    data = open_dataset(config, "text")
    cross_validate(SequenceClassification(config, data.label_names), data, config)
    if with_card:
        write_card(config.output_dir)


def timeless(value):
    """What a run says of itself, without what depends on the clock."""
    if isinstance(value, dict):
        return {k: timeless(v) for k, v in value.items() if k not in TIMES and k != "output_dir"}
    return [timeless(v) for v in value] if isinstance(value, list) else value


def found(folder: Path):
    return (
        pq.read_table(folder / "predictions.parquet"),
        timeless(json.loads((folder / "results.json").read_text())),
        weight_digests(folder / "model"),
    )


# The others take as long as a run each, and end in the same two ways: half a file beside, or a whole one.
QUICK = (
    "checkpoint: tensors half written",
    "checkpoint: older one still there",
    "fold: predictions, not done",
)


@pytest.mark.parametrize("points", [
    [point for point in POINTS if point.name in QUICK],
    pytest.param([p for p in POINTS if not p.name.startswith("push")], marks=pytest.mark.slow),
], ids=["some", "all"])  # fmt: skip
def test_a_run_killed_at_points_in_turn_ends_with_the_same(tiny_bert_folder, tmp_path, points):
    with_card = len(points) > len(QUICK)  # the pictures take longer than the training
    config = plain_config(
        base_model=str(tiny_bert_folder), dataset="builtin:reviews", max_rows=24, num_folds=2, num_epochs=2,
        batch_size=8, learning_rate=1e-3, max_length=16, trainable="last:1", checkpoint_minutes=0,
        output_dir=str(tmp_path / "whole"),
    )  # fmt: skip
    log = tmp_path / "log"
    assert ended(in_child(lambda: run(config, with_card), log)) == 0, log.read_text()
    clear(cache_folder())
    cut = replace(config, output_dir=str(tmp_path / "cut"))
    for point in points:
        # A checkpoint is spoilt where there is one before it.
        time = 2 if point.name == "checkpoint: tensors half written" else 1
        child = in_child(lambda p=point, t=time: (die_at(p, t), run(cut, with_card)), log)
        assert ended(child) == -9, f"{point.name}: {log.read_text()}"
    assert ended(in_child(lambda: run(cut, with_card), log)) == 0, log.read_text()
    assert found(tmp_path / "cut") == found(tmp_path / "whole")
    assert not list((tmp_path / "cut").rglob(".*"))
    assert not list((tmp_path / "cut").rglob("checkpoint"))
    assert not list(cache_folder().rglob(".*"))

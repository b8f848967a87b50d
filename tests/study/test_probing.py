"""The closed-form probe beside the folds of small runs."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from small_runs import edit, make_run, wrong

from hf_transfer.runs.fold_result import KeptFold
from hf_transfer.runs.reading import read_record
from hf_transfer.runs.results import read_results
from hf_transfer.study.probing import Features
from hf_transfer.tasks.targets.classes import Classes
from hf_transfer.verify.verify_run import verify_run

SMALL = {"num_folds": 2, "final": "none", "card": False}


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """Training so short that the head has learned nothing."""
    return make_run("pictures", tmp_path_factory.mktemp("probe"), learning_rate=1e-5, **SMALL)


def features_of(values: Any, labels: Any) -> Features:
    target = Classes(("no", "yes"))
    return Features(values, labels, np.arange(len(labels)), len(labels), target, {})


def test_rows_that_belong_together_do_not_mislead_the_choice_of_its_penalty():
    """Copies of the training rows, each in the fold of its original, add nothing to learn."""
    rng = np.random.default_rng(0)
    values, folds = rng.normal(size=(50, 60)).astype(np.float32), np.arange(50) % 5
    labels = (values[:, 0] + rng.normal(size=50) > 0).astype(np.int64)
    train, valid = np.flatnonzero(folds != 0), np.flatnonzero(folds == 0)
    once, _ = features_of(values, labels).solved(train, valid, folds)
    order = np.concatenate([np.arange(50), *[train] * 3])
    learn = np.flatnonzero(folds[order] != 0)
    copied, _ = features_of(values[order], labels[order]).solved(learn, valid, folds[order])
    assert np.stack(list(copied.values())) == pytest.approx(np.stack(list(once.values())), abs=1e-6)


def state(run: Path) -> str:
    return next(check.state for check in verify_run(run) if check.name == "closed-form probe")


def test_a_head_that_has_learned_nothing_is_far_from_it(run):
    results = read_results(run)
    assert results.probe.mean > results.scores["accuracy"].mean + 0.3
    assert results.learned.answer == "no"


def test_each_fold_reads_its_held_out_rows_once_for_it(run):
    for fold, score in enumerate(read_results(run).probe.scores):
        rows = pq.read_table(run / f"folds/probe/r0f{fold}/predictions.parquet")
        own = pq.read_table(run / f"folds/r0f{fold}/predictions.parquet")
        assert rows["row_id"].equals(own["row_id"])
        assert score == pytest.approx(np.mean(rows["label"].to_numpy() == rows["prediction"].to_numpy()))
        done = read_record(KeptFold, run / f"folds/probe/r0f{fold}/done.json")
        assert [reading.purpose for reading in done.readings] == ["closed-form probe"]


def test_it_does_not_depend_on_how_the_head_was_trained(run, tmp_path):
    other = make_run("pictures", tmp_path, learning_rate=1e-2, num_epochs=2, **SMALL)
    assert read_results(other).probe == read_results(run).probe


def test_a_run_stopped_before_it_ends_the_same(run, tmp_path):
    copy = Path(shutil.copytree(run, tmp_path / "pictures"))
    shutil.rmtree(copy / "folds" / "probe")
    (copy / "results.json").unlink()
    make_run("pictures", tmp_path, learning_rate=1e-5, **SMALL)
    assert read_results(copy).probe == read_results(run).probe


def test_the_best_of_a_grid_has_one_beside_its_folds(tmp_path):
    run = make_run("pictures", tmp_path, learning_rates=(1e-4, 1e-2), **SMALL)
    assert len(list(run.glob("folds/lr*/probe/r0f*/done.json"))) == 2
    assert state(run) == "ok"


@pytest.mark.parametrize("trainable", [pytest.param("head", marks=pytest.mark.slow), "last:1"])
def test_words_are_probed_through_what_lies_above_the_store(trainable, tmp_path, tiny_bert_folder):
    run = make_run("words", tmp_path, card=False, base_model=str(tiny_bert_folder), trainable=trainable)
    assert len(read_results(run).probe.scores) == 2
    assert state(run) == "ok"


@pytest.mark.slow
def test_only_the_first_repeat_is_probed(tmp_path):
    run = make_run("pictures", tmp_path, num_repeats=2, **SMALL)
    assert sorted(path.name for path in run.glob("folds/probe/*")) == ["r0f0", "r0f1"]
    assert state(run) == "ok"


@pytest.mark.parametrize(
    "changes",
    [
        {"replay": False},
        {"head_solver": "ridge"},
        pytest.param({"trainable": "all"}, marks=pytest.mark.slow),
        pytest.param({"from_scratch": True}, marks=pytest.mark.slow),
    ],
)
def test_without_stored_features_there_is_none(changes, tmp_path):
    run = make_run("pictures", tmp_path, **SMALL | changes)
    assert read_results(run).probe is None
    assert not (run / "folds" / "probe").exists()


def test_it_is_made_again(run, tmp_path):
    copy = Path(shutil.copytree(run, tmp_path / "copy"))
    assert state(copy) == "ok"
    edit(copy, lambda values: values["probe"].update(mean=2))
    assert "probe.mean: written 2, recomputed 0" in wrong(copy)
    edit(copy, lambda values: values["learned"].update(answer="yes"))
    assert "learned.answer: written 'yes', recomputed 'no'" in wrong(copy)

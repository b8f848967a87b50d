"""Runs on fewer rows and on shuffled labels, beside the folds of small runs."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from small_runs import make_run

from hf_transfer import ImageClassification, RunConfig, cross_validate, open_dataset, write_card
from hf_transfer.config.run_config import ConfigError
from hf_transfer.errors import RunError
from hf_transfer.folds import nested_rows
from hf_transfer.report.card.card import card_text
from hf_transfer.runs.fold_result import KeptFold
from hf_transfer.runs.reading import read_record
from hf_transfer.runs.results import read_results
from hf_transfer.runs.run_folder import RunFolder
from hf_transfer.runs.summary import summary_text
from hf_transfer.study.controls import shuffled_runner
from hf_transfer.study.experiment import Experiment
from hf_transfer.study.fold_runner import FoldRunner
from hf_transfer.study.study import Study
from hf_transfer.training.workers import make_accelerator
from hf_transfer.verify.verify_run import verify_run

ASKED = {"learning_curve": True, "shuffled_labels": 2}
SMALL = {"num_folds": 2, "final": "none", "card": False}  # the pictures take longer than the training


@pytest.fixture(autouse=True, scope="module")
def _fewer_shuffles():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hf_transfer.scores.shuffled._NUM_CHANCES", 49)
        yield


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    return make_run("pictures", tmp_path_factory.mktemp("controls"), **SMALL, **ASKED)


@pytest.fixture(scope="module")
def without(tmp_path_factory) -> Path:
    return make_run("pictures", tmp_path_factory.mktemp("plain"), **SMALL)


def study_of(run: Path, task=ImageClassification) -> Study:
    config = RunConfig.load(run / "config.yaml")
    data = open_dataset(config, task)
    experiment = Experiment(task(config, data.label_names), data, config)
    return Study(experiment, make_accelerator(config), RunFolder(run))


def rows_of(path: Path) -> list[dict]:
    return pq.read_table(path / "predictions.parquet").to_pylist()


def test_the_folds_are_the_same_with_and_without(run, without):
    assert (run / "predictions.parquet").read_bytes() == (without / "predictions.parquet").read_bytes()
    found, plain = read_results(run), read_results(without)
    assert found.scores == plain.scores
    assert plain.learning_curve is None
    assert plain.shuffled is None


def test_every_size_reads_the_held_out_rows_of_the_fold_once_for_itself(run):
    curve = read_results(run).learning_curve
    assert [size.percent for size in curve.sizes] == [10, 20, 40, 80, 100]
    for fold in range(2):
        held_out = [row["row_id"] for row in rows_of(run / f"folds/r0f{fold}")]
        for size in curve.sizes[:-1]:
            folder = run / f"folds/curve-{size.percent}/r0f{fold}"
            rows, done = rows_of(folder), read_record(KeptFold, folder / "done.json")
            assert [row["row_id"] for row in rows] == held_out
            right = np.mean([row["label"] == row["prediction"] for row in rows])
            assert size.scores[fold] == pytest.approx(right) == done.scores["accuracy"]
            assert [r.purpose for r in done.readings] == [f"learning curve, {size.percent} %"]


def test_each_size_learns_from_its_part_of_the_training_rows(run):
    study, sizes = study_of(run).experiment, read_results(run).learning_curve.sizes
    unit = replace(study.units[0], percent=40)
    part = study.train_rows(unit)
    whole = study.plans[0].train(0)
    assert set(part) < set(whole)
    assert (
        part.tolist()
        == nested_rows(whole, 40, uids=study.uids, seed=study.config.seed, columns=study.columns).tolist()
    )
    assert [size.num_train for size in sizes] == pytest.approx(
        [20 * p for p in (0.1, 0.2, 0.4, 0.8, 1)], abs=1
    )
    assert sizes[-1].scores == [fold.scores["accuracy"] for fold in read_results(run).folds]
    assert all(size.interval[0] <= size.mean <= size.interval[1] for size in sizes)


@pytest.mark.slow
def test_heads_of_all_sizes_and_folds_are_trained_in_one_program(tmp_path, monkeypatch):
    asked = []

    def counted(template, configs, rows, **kwargs):
        asked.append((len(configs), sorted({len(r.train) for r in rows})))
        return fit(template, configs, rows, **kwargs)

    import hf_transfer.study.fold_runner as module

    fit = module.fit_heads
    monkeypatch.setattr(module, "fit_heads", counted)
    run = make_run("pictures", tmp_path, **SMALL, learning_curve=True, learning_rates=(1e-3, 1e-2))
    assert [number for number, _ in asked] == [2, 1]
    assert len(asked[1][1]) >= 4
    (best,) = [entry for entry in read_results(run).grid if entry.best]
    folders = sorted(path.relative_to(run / "folds") for path in run.glob("folds/*/curve-*"))
    inside = f"lr{best.learning_rate!r}-wd{best.settings['weight_decay']!r}"
    assert folders == [Path(inside, f"curve-{percent}") for percent in (10, 20, 40, 80)]
    assert all((run / "folds" / folder / "r0f1/done.json").is_file() for folder in folders)


def test_shuffled_runs_learn_and_are_scored_on_other_labels(run):
    shuffled, config = read_results(run).shuffled, RunConfig.load(run / "config.yaml")
    assert (shuffled.runs, shuffled.unit, shuffled.failed) == (2, "row", 0)
    assert shuffled.true_train_score is not None
    assert sorted(p.name for p in (run / "folds/shuffled").iterdir()) == ["r0f0", "r0f1"]
    rows = open_dataset(config, "image").rows
    true = dict(zip(rows["row_id"], rows["label"], strict=True))
    for fold in range(2):
        rows = rows_of(run / f"folds/shuffled/r0f{fold}")
        was = [true[row["row_id"]] for row in rows]
        now = [row["label"] for row in rows]
        assert sorted(was) == sorted(now)
        assert was != now


def test_running_again_trains_nothing(run, monkeypatch):
    before = read_results(run)
    for name in ("run", "_keep"):
        monkeypatch.setattr(FoldRunner, name, lambda *_: pytest.fail("something was trained again"))
    config = RunConfig.load(run / "config.yaml")
    data = open_dataset(config, "image")
    cross_validate(ImageClassification(config, data.label_names), data, config)
    after = read_results(run)
    assert after.learning_curve == before.learning_curve
    assert after.shuffled == before.shuffled


@pytest.mark.slow
def test_a_finished_run_can_be_asked_later(without, run):
    config = replace(RunConfig.load(without / "config.yaml"), **ASKED)
    data = open_dataset(config, "image")
    cross_validate(ImageClassification(config, data.label_names), data, config)
    assert read_results(without).learning_curve == read_results(run).learning_curve
    assert read_results(without).shuffled == read_results(run).shuffled


def test_the_card_and_the_summary_say_what_was_found(run):
    results, card = read_results(run), write_card(run).read_text(encoding="utf-8")
    for part in ("learning_curve", "shuffled"):
        assert getattr(results, part).verdict in card
        assert getattr(results, part).verdict in summary_text(results)
    assert "plots/learning_curve.png" in card
    assert "2 of the folds were trained once more on shuffled labels" in card
    assert not [line for check in verify_run(run) for line in check.differences]


@pytest.mark.slow
def test_training_on_held_out_rows_raises_the_alarm(tmp_path, monkeypatch):
    train_rows = Experiment.train_rows

    def everything(experiment, unit):
        shuffled = unit.purpose == "shuffled labels"
        return np.arange(len(experiment.uids)) if shuffled else train_rows(experiment, unit)

    monkeypatch.setattr(Experiment, "train_rows", everything)
    # More features than rows, and no penalty: whatever the labels are, they are learned by heart.
    settings = {"head_solver": "ridge", "weight_decay": 0.0, "shuffled_labels": 2, "final": "none"}
    run = make_run("pictures", tmp_path, card=False, **settings)
    results = read_results(run)
    assert results.shuffled.leak is True
    assert results.shuffled.train_score == 1
    assert [note for note in results.notes if note.startswith("Leak: ")] == [results.shuffled.verdict]
    assert f"**{results.shuffled.verdict}**" in card_text(run, results, "a run", list)


def test_labels_in_the_inputs_are_found_without_any_score(run):
    class Telling(ImageClassification):
        def encode(self, rows, positions):
            return super().encode(rows, positions) | {"told": list(rows["label"])}

    study = study_of(run, Telling)
    experiment = study.experiment
    shuffled = shuffled_runner(study.runner, experiment.data, experiment.units[0])
    with pytest.raises(RunError, match="Leak: 'told' of the encoded rows changes when only their labels do"):
        _ = shuffled.replay


@pytest.mark.slow
def test_tags_change_places_in_every_window_of_a_sentence(tmp_path):
    run = make_run("words", tmp_path, shuffled_labels=1)
    shuffled = read_results(run).shuffled
    assert (shuffled.unit, shuffled.runs, shuffled.metric) == ("word", 1, "f1")
    kept = {row["row_id"]: row["labels"] for row in rows_of(run / "folds/r0f0")}
    moved = {row["row_id"]: row["labels"] for row in rows_of(run / "folds/shuffled/r0f0")}
    assert kept.keys() == moved.keys()
    assert kept != moved
    assert all(sorted(kept[row]) == sorted(moved[row]) for row in kept)


@pytest.mark.slow
def test_repeats(tmp_path):
    changes = {"num_repeats": 2, "shuffled_labels": 3, "learning_curve": True, "final": "none", "card": False}
    found = read_results(make_run("pictures", tmp_path, **changes))
    assert found.shuffled.runs == 3
    assert [len(size.scores) for size in found.learning_curve.sizes] == [4] * 5


@pytest.mark.slow
def test_failures_are_said_and_left_out(tmp_path, monkeypatch):
    fit = FoldRunner.fit

    def sometimes(study, rows, *args, **kwargs):
        if len(rows) < 6:
            raise RunError("no room")
        return fit(study, rows, *args, **kwargs)

    monkeypatch.setattr(FoldRunner, "fit", sometimes)
    monkeypatch.setattr("hf_transfer.study.fold_runner.heads_together", lambda *_: None)
    results = read_results(make_run("pictures", tmp_path, learning_curve=True, final="none", card=False))
    means = [size.mean for size in results.learning_curve.sizes]
    assert [mean is None for mean in means] == [True, True, False, False, False]
    assert results.learning_curve.doubling is None
    assert "3 sizes" in results.learning_curve.reason
    assert "4 trainings of the learning curve failed and are left out of it." in results.notes
    assert all(fold.status == "done" for fold in results.folds)


def test_no_more_shuffles_than_folds():
    with pytest.raises(ConfigError, match="shuffled_labels=9 is more than the 5 folds there are"):
        RunConfig(shuffled_labels=9)
    with pytest.raises(ConfigError, match="shuffled_labels=-1 is too small; use 0 or more"):
        RunConfig(shuffled_labels=-1)

import errno
import hashlib
import json
import shutil
from collections import namedtuple
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from datasets import Dataset
from small_runs import plain_config

from hf_transfer import (
    CrossValidationResult,
    ImageClassification,
    RunConfig,
    SequenceClassification,
    TokenClassification,
    cross_validate,
    open_dataset,
    write_card,
)
from hf_transfer.cli.main import run_recipe
from hf_transfer.errors import ConfigError, DiskFullError, RunError
from hf_transfer.runs.fold_result import KeptFold
from hf_transfer.runs.reading import read_record
from hf_transfer.runs.run_folder import RunFolder
from hf_transfer.study.experiment import Experiment
from hf_transfer.study.fold_runner import FoldRunner
from hf_transfer.study.study import Study
from hf_transfer.training.workers import make_accelerator
from hf_transfer.verify.verify_run import verify_run


def run(config, kind=SequenceClassification) -> CrossValidationResult:
    data = open_dataset(config, kind)
    return cross_validate(kind(config, data.label_names), data, config)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    config = plain_config(
        base_model="builtin:tiny-bert", dataset="builtin:reviews", max_rows=60, num_folds=3, num_epochs=1,
        batch_size=16,
        learning_rate=1e-3, max_length=32, trainable="last:1",
        output_dir=str(tmp_path_factory.mktemp("runs") / "run"),
    )  # fmt: skip
    return config, run(config)


def test_every_row_is_predicted_once_by_the_fold_that_held_it_out(finished):
    config, result = finished
    assert sorted(result.predictions["row_id"].to_pylist()) == sorted(
        open_dataset(config, "text").rows["row_id"]
    )
    folds = pq.read_table(f"{config.output_dir}/folds.parquet").to_pylist()
    held_out = {row["row_id"]: row["fold"] for row in folds}
    assert all(held_out[row["row_id"]] == row["fold"] for row in result.predictions.to_pylist())


def test_every_score_can_be_recomputed_from_the_predictions(finished):
    _, result = finished
    for fold in result.folds:
        rows = [row for row in result.predictions.to_pylist() if row["fold"] == fold.fold]
        accuracy = np.mean([row["label"] == row["prediction"] for row in rows])
        assert fold.scores["accuracy"] == pytest.approx(accuracy)
        assert all(row["prediction"] == int(np.argmax(row["logits"])) for row in rows)
    values = [fold.scores["accuracy"] for fold in result.folds]
    assert result.scores["accuracy"].mean == pytest.approx(np.mean(values))
    assert result.scores["accuracy"].std == pytest.approx(np.std(values, ddof=1))


def test_the_test_is_able_to_fail_as_scores_are_not_all_one(finished):
    assert 0.2 < finished[1].scores["accuracy"].mean < 1.0


def test_the_freeze_is_proved_in_every_fold(finished):
    result = finished[1]
    assert result.results.frozen_proof.equal is True
    assert result.results.frozen_proof.groups == ["stem", "block.0"]
    assert all(fold.frozen_hash_before == fold.frozen_hash_after is not None for fold in result.folds)


def test_folds_in_reverse_order_find_the_same(finished, tmp_path):
    config, result = finished
    data = open_dataset(config, "text")
    task = SequenceClassification(config, data.label_names)
    folder = RunFolder(tmp_path / "reverse")
    (tmp_path / "reverse").mkdir()
    study = Study(Experiment(task, data, config), make_accelerator(config), folder)
    backwards = {unit.fold: study.runner.run(unit) for unit in reversed(study.experiment.units)}
    for fold in result.folds:
        assert backwards[fold.fold].scores == fold.scores
    ((config, results),) = study.results().items()
    assert study.predictions(config, results).equals(result.predictions)


def test_each_fold_says_when_and_by_which_weights_it_was_read(finished):
    config, result = finished
    for fold in result.folds:
        (reading,) = fold.readings
        assert reading.rows == fold.num_valid
        done = read_record(KeptFold, Path(config.output_dir) / f"folds/r0f{fold.fold}/done.json")
        assert done.readings == [reading]
    weights = {fold.readings[0].weights for fold in result.folds}
    assert len(weights) == len(result.folds)


def test_a_runner_scores_the_held_out_rows_of_a_fold_once(finished, tmp_path):
    config, _ = finished
    data = open_dataset(config, "text")
    task = SequenceClassification(config, data.label_names)
    experiment = Experiment(task, data, config)
    runner = FoldRunner(experiment, make_accelerator(config), RunFolder(tmp_path))
    first, second = (runner.run(experiment.units[0]) for _ in range(2))
    assert first.status == "done"
    assert second.status == "failed"
    assert "held-out rows of r0f0 were scored at" in second.error


def test_results_come_back_from_the_folder_as_they_were(finished):
    config, result = finished
    again = CrossValidationResult.load(config.output_dir)
    assert again.to_dict() == result.to_dict()
    assert "NaN" not in json.dumps(again.to_dict())


def test_running_again_trains_nothing(finished, monkeypatch):
    config, result = finished
    monkeypatch.setattr(FoldRunner, "run", lambda *_: pytest.fail("a finished fold was run again"))
    assert [f.scores for f in run(config).folds] == [f.scores for f in result.folds]


def test_another_experiment_does_not_overwrite_a_run(finished):
    config, _ = finished
    with pytest.raises(
        ConfigError, match=r"already holds another run: num_epochs=1 there, 2 here.*--overwrite"
    ):
        run(replace(config, num_epochs=2))


def test_a_run_that_found_nothing_yet_does_not_hold_its_folder(reviews_config):
    RunFolder(reviews_config.output_dir).open(replace(reviews_config, num_epochs=7))
    RunFolder(reviews_config.output_dir).open(reviews_config)
    assert RunConfig.load(f"{reviews_config.output_dir}/config.yaml").num_epochs == 1


def test_other_rows_under_the_same_settings_are_noticed(finished):
    config, _ = finished
    data = open_dataset(config, "text")
    changed = replace(data, fingerprint="other")
    with pytest.raises(ConfigError, match="holds folds of other rows or another base model"):
        cross_validate(SequenceClassification(config, data.label_names), changed, config)


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"model/thesis.txt": "mine"}, "holds files that are no run's"),
        ({"model/thesis.txt": "mine", "config.yaml": "database: orders"}, "Unknown setting 'database'"),
    ],
)
def test_a_folder_of_something_else_is_left_alone(reviews_config, tmp_path, overwrite, files, message):
    for name, text in files.items():
        (tmp_path / "mine" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "mine" / name).write_text(text)
    with pytest.raises(ConfigError, match=message):
        run(replace(reviews_config, output_dir=str(tmp_path / "mine"), overwrite=overwrite))
    assert (tmp_path / "mine" / "model" / "thesis.txt").read_text() == "mine"


def test_overwrite_replaces_another_run(finished, tmp_path):
    config, before = finished
    folder = shutil.copytree(config.output_dir, tmp_path / "run")
    small = {"trainable": "head", "num_folds": 2, "final": "none", "output_dir": str(folder)}
    result = run(replace(config, **small, overwrite=True))
    assert len(result.folds) == 2 < len(before.folds)
    assert len(CrossValidationResult.load(folder).folds) == 2
    assert not (folder / "folds" / "r0f2").exists()


def test_a_run_whose_settings_are_not_allowed_any_more_can_be_overwritten(reviews_config):
    folder = RunFolder(reviews_config.output_dir)
    folder.open(reviews_config)
    written = folder.path / "config.yaml"
    written.write_text(written.read_text().replace("num_folds: 3", "num_folds: 0"))
    with pytest.raises(ConfigError, match="cannot be read as a run's: num_folds=0 is too small"):
        folder.open(reviews_config)
    folder.open(replace(reviews_config, overwrite=True))
    assert RunConfig.load(written).num_folds == 3


def test_the_final_model_loads_with_plain_transformers_and_predicts_the_same(finished):
    from transformers import pipeline

    from hf_transfer.study.final.predict import predict_inputs

    config, result = finished
    texts = ["A wonderful little radio.", "It broke and nobody answered."]
    found, _ = predict_inputs(config.output_dir, texts)
    plain = pipeline("text-classification", model=f"{config.output_dir}/model")(texts)
    for ours, theirs in zip(found, plain, strict=True):
        assert ours["label"] == theirs["label"]
        assert ours["probability"] == pytest.approx(theirs["score"], abs=1e-5)
    weights = (Path(config.output_dir) / "model" / "model.safetensors").read_bytes()
    final = result.results.final
    assert {name: getattr(final, name) for name in ("kind", "path", "num_epochs", "num_rows", "sha256")} == {
        "kind": "refit", "path": "model", "num_epochs": 1, "num_rows": 60,
        "sha256": {"model.safetensors": hashlib.sha256(weights).hexdigest()},
    }  # fmt: skip


def test_a_plain_dataset_of_a_user_is_enough(reviews_config):
    rows = Dataset.from_dict(
        {
            "text": [f"{'good' if i % 2 else 'bad'} {i}" for i in range(12)],
            "label": [i % 2 for i in range(12)],
        }
    )
    result = cross_validate(SequenceClassification(reviews_config, ("0", "1")), rows, reviews_config)
    assert result.predictions.num_rows == 12


def test_repeats_use_other_folds(reviews_config):
    result = run(replace(reviews_config, trainable="head", num_repeats=2, num_folds=2, final="none"))
    first, second = (
        {(r["row_id"], r["fold"]) for r in result.predictions.to_pylist() if r["repeat"] == i} for i in (0, 1)
    )
    assert first != second
    assert [(f.repeat, f.fold) for f in result.folds] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert result.results.final.kind == "none"


def test_a_failed_fold_is_reported_and_the_rest_kept(reviews_config, monkeypatch):
    original = FoldRunner.fit

    def fail_in_fold_1(self, rows, seed, title, **options):
        if "fold 2" in title:
            raise RunError("the loss is not a finite number")
        return original(self, rows, seed, title, **options)

    monkeypatch.setattr(FoldRunner, "fit", fail_in_fold_1)
    config = replace(reviews_config, final="none", max_length=8)
    result = run(config)
    assert [fold.status for fold in result.folds] == ["done", "failed", "done"]
    assert result.scores["accuracy"].num_folds == 2
    assert any("1 of 3 folds failed" in note for note in result.results.notes)
    monkeypatch.setattr(FoldRunner, "fit", original)
    assert [fold.status for fold in run(config).folds] == ["done"] * 3


def test_whatever_goes_wrong_in_one_fold_the_others_go_on(reviews_config, monkeypatch, capsys):
    original = FoldRunner.fit
    errors = [ValueError("odd"), IndexError("Target 5 is out of bounds."), MemoryError()]

    def fail_but_in_the_last(self, rows, seed, title, **options):
        for fold, error in enumerate(errors, 1):
            if f"fold {fold}" in title:
                raise error
        return original(self, rows, seed, title, **options)

    monkeypatch.setattr(FoldRunner, "fit", fail_but_in_the_last)
    config = replace(reviews_config, num_folds=4, max_length=8)
    monkeypatch.setattr("sys.argv", ["recipe"])
    with pytest.raises(SystemExit) as end:
        run_recipe(lambda: run(config))
    assert end.value.code == 4
    said = capsys.readouterr().err
    write_card(config.output_dir)
    card = (Path(config.output_dir) / "README.md").read_text()
    assert "**3 of 4 folds failed**" in card
    for fold, error in enumerate(errors, 1):
        assert f"fold {fold}: {type(error).__name__}: {error}" in said
        assert f"Fold {fold}: it failed. {type(error).__name__}" in card
    assert "The final model is one of all rows all the same." in card
    assert not [check for check in verify_run(config.output_dir) if check.differences]


def test_a_full_disk_stops_the_run_and_not_only_a_fold(reviews_config, monkeypatch):
    def full(*_args, **_kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(RunFolder, "keep", full)
    config = replace(reviews_config, num_folds=2, final="none", max_length=8)
    with pytest.raises(DiskFullError, match=rf"disk at {config.output_dir}: .* free"):
        run(config)
    monkeypatch.undo()
    assert len(run(config).folds) == 2


def test_a_run_that_will_not_fit_is_refused_before_it_trains(reviews_config, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("hf_transfer.machine.files.shutil.disk_usage", lambda _: usage(10**9, 10**9, 10**6))
    monkeypatch.setattr(FoldRunner, "fit", lambda *_, **__: pytest.fail("it trained"))
    with pytest.raises(DiskFullError, match=r"27\.\d MB needed, 1\.0 MB free"):
        run(reviews_config)


def test_a_final_model_that_fails_leaves_the_report_of_the_folds(reviews_config, monkeypatch):
    original = FoldRunner.fit

    def fail_in_the_end(self, rows, seed, title, **options):
        if title == "final model":
            raise RunError("the loss is not a finite number")
        return original(self, rows, seed, title, **options)

    monkeypatch.setattr(FoldRunner, "fit", fail_in_the_end)
    config = replace(reviews_config, max_length=8, num_folds=2)
    result = run(config)
    assert result.incomplete
    assert not result.failed
    write_card(config.output_dir)
    card = (Path(config.output_dir) / "README.md").read_text()
    assert "The final model could not be made, and none is published. RunError: the loss is not" in card
    monkeypatch.setattr(FoldRunner, "fit", original)
    again = run(config)
    assert not again.incomplete
    assert again.results.final.kind == "refit"


def test_a_run_that_was_finished_is_left_as_it_is(finished):
    config, _ = finished
    before = {path: path.stat().st_mtime_ns for path in Path(config.output_dir).rglob("*") if path.is_file()}
    run(config)
    changed = {path.name for path, time in before.items() if path.stat().st_mtime_ns != time}
    assert changed <= {"config.yaml", "folds.parquet", "learned_rows.parquet"}  # written again, the same


def test_a_run_that_is_not_to_be_gone_on_with_is_refused(finished):
    config, _ = finished
    with pytest.raises(ConfigError, match="holds a run that resume=False does not go on with"):
        run(replace(config, resume=False))


def test_a_checkpoint_alone_holds_its_folder(reviews_config):
    folder = Path(reviews_config.output_dir)
    with RunFolder(folder).held(reviews_config):
        (folder / "folds" / "r0f0" / "checkpoint" / "step-00000003").mkdir(parents=True)
    with pytest.raises(ConfigError, match="num_epochs=1 there, 2 here"):
        run(replace(reviews_config, num_epochs=2))


def test_when_every_fold_fails_the_reason_is_said(reviews_config, monkeypatch):
    def fail(*_args, **_kwargs):
        raise RunError("out of luck")

    monkeypatch.setattr(FoldRunner, "fit", fail)
    with pytest.raises(RunError, match=r"Every fold failed\. The first: RunError: out of luck"):
        run(reviews_config)


def test_untouched_rows_are_scored_once_by_the_final_model(reviews_config, tmp_path):
    rows = [
        json.dumps({"text": f"{'good' if i % 2 else 'bad'} thing {i}", "label": i % 2}) for i in range(40)
    ]
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "train.jsonl").write_text("\n".join(rows[:30]))
    (tmp_path / "data" / "test.jsonl").write_text("\n".join(rows[30:]))
    result = run(replace(reviews_config, dataset=str(tmp_path / "data"), test_split="test"))
    assert result.results.test.num_rows == 10
    assert 0 <= result.results.test.scores["accuracy"] <= 1


def test_ner_scores_whole_entities(tmp_path):
    config = plain_config(
        base_model="builtin:tiny-bert", dataset="builtin:mentions", max_rows=60, num_folds=2, num_epochs=1,
        learning_rate=2e-3, batch_size=8, final="none", output_dir=str(tmp_path / "ner"),
    )  # fmt: skip
    result = run(config, TokenClassification)
    assert result.results.folds_scheme == "entity"
    rows = result.predictions.to_pylist()
    assert all(len(row["tokens"]) == len(row["labels"]) == len(row["predictions"]) for row in rows)
    assert set(result.scores) == {"precision", "recall", "f1", "accuracy"}


@pytest.mark.slow
def test_pictures_run_from_the_built_in_backbone(tmp_path):
    config = plain_config(
        base_model="builtin:digits-resnet", dataset="builtin:digits_5to9", max_rows=80, num_folds=2,
        num_epochs=8, learning_rate=1e-2, batch_size=16, trainable="head",
        output_dir=str(tmp_path / "digits"),
    )  # fmt: skip
    result = run(config, ImageClassification)
    assert result.scores["accuracy"].mean > 0.5
    assert result.results.library == "timm"


@pytest.mark.parametrize("trainable", ["head", pytest.param("all", marks=pytest.mark.slow)])
def test_a_grid_scores_every_configuration_on_the_same_folds_and_names_the_best(
    reviews_config, tiny_bert_folder, trainable
):
    config = replace(
        reviews_config, base_model=str(tiny_bert_folder), trainable=trainable, num_folds=2,
        learning_rates=(1e-5, 3e-2), weight_decays=(0.0, 0.1),
    )  # fmt: skip
    result = run(config)
    grid, metric = result.results.grid, result.results.primary_metric
    tried = [(entry.learning_rate, entry.settings["weight_decay"]) for entry in grid]
    assert tried == [(1e-5, 0.0), (1e-5, 0.1), (3e-2, 0.0), (3e-2, 0.1)]
    assert len({tuple(fold.seed for fold in entry.folds) for entry in grid}) == 1
    (best,) = [entry for entry in grid if entry.best]
    assert best.scores[metric].mean == max(entry.scores[metric].mean for entry in grid)
    assert result.scores[metric].mean == best.scores[metric].mean
    assert result.results.config.learning_rate == best.learning_rate
    assert any("Chosen from 4 configurations" in note for note in result.results.notes)
    others = [entry for entry in grid if entry is not best]
    assert all(entry.behind >= 0 and entry.bbc is None for entry in others)
    assert all(entry.p is None or entry.p <= entry.p_holm <= 1 for entry in others)
    assert 0 < best.bbc <= 1
    assert (best.behind, best.p, best.p_holm) == (None, None, None)
    chosen = {name: best.settings[name] for name in ("learning_rate", "weight_decay")}
    alone = run(
        replace(
            config, learning_rates=(), weight_decays=(), output_dir=config.output_dir + "-alone", **chosen
        )
    )
    assert alone.scores[metric].mean == pytest.approx(best.scores[metric].mean)
    assert alone.results.grid is None


@pytest.mark.slow
def test_a_grid_of_layers_trains_each_choice_as_it_would_alone(reviews_config, tiny_bert_folder):
    config = replace(
        reviews_config, base_model=str(tiny_bert_folder), trainables=("head", "last:1", "block.0*,block.1*"),
        learning_rates=(1e-3, 1e-2), final="none",
    )  # fmt: skip
    result = run(config)
    grid = result.results.grid
    assert len(grid) == 6
    assert len(list((Path(config.output_dir) / "folds").iterdir())) == 6
    assert len(result.results.replay) >= 2
    alone = replace(config, trainables=(), learning_rates=(), trainable="last:1", learning_rate=1e-2)
    alone = run(replace(alone, output_dir=config.output_dir + "-alone"))
    (same,) = [e for e in grid if (e.settings["trainable"], e.learning_rate) == ("last:1", 1e-2)]
    assert [fold.scores for fold in same.folds] == [fold.scores for fold in alone.folds]


@pytest.mark.slow
def test_a_head_that_starts_from_the_probe_is_better_at_once(reviews_config, tiny_bert_folder):
    config = replace(
        reviews_config, base_model=str(tiny_bert_folder), trainable="all", num_epochs=1, learning_rate=1e-9,
        final="none",
    )  # fmt: skip
    random = run(config)
    probe = run(replace(config, head_start="probe", output_dir=config.output_dir + "-probe"))
    losses = [[fold.train_scores["log_loss"] for fold in found.folds] for found in (probe, random)]
    assert max(losses[0]) < min(losses[1])  # with next to no rate it stays where it starts


@pytest.mark.slow
def test_a_grid_goes_on_with_what_is_missing_and_finds_the_same(reviews_config, tiny_bert_folder):
    config = replace(
        reviews_config, base_model=str(tiny_bert_folder), trainable="head", final="none",
        learning_rates=(1e-3, 3e-2),
    )  # fmt: skip
    first = run(config)
    for place in ("lr0.001-wd0.01/r0f1", "lr0.03-wd0.01/r0f2"):
        shutil.rmtree(Path(config.output_dir) / "folds" / place)
    again = run(config)
    assert again.predictions.equals(first.predictions)
    for before, after in zip(first.results.grid, again.results.grid, strict=True):
        assert before.scores == after.scores


@pytest.fixture(scope="module")
def heads(tiny_bert_folder, tmp_path_factory):
    """Three heads that were trained together."""
    config = plain_config(
        base_model=str(tiny_bert_folder), dataset="builtin:reviews", max_rows=60, num_folds=3, num_epochs=1,
        batch_size=16, learning_rate=1e-3, max_length=32, trainable="head", final="none",
        report_to="tensorboard", output_dir=str(tmp_path_factory.mktemp("heads") / "run"),
    )  # fmt: skip
    return config, run(config)


@pytest.mark.slow
def test_heads_that_fail_together_are_trained_one_by_one(heads, tmp_path, monkeypatch):
    config, together = heads

    def fail(*_):
        raise RuntimeError("no rule for this layer")

    monkeypatch.setattr("hf_transfer.study.fold_runner.fit_heads", fail)
    alone = run(replace(config, report_to="none", output_dir=str(tmp_path / "alone")))
    assert alone.predictions["prediction"] == together.predictions["prediction"]
    assert any("one by one" in note and "no rule for this layer" in note for note in alone.results.notes)


def test_heads_trained_together_are_tracked_and_timed(heads):
    config, result = heads
    logs = [path.parent.name for path in Path(config.output_dir).rglob("events.out.tfevents*")]
    assert {"r0f0", "r0f1", "r0f2"} <= set(logs)
    assert all(fold.seconds > 0 for fold in result.folds)


def test_configurations_that_nearly_agree_have_folders_of_their_own(reviews_config, tiny_bert_folder):
    rates = (1e-3, 1.0000001e-3)
    run(
        replace(
            reviews_config, base_model=str(tiny_bert_folder), trainable="head", final="none", num_folds=2,
            learning_rates=rates,
        )
    )  # fmt: skip
    folders = [path for path in (Path(reviews_config.output_dir) / "folds").iterdir() if path.is_dir()]
    assert len(folders) == 2

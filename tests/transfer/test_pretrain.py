"""`pretrain` on a small pool: resumed bit for bit, used as a base model, refused where rows are shared."""

import csv
import json
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessor

import hf_transfer.transfer.pretrain_loop as loop
from hf_transfer import RunConfig, cross_validate, open_dataset, pretrain, rank_models
from hf_transfer.cli.main import main
from hf_transfer.errors import ConfigError, DataError, ModelError, RunError
from hf_transfer.machine.signals import Interrupted, stop_signals
from hf_transfer.runs.pretrain_record import PretrainRecord
from hf_transfer.runs.reading import read_record
from hf_transfer.training.workers import make_accelerator
from hf_transfer.transfer.features import labelled_features
from hf_transfer.transfer.pretrain import OBJECTIVES
from hf_transfer.transfer.text_objectives import MaskedWords

NOUNS, VERBS = ("film", "actor", "scene", "plot", "cable"), ("saw", "liked", "knew", "missed")
LINES = [f"We {verb} the {noun} number {n}" for n in range(2) for noun in NOUNS for verb in VERBS]
SMALL = {"base_model": "builtin:tiny-bert", "max_length": 16, "batch_size": 8, "learning_rate": 1e-3}


@pytest.fixture(scope="module")
def pool(tmp_path_factory):
    path = tmp_path_factory.mktemp("pool") / "pool.txt"
    path.write_text("\n".join([*LINES, LINES[0].upper()]))
    return path


@pytest.fixture(scope="module")
def made(pool, tmp_path_factory):
    folder = tmp_path_factory.mktemp("made") / "model"
    return pretrain(pool, output_dir=str(folder), num_epochs=2, **SMALL), folder


def labelled(path, texts):
    with path.open("w", newline="") as stream:
        csv.writer(stream).writerows([["text", "label"], *([text, n % 2] for n, text in enumerate(texts))])
    return path


def stopped_at(monkeypatch, update):
    """Let a signal arrive after an update, as if a scheduler had sent it."""
    whole = loop.PretrainLoop._update

    def stopping(self, positions):
        whole(self, positions)
        if self.step == update:
            stop_signals.received = signal.SIGTERM

    monkeypatch.setattr(loop.PretrainLoop, "_update", stopping)


def test_the_loss_falls_and_the_folder_says_what_it_has_seen(made):
    record, folder = made
    assert [one.epoch for one in record.losses] == [0, 1, 2]
    assert record.losses[0].train_loss is None
    assert record.losses[2].held_out_loss < record.losses[0].held_out_loss
    assert (record.pool.num_rows, record.pool.num_held_out) == (len(LINES), 2)
    assert (record.verdict, record.probe, record.from_scratch) == ("not probed", None, True)
    assert "Rows that repeat another were left out: 1." in record.notes
    assert len({*record.rows}) == len(LINES)
    assert read_record(PretrainRecord, folder / "pretrain.json") == record
    assert not (folder / "checkpoints").exists()
    assert "--base_model" in (folder / "README.md").read_text()


@pytest.fixture(scope="module")
def picture_pool(tmp_path_factory):
    folder, random = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    for n in range(40):
        Image.fromarray(random.integers(0, 256, (32, 32, 3), np.uint8)).save(folder / f"{n}.png")
    return folder


@pytest.fixture(scope="module")
def vit(tmp_path_factory):
    folder = tmp_path_factory.mktemp("vit")
    config = ViTConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, image_size=32,
        patch_size=8, hidden_dropout_prob=0.1,
    )  # fmt: skip
    ViTForImageClassification(config).save_pretrained(folder)
    ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("objective", list(OBJECTIVES))
def test_a_stopped_training_goes_on_bit_for_bit(objective, pool, picture_pool, vit, tmp_path, monkeypatch):
    pictures = objective.endswith("pictures")
    given = {"base_model": str(vit), "augmentation": "crop-flip", "max_length": None} if pictures else {}

    def learn(name):
        rows = picture_pool if pictures else pool
        settings = SMALL | given | {"objective": objective, "num_epochs": 2}
        pretrain(rows, output_dir=str(tmp_path / name), **settings)
        return load_file(tmp_path / name / "model.safetensors")

    whole = learn("whole")
    with monkeypatch.context() as patched:
        stopped_at(patched, 7)
        with pytest.raises(Interrupted):
            learn("stopped")
    assert not (tmp_path / "stopped" / "pretrain.json").exists()
    resumed = learn("stopped")
    assert whole.keys() == resumed.keys()
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_a_model_is_never_there_without_its_record(pool, made, tmp_path, monkeypatch):
    def replace(self, target, whole=Path.replace):
        if self.parent.name == ".model" and self.name == "config.json":
            raise KeyboardInterrupt
        return whole(self, target)

    given = SMALL | {"output_dir": str(tmp_path), "num_epochs": 2}
    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", replace)
        with pytest.raises(KeyboardInterrupt):
            pretrain(pool, **given)
    assert (tmp_path / "pretrain.json").is_file()
    assert not (tmp_path / "config.json").exists()
    (tmp_path / "..model.999999999.tmp").mkdir()
    pretrain(pool, **given)
    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in made[1].iterdir()}
    whole, again = (load_file(folder / "model.safetensors") for folder in (made[1], tmp_path))
    assert all(torch.equal(whole[name], again[name]) for name in whole)


def test_a_finished_folder_is_read_and_another_training_is_refused(made, pool, monkeypatch):
    record, folder = made
    monkeypatch.setattr(loop.PretrainLoop, "run", None)
    assert pretrain(pool, output_dir=str(folder), num_epochs=2, **SMALL) == record
    with pytest.raises(ConfigError, match="holds another pretrained model"):
        pretrain(pool, output_dir=str(folder), num_epochs=3, **SMALL)


def test_a_finished_folder_is_probed_later_without_another_training(pool, tmp_path, monkeypatch):
    texts = [f"They {verb} a {noun} {n}" for n in range(2) for noun in NOUNS for verb in VERBS]
    probes = [str(labelled(tmp_path / name, texts[start:])) for name, start in (("a.csv", 0), ("b.csv", 4))]
    given = {"output_dir": str(tmp_path / "m"), "num_epochs": 1, "num_folds": 3, "num_repeats": 1, **SMALL}
    trained = pretrain(pool, **given)
    monkeypatch.setattr(loop.PretrainLoop, "run", None)
    first = pretrain(pool, probe=probes[0], **given)
    assert (first.probe.dataset, first.losses, trained.verdict) == ("a.csv", trained.losses, "not probed")
    assert first.verdict != "not probed"
    assert pretrain(pool, **given) == pretrain(pool, probe=probes[0], **given) == first
    assert pretrain(pool, probe=probes[1], **given).probe.dataset == "b.csv"
    assert pretrain(pool, probe=probes[1], **given | {"num_folds": 4}).probe.num_folds == 4


def test_a_folder_of_other_files_is_left_alone(pool, tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(ConfigError, match=r"thesis\.txt'?, which are no pretrained model's"):
        pretrain(pool, output_dir=str(tmp_path), **SMALL)


def test_time_ends_it(pool, tmp_path):
    record = pretrain(pool, output_dir=str(tmp_path / "m"), num_epochs=50, minutes=0.001, **SMALL)
    assert len(record.losses) == 2


def _nan_in_training(self, model, *given, whole=MaskedWords.loss):
    return whole(self, model, *given) * (float("nan") if model.training else 1.0)


def test_a_loss_that_is_no_number_stops_it(pool, tmp_path, monkeypatch):
    folder = tmp_path / "m"
    monkeypatch.setattr(MaskedWords, "loss", _nan_in_training)
    with pytest.raises(RunError, match=r"not a finite number at update 5 .* no model was written"):
        pretrain(pool, output_dir=str(folder), num_epochs=2, **SMALL)
    assert not (folder / "config.json").exists()


def test_rows_of_the_probe_in_the_pool_are_refused_unless_allowed(pool, tmp_path):
    other = [f"They {verb} a {noun} {n}" for n in range(2) for noun in NOUNS for verb in VERBS]
    data = labelled(tmp_path / "rows.csv", [*other, LINES[3].lower()])
    given = {"output_dir": str(tmp_path / "m"), "num_epochs": 1, "num_folds": 3, "probe": str(data), **SMALL}
    with pytest.raises(DataError, match=r"1 row of rows\.csv are in pool\.txt too.*--transductive"):
        pretrain(pool, **given)
    record = pretrain(pool, transductive=True, **given)
    assert (record.probe.num_shared, record.probe.num_rows) == (1, len(other) + 1)
    assert len(record.probe.before) == len(record.probe.after) == 15
    assert record.verdict in ("better", "no gain", "worse")
    assert any("(transductive)" in note for note in record.notes)


def test_a_run_refuses_rows_that_its_base_model_has_seen(made, tmp_path):
    _, folder = made
    data = labelled(tmp_path / "rows.csv", LINES[:24])
    config = RunConfig(
        dataset=str(data), base_model=str(folder), output_dir=str(tmp_path / "run"), num_folds=2,
        num_epochs=1, trainable="head", final="none", max_length=16, num_repeats=1,
    )  # fmt: skip

    def run(settings):
        rows = open_dataset(settings, "text")
        return cross_validate(rows.task(settings, rows.target), rows, settings)

    with pytest.raises(DataError, match=r"pretrained on 24 rows of this data set(.|\n)*--transductive"):
        run(config)
    notes = run(config.changed({"transductive": True})).results.notes
    assert any("24 rows of this data set are among them (transductive)" in note for note in notes)


def test_a_run_on_other_rows_says_what_the_base_model_has_seen(made, tmp_path):
    _, folder = made
    data = labelled(tmp_path / "rows.csv", [f"They know a {noun} {n}" for n in range(5) for noun in NOUNS])
    config = RunConfig(
        dataset=str(data), base_model=str(folder), output_dir=str(tmp_path / "run"), num_folds=2,
        num_epochs=1, trainable="head", final="none", max_length=16, num_repeats=1,
    )  # fmt: skip
    rows = open_dataset(config, "text")
    notes = cross_validate(rows.task(config, rows.target), rows, config).results.notes
    seen = f"pretrained without labels on {len(LINES)} rows of pool.txt, none of which is among these rows."
    assert any(seen in note for note in notes)


def test_rank_refuses_rows_that_a_model_has_seen(made, tmp_path):
    data = labelled(tmp_path / "rows.csv", LINES[:24])
    with pytest.raises(DataError, match="pretrained on 24 rows of this data set"):
        rank_models(RunConfig(dataset=str(data)), [str(made[1])], kind="text")


def test_features_of_rows_that_a_model_has_seen_are_refused(made, tmp_path):
    data = labelled(tmp_path / "rows.csv", LINES[:24])
    config = RunConfig(dataset=str(data), base_model=str(made[1]))
    with pytest.raises(DataError, match="pretrained on 24 rows of this data set"):
        labelled_features(config, make_accelerator(config), kind="text")


def test_what_came_before_counts_too(made, tmp_path):
    record, folder = made
    other = tmp_path / "other.txt"
    other.write_text("\n".join(f"They {verb} a {noun}" for noun in NOUNS for verb in VERBS))
    again = pretrain(
        other, output_dir=str(tmp_path / "m"), num_epochs=1, **SMALL | {"base_model": str(folder)}
    )
    assert {*record.rows} < {*again.rows}
    assert (again.from_scratch, again.new_weights) == (False, [])
    fresh = {"from_scratch": True, **SMALL, "base_model": str(folder)}
    assert len(pretrain(other, output_dir=str(tmp_path / "n"), num_epochs=1, **fresh).rows) == 20


def test_the_verb_prints_the_record_without_digests(pool, tmp_path, capsys):
    words = ["--base_model", "builtin:tiny-bert", "--num_epochs", "1", "--max_length", "16", "--lr", "1e-3"]
    assert main(["pretrain", str(pool), *words, "--output_dir", str(tmp_path / "m"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["verdict"], found["rows"], found["objective"]) == ("not probed", [], "masked-words")
    assert main(["pretrain", str(pool), *words, "--output_dir", str(tmp_path / "m")]) == 0
    assert "Did pretraining help? Not probed." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"objective": "guessing"}, ConfigError, "--objective guessing is not one of masked-words"),
        ({"objective": "masked-pictures"}, ConfigError, "not for texts. Take masked-words or same-texts"),
        ({"kind": "audio"}, ConfigError, "nothing to pretrain for --kind audio. Give image or text"),
        ({"minutes": 0}, ConfigError, "--minutes 0 is no time"),
        ({"objective": "same-texts", "batch_size": 1}, ConfigError, "batch_size=1: same-texts compares"),
        ({"objective": "same-pictures"}, ConfigError, "not for texts. Take masked-words or same-texts"),
        ({"base_model": "builtin:digits-resnet"}, ModelError, "digits-resnet"),
    ],
)
def test_what_cannot_be_done_is_told(settings, error, message, pool, tmp_path):
    with pytest.raises(error, match=message):
        pretrain(pool, output_dir=str(tmp_path / "m"), **SMALL | settings)


def test_texts_of_another_script_among_others_teach_nothing_and_alone_are_refused(tmp_path):
    foreign = ["漢字" * n for n in range(1, 31)]  # each a token that the tokenizer has for all it lacks
    (tmp_path / "foreign.txt").write_text("\n".join(foreign), encoding="utf-8")
    (tmp_path / "mixed.txt").write_text("\n".join([*foreign, *LINES]), encoding="utf-8")
    settings = SMALL | {"num_epochs": 1, "batch_size": 2}
    with pytest.raises(DataError, match="masked-words finds nothing to learn in rows"):
        pretrain(tmp_path / "foreign.txt", output_dir=str(tmp_path / "m"), **settings)
    record = pretrain(tmp_path / "mixed.txt", output_dir=str(tmp_path / "n"), **settings)
    assert np.isfinite(record.losses[-1].train_loss)


def test_too_few_rows_are_told(tmp_path):
    (tmp_path / "few.txt").write_text("\n".join(LINES[:5]))
    with pytest.raises(DataError, match="5 distinct rows, and pretraining needs 20"):
        pretrain(tmp_path / "few.txt", output_dir=str(tmp_path / "m"), **SMALL)

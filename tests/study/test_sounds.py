"""Sounds, the whole way: replayed, reported, and published as models that plain pipelines load."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import transformers
from packaging import version
from small_runs import plain_config
from sound_models import save_model, tones
from transformers import pipeline

from hf_transfer import AudioClassification, cross_validate, predict
from hf_transfer.data.rows import label_rows
from hf_transfer.report.card.card import write_card
from hf_transfer.report.compare import open_runs
from hf_transfer.report.page.page import render
from hf_transfer.study.final.predict import predict_inputs
from hf_transfer.tasks.inputs.sounds import read_sound, resampled
from hf_transfer.verify.verify_run import verify_run

NEAR = 1e-6
WAYS = [
    ("wav2vec2", "classes", {"head_solver": "lbfgs"}),
    ("wav2vec2-layer", "classes", {"trainable": "last:1"}),
    pytest.param(("hubert", "label_sets", {}), marks=pytest.mark.slow, id="hubert-label_sets"),
    pytest.param(("ast", "numbers", {}), marks=pytest.mark.slow, id="ast-numbers"),
]


def make(folder: Path, family: str, target: str, **settings):
    base = folder.with_name(f"{folder.name} base")
    config = plain_config(
        **{
            "base_model": save_model(base, family),
            "num_folds": 2,
            "num_epochs": 1,
            "batch_size": 8,
            "trainable": "head",
            "learning_rate": 1e-2,
            "output_dir": str(folder),
            **settings,
        }
    )
    data = label_rows(tones(target), config, "audio")
    assert data.target.name == target
    cross_validate(AudioClassification(config, data.target), data, config)
    return data


@pytest.fixture(scope="module", params=WAYS, ids=lambda way: "-".join(way[:2]))
def run(request, tmp_path_factory):
    family, target, settings = request.param
    folder = tmp_path_factory.mktemp("sounds") / f"{family}-{target}"
    return folder, make(folder, family, target, **settings)


def results_of(folder):
    return json.loads((folder / "results.json").read_text())


def saved(folder, sounds):
    """Sounds as files, one of each way to write them."""
    paths = [str(folder / f"{row}.wav") for row in range(len(sounds))]
    for path, sound in zip(paths, sounds, strict=True):
        Path(path).write_bytes(sound["bytes"])
    return paths


def test_frozen_layers_are_replayed(run):
    folder, _ = run
    if "layer" in folder.name and version.parse(transformers.__version__) < version.parse("5.24"):
        pytest.skip("older versions of this encoder run in full")
    results = results_of(folder)
    assert [found["cut"] for found in results["replay"]]
    assert not any("run in full" in note for note in results["notes"])
    assert any("resampled from 8,000 Hz to the model's 16,000 Hz" in note for note in results["notes"])
    assert results["dataset"]["grouped_by"] == "speaker"


@pytest.mark.slow
def test_what_is_replayed_scores_as_what_runs_in_full(tmp_path):
    found = []
    for replay in (True, False):
        settings = {"trainable": "last:1", "replay": replay, "final": "none", "max_rows": 12}
        make(tmp_path / f"{replay}", "wav2vec2", "classes", **settings)
        rows = pq.read_table(tmp_path / f"{replay}" / "predictions.parquet").sort_by("row_id")
        found.append(np.array(rows["logits"].to_pylist()))
    assert np.abs(found[0] - found[1]).max() < 1e-5


def published(folder: Path, sounds, num_labels: int) -> np.ndarray:
    """What a plain pipeline says of some sounds: a column for each label, in the order of their ids."""
    classify = pipeline("audio-classification", model=str(folder / "model"))
    # Versions before 5.24 do not go by the problem type.
    kind = {"regression": "none", "multi_label_classification": "sigmoid"}
    apply = kind.get(classify.model.config.problem_type, "softmax")
    place = classify.model.config.label2id
    values = np.zeros((len(sounds), num_labels))
    for row, sound in enumerate(map(read_sound, sounds)):
        for answer in classify(
            resampled(sound.mono, sound.rate, 16_000), top_k=num_labels, function_to_apply=apply
        ):
            values[row, place[answer["label"]]] = answer["score"]
    return values


def test_a_plain_pipeline_gives_the_scores_that_the_kit_gives(run, tmp_path):
    folder, data = run
    sounds = data.rows["input"][:5]
    ours, _ = predict_inputs(folder, saved(tmp_path, sounds), all_probabilities=not data.target.scales)
    plain = published(folder, sounds, len(data.label_names))
    own = np.array(
        [
            [one["probabilities"][name] for name in data.label_names]
            if "probabilities" in one
            else [one["number"]]
            for one in ours
        ]
    )
    assert np.abs(plain - own).max() <= NEAR


def test_everything_that_is_written_follows_from_the_predictions(run):
    folder, _ = run
    write_card(folder)
    assert [check for check in verify_run(folder) if check.state == "wrong"] == []
    card = (folder / "README.md").read_text()
    assert 'pipeline("audio-classification"' in card
    assert "audio-classification" in card.split("---")[1]


def test_a_report_plays_the_hardest_rows(run, monkeypatch):
    folder, data = run
    monkeypatch.setattr("hf_transfer.data.opening.open_dataset", lambda *_: data)
    page = render(open_runs([folder])[0], with_data=True)
    assert '<audio controls preload="none" src="data:audio/wav;base64,' in page
    assert "media-src data:" in page


def test_new_sounds_come_as_files_folders_and_arrays(run, tmp_path):
    folder, data = run
    paths = saved(tmp_path, data.rows["input"][:2])
    in_folder = predict(folder, str(tmp_path))
    assert len(in_folder) == 2
    np.savez(tmp_path / "0.npz", array=read_sound(paths[0]).mono, sampling_rate=8000)
    whole = [
        {"array": (read_sound(path).mono * 32768).astype(int).tolist(), "sampling_rate": 8000}
        for path in paths
    ]
    (tmp_path / "rows.json").write_text(json.dumps(whole))
    from_file = predict(folder, [paths[0], str(tmp_path / "0.npz")])
    assert from_file[0] | {"input": ""} == from_file[1] | {"input": ""}
    from_json = predict(folder, str(tmp_path / "rows.json"))
    assert [one | {"input": ""} for one in from_json] == [one | {"input": ""} for one in in_folder]

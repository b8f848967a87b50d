"""The arm that judges by names, beside small runs; and CLIP as a base model, the whole way."""

import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from datasets import Dataset
from small_runs import edit, edit_rows, plain_config, wrong
from target_rows import texts
from transformers import pipeline
from zero_shot_models import NAMES, entailment, pictures_and_texts

from hf_transfer import ImageClassification, RunConfig, SequenceClassification, cross_validate, open_dataset
from hf_transfer.data.rows import label_rows
from hf_transfer.errors import ConfigError, ModelError
from hf_transfer.report.card.card import card_text
from hf_transfer.report.compare import open_runs
from hf_transfer.report.page.page import render
from hf_transfer.runs.results import read_results
from hf_transfer.runs.summary import summary_text
from hf_transfer.study.final.predict import predict_inputs
from hf_transfer.tasks.inputs.judges import PictureJudge
from hf_transfer.tasks.inputs.pictures import read_picture
from hf_transfer.verify.verify_run import verify_run

SMALL = {"num_folds": 3, "num_epochs": 1, "trainable": "head", "learning_rate": 1e-2, "final": "none"}


def named_digits() -> Dataset:
    rows = open_dataset(RunConfig(dataset="builtin:digits_5to9", max_rows=40), "image").rows
    names = [NAMES[digit] for digit in rows["label"]]
    return rows.select_columns(["input"]).rename_column("input", "image").add_column("label", names)


def train(rows: Dataset, task, folder: Path, **settings):
    config = plain_config(**SMALL | {"output_dir": str(folder)} | settings)
    data = label_rows(rows, config, task.input.name)
    return cross_validate(task(config, data.target), data, config), data


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> str:
    return pictures_and_texts(tmp_path_factory.mktemp("models") / "clip")


@pytest.fixture(scope="module")
def nli(tmp_path_factory) -> str:
    return entailment(tmp_path_factory.mktemp("models") / "nli")


@pytest.fixture(scope="module")
def run(tmp_path_factory, clip) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "pictures"
    train(named_digits(), ImageClassification, folder, base_model="builtin:digits-resnet", zero_shot=clip)
    return folder


def kept(run: Path) -> list[dict]:
    """What was predicted without training, over all folds."""
    paths = sorted(run.glob(f"folds/**/{read_results(run).zero_shot.folder}/*/predictions.parquet"))
    return [row for path in paths for row in pq.read_table(path).to_pylist()]


def test_every_row_is_judged_once_as_a_plain_pipeline_does(run, clip):
    zero_shot, rows = read_results(run).zero_shot, {row["row_id"]: row for row in kept(run)}
    assert len(kept(run)) == len(rows) == 40
    assert zero_shot.prompts == [f"a photo of a {name}." for name in read_results(run).label_names]
    judge = pipeline("zero-shot-image-classification", model=clip)
    own = label_rows(named_digits(), plain_config(), "image")
    for place in (0, 17, 39):
        found = judge(
            read_picture(own.rows["input"][place]),
            list(own.label_names),
            hypothesis_template="a photo of a {}.",
        )
        plain = {answer["label"]: answer["score"] for answer in found}
        logits = torch.tensor(rows[own.rows["row_id"][place]]["logits"])
        assert logits.softmax(0).tolist() == pytest.approx(
            [plain[name] for name in own.label_names], abs=1e-6
        )


def test_it_is_scored_and_tested_on_the_folds_of_the_run(run):
    results = read_results(run)
    zero_shot, pair = results.zero_shot, results.zero_shot.pair
    right = np.array([row["label"] == row["prediction"] for row in kept(run)])
    folds = np.array([row["fold"] for row in kept(run)])
    means = [right[folds == fold].mean() for fold in range(3)]
    assert zero_shot.scores["accuracy"].mean == pytest.approx(np.mean(means))
    assert (pair.first, pair.second) == ("zero-shot", "fine-tuning")
    assert list(pair.differences.values()) == pytest.approx(
        [fold.scores["accuracy"] - mean for fold, mean in zip(results.folds, means, strict=True)]
    )
    own = {row["row_id"]: row for row in pq.read_table(run / "predictions.parquet").to_pylist()}
    only = [row for row in kept(run) if row["label"] == row["prediction"] != own[row["row_id"]]["prediction"]]
    assert (pair.rows.only_first, pair.rows.num_rows) == (len(only), 40)


def test_card_report_and_summary_say_the_verdict(run):
    results = read_results(run)
    card, page = card_text(run, results, "a run", list), render(open_runs([run])[0], with_data=False)
    for text in (card, page):
        assert "Is fine-tuning worth it?" in text
        assert "reaches" in text
        assert "by the names of the classes alone" in text
    assert f"zero-shot: {results.zero_shot.verdict}" in summary_text(results)
    assert str(run.parents[1]) not in card


def test_the_folds_are_the_same_without_it(run, tmp_path):
    train(named_digits(), ImageClassification, tmp_path / "r", base_model="builtin:digits-resnet")
    assert (run / "predictions.parquet").read_bytes() == (tmp_path / "r/predictions.parquet").read_bytes()
    assert read_results(tmp_path / "r").zero_shot is None


@pytest.mark.slow
def test_what_was_judged_is_never_judged_again(run, clip, tmp_path, monkeypatch):
    settings = {"base_model": "builtin:digits-resnet", "zero_shot": clip}
    monkeypatch.setattr(PictureJudge, "answers", lambda *_: pytest.fail("it was judged again"))
    result, _ = train(named_digits(), ImageClassification, run, **settings)
    assert result.results.zero_shot == read_results(run).zero_shot
    other, _ = train(named_digits(), ImageClassification, tmp_path / "r", learning_rate=1e-3, **settings)
    assert other.results.zero_shot.scores == result.results.zero_shot.scores


def test_another_template_stands_beside_the_first(run, clip, tmp_path):
    copy = shutil.copytree(run, tmp_path / "r")
    settings = {"base_model": "builtin:digits-resnet", "zero_shot": clip, "zero_shot_template": "{}!"}
    result, _ = train(named_digits(), ImageClassification, copy, **settings)
    assert result.results.zero_shot.prompts[0] == "eight!"
    assert len(list(copy.glob("folds/zero-shot-*"))) == 2
    assert wrong(copy) == ""


def test_its_scores_are_verified(run, tmp_path):
    (check,) = [check for check in verify_run(run) if check.name == "zero-shot"]
    assert check.state == "ok"
    assert wrong(run) == ""
    copy = shutil.copytree(run, tmp_path / "r")
    folder = f"folds/{read_results(run).zero_shot.folder}"

    def answer_otherwise(rows):
        rows[0]["logits"] = rows[0]["logits"][::-1]

    edit_rows(copy, answer_otherwise, f"{folder}/r0f1/predictions.parquet")
    assert f"{folder}/r0f1.readings" in wrong(copy)
    edit(run := shutil.copytree(run, tmp_path / "s"), lambda r: r["zero_shot"]["pair"].update(p=1e-9))
    assert "zero_shot.pair.p: written 1e-09" in wrong(run)
    shutil.rmtree(run / folder)
    (check,) = [check for check in verify_run(run) if check.name == "zero-shot"]
    assert check.state == "not checked"


@pytest.mark.parametrize("target", ["classes", pytest.param("label_sets", marks=pytest.mark.slow)])
def test_texts_are_judged_by_entailment(target, nli, tmp_path):
    rows = texts("label_sets")
    if target == "classes":
        rows["label"] = ["good" if "good" in row else "other" for row in rows["label"]]
    grid = {"learning_rates": (1e-3, 1e-2)} if target == "label_sets" else {}
    settings = {"base_model": "builtin:tiny-bert", "zero_shot": nli, "num_repeats": 2} | grid
    result, data = train(Dataset.from_dict(rows), SequenceClassification, tmp_path / "r", **settings)
    zero_shot = result.results.zero_shot
    assert zero_shot.prompts[0] == f"This example is {data.label_names[0]}."
    assert (zero_shot.pair.rows is None) == (target == "label_sets")
    assert len(zero_shot.pair.differences) == 6
    judge = pipeline("zero-shot-classification", model=nli)
    text, row_id = data.rows["input"][5], data.rows["row_id"][5]
    found = judge(text, list(data.label_names), multi_label=target == "label_sets")
    plain = dict(zip(found["labels"], found["scores"], strict=True))
    logits = torch.tensor(next(row["logits"] for row in kept(tmp_path / "r") if row["row_id"] == row_id))
    own = logits.softmax(0) if target == "classes" else logits.sigmoid()
    assert own.tolist() == pytest.approx([plain[name] for name in data.label_names], abs=1e-6)
    assert wrong(tmp_path / "r") == ""


def test_what_cannot_be_judged_is_refused_before_anything_is_trained(nli, clip, tmp_path):
    digits = open_dataset(RunConfig(dataset="builtin:digits_5to9", max_rows=40), "image").rows
    digits = digits.select_columns(["input", "label"]).rename_column("input", "image")
    named, numbers, sets = (
        named_digits(),
        *(Dataset.from_dict(texts(one)) for one in ("numbers", "label_sets")),
    )
    for rows, task, zero_shot, error, said in (
        (digits, ImageClassification, clip, ConfigError, "names '0', .* say nothing"),
        (named, ImageClassification, nli, ModelError, "is a bert, which does not"),
        (named, ImageClassification, "auto", ModelError, "'builtin:digits-resnet' is"),
        (named, ImageClassification, str(tmp_path), ModelError, "^zero_shot=.* holds no config.json"),
        (numbers, SequenceClassification, nli, ConfigError, "the labels are numbers"),
        (sets, SequenceClassification, "auto", ModelError, "has no label 'entailment'"),
    ):
        base = "builtin:digits-resnet" if task is ImageClassification else "builtin:tiny-bert"
        with pytest.raises(error, match=said):
            train(rows, task, tmp_path / "r", base_model=base, zero_shot=zero_shot)
        assert not (tmp_path / "r").exists()


def test_tagged_sentences_have_no_such_setting():
    with pytest.raises(ConfigError, match="zero_shot='x': tagged sentences have no such setting"):
        open_dataset(RunConfig(base_model="x", dataset="builtin:mentions", zero_shot="x"), "tokens")


def test_a_template_needs_a_place_and_a_model():
    with pytest.raises(ConfigError, match=r"zero_shot_template='a photo' must hold \{\} once"):
        RunConfig(zero_shot="x", zero_shot_template="a photo")
    with pytest.raises(ConfigError, match="zero_shot_template is of no use without zero_shot"):
        RunConfig(zero_shot_template="a {}")


@pytest.mark.parametrize(
    ("kind", "trainable"), [("clip", "head"), pytest.param("siglip", "last:1", marks=pytest.mark.slow)]
)
def test_the_base_model_may_be_one_of_pictures_and_texts(kind, trainable, tmp_path):
    base = pictures_and_texts(tmp_path / "base", kind=kind)
    settings = {"base_model": base, "zero_shot": "auto", "trainable": trainable, "final": "refit"}
    result, data = train(named_digits(), ImageClassification, tmp_path / "r", **settings)
    assert result.results.zero_shot.model == base
    assert result.results.replay, "frozen layers were not replayed"
    assert result.results.frozen_proof.equal
    assert result.results.final.reload.problem is None
    assert wrong(tmp_path / "r") == ""
    whole, _ = train(named_digits(), ImageClassification, tmp_path / "whole", **settings, replay=False)
    logits = [np.array(run.predictions["logits"].to_pylist()) for run in (result, whole)]
    assert np.abs(logits[0] - logits[1]).max() < 1e-4
    pictures = [read_picture(picture) for picture in data.rows["input"][:4]]
    paths = [str(tmp_path / f"{place}.png") for place in range(4)]
    for path, picture in zip(paths, pictures, strict=True):
        picture.save(path)
    own, _ = predict_inputs(tmp_path / "r", paths, all_probabilities=True)
    plain = pipeline("image-classification", model=str(tmp_path / "r/model"))
    for ours, picture in zip(own, pictures, strict=True):
        found = {answer["label"]: answer["score"] for answer in plain(picture, top_k=5)}
        assert ours["probabilities"] == pytest.approx(found, abs=1e-6)


def test_the_classifier_of_clip_reads_the_mean_of_the_patches(clip):
    """So its head can't start from texts: these are set beside another vector, projected and of length 1."""
    task = ImageClassification(RunConfig(base_model=clip), NAMES)
    model, pixels = task.build_model().eval(), torch.randn(2, 3, 16, 16)
    with torch.no_grad():
        patches = model.vision_model(pixels).last_hidden_state[:, 1:]
        assert torch.allclose(model(pixels).logits, model.classifier(patches.mean(1)), atol=1e-6)

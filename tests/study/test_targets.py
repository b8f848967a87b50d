"""Numbers and sets of labels, of texts and pictures, the whole way: to a model that plain pipelines load."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import datasets
import numpy as np
import pyarrow.parquet as pq
import pytest
from datasets import Dataset
from small_runs import edit, plain_config, wrong
from target_rows import pictures, texts
from torch import nn
from transformers import pipeline
from transformers.models.bert.modeling_bert import BertLayer

from hf_transfer import ImageClassification, SequenceClassification, cross_validate, predict, score
from hf_transfer.data.rows import label_rows
from hf_transfer.errors import ConfigError, DataError, HubError
from hf_transfer.report.card.card import write_card
from hf_transfer.report.compare import compare_runs, open_runs
from hf_transfer.report.page.page import render
from hf_transfer.runs.hub.files import collect
from hf_transfer.runs.results import read_results
from hf_transfer.study.final.predict import predict_inputs
from hf_transfer.tasks.inputs.pictures import read_picture
from hf_transfer.verify.verify_run import verify_run

TASKS = {"text": SequenceClassification, "image": ImageClassification}
MODELS = {"text": "builtin:tiny-bert", "image": "builtin:digits-resnet"}
NEAR = 1e-6
# What has to be said of labels that may be read in several ways.
SETTINGS = {
    "grades": {"target": "grades"},
    "several": {"target": "numbers", "label_columns": ("price", "stars")},
}
MEASURED = ("numbers", "several", "grades")


def make(kind: str, target: str, folder: Path, **settings):
    rows = Dataset.from_dict(texts(target)) if kind == "text" else pictures(target)
    config = plain_config(
        **{
            "base_model": MODELS[kind],
            "num_folds": 3,
            "num_epochs": 2,
            "trainable": "head",
            "learning_rate": 1e-2,
            "output_dir": str(folder),
            **SETTINGS.get(target, {}),
            **settings,
        }
    )
    data = label_rows(rows, config, kind)
    assert data.target.name == SETTINGS.get(target, {}).get("target", target)
    cross_validate(TASKS[kind](config, data.target), data, config)
    return data


SELDOM = [("text", "label_sets"), ("image", "numbers"), ("text", "several"), ("text", "grades")]
# Targets and inputs know nothing of each other, so that two pairs of each stand for all in the default run.
ALL = [
    ("text", "numbers"),
    ("image", "label_sets"),
    *(pytest.param(pair, marks=pytest.mark.slow) for pair in SELDOM),
]


@pytest.fixture(scope="module", params=ALL, ids="-".join)
def run(request, tmp_path_factory):
    kind, target = request.param
    folder = tmp_path_factory.mktemp(kind) / target
    return kind, target, folder, make(kind, target, folder)


def published(kind: str, folder: Path, inputs, num_labels: int) -> np.ndarray:
    """What a plain pipeline says of some inputs: a column for each label, in the order of their ids."""
    classify = pipeline(TASKS[kind].name, model=str(folder / "model"))
    found = [classify(one, top_k=num_labels) for one in inputs]
    place = classify.model.config.label2id
    values = np.zeros((len(inputs), num_labels))
    for row, answers in enumerate(found):
        for answer in answers:
            values[row, place[answer["label"]]] = answer["score"]
    return values


def test_a_plain_pipeline_gives_the_scores_that_the_kit_gives(run, tmp_path):
    kind, target, folder, data = run
    rows = data.rows["input"][:6]
    inputs = rows if kind == "text" else [read_picture(picture) for picture in rows]
    shown = rows
    if kind == "image":
        shown = [str(tmp_path / f"{i}.png") for i in range(len(rows))]
        for path, picture in zip(shown, inputs, strict=True):
            picture.save(path)
    ours, text = predict_inputs(folder, shown)
    plain = published(kind, folder, inputs, len(data.label_names))
    if target in MEASURED:
        own = np.array(
            [list(one["numbers"].values()) if "numbers" in one else [one["number"]] for one in ours]
        )
        assert np.abs(plain - own).max() <= NEAR * np.abs(own).max()
    else:
        own = np.array([[one["probabilities"][name] for name in data.label_names] for one in ours])
        assert np.abs(plain - own).max() <= NEAR
        given = [{n for n, share in zip(data.label_names, row, strict=True) if share >= 0.5} for row in plain]
        assert given == [set(one["labels"]) for one in ours]
    assert len(text.splitlines()) == len(rows) + (target == "several")  # a line of names


def test_a_model_goes_to_the_hub_only_as_plain_libraries_loaded_it(run, tmp_path):
    _, _, folder, _ = run
    write_card(folder)
    reload = read_results(folder).final.reload
    assert reload.error is None
    assert reload.difference <= NEAR
    assert "config.json" in collect(folder)
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    settings = json.loads((copy / "model" / "config.json").read_text())
    settings["problem_type"] = "single_label_classification"
    (copy / "model" / "config.json").write_text(json.dumps(settings))
    with pytest.raises(
        HubError, match=r"not the model that was loaded and compared: file config\.json changed"
    ):
        collect(copy)


def test_everything_that_is_written_follows_from_the_predictions(run):
    _, target, folder, _ = run
    write_card(folder)
    checks = verify_run(folder)
    assert [check for check in checks if check.state == "wrong"] == []
    results = read_results(folder)
    assert results.target == SETTINGS.get(target, {}).get("target", target)
    card = (folder / "README.md").read_text()
    assert ("regression)" in card) == (target in MEASURED)
    assert ("plots/scatter.png" in card) == (target in MEASURED)
    assert ("hf-transfer:begin cuts" in card) == (target in ("label_sets", "grades"))
    assert ("### Each label" in card) == (target == "label_sets")


@pytest.mark.parametrize("kind_and_target", [("text", "grades"), ("image", "label_sets")], ids="-".join)
def test_sealed_rows_are_scored_with_the_published_cut_points_too(tmp_path, kind_and_target):
    kind, target = kind_and_target
    make(kind, target, tmp_path / "run", sealed=0.2)
    write_card(tmp_path / "run")
    sealed = read_results(tmp_path / "run").final.sealed
    assert sealed.cut.keys() < sealed.scores.keys()
    assert "With the published cut points, which these rows had no part in" in card_of(tmp_path / "run")
    assert wrong(tmp_path / "run") == ""
    name = next(iter(sealed.cut))
    edit(tmp_path / "run", lambda v: v["final"]["sealed"]["cut"].update({name: 0.123}))
    assert f"sealed.cut.{name}: written 0.123, recomputed" in wrong(tmp_path / "run")


def card_of(folder: Path) -> str:
    return (folder / "README.md").read_text(encoding="utf-8")


def test_a_run_is_reported_and_compared_with_another(run):
    kind, target, folder, _ = run
    other = folder.with_name(f"other {target}")
    make(kind, target, other, num_epochs=1, final="none")
    pair = compare_runs(open_runs([folder, other])).pairs[0]
    assert pair.rows is None
    assert pair.bootstrap.difference is not None
    page = render(open_runs([folder])[0])
    assert ("Predicted against true" in page) == (target in MEASURED)
    assert "Hardest rows" in page


def test_folds_are_balanced(run):
    _, target, folder, _ = run
    split = pq.read_table(folder / "folds.parquet").to_pylist()
    if target in ("numbers", "grades"):
        counts = np.zeros((3, 1 + max(row["label"] for row in split)))
        for row in split:
            counts[row["fold"], row["label"]] += 1
    else:
        counts = np.zeros((3, len(split[0]["mentions"])))
        for row in split:
            counts[row["fold"]] += list(row["mentions"].values())
    spread = counts.max(0) - counts.min(0)
    assert spread[counts.sum(0).argmin()] <= 1  # the rarest label, which comes first
    assert target in ("label_sets", "several") or spread.max() <= 1


def test_a_constant_added_to_all_numbers_changes_no_error(tmp_path):
    scores = []
    for start in (0.0, 5e4):
        rows = texts("numbers")
        rows["label"] = [number + start for number in rows["label"]]
        config = plain_config(
            base_model=MODELS["text"], num_folds=3, num_epochs=2, trainable="head", learning_rate=1e-2,
            output_dir=str(tmp_path / str(start)), final="none",
        )  # fmt: skip
        data = label_rows(Dataset.from_dict(rows), config, "text")
        result = cross_validate(SequenceClassification(config, data.target), data, config)
        scores.append(result.scores["mae"].mean)
    assert scores[0] == pytest.approx(scores[1], rel=1e-3)


def test_a_task_is_made_for_the_labels_of_its_rows(tmp_path):
    config = plain_config(base_model=MODELS["text"], output_dir=str(tmp_path))
    data = label_rows(Dataset.from_dict(texts("numbers")), config, "text")
    with pytest.raises(ConfigError, match=r"were read as numbers \(name label\), .* was made for classes"):
        cross_validate(SequenceClassification(config, ["a", "b"]), data, config)
    wrong = plain_config(base_model=MODELS["text"], output_dir=str(tmp_path), label_smoothing=0.1)
    with pytest.raises(ConfigError, match=r"label_smoothing=0\.1 is for classes, and the labels are numbers"):
        cross_validate(SequenceClassification(wrong, data.target), data, wrong)


def test_columns_of_0_and_1_and_texts_with_a_separator_are_sets(tmp_path):
    rows = {"text": ["a", "b", "c"], "cat": [1, 0, 1], "dog": [0, 0, 1]}
    config = plain_config(base_model=MODELS["text"], label_columns=("cat", "dog"))
    data = label_rows(Dataset.from_dict(rows), config, "text")
    assert (data.target.name, data.label_names) == ("label_sets", ("cat", "dog"))
    assert data.rows["label"][:] == [[0], [], [0, 1]]
    texts_of = {"text": rows["text"], "cat": ["1", "0", "True"], "dog": ["0.0", " false", "1"]}
    assert label_rows(Dataset.from_dict(texts_of), config, "text").rows["label"][:] == [[0], [], [0, 1]]
    with pytest.raises(DataError, match=r"1 row with neither 0 nor 1 in column 'cat': row 2 .* has 'maybe'"):
        label_rows(
            Dataset.from_dict(texts_of | {"cat": ["1", "0", "maybe"]}),
            replace(config, target="label_sets"),
            "text",
        )
    rows = {"text": ["a", "b", "c"], "label": ["cat", "", "dog| cat"]}
    data = label_rows(Dataset.from_dict(rows), plain_config(label_separator="|"), "text")
    assert (data.label_names, data.rows["label"][:]) == (("cat", "dog"), [[0], [], [0, 1]])


def test_other_rows_are_scored_and_labelled(run, tmp_path):
    kind, target, folder, data = run
    if kind != "text" or target == "several":
        pytest.skip("the same code")
    labels = {"numbers": [1041.5, 1000.5], "grades": [5, 3], "label_sets": [["good"], []]}[target]
    rows = [{"text": text, "label": label} for text, label in zip(("good dull", "warm"), labels, strict=True)]
    (tmp_path / "new.jsonl").write_text("\n".join(map(json.dumps, rows)))
    found = score(folder, tmp_path / "new.jsonl")
    assert (found.num_rows, found.num_seen) == (2, None)
    assert "Not known is whether rows were learned from" in found.notes[-1]
    assert found.scores.keys() >= data.target.scorer.higher_is_better.keys()
    answers = predict(folder, tmp_path / "new.jsonl", output=tmp_path / "out.csv")
    header = (tmp_path / "out.csv").read_text().splitlines()[0]
    says = {
        "numbers": "text,label,number",
        "grades": "text,label,grade,number",
        "label_sets": "text,label,labels,probability_bad",
    }[target]
    assert header.startswith(says)
    if target in MEASURED:
        with pytest.raises(ConfigError, match=r"gives .*, which have no probabilities\. Leave --top_k"):
            predict(folder, ["warm"], top_k=2)
        wanted = np.abs([one["number"] - label for one, label in zip(answers, labels, strict=True)]).mean()
        assert found.scores["mae"].value == pytest.approx(wanted)


@pytest.mark.parametrize(
    ("kind", "target"),
    [
        pytest.param("image", "numbers", marks=pytest.mark.slow),
        ("image", "label_sets"),
        pytest.param("text", "numbers", marks=pytest.mark.slow),
        ("text", "label_sets"),
    ],
)
def test_heads_of_all_folds_and_rates_cost_one_pass(kind, target, tiny_bert_folder, tmp_path, monkeypatch):
    """5 folds at 8 rates: what is frozen runs once over the rows, and over some of them for its proof."""
    seen = []
    layer = {"image": nn.Conv2d, "text": BertLayer}[kind]
    forward = layer.forward

    def counted(self, x, *others, **named):
        seen.append(len(x))
        return forward(self, x, *others, **named)

    monkeypatch.setattr(layer, "forward", counted)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")  # nothing is stored yet
    rates = tuple(1e-3 * 2**i for i in range(8))
    # The built-in model of texts has random weights, others in each fold, so that nothing is stored of it.
    base = {"image": MODELS["image"], "text": str(tiny_bert_folder)}[kind]
    settings = {"base_model": base, "num_folds": 5, "learning_rates": rates, "final": "none"}
    data = make(kind, target, tmp_path / "run", **settings)
    model = TASKS[kind](plain_config(base_model=base), data.target).build_model()
    num_layers = sum(isinstance(module, layer) for module in model.modules())
    assert 1 <= sum(seen) / (num_layers * len(data.rows)) <= 1.5

"""Pairs of texts the whole way, with each kind of labels: to a model that plain libraries load."""

import csv
import json
import re

import numpy as np
import pyarrow.parquet as pq
import pytest
from datasets import Dataset
from small_runs import edit, plain_config, wrong
from transformers import pipeline

from hf_transfer import SequenceClassification, TextPairClassification, cross_validate, open_dataset, score
from hf_transfer.data.rows import label_rows
from hf_transfer.errors import ConfigError, DataError
from hf_transfer.report.card.card import write_card
from hf_transfer.report.compare import compare_runs, open_runs
from hf_transfer.report.page.page import render
from hf_transfer.runs.results import read_results
from hf_transfer.study.final.predict import predict_inputs
from hf_transfer.study.final.trained import TrainedModel
from hf_transfer.verify.verify_run import verify_run

WORDS = ("good", "bad", "fine", "dull", "warm")
NEAR = 1e-6


def pairs(target):
    """Each premise has two hypotheses; the label says whether they share a word, how many, or which."""
    draw = np.random.default_rng(0)
    rows = []
    for number in range(36):
        premise = f"{number} {' '.join(draw.choice(WORDS, 3))}"
        for hypothesis in (" ".join(draw.choice(WORDS, 2)) + f" {number}{end}" for end in "ab"):
            common = sorted({*premise.split()} & {*hypothesis.split()})
            labels = {
                "classes": "some" if common else "none",
                "numbers": 0.5 + len(common),
                "label_sets": common,
            }
            rows.append({"premise": premise, "hypothesis": hypothesis, "label": labels[target]})
    return rows


@pytest.fixture(
    scope="module",
    params=("classes", *(pytest.param(name, marks=pytest.mark.slow) for name in ("numbers", "label_sets"))),
)
def run(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pairs")
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, pairs(request.param))))
    config = plain_config(
        base_model="builtin:tiny-bert", dataset=str(folder / "rows.jsonl"), num_folds=3, num_epochs=2,
        trainable="head", learning_rate=1e-2, output_dir=str(folder / "run"),
    )  # fmt: skip
    data = open_dataset(config, SequenceClassification)
    cross_validate(data.task(config, data.target), data, config)
    return folder / "run", data


def plain_answers(folder, inputs, names):
    """What a plain pipeline says, a column for each label."""
    classify = pipeline("text-classification", model=str(folder / "model"), top_k=len(names))
    answers = [classify([one], truncation=True)[0] for one in inputs]
    return np.array([[{a["label"]: a["score"] for a in some}[name] for name in names] for some in answers])


def test_a_plain_pipeline_gives_the_scores_that_the_kit_gives(run):
    folder, data = run
    inputs = [*data.rows["input"][:5], {"text": "a very long one " * 200, "text_pair": "good dull " * 90}]
    shown = [json.dumps(one) for one in inputs]
    ours, _ = predict_inputs(folder, shown, all_probabilities=data.target.name == "classes")
    plain = plain_answers(folder, inputs, data.label_names)
    if data.target.name == "numbers":
        own = np.array([[one["number"]] for one in ours])
    else:
        own = np.array([[one["probabilities"][name] for name in data.label_names] for one in ours])
    assert np.abs(plain - own).max() <= NEAR
    turned = [{"text": one["text_pair"], "text_pair": one["text"]} for one in inputs]
    assert np.abs(plain_answers(folder, turned, data.label_names) - plain).max() > NEAR


def test_the_rows_of_a_premise_share_a_fold(run):
    folder, data = run
    results = read_results(folder)
    assert (results.input, data.task, data.kept_by) == ("text_pair", TextPairClassification, "text")
    assert (results.dataset.num_groups, results.dataset.largest_group) == (36, 2)
    split = pq.read_table(folder / "folds.parquet")
    folds = dict(zip(split["row_id"].to_pylist(), split["fold"].to_pylist(), strict=True))
    assert all(folds[row] == folds[row + 1] for row in range(0, 72, 2))
    assert results.scores[results.primary_metric].unit == "group"


def test_everything_that_is_written_follows_from_the_predictions(run, monkeypatch):
    folder, _ = run
    write_card(folder)
    assert [check for check in verify_run(folder) if check.state == "wrong"] == []
    card = (folder / "README.md").read_text()
    assert "pairs of texts" in card
    assert "Rows that share a text, directly or by way of others, are in the same fold." in card
    assert "That makes 36 groups, the largest of 2 rows." in card
    assert "Rows were taken for independent" not in card
    monkeypatch.chdir(folder.parent)
    (code,) = re.findall(r"```python\n(.*?)```", card.split("<!-- hf-transfer:end use -->")[0], re.S)
    assert '{"text": ' in code
    exec(code, {})
    page = render(open_runs([folder])[0])
    assert "rows that share a text together" in page


def test_a_wrong_number_of_groups_is_found(run, tmp_path):
    folder, _ = run
    before = (folder / "results.json").read_bytes()
    edit(folder, lambda results: results["dataset"].update(num_groups=40))
    try:
        assert "num_groups" in wrong(folder)
    finally:
        (folder / "results.json").write_bytes(before)


def test_a_run_is_compared_with_one_of_other_settings(run):
    folder, data = run
    other = folder.with_name("other")
    config = plain_config(
        base_model="builtin:tiny-bert", dataset=str(folder.with_name("rows.jsonl")), num_folds=3,
        num_epochs=1, trainable="head", learning_rate=1e-2, output_dir=str(other), final="none",
    )  # fmt: skip
    cross_validate(data.task(config, data.target), open_dataset(config, "text_pair"), config)
    (pair,) = compare_runs(open_runs([folder, other])).pairs
    assert (pair.rows is None) == (data.target.name != "classes")  # whether single rows are compared


def test_files_with_both_columns_are_labelled_and_scored(run, tmp_path):
    folder, data = run
    new = {"premise": "good warm", "hypothesis": "dull, good"}
    labels = [row["label"] for row in pairs(data.target.name)]
    rows = [new | {"label": label} for label in (max(labels), min(labels))]
    (tmp_path / "new.jsonl").write_text("\n".join(map(json.dumps, rows)))
    with (tmp_path / "new.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["premise", "hypothesis"], extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    (tmp_path / "new.txt").write_text("good warm\tdull, good\n" * 2)
    words = ["good warm", "dull, good"] * 2
    answers = [predict_inputs(folder, [str(tmp_path / f"new.{end}")])[0] for end in ("jsonl", "csv", "txt")]
    assert answers[0] == answers[1] == answers[2] == predict_inputs(folder, words)[0]
    assert answers[0][0]["input"] == "good warm\tdull, good"
    predict_inputs(folder, [str(tmp_path / "new.csv")], output=tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_text().startswith("premise,hypothesis,")
    assert score(folder, tmp_path / "new.jsonl").num_rows == 2
    with pytest.raises(DataError, match=r"reads pairs of texts, and 'alone' has no second"):
        predict_inputs(folder, [*words, "alone"])
    (tmp_path / "half.csv").write_text("premise\na\n")
    with pytest.raises(DataError, match=r"No column 'hypothesis' in half\.csv; it has 'premise'"):
        predict_inputs(folder, [str(tmp_path / "half.csv")])


def test_a_run_that_names_no_input_is_one_of_texts(run):
    folder, _ = run
    assert isinstance(TrainedModel.open(folder).task, TextPairClassification)
    before = (folder / "results.json").read_bytes()
    edit(folder, lambda results: results.pop("input"))
    try:
        assert type(TrainedModel.open(folder).task) is SequenceClassification
    finally:
        (folder / "results.json").write_bytes(before)


def test_a_task_for_other_inputs_than_the_rows_have_is_refused(tmp_path):
    config = plain_config(base_model="builtin:tiny-bert", output_dir=str(tmp_path))
    data = label_rows(Dataset.from_list(pairs("classes")), config, "text_pair")
    with pytest.raises(
        ConfigError, match=r"The rows are pairs of texts, and the task is for texts\. Take data"
    ):
        cross_validate(SequenceClassification(config, data.target), data, config)


def test_heads_are_solved_and_layers_searched_for_pairs(tmp_path):
    config = plain_config(
        base_model="builtin:tiny-bert", num_folds=2, trainable="head", head_solver="lbfgs", final="none",
        output_dir=str(tmp_path), shared_texts="apart",
    )  # fmt: skip
    data = label_rows(Dataset.from_list(pairs("classes")), config, "text_pair")
    assert "group" not in data.rows.column_names
    assert "shared_texts=apart asks" in data.notes[-1]
    result = cross_validate(TextPairClassification(config, data.target), data, config)
    assert result.results.folds_scheme == "stratified"

"""A run as the base model of another: what it began from is told, and rows of both are found."""

import json
import shutil
from pathlib import Path

import pytest
from small_runs import TEXT, edit, plain_config

from hf_transfer import RunConfig, SequenceClassification, cross_validate, open_dataset
from hf_transfer.cli.main import main
from hf_transfer.errors import DataError, ModelError
from hf_transfer.report.card.card import card_text
from hf_transfer.runs.base_origin import LEARNED_ROWS
from hf_transfer.runs.hub.files import collect
from hf_transfer.runs.results import read_results
from hf_transfer.selection.rank.ranking import rank_models
from hf_transfer.verify.verify_run import verify_run

FIRST = [f"the {noun} of {place} is {word}" for noun in ("film", "soup") for place in "abc" for word in
         ("good", "bad", "fine", "poor")]  # fmt: skip
SECOND = [f"a {noun} in {place} was {word}" for noun in ("play", "cake") for place in "xyz" for word in
          ("good", "bad", "fine", "poor")]  # fmt: skip


def write(path: Path, texts: list[str]) -> str:
    labels = ["yes" if text.endswith(("good", "fine")) else "no" for text in texts]
    rows = zip(texts, labels, strict=True)
    path.write_text("\n".join(json.dumps({"text": text, "label": label}) for text, label in rows))
    return str(path)


def settings(folder: Path, texts: list[str], **changes) -> RunConfig:
    dataset = write(folder.with_suffix(".jsonl"), texts)
    return plain_config(**TEXT | {"dataset": dataset, "output_dir": str(folder)} | changes)


def train(config: RunConfig):
    data = open_dataset(config, SequenceClassification)
    return cross_validate(data.task(config, data.target), data, config)


@pytest.fixture(scope="module")
def first(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "first"
    train(settings(folder, FIRST, final="refit"))
    return folder


@pytest.mark.parametrize("inside", ["", "model"])
def test_a_run_begins_with_the_model_of_another_and_says_so(first, tmp_path, inside):
    folder = tmp_path / "second"
    results = train(settings(folder, SECOND, base_model=str(first / inside))).results
    origin, before = results.base_origin, read_results(first)
    assert (origin.made_by, origin.base_model, origin.dataset) == (
        "first",
        "builtin:tiny-bert",
        "first.jsonl",
    )
    assert (origin.num_rows, origin.num_shared, origin.with_labels) == (len(FIRST), 0, True)
    assert origin.score == before.scores["accuracy"].mean
    assert f"run first (from random weights of builtin:tiny-bert, accuracy {origin.score:.3f}" in origin.words
    card = card_text(folder, results, "second", list)
    assert "trained by the run first" in card
    assert "none of which is among these rows" in card
    assert not [line for check in verify_run(folder) for line in check.differences]


def test_a_head_for_the_same_labels_is_taken_over(first, tmp_path):
    config = settings(tmp_path / "second", SECOND, base_model=str(first))
    task = SequenceClassification(config, open_dataset(config, SequenceClassification).target)
    assert "head" in " ".join(train(config).results.notes)
    assert task.base.location == str(first / "model")


def test_rows_that_the_first_run_learned_from_are_refused_with_their_number(first, tmp_path):
    shared = [*SECOND, FIRST[0].upper(), FIRST[5]]
    config = settings(tmp_path / "second", shared, base_model=str(first))
    with pytest.raises(DataError, match=r"with labels, on 2 rows of this data set(.|\n)*--transductive"):
        train(config)
    results = train(config.changed({"transductive": True})).results
    assert results.base_origin.num_shared == 2
    assert any("2 rows of this data set are among them with their labels" in note for note in results.notes)


def test_rows_that_an_earlier_run_had_seen_are_found_through_the_one_between(first, tmp_path):
    train(settings(tmp_path / "second", SECOND, base_model=str(first), final="refit"))
    texts = [
        f"this {noun} {n} is {word}" for noun in ("dog", "cat") for n in "123" for word in ("good", "bad")
    ]
    config = settings(tmp_path / "third", [*texts, FIRST[0]], base_model=str(tmp_path / "second"))
    with pytest.raises(DataError, match="on 1 row of this data set"):
        train(config)


def test_random_weights_have_seen_nothing(first, tmp_path):
    config = settings(tmp_path / "second", FIRST, base_model=str(first), from_scratch=True, trainable="all")
    assert train(config).results.base_origin is None


def test_without_digests_only_the_same_rows_are_known(first, tmp_path):
    copied = tmp_path / "first"
    shutil.copytree(first, copied)
    (copied / LEARNED_ROWS).unlink()
    shutil.copy(first.with_suffix(".jsonl"), tmp_path / "first.jsonl")
    with pytest.raises(DataError, match=f"on {len(FIRST)} rows of this data set"):
        train(settings(tmp_path / "again", FIRST, base_model=str(copied)))
    results = train(settings(tmp_path / "second", SECOND, base_model=str(copied))).results
    assert results.base_origin.num_shared is None
    assert any("can't be told" in note for note in results.notes)


def test_a_results_file_of_another_program_says_nothing(first, tmp_path):
    copied = tmp_path / "model"
    shutil.copytree(first / "model", copied)
    (copied.parent / "results.json").write_text('{"accuracy": 0.9}')
    assert train(settings(tmp_path / "second", FIRST, base_model=str(copied))).results.base_origin is None


def test_rank_refuses_a_run_that_learned_from_the_rows(first):
    with pytest.raises(DataError, match="with labels, on 24 rows"):
        rank_models(RunConfig(dataset=str(first.with_suffix(".jsonl"))), [str(first)], kind="text")


def test_digests_of_rows_are_not_pushed(first, tmp_path):
    copied = tmp_path / "first"
    shutil.copytree(first, copied)
    (copied / "README.md").write_text("---\nlicense: mit\n---\n")
    assert not [name for name in collect(copied) if "rows" in name]


def test_compare_answers_whether_the_task_between_helped(first, tmp_path, capsys):
    train(settings(tmp_path / "direct", SECOND))
    train(settings(tmp_path / "through", SECOND, base_model=str(first)))
    assert main(["compare", str(tmp_path / "direct"), str(tmp_path / "through"), "--json"]) == 0
    (pair,) = json.loads(capsys.readouterr().out)["pairs"]
    assert pair["verdict"] in ("first is better", "second is better", "can't tell", "same")
    assert "p" in pair


def test_a_run_without_a_model_is_no_base_model(first, tmp_path):
    copied = tmp_path / "first"
    shutil.copytree(first, copied)
    shutil.rmtree(copied / "model")
    edit(copied, lambda results: results["final"].update(kind="none", path=None))
    with pytest.raises(ModelError, match=r"holds no config\.json"):
        train(settings(tmp_path / "second", SECOND, base_model=str(copied)))

import csv
import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import accuracy_score, log_loss
from small_runs import make_run

from hf_transfer import open_dataset
from hf_transfer.cli.main import main
from hf_transfer.config.run_config import RunConfig
from hf_transfer.errors import ConfigError, DataError
from hf_transfer.report.scored import score
from hf_transfer.runs.hub.files import collect
from hf_transfer.runs.results import read_results
from hf_transfer.study.final.predict import predict


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_run("text", tmp_path_factory.mktemp("scored"), final="refit", num_folds=2, num_epochs=2)


@pytest.fixture(scope="module")
def others(run):
    """Reviews that the run has not seen, under the same names, and three that it has."""
    learned = set(open_dataset(RunConfig.load(run / "config.yaml"), "text").rows["input"])
    every = open_dataset(RunConfig(dataset="builtin:reviews"), "text")
    pairs = [
        (text, every.label_names[label])
        for text, label in zip(every.rows["input"], every.rows["label"], strict=True)
    ]
    chosen = [pair for pair in pairs if pair[0] not in learned][:40]
    path = run.parent / "others.csv"
    with path.open("w", newline="") as stream:
        rows = chosen + [pair for pair in pairs if pair[0] in learned][:3]
        csv.writer(stream).writerows([("text", "label"), *rows])
    return path, chosen


def test_scores_are_of_what_predict_says(run, others):
    path, chosen = others
    found = score(run, path)
    assert (found.num_rows, found.num_seen) == (40, 3)
    assert "3 rows left out, as the model has learned from the same inputs." in found.notes
    said = predict(run, [text for text, _ in chosen], all_probabilities=True)
    truth = [label for _, label in chosen]
    accuracy = found.scores["accuracy"]
    assert accuracy.value == accuracy_score(truth, [one["label"] for one in said])
    assert accuracy.interval[0] <= accuracy.value <= accuracy.interval[1]
    shares = [list(one["probabilities"].values()) for one in said]
    assert found.scores["log_loss"].value == pytest.approx(log_loss(truth, shares), rel=1e-5)
    assert np.sum(found.confusion) == 40
    assert "accuracy" in found.to_text()


def test_scores_are_kept_beside_the_run_and_pushed_when_asked_for(run, others, capsys):
    path, _ = others
    assert main(["score", str(run), str(path), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    (folder,) = (run / "scored").iterdir()
    assert folder.name == f"others-{said['fingerprint'][:8]}"
    assert json.loads((folder / "scores.json").read_text()) == said
    names = {"scores.json", "predictions.parquet", "confusion.png", "reliability.png"}
    assert {one.name for one in folder.iterdir()} == names
    assert pq.read_table(folder / "predictions.parquet").num_rows == 40
    published = {f"scored/{folder.name}/{name}" for name in names}
    assert published.isdisjoint(collect(run))
    assert published <= collect(run, scored=True).keys()


def test_rows_that_were_learned_from_are_not_scored(run):
    with pytest.raises(DataError, match=r"All 36 rows of builtin:reviews are among those that the model has"):
        score(run, "builtin:reviews", max_rows=36, seed=3)


def test_labels_are_matched_by_name(run, tmp_path):
    (tmp_path / "odd.csv").write_text("text,label\nnice,negative\nbad,good\nso,positive\n")
    with pytest.raises(DataError, match=r"labels that the model cannot give: 'good'\. It knows 'negative'"):
        score(run, tmp_path / "odd.csv")


def test_a_repository_has_no_place_for_scores():
    with pytest.raises(
        ConfigError, match=r"some/one is on the Hub, .* Download it first: hf download some/one"
    ):
        score("some/one", "builtin:reviews")


def test_words_are_scored_by_their_entities(tmp_path):
    run = make_run("words", tmp_path, final="refit", card=False)
    rows = [{"tokens": ["Ann", "Lee", "ran"], "ner_tags": ["B-PER", "I-PER", "O"]}] * 2
    (tmp_path / "new.jsonl").write_text("\n".join(map(json.dumps, rows)))
    found = score(run, tmp_path / "new.jsonl")
    assert found.num_rows == 2
    assert set(found.scores) >= {"f1", "precision", "recall"}
    assert found.class_counts["PER"] == 2


@pytest.fixture(scope="module")
def pair_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scored-pairs")
    return make_run(
        "text", folder, dataset="builtin:review_pairs", max_rows=24, num_folds=2, final="refit", card=False
    )


def write_pairs(path, rows):
    with path.open("w", newline="") as stream:
        csv.writer(stream).writerows([("premise", "hypothesis", "label"), *rows])
    return path


def test_nothing_is_said_of_folds_where_there_are_none(pair_run, tmp_path):
    names = read_results(pair_run).label_names
    rows = [("One text.", f"Another {i}.", names[i % 2]) for i in range(4)]
    found = score(pair_run, write_pairs(tmp_path / "new.csv", [*rows, ("One text.", "", names[0])]))
    assert found.unit == "group"  # they share a text, and the intervals draw them together
    assert found.notes == [
        "Columns 'premise' and 'hypothesis' are read as pairs; --input_column takes one, or others.",
        "1 row with an empty text left out: row 4.",
    ]


def test_rows_left_out_are_told_of_where_none_remains(pair_run, tmp_path):
    data = open_dataset(RunConfig.load(pair_run / "config.yaml"), "text_pair")
    known = [
        (pair["text"], pair["text_pair"], data.label_names[label])
        for pair, label in zip(data.rows["input"], data.rows["label"], strict=True)
    ]
    path = write_pairs(tmp_path / "known.csv", [*known, ("", "Alone.", known[0][2])])
    with pytest.raises(
        DataError, match=r"All 24 rows .* nothing\. .* 1 row with an empty text left out: row 24"
    ):
        score(pair_run, path)

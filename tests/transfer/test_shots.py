"""What a few rows a class are worth."""

import json
import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from hf_transfer.cli.main import main
from hf_transfer.errors import ConfigError, DataError
from hf_transfer.runs.reading import read_record
from hf_transfer.runs.shots_record import ShotsRecord
from hf_transfer.scores.draws import paired_draws
from hf_transfer.transfer.shots import ShotOptions, shots

DIGITS = {"dataset": "builtin:digits_5to9", "base_model": "builtin:digits-resnet", "max_rows": 60}
FEW = {"num_draws": 20, "num_episodes": 20}


def test_the_verb_prints_what_it_leaves_and_says_what_one_split_is_worth(tmp_path, capsys):
    words = ["shots", DIGITS["dataset"], "--base_model", DIGITS["base_model"], "--max_rows", "60"]
    words += ["--output_dir", str(tmp_path), "--shots", "1,4,50", "--draws", "20", "--episodes", "20"]
    assert main(words) == 0
    text = capsys.readouterr().out
    assert "With one split of 1 row a class you are ±" in text
    assert "No draws of 50 rows a class: class" in text
    assert (tmp_path / "shots.png").is_file()
    record = read_record(ShotsRecord, tmp_path / "shots.json")
    assert [size.shots for size in record.sizes] == [1, 4]
    assert main([*words, "--json"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert again["sizes"] == json.loads((tmp_path / "shots.json").read_text())["sizes"]
    assert again["features_reused"]
    assert again["sizes"][1]["mean"] == pytest.approx(record.sizes[1].mean)


def test_more_rows_score_higher_and_are_spread_less(tmp_path):
    given = DIGITS | {"max_rows": 200}
    found = shots(**given, **FEW, output_dir=str(tmp_path), shots=[1, 25])
    few, many = found.sizes
    assert few.mean < many.mean
    assert few.off_by > many.off_by
    assert few.solvers.keys() == {"logistic", "centroid", "ridge"}
    assert (few.episodes.way, few.episodes.num_episodes) == (5, 20)
    assert many.episodes.asked < few.episodes.asked  # as fewer rows are left
    assert "From 25 rows a class on, less than half of the rows are left to ask" in found.to_text()
    assert "rows a class: 1: " in repr(found)


def test_labels_that_are_no_classes_are_refused(tmp_path):
    lines = [{"text": f"row {n} is good", "label": n + 0.5} for n in range(12)]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, lines)))
    given = {"dataset": str(tmp_path / "rows.jsonl"), "base_model": "builtin:tiny-bert"}
    with pytest.raises(DataError, match="numbers as labels, and rows are drawn class by class"):
        shots(**given, output_dir=str(tmp_path / "out"), max_length=16)


def test_too_few_rows_are_an_error_that_names_the_class(tmp_path):
    with pytest.raises(DataError, match=r"class .* has .* rows, and 40 of each class are to be drawn"):
        shots(**DIGITS, output_dir=str(tmp_path), shots=[40])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"shots": ()}, "must be numbers from 1"),
        ({"shots": (0, 1)}, "must be numbers from 1"),
        ({"num_draws": 1}, "num_draws=1 is too small; use 2"),
        ({"way": 1}, "way=1 is too small"),
        ({"setfit_draws": 1}, "setfit_draws=1 is too small; use 2"),
        ({"solver": "svm"}, "not one of auto, centroid, logistic, ridge"),
    ],
)
def test_bad_options_say_what_is_allowed(options, said):
    with pytest.raises(ConfigError, match=said):
        ShotOptions(**options)


def test_words_that_are_no_numbers_are_refused(capsys):
    assert main(["shots", "builtin:digits_5to9", "--shots", "1,two"]) == 2
    assert "--shots '1,two' is not whole numbers" in capsys.readouterr().err
    assert main(["shots", "builtin:digits_5to9"]) == 2
    assert "Add --base_model" in capsys.readouterr().err


REVIEWS = {"dataset": "builtin:reviews", "base_model": "builtin:tiny-bert", "max_rows": 40, "max_length": 16}


class StandIn:
    """In place of SetFit: it trains nothing and answers as it is told."""

    def __init__(self, monkeypatch, right):
        setfit, sentences = ModuleType("setfit"), ModuleType("sentence_transformers")
        sentences.SentenceTransformer = lambda *given, **options: SimpleNamespace()
        setfit.SetFitModel = lambda **parts: SimpleNamespace(predict=self.predict, **parts)
        setfit.TrainingArguments = lambda **options: self.told.append(options)
        setfit.Trainer = lambda model, args, train_dataset: SimpleNamespace(
            train=lambda: self.learned.append((list(train_dataset["text"]), train_dataset["label"]))
        )
        self.told, self.learned, self.right = [], [], right
        monkeypatch.setitem(sys.modules, "setfit", setfit)
        monkeypatch.setitem(sys.modules, "sentence_transformers", sentences)

    def predict(self, texts, **options):
        known = dict(zip(*self.learned[-1], strict=True))
        return [self.right(text, known) for text in texts]


def test_setfit_learns_from_the_draws_of_the_other_solvers_and_is_tested_beside_the_best(
    monkeypatch, tmp_path, capsys
):
    stand_in = StandIn(monkeypatch, lambda text, known: known.get(text, 0))
    words = ["shots", REVIEWS["dataset"], "--base_model", REVIEWS["base_model"], "--max_rows", "40"]
    words += ["--max_length", "16", "--shots", "2,4", "--draws", "6", "--episodes", "0", "--setfit"]
    words += ["--setfit_draws", "3", "--output_dir", str(tmp_path)]
    assert main(words) == 0
    assert "SetFit from 4 rows a class, 3 draws: " in capsys.readouterr().out
    record = read_record(ShotsRecord, tmp_path / "shots.json")
    assert [(one.shots, len(one.draws)) for one in record.setfit] == [(2, 3), (4, 3)]
    assert [len(labels) for _, labels in stand_in.learned] == [4] * 3 + [8] * 3
    for few, more in zip(stand_in.learned[:3], stand_in.learned[3:], strict=True):
        assert {*few[0]} < {*more[0]}  # the same draws, begun
    assert len({told["seed"] for told in stand_in.told}) == 6
    for one, size in zip(record.setfit, record.sizes, strict=True):
        assert one.draws == pytest.approx([0.5] * 3, abs=0.1)  # what it learned from is not asked
        assert one.solver == max(size.solvers, key=size.solvers.get)
        if one.solver == record.solver:
            assert one.solver_draws == pytest.approx(size.draws[:3])
        assert one.difference == pytest.approx(np.mean(one.draws) - np.mean(one.solver_draws))


def test_setfit_without_its_package_names_the_extra_before_anything_is_computed(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "setfit", None)
    with pytest.raises(ConfigError, match=r'pip install "hf-transfer-kit\[setfit\]"'):
        shots(**REVIEWS, output_dir=str(tmp_path), setfit=True)
    assert not list(tmp_path.iterdir())


def test_setfit_of_pictures_is_refused(monkeypatch, tmp_path):
    StandIn(monkeypatch, lambda text, known: 0)
    with pytest.raises(DataError, match=r"setfit learns from texts alone, and an input of .* is image"):
        shots(**DIGITS, **FEW, output_dir=str(tmp_path), setfit=True, shots=[1])


def test_draws_are_tested_in_pairs():
    spread = np.array([0.5, 0.7, 0.9, 0.6])
    found = paired_draws(spread + np.array([0.1, 0.11, 0.09, 0.1]), spread)
    assert found.difference == pytest.approx(0.1)
    assert found.p < 0.001  # the spread of the draws themselves does not matter
    assert found.interval[0] > 0.08
    assert paired_draws(spread + 0.25, spread + 0.0).difference == pytest.approx(0.25)
    same = paired_draws(spread, spread)
    assert (same.difference, same.interval, same.p) == (0, None, None)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_the_package_itself_trains_without_a_network_and_prints_nothing(tmp_path, capsys, tiny_bert_folder):
    pytest.importorskip("setfit")
    given = (
        REVIEWS | FEW | {"base_model": str(tiny_bert_folder), "shots": [4], "setfit": True, "setfit_draws": 2}
    )
    first, again = (shots(**given, output_dir=str(tmp_path / "out")).setfit[0] for _ in range(2))
    assert first.draws == again.draws
    assert all(0 <= score <= 1 for score in first.draws)
    assert capsys.readouterr().out == ""
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"shots.json", "shots.png"}

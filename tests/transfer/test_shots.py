"""What a few rows a class are worth."""

import json

import pytest

from hf_transfer.cli.main import main
from hf_transfer.errors import ConfigError, DataError
from hf_transfer.runs.reading import read_record
from hf_transfer.runs.shots_record import ShotsRecord
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

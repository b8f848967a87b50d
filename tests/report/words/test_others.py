"""What `compare` leaves beside the runs that it has seen."""

import json
import os
import shutil
from pathlib import Path

import pytest
from fake_run import Shape, make_run
from small_runs import edit
from small_runs import make_run as train

from hf_transfer.cli.main import main
from hf_transfer.errors import ConfigError
from hf_transfer.report.card.card import write_card
from hf_transfer.report.compare import compared_with, open_runs, save_comparison
from hf_transfer.report.words.others import compared_runs
from hf_transfer.runs.companions import ComparedRuns, read_companions
from hf_transfer.runs.results import read_results
from hf_transfer.runs.schema import from_json, to_json
from hf_transfer.verify.verify_run import verify_run


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A run from pretrained weights, one from random weights, and a third, with their cards."""
    base = tmp_path_factory.mktemp("runs")
    make_run(base / "good", shape=Shape(num_rows=100, skill=3.0))
    make_run(base / "scratch", shape=Shape(num_rows=100, skill=0.2), from_scratch=True)
    make_run(base / "poor", shape=Shape(num_rows=100, skill=0.3))
    for run in ("good", "scratch"):
        write_card(base / run)
    return base


@pytest.fixture
def base(made, tmp_path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "runs"))


def compare(base: Path, *names: str) -> None:
    assert main(["compare", *(str(base / name) for name in names)]) == 0


def card(base: Path, name: str) -> str:
    return (base / name / "README.md").read_text(encoding="utf-8")


def test_what_is_read_is_what_was_written(base):
    good, *others = open_runs([base / name for name in ("good", "scratch", "poor")])
    found = compared_runs(good.results, compared_with(good, others))
    assert from_json(ComparedRuns, json.loads(json.dumps(to_json(found), allow_nan=False))) == found


def test_the_cards_answer_from_the_other_runs(base, capsys):
    assert "a good start?** not measured" in card(base, "good")
    compare(base, "good", "scratch", "poor")
    assert "a good start?** yes. scratch started from random weights. good is better" in card(base, "good")
    assert "**Is it better than poor?** yes. good is better than poor by" in card(base, "good")
    assert "**Is it better than good?** no, worse. good is better than scratch by" in card(base, "scratch")
    assert not (base / "poor" / "README.md").exists()  # it had no card
    assert (base / "poor" / "compare.json").is_file()


def test_what_a_person_wrote_into_a_card_stays(base, capsys):
    path = base / "good" / "README.md"
    path.write_text(card(base, "good") + "\n## Mine\n", encoding="utf-8")
    compare(base, "good", "scratch")
    assert "## Mine" in card(base, "good")
    assert "scratch started from random weights" in card(base, "good")


def test_a_card_with_broken_marks_is_left_and_named(base, capsys):
    path = base / "good" / "README.md"
    path.write_text(card(base, "good").replace("<!-- hf-transfer:end verdicts -->", ""), encoding="utf-8")
    before = path.read_bytes()
    compare(base, "good", "scratch")
    assert path.read_bytes() == before
    assert "The card of good is left as it was." in capsys.readouterr().err


def test_the_pictures_stay(base, capsys):
    before = {path: path.stat().st_mtime_ns for path in base.glob("good/plots/*.png")}
    compare(base, "good", "scratch")
    assert before == {path: path.stat().st_mtime_ns for path in base.glob("good/plots/*.png")} != {}
    assert "plots/folds.png" in card(base, "good")


def test_a_folder_that_may_not_be_written_is_left(base, monkeypatch, capsys):
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).name != "good")
    compare(base, "good", "scratch")
    assert [path.parent.name for path in base.glob("*/compare.json")] == ["scratch"]
    assert "a good start?** not measured" in card(base, "good")


def test_one_run_alone_leaves_nothing(base):
    assert save_comparison(open_runs([base / "good"])) == []
    assert not list(base.glob("*/compare.json"))


@pytest.mark.parametrize(
    ("name", "value"), [("folds_fingerprint", "other"), ("metric", "other"), ("scores", [0.5])]
)
def test_a_comparison_of_other_results_is_not_read(base, name, value, capsys):
    compare(base, "good", "scratch")
    results = read_results(base / "good")
    assert read_companions(base / "good", results).compare is not None
    edit(base / "good", lambda values: values.update({name: value}), "compare.json")
    assert read_companions(base / "good", results).compare is None


@pytest.mark.parametrize("content", ["[]", "{}", "3"])
def test_something_else_of_that_name_is_an_error(base, content):
    (base / "good" / "compare.json").write_text(content)
    with pytest.raises(ConfigError, match=r"compare.json (is not as a run writes it|names no format)"):
        read_companions(base / "good", read_results(base / "good"))


@pytest.mark.slow
def test_the_tests_are_made_again(tmp_path, capsys):
    for name, rate in (("a", 1e-2), ("b", 1e-4)):
        (tmp_path / name).mkdir()
        train("pictures", tmp_path / name, learning_rate=rate, num_folds=3, card=name == "a", final="none")
    folders = [tmp_path / name / "pictures" for name in ("a", "b")]
    save_comparison(open_runs(folders))
    assert str(tmp_path) not in (folders[0] / "compare.json").read_text()
    states = {check.name: check.state for check in verify_run(folders[0])}
    assert (states["comparison"], states["card"]) == ("ok", "ok")
    edit(folders[0], lambda values: values["others"][0]["pair"].update(p=0.5), "compare.json")
    wrong = {check.name: check.differences for check in verify_run(folders[0]) if check.state == "wrong"}
    assert "compare.others[0].pair.p: written 0.5" in wrong["comparison"][0]
    assert "README.md, verdicts" in wrong["card"][0]

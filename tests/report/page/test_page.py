import copy
import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from fake_run import TASKS, Shape, make_run, save
from html_page import Page

from hf_transfer.cli.main import main
from hf_transfer.errors import ConfigError
from hf_transfer.machine.wording import number, plus_minus
from hf_transfer.report.compare import open_runs
from hf_transfer.report.page import pictures as drawing
from hf_transfer.report.page.originals import Original, Originals
from hf_transfer.report.page.page import render, write_report
from hf_transfer.runs.results import read_results

HOSTILE = "<script>alert(1)</script>\"'><img src=http://x/y onerror=a()>{{ 7*7 }}"


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folders = {task: tmp_path_factory.mktemp("finished") / task for task in TASKS}
    for task, folder in folders.items():
        make_run(folder, task, Shape(num_rows=60, skill=1.0))
    return folders


@pytest.fixture(autouse=True)
def quick_pictures(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw no picture, except where a test is about them."""
    if "draws" not in request.node.name:
        monkeypatch.setattr(drawing, "draw_pictures", lambda results, histories, found: [])


@pytest.fixture
def a_copy(finished: dict[str, Path], tmp_path: Path) -> Callable[..., Path]:
    def make(task: str = "text-classification", **changes: Any) -> Path:
        run = tmp_path / "run"
        shutil.copytree(finished[task], run, dirs_exist_ok=True)
        save(run, json.loads((run / "results.json").read_text()) | changes)
        return run

    return make


def page_of(run: Path, **options: Any) -> Page:
    options = {"with_data": False} | options
    return Page(write_report(run, **options).read_text(encoding="utf-8"))


@pytest.mark.parametrize("task", TASKS)
def test_a_page_draws_all_and_needs_nothing_else(a_copy: Callable[..., Path], task: str) -> None:
    text = write_report(a_copy(task), with_data=False).read_text(encoding="utf-8")
    page = Page(text)
    assert page.of("html") == [{"lang": "en"}]
    assert page.of("title") == [{}]
    images = page.of("img")
    assert len(images) == (2 if task == "token-classification" else 4)
    assert all(image["alt"] and image["src"].startswith("data:image/svg+xml;base64,") for image in images)
    assert not page.of("script")
    assert not page.of("link")
    assert not [v for _, attributes in page.elements for v in attributes.values() if v and "://" in v]
    assert "url(" not in text
    policy = [meta["content"] for meta in page.of("meta") if "http-equiv" in meta]
    assert policy == ["default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'"]


def test_verdicts_stand_before_all_else(a_copy: Callable[..., Path]) -> None:
    page = page_of(a_copy())
    text = page.text
    assert (
        text.index("Is the pretrained model a good start?")
        < text.index("Pictures")
        < text.index("All scores")
    )
    assert len([a for a in page.of("section") if a == {"class": "verdict"}]) == 5


def hostile(value: Any) -> Any:
    """Put markup into every text, also where it is a key, except those that decide what is shown."""
    if isinstance(value, dict):
        return {key: item if key in DECIDING else hostile(item) for key, item in value.items()}
    if isinstance(value, list):
        return [hostile(item) for item in value]
    return HOSTILE + value if isinstance(value, str) else value


DECIDING = {
    "task", "primary_metric", "status", "folds_path", "config", "grid", "kind", "higher_is_better", "scores",
    "label_names", "test", "overfitting",
}  # fmt: skip


@pytest.mark.parametrize("task", TASKS)
def test_no_value_of_a_run_becomes_markup(a_copy: Callable[..., Path], task: str) -> None:
    run = a_copy(task)
    results = hostile(json.loads((run / "results.json").read_text()))
    if task != "token-classification":
        results["label_names"] = [f"{HOSTILE}{name}" for name in results["label_names"]]
    save(run, results)
    rows = pd.read_parquet(run / "predictions.parquet")
    rows["row_id"] = [f"{HOSTILE}{row}" for row in rows["row_id"]]
    if "tokens" in rows:
        rows["tokens"] = [[HOSTILE.replace(" ", "") for _ in words] for words in rows["tokens"]]
    rows.to_parquet(run / "predictions.parquet")
    page = page_of(run)
    text = (run / "report.html").read_text()
    assert "<script" not in text
    assert "<img" not in re.sub(r'<img class="thumb"', "", text)
    assert "alert(1)" in text
    assert "7*7" in text
    assert not [attributes for _, attributes in page.elements if "onerror" in attributes]


def test_texts_and_labels_draws_nothing_that_runs(a_copy: Callable[..., Path]) -> None:
    """The labels are written into the pictures too."""
    import base64

    run = a_copy()
    results = json.loads((run / "results.json").read_text())
    results["label_names"] = ["<script>x</script>--><b>", "]]>&amp;<svg onload=a()>"]
    save(run, results)
    for image in page_of(run).of("img"):
        svg = base64.b64decode(image["src"].partition(",")[2]).decode()
        assert "<script" not in svg
        assert "onload=" not in re.sub(r"<!--.*?-->", "", svg, flags=re.S)


def test_rows_are_shown_as_text_not_markup(
    a_copy: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def originals(results: Any, row_ids: Any) -> Originals:
        return Originals({row: Original(text=f"{HOSTILE} of {row}") for row in row_ids})

    monkeypatch.setattr("hf_transfer.report.page.page.find_originals", originals)
    page = page_of(a_copy(), with_data=True)
    assert f"{HOSTILE} of" in page.text
    assert not page.of("script")


def test_the_data_set_stays_closed_when_asked(
    a_copy: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(results: Any, row_ids: Any) -> Originals:
        raise AssertionError("opened")

    monkeypatch.setattr("hf_transfer.report.page.page.find_originals", refuse)
    run = a_copy()
    assert main(["report", str(run), "--open-nothing"]) == 0
    assert capsys.readouterr().out == f"{run / 'report.html'}\n"
    assert main(["report", str(run), "--open-nothing", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"report": str(run / "report.html")}


def test_a_data_set_that_cannot_be_opened_is_told_on_the_page(a_copy: Callable[..., Path]) -> None:
    run = a_copy()
    results = json.loads((run / "results.json").read_text())
    results["config"]["dataset"] = str(run / "gone.csv")
    save(run, results)
    assert "The data set cannot be opened here:" in page_of(run, with_data=True).text


def test_the_hardest_rows_are_those_of_the_predictions(a_copy: Callable[..., Path]) -> None:
    run = a_copy()
    rows = pd.read_parquet(run / "predictions.parquet")
    wrong = int((rows.label != rows.prediction).sum())
    assert f"these are wrong on {wrong} rows in all" in page_of(run).text


def test_sentences_with_wrong_mentions_are_marked(a_copy: Callable[..., Path]) -> None:
    page = page_of(a_copy("token-classification"))
    kinds = {attributes["class"] for attributes in page.of("span")}
    assert kinds <= {"mention right", "mention missed", "mention spurious"}
    assert "mention missed" in kinds


def test_another_run_is_set_beside(a_copy: Callable[..., Path], tmp_path: Path) -> None:
    make_run(tmp_path / "scratch", shape=Shape(num_rows=60, skill=0.1), from_scratch=True)
    page = page_of(a_copy(), against=[tmp_path / "scratch"])
    assert "scratch started from random weights." in page.text
    scratch = read_results(tmp_path / "scratch")
    assert page.text.count(plus_minus(scratch.scores["log_loss"])) == 1


def test_each_class_has_its_line(a_copy: Callable[..., Path]) -> None:
    run = a_copy()
    text = " ".join(page_of(run).text.split())
    for line in read_results(run).per_class:
        numbers = [line.label, number(line.precision), number(line.recall), number(line.f1)]
        assert re.search(r"\s*".join(map(re.escape, numbers)), text)


def test_a_line_of_a_table_is_called_what_the_labels_are(
    a_copy: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    (run,) = open_runs([a_copy()])
    assert "<h2>Each class</h2>" in render(run)
    monkeypatch.setattr(type(run.target), "called", ("label", "labels"))
    assert "<h2>Each label</h2>" in render(run)


def test_a_ranking_in_the_folder_is_read(a_copy: Callable[..., Path]) -> None:
    run = a_copy()
    (run / "rank.json").write_text(json.dumps({"dataset": {"fingerprint": "other"}}))
    with pytest.raises(ConfigError, match=r"rank\.json names no format"):
        write_report(run, with_data=False)
    (run / "rank.json").write_text("{")
    with pytest.raises(
        ConfigError, match=r"rank\.json is not readable as JSON .* Run the recipe again, or get the file"
    ):
        write_report(run, with_data=False)


def test_a_run_on_other_folds_is_refused_and_nothing_is_written(
    a_copy: Callable[..., Path], tmp_path: Path
) -> None:
    make_run(tmp_path / "other", shape=Shape(num_rows=60, seed=1))
    run = a_copy()
    with pytest.raises(ConfigError, match="were scored on different folds"):
        write_report(run, against=[tmp_path / "other"])
    assert not (run / "report.html").exists()


def test_failed_folds_are_told(tmp_path: Path) -> None:
    make_run(tmp_path / "run", shape=Shape(num_rows=60, failed=(1,)))
    text = page_of(tmp_path / "run").text
    assert "1 of 5 folds failed" in text
    assert "failed: OutOfMemoryError: tried to take 2 GiB" in text


def test_a_run_without_any_fold_still_has_a_page_and_draws_what_there_is(tmp_path: Path) -> None:
    make_run(tmp_path / "run", shape=Shape(num_rows=60, failed=(0, 1, 2, 3, 4)))
    assert "No score:" in page_of(tmp_path / "run").text


def test_lacking_results_are_an_error(a_copy: Callable[..., Path]) -> None:
    run = a_copy()
    results = json.loads((run / "results.json").read_text())
    del results["layers"]
    save(run, results)
    with pytest.raises(ConfigError, match=r"results\.json is not as a run writes it: it lacks 'layers'"):
        write_report(run, with_data=False)


def test_homes_and_tokens_do_not_leave_the_machine(a_copy: Callable[..., Path]) -> None:
    text = page_of(a_copy(command="x --dataset /home/ann/data --t hf_" + "a" * 34)).text
    assert "/home/ann" not in text
    assert "hf_aaaa" not in text


@pytest.mark.slow
def test_the_same_run_gives_the_same_page_and_draws_the_same(a_copy: Callable[..., Path]) -> None:
    (run,) = open_runs([a_copy()])
    assert render(run, with_data=False) == render(run, with_data=False)


def walk(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        for item in value.values():
            yield from walk(item)
    yield value


def test_no_value_is_shown_as_python_writes_it(a_copy: Callable[..., Path]) -> None:
    results = copy.deepcopy(json.loads((a_copy() / "results.json").read_text()))
    assert None in list(walk(results))
    assert not re.search(r"\b(None|True|False|nan)\b|\{'", page_of(a_copy()).text)

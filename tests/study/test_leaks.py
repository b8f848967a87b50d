"""What random folds would say beside folds that keep related rows apart, in whole small runs."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from small_runs import edit, edit_rows, make_run, wrong

from hf_transfer.report.card.card import write_card
from hf_transfer.runs.results import CrossValidationResult, read_results
from hf_transfer.verify.verify_run import verify_run

SMALL = {"num_folds": 3, "final": "none", "card": False, "trainable": "head", "max_rows": None}
WORDS = (
    "amber", "basil", "cedar", "delta", "ember", "fjord", "grove", "haven", "ivory", "jolly", "karma",
    "lotus", "mango", "noble", "ocean", "prune",
)  # fmt: skip


def texts(
    folder: Path, *, authors: int, rows: int, more: Callable[[int], dict[str, Any]] = lambda i: {}
) -> str:
    """Texts in which each author repeats words of their own, and is always of one opinion."""
    rng = np.random.default_rng(0)
    own = [rng.choice(WORDS, 3) for _ in range(authors)]
    lines = []
    for i in range(rows):
        author = i * authors // rows
        words = [*np.repeat(own[author], 4), *rng.choice(WORDS, 3)]
        rng.shuffle(words)
        lines.append({"text": " ".join(words), "label": ("no", "yes")[author % 2], **more(author)})
    path = folder / "texts.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)))
    return str(path)


@pytest.fixture(scope="module")
def model(tiny_bert_folder) -> dict[str, Any]:
    return {"base_model": str(tiny_bert_folder), "max_length": 24}


@pytest.fixture(scope="module")
def by_author(tmp_path_factory, model) -> Path:
    """A run whose folds keep authors apart."""
    folder = tmp_path_factory.mktemp("by-author")
    rows = texts(folder, authors=12, rows=72, more=lambda author: {"who": f"ann{author}"})
    return make_run("text", folder, dataset=rows, group_by="who", **model | SMALL)


@pytest.fixture(scope="module")
def by_nothing(tmp_path_factory, model) -> Path:
    """The same rows under stratified folds, with a column that says who wrote them."""
    folder = tmp_path_factory.mktemp("by-nothing")
    rows = texts(folder, authors=12, rows=72, more=lambda author: {"who": f"ann{author}"})
    return make_run("text", folder, dataset=rows, **model | SMALL)


def state(run: Path) -> str:
    return next(check.state for check in verify_run(run) if check.name == "leak's price")


def test_groups_have_a_price(by_author):
    leak = read_results(by_author).leak
    assert (leak.kept, leak.column, leak.tested) == ("groups", "who", [])
    assert leak.price.random.mean > leak.price.apart.mean + 0.15
    assert leak.price.apart.scores == read_results(by_author).probe.scores
    assert leak.price.difference == pytest.approx(np.mean(leak.price.differences))
    summary = CrossValidationResult.load(by_author).summary()
    assert f"Random folds would have said {leak.price.random.mean:.3f} accuracy, by 'who' " in summary


def test_it_is_told_on_the_card(by_author, tmp_path):
    text = write_card(shutil.copytree(by_author, tmp_path / "copy"), redraw=False).read_text()
    assert "**What would random folds have said?**" in text
    assert "| random |" in text
    assert "| by 'who' |" in text


@pytest.mark.parametrize("name", ["by_author", "by_nothing"])
def test_it_is_made_again(name, request, tmp_path):
    copy = Path(shutil.copytree(request.getfixturevalue(name), tmp_path / "copy"))
    assert state(copy) == "ok"
    edit(copy, lambda values: values["leak"]["price"]["random"].update(mean=2))
    assert "leak.price.random.mean: written 2, recomputed 0" in wrong(copy)


def test_rows_that_are_held_out_by_another_fold_are_found(by_author, tmp_path):
    copy = Path(shutil.copytree(by_author, tmp_path / "copy"))
    path = "folds/random-folds/r0f0/predictions.parquet"
    edit_rows(copy, lambda rows: rows.reverse(), path)
    assert f"predictions of {Path(path).parent}" in wrong(copy)


def test_an_unnamed_source_raises_an_alarm_that_names_it(by_nothing):
    results = read_results(by_nothing)
    found = results.leak.found
    assert (found.name, found.column, found.is_order) == ("column 'who'", "who", False)
    assert results.leak.price.random.scores == results.probe.scores
    assert results.leak.price.apart.mean < results.leak.price.random.mean - 0.15
    assert any("--group_by who" in note for note in results.notes)
    units = [
        set(pq.read_table(path)["unit"].to_pylist())
        for path in by_nothing.glob("folds/apart/r0f*/predictions.parquet")
    ]
    assert len(set.union(*units)) == sum(map(len, units)) == 12


@pytest.mark.slow
def test_without_a_column_blocks_of_the_order_are_scored(tmp_path, model):
    run = make_run("text", tmp_path, dataset=texts(tmp_path, authors=12, rows=72), **model | SMALL)
    leak = read_results(run).leak
    assert leak.found.name == "order of the rows"
    assert leak.price.apart.mean < leak.price.random.mean
    assert state(run) == "ok"
    assert "in blocks of the order of the rows" in CrossValidationResult.load(run).summary()


def test_independent_rows_raise_none(tmp_path, model):
    rows = texts(tmp_path, authors=72, rows=72, more=lambda author: {"shelf": f"s{author * 7 % 9}"})
    run = make_run("text", tmp_path, dataset=rows, **model | SMALL)
    leak = read_results(run).leak
    assert leak.found is None
    assert leak.price is None
    assert {one.name for one in leak.tested} == {"order of the rows", "column 'shelf'"}
    assert not (run / "folds" / "apart").exists()


@pytest.mark.parametrize("solver", ["lbfgs", pytest.param("ridge", marks=pytest.mark.slow)])
def test_heads_in_closed_form_have_a_price_too(solver, tmp_path, model):
    rows = texts(tmp_path, authors=12, rows=72, more=lambda author: {"who": f"ann{author}"})
    run = make_run("text", tmp_path, dataset=rows, group_by="who", head_solver=solver, **model | SMALL)
    results = read_results(run)
    assert results.probe is None
    assert results.leak.price.random.mean > results.leak.price.apart.mean
    assert state(run) == "ok"


@pytest.mark.slow
def test_times_have_a_price(tmp_path, model):
    rows = texts(tmp_path, authors=12, rows=72, more=lambda author: {"day": f"2024-01-{author + 1:02d}"})
    run = make_run("text", tmp_path, dataset=rows, time_by="day", gap=2, **model | SMALL)
    leak = read_results(run).leak
    assert (leak.kept, leak.column) == ("times", "day")
    assert "in blocks of 'day'" in CrossValidationResult.load(run).summary()
    assert state(run) == "ok"


@pytest.mark.slow
def test_numbers_go_the_other_way(tmp_path, model):
    rows = texts(tmp_path, authors=12, rows=72, more=lambda i: {"who": i, "label": 1.5 * (i * 5 % 12)})
    run = make_run("text", tmp_path, dataset=rows, group_by="who", **model | SMALL)
    price = read_results(run).leak.price
    assert price.random.mean < price.apart.mean  # an error: less is better
    assert price.difference > 0
    assert state(run) == "ok"


def test_a_run_stopped_before_it_ends_the_same(by_nothing, tmp_path, model):
    copy = Path(shutil.copytree(by_nothing, tmp_path / "text"))
    before = read_results(copy).leak
    shutil.rmtree(copy / "folds" / "apart" / "r0f1")
    (copy / "results.json").unlink()
    make_run("text", tmp_path, dataset=str(by_nothing.parent / "texts.jsonl"), **model | SMALL)
    assert read_results(copy).leak == before


def test_without_stored_features_nothing_is_said(tmp_path, model):
    rows = texts(tmp_path, authors=6, rows=36, more=lambda author: {"who": f"ann{author}"})
    run = make_run("text", tmp_path, dataset=rows, group_by="who", replay=False, **model | SMALL)
    assert read_results(run).leak is None

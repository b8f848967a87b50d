"""What a notebook shows and calls: short reprs, HTML tables, and the verbs as functions."""

import ast
import inspect
import json
import re
import sys
from pathlib import Path

import pytest
import torchvision
from small_runs import make_run

import hf_transfer
from hf_transfer import (
    RunConfig,
    SequenceClassification,
    compare,
    freeze,
    layer_groups,
    predict,
    rank,
    report,
    score,
)
from hf_transfer.layers import freeze_table
from hf_transfer.machine.progress import progress_bar
from hf_transfer.runs.results import CrossValidationResult


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return [
        make_run(
            "text",
            tmp_path_factory.mktemp("notebook"),
            final="refit",
            num_folds=2,
            card=False,
            learning_rate=rate,
        )
        for rate in (1e-3, 1e-2)
    ]


@pytest.mark.slow
def test_reprs_fit_ten_lines(runs):
    model = torchvision.models.resnet50()
    freezing = freeze(model, "last:1")
    result = CrossValidationResult.load(runs[0])
    config = RunConfig(base_model="builtin:tiny-bert", num_folds=3)
    shown = [
        freezing, layer_groups(model)[1], result, result.results.config, config,
        SequenceClassification(config, [f"label {i}" for i in range(200)]),
    ]  # fmt: skip
    for value in shown:
        assert len(repr(value)) < 10 * 110
    assert repr(config) == "RunConfig(base_model='builtin:tiny-bert', num_folds=3)"
    assert eval(repr(config)) == config
    assert repr(freezing).startswith("Freezing('last:1': learns groups ")
    assert "accuracy" in repr(result)


def test_tables_are_html_with_nothing_live_in_it(runs):
    model = torchvision.models.resnet18()
    shown = [
        freeze_table(model, freeze(model, "head"), learning_rate=1e-3),
        CrossValidationResult.load(runs[0]),
        compare(*runs),
    ]
    for value in shown:
        assert re.search(r"<table><tr><th>.*</td></tr></table>", value._repr_html_())
    other = runs[0].parent / "<b>bold"
    runs[1].rename(other)
    assert "<b>bold" not in compare(runs[0], other)._repr_html_()
    other.rename(runs[1])


def test_a_result_is_a_data_frame(runs):
    frame = CrossValidationResult.load(runs[0]).to_pandas()
    assert list(frame.columns[:3]) == ["row_id", "repeat", "fold"]
    assert len(frame) == 36


@pytest.mark.slow
def test_the_verbs_are_functions(runs, tmp_path):
    names = {"predict", "compare", "report", "rank", "search", "score"}
    assert names <= set(hf_transfer.__all__)
    assert all(callable(getattr(hf_transfer, name)) for name in names)
    assert "against" in inspect.signature(report).parameters
    assert predict(runs[0], "A wonderful little radio.")[0]["label"] in {"negative", "positive"}
    assert report(runs[0], with_data=False).name == "report.html"
    assert score(runs[0], "builtin:reviews", max_rows=80).num_rows
    found = rank(
        "builtin:reviews",
        ["builtin:tiny-bert"],
        max_rows=40,
        num_folds=2,
        num_repeats=1,
        output_dir=str(tmp_path),
    )
    assert (tmp_path / "rank.json").is_file()
    assert "tiny-bert" in repr(found)
    assert "tiny-bert" in found._repr_html_()


def test_a_search_says_what_it_costs():
    settings = {"base_model": "builtin:digits-resnet", "dataset": "builtin:digits_5to9", "max_rows": 60}
    cost = hf_transfer.search("image_classification", dry_run=True, **settings)
    assert "SearchCost" in repr(cost)


def test_a_bar_is_live_in_a_notebook(monkeypatch):
    monkeypatch.delitem(sys.modules, "ipykernel", raising=False)
    with progress_bar("x", total=1) as bar:
        assert bar.mininterval > 1
    monkeypatch.setitem(sys.modules, "ipykernel", sys)
    with progress_bar("x", total=1) as bar:
        assert bar.mininterval < 1


@pytest.mark.slow
def test_the_example_notebook_runs(tmp_path, monkeypatch):
    """As a kernel would run it: cell by cell in one namespace, and the last expression is shown."""
    notebook = json.loads((Path(__file__).parents[1] / "docs" / "notebook.ipynb").read_text(encoding="utf-8"))
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    shown = []
    for cell in notebook["cells"]:
        if cell["cell_type"] != "code":
            continue
        assert cell["outputs"] == []
        assert cell["execution_count"] is None
        *before, last = ast.parse("".join(cell["source"])).body
        exec(compile(ast.Module(before, []), cell["id"], "exec"), names)
        shown.append(eval(compile(ast.Expression(last.value), cell["id"], "eval"), names))
    assert all(len(repr(value)) < 10 * 110 for value in shown if not hasattr(value, "_repr_html_"))
    assert (tmp_path / "runs" / "notebook" / "report.html").is_file()

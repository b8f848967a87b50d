"""What a notebook shows and calls: short reprs, HTML tables, and the verbs as functions."""

import inspect
import re
import sys

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
    cost = hf_transfer.search(
        "sentiment", dry_run=True, dataset="builtin:reviews", max_rows=60, base_model="builtin:tiny-bert"
    )
    assert "SearchCost" in repr(cost)


def test_a_bar_is_live_in_a_notebook(monkeypatch):
    assert progress_bar("x", total=1, shown=False).mininterval > 1
    monkeypatch.setitem(sys.modules, "ipykernel", sys)
    assert progress_bar("x", total=1, shown=False).mininterval < 1

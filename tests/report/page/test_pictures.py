import base64
import xml.etree.ElementTree as ET
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from fake_run import Shape, make_run
from sketches import results_of

from hf_transfer.report.page.pictures import draw_pictures, grid_map, svg_uri
from hf_transfer.runs.records import Results

HIGHER = {"higher_is_better": {"accuracy": True, "log_loss": False}, "task": "text-classification"}


def entry(mean: float | None, best: bool = False, **settings: Any) -> dict[str, Any]:
    scores = {name: {"mean": mean, "std": None, "num_folds": 5} for name in ("accuracy", "log_loss")}
    return settings | {"best": best, "scores": scores, "folds": [], "p_holm": mean}


def results(*grid: dict[str, Any], metric: str = "accuracy") -> Results:
    return results_of(HIGHER | {"primary_metric": metric, "grid": list(grid)})


GRID = (
    entry(0.7, learning_rate=1e-2, weight_decay=0.0), entry(0.9, True, learning_rate=1e-3, weight_decay=0.0),
    entry(0.6, learning_rate=1e-2, weight_decay=0.1), entry(None, learning_rate=1e-3, weight_decay=0.1),
)  # fmt: skip


def cells(figure: Any) -> np.ndarray:
    return np.ma.filled(figure.axes[0].images[0].get_array(), np.nan)


def test_a_map_has_learning_rates_across_in_order() -> None:
    figure = grid_map(results(*GRID))
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == ["0.001", "0.01"]
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["0", "0.1"]
    np.testing.assert_allclose(cells(figure), [[0.9, 0.7], [np.nan, 0.6]])
    (frame,) = figure.axes[0].patches
    assert (frame.get_x(), frame.get_y()) == (-0.5, -0.5)
    assert [text.get_text() for text in figure.axes[0].texts] == ["0.900", "0.700", "0.600"]


@pytest.mark.parametrize(("metric", "kept"), [("accuracy", 0.8), ("log_loss", 0.5)])
def test_where_three_settings_vary_a_cell_shows_the_best(metric: str, kept: float) -> None:
    grid = [
        entry(0.5, learning_rate=1e-3, layer_decay=0.9, weight_decay=0.0),
        entry(0.8, True, learning_rate=1e-3, layer_decay=0.9, weight_decay=0.1),
        entry(0.6, learning_rate=1e-2, layer_decay=1.0, weight_decay=0.1),
    ]
    figure = grid_map(results(*grid, metric=metric))
    assert cells(figure)[0, 0] == kept
    assert figure.axes[0].get_ylabel() == "layer decay"


def test_layers_are_told_by_their_specification() -> None:
    grid = [
        entry(0.5 + rate, rate == 0.2, learning_rate=rate, trainable=spec, parameters=1)
        for rate in (0.1, 0.2)
        for spec in ("head", "last:2")
    ]
    grid[3]["best"] = False
    figure = grid_map(results(*grid))
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["head", "last:2"]


@pytest.mark.parametrize("grid", [None, list(GRID[:2])])
def test_fewer_than_two_settings_make_no_map(grid: Any) -> None:
    assert grid_map(replace(results(), grid=grid and results(*grid).grid)) is None


def test_a_picture_is_svg_that_parses_and_is_the_same_each_time(tmp_path: Any) -> None:
    run = results_of(make_run(tmp_path / "run", shape=Shape(num_rows=40)))
    pictures = draw_pictures(run, {})
    assert [picture.title for picture in pictures] == ["Each fold", "Reliability", "Confusion matrix"]
    for picture in pictures:
        head, _, data = picture.uri.partition(",")
        assert head == "data:image/svg+xml;base64"
        assert ET.fromstring(base64.b64decode(data)).tag.endswith("svg")
        assert picture.alt
        assert picture.caption
    assert draw_pictures(run, {}) == pictures
    assert svg_uri(grid_map(results(*GRID))) == svg_uri(grid_map(results(*GRID)))


@pytest.mark.parametrize("num_classes", [3, 40])
@pytest.mark.slow
def test_the_caption_says_how_many_classes_are_drawn(tmp_path: Any, num_classes: int) -> None:
    names = tuple(f"class {i}" for i in range(num_classes))
    results = results_of(make_run(tmp_path, "image-classification", Shape(num_rows=400, label_names=names)))
    (matrix,) = [one for one in draw_pictures(results, {}) if one.title == "Confusion matrix"]
    drawn = "Of 40 classes, the 20 that are most often confused are drawn." in matrix.caption
    assert drawn == (num_classes == 40)

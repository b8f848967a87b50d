import numpy as np
import pytest
from sketches import results_of

from hf_transfer.report.plots.sizes import size_curve

SIZES = [
    {
        "num_train": rows, "scores": [mean - 0.02, mean + 0.02, None], "train_scores": [0.99, 1.0, None],
        "mean": mean, "train_mean": 0.995, "interval": [mean - 0.05, mean + 0.05],
    }
    for rows, mean in ((24.0, 0.7), (48.0, 0.8), (240.0, 0.9))
]  # fmt: skip
FIT = {"a": 0.95, "b": -2.0, "c": 0.7}


def axes_of(**changes):
    curve = {"metric": "accuracy", "sizes": SIZES, "fit": FIT} | changes
    figure = size_curve(results_of({"task": "text-classification", "learning_curve": curve}))
    (axes,) = figure.axes
    return axes


def labelled(axes) -> dict:
    return {line.get_label(): line for line in axes.lines if not line.get_label().startswith("_")}


def test_means_and_the_law_to_twice_the_rows():
    lines = labelled(axes_of())
    assert lines["held-out rows, 95 % interval"].get_xydata().tolist() == [[24, 0.7], [48, 0.8], [240, 0.9]]
    assert lines["training rows"].get_ydata().tolist() == [0.995] * 3
    law = lines["fitted curve, to twice the rows"]
    assert (law.get_xdata()[0], law.get_xdata()[-1]) == pytest.approx((24, 480))
    assert law.get_ydata()[-1] == pytest.approx(0.95 - 2 * 480**-0.7)
    assert law.get_linestyle() == "--"


def test_the_rows_are_on_a_log_scale_with_their_own_ticks():
    axes = axes_of()
    assert axes.get_xscale() == "log"
    assert [label.get_text() for label in axes.get_xticklabels()] == ["24", "48", "240", "480"]


def test_without_a_fit_there_is_no_law_and_a_size_without_scores_is_left_out():
    failed = {"num_train": 12.0, "scores": [None], "train_scores": [None], "mean": None, "interval": None}
    axes = axes_of(fit=None, sizes=[failed, *SIZES])
    assert "fitted curve, to twice the rows" not in labelled(axes)
    assert np.min([line.get_xdata().min() for line in axes.lines]) == 24


def test_no_curve_is_no_picture():
    assert size_curve(results_of({})) is None

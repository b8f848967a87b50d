import json
from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
from fake_run import Shape, make_run
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sketches import epochs_of, results_of

from hf_transfer.report.plots import scores as plots
from hf_transfer.report.plots.reliability import reliability_diagram
from hf_transfer.runs.records import Results
from hf_transfer.runs.run_folder import read_histories

MANY = tuple(f"breed {i}" for i in range(40))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Results]:
    folder = tmp_path_factory.mktemp("runs") / "reviews"
    return folder, results_of(make_run(folder, shape=Shape(num_rows=60, failed=(2,), early_stopping=True)))


def axes_of(figure: Figure | None) -> Axes:
    assert figure is not None
    return figure.axes[0]


def points(axes: Axes, label: str) -> list[list[float]]:
    return [np.asarray(line.get_xdata()).tolist() for line in axes.lines if line.get_label() == label]


def test_each_fold_is_a_dot_at_its_score(run: tuple[Path, Results]) -> None:
    axes, done = axes_of(plots.fold_scores(run[1])), run[1].done
    metrics = ["f1_macro", "accuracy", "balanced_accuracy"]
    assert points(axes, "a fold, held-out rows") == [[f.scores[m] for f in done] for m in metrics]
    assert points(axes, "a fold, training rows") == [[f.train_scores[m] for f in done] for m in metrics]
    assert [tick.get_text() for tick in axes.get_yticklabels()] == [
        "F1 (macro)",
        "accuracy",
        "balanced accuracy",
    ]


def test_mean_pooled_score_and_interval_are_those_of_the_results(run: tuple[Path, Results]) -> None:
    axes, score = axes_of(plots.fold_scores(run[1])), run[1].scores["f1_macro"]
    assert points(axes, "mean")[0] == [score.mean] * 2
    assert points(axes, "pooled")[0] == [score.pooled] * 2
    assert points(axes, "95 %, optimistic")[0] == list(score.interval)
    assert points(axes, "95 %, conservative")[0] == list(score.conservative_interval)


def test_scores_of_equal_folds_have_one_interval(run: tuple[Path, Results]) -> None:
    equal = replace(run[1].scores["accuracy"], conservative_interval=None)
    axes = axes_of(plots.fold_scores(replace(run[1], scores={"accuracy": equal}, primary_metric="accuracy")))
    assert points(axes, "95 % interval") == [list(equal.interval)]


def test_the_legend_explains_each_mark_once(run: tuple[Path, Results]) -> None:
    legend = axes_of(plots.fold_scores(run[1])).get_legend()
    assert legend is not None
    texts = [text.get_text() for text in legend.get_texts()]
    assert texts == [
        *("95 %, conservative", "95 %, optimistic", "pooled", "mean"),
        *("a fold, training rows", "a fold, held-out rows"),
    ]


def test_an_interval_is_called_the_same_beside_a_score_that_has_two(run: tuple[Path, Results]) -> None:
    lone = replace(run[1].scores["f1_macro"], conservative_interval=None)
    axes = axes_of(plots.fold_scores(replace(run[1], scores=run[1].scores | {"f1_macro": lone})))
    assert points(axes, "95 % interval") == []
    assert len(points(axes, "95 %, optimistic")) == 3


def test_log_loss_is_drawn_only_where_nothing_else_is(run: tuple[Path, Results]) -> None:
    scores = {"log_loss": run[1].scores["log_loss"]}
    alone = replace(run[1], scores=scores, primary_metric="log_loss")
    axes = axes_of(plots.fold_scores(alone))
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["log loss"]


def test_no_score_makes_no_picture(run: tuple[Path, Results]) -> None:
    assert plots.fold_scores(replace(run[1], scores={})) is None
    assert plots.learning_curves({}) is None


def test_learning_curves_are_thin_for_folds_and_thick_for_their_mean(
    run: tuple[Path, Results],
) -> None:
    axes = axes_of(plots.learning_curves(read_histories(run[0] / "folds")))
    for key, label in (("train_loss", "training rows"), ("inner_loss", "inner split, for early stopping")):
        losses = [
            [
                json.loads(line)[key]
                for line in (run[0] / f"folds/r0f{fold}/history.jsonl").read_text().splitlines()
            ]
            for fold in (0, 1, 3, 4)
        ]
        (mean,) = [line for line in axes.lines if line.get_label() == f"{label} (mean of 4)"]
        thin = [line for line in axes.lines if line.get_color() == mean.get_color() and line is not mean]
        assert [np.asarray(line.get_ydata()).tolist() for line in thin] == losses
        assert np.asarray(mean.get_ydata()) == pytest.approx(np.mean(losses, axis=0))
        assert all(line.get_linewidth() < mean.get_linewidth() for line in thin)


def test_the_mean_curve_counts_only_folds_that_reached_an_epoch() -> None:
    histories = {"r0f0": [{"epoch": 1, "train_loss": 1.0}, {"epoch": 2, "train_loss": 0.5}]}
    histories["r0f1"] = [{"epoch": 1, "train_loss": 2.0}, {"epoch": 2, "train_loss": None}]
    (mean,) = [
        line
        for line in axes_of(plots.learning_curves(epochs_of(histories))).lines
        if line.get_linewidth() > 2
    ]
    assert np.asarray(mean.get_xydata()).tolist() == [[1.0, 1.5], [2.0, 0.5]]


def test_a_single_epoch_has_a_single_tick_at_a_whole_number() -> None:
    axes = axes_of(plots.learning_curves(epochs_of({"r0f0": [{"epoch": 1, "train_loss": 1.0}]})))
    low, high = axes.get_xlim()
    assert [tick for tick in axes.get_xticks() if low <= tick <= high] == [1.0]


def test_the_confusion_matrix_has_counts_as_text_and_shares_as_colour(
    run: tuple[Path, Results],
) -> None:
    confusion = np.array(run[1].confusion)
    axes = axes_of(plots.confusion_matrix(confusion.tolist(), ["negative", "positive"]))
    texts = {tuple(map(round, text.get_position())): int(text.get_text()) for text in axes.texts}
    assert texts == {(c, r): confusion[r, c] for r in range(2) for c in range(2)}
    drawn = axes.images[0].get_array()
    assert drawn is not None
    assert np.asarray(drawn) == pytest.approx(confusion / confusion.sum(axis=1, keepdims=True))


def test_a_class_without_rows_has_no_colour_instead_of_a_division_by_zero() -> None:
    drawn = axes_of(plots.confusion_matrix([[3, 1], [0, 0]], ["a", "b"])).images[0].get_array()
    assert np.asarray(drawn).tolist() == [[0.75, 0.25], [0.0, 0.0]]


def test_of_many_classes_the_most_confused_are_drawn() -> None:
    confusion = np.diag(np.full(40, 9))
    for i in range(10):
        confusion[2 * i, 39 - i] = 5 + i
    confusion[1, 3] = 1
    chosen = plots.most_confused(confusion.tolist())
    assert chosen == sorted({2 * i for i in range(10)} | {39 - i for i in range(10)})
    axes = axes_of(plots.confusion_matrix(confusion.tolist(), MANY))
    assert [tick.get_text() for tick in axes.get_yticklabels()] == [MANY[i] for i in chosen]
    counts = [int(text.get_text()) for text in axes.texts]
    assert counts == confusion[np.ix_(chosen, chosen)].ravel().tolist()


def test_up_to_thirty_classes_are_all_drawn() -> None:
    assert plots.most_confused(np.eye(30, dtype=int).tolist()) == list(range(30))


@given(st.lists(st.text(max_size=60), max_size=4))
def test_names_on_an_axis_are_short_and_writable(names: list[str]) -> None:
    drawn = plots.drawn_names(names)
    assert all(0 < len(name) <= plots.LONGEST_NAME for name in drawn)
    assert plots._glyphs().issuperset(ord(letter) for name in drawn for letter in name)


def test_a_long_name_keeps_both_ends_and_a_foreign_one_becomes_its_number() -> None:
    names = ["short", "a rather long class name, no. 17", "日本語", "  "]
    assert plots.drawn_names(names) == ["short", "a rather long c…, no. 17", "#2", "#3"]


def test_hostile_names_are_drawn_as_they_are() -> None:
    names = ["a$b$", "$\\frac{", "<b>|x"]
    figure = plots.confusion_matrix(np.eye(3, dtype=int).tolist(), names)
    figure.draw_without_rendering()
    assert [tick.get_text() for tick in figure.axes[0].get_yticklabels()] == names


def test_the_same_run_gives_the_same_bytes(run: tuple[Path, Results], tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    for name in ("a.png", "b.png"):
        figure = plots.confusion_matrix(run[1].confusion, run[1].label_names)
        plots.save(figure, tmp_path / name)
    data = (tmp_path / "a.png").read_bytes()
    assert data == (tmp_path / "b.png").read_bytes()
    assert data.startswith(b"\x89PNG")
    assert b"tEXt" not in data
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "b.png"]


def test_a_picture_that_is_no_longer_true_is_removed(run: tuple[Path, Results]) -> None:
    assert plots.save_plots(*run) == ["folds", "confusion", "learning", "reliability"]
    assert plots.save_plots(run[0], replace(run[1], confusion=None, calibration=None)) == [
        "folds",
        "learning",
    ]
    assert sorted(path.name for path in (run[0] / "plots").iterdir()) == ["folds.png", "learning.png"]


def test_reliability_has_a_point_for_each_bin_before_and_after(run: tuple[Path, Results]) -> None:
    calibration = run[1].calibration
    axes = axes_of(reliability_diagram(calibration))
    lines = {str(box.get_label()): np.asarray(box[0].get_xydata()) for box in axes.containers}
    for when, label in (("before", "as they come"), ("after", "with a temperature")):
        (drawn,) = [points for name, points in lines.items() if name.startswith(label)]
        expected = [(line.confidence, line.accuracy) for line in calibration.bins[when]]
        assert drawn == pytest.approx(np.array(expected))
    left, right = axes.get_xlim()
    assert all(left < confidence < right for points in lines.values() for confidence in points[:, 0])


def test_nothing_is_left_in_pyplot(run: tuple[Path, Results]) -> None:
    plots.fold_scores(run[1])
    assert plt.get_fignums() == []

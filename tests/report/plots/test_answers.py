import numpy as np
import pytest

from hf_transfer.report.plots import answers

NAMES = [f"size {i} $x" for i in range(8)]


@pytest.mark.parametrize(("number", "panels"), [(1, 2), (2, 2), (3, 3), (6, 6)])
def test_each_number_has_a_panel_and_one_alone_also_what_is_left(number: int, panels: int) -> None:
    rows = np.random.default_rng(0).normal(size=(9, 2 * number))
    figure = answers.number_scatter(rows.tolist(), NAMES[:number])
    assert figure is not None
    assert len(figure.axes) == panels
    for place in range(number):
        axes = figure.axes[place]
        dots = [line for line in axes.lines if line.get_marker() == "o"]
        assert np.asarray(dots[0].get_xydata()) == pytest.approx(rows[:, [place, number + place]])
        assert axes.get_title() == ("" if number == 1 else NAMES[place])
    if number == 1:
        rest = np.asarray(figure.axes[1].lines[1].get_xydata())
        assert rest == pytest.approx(np.column_stack([rows[:, 1], rows[:, 0] - rows[:, 1]]))


def test_the_caption_says_what_is_drawn_and_what_is_not() -> None:
    assert answers.number_scatter(None, ["a"]) is None
    assert "on the right, on 0" in answers.scatter_caption(["a"])
    assert "first" not in answers.scatter_caption(NAMES[:6])
    assert answers.scatter_caption(NAMES).endswith("Of 8 numbers a row, the first 6 are drawn.")

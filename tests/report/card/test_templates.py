"""Templates of cards: one a task, filled strictly."""

import jinja2
import pytest

from hf_transfer.errors import ConfigError
from hf_transfer.report.card.templates import card_template


@pytest.mark.parametrize("task", ["object-detection", "_base", "../README"])
def test_a_task_without_a_card_is_refused(task: str) -> None:
    with pytest.raises(ConfigError, match=r"no model card for the task .* There is one for .*image-class"):
        card_template(task)


def test_a_card_is_filled_strictly() -> None:
    with pytest.raises(jinja2.UndefinedError, match="is undefined"):
        card_template("text-classification").render()

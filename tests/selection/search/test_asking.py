import io

import pytest

from hf_transfer.errors import ConfigError
from hf_transfer.selection.search.asking import ask_hours, can_ask
from hf_transfer.selection.search.cost import SearchCost

COST = SearchCost(
    mode="shared", candidates=[], trials=9, forward_seconds=2.0, selection_seconds=1800.0,
    judging_seconds=3600.0, exhaustive_seconds=9e4,
)  # fmt: skip


@pytest.mark.parametrize(("answer", "hours"), [("", 1.5), ("0.25", 0.25), ("None", None), (" 3 ", 3.0)])
def test_the_cost_is_shown_and_accepted_by_enter_alone(monkeypatch, capsys, answer, hours):
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{answer}\n"))
    assert ask_hours(COST) == hours
    said = capsys.readouterr().err
    assert "about 9 trials in 30 min" in said
    assert said.endswith("[1.5]: ")


@pytest.mark.parametrize("answer", ["soon", "-1", "0", "inf"])
def test_an_answer_that_is_no_time_is_refused(monkeypatch, answer):
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{answer}\n"))
    with pytest.raises(ConfigError, match=f"'{answer}' is no number of hours; answer with one such as 0.5"):
        ask_hours(COST)


def test_nobody_is_asked_where_nobody_sits(monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO())
    assert not can_ask()

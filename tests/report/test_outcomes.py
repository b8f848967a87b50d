import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from hf_transfer.cli.main import main
from hf_transfer.errors import ConfigError, DataError
from hf_transfer.report.outcomes import compare_outcomes

AB = ("a", "b")


def outcomes(folder: Path, **columns: Sequence[object]) -> Path:
    """A CSV file of these columns."""
    path = folder / "outcomes.csv"
    rows = zip(*columns.values(), strict=True)
    path.write_text("\n".join(",".join(map(str, row)) for row in [columns, *rows]) + "\n", encoding="utf-8")
    return path


def drawn(seed: int, trials: int = 60) -> dict[str, list[int]]:
    """Two policies and a control on the same seeds, some of which are hard for all of them."""
    draw = np.random.default_rng(seed)
    hard = draw.random(trials)
    chances = {"a": 0.7 - 0.5 * hard, "b": 1.0 - 0.5 * hard, "control": 0.5 - 0.5 * hard}
    return {name: (draw.random(trials) < chance).astype(int).tolist() for name, chance in chances.items()}


@pytest.mark.parametrize("seed", range(5))
def test_rates_and_p_values_are_those_of_scipy(tmp_path, seed):
    columns = drawn(seed)
    found = compare_outcomes(outcomes(tmp_path, seed=range(60), **columns), AB, control="control")
    for rate in found.rates:
        values = columns[rate.name]
        ends = stats.binomtest(sum(values), 60).proportion_ci(method="wilson")
        assert (rate.rate, *rate.interval) == pytest.approx((np.mean(values), *ends))
    pairs = (found.pair, *found.against_control)
    assert [(p.first, p.second) for p in pairs] == [AB, ("control", "a"), ("control", "b")]
    for pair in pairs:
        first, second = np.array(columns[pair.first]), np.array(columns[pair.second])
        assert pair.difference == pytest.approx(second.mean() - first.mean())
        assert pair.p == pytest.approx(
            stats.binomtest(int((first > second).sum()), int((first != second).sum())).pvalue
        )
    holm = max(3 * min(p.p for p in pairs), 0)
    assert min(p.p_adjusted for p in pairs) == pytest.approx(min(holm, 1))


def test_the_verdict_turns_with_the_columns(tmp_path):
    a, b = [0] * 20 + [1] * 20, [1] * 12 + [0] * 8 + [1] * 20
    path = outcomes(tmp_path, seed=range(40), a=a, b=b)
    found = compare_outcomes(path, AB)
    assert found.pair.verdict == "second is better"
    assert compare_outcomes(path, AB[::-1]).pair.verdict == "first is better"
    assert "b succeeds more often than a, by 0.300" in found.to_text()


def test_what_differs_nowhere_is_the_same_and_few_differences_tell_nothing(tmp_path):
    same = compare_outcomes(outcomes(tmp_path, seed=range(8), a=[0, 1] * 4, b=[0, 1] * 4), AB)
    assert same.pair.verdict == "same"
    assert "a and b did the same in each of 8 pairs." in same.to_text()
    even = compare_outcomes(outcomes(tmp_path, seed=range(8), a=[0, 1] * 4, b=[1, 0] * 4), AB)
    assert (even.pair.verdict, even.pair.pairs_needed) == ("can't tell", None)
    assert "equally many successes" in even.to_text()


def test_an_ahead_that_is_luck_says_how_many_pairs_would_tell(tmp_path):
    found = compare_outcomes(outcomes(tmp_path, seed=range(20), a=[0] * 4 + [1] * 16, b=[1] * 20), AB)
    assert found.pair.verdict == "can't tell"
    assert f"about {found.pair.pairs_needed} pairs would tell" in found.to_text()


@pytest.mark.parametrize(
    ("trials", "control", "told"), [(5, False, True), (6, False, False), (6, True, True)]
)
def test_fewer_pairs_than_any_test_needs_are_told(tmp_path, trials, control, told):
    columns = {"seed": range(trials), "a": [0] * trials, "b": [1] * trials, "c": [0] * trials}
    found = compare_outcomes(outcomes(tmp_path, **columns), AB, control="c" if control else None)
    assert any("can't tell anything, whatever they say" in note for note in found.notes) is told
    assert (found.pair.verdict == "can't tell") is told


def test_outcomes_may_be_words(tmp_path):
    path = outcomes(tmp_path, trial=range(4), a=["true", "False", "yes", "no"], b=["1", "0", "1.0", "0"])
    found = compare_outcomes(path, AB, seed_column="trial")
    assert [rate.successes for rate in found.rates] == [2, 2]
    assert found.notes == (
        "4 pairs can't tell anything, whatever they say: an exact test needs at least 6 that differ.",
    )


def test_rows_without_seeds_are_taken_for_trials_and_that_is_said(tmp_path):
    found = compare_outcomes(outcomes(tmp_path, a=[0, 1] * 5, b=[1] * 10), AB)
    assert "each row is taken for one trial of both" in found.notes[0]


GOOD = {"seed": [1, 2], "a": [0, 1], "b": [0, 1]}


@pytest.mark.parametrize(
    ("changed", "options", "message"),
    [
        ({"a": [0, 2]}, {}, r"Column 'a' holds value '2' in row 1 .*is 0 or 1, true or false"),
        ({"a": [0, ""]}, {}, r"Column 'a' holds value .* in row 1 .*did not finish"),
        ({"b": [0, 0.5]}, {}, r"Column 'b' holds value '0.5' in row 1"),
        ({}, {"control": "b"}, r"control='b': give two different columns .* none of them"),
        ({"c": [1, "x"]}, {"control": "c"}, r"Column 'c' holds value 'x' in row 1"),
        ({"seed": [7, 7]}, {}, r"Seed 7 in column 'seed' is that of row 0 and of row 1"),
        ({"seed": ["", 7]}, {}, r"without a seed in column 'seed': row 0"),
        ({}, {"control": "idle"}, r"No column 'idle' in the dataset.*Pass --control"),
        ({}, {"seed_column": "episode"}, r"No column 'episode' in the dataset.*Pass --seed_column"),
    ],
)
def test_what_is_no_table_of_outcomes_is_refused(tmp_path, changed, options, message):
    with pytest.raises((DataError, ConfigError), match=message):
        compare_outcomes(outcomes(tmp_path, **GOOD | changed), AB, **options)


@pytest.mark.parametrize("columns", [("a",), ("a", "a"), ("a", "b", "c")])
def test_two_columns_are_asked_for(tmp_path, columns):
    with pytest.raises(ConfigError, match="give two different columns of outcomes"):
        compare_outcomes(outcomes(tmp_path, a=[0, 1], b=[0, 1], c=[0, 1]), columns)


def test_the_verb_prints_it_and_gives_json(tmp_path, capsys, monkeypatch):
    path = outcomes(tmp_path, seed=range(60), **drawn(1))
    words = ["compare", str(path), "--columns", "a,b", "--control", "control"]
    assert main(words) == 0
    assert "control" in capsys.readouterr().out
    assert main([*words, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["verdict"] == told["pair"]["verdict"] == "second is better"
    assert [pair["first"] for pair in told["against_control"]] == ["control", "control"]
    assert {"rate", "interval", "successes", "trials", "name"} == set(told["rates"][0])
    assert all("sentence" in pair and "p" in pair for pair in told["against_control"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["compare", "x.csv", "--control", "c"], "--control and --seed_column go with --columns"),
        (["compare", "x.csv", "y.csv", "--columns", "a,b"], "reads one file of outcomes; 2 were given"),
        (["compare", "nowhere.csv", "--columns", "a,b"], "No such file"),
    ],
)
def test_the_verb_refuses_what_does_not_fit(words, message, capsys):
    assert main(words) in (2, 3)
    assert message in capsys.readouterr().err

"""Compare two columns of outcomes of the same trials, such as two policies on the same seeds."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from datasets import Dataset

from hf_transfer import _guard  # noqa: F401
from hf_transfer.data.columns import require
from hf_transfer.data.data_files import read_file
from hf_transfer.errors import ConfigError, DataError
from hf_transfer.machine.wording import aligned, count, interval, number, probability, some
from hf_transfer.runs.paired import LEVEL
from hf_transfer.runs.schema import to_json
from hf_transfer.scores.statistics import (
    PairedTable,
    holm,
    mcnemar,
    paired_interval,
    pairs_needed,
    wilson_interval,
)
from hf_transfer.tasks.targets.labels import refuse_rows
from hf_transfer.tasks.targets.several_columns import as_mark

_SEED = "seed"  # the column that is taken for the trials' names where none is named

Verdict = Literal["second is better", "first is better", "same", "can't tell"]
Interval = tuple[float, float]


@dataclass(frozen=True)
class Rate:
    """How often one succeeds, with Wilson's 95 % interval."""

    name: str
    successes: int
    trials: int
    rate: float
    interval: Interval


@dataclass(frozen=True, kw_only=True)
class PairedOutcomes:
    """Two on the same trials: second less first, its 95 % interval, and the exact test.

    Attributes:
        first: Name of one column.
        second: Name of the other.
        both: Trials in which both succeeded.
        only_first: Trials in which only the first one did.
        only_second: Trials in which only the second one did.
        neither: Trials in which none did.
        difference: The second rate less the first.
        interval: Newcombe's paired interval of it.
        p: Of McNemar's exact test, two-sided.
        p_adjusted: The same by Holm's rule over all pairs that were tested.
        pairs_needed: About how many trials would tell a difference of this size; None without one.
    """

    first: str
    second: str
    both: int
    only_first: int
    only_second: int
    neither: int
    difference: float
    interval: Interval
    p: float
    p_adjusted: float
    pairs_needed: int | None

    @property
    def verdict(self) -> Verdict:
        """Which one succeeds more often, by the adjusted p."""
        if self.only_first == self.only_second == 0:
            return "same"
        if self.p_adjusted >= LEVEL:
            return "can't tell"
        return "second is better" if self.difference > 0 else "first is better"


@dataclass(frozen=True)
class OutcomeComparison:
    """Rates of success, the tested pair, each beside the control arm, and notes."""

    rates: tuple[Rate, ...]
    pair: PairedOutcomes
    against_control: tuple[PairedOutcomes, ...]
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain values, with verdicts and sentences."""
        pair, *others = (
            to_json(p) | {"verdict": p.verdict, "sentence": _sentence(p)}
            for p in (self.pair, *self.against_control)
        )
        told = {"verdict": self.pair.verdict, "pair": pair, "against_control": others}
        return told | {"rates": to_json(self.rates), "notes": list(self.notes)}

    def to_text(self) -> str:
        """The table of rates, a sentence a pair, and the notes."""
        head = ["column", "succeeded", "of", "rate", "95 % interval"]
        cells = [
            [rate.name, str(rate.successes), str(rate.trials), number(rate.rate), interval(rate.interval)]
            for rate in self.rates
        ]
        sentences = map(_sentence, (self.pair, *self.against_control))
        return "\n\n".join(
            filter(None, [aligned([head, *cells]), "\n".join(sentences), "\n".join(self.notes)])
        )


def compare_outcomes(
    path: str | Path, columns: Sequence[str], *, control: str | None = None, seed_column: str | None = None
) -> OutcomeComparison:
    """Say which of two columns of 0 and 1 holds more successes, where each row is one trial of both.

    Args:
        path: A CSV, JSON, JSON Lines or Parquet file, one row a trial.
        columns: The two columns: 0 or 1, true or false, yes or no.
        control: A third one of the same kind: what succeeds without any skill, such as doing nothing.
        seed_column: The column that names each trial; `seed` if there is one.

    Raises:
        ConfigError: If not two different columns are named, or the control is one of them.
        DataError: If a column is absent, a value is no outcome, or a seed is missing or repeats.
    """
    names = [*columns, *([] if control is None else [control])]
    if len(columns) != 2 or len({*names}) < len(names):
        raise ConfigError(
            f"columns={','.join(columns)!r} and control={control!r}: give two different columns of outcomes, "
            "such as --columns policy_a,policy_b, and as --control none of them."
        )
    rows, notes = read_file(Path(path))
    told = _seeds_note(rows, seed_column)
    outcomes = {name: _outcomes(rows, name, "columns" if name in columns else "control") for name in names}
    rates = tuple(_rate(name, values) for name, values in outcomes.items())
    couples = [(columns[0], columns[1]), *((control, name) for name in columns if control is not None)]
    pairs = _adjusted([_paired(first, second, outcomes) for first, second in couples])
    few = _few_note(len(rows), len(pairs))
    return OutcomeComparison(rates, pairs[0], pairs[1:], (*notes, *told, *few))


def _seeds_note(rows: Dataset, seed_column: str | None) -> tuple[str, ...]:
    """Check that each row is a trial of its own, and say by what that is known.

    Raises:
        DataError: If the column is absent, or a seed is missing or repeats.
    """
    if seed_column is not None:
        require(rows, seed_column, "seed_column")
    elif _SEED not in rows.column_names:
        return ("No column names the seeds, so each row is taken for one trial of both; see --seed_column.",)
    column = seed_column or _SEED
    seeds = [None if value is None or str(value).strip() == "" else str(value) for value in rows[column][:]]
    missing = [row for row, seed in enumerate(seeds) if seed is None]
    refuse_rows(missing, f"without a seed in column {column!r}", "Both must have run on the same seeds.")
    first: dict[Any, int] = {}
    again = [row for row, seed in enumerate(seeds) if first.setdefault(seed, row) != row]
    if again:
        raise DataError(
            f"Seed {seeds[again[0]]} in column {column!r} is that of row {first[seeds[again[0]]]} and of row "
            f"{again[0]}; {count(len(again), 'row')} in all repeat an earlier seed. A trial that is counted "
            "twice is no evidence: keep one row a seed, or name another --seed_column."
        )
    return ()


def _outcomes(rows: Dataset, name: str, setting: str) -> list[int]:
    values = rows[require(rows, name, setting)][:]
    marks = [as_mark(value) for value in values]
    wrong = [row for row, mark in enumerate(marks) if mark is None]
    if wrong:
        given = [repr(value) for value in dict.fromkeys(str(values[row]) for row in wrong)]
        raise DataError(
            f"Column {name!r} holds {some(given, noun='value', limit=3)} in {some(wrong)} (the first is row "
            "0). An outcome is 0 or 1, true or false, yes or no: leave out seeds that one of them did not "
            "finish, and say what counts as success before you look."
        )
    return [mark for mark in marks if mark is not None]


def _rate(name: str, values: Sequence[int]) -> Rate:
    successes, trials = sum(values), len(values)
    return Rate(name, successes, trials, successes / trials, wilson_interval(successes, trials))


def _paired(first: str, second: str, outcomes: dict[str, list[int]]) -> PairedOutcomes:
    of_first, of_second = outcomes[first], outcomes[second]
    test = mcnemar(of_first, of_second)
    both = sum(a and b for a, b in zip(of_first, of_second, strict=True))
    table = PairedTable(
        both, test.only_first, test.only_second, len(of_first) - both - test.only_first - test.only_second
    )
    return PairedOutcomes(
        first=first,
        second=second,
        **table._asdict(),
        difference=(table.only_second - table.only_first) / len(of_first),
        interval=paired_interval(table),
        p=test.p,
        p_adjusted=test.p,
        pairs_needed=pairs_needed(table, LEVEL),
    )


def _adjusted(pairs: Sequence[PairedOutcomes]) -> tuple[PairedOutcomes, ...]:
    values = holm([pair.p for pair in pairs])
    return tuple(replace(pair, p_adjusted=float(p)) for pair, p in zip(pairs, values, strict=True))


def _few_note(trials: int, num_pairs: int) -> tuple[str, ...]:
    """Say so where no outcome whatever could have told the two apart."""
    fewest = math.floor(math.log2(2 * num_pairs / LEVEL)) + 1
    if trials >= fewest:
        return ()
    tests = f" with {count(num_pairs, 'test')}" * (num_pairs > 1)
    return (
        f"{count(trials, 'pair')} can't tell anything, whatever they say: an exact test{tests} needs at "
        f"least {fewest} that differ.",
    )


def _sentence(pair: PairedOutcomes) -> str:
    """Say which one succeeds more often and by how much, or that it can't be told."""
    first, second, trials = (
        pair.first,
        pair.second,
        sum((pair.both, pair.only_first, pair.only_second, pair.neither)),
    )
    if pair.verdict == "same":
        return f"{first} and {second} did the same in each of {count(trials, 'pair')}."
    ahead, behind = (second, first) if pair.difference > 0 else (first, second)
    low, high = pair.interval if pair.difference > 0 else (-pair.interval[1], -pair.interval[0])
    adjusted = "" if pair.p_adjusted == pair.p else f", {probability(pair.p_adjusted)} by Holm's rule"
    evidence = (
        f"(95 % interval {interval((low, high))}; of {count(trials, 'pair')} {pair.only_first} succeeded "
        f"only with {first}, {pair.only_second} only with {second}; exact McNemar p {probability(pair.p)}"
        f"{adjusted})"
    )
    by = f"{number(abs(pair.difference))} {evidence}"
    if pair.verdict != "can't tell":
        return f"{ahead} succeeds more often than {behind}, by {by}."
    if pair.difference == 0:
        return f"Can't tell {first} and {second} apart: equally many successes {evidence}."
    return (
        f"Can't tell with this many pairs: {ahead} is ahead of {behind} by {by}; about "
        f"{pair.pairs_needed:,} pairs would tell a difference of this size (in four of five cases)."
    )

"""Put the comparison of two configurations into words."""

from hf_transfer import _guard  # noqa: F401
from hf_transfer.machine.wording import count, number, probability
from hf_transfer.runs.paired import Interval, Pair
from hf_transfer.tasks import metric_name

_MOST_TIMES = 1000  # as many rows; more is no advice


def sentence(pair: Pair) -> str:
    """Say which of two configurations is better and by how much, or that it cannot be told."""
    first, second, metric = pair.first, pair.second, metric_name(pair.metric)
    if pair.mean is None:
        return f"Can't tell {first} and {second} apart: no fold was finished by both."
    if pair.verdict == "same":
        return f"{first} and {second} have the same {metric} on every fold{_evidence(pair)}."
    ahead = (pair.mean > 0) == pair.higher_is_better
    better, worse = (second, first) if ahead else (first, second)
    none = float(number(abs(pair.mean))) == 0  # as far as it is shown
    by = f"{'less than 0.001' if none else number(abs(pair.mean))} {metric}{_evidence(pair)}"
    if "likely" in pair.verdict:
        return (
            f"On these rows {better} is better than {worse}, and with other training rows likely: by {by}; "
            f"{_advice(pair)}."
        )
    if pair.verdict != "can't tell":
        return f"{better} is better than {worse} by {by}."
    if none and not pair.differs_on_rows:
        return f"A tie: {first} and {second} differ by {by}."
    models = "; on these rows the models differ, but other training rows may order them otherwise"
    return (
        f"Can't tell with this much data: {better} is ahead of {worse} by {by}"
        f"{models if pair.differs_on_rows else ''}; {_advice(pair)}."
    )


def graded(pair: Pair, *, better: str = "yes", worse: str = "no", same: str = "the same") -> str:
    """Answer whether the second of two configurations is better, as surely as it is known.

    Args:
        pair: The two.
        better: The answer where it is.
        worse: The answer where the first one is.
        same: The answer where every fold has the same score.
    """
    likely, p = "; with other training rows likely", f"(p {probability(pair.p_adjusted)})"
    return {
        "second is better": better,
        "second is likely better": f"on these rows {better}{likely} {p}",
        "same": same,
        "first is likely better": f"on these rows {worse}{likely} too {p}",
        "first is better": worse,
    }.get(pair.verdict, "can't tell")


def _evidence(pair: Pair) -> str:
    """Interval, p and what the single rows say, in brackets."""
    parts = []
    if pair.interval:
        parts.append(f"{_ends(pair, pair.interval)}{_p_values(pair)}")
    if rows := pair.rows:
        parts.append(
            f"of {count(rows.num_rows, 'row')} {rows.only_first} were right only {_with(pair.first)}, "
            f"{rows.only_second} only {_with(pair.second)}, McNemar p {probability(rows.p)}"
        )
    if found := pair.bootstrap:
        ends = _ends(pair, found.interval) if found.interval else "undefined"
        parts.append(f"of the pooled score, by a paired bootstrap over {found.unit}s, {ends}")
    return f" ({'; '.join(parts)})" if parts else ""


def _with(name: str) -> str:
    """Put "with" before a name that does not begin so, as "with the added rows" does."""
    return name if name.startswith("with ") else f"with {name}"


def _ends(pair: Pair, ends: Interval) -> str:
    """Write an interval of how far the one that is ahead is ahead."""
    low, high = ends if (pair.mean or 0) >= 0 else (-ends[1], -ends[0])
    return f"{number(low)} to {number(high)}"


def _p_values(pair: Pair) -> str:
    if pair.p is None:
        return ""
    several = pair.p_adjusted is not None and pair.p_adjusted != pair.p
    return f", corrected p {probability(pair.p)}" + (
        f", {probability(pair.p_adjusted)} by Holm's rule" if several else ""
    )


def _advice(pair: Pair) -> str:
    if len(pair.differences) < 2:
        return "a test needs two or more folds that both finished"
    if pair.times_the_rows is None:
        return "as every fold differs by the same, no test can judge it"
    if pair.times_the_rows > _MOST_TIMES:
        times = f"more than {_MOST_TIMES:,}"
    else:
        times = f"roughly {float(f'{pair.times_the_rows:.2g}'):g}"
    return f"{times} times as many rows would be needed to settle a difference of this size"

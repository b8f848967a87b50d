"""Times of contenders that take turns."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median

from peers import Times
from report import number


@dataclass(frozen=True)
class Timing:
    """One contender in one repeat: seconds that passed, and what the whole cross-validation takes."""

    measured: float
    whole: float
    times: Times | None = None


def all_of_it(seconds: float) -> Timing:
    """Seconds of a contender that was run as a whole."""
    return Timing(seconds, seconds)


def interleaved(contenders: Mapping[str, Callable[[], Timing]], repeats: int) -> dict[str, list[Timing]]:
    """Every contender in every repeat, each time another one first."""
    found: dict[str, list[Timing]] = {name: [] for name in contenders}
    names = list(contenders)
    for repeat in range(repeats):
        first = repeat % len(names)
        for name in (*names[first:], *names[:first]):
            found[name].append(contenders[name]())
    return found


def ratio(found: dict[str, list[Timing]], name: str, other: str) -> str:
    """The median of the ratios within each repeat."""
    pairs = zip(found[name], found[other], strict=True)
    return number(median(a.whole / b.whole for a, b in pairs))

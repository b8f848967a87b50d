"""Ask the user how long a search may take, once its cost is known."""

import os
import sys

from hf_transfer import _guard  # noqa: F401
from hf_transfer.errors import ConfigError
from hf_transfer.selection.search.cost import SearchCost, cost_text


def can_ask() -> bool:
    """Whether a person sits at the terminal; False for one of several processes."""
    return sys.stdin.isatty() and sys.stderr.isatty() and "RANK" not in os.environ


def ask_hours(cost: SearchCost) -> float | None:
    """Show the cost of a search, and ask for a limit in hours.

    Args:
        cost: As `predict_cost` gives it; its sum is what Enter alone accepts.

    Returns:
        The hours; None for no limit.

    Raises:
        ConfigError: If the answer is no number above 0.
    """
    usual = max(0.01, (cost.selection_seconds + cost.judging_seconds) / 3600)
    question = f"Most hours that it may take (none: no limit) [{usual:.2g}]: "
    print(f"{cost_text(cost)}\n{question}", file=sys.stderr, end="", flush=True)
    answer = sys.stdin.readline().strip().lower()
    if answer in {"", "none"}:
        return None if answer else usual
    try:
        hours = float(answer)
    except ValueError:
        hours = 0.0
    if not 0 < hours < float("inf"):
        raise ConfigError(
            f"{answer!r} is no number of hours; answer with one such as 0.5, or give --max_hours."
        )
    return hours

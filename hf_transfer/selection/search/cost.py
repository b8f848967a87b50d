"""What a search would cost, before it is begun."""

from dataclasses import dataclass

from hf_transfer import _guard  # noqa: F401
from hf_transfer.machine.wording import duration, setting
from hf_transfer.runs.search_record import SearchCandidate


@dataclass(frozen=True)
class SearchCost:
    """What a search would cost, in seconds.

    Attributes:
        mode: How it would search.
        candidates: What could be chosen.
        trials: How many trainings on few rows.
        forward_seconds: One pass over all rows.
        selection_seconds: All trials.
        judging_seconds: The real folds, when the dearest candidates are what is chosen.
        exhaustive_seconds: Every candidate at every rate under the real folds.
    """

    mode: str
    candidates: list[SearchCandidate]
    trials: int
    forward_seconds: float
    selection_seconds: float
    judging_seconds: float
    exhaustive_seconds: float


def cost_text(cost: SearchCost) -> str:
    """Text that `hf-transfer search --dry_run` prints."""
    lines = [
        f"{one.name}: trainable={one.trainable}, {one.parameters:,} parameters, "
        + ("in closed form" if one.solved else f"rates {', '.join(map(setting, one.learning_rates))}")
        for one in cost.candidates
    ]
    choosing, whole = duration(cost.selection_seconds), duration(cost.exhaustive_seconds)
    return "\n".join(
        [
            *lines,
            "",
            f"mode {cost.mode}: about {cost.trials} trials in {choosing}, then the real "
            f"folds in at most {duration(cost.judging_seconds)}.",
            f"Everything under the real folds (--exhaustive) would take about {whole}; "
            f"one forward pass over all rows takes {duration(cost.forward_seconds)}.",
        ]
    )

"""The share of fine-tuned weights in an average, on a fold's or the final model's own word. No torch."""

from dataclasses import dataclass, field

from hf_transfer import _guard  # noqa: F401


@dataclass(frozen=True)
class Wise:
    """How fine-tuned weights were averaged with those before fine-tuning.

    Attributes:
        share: Of the fine-tuned ones.
        tried: Shares that inner folds were to choose from; none where it was given.
        losses: The mean loss of each on rows that inner folds did not learn from.
    """

    share: float
    tried: list[float] = field(default_factory=list)
    losses: list[float | None] = field(default_factory=list)

"""How a model's outputs are turned into labels."""

from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from hf_transfer import _guard  # noqa: F401
from hf_transfer.scores.statistics import Threshold


@dataclass(frozen=True)
class Reading:
    """How probabilities become labels, and how many are given.

    Attributes:
        threshold: The probability from which on the second of two classes is chosen; None takes the likelier.
        about: Where the threshold comes from.
        top_k: How many labels to give with their probabilities, the chosen one first; None gives all.
    """

    threshold: Threshold | None = None
    about: dict[str, Any] = field(default_factory=dict)
    top_k: int | None = 1

    def choose(self, probabilities: NDArray[Any]) -> list[int]:
        """Label of each row, from probabilities (n, c)."""
        if self.threshold is None:
            return [int(best) for best in probabilities.argmax(1)]
        return [int(share >= self.threshold.value) for share in probabilities[:, 1]]

    def sentence(self) -> str:
        """Explain the threshold."""
        about = self.about
        return (
            f"{about['positive']} from a probability of {about['value']:.4f} on: {about['metric']} "
            f"{about['score']:.3f} on {about['rows']:,} out-of-fold rows. It was tuned on these rows, so "
            "expect less on others."
        )

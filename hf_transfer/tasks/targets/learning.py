"""How a target is learned: the part of its interface that a training asks for."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from numpy.typing import NDArray

from hf_transfer import _guard  # noqa: F401

if TYPE_CHECKING:
    from torch import Tensor

    from hf_transfer.scores.regression import LinearProblem


class Learning(Protocol):
    """Losses, their weights, and what a head in closed form solves."""

    problem_type: ClassVar[str | None]
    """What the published configuration says, by which transformers turns outputs into scores."""
    solvers: ClassVar[tuple[str, ...]]
    """How a head is solved in closed form, the usual way first."""
    scales: ClassVar[bool] = False
    """Whether labels are numbers of any size, which are learned in units of the training rows' spread."""
    missing: float
    """A label that neither the loss nor the scores count."""

    def items(self, labels: "Tensor") -> "tuple[Tensor, Tensor]":
        """Labels of each item (row or word) of a batch, and which of them count.

        Args:
            labels: (b, …).

        Returns:
            The labels, one an item of `outputs.flatten(0, -2)`, and whether they count, (items,).
        """
        ...

    def linear_problem(self, features: NDArray[Any], labels: NDArray[Any], **options: Any) -> "LinearProblem":
        """What a head in closed form solves.

        Args:
            features: Of each item, (n, d).
            labels: Of each item, as `items` gives them.
            options: `solver`, `balanced` and `dropped` of the problem.
        """
        ...

    def loss(
        self, outputs: "Tensor", labels: "Tensor", weights: "Tensor | None" = None, smoothing: float = 0.0
    ) -> "Tensor":
        """The summed loss of a batch.

        Args:
            outputs: (b, …, c).
            labels: (b, …).
            weights: What `balanced_weights` made of the training labels.
            smoothing: Share of the target that is spread.
        """
        ...

    def weight(self, labels: "Tensor", weights: "Tensor | None" = None) -> "Tensor":
        """What the summed loss of these labels is divided by."""
        ...

    def head_losses(
        self, outputs: "Tensor", labels: "Tensor", weights: "Tensor | None" = None, smoothing: float = 0.0
    ) -> "tuple[Tensor, Tensor]":
        """The summed loss and the weight of many heads that learn at once.

        Args:
            outputs: (F, G, b, …, c), of G heads for each of F batches.
            labels: (F, b, …).
            weights: (F, c).
            smoothing: As in `loss`.

        Returns:
            The loss (F, G), and the weight (F, 1).
        """
        ...

    def balanced_weights(self, labels: Sequence[Any]) -> NDArray[Any]:
        """Weights in the loss by which rare labels count as much as common ones, (c,).

        Args:
            labels: Of the encoded training rows, with `missing` ones among them.
        """
        ...

    def calibrated_loss(self, outputs: NDArray[Any], labels: NDArray[Any]) -> float:
        """The mean loss of an answer that is as sure of itself as suits these labels.

        Args:
            outputs: (n, c).
            labels: As `items` gives them, none of them `missing`.
        """
        ...

"""Average fine-tuned weights with those before fine-tuning (WiSE-FT): the model keeps what it knew.

Statistics of BatchNorm layers are averaged too. Measured anew on the few rows of a fold, they were worse.

References:
    Wortsman et al., "Robust fine-tuning of zero-shot models", CVPR 2022, https://arxiv.org/abs/2109.01903.
"""

import math
from collections.abc import Iterable, Sequence

from hf_transfer import _guard  # noqa: F401
from hf_transfer.replay.batching import Positions
from hf_transfer.training.job import Ends, Fitted, Weights
from hf_transfer.training.predicting import mean_loss
from hf_transfer.training.scale import fold_scale, unfold_scale
from hf_transfer.training.workers import Workers


def keep_ends(fitted: Fitted, start: Weights) -> None:
    """Let a trained model keep what it started from beside what it became, both as they give labels.

    Args:
        fitted: Fine-tuned, still at the scale that it learned numbers at.
        start: Its weights before that, at the same scale.
    """
    tuned, folded = fitted.weights(), []
    for end in (start, tuned):
        fitted.load(end)
        fold_scale(fitted.model, fitted.scale)
        folded.append(fitted.weights())
    fitted.ends = Ends(*folded)


def average(fitted: Fitted, share: float) -> None:
    """Set a model to the mean of its ends: 0 is the start and 1 the fine-tuned one, both to the bit.

    Args:
        fitted: With both ends.
        share: Of the fine-tuned weights.
    """
    assert fitted.ends is not None  # the settings say so
    fitted.load(between(fitted.ends, share))


def between(ends: Ends, share: float) -> Weights:
    """The mean of both ends, in double precision; whole numbers, such as counts, are the fine-tuned ones."""
    if share in (0, 1):
        return ends.tuned if share else ends.start
    return {
        name: (1 - share) * ends.start[name].double() + share * tuned.double()
        if tuned.is_floating_point()
        else tuned
        for name, tuned in ends.tuned.items()
    }


def losses_between(
    fitted: Fitted, shares: Iterable[float], check: Positions, workers: Workers
) -> list[float]:
    """Mean loss of each share on rows that the model did not learn from.

    Numbers count at the scale that they are learned at, so that several of them count alike.

    Args:
        fitted: With both ends.
        shares: Of the fine-tuned weights.
        check: Positions of rows that it did not learn from.
        workers: All processes at work together must call this.
    """
    found = []
    for share in shares:
        average(fitted, share)
        unfold_scale(fitted.model, fitted.scale)
        found.append(mean_loss(fitted.learner, fitted.batches, check, workers, fitted.scale))
    return found


def best_share(shares: Sequence[float], losses: Sequence[float]) -> float:
    """The share with the least loss; of equal ones the smallest, which stays nearest to the start."""
    known = [
        (loss if math.isfinite(loss) else math.inf, share) for share, loss in zip(shares, losses, strict=True)
    ]
    return min(known)[1]

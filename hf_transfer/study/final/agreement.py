"""Check that the published model agrees with the folds' models. No torch."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from hf_transfer import _guard  # noqa: F401
from hf_transfer.runs.final_record import Agreement
from hf_transfer.runs.fold_result import FoldResult
from hf_transfer.tasks.targets.target import Target

SLACK = 0.05  # below what is expected, before it is worth a note


def agreement(
    final: pa.Table, out_of_fold: pa.Table, folds: Sequence[FoldResult], target: Target
) -> Agreement:
    """Compare a model of all rows with the folds' models, on the rows that it was trained on.

    It knows these rows, and the folds' models did not. So their agreement is not that of two models
    on new rows, and is compared with what it must be at least: a model that is right on a share t of
    the rows, and one that is right on a share a, agree on a + t - 1 or more of them. Here a is of the
    out-of-fold predictions, and t of the folds' models on rows that they had learned from, as this
    one has learned from all of them.

    Args:
        final: The model's predictions for all rows.
        out_of_fold: Those of the folds' models; of every repeat.
        folds: Their results.
        target: Says what predictions are compared.

    Returns:
        `share` of the rows (of words, for tasks that tag) with the same prediction, and `expected`,
        a + t - 1; None where t is not known. Both are None where an answer is not right or wrong.
    """
    position_of = {row: i for i, row in enumerate(final["row_id"].to_pylist())}
    order = [position_of[row] for row in out_of_fold["row_id"].to_pylist()]
    of_final, of_folds = target.compared(final.take(order)), target.compared(out_of_fold)
    if of_final is None or of_folds is None:
        return Agreement(None, None)
    own, (others, truth) = of_final[0], of_folds
    learned = [
        (score, fold.train_rows_scored)
        for fold in folds
        if (score := fold.train_scores.get(target.scorer.share_right or "")) is not None
    ]
    expected = None
    if learned and len(truth):
        scores, rows = zip(*learned, strict=True)
        expected = float((others == truth).mean() + np.average(scores, weights=rows) - 1)
    return Agreement(float((own == others).mean()) if len(own) else None, expected)


def agreement_note(found: Agreement) -> str | None:
    """Warn if a model agrees with the folds' models less than it should."""
    share, expected = found.share, found.expected
    if share is None or expected is None or share >= expected - SLACK:
        return None
    return (
        f"The published model gives the out-of-fold prediction for {share:.1%} of what it learned from, "
        f"where {expected:.1%} or more were expected: it learned worse than the folds' models did. Look at "
        "it before you use it."
    )

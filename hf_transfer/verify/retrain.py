"""Compare a run's predictions with those of folds that were trained again: only that shows who made them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from hf_transfer import _guard  # noqa: F401
from hf_transfer.folds import rows_aside
from hf_transfer.machine.wording import count, fold_key, some
from hf_transfer.verify.check import WRONG, Check, left_out, passed, rows_of
from hf_transfer.verify.record import Record

if TYPE_CHECKING:
    from hf_transfer.study.retraining import Again

MOST = 1e-3  # of the largest logit, between two trainings with the same versions on the same hardware


def retrain_check(record: Record, num_folds: int, seed: int) -> Check:
    """Train some folds again, and compare; where the environment differs, the shares are told and not judged.

    Args:
        record: Of the run.
        num_folds: How many to train.
        seed: Draws them: the reader's, so that nobody knows beforehand which.
    """
    from hf_transfer.study.retraining import environment_differences, train_again

    aside = rows_aside(record.fold_table)
    again = train_again(record.results, record.best, aside, num_folds, seed)
    names = some([fold_key(one.repeat, one.fold) for one in again], noun="fold")
    other = environment_differences(record.results)
    found = [difference for one in again for difference in _differences(record, one)]
    if other:
        words = "; ".join([*_shares(record, again), *found[:1]])
        return left_out("trained again", f"{names} elsewhere ({'; '.join(other[:3])}): {words}")
    if found:
        return Check("trained again", WRONG, count(len(found), "difference"), tuple(found))
    return passed("trained again", f"{names} drawn by seed {seed} gave the predictions that are stored")


def _differences(record: Record, one: "Again") -> list[str]:
    """A sentence if a fold's predictions are others; a fold that failed is one."""
    name = fold_key(one.repeat, one.fold)
    if one.rows is None:
        return [f"{name}: could not be trained again: {one.error}"]
    written = rows_of(record.predictions, one.repeat, one.fold)
    if (agreed := _share(written, one.rows)) < 1.0 or _distance(written, one.rows) > MOST:
        scores = [record.scorer.score(rows)[record.results.primary_metric] for rows in (written, one.rows)]
        return [
            f"{name}: trained again, {agreed:.1%} of its predictions are those stored; "
            f"{record.results.primary_metric} stored {scores[0]:.4f}, again {scores[1]:.4f}"
        ]
    return []


def _shares(record: Record, again: Sequence["Again"]) -> list[str]:
    pairs = [(rows_of(record.predictions, one.repeat, one.fold), one.rows) for one in again if one.rows]
    return [f"{np.mean([_share(*pair) for pair in pairs]):.1%} of the predictions agree"] if pairs else []


def _share(written: pa.Table, again: pa.Table) -> float:
    """Of rows whose prediction is the same; numbers may differ by a thousandth of the largest."""
    if written["row_id"].to_pylist() != again["row_id"].to_pylist():
        return 0.0
    name = "prediction" if "prediction" in written.column_names else "predictions"
    pairs = list(zip(written[name].to_pylist(), again[name].to_pylist(), strict=True))
    return float(np.mean([_same(*pair) for pair in pairs]))


def _same(one: object, other: object) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return bool(np.isclose(one, other, rtol=MOST, atol=MOST))
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        return all(_same(*pair) for pair in zip(one, other, strict=True))
    return one == other


def _distance(written: pa.Table, again: pa.Table) -> float:
    """Largest difference between logits, in units of the largest; 0 where there are none."""
    if "logits" not in written.column_names:
        return 0.0
    one, other = (np.array(t["logits"].to_pylist(), np.float64) for t in (written, again))
    if one.shape != other.shape or not one.size:
        return float(one.shape != other.shape)
    return float(np.abs(one - other).max() / max(np.abs(one).max(), 1.0))

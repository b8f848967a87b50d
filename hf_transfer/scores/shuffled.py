"""Control by shuffled labels: nothing can be learned from them, so a good score reveals a leak.

Labels change places within the rows that one fold holds out, so that each fold keeps its classes in
their shares, for training and for scoring. Each run has a shuffle of its own: if one learned from the
labels that another is scored on, their scores would not be independent.

References:
    Zhang et al., "Understanding deep learning requires rethinking generalization", ICLR 2017;
    Ojala and Garriga, "Permutation tests for studying classifier performance", JMLR 11, 2010.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from hf_transfer import _guard  # noqa: F401
from hf_transfer.folds.order import derive_seed

if TYPE_CHECKING:
    from hf_transfer.scores.scorer import Scorer

LEVEL = 0.99  # of the scores by chance lie within the interval: about one run in 200 is a false alarm
_NUM_CHANCES = 399  # shuffles of the held-out labels; their mean score is chance

Ints = NDArray[np.int64]


def shuffle_labels(
    labels: Sequence[Any], folds: Ints, *, seed: int, groups: Sequence[Any] | Ints | None = None
) -> list[Any]:
    """Give each row the label of another row of its fold, at random.

    Where every group has one label, the labels of whole groups change places, as only groups could
    have had others; where groups are mixed, those of rows do.

    Args:
        labels: One a row, (n,).
        folds: Fold that holds each row out, (n,).
        seed: Seed of the shuffle.
        groups: Group of each row, (n,); groups lie within folds.
    """
    units = _units(labels, groups)
    firsts, unit_of_row = np.unique(units, return_index=True, return_inverse=True)[1:]
    rng = np.random.Generator(np.random.PCG64(seed))
    source = np.arange(len(firsts))
    for fold in np.unique(folds):
        members = np.flatnonzero(np.asarray(folds)[firsts] == fold)
        source[members] = rng.permutation(members)
    return [labels[row] for row in firsts[source[unit_of_row]].tolist()]


def exchangeable_unit(labels: Sequence[Any], groups: Sequence[Any] | Ints | None) -> str:
    """Name of the unit that `shuffle_labels` permutes: row or group."""
    return "row" if groups is None or len(np.unique(_units(labels, groups))) == len(labels) else "group"


def shuffle_tags(rows: Sequence[Sequence[str]], *, seed: int) -> list[list[str]]:
    """Permute the entities of each sentence, and the words between them, at random.

    An entity stays whole, so that tags remain valid IOB2, and a sentence keeps what it mentions.

    Args:
        rows: Tags of each sentence's words.
        seed: Seed of the shuffle.
    """
    rng = np.random.Generator(np.random.PCG64(seed))
    shuffled = []
    for tags in rows:
        starts = [i for i, tag in enumerate(tags) if not tag.startswith("I-")]
        pieces = [list(tags[a:b]) for a, b in pairwise([*starts, len(tags)])]
        shuffled.append([tag for i in rng.permutation(len(pieces)).tolist() for tag in pieces[i]])
    return shuffled


@dataclass(frozen=True, kw_only=True)
class ShuffleReading:
    """A score on shuffled held-out labels beside chance.

    Attributes:
        metric: The score's name.
        held_out_score: Pooled over the runs.
        interval: Of scores by chance; None where it cannot be told, as are the next two.
        interval_level: How many of those scores it holds.
        chance: Their mean.
        leak: Whether the score is better than that interval.
    """

    metric: str
    held_out_score: float | None
    interval: tuple[float, float] | None
    interval_level: float
    chance: float | None
    leak: bool | None


def judge_shuffled(table: pa.Table, scorer: "Scorer", *, seed: int) -> ShuffleReading:
    """Compare a score on shuffled held-out labels with chance.

    The same predictions are scored against labels that are shuffled again and again. The mean of
    these scores is chance, for any metric and whatever shares the classes have. The labels of the runs
    are but one more shuffle, so that without a leak their score is one of these, too.

    Args:
        table: Out-of-fold predictions of the runs, whose labels are the shuffled ones.
        scorer: The task's.
        seed: Seed of the shuffles.
    """
    metric = scorer.primary_metric
    score, scores = scorer.pooled(table)[metric], _scores_by_chance(table, scorer, seed)
    chance = interval = leak = None
    if score is not None and scores.size and np.ptp(scores) > 0:
        chance = float(scores.mean())
        low, high = np.quantile(scores, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        interval = float(low), float(high)
        leak = score > interval[1] if scorer.higher_is_better[metric] else score < interval[0]
    return ShuffleReading(
        metric=metric,
        held_out_score=score,
        interval=interval,
        interval_level=LEVEL,
        chance=chance,
        leak=leak,
    )


def shuffled_words(found: ShuffleReading) -> str:
    """Put `judge_shuffled`'s result into a sentence or two."""
    if found.leak is None or found.interval is None:
        return "Whether labels leak can't be told: shuffling these held-out labels changes no score."
    low, high = found.interval
    chance = f"{found.chance:.3f} ({low:.3f} to {high:.3f})"
    scores = f"{found.held_out_score:.3f} {found.metric} on held-out rows, where chance is {chance}"
    if found.leak:
        return (
            f"Leak: models that learned from shuffled labels still reach {scores}. Held-out labels reach "
            "the training, so do not rely on the scores."
        )
    return f"No leak: models that learned from shuffled labels reach {scores}."


def _units(labels: Sequence[Any], groups: Sequence[Any] | Ints | None) -> Ints:
    """Number of each row's permuted unit, (n,): its group if labels agree within groups, else the row."""
    rows = np.arange(len(labels))
    if groups is None:
        return rows
    units: Ints = np.unique(np.asarray(groups), return_inverse=True)[1].astype(np.int64)
    values = (tuple(label) if isinstance(label, list) else label for label in labels)
    pairs = set(zip(units.tolist(), values, strict=True))
    return units if len(pairs) == units.max() + 1 else rows


def _scores_by_chance(table: pa.Table, scorer: "Scorer", seed: int) -> NDArray[np.float64]:
    """Scores of the predictions against freshly shuffled labels, as far as they are defined."""
    seeds = (derive_seed(seed, "chance", number) for number in range(_NUM_CHANCES))
    scores = [scorer.pooled(scorer.shuffled(table, one))[scorer.primary_metric] for one in seeds]
    return np.asarray([score for score in scores if score is not None], np.float64)


def labels_again(table: pa.Table, seed: int) -> pa.Table:
    """Shuffle the column `label` of predictions within each fold."""
    places = _numbered(table, "repeat", "fold")
    groups = _numbered(table, "repeat", "unit") if "unit" in table.column_names else None
    labels = shuffle_labels(table["label"].to_pylist(), places, seed=seed, groups=groups)
    column = pa.array(labels, table["label"].type)
    return table.set_column(table.column_names.index("label"), "label", column)


def _numbered(table: pa.Table, *names: str) -> Ints:
    """Number the distinct combinations of some columns, (n,)."""
    values = np.stack([table[name].to_numpy() for name in names])
    return np.unique(values, axis=1, return_inverse=True)[1].reshape(-1).astype(np.int64)


def tags_again(table: pa.Table, seed: int) -> pa.Table:
    """Shuffle the column `labels` of predictions within each sentence."""
    tags = shuffle_tags(table["labels"].to_pylist(), seed=seed)
    return table.set_column(table.column_names.index("labels"), "labels", pa.array(tags))

"""Check how many folds the rows allow, and which classes the folds lack."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from hf_transfer import _guard  # noqa: F401  (says what is wrong when another package hides ours)
from hf_transfer.errors import FoldError
from hf_transfer.folds.columns import Codes
from hf_transfer.folds.order import Ints
from hf_transfer.machine.wording import count

NAMED = 5  # classes that a message names

# How far one draw of so many rows a class was off the mean of 200, in points: ten classes of pictures.
_ONE_DRAW = {1: 8.6, 2: 6.7, 4: 4.8}
_FEW = 5  # rows of a class to learn from, below which this is said
_FEW_FOR_A_HEAD = 20  # the same, below which other solvers are worth a look
_SOLVERS = (
    f"Some fold learns from fewer than {_FEW_FOR_A_HEAD} rows of a class: hf-transfer shots has solvers made "
    "for so few."
)


class Limit(NamedTuple):
    """A maximum number of folds, and its reason."""

    largest: int
    reason: str


def limit_rows(num_rows: int) -> Limit:
    """Allow at most one fold a row.

    Raises:
        FoldError: If there are fewer than two rows.
    """
    if num_rows < 2:
        raise FoldError(f"Cross-validation needs 2 rows or more, got {num_rows}. Add rows.")
    return Limit(num_rows, f"there are {num_rows} rows")


def limit_groups(groups: Codes) -> Limit:
    """Allow at most one fold a group.

    Raises:
        FoldError: If all rows are in one group.
    """
    if len(groups.values) < 2:
        raise FoldError(
            f"All {len(groups.ids)} rows are in one group, {groups.values[0]}, and a group stays in one "
            "fold. Group by another column, or by none."
        )
    return Limit(len(groups.values), f"there are {len(groups.values)} groups")


def limit_classes(labels: Codes, names: Sequence[str], groups: Codes | None, num_folds: int) -> Limit:
    """Allow at most as many folds as the rarest class has rows or, with groups, groups.

    Raises:
        FoldError: If no class has two rows, so that none could be learned and scored.
    """
    sizes, verb, noun = labels.sizes, "has", "row"
    if groups is not None:
        pairs = np.unique(labels.ids * len(groups.values) + groups.ids) // len(groups.values)
        sizes, verb, noun = np.bincount(pairs), "is in", "group"
    if sizes.max() < 2:
        raise FoldError(
            f"Each of the {len(sizes)} classes {verb} one {noun}, so that none can be learned in some folds "
            f"and scored in another. Give two {noun}s or more of each; or is label_column another one?"
        )
    rare = [c for c in np.argsort(sizes, kind="stable").tolist() if sizes[c] < num_folds]
    reasons = [f"class {names[c]} {verb} {count(int(sizes[c]), noun)}" for c in rare]
    return Limit(int(sizes.min()), _listed(reasons))


def fit_num_folds(num_folds: int, limits: Sequence[Limit], *, strict: bool) -> tuple[int, tuple[str, ...]]:
    """The number of folds that can be made, and a note if it differs from the setting.

    Args:
        num_folds: What was asked for.
        limits: What the rows allow. One below 2 is passed over, as no number of folds would meet it.
        strict: Whether another number than asked for is an error.

    Raises:
        FoldError: If `num_folds` is no whole number or, with `strict`, out of range.
    """
    if isinstance(num_folds, bool) or not isinstance(num_folds, int | np.integer):
        raise FoldError(f"num_folds must be a whole number from 2, got {num_folds!r}.")
    largest, reason = min(limits, key=lambda limit: limit.largest)
    if strict:
        _refuse(num_folds, largest, reason)
        return int(num_folds), ()
    if num_folds < 2:
        return 2, (f"num_folds raised from {num_folds} to 2: one part is held out, another is trained on.",)
    largest, reason = min((limit for limit in limits if limit.largest >= 2), key=lambda limit: limit.largest)
    if num_folds > largest:
        return largest, (f"num_folds lowered from {num_folds} to {largest}: {reason}.",)
    return int(num_folds), ()


def _refuse(num_folds: int, largest: int, reason: str) -> None:
    if num_folds > largest and largest < 2:
        raise FoldError(
            f"num_folds={num_folds} is too many: {reason}. No number of folds gives every fold that class; "
            "add rows of it, leave it out, or do not stratify."
        )
    if not 2 <= num_folds <= largest:
        why = f"is too many: {reason}" if num_folds > largest else "is too few: one part is held out"
        raise FoldError(f"num_folds={num_folds} {why}. It must be from 2 to {largest}.")


def what_folds_lack(
    table: Ints, scored: range, names: Sequence[str], words: tuple[str, str]
) -> tuple[str, ...]:
    """Name the classes that some held-out fold lacks.

    Args:
        table: Rows of each class in each fold, and last those never held out, (c, k + 1).
        scored: The folds that are held out.
        names: Of the classes, (c,).
        words: What a line of the table is, and what it counts, e.g. ("class", "row").
    """
    in_folds, totals = (table > 0), table.sum(axis=1)
    held_out = in_folds[:, list(scored)].sum(axis=1)
    rare = np.flatnonzero((held_out < len(scored)) & (totals > 0)).tolist()
    if not rare:
        return ()
    kind, noun = words
    lacking = [
        f"{names[c]} ({count(int(totals[c]), noun)}) is in {held_out[c]} of {len(scored)}" for c in rare
    ]
    notes = [
        f"Not every fold has every {kind}, and a fold is scored without those it lacks: {_listed(lacking)}."
    ]
    if unseen := [names[c] for c in rare if held_out[c] and in_folds[c].sum() == 1]:
        notes.append(
            f"Scored only by a model that was not trained on any, being in one fold: {_listed(unseen)}."
        )
    return tuple(notes)


def few_to_learn(counts: Ints, names: Sequence[str]) -> tuple[str, ...]:
    """Say what a few training rows of a class are worth, in a sentence; nothing where there are enough.

    Args:
        counts: Fewest training rows of each class in a fold, (c,).
        names: Of the classes, (c,).
    """
    few = [c for c in np.argsort(counts, kind="stable").tolist() if 0 < counts[c] < _FEW]
    if not few:
        return (_SOLVERS,) if ((counts > 0) & (counts < _FEW_FOR_A_HEAD)).any() else ()
    learned = _listed([f"{names[c]} ({count(int(counts[c]), 'row')})" for c in few])
    size = max(size for size in _ONE_DRAW if size <= counts[few[0]])
    return (
        f"Some fold learns from fewer than {_FEW} rows of a class: {learned}. Which rows they are moves the "
        f"score: on ten classes of pictures, one draw of {count(size, 'row')} a class was "
        f"±{_ONE_DRAW[size]} points off. hf-transfer shots measures it on a labelled set, by "
        "solvers made for few rows.",
    )


def _listed(parts: Sequence[str]) -> str:
    more = f" and {len(parts) - NAMED} more" if len(parts) > NAMED else ""
    return ", ".join(parts[:NAMED]) + more

"""Rows of several texts that belong together, as they share one: components, and pairs that are alike."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hf_transfer import _guard  # noqa: F401
from hf_transfer.machine.wording import count
from hf_transfer.tasks.inputs.input import Links
from hf_transfer.tasks.inputs.similarity import Groups, equal_groups, plain_text, similar_texts

if TYPE_CHECKING:
    from hf_transfer.config.run_config import RunConfig

Ints = NDArray[np.int64]

_WHOLE = {"auto", "group", "stratified-group", "entity"}  # schemes that keep groups in one fold
_MOST = 0.5  # of the rows in one component, above which there are no folds to speak of


@dataclass(frozen=True)
class KeptTogether:
    """Which rows must share a fold for what they hold.

    Attributes:
        groups: Of each row, its group; None where they are not kept together after all.
        notes: What was found and done, a sentence each.
        by: What rows of one group have in common, in a word.
    """

    groups: Sequence[str] | None
    notes: tuple[str, ...]
    by: str | None = None


def keep_together(links: Links, given: Sequence[str] | None, config: "RunConfig") -> KeptTogether | None:
    """Put rows that share a text into one group, and what is in one group already; None where none do.

    Texts are equal but for case and spaces, whichever of a row's texts they are. If more than half of the
    rows would be one group, the texts that stand in most rows do not count, as many as it takes to make
    folds of like size.

    Args:
        links: The texts, or what else rows share.
        given: Groups that are named by a column.
        config: Of which `shared_texts`, the scheme and the number of folds are used.
    """
    noun, size = links.noun, len(links.columns[0])
    places = text_links(links.columns)
    rows_of_text = np.bincount(places[1])
    sharing = np.unique(places[0][rows_of_text[places[1]] > 1])
    if not len(sharing):
        return None
    shared = f"{count(len(sharing), 'row')} of {size:,} share a {noun} with another row"
    if why := _parted(config):
        return KeptTogether(
            None, (f"{shared} and {why}: models may know it from training, so that scores may be too good.",)
        )
    groups, dropped = _components(places, rows_of_text, given, 1 / config.num_folds, noun)
    sizes = np.bincount(groups)
    stays = f"{shared}. {dropped} The rows" if dropped else f"{shared} and are kept together: all rows"
    note = (
        f"{stays} form {count(len(sizes), 'group')}, the largest of {count(int(sizes.max()), 'row')} "
        f"({sizes.max() / size:.1%})."
    )
    return KeptTogether([str(group) for group in groups], (note,), noun)


def _parted(config: "RunConfig") -> str:
    """Why rows that share a text are not kept in one fold; empty if they are."""
    if config.shared_texts == "apart":
        return "may be in several folds, as shared_texts=apart asks"
    if config.time_by or config.fold_column:
        return f"are split by {'time_by' if config.time_by else 'fold_column'} all the same"
    return "" if config.scheme in _WHOLE else f"are split by scheme={config.scheme} all the same"


def shared_with_test(train: Links, test: Links) -> tuple[str, ...]:
    """Warn of test rows that share a text with a row to train on.

    Args:
        train: The texts of the rows to train on.
        test: Those of the test rows.
    """
    known, tested = (
        [[None if text is None else plain_text(text) for text in texts] for texts in part.columns]
        for part in (train, test)
    )
    texts = {text for column in known for text in column if text is not None}
    found = [{*row} & texts for row in zip(*tested, strict=True)]
    rows = sum(map(bool, found))
    if not rows:
        return ()
    return (
        f"{count(rows, 'test row')} of {len(found):,} share a {train.noun} with a row to train on "
        f"({count(len(set().union(*found)), train.noun)}), so that the test score may be too good.",
    )


def text_links(columns: Sequence[Sequence[str | None]]) -> tuple[Ints, Ints]:
    """Pairs of a row and the number of a text in it, each pair once: (rows, texts)."""
    codes: dict[Any, int] = {}
    keys = (
        (row if text is None else plain_text(text) for row, text in enumerate(texts)) for texts in columns
    )
    numbers = np.array([[codes.setdefault(key, len(codes)) for key in texts] for texts in keys], np.int64)
    size, many = numbers.shape[1], max(1, len(codes))
    rows = np.tile(np.arange(size, dtype=np.int64), len(columns))
    return np.divmod(np.unique(rows * many + numbers.ravel()), many)


def _components(
    links: tuple[Ints, Ints], rows_of_text: Ints, given: Sequence[str] | None, share: float, noun: str
) -> tuple[Ints, str]:
    """Number the group of each row, and say which texts do not count, if some do not."""
    size = int(links[0].max()) + 1
    named = np.unique(np.asarray(given), return_inverse=True)[1] if given is not None else None

    def joined(most: int) -> Ints:
        counts = rows_of_text[links[1]] <= most
        return connected(size, links[0][counts], links[1][counts], named)

    groups = joined(int(rows_of_text.max()))
    held = np.bincount(groups).max() / size
    if held <= _MOST:
        return groups, ""
    limits = np.unique(rows_of_text).tolist()  # more texts join more rows, so that the largest is searched
    low, high = 0, len(limits) - 1
    while low < high:
        middle = (low + high + 1) // 2
        fits = np.bincount(joined(limits[middle])).max() <= share * size
        low, high = (middle, high) if fits else (low, middle - 1)
    most = max(1, limits[low])
    common = rows_of_text > most
    number, rows = int(common.sum()), len(np.unique(links[0][common[links[1]]]))
    return joined(most), (
        f"That would keep {held:.0%} of the rows in one fold, so {count(number, noun)} "
        f"{'that stands' if number == 1 else 'that each stand'} in more than {count(most, 'row')} did not "
        f"count, and {count(rows, 'row')} may share one with another fold."
    )


def connected(size: int, rows: Ints, texts: Ints, named: Ints | None = None) -> Ints:
    """Number the connected component of each row, (n,), by the first row of each.

    Args:
        size: Number of rows.
        rows: Of each link.
        texts: Of each link, what the row is linked by.
        named: Number of the group of each row, which links too.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    nodes = int(texts.max()) + 1 if len(texts) else 0
    if named is not None:
        rows = np.concatenate([rows, np.arange(size)])
        texts = np.concatenate([texts, nodes + named])
        nodes += int(named.max()) + 1
    graph = coo_array((np.ones(len(rows), np.int8), (rows, size + texts)), shape=(size + nodes,) * 2)
    found = connected_components(graph, directed=False)[1][:size]
    _, first, numbers = np.unique(found, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[numbers].astype(np.int64)


def similar_pairs(pairs: Sequence[tuple[str, ...]]) -> Groups:
    """Group rows whose texts are almost the same, each like the other's of its column."""
    columns = [_alike(list(texts)) for texts in zip(*pairs, strict=True)]
    return equal_groups(zip(*columns, strict=True))


def _alike(texts: Sequence[str]) -> list[int]:
    """The number of a text that each is almost the same as: its own, if it is like none before it."""
    distinct = list(dict.fromkeys(texts))
    like = list(range(len(distinct)))
    for group in similar_texts(distinct):
        for place in group:
            like[place] = group[0]
    number = dict(zip(distinct, like, strict=True))
    return [number[text] for text in texts]

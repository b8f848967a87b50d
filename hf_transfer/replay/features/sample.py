"""Sample sentences for a probe."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hf_transfer import _guard  # noqa: F401
from hf_transfer.folds.order import RowIds, hash_order

MOST_WORDS = 20_000


def rows_of_words(
    num_words: ArrayLike, uids: RowIds, *, seed: int, limit: int = MOST_WORDS
) -> NDArray[np.int64]:
    """Choose whole sentences in hash order, up to `limit` words.

    Args:
        num_words: Words of each sentence.
        uids: What identifies each sentence.
        seed: Of the hash.
        limit: Most words; the first sentence is taken however long it is.

    Returns:
        Numbers of the chosen sentences, in order.

    Example:
        >>> rows_of_words([3, 3, 3], ["a", "b", "c"], seed=0, limit=6)
        array([1, 2])
    """
    order = hash_order(uids, seed)
    upto = np.cumsum(np.asarray(num_words)[order])
    return np.sort(order[: max(1, int((upto <= limit).sum()))]).astype(np.int64)

"""Find exact and near duplicates without comparing all pairs."""

import unicodedata
from collections.abc import Hashable, Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hf_transfer import _guard  # noqa: F401  (says what is wrong when another package hides ours)

Groups = list[list[int]]  # positions that belong together; each list in order, the lists by their first

SIDE = 16  # pixels of a thumbnail's side
SAME_PICTURE = 0.99  # least correlation of thumbnails
SAME_TEXT = 0.8  # least share of common shingles, of all shingles of the two

_SHINGLE = 5  # characters
_SKETCH = 128  # shingles of a text that decide whom it is compared with
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)  # odd, from the golden ratio
# Texts that share 80 % are missed once in 5,000, those that share 50 % compared in 64 %.
_BANDS, _BAND = 16, 4
_PAIRS_AT_ONCE = 4_000_000  # correlations of pictures: 16 MB
_CANDIDATES_AT_ONCE = 50_000  # pairs of texts, whose signatures take 512 bytes


def equal_groups(keys: Iterable[Hashable]) -> Groups:
    """Group the positions of equal keys; leave out keys that occur once.

    Example:
        >>> equal_groups(["a", "b", "a"])
        [[0, 2]]
    """
    places: dict[Hashable, list[int]] = {}
    for position, key in enumerate(keys):
        places.setdefault(key, []).append(position)
    return [group for group in places.values() if len(group) > 1]


def plain_text(text: str) -> str:
    """Normalise a text's case, spaces and Unicode form."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def thumbnail(picture: Image.Image) -> NDArray[np.float32]:
    """Reduce a picture to 16 x 16 greys of mean 0 and length 1, so that products are correlations.

    A picture of one colour gives zeros, which resemble nothing.
    """
    small = picture.convert("L").resize((SIDE, SIDE), Image.Resampling.BOX)
    greys = np.asarray(small, np.float32).ravel()
    greys = greys - greys.mean()
    length = float(np.linalg.norm(greys))
    return greys / length if length > SIDE else np.zeros_like(greys)  # below one grey level a pixel


def similar_pictures(thumbnails: NDArray[np.float32]) -> Groups:
    """Group pictures that differ by compression, size, brightness or contrast, but not by a crop.

    Correlated averages, as bits of neighbouring differences take most drawings of a digit for one.

    Args:
        thumbnails: One a row, (n, 256).
    """
    return _connected(len(thumbnails), _correlated(thumbnails))


def similar_texts(texts: Sequence[str]) -> Groups:
    """Group texts that share four fifths of their five-character pieces.

    Candidates come from MinHash in bands, and each is then compared exactly; only with the first of
    its bucket, so that a thousand texts of one template take a thousand steps.

    References:
        Broder, "On the resemblance and containment of documents", SEQUENCES 1997.
    """
    draw = np.random.default_rng(0)
    factors = draw.integers(0, 2**63, (_BANDS * _BAND, 1), np.uint64) * np.uint64(2) + np.uint64(1)
    signatures = np.zeros((len(texts), len(factors)), np.uint32)
    for position, text in enumerate(texts):
        # The smallest hashes are as alike as all of them, and a long text takes no longer.
        signatures[position] = (factors * _shingles(text)[:_SKETCH] >> np.uint64(32)).min(axis=1)
    return _connected(len(texts), _resembling(texts, signatures))


def _correlated(thumbnails: NDArray[np.float32]) -> Iterator[tuple[int, int]]:
    block = max(1, _PAIRS_AT_ONCE // max(1, len(thumbnails)))  # as n x n would not fit for many
    for start in range(0, len(thumbnails), block):
        later = thumbnails[start:]
        rows, columns = np.nonzero(later[:block] @ later.T >= SAME_PICTURE)
        yield from ((start + int(i), start + int(j)) for i, j in zip(rows, columns, strict=True) if i < j)


def _resembling(texts: Sequence[str], signatures: NDArray[np.uint32]) -> Iterator[tuple[int, int]]:
    firsts, others = _candidates(signatures)
    for start in range(0, len(firsts), _CANDIDATES_AT_ONCE):
        pairs = slice(start, start + _CANDIDATES_AT_ONCE)
        shares = (signatures[firsts[pairs]] == signatures[others[pairs]]).mean(axis=1)
        # Four standard deviations below what is looked for: most candidates go no further.
        for place in (start + np.flatnonzero(shares >= SAME_TEXT - 0.2)).tolist():
            first, other = int(firsts[place]), int(others[place])
            if _resemblance(texts[first], texts[other]) >= SAME_TEXT:
                yield first, other


def _candidates(signatures: NDArray[np.uint32]) -> NDArray[np.int64]:
    """Pairs of a text and the first text with an equal signature band, (2, m)."""
    size, found = len(signatures), [np.zeros(0, np.int64)]
    for start in range(0, signatures.shape[1], _BAND):
        band = np.ascontiguousarray(signatures[:, start : start + _BAND]).view(np.uint64)
        order = np.lexsort(band.T)  # stable, so that the first of a bucket is the first text
        is_first = np.ones(size, np.bool_)
        is_first[1:] = (band[order[1:]] != band[order[:-1]]).any(axis=1)
        firsts = order[np.flatnonzero(is_first)][np.cumsum(is_first) - 1]
        found.append(firsts[~is_first] * size + order[~is_first])
    return np.stack(np.divmod(np.unique(np.concatenate(found)), max(1, size)))


def _shingles(text: str) -> NDArray[np.uint64]:
    """Hashes of all five-character pieces, each once; of the whole text if it is shorter."""
    codes = np.frombuffer(text.ljust(_SHINGLE).encode("utf-32-le", "surrogatepass"), np.uint32).astype(
        np.uint64
    )
    size = len(codes) - _SHINGLE + 1
    hashes = np.zeros(size, np.uint64)
    for offset in range(_SHINGLE):
        hashes = (hashes ^ (hashes >> np.uint64(29)) ^ codes[offset : offset + size]) * _MULTIPLIER
    return np.unique(hashes)


def _resemblance(one: str, other: str) -> float:
    first, second = _shingles(one), _shingles(other)
    common = len(np.intersect1d(first, second, assume_unique=True))
    return common / (len(first) + len(second) - common)


def _connected(size: int, pairs: Iterable[tuple[int, int]]) -> Groups:
    """Join pairs into groups, transitively."""
    parent = list(range(size))

    def root(position: int) -> int:
        while parent[position] != position:
            parent[position] = parent[parent[position]]
            position = parent[position]
        return position

    for one, other in pairs:
        first, second = sorted((root(one), root(other)))
        parent[second] = first
    return equal_groups(root(position) for position in range(size))

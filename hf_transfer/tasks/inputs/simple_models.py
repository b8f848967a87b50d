"""A simple baseline: hand-made features without a pretrained model, fitted inside the folds."""

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hf_transfer import _guard  # noqa: F401
from hf_transfer.scores.columns import fit_columns, scale_columns
from hf_transfer.scores.transferability import Probe, Split, is_classes, ridge_probe
from hf_transfer.tasks.inputs.table import Table

if TYPE_CHECKING:
    from datasets import Dataset

Ints = NDArray[np.int64]
Labels = NDArray[Any]
Texts = Sequence[str] | NDArray[Any]

_SIDE, _BINS = 8, 16
_HASHED = 2**18  # columns that words and spellings are hashed to
_WORD = r"(?u)\b\w+\b"
_ANY_WORD = "word"


def picture_probe(
    rows: "Dataset", labels: Labels, splits: Sequence[Split], *, balanced: bool = False
) -> Probe:
    """Fit a linear model on `picture_features` in every fold; the arguments are those of `simple_probe`."""
    return ridge_probe(picture_features(rows), labels, splits, balanced=balanced)


def picture_features(rows: "Dataset") -> NDArray[np.float32]:
    """A histogram of each colour channel and the picture at 8 x 8 pixels, (n, 3 * 16 + 3 * 64)."""
    from hf_transfer.tasks.inputs.pictures import read_picture

    each = (row["input"] for row in rows.select_columns(["input"]))  # their bytes one after the other
    return np.stack([_of_picture(read_picture(picture)) for picture in each])


def _of_picture(picture: Image.Image) -> NDArray[np.float32]:
    counts = np.asarray(picture.histogram(), np.float32).reshape(3 * _BINS, -1).sum(axis=1)
    small = np.asarray(picture.resize((_SIDE, _SIDE), Image.Resampling.BOX), np.float32)
    return np.concatenate([counts / (picture.width * picture.height), small.ravel() / 255])


def text_probe(rows: "Dataset", labels: Labels, splits: Sequence[Split], *, balanced: bool = False) -> Probe:
    """Fit a linear model on TF-IDF of words and pairs in every fold: logistic regression for classes."""
    texts = np.asarray(rows["input"][:], dtype=object)

    def columns(train: Ints, valid: Ints) -> tuple[Any, Any]:
        words = _tfidf().fit(texts[train])
        return words.transform(texts[train]), words.transform(texts[valid])

    return _linear(columns, labels, splits, balanced=balanced)


def pair_probe(rows: "Dataset", labels: Labels, splits: Sequence[Split], *, balanced: bool = False) -> Probe:
    """Fit a linear model on TF-IDF of both texts of a pair, and on what they share, in every fold."""
    from scipy.sparse import csr_array, hstack

    pairs = [np.asarray([pair[key] for pair in rows["input"]], object) for key in ("text", "text_pair")]
    shared = csr_array(overlaps(*pairs))

    def columns(train: Ints, valid: Ints) -> tuple[Any, Any]:
        words = _tfidf().fit(np.concatenate([texts[train] for texts in pairs]))

        def of(some: Ints) -> Any:
            return hstack([*(words.transform(texts[some]) for texts in pairs), shared[some]]).tocsr()

        return of(train), of(valid)

    return _linear(columns, labels, splits, balanced=balanced)


def picture_text_probe(
    rows: "Dataset",
    labels: Labels,
    splits: Sequence[Split],
    *,
    balanced: bool = False,
    table: Table | None = None,
) -> Probe:
    """Fit a linear model on TF-IDF beside `picture_features` and a table, each of a length of about 1."""
    from scipy.sparse import csr_array, hstack

    numbers = _of_table(rows, table)
    texts = np.asarray([row["text"] or "" for row in rows["input"]], object)
    pictures = np.stack([_of_row(row["image"]) for row in rows["input"]])

    def columns(train: Ints, valid: Ints) -> tuple[Any, Any]:
        words = _tfidf().fit([*texts[train], _ANY_WORD])  # as all texts may be missing
        mean, spread = pictures[train].mean(axis=0), pictures[train].std(axis=0)
        scaled = (pictures - mean) / (np.maximum(spread, 1e-6) * np.sqrt(pictures.shape[1]))
        beside = _scaled(numbers, train, table.lacking) if table else numbers

        def of(some: Ints) -> Any:
            more = csr_array(np.hstack([scaled[some], beside[some]]))
            return hstack([words.transform(texts[some]), more]).tocsr()

        return of(train), of(valid)

    return _linear(columns, labels, splits, balanced=balanced)


def _of_table(rows: "Dataset", table: Table | None) -> NDArray[np.float64]:
    values = table.encode([row["table"] for row in rows["input"]])["table"] if table else []
    return np.asarray(values, np.float64).reshape(len(rows), -1 if table else 0)


def _scaled(numbers: NDArray[np.float64], train: Ints, lacking: Sequence[int]) -> NDArray[np.float64]:
    mean, factor = fit_columns(numbers[train], lacking)
    found = scale_columns(numbers, mean, factor, list(lacking)) / np.sqrt(numbers.shape[1])
    return np.asarray(found, np.float64)


def _of_row(picture: Any) -> NDArray[np.float32]:
    """Features of a picture, or zeros where there is none."""
    from hf_transfer.tasks.inputs.pictures import read_picture

    there = picture and (picture["bytes"] or picture["path"])
    size = 3 * _BINS + 3 * _SIDE**2
    return _of_picture(read_picture(picture)) if there else np.zeros(size, np.float32)


def overlaps(firsts: Texts, seconds: Texts) -> NDArray[np.float64]:
    """How alike two texts of a pair are, how much of each stands in the other, and their sizes, (n, 4).

    All are shares from 0 to 1, of words whether or not training rows have them.

    Example:
        >>> overlaps(["a red car"], ["a car that is red"]).round(2).tolist()
        [[0.77, 1.0, 0.6, 0.6]]
    """
    from sklearn.feature_extraction.text import HashingVectorizer

    words = HashingVectorizer(
        n_features=_HASHED, token_pattern=_WORD, binary=True, norm=None, alternate_sign=False
    )
    first, second = (words.transform(texts) for texts in (firsts, seconds))
    common = np.asarray(first.multiply(second).sum(axis=1), np.float64).ravel()
    sizes = [np.maximum(1, np.asarray(one.sum(axis=1), np.float64).ravel()) for one in (first, second)]
    low, high = np.minimum(*sizes), np.maximum(*sizes)
    return np.stack([common / np.sqrt(low * high), common / sizes[0], common / sizes[1], low / high], axis=1)


def _tfidf() -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer

    return TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=_WORD)


def _linear(
    columns: Callable[[Ints, Ints], tuple[Any, Any]],
    labels: Labels,
    splits: Sequence[Split],
    *,
    balanced: bool,
) -> Probe:
    """Fit logistic regression, or ridge regression for numbers, on what each fold makes of its rows."""
    from sklearn.linear_model import LogisticRegression, Ridge

    decisions = []
    for train, valid in splits:
        learned, held_out = columns(train, valid)
        if is_classes(labels):
            # Weak shrinkage, as lines of TF-IDF have length 1.
            weights = "balanced" if balanced else None
            model = LogisticRegression(C=10.0, max_iter=1000, class_weight=weights)
            decisions.append(_spread(model.fit(learned, labels[train]), held_out, labels))
        else:
            numbers = Ridge(alpha=1.0).fit(learned, labels[train]).predict(held_out)
            decisions.append(np.asarray(numbers, np.float64).reshape(len(valid), -1))
    return Probe(tuple(splits), tuple(decisions))


def word_probe(rows: "Dataset", labels: Ints, splits: Sequence[Split], *, balanced: bool = False) -> Probe:
    """Fit a linear model on the `spellings` of words in every fold."""
    from sklearn.feature_extraction import FeatureHasher
    from sklearn.svm import LinearSVC

    spelled = [spelling for words in rows["input"] for spelling in spellings(words)]
    hashed = FeatureHasher(_HASHED, input_type="string").transform(spelled).tocsr()
    decisions = []
    for train, valid in splits:
        model = LinearSVC(C=0.3, class_weight="balanced" if balanced else None, random_state=0)
        decisions.append(_spread(model.fit(hashed[train], labels[train]), hashed[valid], labels))
    return Probe(tuple(splits), tuple(decisions))


def _spread(model: Any, rows: Any, labels: Ints) -> NDArray[np.float64]:
    """Decisions as columns of all classes, those that the fold has not seen far below."""
    values = np.asarray(model.decision_function(rows), np.float64)
    if values.ndim == 1:  # two classes
        values = np.stack([-values, values], axis=1)
    decisions = np.full((len(values), int(labels.max()) + 1), -1e9)
    decisions[:, model.classes_] = values
    return decisions


def spellings(words: Sequence[str]) -> Iterator[list[str]]:
    """For each word of a sentence what its letters say, and its neighbours' words and shapes.

    Example:
        >>> next(spellings(["Rome", "fell"]))
        ['word=rome', 'shape=Xx', 'start=rom', 'end=ome', 'first', 'next=fell', 'next shape=x']
    """
    for place, word in enumerate(words):
        found = [f"word={word.lower()}", f"shape={_shape(word)}"]
        found += [f"start={word[:3].lower()}", f"end={word[-3:].lower()}"]
        found += (
            [f"before={words[place - 1].lower()}", f"before shape={_shape(words[place - 1])}"]
            if place
            else ["first"]
        )
        if place + 1 < len(words):
            found += [f"next={words[place + 1].lower()}", f"next shape={_shape(words[place + 1])}"]
        yield found


def _shape(word: str) -> str:
    """Letters as X or x and digits as 9, runs as one."""
    signs = ["X" if c.isupper() else "x" if c.isalpha() else "9" if c.isdigit() else c for c in word]
    return "".join(sign for i, sign in enumerate(signs) if i == 0 or sign != signs[i - 1])

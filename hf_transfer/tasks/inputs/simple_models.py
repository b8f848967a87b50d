"""A simple baseline: hand-made features without a pretrained model, fitted inside the folds."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hf_transfer import _guard  # noqa: F401
from hf_transfer.scores.transferability import Probe, Split, is_classes, ridge_probe

if TYPE_CHECKING:
    from datasets import Dataset

Ints = NDArray[np.int64]
Labels = NDArray[Any]

_SIDE, _BINS = 8, 16
_HASHED = 2**18  # columns that spellings are hashed to


def picture_probe(
    rows: "Dataset", labels: Labels, splits: Sequence[Split], *, balanced: bool = False
) -> Probe:
    """Fit a linear model on `picture_features` in every fold; the arguments are those of `simple_probe`."""
    return ridge_probe(picture_features(rows), labels, splits, balanced=balanced)


def picture_features(rows: "Dataset") -> NDArray[np.float32]:
    """A histogram of each colour channel and the picture at 8 x 8 pixels, (n, 3 * 16 + 3 * 64)."""
    from hf_transfer.tasks.inputs.pictures import read_picture

    return np.stack([_of_picture(read_picture(picture)) for picture in rows["input"]])


def _of_picture(picture: Image.Image) -> NDArray[np.float32]:
    colours = picture.convert("RGB")
    counts = np.asarray(colours.histogram(), np.float32).reshape(3 * _BINS, -1).sum(axis=1)
    small = np.asarray(colours.resize((_SIDE, _SIDE), Image.Resampling.BOX), np.float32)
    return np.concatenate([counts / (colours.width * colours.height), small.ravel() / 255])


def text_probe(rows: "Dataset", labels: Labels, splits: Sequence[Split], *, balanced: bool = False) -> Probe:
    """Fit a linear model on TF-IDF of words and pairs in every fold: logistic regression for classes."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.pipeline import make_pipeline

    texts, decisions = np.asarray(rows["input"][:], dtype=object), []
    for train, valid in splits:
        model = make_pipeline(
            TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"(?u)\b\w+\b"),
            # Weak shrinkage, as lines of TF-IDF have length 1.
            LogisticRegression(C=10.0, max_iter=1000, class_weight="balanced" if balanced else None)
            if is_classes(labels)
            else Ridge(alpha=1.0),
        )
        fitted = model.fit(texts[train], labels[train])
        decisions.append(
            _spread(fitted, texts[valid], labels)
            if is_classes(labels)
            else np.asarray(fitted.predict(texts[valid]), np.float64).reshape(len(valid), -1)
        )
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

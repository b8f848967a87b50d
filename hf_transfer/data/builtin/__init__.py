"""Small datasets inside the package, so that everything can be tried on a machine with no network."""

import difflib
import json
from collections.abc import Callable
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

from hf_transfer import _guard  # noqa: F401  (says what is wrong when another package hides ours)
from hf_transfer.errors import DataError

if TYPE_CHECKING:
    from datasets import Dataset

PREFIX = "builtin:"


def names(kind: str | None = None) -> list[str]:
    """List the datasets of a kind ("image", "text", …), or all, as `--dataset` takes them."""
    return [PREFIX + name for name, (of, _) in _DATASETS.items() if kind in (None, of)]


def kind_of(name: str) -> str | None:
    """The kind of a dataset, as `--kind` calls it; None for a name without "builtin:".

    Raises:
        DataError: If there is no such dataset, with the nearest name.
    """
    return _found(name)[0] if name.startswith(PREFIX) else None


def load(name: str, kind: str, *others: str) -> "Dataset":
    """Make one of the datasets in memory; equal in every byte on every machine.

    Args:
        name: With or without "builtin:".
        kind: What it should hold.
        others: What it may hold too.

    Raises:
        DataError: If there is no such dataset, with the nearest name, or it is of another kind.
    """
    of, make = _found(name)
    name = name.removeprefix(PREFIX)
    if of not in (kind, *others):
        raise DataError(
            f"{PREFIX}{name} holds {of} rows, not {kind}; for {kind} take {', '.join(names(kind))}."
        )
    return make()


@cache
def _digits(first: int, last: int) -> "Dataset":
    """Handwritten digits of 8 x 8 pixels in 17 greys, each pixel drawn as 4 x 4."""
    import numpy as np
    from datasets import ClassLabel, Dataset, Features, Image
    from sklearn.datasets import load_digits

    from hf_transfer.tasks.inputs.pictures import encode_pixels

    digits = load_digits()
    kept = (digits.target >= first) & (digits.target <= last)
    greys = np.round(digits.images[kept] * (255 / 16)).astype(np.uint8)
    pictures = [encode_pixels(np.kron(grey, np.ones((4, 4), np.uint8))) for grey in greys]
    features = {
        "image": Image(decode=False),
        "label": ClassLabel(names=[str(i) for i in range(first, last + 1)]),
    }
    rows = {"image": [{"bytes": picture, "path": None} for picture in pictures]}
    return Dataset.from_dict({**rows, "label": (digits.target[kept] - first).tolist()}, Features(features))


@cache
def _tones() -> "Dataset":
    """Tones that rise, fall or stay, by six voices of their own pitch, with noise; 8 kHz."""
    import numpy as np
    from datasets import ClassLabel, Dataset, Features, List, Value

    names, draw = ("falling", "rising", "steady"), np.random.default_rng(0)
    rows: dict[str, list[object]] = {"array": [], "sampling_rate": [], "speaker": [], "label": []}
    for number in range(120):
        label, voice, size = number % 3, number // 3 % 6, int(draw.integers(1600, 2800))
        start = 400 + 90 * voice + int(draw.integers(-20, 21))
        # Whole numbers all along, as a sine ends in other bits on other machines.
        steps = (
            start + (label == 1) * np.arange(size) // 5 - (label == 0) * np.arange(size) * start // (2 * size)
        )
        phase = np.cumsum(steps * 8) % 65536
        samples = np.abs(phase - 32768) // 4 - 4096 + draw.integers(-1500, 1501, size)
        values = (samples.astype(np.int16).tolist(), 8000, f"voice {voice}", label)
        for name, value in zip(rows, values, strict=True):
            rows[name].append(value)
    return Dataset.from_dict(
        rows,
        Features(
            {
                "array": List(Value("int16")),
                "sampling_rate": Value("int32"),
                "speaker": Value("string"),
                "label": ClassLabel(names=list(names)),
            }
        ),
    )


@cache
def _json_lines(file: str) -> "Dataset":
    from datasets import Dataset

    lines = files(__name__).joinpath(file).read_text(encoding="utf-8").split("\n")
    return Dataset.from_list([json.loads(line) for line in lines if line])


@cache
def _review_pairs() -> "Dataset":
    """Each review beside the next one of three: do they agree? The middle one stands in two pairs."""
    from datasets import Dataset

    rows = list(_json_lines("reviews.jsonl"))
    threes = zip(*[iter(rows)] * 3, strict=False)
    pairs = [pair for first, middle, last in threes for pair in ((first, middle), (middle, last))]
    agree = ["same" if first["label"] == second["label"] else "other" for first, second in pairs]
    texts = {
        name: [pair[place]["text"] for pair in pairs] for place, name in enumerate(("text", "text_pair"))
    }
    return Dataset.from_dict(texts | {"label": agree})


@cache
def _digit_texts() -> "Dataset":
    """Digits 5 to 9, each with a caption that says whether it is odd: the picture tells which it is.

    Of two more columns `roundness` is what somebody guessed of some rows, about right; `ink` says nothing.
    """
    from datasets import concatenate_datasets

    rows = _digits(5, 9)
    captions = ("an {} number", "a digit, {}", "this number is {}", "{}, written by hand")
    texts = [
        captions[row % len(captions)].format("even" if label % 2 else "odd")  # the first label is a five
        for row, label in enumerate(rows["label"])
    ]
    table = {
        "roundness": [
            None if row % 9 == 0 else round((0.3, 0.6, 0.1, 0.9, 0.7)[label] + (row * 7 % 11 - 5) / 25, 2)
            for row, label in enumerate(rows["label"])
        ],
        "ink": [("black", "blue", "green")[row * row % 7 % 3] for row in range(len(rows))],
    }
    column = type(rows).from_dict({"text": texts} | table)
    return concatenate_datasets(
        [rows.select_columns(["image"]), column, rows.select_columns(["label"])], axis=1
    )


_DATASETS: dict[str, tuple[str, Callable[[], "Dataset"]]] = {
    "digits": ("image", lambda: _digits(0, 9)),
    "digits_0to4": ("image", lambda: _digits(0, 4)),
    "digits_5to9": ("image", lambda: _digits(5, 9)),
    "digit_texts": ("image_text", _digit_texts),
    "tones": ("audio", _tones),
    "reviews": ("text", lambda: _json_lines("reviews.jsonl")),
    "review_pairs": ("text_pair", _review_pairs),
    "mentions": ("tokens", lambda: _json_lines("mentions.jsonl")),
}


def _found(name: str) -> tuple[str, Callable[[], "Dataset"]]:
    """The kind of a dataset, and what makes it."""
    name = name.removeprefix(PREFIX)
    if name not in _DATASETS:
        near = difflib.get_close_matches(name, _DATASETS, n=1)
        advice = f"Did you mean {PREFIX}{near[0]}? " if near else ""
        raise DataError(f"No dataset {PREFIX}{name}. {advice}There are {', '.join(names())}.")
    return _DATASETS[name]

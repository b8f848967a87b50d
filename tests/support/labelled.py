"""A few labelled rows of each kind."""

import numpy as np
from datasets import Dataset, Features, Image, Value

from hf_transfer import RunConfig
from hf_transfer.data.rows import label_rows
from hf_transfer.tasks.inputs.pictures import encode_pixels


def texts(rows, test=None, **settings):
    """Texts and their labels, and test rows."""
    datasets = [
        Dataset.from_dict(dict(zip(("text", "label"), zip(*part, strict=True), strict=True)))
        for part in (rows, test)
        if part
    ]
    return label_rows(datasets[0], RunConfig(**settings), "text", test=datasets[1] if test else None)


def pictures(pixels, labels):
    """Pictures of these pixels."""
    features = Features({"image": Image(decode=False), "label": Value("string")})
    rows = {"image": [{"bytes": encode_pixels(one), "path": None} for one in pixels], "label": labels}
    return label_rows(Dataset.from_dict(rows, features), RunConfig(), "image")


def noise(seed, size=16):
    """Pixels at random."""
    return np.random.default_rng(seed).integers(0, 256, (size, size, 3), np.uint8)


def words():
    """Three sentences of two entities, two of which repeat but for case."""
    rows = {
        "tokens": [["Ann", "ran"], ["ann", "ran"], ["Rome"]],
        "ner_tags": [["B-PER", "O"], ["O", "O"], ["B-LOC"]],
    }
    return label_rows(Dataset.from_dict(rows), RunConfig(), "tokens")

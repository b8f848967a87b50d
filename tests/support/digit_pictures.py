"""Folders of handwritten digits as pictures, and files with labels of some drawn rows."""

import csv

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

from hf_transfer.transfer.labelling import draw_rows


def pictures(folder, rows, change=lambda grey: grey):
    """A folder of handwritten digits 5 to 9, a folder a class."""
    digits = load_digits()
    mixed = np.random.default_rng(0).permutation(np.flatnonzero(digits.target >= 5))  # by writer, else
    kept = mixed[rows]
    for number in kept.tolist():
        place = folder / str(digits.target[number])
        place.mkdir(parents=True, exist_ok=True)
        grey = change(np.kron(np.round(digits.images[number] * (255 / 16)), np.ones((4, 4)))).astype(np.uint8)
        Image.fromarray(grey).save(place / f"{number:04}.png")
    return str(folder)


def label_file(path, features, number=40, name=lambda name: name):
    """Rows of a target that are drawn as `shift --label_target` does, with their labels."""
    places = {row_id: place for place, row_id in enumerate(features.row_ids)}
    with path.open("w", newline="") as stream:
        lines = csv.writer(stream)
        lines.writerow(["row_id", "label"])
        for row_id in draw_rows(features, number, seed=0):
            lines.writerow([row_id, name(features.label_names[features.labels[places[row_id]]])])
    return path

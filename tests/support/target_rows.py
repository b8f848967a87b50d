"""Rows whose labels are numbers or sets of labels, of texts and of pictures."""

import numpy as np
from datasets import Dataset

from hf_transfer import RunConfig, open_dataset

WORDS = ("good", "bad", "fine", "dull", "warm")


def texts(target: str) -> dict[str, list]:
    rng = np.random.default_rng(0)
    chosen = [list(rng.choice(WORDS, 5)) for _ in range(60)]
    labels = [{w for w in row if w in WORDS[:3]} for row in chosen]
    stars = [min(5, max(1, 3 + row.count("good") - row.count("bad"))) for row in chosen]
    numbers = [1e3 + 40.0 * row.count("good") - 25.5 * row.count("bad") for row in chosen]
    found = {"numbers": numbers, "grades": stars, "label_sets": [sorted(row) for row in labels]}
    if target == "several":
        return {"text": [" ".join(row) for row in chosen], "price": numbers, "stars": stars}
    return {"text": [" ".join(row) for row in chosen], "label": found[target]}


def pictures(target: str) -> Dataset:
    config = RunConfig(dataset="builtin:digits_5to9", max_rows=60)
    rows = open_dataset(config, "image").rows
    digits = [5 + digit for digit in rows["label"]]
    labels = (
        [100.0 * digit + 0.5 for digit in digits]
        if target == "numbers"
        else [["odd"] * (digit % 2) + ["large"] * (digit > 6) + ["nine"] * (digit == 9) for digit in digits]
    )
    return rows.select_columns(["input"]).rename_column("input", "image").add_column("label", labels)

"""Tables of predictions to score, and what scores them."""

import numpy as np
import pyarrow as pa

from hf_transfer.scores.class_scorer import ClassificationScorer

TAGS = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")


def predictions(num_rows, num_classes, *, num_folds=5, num_repeats=1, seed=0, skill=1.0):
    """Draw a table of predictions whose logits favour the true class by `skill`."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, num_classes, num_rows)
    parts = []
    for repeat in range(num_repeats):
        logits = rng.normal(size=(num_rows, num_classes)).astype(np.float32)
        logits[np.arange(num_rows), labels] += skill
        parts.append(
            pa.table(
                {
                    "row_id": np.arange(num_rows),
                    "repeat": np.full(num_rows, repeat, np.int32),
                    "fold": (rng.permutation(num_rows) % num_folds).astype(np.int32),
                    "label": labels,
                    "prediction": logits.argmax(axis=1),
                    "logits": pa.array(list(logits), pa.list_(pa.float32())),
                }
            )
        )
    return pa.concat_tables(parts)


def tagged(num_rows, *, num_folds=3, num_repeats=1, seed=0):
    """Draw a table of tagged words; three tags in four are predicted right."""
    rng = np.random.default_rng(seed)
    parts = []
    for repeat in range(num_repeats):
        rows = []
        for row in range(num_rows):
            draw = np.random.default_rng(row)
            labels = repair([TAGS[i] for i in draw.integers(0, 5, draw.integers(1, 9))])
            guessed = [tag if rng.random() < 0.75 else TAGS[rng.integers(5)] for tag in labels]
            rows.append({"row_id": f"s{row}", "repeat": repeat, "labels": labels, "predictions": guessed})
        for row, fold in zip(rows, rng.permutation(num_rows) % num_folds, strict=True):
            row |= {"fold": int(fold), "tokens": ["w"] * len(row["labels"])}
        parts.append(pa.Table.from_pylist(rows))
    return pa.concat_tables(parts)


def repair(tags):
    fixed = []
    for tag in tags:
        before = fixed[-1] if fixed else "O"
        fixed.append("B" + tag[1:] if tag[0] == "I" and before[1:] != tag[1:] else tag)
    return fixed


def scorer_of(num_classes):
    return ClassificationScorer([f"class {i}" for i in range(num_classes)])


def floats(scores):
    """Scores with NaN for what is undefined."""
    return {name: float("nan") if value is None else value for name, value in scores.items()}


def number_predictions(num_rows, *, num_folds=3, num_repeats=1, seed=0, whole=False, noise=1.0):
    """Draw a table of predicted numbers: the true ones and noise; whole numbers have ties."""
    rng = np.random.default_rng(seed)
    labels = rng.normal(size=num_rows).round(0 if whole else 6)
    parts = []
    for repeat in range(num_repeats):
        guessed = (labels + noise * rng.normal(size=num_rows)).round(0 if whole else 6)
        parts.append(
            pa.table(
                {
                    "row_id": np.arange(num_rows),
                    "repeat": np.full(num_rows, repeat, np.int32),
                    "fold": (rng.permutation(num_rows) % num_folds).astype(np.int32),
                    "label": labels,
                    "prediction": guessed,
                }
            )
        )
    return pa.concat_tables(parts)


def set_predictions(num_rows, names, *, num_folds=3, num_repeats=1, seed=0, share=0.4):
    """Draw a table of label sets whose logits favour the true labels; some logits are equal."""
    rng = np.random.default_rng(seed)
    marks = rng.random((num_rows, len(names))) < share
    parts = []
    for repeat in range(num_repeats):
        logits = (2.0 * marks - 1 + 1.5 * rng.normal(size=marks.shape)).round(1)
        parts.append(
            pa.table(
                {
                    "row_id": np.arange(num_rows),
                    "repeat": np.full(num_rows, repeat, np.int32),
                    "fold": (rng.permutation(num_rows) % num_folds).astype(np.int32),
                    "label": id_lists(marks),
                    "prediction": id_lists(logits > 0),
                    "logits": pa.array(list(logits), pa.list_(pa.float64())),
                }
            )
        )
    return pa.concat_tables(parts)


def id_lists(marks):
    return pa.array([np.flatnonzero(row) for row in marks], pa.list_(pa.int64()))

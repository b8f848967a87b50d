"""Trains small runs of every kind, and spoils them."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from hf_transfer import (
    AudioClassification,
    ImageClassification,
    RunConfig,
    SequenceClassification,
    TokenClassification,
    cross_validate,
    open_dataset,
    write_card,
)
from hf_transfer.verify.verify_run import verify_run

# What the kit would choose by itself, as numbers: the same for every model and number of rows.
PLAIN = {
    "num_repeats": 1, "head_solver": "gradient", "head_start": "random", "learning_rate": 2e-5,
    "num_epochs": 3, "weight_decay": 0.01, "warmup": 0.1, "layer_decay": 1.0,
}  # fmt: skip

TEXT = {
    "base_model": "builtin:tiny-bert", "num_folds": 3, "num_epochs": 1, "batch_size": 16,
    "learning_rate": 1e-3, "max_length": 16, "trainable": "head", "final": "none",
}  # fmt: skip
PICTURES = {
    "base_model": "builtin:digits-resnet", "dataset": "builtin:digits_5to9", "max_rows": 40, "num_folds": 2,
    "num_epochs": 1, "learning_rate": 1e-2, "trainable": "head",
}  # fmt: skip
SOUNDS = {
    "base_model": "builtin:tiny-wav2vec2", "dataset": "builtin:tones", "max_rows": 24, "num_folds": 2,
    "num_epochs": 1, "learning_rate": 1e-3, "trainable": "head",
}  # fmt: skip
REVIEWS = {"dataset": "builtin:reviews", "max_rows": 36}
KINDS = {
    "text": (SequenceClassification, TEXT | REVIEWS | {"seed": 3}),
    "pictures": (ImageClassification, PICTURES),
    "sounds": (AudioClassification, SOUNDS),
    "words": (TokenClassification, TEXT | {"dataset": "builtin:mentions", "max_rows": 30, "num_folds": 2}),
    "grid": (
        SequenceClassification,
        TEXT | REVIEWS | {"learning_rates": (1e-3, 1e-1), "weight_decays": (0.0, 0.1), "num_folds": 2},
    ),
    "groups": (
        SequenceClassification,
        TEXT | {"group_by": "who", "id_column": "key", "num_folds": 2, "num_repeats": 2, "strict": True},
    ),
    "walk-forward": (
        SequenceClassification,
        TEXT | {"time_by": "day", "scheme": "walk-forward", "gap": 2, "max_rows": 30},
    ),
}
WITH_CARD = ("text", "pictures", "words", "grid")  # the pictures take longer than the training


# A head in closed form, which has no rate and no epochs.
SOLVED = dict.fromkeys(("learning_rate", "num_epochs", "warmup", "layer_decay", "head_start"), "auto") | {
    "head_solver": "lbfgs"
}


def plain_config(**settings) -> RunConfig:
    """Settings in which nothing is left to the kit; for a head in closed form, without those of gradients."""
    found = PLAIN | settings
    if found["head_solver"] in ("lbfgs", "ridge"):
        found = found | SOLVED | {"head_solver": found["head_solver"]}
    return RunConfig(**found)


def write_rows(path: Path) -> str:
    """Write rows with a group, a day and an id."""
    rows = [
        {
            "text": f"{'good' if i % 2 else 'bad'} {i}", "label": ("no", "yes")[i % 2], "who": f"ann{i % 7}",
            "day": f"2024-{1 + i % 5:02d}-{1 + i % 20:02d}", "key": f"k{i}",
        }
        for i in range(36)
    ]  # fmt: skip
    path.write_text("\n".join(map(json.dumps, rows)))
    return str(path)


def make_run(kind: str, folder: Path, *, card: bool | None = None, **changes) -> Path:
    """Train a run of a kind; write its card, by default where the kind is of those that have one."""
    task, settings = KINDS[kind]
    settings = {"dataset": write_rows(folder / "rows.jsonl")} | settings | changes
    config = plain_config(**settings, output_dir=str(folder / kind))
    data = open_dataset(config, task)
    cross_validate(data.task(config, data.target), data, config)
    if kind in WITH_CARD if card is None else card:
        write_card(folder / kind)
    return folder / kind


def edit(run: Path, change, name: str = "results.json") -> None:
    """Change what a JSON file of a run holds."""
    values = json.loads((run / name).read_text(encoding="utf-8"))
    change(values)
    (run / name).write_text(json.dumps(values), encoding="utf-8")


def edit_rows(run: Path, change, name: str = "predictions.parquet") -> None:
    """Change the rows of a table of a run."""
    table = pq.read_table(run / name)
    rows = table.to_pylist()
    change(rows)
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), run / name)


def wrong(run: Path) -> str:
    """All differences that are found, a line each."""
    return "\n".join(line for check in verify_run(run) for line in check.differences)

"""`hf-transfer predict`: label new inputs with a run's final model."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset

from hf_transfer import _guard  # noqa: F401
from hf_transfer.config import RunConfig
from hf_transfer.data.data_files import SUFFIXES, read_file
from hf_transfer.data.pictures import scan_pictures
from hf_transfer.errors import ConfigError, DataError
from hf_transfer.results import read_results
from hf_transfer.tables import aligned
from hf_transfer.tasks import task_class
from hf_transfer.wording import count

_PICTURES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"}


def predict_inputs(run: str | Path, inputs: list[str]) -> tuple[list[dict[str, Any]], str]:
    """Label texts, pictures or sentences: as values, and as text.

    Args:
        run: A finished run's folder, with its final model.
        inputs: Pictures or folders of them; texts; or a file of them, .txt (one a line) or what a run reads.

    Raises:
        ConfigError: If the run kept no final model.
        DataError: If an input is not usable.
    """
    from hf_transfer.batches import Batches
    from hf_transfer.models import placed
    from hf_transfer.scoring import predict
    from hf_transfer.workers import Workers, make_accelerator

    results = read_results(run)
    if results["final"]["path"] is None:
        raise ConfigError(f"{run} kept no final model (final=none). Run it again with --final refit.")
    config = RunConfig().changed(results["config"])
    config = replace(
        config, base_model=str(Path(run) / results["final"]["path"]), from_scratch=False, reinit_top=0
    )
    task = task_class(results["task"])(config, results["label_names"])
    shown, values = _READERS[task.kind](inputs, results["dataset"]["column"])
    rows = Dataset.from_dict({"input": values})
    encoded = Dataset.from_dict(task.encode({"input": values}, list(range(len(values)))))
    workers = Workers(make_accelerator(config), together=False)
    model = placed(task.build_model(), workers.accelerator.device)
    batches = Batches(task, encoded, workers.accelerator.device)
    decoded = predict(batches.learner(model), batches, np.arange(len(encoded)), workers)
    columns = task.columns(rows, [decoded.get(i, np.zeros(0, np.int64)) for i in range(len(values))])
    return _described(shown, columns, results["label_names"])


def _described(
    shown: list[str], columns: dict[str, list[Any]], label_names: list[str]
) -> tuple[list[dict[str, Any]], str]:
    if "logits" not in columns:
        pairs = zip(columns["tokens"], columns["predictions"], strict=True)
        found = [{"tokens": tokens, "tags": tags} for tokens, tags in pairs]
        return found, "\n\n".join(
            aligned([list(p) for p in zip(f["tokens"], f["tags"], strict=True)]) for f in found
        )
    logits = np.asarray(columns["logits"])
    odds = np.exp(logits - logits.max(1, keepdims=True))
    probabilities = odds / odds.sum(1, keepdims=True)
    found = [
        {"input": name, "label": label_names[best], "probability": float(row[best])}
        for name, best, row in zip(shown, columns["prediction"], probabilities, strict=True)
    ]
    return found, aligned([[f["label"], f"{f['probability']:.3f}", f["input"]] for f in found])


def _read_pictures(inputs: list[str], column: str) -> tuple[list[str], list[Any]]:
    paths: list[Path] = []
    for word in inputs:
        path = Path(word)
        if not path.exists():
            raise DataError(f"No such picture or folder: {path.absolute()}.")
        within = sorted(p for p in path.rglob("*") if p.suffix.lower() in _PICTURES)
        paths += within if path.is_dir() else [path]
    if not paths:
        raise DataError(f"No pictures in {', '.join(inputs)}.")
    pictures = [{"bytes": None, "path": str(path)} for path in paths]
    if bad := scan_pictures(Dataset.from_dict({"input": pictures})):
        raise DataError(
            f"{count(len(bad), 'picture')} cannot be read. The first: {bad[0].path}: {bad[0].reason}."
        )
    return [str(path) for path in paths], pictures


def _read_texts(inputs: list[str], column: str) -> tuple[list[str], list[Any]]:
    texts = [text for word in inputs for text in _texts(word, column)]
    if not texts:
        raise DataError(f"No texts in {', '.join(inputs)}.")
    return texts, texts


def _read_words(inputs: list[str], column: str) -> tuple[list[str], list[Any]]:
    texts, _ = _read_texts(inputs, column)
    return texts, [text.split() if isinstance(text, str) else list(text) for text in texts]


def _texts(word: str, column: str) -> list[Any]:
    """A text itself, or a file's: a line each of .txt, else the column that the run learned from."""
    path = Path(word)
    if path.suffix.lower() not in {".txt", *SUFFIXES}:
        return [word]
    if not path.is_file():
        raise DataError(f"No such file: {path.absolute()}.")
    if path.suffix.lower() == ".txt":
        return [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    rows = read_file(path)
    if column not in rows.column_names:
        there_are = ", ".join(repr(name) for name in rows.column_names)
        raise DataError(f"No column {column!r} in {path.name}; it has {there_are}. Rename one.")
    return list(rows[column])


_READERS = {"image": _read_pictures, "text": _read_texts, "tokens": _read_words}

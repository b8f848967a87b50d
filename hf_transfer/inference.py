"""`hf-transfer predict`: label new inputs with a run's final model."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from hf_transfer import _guard  # noqa: F401
from hf_transfer.config import RunConfig
from hf_transfer.errors import ConfigError, DataError
from hf_transfer.results import read_results
from hf_transfer.tables import aligned
from hf_transfer.tasks import task_class

_PICTURES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"}


def predict_inputs(run: str | Path, inputs: list[str]) -> tuple[list[dict[str, Any]], str]:
    """Label texts, pictures or sentences: as values, and as text.

    Args:
        run: A finished run's folder, with its final model.
        inputs: Pictures or folders of them; texts; or one .txt (a text a line), .jsonl or .csv file.

    Raises:
        ConfigError: If the run kept no final model.
        DataError: If an input is not usable.
    """
    from datasets import Dataset

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
    shown, values = _READERS[task.kind](inputs)
    rows = Dataset.from_dict({"input": values})
    encoded = Dataset.from_dict(task.encode({"input": values}, list(range(len(values)))))
    workers = Workers(make_accelerator(config), together=False)
    model = task.build_model().to(workers.accelerator.device)
    decoded = predict(model, task, encoded, np.arange(len(encoded)), workers)
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


def _read_pictures(inputs: list[str]) -> tuple[list[str], list[Any]]:
    paths: list[Path] = []
    for word in inputs:
        path = Path(word)
        if not path.exists():
            raise DataError(f"No such picture or folder: {path.absolute()}.")
        found = (
            sorted(p for p in path.rglob("*") if p.suffix.lower() in _PICTURES) if path.is_dir() else [path]
        )
        paths += found
    if not paths:
        raise DataError(f"No pictures in {', '.join(inputs)}.")
    return [str(path) for path in paths], [{"bytes": None, "path": str(path)} for path in paths]


def _read_texts(inputs: list[str]) -> tuple[list[str], list[Any]]:
    texts = [text for word in inputs for text in _texts(word)]
    if not texts:
        raise DataError(f"No texts in {', '.join(inputs)}.")
    return texts, texts


def _read_words(inputs: list[str]) -> tuple[list[str], list[Any]]:
    texts, _ = _read_texts(inputs)
    return texts, [text.split() for text in texts]


def _texts(word: str) -> list[str]:
    """A text itself, or a file's texts."""
    path = Path(word)
    if path.suffix not in {".txt", ".jsonl", ".csv"}:
        return [word]
    if not path.is_file():
        raise DataError(f"No such file: {path.absolute()}.")
    lines = path.read_text(encoding="utf-8").splitlines()
    if path.suffix == ".txt":
        return [line for line in lines if line.strip()]
    if path.suffix == ".jsonl":
        rows = [json.loads(line) for line in lines if line.strip()]
        return [row if isinstance(row, str) else row["text"] for row in rows]
    import pandas

    return [str(text) for text in pandas.read_csv(path, keep_default_na=False)["text"]]


_READERS = {"image": _read_pictures, "text": _read_texts, "tokens": _read_words}

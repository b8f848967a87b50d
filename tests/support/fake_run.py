"""Builds a run's folder whose numbers all follow from generated predictions, without training anything."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats
from sklearn import metrics as sk
from small_runs import plain_config

from hf_transfer.config.run_config import RunConfig
from hf_transfer.runs.records import Results
from hf_transfer.runs.schema import from_json

LOWER_IS_BETTER = {"log_loss"}
ENTITY_TYPES = ("LOC", "ORG", "PER")
TAGS = ["O", *(f"{part}-{kind}" for kind in ENTITY_TYPES for part in "BI")]
TASKS = ("text-classification", "image-classification", "token-classification")


@dataclass(frozen=True)
class Shape:
    """How big a made-up run is, and how skilled."""

    num_rows: int = 120
    num_folds: int = 5
    num_repeats: int = 1
    num_epochs: int = 3
    label_names: tuple[str, ...] = ("negative", "positive")
    skill: float = 2.2
    seed: int = 0
    failed: tuple[int, ...] = ()
    early_stopping: bool = False


def make_run(
    folder: Path, task: str = "text-classification", shape: Shape | None = None, **config: Any
) -> dict[str, Any]:
    """Write a whole run into `folder` and give its results."""
    shape = shape or Shape()
    rng = np.random.default_rng(shape.seed)
    rows = _sentences(rng, shape) if task == "token-classification" else _rows(rng, shape)
    score = entity_scores if task == "token-classification" else class_scores
    rows = rows[~rows.fold.isin(shape.failed)]
    settings = _config(task, shape, config)
    results = _results(task, shape, rows, score, settings)
    folder.mkdir(parents=True, exist_ok=True)
    settings.save(folder / "config.yaml")
    rows.to_parquet(folder / "predictions.parquet")
    _plan(rng, shape).to_parquet(folder / "folds.parquet")
    for fold in results["folds"]:
        _write_fold(folder / "folds" / f"r{fold['repeat']}f{fold['fold']}", fold, rows, shape)
    (folder / "model").mkdir(exist_ok=True)
    save(folder, results)
    return results


def typed(results: dict[str, Any]) -> Results:
    """Give made-up results as they are read from results.json."""
    return from_json(Results, results)


def save(folder: Path, results: dict[str, Any]) -> None:
    (folder / "results.json").write_text(json.dumps(results, allow_nan=False), encoding="utf-8")


def class_scores(rows: pd.DataFrame) -> dict[str, float]:
    truth, guess = rows.label.to_numpy(), rows.prediction.to_numpy()
    logits = np.stack(rows.logits.to_list()).astype(np.float64)
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    recalls = [float((guess[truth == c] == c).mean()) for c in np.unique(truth)]
    scores = {
        "accuracy": float((truth == guess).mean()),
        "balanced_accuracy": float(np.mean(recalls)),
        "f1_macro": float(sk.f1_score(truth, guess, average="macro", zero_division=0)),
        "log_loss": float(-np.log(shares[np.arange(len(truth)), truth]).mean()),
        "mcc": float(sk.matthews_corrcoef(truth, guess)),
    }
    return scores


def spans(tags: list[str]) -> set[tuple[str, int, int]]:
    found, start = set(), None
    for place, tag in enumerate([*tags, "O"]):
        if start is not None and tag != f"I-{tags[start][2:]}":
            found.add((tags[start][2:], start, place))
            start = None
        if tag.startswith("B-"):
            start = place
    return found


def entity_scores(rows: pd.DataFrame, kind: str | None = None) -> dict[str, float]:
    pairs = [(spans(list(a)), spans(list(b))) for a, b in zip(rows.labels, rows.predictions, strict=True)]
    pairs = [tuple({s for s in side if kind in (None, s[0])} for side in pair) for pair in pairs]
    right, true, guessed = (sum(map(len, x)) for x in zip(*[(a & b, a, b) for a, b in pairs], strict=True))
    tags = [
        a == b for x, y in zip(rows.labels, rows.predictions, strict=True) for a, b in zip(x, y, strict=True)
    ]
    return {
        "precision": right / max(guessed, 1),
        "recall": right / max(true, 1),
        "f1": 2 * right / max(true + guessed, 1),
        "accuracy": float(np.mean(tags)),
    }


def _plan(rng: np.random.Generator, shape: Shape) -> pd.DataFrame:
    parts = [
        pd.DataFrame(
            {
                "row_id": np.arange(shape.num_rows),
                "repeat": np.int32(repeat),
                "fold": ((np.arange(shape.num_rows) + repeat) % shape.num_folds).astype(np.int32),
            }
        )
        for repeat in range(shape.num_repeats)
    ]
    return pd.concat(parts, ignore_index=True)


def _rows(rng: np.random.Generator, shape: Shape) -> pd.DataFrame:
    plan, c = _plan(rng, shape), len(shape.label_names)
    labels = rng.choice(c, shape.num_rows, p=_shares(c))
    logits = rng.normal(size=(len(plan), c))
    truth = labels[plan.row_id]
    logits[np.arange(len(plan)), truth] += shape.skill
    # Neighbouring classes are confused more often, as real ones are.
    logits[np.arange(len(plan)), (truth + 1) % c] += shape.skill / 4
    return plan.assign(label=truth, prediction=logits.argmax(axis=1), logits=list(logits.astype(np.float32)))


def _shares(num_classes: int) -> np.ndarray:
    weights = 1 / np.sqrt(1 + np.arange(num_classes))
    return weights / weights.sum()


def _sentences(rng: np.random.Generator, shape: Shape) -> pd.DataFrame:
    plan = _plan(rng, shape)
    sentences = [_sentence(rng) for _ in range(shape.num_rows)]
    truth = [sentences[row] for row in plan.row_id]
    guess = [[tag if rng.random() < 0.9 else "O" for tag in tags] for tags in truth]
    words = [[f"word{i}" for i in range(len(tags))] for tags in truth]
    return plan.assign(tokens=words, labels=truth, predictions=guess)


def _sentence(rng: np.random.Generator) -> list[str]:
    tags: list[str] = []
    for _ in range(rng.integers(3, 7)):
        kind = ENTITY_TYPES[rng.integers(3)]
        tags += ["O", f"B-{kind}", f"I-{kind}"][: rng.integers(1, 4)]
    return ["O" if tag[0] == "I" and (i == 0 or tags[i - 1] == "O") else tag for i, tag in enumerate(tags)]


def _config(task: str, shape: Shape, changes: dict[str, Any]) -> RunConfig:
    base = {
        "text-classification": "FacebookAI/roberta-base",
        "image-classification": "timm/resnet18.a1_in1k",
        "token-classification": "google-bert/bert-base-cased",
    }[task]
    values = {
        "base_model": base, "dataset": "cornell-movie-review-data/rotten_tomatoes", "split": "train",
        "num_folds": shape.num_folds, "num_repeats": shape.num_repeats, "num_epochs": shape.num_epochs,
        "trainable": "last:2", "output_dir": "runs/reviews", "early_stopping": shape.early_stopping,
    }  # fmt: skip
    return plain_config(**(values | changes))


def _results(task: str, shape: Shape, rows: pd.DataFrame, score: Any, config: RunConfig) -> dict[str, Any]:
    folds = [
        _fold(r, f, rows, score, shape) for r in range(shape.num_repeats) for f in range(shape.num_folds)
    ]
    ner = task == "token-classification"
    scores = {name: _score(name, folds, rows, score, ner) for name in score(rows)} if len(rows) else {}
    names = TAGS if ner else list(shape.label_names)
    frozen = {"groups": ["stem", "block.0", "block.1"], "hash_before": "9f2c" * 8, "hash_after": "9f2c" * 8}
    return {
        "format_version": 1,
        "kit_version": "0.1.0",
        "created": "2026-11-20",
        "task": task,
        "base_model": config.base_model,
        "base_model_revision": "e2da8e2f811d1448a5b465c236feacd80ffbac7b",
        "architecture": {
            "text-classification": "roberta",
            "image-classification": "resnet18",
            "token-classification": "bert",
        }[task],
        "library": "timm" if task == "image-classification" else "transformers",
        "from_scratch": config.from_scratch,
        "dataset": _dataset(task, shape, config, rows),
        "config": config.to_dict(),
        "label_names": names,
        "folds_scheme": "entity" if ner else "stratified",
        "folds_path": "folds",
        "grid": None,
        "folds_fingerprint": f"f0{shape.seed:02d}c0ffee{shape.num_folds:04d}",
        "num_folds": shape.num_folds,
        "num_repeats": shape.num_repeats,
        "folds": folds,
        "scores": scores,
        "primary_metric": "f1" if ner else "f1_macro",
        "higher_is_better": {name: name not in LOWER_IS_BETTER for name in scores},
        "per_class": _per_class(rows, names, ner),
        "confusion": None if ner or not len(rows) else _confusion(rows, len(names)),
        "calibration": None if ner or not len(rows) else _calibration(rows),
        "frozen_proof": frozen | {"equal": True} if config.trainable != "all" else None,
        "trainable": {"parameters": 14_768_642, "total": 124_647_170, "spec": config.trainable},
        "layers": _layers(config),
        "test": None,
        "notes": ["scheme 'auto' became the one named above, as there is no column of groups or times."],
        "hardware": {
            "device": "cpu: AMD EPYC, 2 cores", "num_processes": 1, "num_threads": 2, "parallel": "folds",
            "seconds": sum(fold["seconds"] or 0 for fold in folds),
        },
        "versions": {"python": "3.11.9", "torch": "2.15.0", "transformers": "5.23.0", "datasets": "5.2.0"},
        "command": "python recipes/sentiment.py --trainable last:2",
        "final": {
            "kind": config.final, "path": "model" if config.final == "refit" else None,
            "num_epochs": shape.num_epochs, "num_rows": shape.num_rows, "temperature_in_weights": False,
        },
    }  # fmt: skip


def _dataset(task: str, shape: Shape, config: RunConfig, rows: pd.DataFrame) -> dict[str, Any]:
    once = rows.drop_duplicates("row_id")
    counts = {} if task == "token-classification" else once.label.value_counts().to_dict()
    return {
        "name": config.dataset, "config": config.dataset_config, "split": config.split,
        "fingerprint": "5d41402abc4b2a76", "num_rows": shape.num_rows,
        "hub": config.dataset.count("/") == 1 and "." not in config.dataset,
        "column": {"image-classification": "image", "token-classification": "tokens"}.get(task, "text"),
        "label_column": "tags" if task == "token-classification" else "label",
        "class_counts": {name: int(counts.get(i, 0)) for i, name in enumerate(shape.label_names)},
        "grouped_by": config.group_by,
    }  # fmt: skip


def _fold(repeat: int, fold: int, rows: pd.DataFrame, score: Any, shape: Shape) -> dict[str, Any]:
    held_out = rows[(rows.repeat == repeat) & (rows.fold == fold)]
    num_valid = len(range(fold, shape.num_rows, shape.num_folds)) if fold in shape.failed else len(held_out)
    failed = not len(held_out)
    scores = {} if failed else score(held_out)
    train = {
        name: value + (1 - value) * 0.6 if name not in LOWER_IS_BETTER else value * 0.4
        for name, value in scores.items()
    }
    return {
        "repeat": repeat, "fold": fold, "num_train": shape.num_rows - num_valid, "num_valid": num_valid,
        "seconds": 0.0 if failed else 11.5 + fold, "scores": scores, "train_scores": train,
        "train_rows_scored": num_valid, "num_epochs": 0 if failed else shape.num_epochs,
        "seed": 100 + fold, "status": "failed" if failed else "done",
        "error": "OutOfMemoryError: tried to take 2 GiB" if failed else None,
        "frozen_hash_before": None if failed else "9f2c" * 8,
        "frozen_hash_after": None if failed else "9f2c" * 8, "truncated": 0,
    }  # fmt: skip


def _score(
    name: str, folds: list[dict[str, Any]], rows: pd.DataFrame, score: Any, ner: bool
) -> dict[str, Any]:
    done = [fold for fold in folds if fold["status"] == "done"]
    values = [fold["scores"][name] for fold in done]
    return {
        "mean": float(np.mean(values)),
        "std": float(np.std(values, ddof=1)) if len(values) > 1 else None,
        "pooled": score(rows)[name],
        "interval": _bootstrap(name, rows, score),
        "interval_kind": "bootstrap over out-of-fold rows, within folds",
        "unit": "sentence" if ner else "row",
        "num_folds": len(values),
        "conservative_interval": _corrected(values, done[0]) if len(values) > 1 else None,
        "headline": "conservative" if max(fold["repeat"] for fold in folds) > 1 else "both",
    }


def _corrected(values: list[float], fold: dict[str, Any]) -> list[float]:
    error = np.std(values, ddof=1) * np.sqrt(1 / len(values) + fold["num_valid"] / fold["num_train"])
    margin = stats.t.ppf(0.975, len(values) - 1) * error
    return [float(np.mean(values) - margin), float(np.mean(values) + margin)]


def _calibration(rows: pd.DataFrame) -> dict[str, Any]:
    """Bins of five of a temperature of 2; the temperature is not fitted."""
    logits, truth = np.stack(rows.logits.to_list()).astype(np.float64), rows.label.to_numpy()
    bins, errors, losses = {}, {}, {}
    for when, temperature in (("before", 1.0), ("after", 2.0)):
        shares = np.exp(logits / temperature)
        shares /= shares.sum(axis=1, keepdims=True)
        losses[when] = float(-np.log(shares[np.arange(len(rows)), truth]).mean())
        confidence = shares.max(axis=1)
        parts = np.array_split(np.argsort(confidence), 5)
        right = logits.argmax(axis=1) == truth
        bins[when] = [
            {"confidence": confidence[p].mean(), "accuracy": right[p].mean(), "count": len(p)} for p in parts
        ]
        errors[when] = float(np.mean([abs(b["confidence"] - b["accuracy"]) for b in bins[when]]))
    return {
        "temperature": 2.0, "num_bins": 5, "bins": bins,
        "log_loss_before": losses["before"], "log_loss_after": losses["after"],
        "ece_before": errors["before"], "ece_after": errors["after"],
        "classwise_before": 0.031, "classwise_after": 0.029, "floor_before": 0.017, "floor_after": 0.019,
    }  # fmt: skip


def _bootstrap(name: str, rows: pd.DataFrame, score: Any) -> list[float]:
    rng = np.random.default_rng(0)
    places = [np.flatnonzero(rows.fold == fold) for fold in rows.fold.unique()]
    draws = [
        score(rows.iloc[np.concatenate([rng.choice(p, len(p)) for p in places])])[name] for _ in range(25)
    ]
    return [float(value) for value in np.quantile(draws, [0.025, 0.975])]


def _per_class(rows: pd.DataFrame, names: list[str], ner: bool) -> list[dict[str, Any]]:
    if not len(rows):
        return []
    if ner:
        table = []
        for kind in ENTITY_TYPES:
            values = entity_scores(rows, kind)
            support = sum(s[0] == kind for tags in rows.labels for s in spans(list(tags)))
            table.append(
                {"label": kind, "support": support} | {k: values[k] for k in ("precision", "recall", "f1")}
            )
        return table
    columns = sk.precision_recall_fscore_support(
        rows.label, rows.prediction, labels=range(len(names)), zero_division=0
    )
    return [
        {"label": name, "precision": float(p), "recall": float(r), "f1": float(f), "support": int(s)}
        for name, p, r, f, s in zip(names, *columns, strict=True)
    ]


def _confusion(rows: pd.DataFrame, num_classes: int) -> list[list[int]]:
    return sk.confusion_matrix(rows.label, rows.prediction, labels=range(num_classes)).tolist()


def _layers(config: RunConfig) -> list[dict[str, Any]]:
    layers = []
    for group in ("stem", "block.0", "block.1", "block.2", "block.3", "head"):
        trains = config.trainable == "all" or group in {"block.2", "block.3", "head"}
        layers.append({
            "group": group, "modules": 14, "parameters": 7_087_872, "trainable": 7_087_872 if trains else 0,
            "status": "trains" if trains else "frozen",
            "learning_rate": config.learning_rate if trains else None,
            "norm": "learns" if trains else "fixed", "dropout": "on" if trains else "off",
        })  # fmt: skip
    return layers


def _write_fold(folder: Path, fold: dict[str, Any], rows: pd.DataFrame, shape: Shape) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    if fold["status"] == "failed":
        return
    epochs = [
        {
            "epoch": epoch, "phase": "all", "train_loss": 0.7 * 0.6**epoch + 0.01 * fold["fold"],
            "inner_loss": 0.75 * 0.7**epoch + 0.05 * epoch if shape.early_stopping else None,
            "learning_rate": 2e-5, "seconds": 3.1,
        }
        for epoch in range(1, shape.num_epochs + 1)
    ]  # fmt: skip
    (folder / "history.jsonl").write_text("".join(json.dumps(epoch) + "\n" for epoch in epochs), "utf-8")
    (folder / "scores.json").write_text(json.dumps(fold["scores"]), "utf-8")
    (folder / "done.json").write_text(
        json.dumps(fold | {"format_version": 1, "identity": "made up"}), "utf-8"
    )
    rows[(rows.repeat == fold["repeat"]) & (rows.fold == fold["fold"])].to_parquet(
        folder / "predictions.parquet"
    )

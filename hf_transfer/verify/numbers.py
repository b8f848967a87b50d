"""Every number of results.json that follows from the predictions, made again."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, fields
from typing import Any

import numpy as np
import pyarrow.compute as pc

from hf_transfer import _guard  # noqa: F401
from hf_transfer.aggregate import best_of, choice_notes, final_epochs, frozen_proof, score_part
from hf_transfer.config import RunConfig
from hf_transfer.results import FoldResult, plain
from hf_transfer.verify.check import Check, differences, judged, left_out
from hf_transfer.verify.readings import name_of
from hf_transfer.verify.record import Record


def number_checks(record: Record) -> Iterator[Check]:
    """Make scores, intervals, tables and notes again."""
    yield judged("settings", "config.yaml and results.json agree", lambda: _settings(record))
    yield judged("predictions", "each predicted class has the highest logit", lambda: _highest(record))
    yield judged("fold scores", "follow from the predictions of each fold", lambda: _folds(record))
    yield judged("scores", "means, intervals, classes and grid follow from them", lambda: _scores(record))
    yield judged("choices", "the best configuration and the notes follow from them", lambda: _choices(record))
    yield judged("frozen layers", "have one digest before and after training", lambda: _frozen(record))
    yield from _not_made_again(record)


def _settings(record: Record) -> Iterator[str]:
    path = record.folder / "config.yaml"
    if not path.is_file():
        yield "config.yaml: is not there"
        return
    chosen = {
        name: getattr(record.config, name)
        for name, tried in (("learning_rate", "learning_rates"), ("weight_decay", "weight_decays"))
        if getattr(record.config, tried)
    }
    words = "{} in results.json, {} in config.yaml"
    yield from differences(record.config.scored(), RunConfig.load(path).scored() | chosen, "config", words)


def _highest(record: Record) -> Iterator[str]:
    rows = record.predictions
    if "logits" not in rows.column_names:
        return
    logits = pc.list_flatten(rows["logits"]).to_numpy()
    highest = logits.reshape(rows.num_rows, -1).argmax(axis=1)
    wrong = np.flatnonzero(highest != rows["prediction"].to_numpy())
    for row in wrong[:5].tolist():
        named = f"predictions.parquet, row {row} (row_id {rows['row_id'][row]})"
        yield f"{named}: prediction written {rows['prediction'][row]}, highest logit {highest[row]}"


def _folds(record: Record) -> Iterator[str]:
    yield from _beside(record.results["folds"], record.found[record.best], "folds")


def _beside(written: Sequence[dict[str, Any]], again: Sequence[FoldResult], where: str) -> Iterator[str]:
    made: dict[str, Any] = {name_of((fold.repeat, fold.fold)): plain(asdict(fold)) for fold in again}
    there = {name_of((fold["repeat"], fold["fold"])): _known(fold) for fold in written}
    yield from differences(there, made, where)


def _known(fold: dict[str, Any]) -> dict[str, Any]:
    """A fold's record without what a later version may have added."""
    names = {f.name for f in fields(FoldResult)}
    return {name: value for name, value in fold.items() if name in names}


def _scores(record: Record) -> Iterator[str]:
    again = plain(score_part(record.found, record.best, record.predictions, record.scorer))
    written = {key: record.results[key] for key in again if key in record.results}
    yield from differences(written, again, "")


def _choices(record: Record) -> Iterator[str]:
    best = best_of(record.found, record.scorer)
    written, made = ([c.learning_rate, c.weight_decay] for c in (record.best, best))
    yield from differences(written, made, "the best learning_rate and weight_decay")
    notes = choice_notes(record.found, record.best, record.scorer)
    yield from (f"notes: lack {note!r}" for note in notes if note not in record.results["notes"])
    final = record.results["final"]
    if final["kind"] != "none":
        again = {"num_epochs": final_epochs(record.found[record.best]), "num_rows": len(record.split[0])}
        yield from differences({key: final[key] for key in again}, again, "final")


def _frozen(record: Record) -> Iterator[str]:
    for folds in record.found.values():
        for fold in folds:
            yield from differences(
                fold.frozen_hash_after,
                fold.frozen_hash_before,
                f"frozen layers of {name_of((fold.repeat, fold.fold))}",
                "digest {} after training, {} before",
            )
    proof = record.results["frozen_proof"]
    groups = proof["groups"] if proof else []
    yield from differences(proof, frozen_proof(groups, record.found[record.best]), "frozen_proof")


def _not_made_again(record: Record) -> Iterator[Check]:
    yield left_out("train scores", "and epochs, times and digests of the folds' weights: they need training")
    yield left_out(
        "circumstances", "base model, data, layers, hardware and versions are as the run told them"
    )
    if record.results["test"]:
        yield left_out("test scores", "predictions for test rows are not kept; they need the data")
    if record.config.metrics:
        names = ", ".join(record.config.metrics)
        yield left_out("other metrics", f"each fold's {names}: code of the Hub, which is not run here")
    others = [(c, f) for c, folds in record.entries.items() if c != record.best for f in folds]
    units = [record.unit(c, f["repeat"], f["fold"]) for c, f in others if f["status"] == "done"]
    if not all((unit / "predictions.parquet").is_file() for unit in units):
        yield left_out(
            "other configurations", "their folds' scores: the predictions behind them are not there"
        )

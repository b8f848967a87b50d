"""Recompute every number in results.json that follows from the predictions."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, fields
from typing import Any

from hf_transfer import _guard  # noqa: F401
from hf_transfer.config.run_config import RunConfig, differing
from hf_transfer.machine.files import plain
from hf_transfer.machine.wording import fold_key
from hf_transfer.runs.aggregate import (
    best_of,
    choice_notes,
    final_epochs,
    fold_notes,
    frozen_proof,
    frugal_of,
    score_part,
)
from hf_transfer.runs.results import FoldResult
from hf_transfer.runs.run_folder import read_histories
from hf_transfer.scores.convergence import judge_learning
from hf_transfer.scores.overfitting import diagnose
from hf_transfer.verify.check import Check, differences, judged, left_out, not_by_logits
from hf_transfer.verify.record import Record


def number_checks(record: Record) -> Iterator[Check]:
    """Recompute scores, intervals, tables and notes."""
    yield judged("settings", "config.yaml and results.json agree", lambda: _settings(record))
    yield judged(
        "predictions",
        "each follows from the logits of its row",
        lambda: not_by_logits(record.predictions, record.scorer, "predictions.parquet"),
    )
    yield judged("fold scores", "follow from the predictions of each fold", lambda: _folds(record))
    yield judged("scores", "means, intervals, classes and grid follow from them", lambda: _scores(record))
    yield judged("choices", "the best configuration and the notes follow from them", lambda: _choices(record))
    yield judged("frozen layers", "have one digest before and after training", lambda: _frozen(record))
    yield judged("hardware", "had a process and a thread or more", lambda: _hardware(record))
    if (record.folder / "folds").is_dir():
        yield judged("overfitting", "follows from the scores and the losses", lambda: _overfitting(record))
        yield judged("learned enough", "follows from the scores and the losses", lambda: _learned(record))
    else:
        yield left_out("overfitting", "the losses of the epochs are not published")
        yield left_out("learned enough", "the losses of the epochs are not published")
    yield from _not_made_again(record)


def _settings(record: Record) -> Iterator[str]:
    path = record.folder / "config.yaml"
    if not path.is_file():
        yield "config.yaml: is not there"
        return
    written = RunConfig.load(path).scored()
    chosen = {*differing(list(record.entries)), *record.results["choice"]["found"]}
    words = "{} in results.json, {} in config.yaml"
    made = record.config.scored()
    yield from differences(made, written | {k: made[k] for k in chosen if k in made}, "config", words)


def _folds(record: Record) -> Iterator[str]:
    yield from _beside(record.results["folds"], record.fold_results[record.best], "folds")


def _beside(written: Sequence[dict[str, Any]], again: Sequence[FoldResult], where: str) -> Iterator[str]:
    made: dict[str, Any] = {fold_key(fold.repeat, fold.fold): plain(asdict(fold)) for fold in again}
    there = {fold_key(fold["repeat"], fold["fold"]): _known(fold) for fold in written}
    yield from differences(there, made, where)


def _known(fold: dict[str, Any]) -> dict[str, Any]:
    """A fold's record without fields that a later version may have added."""
    names = {f.name for f in fields(FoldResult)}
    return {name: value for name, value in fold.items() if name in names}


def _scores(record: Record) -> Iterator[str]:
    again = plain(score_part(record.fold_results, record.best, record.predictions_of, record.scorer))
    written = {key: record.results[key] for key in again if key in record.results}
    if not _all_predictions(record):  # what needs those of every configuration
        for made, there in zip(again["grid"], written["grid"], strict=True):
            made["bbc"] = there.get("bbc")
    yield from differences(written, again, "")


def _all_predictions(record: Record) -> bool:
    return all(record.predictions_of(config) is not None for config in record.entries)


def _choices(record: Record) -> Iterator[str]:
    choice = record.results["choice"]
    found, names = record.fold_results, differing(list(record.entries))
    best = best_of(found, record.scorer)
    if choice["rule"] != "best":
        best = frugal_of(found, record.scorer, choice["costs"])
    written, made = ({name: getattr(c, name) for name in names} for c in (record.best, best))
    yield from differences(written, made, "the configuration chosen")
    notes = choice_notes(record.fold_results, record.best, record.scorer) + fold_notes(
        record.fold_results[record.best]
    )
    yield from (f"notes: lack {note!r}" for note in notes if note not in record.results["notes"])
    final = record.results["final"]
    if final["kind"] != "none":
        again = {
            "num_epochs": final_epochs(record.fold_results[record.best]),
            "num_rows": len(record.split[0]),
        }
        yield from differences({key: final[key] for key in again}, again, "final")


def _overfitting(record: Record) -> Iterator[str]:
    histories = read_histories(record.folder / record.results["folds_path"])
    again = plain(diagnose(record.results, histories))
    yield from differences(record.results["overfitting"], again, "overfitting")


def _learned(record: Record) -> Iterator[str]:
    histories = read_histories(record.folder / record.results["folds_path"])
    again = plain(judge_learning(record.results, histories, record.results["overfitting"]))
    yield from differences(record.results.get("learned", again), again, "learned")


def _frozen(record: Record) -> Iterator[str]:
    for folds in record.fold_results.values():
        for fold in folds:
            yield from differences(
                fold.frozen_hash_after,
                fold.frozen_hash_before,
                f"frozen layers of {fold_key(fold.repeat, fold.fold)}",
                "digest {} after training, {} before",
            )
    proof = record.results["frozen_proof"]
    groups = proof["groups"] if proof else []
    yield from differences(proof, frozen_proof(groups, record.fold_results[record.best]), "frozen_proof")


def _hardware(record: Record) -> Iterator[str]:
    for name in ("num_processes", "num_threads"):
        number = record.results["hardware"][name]
        if isinstance(number, bool) or not isinstance(number, int) or number < 1:
            yield f"hardware.{name}: {number!r}, where a run has a whole number from 1"


def _not_made_again(record: Record) -> Iterator[Check]:
    yield left_out("trainings", "epochs, times and digests of the folds' weights need training")
    yield left_out(
        "circumstances", "base model, data, layers, hardware and versions are as the run told them"
    )
    if record.config.metrics:
        names = ", ".join(record.config.metrics)
        yield left_out("other metrics", f"each fold's {names}: code of the Hub, which is not run here")
    if not _all_predictions(record):
        yield left_out(
            "other configurations", "their folds' scores: the predictions behind them are not there"
        )

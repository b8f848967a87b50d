"""Recompute every number in results.json that follows from the predictions."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from hf_transfer import _guard  # noqa: F401
from hf_transfer.config.run_config import RunConfig, differing
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
from hf_transfer.runs.convergence import judge_learning
from hf_transfer.runs.fold_result import Epoch, FoldResult
from hf_transfer.runs.overfitting import diagnose
from hf_transfer.runs.run_folder import read_histories
from hf_transfer.verify.check import Check, by_logits, differences, judged, left_out
from hf_transfer.verify.record import Record


def number_checks(record: Record) -> Iterator[Check]:
    """Recompute scores, intervals, tables and notes."""
    yield judged("settings", "config.yaml and results.json agree", lambda: _settings(record))
    yield by_logits("predictions", record.predictions, record.scorer, "predictions.parquet")
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
    chosen = {*differing(list(record.entries)), *record.results.choice.found}
    words = "{} in results.json, {} in config.yaml"
    made = record.config.scored()
    yield from differences(made, written | {k: made[k] for k in chosen if k in made}, "config", words)


def _folds(record: Record) -> Iterator[str]:
    yield from _beside(record.results.folds, record.fold_results[record.best], "folds")


def _beside(written: Sequence[FoldResult], again: Sequence[FoldResult], where: str) -> Iterator[str]:
    there, made = ({fold_key(fold.repeat, fold.fold): fold for fold in folds} for folds in (written, again))
    yield from differences(there, made, where)


def _scores(record: Record) -> Iterator[str]:
    again = score_part(record.fold_results, record.best, record.predictions_of, record.scorer)
    written = {key: getattr(record.results, key) for key in again}
    if not _all_predictions(record):  # what needs those of every configuration
        pairs = zip(again["grid"], written["grid"], strict=True)
        again["grid"] = [replace(made, bbc=there.bbc) for made, there in pairs]
    yield from differences(written, again, "")


def _all_predictions(record: Record) -> bool:
    return all(record.predictions_of(config) is not None for config in record.entries)


def _choices(record: Record) -> Iterator[str]:
    choice = record.results.choice
    found, names = record.fold_results, differing(list(record.entries))
    best = best_of(found, record.scorer)
    if choice.rule != "best":
        best = frugal_of(found, record.scorer, choice.costs or ())
    written, made = ({name: getattr(c, name) for name in names} for c in (record.best, best))
    yield from differences(written, made, "the configuration chosen")
    notes = choice_notes(found, record.best, record.scorer) + fold_notes(found[record.best])
    yield from (f"notes: lack {note!r}" for note in notes if note not in record.results.notes)
    final = record.results.final
    if final.kind != "none":
        epochs, num_rows = final_epochs(found[record.best]), len(record.split[0])
        again = replace(final, num_epochs=epochs, num_rows=num_rows)
        yield from differences(final, again, "final")


def _overfitting(record: Record) -> Iterator[str]:
    again = diagnose(record.results, _histories(record))
    yield from differences(record.results.overfitting, again, "overfitting")


def _learned(record: Record) -> Iterator[str]:
    histories = _histories(record)
    overfitting = record.results.overfitting or diagnose(record.results, histories)
    again = judge_learning(record.results, histories, overfitting)
    yield from differences(record.results.learned, again, "learned")


def _histories(record: Record) -> dict[str, list[Epoch]]:
    return read_histories(record.folder / record.results.folds_path)


def _frozen(record: Record) -> Iterator[str]:
    for folds in record.fold_results.values():
        for fold in folds:
            yield from differences(
                fold.frozen_hash_after,
                fold.frozen_hash_before,
                f"frozen layers of {fold_key(fold.repeat, fold.fold)}",
                "digest {} after training, {} before",
            )
    proof = record.results.frozen_proof
    groups = proof.groups if proof else []
    yield from differences(proof, frozen_proof(groups, record.fold_results[record.best]), "frozen_proof")


def _hardware(record: Record) -> Iterator[str]:
    hardware = record.results.hardware
    counts = {"num_processes": hardware.num_processes, "num_threads": hardware.num_threads}
    yield from (
        f"hardware.{name}: {number}, where a run has a whole number from 1"
        for name, number in counts.items()
        if number < 1
    )


def _not_made_again(record: Record) -> Iterator[Check]:
    yield left_out("trainings", "epochs, times and digests of the folds' weights need training")
    yield left_out(
        "circumstances", "base model, data, layers, hardware and versions are as the run told them"
    )
    if record.results.site and record.results.site.auc is not None:
        yield left_out("site", "whether features tell it: they are not among the files of a run")
    if record.results.leak and record.results.leak.tested:
        yield left_out("related rows", "whether features tell them: they are not among the files of a run")
    if record.config.metrics:
        names = ", ".join(record.config.metrics)
        yield left_out("other metrics", f"each fold's {names}: code of the Hub, which is not run here")
    if not _all_predictions(record):
        yield left_out(
            "other configurations", "their folds' scores: the predictions behind them are not there"
        )

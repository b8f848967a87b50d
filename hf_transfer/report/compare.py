"""Compare runs on the same folds: a table, and for each pair whether one is better."""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa

from hf_transfer import _guard  # noqa: F401
from hf_transfer.errors import ConfigError, TransferError
from hf_transfer.machine.files import write_json
from hf_transfer.machine.secrets import without_secrets
from hf_transfer.machine.wording import (
    aligned,
    count,
    duration,
    fold_key,
    fold_name,
    interval,
    paragraphs_html,
    plus_minus,
    table_html,
    visible,
)
from hf_transfer.report.card.card import write_card
from hf_transfer.report.words.added import source_verdict
from hf_transfer.report.words.others import compared_runs, other_run
from hf_transfer.report.words.pairs import sentence
from hf_transfer.runs.companions import COMPARE_FILE, Other
from hf_transfer.runs.paired import Pair, adjusted, pair_folds
from hf_transfer.runs.reading import damage_told, read_table
from hf_transfer.runs.records import AddedSource, Results
from hf_transfer.runs.results import read_results
from hf_transfer.runs.same_rows import KEYS, in_order, with_rows
from hf_transfer.runs.schema import to_json
from hf_transfer.runs.summary import two_intervals
from hf_transfer.scores.names import LOSS
from hf_transfer.tasks import target_of_run
from hf_transfer.tasks.targets.target import Target

_OWN_SCORES = (
    "The scores of the runs themselves are without the rows that --add_source names, whose test is above."
)
_ENOUGH_REPEATS = 5  # in simulations, these find as much as McNemar's test, and cry wolf less often


@dataclass(frozen=True)
class Run:
    """A finished run: its name, what results.json holds, and its folder."""

    name: str
    results: Results
    folder: Path

    @cached_property
    def predictions(self) -> pa.Table:
        """The out-of-fold predictions, ordered by repeat, fold and row.

        Raises:
            ConfigError: If the folder has none.
        """
        return in_order(read_table(self.folder / "predictions.parquet", KEYS))

    @property
    def target(self) -> Target:
        """What its labels are."""
        results = self.results
        return target_of_run(results.task, results.label_names, results.target, input=results.input)


@dataclass(frozen=True, repr=False)
class Comparison:
    """Several runs: their table, the tested pairs, and notes."""

    runs: tuple[Run, ...]
    pairs: tuple[Pair, ...]
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Scores, pairs and notes, as plain values."""
        pairs = [to_json(p) | {"verdict": p.verdict, "sentence": sentence(p)} for p in self.pairs]
        scores = {run.name: run.results.scores for run in self.runs}
        found = {"runs": scores, "pairs": pairs, "added_sources": self.added, "notes": self.notes}
        return to_json(found)  # type: ignore[no-any-return]

    def to_text(self) -> str:
        """The table, a sentence a pair, what added rows of other data did, and the notes."""
        parts = [map(sentence, self.pairs), self._added_words, self.notes]
        return "\n\n".join(filter(None, [aligned(_rows(self.runs)), *map("\n".join, parts)]))

    @property
    def added(self) -> dict[str, list[AddedSource]]:
        """What rows of other data did in the training parts of each run; p is adjusted for all of these."""
        tests = [(run.name, one) for run in self.runs for one in run.results.added_sources]
        found: dict[str, list[AddedSource]] = {}
        for (name, one), pair in zip(tests, adjusted([one.pair for _, one in tests]), strict=True):
            found.setdefault(name, []).append(replace(one, pair=pair, verdict=""))
        return found

    @property
    def _added_words(self) -> list[str]:
        verdicts = [
            (run.name, source_verdict(run.results, one))
            for run in self.runs
            for one in self.added.get(run.name, ())
        ]
        lines = [f"{name}: {one.question} {one.answer}. {one.words}" for name, one in verdicts]
        return [*lines, _OWN_SCORES] if lines else []

    def __repr__(self) -> str:
        return f"Comparison({' '.join(sentence(pair) for pair in self.pairs) or self.runs[0].name})"

    def _repr_html_(self) -> str:
        """What `to_text` says, for a notebook."""
        words = [*map(sentence, self.pairs), *self._added_words, *self.notes]
        return table_html(_rows(self.runs)) + paragraphs_html(words)


def compare(*runs: str | Path) -> Comparison:
    """Say which of several runs on the same folds is better; their cards are brought up to date.

    Args:
        runs: Their folders.

    Raises:
        ConfigError: If there is no run, or two were scored on other folds or by another metric.
    """
    opened = open_runs(runs)
    comparison = compare_runs(opened)
    for left in save_comparison(opened):
        print(visible(without_secrets(left)), file=sys.stderr)
    return comparison


def open_runs(folders: Sequence[str | Path]) -> tuple[Run, ...]:
    """Read finished runs; folders of the same name are told apart by their paths.

    Raises:
        ConfigError: If one holds no finished run.
    """
    names = [Path(folder).resolve().name for folder in folders]
    return tuple(
        Run(name if names.count(name) == 1 else str(folder), read_results(folder), Path(folder))
        for name, folder in zip(names, folders, strict=True)
    )


def compare_runs(runs: Sequence[Run]) -> Comparison:
    """Compare two runs, or each of several with the one of the best mean.

    Raises:
        ConfigError: If there is no run, or two were scored on other folds or by another metric.
    """
    if not runs:
        raise ConfigError("There is nothing to compare; give at least one run's folder.")
    for run in runs[1:]:
        check_comparable(runs[0], run)
    with damage_told(" and ".join(dict.fromkeys(run.name for run in runs))):
        best = max(runs, key=_merit)
        couples = [tuple(runs)] if len(runs) == 2 else [(run, best) for run in runs if run is not best]
        pairs = adjusted([compare_pair(first, second) for first, second in couples])
        return Comparison(tuple(runs), pairs, tuple(_notes(runs, pairs)))


def compare_pair(first: Run, second: Run) -> Pair:
    """Compare two runs on the same folds and rows; p-values are not yet adjusted."""
    pair = pair_folds(
        (first.name, first.results.folds),
        (second.name, second.results.folds),
        first.results.primary_metric,
        higher_is_better=first.results.sign > 0,
    )
    seed = first.results.config.seed
    return with_rows(pair, first.predictions, second.predictions, first.target, seed=seed)


def save_comparison(runs: Sequence[Run]) -> list[str]:
    """Write compare.json into each run's folder, and update its card.

    A folder that may not be written to is left as it is, and so is a card that cannot be read.

    Args:
        runs: Two or more on the same folds.

    Returns:
        A sentence for each card that was left.
    """
    left = []
    for run in runs if len(runs) > 1 else ():
        if not os.access(run.folder, os.W_OK):
            continue
        others = compared_with(run, [other for other in runs if other is not run])
        write_json(run.folder / COMPARE_FILE, to_json(compared_runs(run.results, others)))
        if (run.folder / "README.md").is_file():
            try:
                write_card(run.folder, redraw=False)
            except TransferError as error:
                left.append(f"The card of {run.name} is left as it was. {error}")
    return left


def compared_with(run: Run, others: Sequence[Run]) -> list[Other]:
    """Compare a run with each of some others, with p adjusted for their number.

    Of a path that stands for a name, the last two parts are kept: a card tells nobody's folders.
    """
    run, *others = (replace(one, name="/".join(Path(one.name).parts[-2:])) for one in (run, *others))
    pairs = adjusted([compare_pair(other, run) for other in others])
    return [other_run(other.results, pair) for other, pair in zip(others, pairs, strict=True)]


def check_comparable(first: Run, other: Run) -> None:
    """Stop if the scores of two runs cannot be compared.

    Raises:
        ConfigError: If they were scored on different folds or have different primary metrics.
    """
    ours, theirs = first.results, other.results
    if ours.folds_fingerprint != theirs.folds_fingerprint:
        raise ConfigError(
            f"Runs {first.name!r} and {other.name!r} were scored on different folds (fingerprints "
            f"{ours.folds_fingerprint!r} and {theirs.folds_fingerprint!r}), so their scores cannot be set "
            "side by side. Run one again with the other's rows, scheme, seed, num_folds and num_repeats."
        )
    if ours.primary_metric != theirs.primary_metric:
        raise ConfigError(
            f"Runs {first.name!r} and {other.name!r} have different primary metrics, "
            f"{ours.primary_metric!r} and {theirs.primary_metric!r}. Compare runs of one task."
        )


def _merit(run: Run) -> float:
    """Mean primary metric, signed so that more is better; a run without one sorts last."""
    score = run.results.headline
    return -float("inf") if score is None or score.mean is None else run.results.sign * score.mean


def _notes(runs: Sequence[Run], pairs: Sequence[Pair]) -> list[str]:
    """Notes on how the verdicts were reached, and what makes them too optimistic."""
    if not pairs:
        return []
    notes = [
        "Differences are over paired folds, with 95 % intervals and p corrected for the training rows that "
        "folds share (Nadeau and Bengio)."
    ]
    if len(pairs) > 1:
        notes.append(
            f"{count(len(pairs), 'pair')}: p is adjusted by Holm's rule, the intervals are not. The run that "
            "the others are compared with was chosen by these folds, which makes its lead somewhat too large."
        )
    if runs[0].results.num_repeats < _ENOUGH_REPEATS and any(p.verdict == "can't tell" for p in pairs):
        notes.append("Besides more rows, more repeats (num_repeats) make this test find more.")
    if any(pair.rows for pair in pairs) and runs[0].results.num_repeats > 1:
        notes.append("Rows are counted in the first repeat only.")
    for run in runs:
        if grid := run.results.grid:
            notes.append(
                f"{run.name} is the best of {len(grid)} configurations, chosen on these folds: its score is "
                "somewhat too good."
            )
    num_repeats = runs[0].results.num_repeats
    names = {
        fold_key(fold.repeat, fold.fold): fold_name(fold.repeat, fold.fold, num_repeats)
        for run in runs
        for fold in run.results.folds
    }
    for pair in pairs:
        if pair.left_out:
            without = [name for key, name in names.items() if key in pair.left_out]
            notes.append(
                f"{pair.first} and {pair.second}: only folds that both finished are used, so "
                f"without {', '.join(without)}."
            )
    return notes


def _rows(runs: Sequence[Run]) -> list[list[str]]:
    """Cells of the table of the runs, one line each, in the given order."""
    metric = runs[0].results.primary_metric
    both = any(two_intervals(run.results) for run in runs)
    bounds = ["95 % optimistic", "95 % conservative"] if both else ["95 % interval"]
    loss = [LOSS] if metric != LOSS and all(LOSS in run.results.scores for run in runs) else []
    rows = [["run", metric, *bounds, *loss, "folds", "trained", "of parameters", "time"]]
    for run in runs:
        results = run.results
        score, trainable = results.scores.get(metric), results.trainable
        ends = (score.interval, score.conservative_interval) if score else (None, None)
        cells = [plus_minus(score), *map(interval, ends[: 1 + both])]
        folds = f"{score.num_folds if score else 0} of {len(results.folds)}"
        sizes = [f"{trainable.parameters:,}", f"{trainable.total:,}"]
        losses = [plus_minus(results.scores[name]) for name in loss]
        rows.append([run.name, *cells, *losses, folds, *sizes, duration(results.hardware.seconds)])
    return rows

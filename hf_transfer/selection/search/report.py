"""A search's results, as data for search.json and as text."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from hf_transfer import _guard  # noqa: F401
from hf_transfer.machine.wording import duration, setting
from hf_transfer.report.words.verdicts import verdicts
from hf_transfer.runs.companions import read_companions
from hf_transfer.runs.results import read_results
from hf_transfer.runs.search_record import Finalist, Search, SearchCandidate, SearchRows
from hf_transfer.selection.search.climbing import Finalists
from hf_transfer.selection.search.modes import Selection
from hf_transfer.selection.search.trials import Trial
from hf_transfer.study.study import Study


@dataclass(frozen=True)
class SearchCost:
    """What a search would cost, in seconds.

    Attributes:
        mode: How it would search.
        candidates: What could be chosen.
        trials: How many trainings on few rows.
        forward_seconds: One pass over all rows.
        selection_seconds: All trials.
        judging_seconds: The real folds, when the dearest candidates are what is chosen.
        exhaustive_seconds: Every candidate at every rate under the real folds.
    """

    mode: str
    candidates: list[SearchCandidate]
    trials: int
    forward_seconds: float
    selection_seconds: float
    judging_seconds: float
    exhaustive_seconds: float


def with_selection(
    about: Search, study: Study, trials: Sequence[Trial], selection: Selection | None
) -> Search:
    """Add the evidence that a choice was made by.

    Args:
        about: What is known of the search.
        study: Of all rows.
        trials: All that were run, in order.
        selection: None when the time was up before one was made.
    """
    about = replace(
        about,
        rows=SearchRows(len(study.uids)),
        trials=[trial.record for trial in trials],
        trial_seconds=sum(trial.seconds for trial in trials),
        trial_passes=sum(trial.passes for trial in trials),
    )
    if selection is None:
        return replace(about, partial=f"The time was up after {len(trials)} trials.")
    judged = len(study.uids) - len(selection.study.aside)
    return replace(
        about,
        rows=SearchRows(len(study.uids), len(selection.rows), judged),
        finalists=[_finalists(one) for one in selection.finalists],
    )


def _finalists(found: Finalists) -> list[Finalist]:
    return [
        Finalist(
            candidate=entry.candidate.name,
            learning_rate=entry.rate,
            parameters=entry.candidate.parameters,
            losses=list(losses),
            behind=behind,
            whole=found.whole[found.survivors.index(entry)]
            if found.whole and entry in found.survivors
            else None,
            chosen=entry == found.chosen,
        )
        for entry, losses, behind in zip(found.entries, found.losses, found.behind, strict=True)
    ]


def search_text(run: str | Path, about: Search) -> str:
    """Text that `hf-transfer search` prints at the end: the answers and their evidence.

    Args:
        run: The run's folder, of which results.json and, if it is there, rank.json are read.
        about: What search.json holds.
    """
    if not about.judged:
        return "\n\n".join(about.verdicts.values())
    results = read_results(run)
    found = verdicts(results, rank=read_companions(run, results).rank, search=about)
    return "\n\n".join(
        f"{one.question} {one.answer[0].upper()}{one.answer[1:]}.\n{one.words}" for one in found
    )


def cost_text(cost: SearchCost) -> str:
    """Text that `hf-transfer search --dry_run` prints."""
    lines = [
        f"{one.name}: trainable={one.trainable}, {one.parameters:,} parameters, "
        + ("in closed form" if one.solved else f"rates {', '.join(map(setting, one.learning_rates))}")
        for one in cost.candidates
    ]
    choosing, whole = duration(cost.selection_seconds), duration(cost.exhaustive_seconds)
    return "\n".join(
        [
            *lines,
            "",
            f"mode {cost.mode}: about {cost.trials} trials in {choosing}, then the real "
            f"folds in at most {duration(cost.judging_seconds)}.",
            f"Everything under the real folds (--exhaustive) would take about {whole}; "
            f"one forward pass over all rows takes {duration(cost.forward_seconds)}.",
        ]
    )

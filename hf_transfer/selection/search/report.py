"""A search's results, as data for search.json and as text."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from hf_transfer import _guard  # noqa: F401
from hf_transfer.report.words.verdicts import verdicts
from hf_transfer.runs.companions import read_companions
from hf_transfer.runs.results import read_results
from hf_transfer.runs.search_record import Finalist, Search, SearchRows

if TYPE_CHECKING:
    from hf_transfer.selection.search.climbing import Finalists
    from hf_transfer.selection.search.modes import Selection
    from hf_transfer.selection.search.trials import Trial
    from hf_transfer.study.experiment import Experiment


def with_selection(
    about: Search, experiment: "Experiment", trials: "Sequence[Trial]", selection: "Selection | None"
) -> Search:
    """Add the evidence that a choice was made by.

    Args:
        about: What is known of the search.
        experiment: On all rows.
        trials: All that were run, in order.
        selection: None when the time was up before one was made.
    """
    about = replace(
        about,
        rows=SearchRows(len(experiment.uids)),
        trials=[trial.record for trial in trials],
        trial_seconds=sum(trial.seconds for trial in trials),
        trial_passes=sum(trial.passes for trial in trials),
    )
    if selection is None:
        return replace(about, partial=f"The time was up after {len(trials)} trials.")
    judged = selection.study.experiment.num_rows
    return replace(
        about,
        rows=SearchRows(len(experiment.uids), len(selection.rows), judged),
        finalists=[_finalists(one) for one in selection.finalists],
    )


def _finalists(found: "Finalists") -> list[Finalist]:
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

"""A search's results, as data for search.json and as text."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hf_transfer import _guard  # noqa: F401
from hf_transfer.machine.wording import duration, setting
from hf_transfer.report.words.verdicts import verdicts
from hf_transfer.runs.results import read_companions, read_results
from hf_transfer.runs.summary import is_solved

if TYPE_CHECKING:
    from hf_transfer.selection.search.climbing import Finalists
    from hf_transfer.selection.search.modes import Selection
    from hf_transfer.selection.search.trials import Trial
    from hf_transfer.study.experiment import Experiment


def describe_selection(
    experiment: "Experiment", trials: Sequence["Trial"], selection: "Selection | None"
) -> dict[str, Any]:
    """Evidence for a choice, for search.json.

    Args:
        experiment: On all rows.
        trials: All that were run, in order.
        selection: None when the time was up before one was made.
    """
    found: dict[str, Any] = {
        "rows": {"all": len(experiment.uids)},
        "trials": [_trial(trial) for trial in trials],
        "trial_seconds": sum(trial.seconds for trial in trials),
        "trial_passes": sum(trial.passes for trial in trials),
    }
    if selection is None:
        return found
    found["rows"] |= {
        "selection": len(selection.rows),
        "judged": selection.study.experiment.num_rows,
    }
    return found | {
        "finalists": [_finalists(one) for one in selection.finalists],
    }


def _trial(trial: "Trial") -> dict[str, Any]:
    return {
        "candidate": trial.entry.candidate.name,
        "learning_rate": trial.entry.rate,
        "half": trial.half,
        "loss": trial.loss,
        "passes": trial.passes,
        "seconds": trial.seconds,
    }


def _finalists(found: "Finalists") -> list[dict[str, Any]]:
    return [
        {
            "candidate": entry.candidate.name,
            "learning_rate": entry.rate,
            "parameters": entry.candidate.parameters,
            "losses": list(losses),
            "behind": behind,
            "whole": found.whole[found.survivors.index(entry)]
            if found.whole and entry in found.survivors
            else None,
            "chosen": entry == found.chosen,
        }
        for entry, losses, behind in zip(found.entries, found.losses, found.behind, strict=True)
    ]


def search_text(run: str | Path, about: dict[str, Any]) -> str:
    """Text that `hf-transfer search` prints at the end: the answers and their evidence.

    Args:
        run: The run's folder, of which results.json and, if it is there, rank.json are read.
        about: What search.json holds.
    """
    if not about.get("judged"):
        return "\n\n".join(about["verdicts"].values())
    results = read_results(run)
    found = verdicts(results, rank=read_companions(run, results).rank, search=about)
    return "\n\n".join(
        f"{one.question} {one.answer[0].upper()}{one.answer[1:]}.\n{one.words}" for one in found
    )


def cost_text(cost: dict[str, Any]) -> str:
    """Text that `hf-transfer search --dry_run` prints."""
    choosing, judging, whole = (cost[f"{part}_seconds"] for part in ("selection", "judging", "exhaustive"))
    lines = [
        f"{one['name']}: trainable={one['trainable']}, {one['parameters']:,} parameters, "
        + ("in closed form" if is_solved(one) else f"rates {', '.join(map(setting, one['learning_rates']))}")
        for one in cost["candidates"]
    ]
    return "\n".join(
        [
            *lines,
            "",
            f"mode {cost['mode']}: about {cost['trials']} trials in {duration(choosing)}, then the real "
            f"folds in at most {duration(judging)}.",
            f"Everything under the real folds (--exhaustive) would take about {duration(whole)}; "
            f"one forward pass over all rows takes {duration(cost['forward_seconds'])}.",
        ]
    )

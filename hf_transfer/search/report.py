"""What a search found, as data for search.json and as sentences."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hf_transfer import _guard  # noqa: F401
from hf_transfer.results import read_results
from hf_transfer.search.climbing import Finalists
from hf_transfer.search.modes import Selection
from hf_transfer.search.trials import Trial
from hf_transfer.study import Study
from hf_transfer.verdicts import verdicts as answers


def describe_selection(study: Study, trials: Sequence[Trial], selection: Selection | None) -> dict[str, Any]:
    """The evidence that a choice was made by.

    Args:
        study: Of all rows.
        trials: All that were run, in order.
        selection: None when the time was up before one was made.
    """
    found: dict[str, Any] = {
        "rows": {"all": len(study.uids)},
        "trials": [_trial(trial) for trial in trials],
        "trial_seconds": sum(trial.seconds for trial in trials),
        "trial_passes": sum(trial.passes for trial in trials),
    }
    if selection is None:
        return found
    found["rows"] |= {
        "selection": len(selection.rows),
        "judged": len(study.uids) - len(selection.study.aside),
    }
    return found | {
        "finalists": [_finalists(one) for one in selection.finalists],
        "agreement": selection.agreement,
    }


def _trial(trial: Trial) -> dict[str, Any]:
    return {
        "candidate": trial.entry.candidate.name,
        "learning_rate": trial.entry.rate,
        "half": trial.half,
        "loss": trial.loss,
        "passes": trial.passes,
        "seconds": trial.seconds,
    }


def _finalists(found: Finalists) -> list[dict[str, Any]]:
    return [
        {
            "candidate": entry.candidate.name,
            "learning_rate": entry.rate,
            "parameters": entry.candidate.parameters,
            "losses": list(losses),
            "behind": behind,
            "chosen": entry == found.chosen,
        }
        for entry, losses, behind in zip(found.entries, found.losses, found.behind, strict=True)
    ]


def verdicts(about: dict[str, Any]) -> dict[str, str]:
    """The answers in words: which layers, which rate.

    Args:
        about: What search.json holds.
    """
    judged = about.get("judged")
    if judged is None:
        return {"layers": _unjudged(about), "rate": "Can't tell: nothing was scored by the real folds."}
    return {"layers": _layers(about, judged), "rate": _rate(about, judged)}


def _unjudged(about: dict[str, Any]) -> str:
    reason = about.get("partial", "Nothing was scored by the real folds.")
    if not about.get("finalists"):
        best = min(about.get("trials") or [{"loss": None}], key=_loss)
        if best["loss"] is None:
            return f"Can't tell. {reason}"
        where = (
            f"{best['candidate']} at {best['learning_rate']:g} had the lowest loss so far, {best['loss']:.3f}"
        )
        return f"Can't tell yet. {reason} {where[0].upper()}{where[1:]}, on half of the rows to choose by."
    chosen = next(one for one in about["finalists"][0] if one["chosen"])
    return (
        f"By trials on few rows alone, train {chosen['candidate']} at {chosen['learning_rate']:g}. {reason} "
        "The choice has no honest score yet."
    )


def _loss(trial: dict[str, Any]) -> float:
    return float("inf") if trial["loss"] is None else float(trial["loss"])


def _layers(about: dict[str, Any], judged: dict[str, Any]) -> str:
    score, share = judged["score"], 100 * judged["parameters"] / judged["total"]
    low, high = score["interval"] or (None, None)
    between = f" ({low:.3f} to {high:.3f})" if low is not None else ""
    first = (
        f"Train {_name(about, judged['trainable'])} (trainable={judged['trainable']}): {share:.1f} % of the "
        f"parameters, {judged['metric']} {score['mean']:.3f}{between} by the folds."
    )
    return " ".join([first, *_others(judged), _by_which_rows(about)])


def _others(judged: dict[str, Any]) -> list[str]:
    """How the chosen one stands to what was judged beside it."""
    metric, found = judged["metric"], []
    chosen = next(one for one in judged["tried"] if _is_chosen(one, judged))
    others = [one for one in judged["tried"] if not _is_chosen(one, judged)]
    for other in sorted(others, key=lambda one: -(one["scores"][metric]["mean"] or 0))[:1]:
        mine, theirs = chosen["scores"][metric]["mean"], other["scores"][metric]["mean"]
        if mine is None or theirs is None:
            continue
        what = f"trainable={other['trainable']} at {other['learning_rate']:g} reached {theirs:.3f}"
        if theirs > mine:
            found.append(f"{what}, not more than one standard error above it with more to train.")
        else:
            found.append(f"The next, {what}.")
    return found


def _is_chosen(entry: dict[str, Any], judged: dict[str, Any]) -> bool:
    return all(entry[name] == judged[name] for name in ("trainable", "learning_rate"))


def _by_which_rows(about: dict[str, Any]) -> str:
    mode, rows, judged = about["mode"], about.get("rows", {}), about["judged"]
    if mode == "design-slice":
        last = " but that between the last two" if len(judged["tried"]) > 1 else ""
        return (
            f"It was chosen by {rows['selection']:,} rows that are in no fold, and scored by the other "
            f"{judged['num_rows']:,}: the score owes nothing to the choice{last}."
        )
    if mode == "nested":
        return (
            "Each fold chose anew within its own training rows "
            f"({100 * about['agreement']:.0f} % of the folds chose this), so that the score is that of "
            "choosing and training together."
        )
    if mode == "shared":
        return (
            "It was chosen by the first fold's training rows, which the other folds hold out: the score is "
            "somewhat too good."
        )
    tried = len(judged["tried"])
    return f"It is the best of {tried} on the same folds: its score is somewhat too good."


def _rate(about: dict[str, Any], judged: dict[str, Any]) -> str:
    rate, name = judged["learning_rate"], _name(about, judged["trainable"])
    tried = next(
        one["learning_rates"] for one in about["candidates"] if one["trainable"] == judged["trainable"]
    )
    words = f"Peak learning rate {rate:g} for {name}, of {', '.join(f'{value:g}' for value in tried)}."
    if len(tried) > 1 and rate in (min(tried), max(tried)):
        side, beyond = ("lowest", "lower") if rate == min(tried) else ("highest", "higher")
        words += f" It is the {side} that was tried, so a {beyond} one may be better: give --learning_rates."
    return words


def _name(about: dict[str, Any], trainable: str) -> str:
    return str(next(one["name"] for one in about["candidates"] if one["trainable"] == trainable))


def search_text(run: str | Path, about: dict[str, Any]) -> str:
    """What `hf-transfer search` prints at its end: the answers, each with what is behind it.

    Args:
        run: The run's folder, of which results.json and rank.json are read if they are there.
        about: What search.json holds.
    """
    if not about.get("judged"):
        return "\n\n".join(about["verdicts"].values())
    rank = Path(run) / "rank.json"
    ranked = json.loads(rank.read_text(encoding="utf-8")) if rank.is_file() else None
    found = answers(read_results(run), rank=ranked, search=about)
    return "\n\n".join(
        f"{one.question} {one.answer[0].upper()}{one.answer[1:]}.\n{one.words}" for one in found
    )


def cost_text(cost: dict[str, Any]) -> str:
    """What `hf-transfer search --dry_run` prints."""
    choosing, judging, whole = (cost[f"{part}_seconds"] for part in ("selection", "judging", "exhaustive"))
    lines = [
        f"{one['name']}: trainable={one['trainable']}, {one['parameters']:,} parameters, rates "
        + ", ".join(f"{rate:g}" for rate in one["learning_rates"])
        for one in cost["candidates"]
    ]
    return "\n".join(
        [
            *lines,
            "",
            f"mode {cost['mode']}: about {cost['trials']} trials in {_minutes(choosing)}, then the real "
            f"folds in at most {_minutes(judging)}.",
            f"Everything under the real folds (--exhaustive) would take about {_minutes(whole)}; "
            f"one forward pass over all rows takes {_minutes(cost['forward_seconds'])}.",
        ]
    )


def _minutes(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"

"""A ranking in words, for a terminal."""

from typing import TYPE_CHECKING

from hf_transfer import _guard  # noqa: F401
from hf_transfer.machine.wording import aligned, number
from hf_transfer.selection.rank.candidate import Candidate, Layer, Scored
from hf_transfer.selection.rank.verdicts import LEVEL, Comparison

if TYPE_CHECKING:
    from hf_transfer.selection.rank.ranking import Ranking

MEASURES = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy, as one class has over 70 % of the rows",
    "r_squared": "R², the share of the labels' variance that is explained",
    "f1_micro": "F1 over all labels together",
    "f1_words": "F1 over the words that are part of a mention or are taken for one",
}

TRUST = (
    "How far to trust this order: it scores frozen features, and fine-tuning can change it. By the numbers "
    "of Shao et al. (ECCV 2022), a network's accuracy on ImageNet alone orders fine-tuned networks better "
    "than LogME and most scores like it. So drop the hopeless by this order, and fine-tune the rest."
)

_COLUMNS = ("model", "score", "95 % interval", "k-NN", "LogME gain", "H-score", "last layer")
_REST = ("best layer", "p", "parameters")


def ranking_text(ranking: "Ranking") -> str:
    """Write the table, the controls, a verdict for each candidate, and what the order is worth."""
    parts = [_title(ranking), _table(ranking), _controls(ranking)]
    parts += [f"{place}. {verdict(ranking, c)}" for place, c in enumerate(ranking.candidates, 1)]
    if ranking.notes:
        parts.append("\n".join(["Notes", *(f"  {note}" for note in ranking.notes)]))
    return "\n\n".join([*parts, TRUST])


def _title(ranking: "Ranking") -> str:
    benchmark, plan = ranking.benchmark, ranking.benchmark.plans[0]
    words = f"{len(benchmark.labels):,} words of " if benchmark.data.target.per_word else ""
    rows = f"{words}{len(benchmark.rows):,} {benchmark.data.input.nouns}"
    repeats = f" in {len(benchmark.plans)} repeats" if len(benchmark.plans) > 1 else ""
    labels = "numbers" if benchmark.data.target.scales else f"{len(benchmark.data.label_names)} labels"
    return (
        f"{benchmark.data.name}, split {benchmark.data.split}: {rows}, {labels}, "
        f"{plan.num_folds} {plan.scheme} folds{repeats}\n"
        f"Score: {MEASURES[benchmark.measure.name]},\n"
        "  of a linear model on the frozen layer that each fold's training part picks. k-NN, LogME gain and "
        "H-score are those of the best layer.\n"
        "Intervals of 95 %, corrected for shared training rows. Each p is adjusted for the number of models, "
        "and against a control one-sided."
    )


def _table(ranking: "Ranking") -> str:
    layers = (layer for candidate in ranking.candidates for layer in candidate.layers)
    poolings = sorted(
        {layer.pooling for layer in layers if layer.pooling}, key=lambda name: (name == "mean", name)
    )
    pooled = [f"last by {name}" for name in poolings]
    columns = [*_COLUMNS, *pooled, *_REST, *["prior"] * bool(ranking.priors)]
    rows = []
    for candidate in ranking.candidates:
        best = candidate.best
        by_pooling = [candidate.last_by(name) for name in poolings]  # of the last layer that gives tokens
        cells = [
            candidate.name, number(candidate.score.mean), _interval(candidate.score), number(best.knn),
            number(best.log_me_gain), number(best.h_score, 2), number(candidate.last.ridge.mean),
            *("-" if layer is None else number(layer.ridge.mean) for layer in by_pooling), _layer(best),
            number(candidate.shuffled.p) if candidate.shuffled else "-", _millions(candidate.num_parameters),
        ]  # fmt: skip
        prior = ranking.priors.get(candidate.name)
        rows.append([*cells, "-" if prior is None else f"{prior:g}"] if ranking.priors else cells)
    return aligned([columns, *rows])


def _controls(ranking: "Ranking") -> str:
    rows = [[f"simple model: {ranking.benchmark.data.input.simple_model}", *_both(ranking.baseline)]]
    rows += [[arm.name, *_both(arm.score)] for arm in ranking.scratch.values()]
    shuffled = [c.shuffled.shuffled.mean() for c in ranking.candidates if c.shuffled is not None]
    if shuffled:
        rows.append(["shuffled labels, the highest mean of a model", number(float(max(shuffled))), ""])
    rows.append(["one answer for all rows", number(ranking.constant), ""])
    leaking = [c.name for c in ranking.candidates if ranking.leaks(c)]
    text = aligned([["controls", "score", "95 % interval"], *rows])
    if leaking:
        text += (
            f"\n\nLEAK: shuffled labels score above chance with {', '.join(leaking)}. Something of the "
            "held-out rows is known to the models; trust no score here until it is found."
        )
    return text


def verdict(ranking: "Ranking", candidate: Candidate) -> str:
    """Write what was found for one candidate, the comparison behind each sentence with it."""
    scratch = ranking.against_scratch.get(candidate.name)
    baseline = ranking.against_baseline[candidate.name]
    below = ranking.against_next.get(candidate.name)
    lines = [f"{candidate.name}: {conclusion(ranking, candidate)}"]
    if scratch is None:
        lines.append("It has random weights only, so there is no pretraining to judge.")
    else:
        lines.append(f"{_PRETRAINING[scratch.verdict]} {_behind(scratch)}.")
    lines.append(f"{_BASELINE[baseline.verdict]} {_behind(baseline)}.")
    if below is not None:
        lines.append(f"{_NEXT[below.verdict]} {below.other}: {_difference(below)}.")
    lines.append(_depth(ranking, candidate))
    return "\n   ".join(lines)


_PRETRAINING = {
    "better": "Its pretraining helps:",
    "worse": "Its pretraining does harm (negative transfer):",
    "can't tell": "Whether its pretraining helps can't be told with this much data:",
}
_BASELINE = {
    "better": "Better than the simple model:",
    "worse": "Worse than the simple model:",
    "can't tell": "Better or worse than the simple model? Can't tell with this much data:",
}
_NEXT = {
    "better": "Better than the next,",
    "worse": "Worse than the next,",
    "can't tell": "Can't tell with this much data whether it is better than the next,",
}


def conclusion(ranking: "Ranking", candidate: Candidate) -> str:
    """Answer in a few words: is this model a good start?"""
    scratch = ranking.against_scratch.get(candidate.name)
    baseline = ranking.against_baseline[candidate.name].verdict
    if ranking.leaks(candidate):
        return "no verdict, as there is a leak."
    if _is_nothing(candidate):
        return "nothing found: its features tell shuffled labels as well."
    if scratch is not None and scratch.verdict == "worse":
        return "a bad start: the same network does better without its pretraining."
    if baseline == "worse":
        return "frozen, no better start than no network at all: the simple model beats it."
    if baseline == "better" and (scratch is None or scratch.verdict == "better"):
        return "a good start." if scratch else "better than the simple model, though it is not pretrained."
    if scratch is not None and scratch.verdict == "better":
        return "better than random weights, but not clearly than the simple model."
    return "can't tell with this much data."


def _is_nothing(candidate: Candidate) -> bool:
    return candidate.shuffled is not None and candidate.shuffled.p > LEVEL


def _behind(found: Comparison) -> str:
    return f"{_difference(found)} against {found.other}"


def _difference(found: Comparison) -> str:
    low, high = found.interval
    p = min(found.p_better, found.p_worse)
    shown = "p undefined" if p != p else "p below 0.001" if p < 0.001 else f"p {p:.3f}"
    return f"{found.difference:+.3f} ({low:+.3f} to {high:+.3f}, {shown})"


def _depth(ranking: "Ranking", candidate: Candidate) -> str:
    best, last = candidate.best, candidate.last
    if _is_nothing(candidate):
        return f"So no layer is better than another; its last is {last.title} ({number(last.ridge.mean)})."
    if candidate.over_specialised(ranking.benchmark.num_folds):
        return (
            f"Over-specialised top: the last layer, {last.title}, scores {number(last.ridge.mean)}, and "
            f"{best.title} {number(best.ridge.mean)}, more than a standard error above. Try --reinit_top."
            if candidate.name in ranking.scratch
            else f"Best at {best.title} ({number(best.ridge.mean)}); the last layer, {last.title} "
            f"({number(last.ridge.mean)}), is worse by more than a standard error."
        )
    if best is last:
        return f"Its last layer, {last.title}, is its best."
    return (
        f"Best at {best.title} ({number(best.ridge.mean)}); the last layer, {last.title} "
        f"({number(last.ridge.mean)}), is within a standard error of it."
    )


def _interval(score: Scored) -> str:
    low, high = score.interval
    return f"{number(low)} to {number(high)}"


def _both(score: Scored) -> list[str]:
    return [number(score.mean), _interval(score)]


def _layer(layer: Layer) -> str:
    return f"{number(layer.ridge.mean)} {layer.title}"


def _millions(parameters: int) -> str:
    return f"{parameters / 1e6:.2f} M"

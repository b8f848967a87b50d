"""Answer the questions about a run: each answer in a few words, with its evidence in sentences.

A card and a report show the same. "Can't tell" and "not measured" are answers too.
"""

from collections.abc import Sequence

from hf_transfer import _guard  # noqa: F401
from hf_transfer.config.setting import AUTO
from hf_transfer.machine.wording import count, interval, number, probability, setting
from hf_transfer.report.words.added import added
from hf_transfer.report.words.others import SAME_BUDGET
from hf_transfer.report.words.pairs import graded, sentence
from hf_transfer.report.words.search import search_answers
from hf_transfer.report.words.verdict import Verdict
from hf_transfer.report.words.wise import averaged
from hf_transfer.report.words.zero_shot import zero_shot_answer
from hf_transfer.runs.commonest import commonest_share, without_skill
from hf_transfer.runs.companions import Other
from hf_transfer.runs.convergence import judge_learning
from hf_transfer.runs.final_record import Final
from hf_transfer.runs.findings import Overfitting
from hf_transfer.runs.leak_words import price_answer, price_words, related_words
from hf_transfer.runs.learned import learned_words
from hf_transfer.runs.overfitting import diagnose
from hf_transfer.runs.paired import LEVEL
from hf_transfer.runs.rank_record import RankRecord
from hf_transfer.runs.records import Results, Tried
from hf_transfer.runs.search_record import Search
from hf_transfer.runs.summary import configuration_name
from hf_transfer.scores.names import LOSS
from hf_transfer.tasks import metric_name

_MOST_NAMED = 6  # configurations in one sentence
_ANSWERS = {
    "overfits": "yes", "stopped in time": "not as it was stopped", "gap": "not shown",
    "no sign": "no sign of it", "unknown": "can't tell",
}  # fmt: skip


def verdicts(
    results: Results,
    *,
    overfitting: Overfitting | None = None,
    against: Sequence[Other] = (),
    rank: RankRecord | None = None,
    search: Search | None = None,
) -> list[Verdict]:
    """Answer every question that a run has the data for; for the others, say what would answer them.

    Args:
        results: What results.json holds.
        overfitting: What `diagnose` found; when not given, what results.json says of it.
        against: Other runs on the same folds.
        rank: What rank.json holds, if models were ranked on these rows.
        search: What search.json holds, if layers and rate were searched for.
    """
    found = overfitting or results.overfitting or diagnose(results, {})
    return [
        good_start(results, against, rank),
        *worth_it(results),
        *averaged(results),
        *added(results),
        *_others(results, against),
        *(searched(search) if search else [settings(results)]),
        learned(results, found),
        overfits(results, found),
        *leaks(results),
        published(results),
    ]


def good_start(results: Results, against: Sequence[Other] = (), rank: RankRecord | None = None) -> Verdict:
    """Say whether starting from the pretrained weights was better than starting from random ones."""
    question = "Is the pretrained model a good start?"
    if results.from_scratch:
        return Verdict(
            "good-start",
            question,
            "not asked",
            f"This run started from random weights. {_chance(results)}".strip(),
        )
    controls = [other for other in against if _is_control(results, other)]
    ranked = _ranked(results, rank)
    frozen = [ranked[1]] if ranked else []
    if controls:
        control = controls[0]
        words = [
            f"{control.name} started from random weights.",
            sentence(control.pair),
            _other_settings(results, control),
            *frozen,
        ]
        answer = graded(control.pair, worse="no, it harms", same="it changes nothing")
        return Verdict("good-start", question, answer, " ".join(filter(None, words)))
    if ranked:
        return Verdict(
            "good-start", question, ranked[0], " ".join(filter(None, [ranked[1], _chance(results)]))
        )
    how = (
        "No run from random weights on the same folds was set beside it: train one with from_scratch, "
        "and see hf-transfer compare RUN OTHER."
    )
    return Verdict("good-start", question, "not measured", f"{_chance(results)} {how}".strip())


def worth_it(results: Results) -> list[Verdict]:
    """Say whether training was better than the names of the classes alone, if a model judged by these."""
    if results.zero_shot is None:
        return []
    answer, words = zero_shot_answer(results, results.zero_shot)
    return [Verdict("worth-it", "Is fine-tuning worth it?", answer, words)]


def _ranked(results: Results, rank: RankRecord | None) -> tuple[str, str] | None:
    """Answer from a ranking of frozen features on the same rows; None if it lacks random weights."""
    if not rank or rank.dataset.fingerprint != results.dataset.fingerprint:
        return None
    candidates = (one for one in rank.candidates if one.base_model == results.base_model)
    ranked = next(candidates, None)
    if ranked is None or not ranked.against.scratch:
        return None
    if ranked.shuffled and ranked.shuffled.leak:
        return "can't tell", "In the ranking, shuffled labels score above chance: something leaks."
    scratch, parts = ranked.against.scratch, []
    for one in filter(None, (scratch, ranked.against.baseline)):
        p = min((p for p in (one.p_better, one.p_worse) if p is not None), default=None)
        low, high = map(number, one.interval)
        parts.append(f"against {one.other} {one.difference:+.3f} ({low} to {high}, p {probability(p)})")
    answer = {"better": "yes", "worse": "no, it harms"}.get(scratch.verdict, "can't tell")
    measure = metric_name(rank.measure)
    return answer, f"By {measure} of its frozen features: {'; '.join(parts)}."


def searched(search: Search) -> list[Verdict]:
    """Which layers and which learning rate a search chose."""
    answers = search_answers(search)
    return [
        Verdict("which-layers", "Which layers should learn?", answers.layers.answer, answers.layers.words),
        Verdict("which-rate", "At which learning rate?", answers.rate.answer, answers.rate.words),
    ]


def settings(results: Results) -> Verdict:
    """Say which configuration of a grid is best, and which ones are statistically tied with it."""
    question, grid, metric = "Which layers, which learning rate?", results.grid, results.primary_metric
    spec = f"trainable={results.trainable.spec}"
    if not grid:
        rate = f"with learning_rate={setting(results.config.learning_rate)}"
        how = "in closed form" if results.config.solved else rate
        return Verdict("which-settings", question, "not measured", f"Only {spec} {how} was tried.")
    best = next(entry for entry in grid if entry.best)
    others = [entry for entry in grid if entry is not best]
    worse = [entry for entry in others if _is_worse(entry)]
    level = [entry for entry in others if not _is_worse(entry)]
    score = f"{number(best.scores[metric].mean)} {metric_name(metric, results.task)}"
    words = [
        f"{configuration_name(best, grid)} has the best mean of {len(grid)}, {score}, chosen on these folds."
    ]
    if any((entry.behind or 0.0) < 0 for entry in others):
        words = [
            f"{configuration_name(best, grid)} has the lowest {metric_name(LOSS)} of those of {len(grid)} "
            f"that are not more than one standard error behind the best mean: {score}, chosen on these folds."
        ]
    if results.choice.rule != "best":
        words = [
            f"{configuration_name(best, grid)} has the fewest trained parameters of those of {len(grid)} "
            f"that are not more than one standard error behind the best mean: {score}, chosen on these folds."
        ]
    if best.bbc is not None:
        words.append(f"Corrected for the choice, that is {number(best.bbc)}.")
    if worse:
        words.append(f"Worse than it: {_listed(worse, grid)}.")
    if level:
        words.append(f"Can't be told from it with this much data: {_listed(level, grid)}.")
    one_choice = len({entry.settings.get("trainable") for entry in grid}) == 1
    words += [_edge(best, grid), f"Of the layers, only {spec} was tried." if one_choice else ""]
    answer = f"can't tell {len(level) + 1} of {len(grid)} apart" if level else configuration_name(best, grid)
    return Verdict("which-settings", question, answer, " ".join(filter(None, words)))


def learned(results: Results, overfitting: Overfitting) -> Verdict:
    """Say whether the run was trained for long enough, and if not, which setting to raise."""
    judged = results.learned or judge_learning(results, {}, overfitting)
    return Verdict("learned-enough", "Has it learned enough?", judged.answer, learned_words(results, judged))


def overfits(results: Results, found: Overfitting) -> Verdict:
    """Say whether a run overfits; a gap between training and held-out rows alone is not it."""
    words = [_turned(found), _above_chance(found), _won(results, found), _gaps(results, found)]
    # The classes that are chosen may still be as right as they would be with less training.
    turned = found.turn is not None and found.turn.turned
    only_odds = found.above_chance and not (turned or found.more_frozen)
    answer = "yes, in its probabilities" if only_odds else _ANSWERS[found.verdict]
    return Verdict("overfits", "Does it overfit?", answer, " ".join(filter(None, words)))


def leaks(results: Results) -> list[Verdict]:
    """Say what random folds would have said, or whether the folds part rows that belong together."""
    leak = results.leak
    if leak is None:
        return []
    if leak.kept is not None:
        if (price := leak.price) is None:
            return []
        said = price_words(leak, price)
        return [Verdict("random-folds", "What would random folds have said?", price_answer(price), said)]
    paid = leak.price is not None and leak.price.is_paid
    small = leak.price is not None and leak.price.is_small
    answer = "yes" if paid else "yes, at no measurable cost" if small else "yes, at a cost that can't be told"
    if leak.found is None:
        answer = "no sign of it"
    question = "Do the folds part rows that belong together?"
    return [Verdict("related-rows", question, answer, related_words(leak))]


def published(results: Results) -> Verdict:
    """Say how the published weights were made, and how they score on rows of their own."""
    question, final, metric = "What is published?", results.final, results.primary_metric
    if final.kind == "none":
        return Verdict("published", question, "no weights", "The scores are those of the procedure.")
    parts = f"{results.num_folds - 1} of {results.num_folds} parts of the rows"
    words = [f"{_made(final)} The scores are those of the procedure on {parts}."]
    name = metric_name(metric, results.task)
    tested = results.test.scores.get(metric) if results.test else None
    if sealed := final.sealed:
        value = number(sealed.scores.get(metric))
        words.append(f"On {count(sealed.num_rows, 'row')} sealed before the split they reach {value} {name}.")
    elif tested is None:
        words.append("No rows are left to score these weights on.")
    if results.test and tested is not None:
        rows = count(results.test.num_rows, "row")
        words.append(f"On {rows} kept apart they reach {number(tested)} {name}.")
    return Verdict("published", question, f"{final.kind} weights", " ".join(words))


def _made(final: Final) -> str:
    """Say how the published weights were made."""
    if final.kind == "refit":
        rows, penalty = f"{final.num_rows:,} rows", final.weight_decay
        how = count(final.num_epochs or 0, "epoch") if penalty is None else f"weight_decay {setting(penalty)}"
        if final.wise:
            how += f", averaged with the start (share of the fine-tuned weights: {final.wise.share:g})"
        return f"The weights in model/ were trained once more, by the same procedure, on all {rows} ({how})."
    members = count(len(final.members or ()), "fold")
    if final.kind == "ensemble":
        return f"model/ holds the models of {members}, whose probabilities are averaged."
    return f"The weights in model/ are the mean of those of the models of {members}."


def _others(results: Results, against: Sequence[Other]) -> list[Verdict]:
    """Compare the run with every other run but the one from random weights."""
    return [
        Verdict(
            "better-than-another",
            f"Is it better than {one.name}?",
            graded(one.pair, worse="no, worse"),
            sentence(one.pair),
        )
        for one in against
        if not _is_control(results, one)
    ]


def _is_control(results: Results, other: Other) -> bool:
    return other.from_scratch and not results.from_scratch


def _other_settings(results: Results, control: Other) -> str:
    """Name the other settings in which the control differs, as the comparison then mixes causes.

    What a head in closed form leaves open is no setting of it: that it was solved says enough.
    """
    mine, theirs = results.config, control.settings
    pairs = {name: (theirs.get(name), getattr(mine, name)) for name in SAME_BUDGET}
    differ = [name for name, pair in pairs.items() if pair[0] != pair[1] and AUTO not in pair]
    if not differ:
        return ""
    listed = ", ".join(
        f"{name} ({setting(pairs[name][0])} there, {setting(pairs[name][1])} here)" for name in differ
    )
    return f"The two also differ in {listed}, so this is not the start alone."


def _chance(results: Results) -> str:
    """Compare the score with that of an answer that never looks at the input."""
    share, score = commonest_share(results), results.scores.get("accuracy")
    if share is None or not score or score.mean is None:
        blind = without_skill(results)
        return f"The run's {blind}." if blind else ""
    within = f" (95 % interval {interval(score.interval)})" if score.interval else ""
    return (
        f"Always giving the commonest class would reach {number(share)} accuracy; the run reaches "
        f"{number(score.mean)}{within}."
    )


def _is_worse(entry: Tried) -> bool:
    """Whether a configuration is significantly worse than the best, by its adjusted p-value."""
    p = entry.p_holm
    return p is not None and p < LEVEL


def _listed(entries: Sequence[Tried], grid: Sequence[Tried]) -> str:
    """List configurations of a grid, and how far each is behind the best."""
    named = []
    for entry in entries[:_MOST_NAMED]:
        behind, p = entry.behind, entry.p_holm
        tested = "" if p is None else f", p {probability(p)}"
        by = "" if behind is None else f" (by {number(behind)}{tested})"
        named.append(f"{configuration_name(entry, grid)}{by}")
    more = f"; and {len(entries) - _MOST_NAMED} more" if len(entries) > _MOST_NAMED else ""
    return "; ".join(named) + more


def _edge(best: Tried, grid: Sequence[Tried]) -> str:
    """Warn when the best learning rate is the lowest or the highest of those tried."""
    rates = sorted({entry.learning_rate for entry in grid if not entry.solved})
    if len(rates) < 2 or best.solved or rates[0] < best.learning_rate < rates[-1]:
        return ""
    side = "highest" if best.learning_rate == rates[-1] else "lowest"
    beyond = side.replace("est", "er")
    return f"Its learning rate is the {side} that was tried, so a {beyond} one may do better."


def _turned(found: Overfitting) -> str:
    """Say whether the loss on inner splits rose before training ended."""
    turn = found.turn
    if not turn:
        return ""
    if not turn.turned or turn.interval is None:
        return "The loss on inner splits does not rise by more than its noise while training goes on."
    low, high = turn.interval
    rise = (
        f"After epoch {turn.epoch} the loss on inner splits rises by {number(turn.rise)} "
        f"({number(low)} to {number(high)}) while that on training rows falls by {number(turn.train_fall)}"
    )
    kept = found.verdict == "stopped in time"
    return f"{rise}: more training would overfit. " + (
        "Each fold kept the weights of its best epoch."
        if kept
        else "The weights after the last epoch were kept."
    )


def _won(results: Results, found: Overfitting) -> str:
    """Say whether a configuration with more frozen layers scored better."""
    winner = found.more_frozen
    if not winner:
        return ""
    metric = metric_name(found.metric, results.task)
    return (
        f"{winner.name} trains fewer parameters on the same folds and is better by "
        f"{number(winner.ahead)} {metric}, more than one corrected standard error "
        f"({number(winner.error)})."
    )


def _above_chance(found: Overfitting) -> str:
    """Say whether the held-out log loss is worse than that of a constant prediction."""
    above = found.above_chance
    if not above:
        return ""
    low, high = above.interval
    return (
        f"The log loss on held-out rows is {number(above.mean)} ({number(low)} to {number(high)}) above "
        f"{number(above.chance)}, that of giving every row the shares of the classes, while on training "
        "rows it fell below: what was learned makes the probabilities of new rows worse than none."
    )


def _gaps(results: Results, found: Overfitting) -> str:
    """Say by how much the scores on training rows exceed those on held-out rows."""
    if not found.gaps:
        return "No fold was scored on training rows, so there is nothing to tell it from."
    parts = []
    for name, gap in found.gaps.items():
        up = results.higher_is_better.get(name, True)
        low, high = gap.interval or (None, None)
        ends = "" if low is None else f" ({number(low)} to {number(high)})"
        called = metric_name(name, results.task) + ("" if up else " (lower is better)")
        parts.append(
            f"{called} is {number(gap.train)} on training rows and {number(gap.valid)} on held-out "
            f"rows, a gap of {number(gap.mean)}{ends}"
        )
    gaps = "; ".join(parts)
    tail = {"gap": ", which by itself is not overfitting", "no sign": ", which may be nothing"}
    tail["unknown"] = ": more than nothing, but folds so few and so far apart can't show it"
    return f"{gaps[0].upper()}{gaps[1:]}{tail.get(found.verdict, '')}."

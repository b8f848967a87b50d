"""Say whether a run was trained for long enough, and which setting to raise if not. No torch."""

from hf_transfer import _guard  # noqa: F401
from hf_transfer.machine.wording import number, setting
from hf_transfer.runs.commonest import commonest_share, without_skill
from hf_transfer.runs.convergence import MOVED
from hf_transfer.runs.findings import Learned
from hf_transfer.runs.records import Results
from hf_transfer.tasks import metric_name

_HEAD_RATE = 1e-2  # of a head on frozen features, with Adam: in a few epochs it gets to where a solver does
_TIMES = 3  # as much, where nothing better is known
_FEW_EPOCHS = 10


def learned_words(results: Results, found: Learned) -> str:
    """Say what speaks for and against more training, and if it is needed how to get it."""
    words = [
        _solved(results, found),
        _probe(results, found),
        _inner(found),
        _loss(found),
        _advice(results) if found.answer == "no" else "",
        _unskilled(results, found),
    ]
    return " ".join(filter(None, words)) or "No epoch's loss was kept, and no closed form to compare with."


def _solved(results: Results, found: Learned) -> str:
    if found.solved is None:
        return ""
    solver = results.config.head_solver
    words = f"By construction: head_solver={solver} gave the head its optimum on the training rows."
    if blind := without_skill(results):
        return f"{words} Its {blind}: let more layers learn."
    share, score = commonest_share(results), results.scores.get("accuracy")
    mean = score.mean if score else None
    if share is None or mean is None or mean > share:
        return words
    return (
        f"{words} Its accuracy of {number(mean)} is no more than always giving the commonest class has "
        f"({number(share)}), so that these features do not tell the classes apart: let more layers learn."
    )


def _unskilled(results: Results, found: Learned) -> str:
    """Why it can't be told of a run that learned nothing that held-out rows have."""
    blind = without_skill(results) if found.answer == "can't tell" else None
    return (
        f"Its {blind}: more training, more layers or another base model may be what it lacks."
        if blind
        else ""
    )


def _probe(results: Results, found: Learned) -> str:
    """Set the run beside what is reached in closed form on the same features."""
    probe = found.probe
    if not probe:
        return "" if found.solved is not None else "Not measured by a closed form: no features are stored."
    metric = metric_name(results.primary_metric, results.task)
    held = f"The pretrained features hold {number(probe.probe)} {metric} (closed form, same folds)"
    run = f"this run reaches {number(probe.run)}"
    train = "" if probe.train is None else f", and {number(probe.train)} on training rows"
    if probe.lacks:
        return f"{held}; {run}{train}: it has not learned enough."
    if probe.behind > probe.error:
        return f"{held}; {run}{train}, so that more training is not what it lacks."
    return f"{held}; {run}{train}."


def _inner(found: Learned) -> str:
    inner = found.inner
    if not inner:
        return ""
    if not inner.falls:
        return f"The loss on inner splits was lowest after epoch {inner.epoch}."
    return (
        f"The loss on inner splits is lowest after the last epoch, {inner.epoch}, and fell by "
        f"{number(inner.fall)} in it."
    )


def _loss(found: Learned) -> str:
    loss = found.loss
    if not loss:
        return ""
    went = f"The training loss went from {number(loss.first)} to {number(loss.last)}"
    if not loss.falls:
        return f"{went}, and {'falls no more' if loss.taken >= MOVED else 'hardly fell'} at the end."
    low, high = loss.interval
    share = f"{100 * loss.fall:.1f} % of the former an epoch ({100 * low:.1f} to {100 * high:.1f})"
    return f"{went} and still falls at the end, by {share}."


def _advice(results: Results) -> str:
    """Name a rate, a number of epochs, and for a head alone the closed form."""
    config = results.config
    rate, epochs = config.learning_rate, config.num_epochs
    alone = results.trainable.spec == "head" and not config.trainables
    low = alone and config.optimizer == "adamw" and rate < _HEAD_RATE / _TIMES
    parts = [
        f"raise learning_rate from {setting(rate)} to about {setting(_HEAD_RATE if low else _TIMES * rate)}",
        f"num_epochs from {epochs} to {max(_TIMES * epochs, _FEW_EPOCHS)}",
    ]
    solve = ", or solve it: head_solver=lbfgs" if alone else ""
    return f"To learn more, {' or '.join(parts)}{solve}."

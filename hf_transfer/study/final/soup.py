"""Average the weights of several models (a soup), and test whether the result is good."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from hf_transfer import _guard  # noqa: F401
from hf_transfer.errors import RunError
from hf_transfer.layers import Freezing
from hf_transfer.replay.batching import Batch
from hf_transfer.runs.final_record import SoupTest
from hf_transfer.runs.fold_result import FoldResult
from hf_transfer.scores.statistics import corrected_error
from hf_transfer.scores.statistics.comparison import SAME
from hf_transfer.study.final.model_folder import task_in
from hf_transfer.tasks.task import Task


def average_weights(models: Iterable[nn.Module]) -> nn.Module:
    """Average the weights and buffers of models of one architecture, in place in the first.

    Sums are taken in float64, so that the mean of equal models is equal to them to the bit. Whole
    numbers, such as a count of batches, are those of the first. Two models are held at a time.

    Args:
        models: That began with the same weights; see `check_start`.

    Raises:
        RunError: If there are fewer than two, or their weights differ in name or shape.

    References:
        Wortsman et al., "Model soups", ICML 2022, https://arxiv.org/abs/2203.05482.
    """
    models = iter(models)
    first = next(models, None)
    if first is None:
        raise RunError("There are no models to average; give two or more.")
    sums = {name: tensor.detach().double() for name, tensor in first.state_dict().items()}
    number = 1
    for number, model in enumerate(models, start=2):
        state = model.state_dict()
        if {n: t.shape for n, t in state.items()} != {n: t.shape for n, t in sums.items()}:
            raise RunError(
                f"Model {number} has other weights than the first: they are not of one architecture."
            )
        for name, tensor in state.items():
            sums[name] += tensor.detach().to(sums[name].device, torch.float64)
    if number < 2:
        raise RunError("There is one model only, and a mean takes two or more; use final=refit.")
    with torch.no_grad():
        for name, tensor in first.state_dict().items():
            if tensor.is_floating_point():
                tensor.copy_(sums[name] / number)
    return first


def check_start(folds: Sequence[FoldResult]) -> str:
    """Check that all folds started from the same weights; return their digest.

    Where each fold draws a head of its own, the mean of the heads says nothing of any of them.

    Raises:
        RunError: If the folds started from different weights, or nobody looked.
    """
    starts = {fold.start_hash for fold in folds}
    if len(starts) != 1 or None in starts:
        raise RunError(
            "The folds did not start from the same weights, so the mean of what they became is no model. "
            "Run it again with final=soup from the first fold on, and --overwrite."
        )
    return str(starts.pop())


def load_members(task: Task, folders: Sequence[Path]) -> Iterable[nn.Module]:
    """Load trained models one by one."""
    return (task_in(task, folder).build_model() for folder in folders)


def renew_statistics(
    model: nn.Module, freezing: Freezing, learner: nn.Module, batches: Iterable[Batch]
) -> int:
    """Recompute a model's BatchNorm statistics; return how many layers were affected.

    The mean of several models' statistics is not what the mean of their weights puts out. Frozen
    layers keep theirs, as they were the same in all. Each batch counts alike.

    Args:
        model: After averaging, on its device.
        freezing: Says which layers moved in training.
        learner: The module that the batches are fed to; it shares the model's layers.
        batches: Of the training rows.

    References:
        Izmailov et al., "Averaging weights leads to wider optima and better generalization", UAI 2018,
        https://arxiv.org/abs/1803.05407.
    """
    layers = [
        layer
        for name, layer in model.named_modules()
        if isinstance(layer, _BatchNorm) and name in freezing.moving and layer.track_running_stats
    ]
    if not layers:
        return 0
    momenta = [layer.momentum for layer in layers]
    model.eval()
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None  # the mean of all batches, not of the latest
        layer.train()
    with torch.no_grad():
        for batch in batches:
            learner(**{name: tensor for name, tensor in batch.items() if name != "labels"})
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum
    model.eval()
    return len(layers)


def judge_soup(
    metric: str, soup: float | None, members: Sequence[float | None], *, higher_is_better: bool
) -> SoupTest:
    """Decide whether a soup is as good as the models it was made of.

    All are scored on the same sealed rows, which none of them learned from, so that easy or hard
    rows make no difference. The standard error is of the models' mean, corrected for the training
    rows that they share.

    Args:
        metric: Name of the score.
        soup: The soup's score; None where it is undefined, which is a no.
        members: The models' scores; undefined ones are left out, and there must be two others.
        higher_is_better: Of the metric.
    """
    known = [score for score in members if score is not None]
    if soup is None or len(known) < 2:
        return SoupTest(metric, soup, None, None, False)
    mean, error = sum(known) / len(known), corrected_error(known, len(known))
    sign = 1 if higher_is_better else -1
    needed = mean - sign * error
    return SoupTest(metric, soup, mean, needed, sign * (soup - needed) >= -SAME)


def refused_words(soup_test: SoupTest) -> str:
    """Why the mean of the folds' weights is not published, in a sentence."""
    metric = soup_test.metric
    if soup_test.soup is None or soup_test.needed is None:
        why = f"{metric} is not defined on the sealed rows"
    else:
        why = (
            f"its {metric} on the sealed rows is {soup_test.soup:.3f}, and {soup_test.needed:.3f} was needed"
        )
    return f"The mean of the folds' weights is not published, as {why}; a model of all rows is (final=refit)."

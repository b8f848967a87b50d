"""Judge a candidate: each of its layers, and the choice of a layer inside every fold."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hf_transfer import _guard  # noqa: F401
from hf_transfer.folds import derive_seed
from hf_transfer.replay.features.forward import LayerFeatures
from hf_transfer.runs.rank_record import ProbeScore, RankedLayer
from hf_transfer.scores.statistics import bootstrap_interval, corrected_error, corrected_resampled_t
from hf_transfer.scores.transferability import (
    Permutation,
    Probe,
    choose_inside,
    h_score,
    is_classes,
    knn_probe,
    log_me,
    permutation_test,
    ridge_probe,
    shuffled_labels,
)
from hf_transfer.selection.rank.benchmark import Benchmark

Floats = NDArray[np.float64]
Interval = tuple[float, float]


@dataclass(frozen=True, eq=False)
class Scored:
    """A score with its uncertainty.

    Attributes:
        folds: Of each fold and repeat, (J,).
        mean: Over folds.
        interval: Of the mean, allowing for shared training rows: the cautious one.
        resampled: By drawing the held-out rows again, with the models as they are: the optimistic one.
            None where it was not asked for.
    """

    folds: Floats
    mean: float
    interval: Interval
    resampled: Interval | None = None

    @property
    def record(self) -> ProbeScore:
        """Itself as rank.json has it."""
        return ProbeScore(self.mean, self.interval, self.resampled, self.folds.tolist())


@dataclass(frozen=True, eq=False)
class Layer:
    """One layer group's frozen features, scored.

    Attributes:
        name: Of the group.
        pooling: Of a text's tokens, `first token` (`last token` of a decoder) or `mean`; None where there
            is one vector a row.
        depth: 0 for the first group, 1 for the last.
        width: Number of features.
        ridge: Score of the linear probe.
        knn: Score of the nearest neighbours' vote; None for a control.
        log_me_gain: Log evidence a row beyond features that say nothing; None for a control.
        log_me: Log evidence a row; None for a control.
        h_score: See `hf_transfer.scores.transferability.h_score`; None for a control, and without classes.
    """

    name: str
    pooling: str | None
    depth: float
    width: int
    ridge: Scored
    knn: float | None = None
    log_me_gain: float | None = None
    log_me: float | None = None
    h_score: float | None = None

    @property
    def title(self) -> str:
        """Its name, with the pooling where there are two."""
        return layer_title(self.name, self.pooling)

    @property
    def record(self) -> RankedLayer:
        """Itself as rank.json has it."""
        return RankedLayer(**vars(self) | {"ridge": self.ridge.record})


@dataclass(frozen=True, eq=False)
class Candidate:
    """A model, judged by its frozen features.

    Attributes:
        name: As it is shown.
        base_model: As it was given.
        num_parameters: With a head for the labels.
        score: Of the linear probe on the layer that is picked inside each fold's training part.
        picked: How often each layer was picked, by its title.
        layers: From the input to the output; of texts each twice, by a token and by the mean.
        shuffled: The permutation test; None for a control, and for blocks of time, whose rows are not
            exchangeable.
        seconds: Of the forward pass, or to find its result.
        reused: Whether the features were found stored.
    """

    name: str
    base_model: str
    num_parameters: int
    score: Scored
    picked: Mapping[str, int]
    layers: tuple[Layer, ...]
    shuffled: Permutation | None
    seconds: float
    reused: bool

    @property
    def best(self) -> Layer:
        """The layer with the best mean over folds; of equals, the deepest."""
        return max(reversed(self.layers), key=lambda layer: layer.ridge.mean)

    @property
    def last(self) -> Layer:
        """The last layer, by the better pooling."""
        deepest = [layer for layer in self.layers if layer.name == self.layers[-1].name]
        return max(reversed(deepest), key=lambda layer: layer.ridge.mean)

    def last_by(self, pooling: str) -> Layer | None:
        """The last layer that is pooled so; None where there is none."""
        return next((layer for layer in reversed(self.layers) if layer.pooling == pooling), None)

    def over_specialised(self, num_folds: int) -> bool:
        """Whether the last layer is worse than the best by more than a corrected standard error."""
        lost = self.best.ridge.folds - self.last.ridge.folds
        return bool(lost.mean() > 0 and lost.mean() > corrected_error(lost, num_folds))


def judge(
    name: str, base_model: str, features: LayerFeatures, benchmark: Benchmark, *, control: bool
) -> Candidate:
    """Probe every layer of a model.

    Args:
        name: As it is shown.
        base_model: As it was given.
        features: Of the benchmark's rows.
        benchmark: Rows, folds and score.
        control: Whether only the linear probes are wanted.
    """
    found = list(features.tables())
    tables = {layer_title(group, pooling): table for group, pooling, table in found}
    balanced = benchmark.measure.balanced
    probes = {
        title: ridge_probe(table, benchmark.labels, benchmark.splits, balanced=balanced)
        for title, table in tables.items()
    }
    layers = tuple(
        _layer((group, pooling, features.depth(group)), table, probes[title], benchmark, control=control)
        for (group, pooling, table), title in zip(found, tables, strict=True)
    )
    chosen = choose_inside(probes)
    return Candidate(
        name=name,
        base_model=base_model,
        num_parameters=features.num_parameters,
        score=scored(chosen, benchmark, resample=True),
        picked={group: chosen.settings.count(group) for group in dict.fromkeys(chosen.settings)},
        layers=layers,
        shuffled=None if control or benchmark.in_time else _shuffled(tables, benchmark),
        seconds=features.seconds,
        reused=features.reused,
    )


def scored(probe: Probe, benchmark: Benchmark, *, resample: bool = False) -> Scored:
    """Score a probe in every fold, with its intervals."""
    folds = benchmark.fold_scores(probe)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # equal scores in all folds have no p-value
        mean, interval, _ = corrected_resampled_t(folds, benchmark.num_folds)
    lowest, highest = benchmark.measure.range
    low, high = (min(highest, max(lowest, end)) for end in interval)
    return Scored(folds, mean, (low, high), _resampled(probe, benchmark) if resample else None)


def _resampled(probe: Probe, benchmark: Benchmark) -> Interval | None:
    rows = np.concatenate([valid for _, valid in probe.splits])
    predictions = np.concatenate([benchmark.measure.answers(decisions) for decisions in probe.decisions])
    sizes = [len(valid) for _, valid in probe.splits]
    folds = np.repeat(np.arange(len(sizes)), sizes)

    def statistic(weights: Floats) -> dict[str, Floats]:
        return {"score": benchmark.measure.weighted(benchmark.labels[rows], predictions, weights)}

    seed = derive_seed(benchmark.config.seed, "bootstrap")
    return bootstrap_interval(statistic, folds, units=benchmark.units[rows], seed=seed)["score"]


def layer_title(group: str, pooling: str | None) -> str:
    """A layer group's name, with the pooling where there are two."""
    return f"{group} ({pooling})" if pooling else group


def _layer(
    place: tuple[str, str | None, float],
    table: NDArray[np.float32],
    probe: Probe,
    benchmark: Benchmark,
    *,
    control: bool,
) -> Layer:
    ridge = scored(probe, benchmark)
    if control:
        return Layer(*place, table.shape[1], ridge)
    neighbours = knn_probe(table, benchmark.labels, benchmark.splits, balanced=benchmark.measure.balanced)
    labels = benchmark.labels
    evidence = log_me(table, benchmark.measure.evident(labels))
    return Layer(
        *place,
        width=table.shape[1],
        ridge=ridge,
        knn=float(np.nanmean(benchmark.fold_scores(neighbours))),
        log_me_gain=evidence.gain,
        log_me=evidence.score,
        h_score=h_score(table, labels) if is_classes(labels) else None,
    )


def _shuffled(tables: Mapping[str, NDArray[np.float32]], benchmark: Benchmark) -> Permutation:
    places, splits = benchmark.to_shuffle()
    labels = benchmark.labels[places]
    seed = derive_seed(benchmark.config.seed, "shuffle")
    folds = np.full(len(labels), -1)
    for fold, (_, valid) in enumerate(splits):
        folds[valid] = fold
    orders = shuffled_labels(labels, folds=folds, units=benchmark.units[places], seed=seed)
    return permutation_test(
        [table[places] for table in tables.values()], labels, orders, splits, benchmark.measure
    )

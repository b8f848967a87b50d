"""Several base models for the same rows: is any combination better than the best alone?"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hf_transfer import __version__, _guard  # noqa: F401
from hf_transfer.config.run_config import RunConfig
from hf_transfer.errors import ConfigError, DataError
from hf_transfer.machine.environment import versions
from hf_transfer.machine.files import make_folder
from hf_transfer.machine.progress import progress_bar
from hf_transfer.replay.features.engine import FeatureEngine
from hf_transfer.runs.combine_record import Combination, CombineRecord, Member
from hf_transfer.scores.combining import WAYS, WEIGHTED, Outputs, shares_of, weigh
from hf_transfer.scores.transferability import Probe, is_classes
from hf_transfer.selection.rank.benchmark import Benchmark, make_benchmark
from hf_transfer.selection.rank.candidate import scored
from hf_transfer.selection.rank.ranking import shown_names
from hf_transfer.selection.rank.verdicts import Comparison, compare_all
from hf_transfer.study.engine import Engine
from hf_transfer.training.workers import make_accelerator
from hf_transfer.transfer.features import DomainFeatures, features_of, open_labelled
from hf_transfer.transfer.members import MemberHeads, in_order_of
from hf_transfer.transfer.publishing import publish_combination

Floats = NDArray[np.float64]


def combine(
    dataset: str | Path,
    models: Sequence[str],
    way: str = "pick",
    *,
    kind: str | None = None,
    num_repeats: int | None = None,
    judge_only: bool = False,
    **settings: Any,
) -> CombineRecord:
    """Show whether several base models are better together than the best alone, and publish what is.

    Args:
        dataset: What `--dataset` takes.
        models: What `--base_model` takes, two or more.
        way: pick, mean, greedy, nnls or concat.
        kind: What a row's input is; found by itself when not given.
        num_repeats: How often to repeat with other folds; by the number of rows when not given.
        judge_only: Make no model to publish.
        settings: A run's, such as `max_rows`, `num_folds` and `output_dir`.

    Raises:
        TransferError: As `combine_models` and `cross_validate` do.
    """
    defaults = RunConfig(output_dir="runs/combine", trainable="head")
    config = defaults.changed({"dataset": str(dataset)} | settings)
    return run_combine(config, models, way, judge_only=judge_only, kind=kind, num_repeats=num_repeats)


class WholeEngine(FeatureEngine, Engine, Protocol):
    """Computes features elsewhere, and trains there too."""


def run_combine(
    config: RunConfig,
    models: Sequence[str],
    way: str,
    *,
    judge_only: bool,
    engine: WholeEngine | None = None,
    **options: Any,
) -> CombineRecord:
    """The same from settings that are read already; an engine computes and trains elsewhere."""
    make_folder(Path(config.output_dir))
    record = combine_models(config, models, way, engine=engine, **options)
    return publish_combination(config, record, judge_only=judge_only, engine=engine)


def combine_models(
    config: RunConfig,
    models: Sequence[str],
    way: str = "pick",
    *,
    kind: str | None = None,
    num_repeats: int | None = None,
    engine: FeatureEngine | None = None,
) -> CombineRecord:
    """Judge each model and their combinations under the same folds, on stored features.

    Members are calibrated, and weights fitted, on inner folds of each training part: no row is scored by
    a number that it took part in.

    Args:
        config: The data set, its folds and the seed.
        models: What `base_model` takes, two or more.
        way: pick, mean, greedy, nnls or concat: what is published, if it is better than the best alone.
        kind: What a row's input is; found by itself when not given.
        num_repeats: How often to repeat with other folds; by the number of rows when not given.
        engine: Computes features elsewhere; None computes them here.

    Raises:
        ConfigError: If there are fewer than two models, one is given twice, or there is no such way.
        DataError: If rows have not one class each, or models read different rows.
    """
    began = time.monotonic()
    if way not in WAYS:
        raise ConfigError(f"combine={way!r} is not one of {', '.join(WAYS)}.")
    names = shown_names(models)
    if len(names) < 2:
        raise ConfigError(f"One model, {models[0]}, has nothing to be combined with. Give two or more.")
    accelerator = make_accelerator(config)
    opened = [open_labelled(replace(config, base_model=one), kind=kind) for one in models]
    found = features_of(opened, accelerator, engine)
    if found[0].labels is None or not is_classes(found[0].labels):
        raise DataError(
            f"{found[0].data.name} has {found[0].data.target.name} as labels, and probabilities of classes "
            "are combined. Give rows of one class each."
        )
    judged = judge_members(make_benchmark(found[0].data, config, num_repeats), found, way)
    return _recorded(judged, names, found, time.monotonic() - began)


@dataclass(frozen=True, eq=False)
class Judged:
    """What members answer in every fold, and what came of each way to combine them.

    Attributes:
        benchmark: Rows, folds and score.
        outputs: Of each split, the members'.
        beside: Of each split, those of one head on all features; empty where it was not asked for.
        way: What was asked for.
    """

    benchmark: Benchmark
    outputs: Sequence[Outputs]
    beside: Sequence[Outputs]
    way: str

    @property
    def ways(self) -> tuple[str, ...]:
        """All that were judged."""
        return WAYS if self.beside else WEIGHTED

    def probe(self, way: str) -> Probe:
        """Probabilities of the held-out rows of each split."""
        found = self._weighted(way)
        return Probe(self.benchmark.splits, tuple(one.combined(_weighing(way)) for one in found))

    def alone(self, member: int) -> Probe:
        """A member's probabilities."""
        shares = (shares_of(one.valid, one.temperatures)[member] for one in self.outputs)
        return Probe(self.benchmark.splits, tuple(shares))

    def claims(self, way: str) -> tuple[float, float]:
        """What training rows say of a way to combine, and what it then gets: means over folds."""
        said = []
        for one, (train, valid) in zip(self._weighted(way), self.benchmark.splits, strict=True):
            pairs = zip(one.by_training_rows(_weighing(way)), (train, valid), strict=True)
            said.append([self._score(shares, rows) for shares, rows in pairs])
        claimed, gets = np.mean(said, axis=0)
        return float(claimed), float(gets)

    def weights(self, way: str) -> Floats:
        """Mean weights of the members over folds, (m,); none for one head on all features."""
        if way not in WEIGHTED:
            return np.zeros(0)
        return np.asarray(np.mean([one.weights(way) for one in self.outputs], axis=0))

    @cached_property
    def gains(self) -> Mapping[str, Comparison]:
        """Each way against `pick`, on the same folds."""
        best = self.benchmark.fold_scores(self.probe("pick"))
        others = {way: self.benchmark.fold_scores(self.probe(way)) for way in self.ways if way != "pick"}
        if self.way != "pick":  # a question that was asked alone needs no correction for the others
            own = compare_all({self.way: ("pick", others[self.way], best)}, self.benchmark.num_folds)
        else:
            own = {}
        pairs = {way: ("pick", scores, best) for way, scores in others.items()}
        return compare_all(pairs, self.benchmark.num_folds) | own

    def final_weights(self, way: str) -> Floats:
        """The members' weights by the held-out rows of the first repeat, (m,)."""
        first = range(self.benchmark.num_folds)
        labels = np.concatenate([self.benchmark.labels[self.benchmark.splits[fold][1]] for fold in first])
        shares = [shares_of(self.outputs[fold].valid, self.outputs[fold].temperatures) for fold in first]
        return weigh(way, np.concatenate(shares, axis=1), labels)

    def _weighted(self, way: str) -> Sequence[Outputs]:
        return self.outputs if way in WEIGHTED else self.beside

    def _score(self, shares: Floats, rows: NDArray[np.int64]) -> float:
        measure = self.benchmark.measure
        return measure.score(self.benchmark.labels[rows], measure.answers(shares))


def judge_members(benchmark: Benchmark, found: Sequence[DomainFeatures], way: str) -> Judged:
    """Solve the members' heads in every fold.

    Args:
        benchmark: Rows, folds and score.
        found: Features of each member, in any order of the rows.
        way: What was asked for; features are put side by side for `concat` only, as that is another head.
    """
    features = [in_order_of(found[0], one).values.astype(np.float64) for one in found]
    heads = MemberHeads(benchmark, features)
    beside = MemberHeads(benchmark, features, side_by_side=True) if way == "concat" else None
    outputs, others = [], []
    with progress_bar("folds", total=len(benchmark.splits), unit="fold") as bar:
        for fold in range(len(benchmark.splits)):
            outputs.append(heads.outputs(fold))
            others += [beside.outputs(fold)] if beside else []
            bar.update()
    return Judged(benchmark, outputs, others, way)


def _weighing(way: str) -> str:
    """How outputs are weighted: one head on all features is alone."""
    return way if way in WEIGHTED else "pick"


def _recorded(
    judged: Judged, names: Mapping[str, str], found: Sequence[DomainFeatures], seconds: float
) -> CombineRecord:
    benchmark, way = judged.benchmark, judged.way
    gain = judged.gains.get(way)
    joined = way in WEIGHTED and gain is not None and gain.verdict == "better"
    final = judged.final_weights(way if joined else "pick")
    shown = list(names.values())
    notes = [note for one in found for note in one.notes]
    return CombineRecord(
        kit_version=__version__,
        dataset=benchmark.data_record,
        folds=benchmark.folds_record,
        measure=benchmark.measure.name,
        way=way,
        members=_members(judged, names),
        combinations=[_combination(judged, one) for one in judged.ways],
        published=f"{way} of {', '.join(shown)}" if joined else shown[int(final.argmax())],
        final_weights=final.tolist(),
        notes=list(dict.fromkeys([*notes, *benchmark.notes, *benchmark.plans[0].notes])),
        versions=versions(),
        seconds=seconds,
    )


def _members(judged: Judged, names: Mapping[str, str]) -> list[Member]:
    temperatures = np.mean([one.temperatures for one in judged.outputs], axis=0)
    weights = judged.weights(judged.way if judged.way in WEIGHTED else "pick")
    return [
        Member(
            name=name,
            base_model=model,
            score=scored(judged.alone(place), judged.benchmark).record,
            temperature=float(temperatures[place]),
            weight=float(weights[place]),
        )
        for place, (model, name) in enumerate(names.items())
    ]


def _combination(judged: Judged, way: str) -> Combination:
    gain, (claimed, gets) = judged.gains.get(way), judged.claims(way)
    return Combination(
        way=way,
        score=scored(judged.probe(way), judged.benchmark).record,
        gain=gain.record if gain else None,
        claimed=claimed,
        claimed_gets=gets,
        weights=judged.weights(way).tolist(),
    )

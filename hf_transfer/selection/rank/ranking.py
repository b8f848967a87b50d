"""Rank candidates on one data set, with controls that show what the order is worth."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from accelerate import Accelerator

from hf_transfer import __version__, _guard  # noqa: F401
from hf_transfer.config.run_config import RunConfig
from hf_transfer.data.opening import find_task, open_dataset
from hf_transfer.data.pretrained import base_origin
from hf_transfer.errors import ConfigError, ModelError
from hf_transfer.machine.environment import versions
from hf_transfer.machine.secrets import local_name
from hf_transfer.machine.wording import number, paragraphs_html, table_html
from hf_transfer.models.base_model import open_base_model
from hf_transfer.replay.encoding import encode_rows
from hf_transfer.replay.features.engine import FeatureEngine, fill
from hf_transfer.replay.features.forward import LayerFeatures, layer_features, stored_layers
from hf_transfer.replay.features.stored import StoredFeatures
from hf_transfer.runs.rank_record import (
    AgainstEach,
    RankControls,
    RankedModel,
    RankRecord,
    ScratchScore,
    ShuffledScore,
    SimpleModel,
)
from hf_transfer.runs.schema import to_json
from hf_transfer.selection.rank.benchmark import Benchmark, make_benchmark
from hf_transfer.selection.rank.candidate import Candidate, Scored, judge, scored
from hf_transfer.selection.rank.verdicts import Comparison, compare_all
from hf_transfer.tasks import Task, all_tasks, task_of_kind
from hf_transfer.training.workers import make_accelerator

_BY_CHANCE = 0.02  # by how much shuffled labels may beat the best constant answer, beside the noise


@dataclass(frozen=True, eq=False, repr=False)
class Ranking:
    """Candidates in the order of their scores, and the controls.

    Attributes:
        benchmark: Rows, folds and score.
        candidates: The best first.
        scratch: By a candidate's name, its architecture with random weights; none for a model that has
            no others.
        baseline: The simple model.
        constant: Score of the best single answer for all rows.
        priors: What the user knows of a candidate beforehand, by its name.
        seconds: Of all.
    """

    benchmark: Benchmark
    candidates: tuple[Candidate, ...]
    scratch: Mapping[str, Candidate]
    baseline: Scored
    constant: float
    priors: Mapping[str, float]
    seconds: float

    def __repr__(self) -> str:
        best = ", ".join(f"{one.name} {number(one.score.mean)}" for one in self.candidates[:5])
        return f"Ranking({self.benchmark.data.name} by {self.benchmark.measure.name}: {best})"

    def _repr_html_(self) -> str:
        """The models and their scores, for a notebook."""
        rows = [["model", self.benchmark.measure.name, "best layer"]]
        rows += [[one.name, number(one.score.mean), one.best.title] for one in self.candidates]
        return table_html(rows) + paragraphs_html(self.notes)

    @cached_property
    def against_scratch(self) -> dict[str, Comparison]:
        """Did the pretrained weights help? Each candidate against its own architecture."""
        pairs = {
            c.name: ("the same network with random weights", c.score.folds, self.scratch[c.name].score.folds)
            for c in self.candidates
            if c.name in self.scratch
        }
        return compare_all(pairs, self.benchmark.num_folds)

    @cached_property
    def against_baseline(self) -> dict[str, Comparison]:
        """Each candidate against the simple model."""
        name = self.benchmark.data.input.simple_model
        pairs = {c.name: (name, c.score.folds, self.baseline.folds) for c in self.candidates}
        return compare_all(pairs, self.benchmark.num_folds)

    @cached_property
    def against_next(self) -> dict[str, Comparison]:
        """Each candidate against the one below it; the last has none."""
        pairs = {
            c.name: (other.name, c.score.folds, other.score.folds)
            for c, other in zip(self.candidates, self.candidates[1:], strict=False)
        }
        return compare_all(pairs, self.benchmark.num_folds, ordered=True)

    def leaks(self, candidate: Candidate) -> bool:
        """Whether shuffled labels score above chance, which only a leak can bring about."""
        if candidate.shuffled is None:
            return False
        shuffled = candidate.shuffled.shuffled
        noise = 3 * shuffled.std() / np.sqrt(len(shuffled))
        return bool(shuffled.mean() > self.constant + _BY_CHANCE + noise)

    def to_dict(self) -> dict[str, Any]:
        """The content of rank.json, as plain values."""
        return to_json(self.record)  # type: ignore[no-any-return]

    @property
    def notes(self) -> list[str]:
        """What was left out or found, of the rows and of the folds."""
        return [*self.benchmark.notes, *self.benchmark.plans[0].notes]

    @property
    def record(self) -> RankRecord:
        """The content of rank.json, without conclusions."""
        simple = SimpleModel(self.benchmark.data.input.simple_model, self.baseline.record)
        return RankRecord(
            kit_version=__version__,
            dataset=self.benchmark.data_record,
            folds=self.benchmark.folds_record,
            measure=self.benchmark.measure.name,
            candidates=[self._described(candidate) for candidate in self.candidates],
            controls=RankControls(self.constant, simple),
            notes=self.notes,
            versions=versions(),
            seconds=self.seconds,
        )

    def _described(self, candidate: Candidate) -> RankedModel:
        name, shuffled, scratch = candidate.name, candidate.shuffled, self.scratch.get(candidate.name)
        sides = (self.against_scratch.get(name), self.against_baseline[name], self.against_next.get(name))
        return RankedModel(
            name=name,
            base_model=candidate.base_model,
            num_parameters=candidate.num_parameters,
            prior=self.priors.get(name),
            score=candidate.score.record,
            picked=dict(candidate.picked),
            best_layer=candidate.best.name,
            best_pooling=candidate.best.pooling,
            last_layer=candidate.last.name,
            last_pooling=candidate.last.pooling,
            over_specialised=candidate.over_specialised(self.benchmark.num_folds),
            shuffled=None
            if shuffled is None
            else ShuffledScore(float(shuffled.shuffled.mean()), shuffled.p, self.leaks(candidate)),
            against=AgainstEach(*(found.record if found else None for found in sides)),
            layers=[layer.record for layer in candidate.layers],
            from_scratch=None
            if scratch is None
            else ScratchScore(scratch.score.record, [layer.record for layer in scratch.layers]),
            features_seconds=candidate.seconds,
            features_reused=candidate.reused,
        )


def rank_models(
    config: RunConfig,
    models: Sequence[str],
    *,
    kind: str | None = None,
    num_repeats: int | None = None,
    priors: Mapping[str, float] | None = None,
    engine: FeatureEngine | None = None,
) -> Ranking:
    """Judge each model by its frozen features of the same rows under the same folds.

    One forward pass a model, and one of the same architecture with random weights; everything else
    is closed form. The passes are stored, so that a second call is quick.

    Args:
        config: The data set, its folds and the seed.
        models: What `base_model` takes, one or more.
        kind: What a row's input is (`image`, `text`, `tokens`); found by itself when not given.
        num_repeats: How often to repeat with other folds; by the number of rows when not given.
        priors: What is known of a model beforehand, such as its accuracy on its source, by its name or
            the end of it.
        engine: Computes features elsewhere; None computes them here.

    Raises:
        ConfigError: If a model is given twice, or a prior names none of them.
        ModelError: If a model cannot be had, or is for another kind of input than the rows.
        DataError: If the rows cannot be used.
    """
    began = time.monotonic()
    names = shown_names(models)
    known = _matched(priors or {}, names)
    settings = [replace(config, base_model=model) for model in models]
    benchmark = _opened(config, settings, kind, num_repeats)
    accelerator = make_accelerator(config)
    tasks = [list(_arms(one, benchmark)) for one in settings]
    fill(engine, config, (_stored(task, benchmark, accelerator) for arms in tasks for task in arms))
    judged = [
        [_judged(names, task, benchmark, accelerator, control=task is not arms[0]) for task in arms]
        for arms in tasks
    ]
    ordered = sorted((arms[0] for arms in judged), key=lambda candidate: -candidate.score.mean)
    return Ranking(
        benchmark=benchmark,
        candidates=tuple(ordered),
        scratch={arms[0].name: arms[1] for arms in judged if len(arms) > 1},
        baseline=_baseline(benchmark),
        constant=benchmark.measure.constant(benchmark.labels),
        priors=known,
        seconds=time.monotonic() - began,
    )


def _opened(
    config: RunConfig, settings: Sequence[RunConfig], kind: str | None, num_repeats: int | None
) -> Benchmark:
    """Check the models, open the rows, and plan the folds."""
    task = task_of_kind(kind) if kind else find_task(config)
    for one in settings:
        _check_model(one, task)
    benchmark = make_benchmark(open_dataset(config, task.input.name), config, num_repeats)
    seen = dict.fromkeys(note for one in settings for note in _seen(one, benchmark))
    return replace(benchmark, notes=(*benchmark.notes, *seen))


def _baseline(benchmark: Benchmark) -> Scored:
    """The simple model's score."""
    rows, balanced = benchmark.data.rows.select(benchmark.rows), benchmark.measure.balanced
    probe = benchmark.data.input.simple_probe(rows, benchmark.labels, benchmark.splits, balanced=balanced)
    return scored(probe, benchmark, resample=True)


def _seen(config: RunConfig, benchmark: Benchmark) -> tuple[str, ...]:
    """What made a model, if the kit did; refused if it has seen some of the rows."""
    origin = base_origin(open_base_model(config), benchmark.data, config)
    return (origin.words,) if origin else ()


def _arms(config: RunConfig, benchmark: Benchmark) -> Iterator[Task]:
    """Yield the candidate, and the same architecture with random weights as its control."""
    task = benchmark.data.task(config, benchmark.data.target)
    yield task
    if task.base.has_weights and not config.from_scratch:
        yield type(task)(replace(config, from_scratch=True), benchmark.data.target)


def _judged(
    names: Mapping[str, str], task: Task, benchmark: Benchmark, accelerator: Accelerator, *, control: bool
) -> Candidate:
    model = task.settings.base_model
    name = f"{names[model]} from scratch" if control else names[model]
    return judge(name, model, features_of(task, benchmark, accelerator), benchmark, control=control)


def _stored(task: Task, benchmark: Benchmark, accelerator: Accelerator) -> StoredFeatures:
    """The place of the same features in the cache."""
    encoded = encode_rows(task, benchmark.data.rows, benchmark.data.fingerprint, accelerator)
    return stored_layers(task, encoded, task.settings, accelerator, rows=benchmark.rows)


def features_of(task: Task, benchmark: Benchmark, accelerator: Accelerator) -> LayerFeatures:
    """Features of the benchmark's rows by the base model of a task."""
    encoded = encode_rows(task, benchmark.data.rows, benchmark.data.fingerprint, accelerator)
    found = layer_features(task, encoded, task.settings, accelerator, rows=benchmark.rows)
    if not np.array_equal(found.row_of, benchmark.row_of):
        raise ModelError(
            f"base_model={task.settings.base_model!r} leaves words out that others read, so that they cannot "
            "be compared. Leave it out, or fix its tokenizer."
        )
    return found


def shown_names(models: Sequence[str]) -> dict[str, str]:
    """Short names of models: a folder's own name, unless two have the same.

    Raises:
        ConfigError: If there are none, or one is given twice.
    """
    twice = sorted({model for model in models if models.count(model) > 1})
    if not models or twice:
        given = f"{', '.join(twice)} twice" if twice else "none"
        raise ConfigError(f"Give one or more models, each once; got {given}.")
    short = {model: local_name(model) if Path(model).expanduser().is_dir() else model for model in models}
    taken = list(short.values())
    return {model: name if taken.count(name) == 1 else model for model, name in short.items()}


def _matched(priors: Mapping[str, float], names: Mapping[str, str]) -> dict[str, float]:
    found = {}
    for word, value in priors.items():
        fitting = [
            shown for model, shown in names.items() if word in (shown, model) or model.endswith(f"/{word}")
        ]
        if len(fitting) != 1:
            raise ConfigError(
                f"--prior {word}={value:g} names {len(fitting) or 'none'} of the models. Write one of "
                f"{', '.join(names.values())}."
            )
        found[fitting[0]] = value
    return found


def _check_model(config: RunConfig, task: type[Task]) -> None:
    """Stop where transformers knows a model's architecture, but not for this task."""
    import transformers

    base = open_base_model(config)
    fitting = {
        other.input.nouns: other
        for other in all_tasks()
        if type(base.config) in getattr(transformers, other.auto_class)._model_mapping
    }
    if fitting and task not in fitting.values():
        raise ModelError(
            f"base_model={base.name!r} is for {' or '.join(fitting)}, and the rows are "
            f"{task.input.nouns}. Give models for the rows, or another --kind."
        )

"""Is a second data set another domain, and what would a model that learned from the first do there?"""

import time
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from hf_transfer import __version__, _guard  # noqa: F401
from hf_transfer.config.run_config import RunConfig
from hf_transfer.errors import DataError
from hf_transfer.folds import derive_seed, hash_order
from hf_transfer.machine.environment import versions
from hf_transfer.machine.wording import count
from hf_transfer.replay.features.engine import FeatureEngine
from hf_transfer.runs.shift_record import (
    Clouds,
    ComparedData,
    Distances,
    DomainTest,
    FarRow,
    GivenLabels,
    ShiftRecord,
    ShiftVerdict,
    TellingRow,
)
from hf_transfer.scores.shift.label_shift import label_shift
from hf_transfer.scores.shift.neighbours import nearest_rows, seen_from
from hf_transfer.scores.shift.two_samples import FEW, LEVEL, halves, two_sample_test
from hf_transfer.training.workers import make_accelerator
from hf_transfer.transfer.estimating import estimate_accuracy
from hf_transfer.transfer.features import (
    DomainFeatures,
    SharedRows,
    chosen,
    features_of,
    open_domain,
    open_labelled,
    shared_rows,
    without,
)
from hf_transfer.transfer.heads import SourceHead

Floats = NDArray[np.float64]

MILD, STRONG = 0.6, 0.75  # areas under the curve from which on a shift is mild, and another domain

_MOST_COMPARED = 1_000  # rows of each data set
_MOST_DRAWN = 500  # rows of each in the picture
_NUM_SHOWN = 5
_LETTERS = 100


@dataclass(frozen=True, eq=False)
class TwoDomains:
    """A labelled data set and another one, with features of the same model.

    Attributes:
        source: The labelled rows.
        target: The others, without those that the first holds too.
        shared: Which those were.
    """

    source: DomainFeatures
    target: DomainFeatures
    shared: SharedRows

    @property
    def config(self) -> RunConfig:
        """The settings of the first data set."""
        return self.source.task.settings

    @property
    def grouped(self) -> bool:
        """Whether rows of both belong together in groups; groups of one say nothing of the other."""
        return self.source.groups is not None and self.target.groups is not None

    @property
    def notes(self) -> list[str]:
        """What was left out or found, a sentence each."""
        found = [*self.source.notes, *self.target.notes, *self.shared.notes]
        if not self.grouped and (self.source.groups is not None or self.target.groups is not None):
            found.append("Only one of the two data sets has groups, so that rows were compared as if alone.")
        return found

    @cached_property
    def head(self) -> SourceHead | None:
        """What learns from the labelled rows; None for labels that a row does not have one of."""
        return SourceHead(self.source) if self.source.task.target.right_or_wrong else None


def open_domains(
    config: RunConfig,
    target: str,
    *,
    target_split: str | None = None,
    kind: str | None = None,
    groups_target: bool = True,
    engine: FeatureEngine | None = None,
) -> TwoDomains:
    """Open two data sets, and compute, or find, what the output layer of one model reads of their rows.

    Args:
        config: Of which the first data set, `base_model` and the seed are used.
        target: The second: what `dataset` takes; a folder of files or a .txt file of lines too.
        target_split: Its split.
        kind: What a row's input is; found by itself when not given.
        groups_target: Whether `group_by` names a column of the second data set too.
        engine: Computes features elsewhere; None computes them here.

    Raises:
        ConfigError: If a setting does not fit the rows.
        DataError: If either cannot be used, or all rows of the second are in the first.
        ModelError: If the model cannot be used.
    """
    accelerator = make_accelerator(config)
    first = open_labelled(config, kind=kind)
    other = replace(config, dataset=target, split=target_split)
    other = other if groups_target else replace(other, group_by=None)
    source, second = features_of([first, open_domain(other, first)], accelerator, engine)
    shared = shared_rows(source.data, second.data)
    if len(shared.exact) == len(second):
        raise DataError(
            f"All {count(len(second), 'row')} of {second.data.name} are in {source.data.name} too. Give "
            "another data set; to compare two parts of one, give each its own file or split."
        )
    return TwoDomains(source, without(second, shared.exact), shared)


def find_shift(domains: TwoDomains) -> ShiftRecord:
    """Compare two data sets by what a model's output layer reads of them.

    Args:
        domains: The two.

    Raises:
        DataError: If there are too few rows or groups to compare.
        FoldError: If the labelled rows cannot be split into folds.
    """
    began, source, target = time.monotonic(), domains.source, domains.target
    test = _domain_test(domains)
    head = domains.head
    return ShiftRecord(
        kit_version=__version__,
        base_model=source.task.base.name,
        task_name=source.task.name,
        input_name=source.data.input.name,
        seed=domains.config.seed,
        source_data=_described(source, target),
        target_data=_described(target, source),
        shared_rows=(len(domains.shared.exact), len(domains.shared.near)),
        verdict=verdict_of(test.auc, test.p),
        domain_test=test,
        distances=_distances(domains),
        given_labels=_given_labels(domains, head) if head else None,
        estimate=estimate_accuracy(head, target) if head else None,
        clouds=_clouds(domains),
        notes=domains.notes,
        versions=versions(),
        seconds=time.monotonic() - began + source.seconds + target.seconds,
    )


def verdict_of(auc: float, p: float) -> ShiftVerdict:
    """Whether the second data set is another domain: a shift must be real, and large enough to matter."""
    if p >= LEVEL or auc < MILD:
        return "none"
    return "mild" if auc < STRONG else "another domain"


def _described(features: DomainFeatures, other: DomainFeatures) -> ComparedData:
    data = features.data
    alone = data.name != other.data.name
    return ComparedData(
        name=data.name,
        split=data.split,
        fingerprint=data.fingerprint,
        num_rows=len(features),
        labelled=features.labels is not None,
        title=data.name if alone else f"{data.name}, split {data.split}",
    )


def sample(features: DomainFeatures, number: int, seed: int) -> DomainFeatures:
    """Some rows by the seeded hash of their ids, in the order of the hash."""
    return chosen(features, hash_order(features.row_ids, seed)[:number])


def _domain_test(domains: TwoDomains) -> DomainTest:
    seed = derive_seed(domains.config.seed, "shift")
    number = min(len(domains.source), len(domains.target), _MOST_COMPARED)
    first, second = (sample(one, number, seed) for one in (domains.source, domains.target))
    groups = (first.groups, second.groups) if domains.grouped else (None, None)
    found = two_sample_test(first.values, second.values, groups=groups, seed=seed)
    return DomainTest(
        auc=found.auc,
        p=found.p,
        found_from=found.found_from,
        a_distance=found.a_distance,
        control_auc=_control(domains, 2 * number, seed),
        num_rows=(len(first), len(second)),
        num_permutations=found.num_permutations,
        unit="group" if domains.grouped else "row",
        telling_source=_telling(first, found.scores[: len(first)], -1),
        telling_target=_telling(second, found.scores[len(first) :], 1),
    )


def _control(domains: TwoDomains, number: int, seed: int) -> float | None:
    """The area for two random halves of the first data set; None where they are too few for it."""
    drawn = sample(domains.source, number, seed)
    of_rows = drawn.groups if domains.grouped else None
    parts = halves(of_rows, len(drawn), seed)
    if min(map(len, parts)) < FEW:
        return None
    groups = (None, None) if of_rows is None else (of_rows[parts[0]], of_rows[parts[1]])
    try:
        found = two_sample_test(*(drawn.values[part] for part in parts), groups=groups, num_permutations=1)
    except DataError:
        return None
    return found.auc


def _telling(features: DomainFeatures, scores: Floats, sign: int) -> list[TellingRow]:
    """The rows with the highest scores, or with the lowest."""
    order = np.argsort(-sign * scores, kind="stable")[:_NUM_SHOWN]
    pairs = zip(order.tolist(), _excerpts(features, order), strict=True)
    return [TellingRow(features.row_ids[row], float(scores[row]), excerpt) for row, excerpt in pairs]


def _excerpts(features: DomainFeatures, rows: NDArray[np.int64]) -> list[str]:
    values = features.data.rows.select(rows)["input"]
    return [features.data.input.excerpt(value, _LETTERS) for value in values]


def _distances(domains: TwoDomains) -> Distances:
    found = nearest_rows(domains.source.values, domains.target.values)
    rows = found.farthest(_NUM_SHOWN)
    nearest = found.rows[rows]
    pairs = zip(
        rows.tolist(),
        _excerpts(domains.target, rows),
        nearest.tolist(),
        _excerpts(domains.source, nearest),
        strict=True,
    )
    farthest = [
        FarRow(
            domains.target.row_ids[row],
            float(found.distances[row]),
            excerpt,
            domains.source.row_ids[near],
            near_excerpt,
        )
        for row, excerpt, near, near_excerpt in pairs
    ]
    return Distances(found.far, found.share_far, farthest)


def _given_labels(domains: TwoDomains, head: SourceHead) -> GivenLabels:
    names = domains.source.label_names
    given = head.out_of_fold.argmax(axis=1), head.whole.scores(domains.target.values).argmax(axis=1)
    found = label_shift(
        *given,
        len(names),
        groups=(domains.source.groups, domains.target.groups) if domains.grouped else (None, None),
        seed=derive_seed(domains.config.seed, "labels"),
    )
    return GivenLabels(list(names), found.first.tolist(), found.second.tolist(), found.statistic, found.p)


def _clouds(domains: TwoDomains) -> Clouds:
    seed = derive_seed(domains.config.seed, "clouds")
    first, second, explained = seen_from(domains.source.values, domains.target.values)
    drawn = [
        [(float(x), float(y)) for x, y in points[hash_order(features.row_ids, seed)[:_MOST_DRAWN]]]
        for points, features in ((first, domains.source), (second, domains.target))
    ]
    return Clouds(drawn[0], drawn[1], explained)

"""Adapt a head to another domain, test it there, and publish what passes the gate."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hf_transfer import __version__, _guard  # noqa: F401
from hf_transfer.errors import ConfigError
from hf_transfer.folds import derive_seed, hash_order
from hf_transfer.machine.environment import versions
from hf_transfer.runs.adapt_record import (
    FEWEST_LABELS,
    AdaptArm,
    AdaptedData,
    AdaptRecord,
    AdaptVerdict,
    FoundShift,
)
from hf_transfer.scores.regression import EXACT, Classifier
from hf_transfer.scores.shift.few_labels import exact_interval
from hf_transfer.scores.shift.two_samples import two_sample_test
from hf_transfer.transfer.arms import Domains, coral, prototypes, z_scored
from hf_transfer.transfer.deep_arms import DeepTraining, Tuned
from hf_transfer.transfer.features import DomainFeatures, chosen
from hf_transfer.transfer.few_labels import FewFit, FewLabels, cross_fitted, labels_alone, with_labels
from hf_transfer.transfer.gate import Gate, judge_arms
from hf_transfer.transfer.target_term import COMPARISONS
from hf_transfer.transfer.trained_arms import dann, mcc

SOURCE = "source"  # the head of the source alone, which needs no licence
ROW_ARMS: Mapping[str, Callable[[Domains], Classifier]] = {
    "z-score": z_scored, "coral": coral, "prototypes": prototypes, "dann": dann, "mcc": mcc,
}  # fmt: skip
LABEL_ARMS: Mapping[str, FewFit] = {"labels-in-training": with_labels, "labels-alone": labels_alone}
USUAL = ("z-score", "coral", "prototypes", "labels-in-training", "labels-alone")

_MOST_COMPARED = 1_000  # rows of each domain in the two-sample test

Answers = NDArray[np.int64]


@dataclass(frozen=True)
class AdaptOptions:
    """What `adapt` takes beside a run's settings.

    Attributes:
        labels: A file of some target rows with their labels, which were drawn at random.
        arms: Which to try; each one more makes the test of the others stricter.
        split_target: Keep labelled rows out of what the arms learn from.
        domain_column: Of the source: arms are tried on its own domains, and the best alone goes to the gate.
    """

    labels: str | Path | None = None
    arms: Sequence[str] = USUAL
    split_target: bool = False
    domain_column: str | None = None

    def __post_init__(self) -> None:
        known = (*ROW_ARMS, *LABEL_ARMS)
        unknown = [name for name in self.arms if name not in known]
        if unknown or not self.arms or len(set(self.arms)) < len(self.arms):
            raise ConfigError(
                f"--arms must name some of {', '.join(known)}, each once; "
                f"got {', '.join(self.arms) or 'none'}."
            )


@dataclass(frozen=True, eq=False)
class Adapting:
    """Both domains, opened, with the features that one base model gives for them.

    Attributes:
        source: With labels.
        target: Without rows that the source holds too.
        few: Labels of some target rows; none of them may be known.
        options: What to try.
        notes: What was left out or found, a sentence each.
        arms_folder: Where arms that are trained are kept until all are; None keeps none.
    """

    source: DomainFeatures
    target: DomainFeatures
    few: FewLabels
    options: AdaptOptions
    notes: tuple[str, ...]
    arms_folder: Path | None = None

    @cached_property
    def domains(self) -> Domains:
        """What arms learn from."""
        if not self.options.split_target:
            return self.whole
        return self._from(np.delete(self.target.values, self.few.rows, axis=0))

    @cached_property
    def whole(self) -> Domains:
        """The same with all rows of the target, in which labelled ones are found by their positions."""
        return self._from(self.target.values)

    def _from(self, rows: NDArray[np.float32]) -> Domains:
        labels = np.asarray(self.source.labels, np.int64)
        return Domains(self.source.values, labels, rows, len(self.source.label_names))

    @property
    def names(self) -> list[str]:
        """Of all arms, that of the source first."""
        return [SOURCE, *self.row_arms, *self.label_arms]

    @property
    def deep(self) -> list[str]:
        """Arms that train layers of the backbone: none where the head alone is to learn."""
        if self.source.task.settings.trainable == "head":
            return []
        return [name for name in self.names if name == SOURCE or name in COMPARISONS]

    @cached_property
    def training(self) -> DeepTraining:
        """What trains those."""
        rows = np.arange(len(self.target))
        kept = np.delete(rows, self.few.rows) if self.options.split_target else rows
        return DeepTraining(self.source, self.target, kept, self.arms_folder)

    @cached_property
    def tuned(self) -> dict[str, Tuned]:
        """The models that they give."""
        return self.training.tuned(self.deep) if self.deep else {}

    @cached_property
    def heads(self) -> dict[str, Classifier]:
        """The head of each other arm."""
        found = {SOURCE: self.domains.head} if SOURCE not in self.deep else {}
        found |= {name: ROW_ARMS[name](self.domains) for name in self.row_arms if name not in self.deep}
        return found | {name: LABEL_ARMS[name](self.whole, self.few, EXACT) for name in self.label_arms}

    @cached_property
    def classes(self) -> dict[str, Answers]:
        """What each arm says of all rows of the target."""
        scores: dict[str, NDArray[Any]] = {name: one.outputs for name, one in self.tuned.items()}
        scores |= {name: head.scores(self.target.values) for name, head in self.heads.items()}
        return {name: scores[name].argmax(axis=1) for name in self.names}

    @property
    def row_arms(self) -> list[str]:
        """Those that need no labels; of several the best on the source's own domains, where it has some."""
        names = [name for name in self.options.arms if name in ROW_ARMS]
        return [max(names, key=self.left_out.__getitem__)] if names and self.left_out else names

    @property
    def label_arms(self) -> list[str]:
        """Those that learn from labels, if there are enough."""
        enough = len(self.few.rows) >= FEWEST_LABELS
        return [name for name in self.options.arms if name in LABEL_ARMS and enough]

    @cached_property
    def left_out(self) -> dict[str, float]:
        """Mean gain of each arm over the head of the others, for each domain of the source in turn."""
        groups = self.source.groups
        if self.options.domain_column is None or groups is None:
            return {}
        names = [name for name in self.options.arms if name in ROW_ARMS]
        gains = [self._gains(groups == one, names) for one in np.unique(groups)]
        return dict(zip(names, np.mean(gains, axis=0).tolist(), strict=True))

    def _gains(self, held_out: NDArray[np.bool_], names: Sequence[str]) -> list[float]:
        rows, labels = self.source.values, np.asarray(self.source.labels, np.int64)
        inner = Domains(rows[~held_out], labels[~held_out], rows[held_out], len(self.source.label_names))
        plain, *adapted = (
            float((head.scores(rows[held_out]).argmax(axis=1) == labels[held_out]).mean())
            for head in (inner.head, *(ROW_ARMS[name](inner) for name in names))
        )
        return [one - plain for one in adapted]

    @cached_property
    def answers(self) -> dict[str, Answers]:
        """Class of each labelled row by each arm; by those that learn from labels without the row's own."""
        found = {name: self.classes[name][self.few.rows] for name in (SOURCE, *self.row_arms)}
        return found | {
            name: cross_fitted(LABEL_ARMS[name], self.whole, self.few) for name in self.label_arms
        }

    @cached_property
    def shift(self) -> FoundShift:
        """The two-sample test. Domains of the source are no groups in it: they are what may differ."""
        seed = derive_seed(self.source.task.settings.seed, "adapt")
        number = min(len(self.source), len(self.target), _MOST_COMPARED)
        first, second = (
            chosen(one, hash_order(one.row_ids, seed)[:number]) for one in (self.source, self.target)
        )
        groups = (None, None) if self.options.domain_column else (first.groups, second.groups)
        found = two_sample_test(first.values, second.values, groups=groups, seed=seed)
        return FoundShift(auc=found.auc, p=found.p)

    @cached_property
    def gate(self) -> Gate:
        """Whether an arm may take the place of the source's head, and which."""
        right = {name: found == self.few.labels for name, found in self.answers.items()}
        return judge_arms(self.shift.p, right.pop(SOURCE), right)

    @property
    def verdict(self) -> AdaptVerdict:
        """What the gate says."""
        if self.gate.opened_for:
            return "adapted"
        if not self.gate.num_labels:
            return "no labels"
        if not self.gate.enough_labels:
            return "too few labels"
        return "no better" if self.gate.shifted else "same domain"

    @property
    def published(self) -> str:
        """The arm whose head is published."""
        return self.gate.opened_for or SOURCE

    @property
    def classes_without_label(self) -> list[str]:
        """Classes of which no target row has a label, if some have."""
        there = set(self.few.labels.tolist())
        return [name for i, name in enumerate(self.source.label_names) if there and i not in there]

    def record(self, seconds: float) -> AdaptRecord:
        """The content of adapt.json, without advice and without the saved model."""
        base = self.source.task.base
        return AdaptRecord(
            kit_version=__version__,
            verdict=self.verdict,
            published=self.published,
            task=self.source.task.name,
            base_model=base.name,
            revision=base.revision,
            label_names=list(self.source.label_names),
            source=_about(self.source),
            target=_about(self.target),
            shift=self.shift,
            num_labels=len(self.few.rows),
            classes_without_label=self.classes_without_label,
            transductive=bool(len(self.few.rows)) and not self.options.split_target,
            domain_column=self.options.domain_column,
            arms=[self._arm(name) for name in self.names],
            advice=[],
            notes=list(self.notes),
            reload=None,
            versions=versions(),
            seconds=seconds,
            trained=self.training.described if self.deep else None,
        )

    def _arm(self, name: str) -> AdaptArm:
        arm = AdaptArm(
            name=name,
            learns_from="nothing" if name == SOURCE else "labels" if name in LABEL_ARMS else "rows",
            changed=float((self.classes[name] != self.classes[SOURCE]).mean()),
            left_out=self.left_out.get(name),
            deep=name in self.deep,
        )
        if not len(self.few.rows):
            return arm
        right, number = int((self.answers[name] == self.few.labels).sum()), len(self.few.rows)
        arm = replace(arm, accuracy=right / number, interval=exact_interval(right, number))
        tests = {test.name: test for test in self.gate.arms}
        if (test := tests.get(name)) is None:
            return arm
        return replace(arm, gained=test.gained, lost=test.lost, p=test.p, adjusted=test.adjusted)


def _about(features: DomainFeatures) -> AdaptedData:
    data = features.data
    return AdaptedData(name=data.name, split=data.split, fingerprint=data.fingerprint, num_rows=len(features))

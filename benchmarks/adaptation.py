"""What adaptation gains and costs in another domain: each arm alone, and what the gate lets through.

    python benchmarks/adaptation.py --base_model MODEL --dataset FOLDER FOLDER [FOLDER ...] [--draws 3]

Each data set is a domain with the same number of classes, in the same order. Every ordered pair is source and
target: balanced, with skewed classes, and with classes that the target lacks; and each domain is cut into two
halves, in which nothing is shifted. In each draw 30 random target rows have labels, and the others score.
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import permutations

import numpy as np
from datasets import concatenate_datasets
from numpy.typing import NDArray

from hf_transfer.config.run_config import RunConfig
from hf_transfer.runs.adapt_record import FEWEST_LABELS
from hf_transfer.training.workers import make_accelerator
from hf_transfer.transfer.adapting import LABEL_ARMS, ROW_ARMS, SOURCE, USUAL, Adapting, AdaptOptions
from hf_transfer.transfer.features import DomainFeatures, chosen, labelled_features
from hf_transfer.transfer.few_labels import FewLabels

Rows = NDArray[np.int64]

_WORSE = 0.005  # from which a pair counts as worse
_SKEW = 12  # times as many rows of the commonest class as of the rarest
_LEFT = 0.43  # share of the classes that stay where some are missing: 3 of 7
_SETTINGS = ("balanced", "skewed", "missing classes", "no shift")


@dataclass(frozen=True)
class Case:
    """A source, a target, and what their features are."""

    setting: str
    source: DomainFeatures
    target: DomainFeatures

    @cached_property
    def alone(self) -> Adapting:
        """All arms that need no labels."""
        return self.drawn(FewLabels.none(), tuple(ROW_ARMS))

    def drawn(self, few: FewLabels, arms: tuple[str, ...] = USUAL) -> Adapting:
        """The arms with some labels."""
        return Adapting(self.source, self.target, few, AdaptOptions(arms=arms), ())

    def accuracy(self, adapting: Adapting, name: str, rows: Rows) -> float:
        """Of an arm's head on some rows of the target."""
        answers = adapting.heads[name].scores(self.target.values[rows]).argmax(axis=1)
        return float((answers == self.target.labels[rows]).mean())


def domain(model: str, dataset: str, splits: Sequence[str], max_rows: int | None) -> DomainFeatures:
    """A labelled domain, of several splits of a data set if need be."""
    parts = []
    for split in splits:
        config = RunConfig(
            base_model=model, dataset=dataset, split=split, max_rows=max_rows, trainable="head"
        )
        parts.append(labelled_features(config, make_accelerator(config)))
    rows = concatenate_datasets([part.data.rows for part in parts])
    return replace(
        parts[0],
        data=replace(parts[0].data, rows=rows),
        values=np.concatenate([part.values for part in parts]),
        labels=np.concatenate([part.labels for part in parts]),
        row_ids=tuple(
            f"{split} {row}" for part, split in zip(parts, splits, strict=True) for row in part.row_ids
        ),
    )


def cases(domains: Sequence[DomainFeatures], draws: int) -> Iterator[Case]:
    """All pairs in each setting, and the halves of each domain."""
    for place, (source, target) in enumerate(permutations(domains, 2)):
        rng = np.random.default_rng(place)
        yield Case("balanced", source, target)
        yield Case("skewed", source, chosen(target, skewed(target.labels, rng)))
        if (rows := lacking(target.labels, rng)) is not None:
            yield Case("missing classes", source, chosen(target, rows))
    for place, one in enumerate(domains):
        for draw in range(draws):
            order = np.random.default_rng((place, draw)).permutation(len(one))
            first, second = np.array_split(order, 2)
            yield Case("no shift", chosen(one, first), chosen(one, second))


def skewed(labels: Rows, rng: np.random.Generator) -> Rows:
    """Rows with fewer and fewer of each class, in random order of the classes."""
    classes = rng.permutation(np.unique(labels))
    most = np.bincount(labels).min()
    counts = np.linspace(most, most / _SKEW, len(classes)).round().astype(int)
    kept = [
        rng.permutation(np.flatnonzero(labels == one))[:size]
        for one, size in zip(classes, counts, strict=True)
    ]
    return np.concatenate(kept)


def lacking(labels: Rows, rng: np.random.Generator) -> Rows | None:
    """Rows of some classes; None where too few would stay."""
    classes = rng.permutation(np.unique(labels))
    kept = classes[: round(_LEFT * len(classes))]
    return np.flatnonzero(np.isin(labels, kept)) if len(kept) > 1 else None


def measured(found: Sequence[Case], draws: int) -> Iterator[tuple[str, str, float]]:
    """Setting, arm, and gain over the source's head, of each case and draw; the source itself by accuracy."""
    for number, case in enumerate(found):
        everything = np.arange(len(case.target))
        plain = case.accuracy(case.alone, SOURCE, everything)
        yield case.setting, SOURCE, plain
        for name in ROW_ARMS:
            yield case.setting, name, case.accuracy(case.alone, name, everything) - plain
        for draw in range(1 if case.setting == "no shift" else draws):
            labelled, rest = np.split(
                np.random.default_rng((number, draw)).permutation(everything), [FEWEST_LABELS]
            )
            adapting = case.drawn(FewLabels(labelled, case.target.labels[labelled]))
            base = case.accuracy(adapting, SOURCE, rest)
            for name in LABEL_ARMS:
                yield case.setting, name, case.accuracy(adapting, name, rest) - base
            yield case.setting, "gate", case.accuracy(adapting, adapting.published, rest) - base
            yield case.setting, "opened", float(adapting.published != SOURCE)
        print(f"{number + 1} of {len(found)}", flush=True)


def table(gains: Sequence[tuple[str, str, float]]) -> str:
    """A line for each arm: mean, worst, and how many are worse, in each setting."""
    settings = [name for name in _SETTINGS if any(one == name for one, _, _ in gains)]
    lines = [f"| | {' | '.join(settings)} |", f"|---|{'---|' * len(settings)}"]
    for arm in (SOURCE, *ROW_ARMS, *LABEL_ARMS, "gate", "opened"):
        cells = []
        for setting in settings:
            values = np.array([gain for one, name, gain in gains if (one, name) == (setting, arm)])
            worse = f"{(values < -_WORSE).mean():.0%} of {len(values)}"
            plain = arm in (SOURCE, "opened")
            cells.append(
                f"{values.mean():.3f}" if plain else f"{values.mean():+.3f} / {values.min():+.3f} / {worse}"
            )
        lines.append(f"| {arm} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base_model", required=True)
    parser.add_argument("--dataset", nargs="+", required=True)
    parser.add_argument("--splits", nargs="+", default=["train"])
    parser.add_argument("--max_rows", type=int)
    parser.add_argument("--draws", type=int, default=3)
    options = parser.parse_args()
    domains = [domain(options.base_model, one, options.splits, options.max_rows) for one in options.dataset]
    print(table(list(measured(list(cases(domains, options.draws)), options.draws))))


if __name__ == "__main__":
    main()

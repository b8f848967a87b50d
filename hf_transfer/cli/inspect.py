"""`hf-transfer inspect`: show a data set's labels, duplicates and folds before a run."""

import argparse
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from hf_transfer import _guard  # noqa: F401
from hf_transfer.cli.verb import add_verb, read_settings, show
from hf_transfer.machine.wording import aligned, columns_words, count, fold_name, some

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hf_transfer.data.audit import Audit
    from hf_transfer.data.labelled import LabelledData
    from hf_transfer.folds import FoldPlan

_EXAMPLES = 3  # groups shown of each kind
_WIDTH = 60  # characters of a text shown


def add_inspect(verbs: Any) -> None:
    """Add `inspect` to the command line."""
    help = "show a data set's labels, duplicates and folds before a run"
    parser = add_verb(verbs, "inspect", _inspect, help, takes_settings=True)
    parser.add_argument("dataset", help="what --dataset takes; its other settings may follow")
    parser.add_argument(
        "--kind", metavar="INPUT", help="such as text or image; found by itself when not given"
    )


def _inspect(options: argparse.Namespace) -> int:
    from hf_transfer.config.run_config import RunConfig
    from hf_transfer.data.audit import audit
    from hf_transfer.data.opening import find_task, open_dataset
    from hf_transfer.data.sealing import fold_columns, seal_rows
    from hf_transfer.folds import plan_folds

    config = read_settings(options, replace(RunConfig(), dataset=options.dataset))
    data = open_dataset(config, options.kind or find_task(config).input.name)
    task = data.task(config, data.target)
    data = seal_rows(task, data, config)
    plan = plan_folds(
        data.rows["row_id"][:],
        config.num_folds,
        seed=config.seed,
        columns=fold_columns(task, data, config),
        scheme=config.scheme,
    )
    found = audit(data)
    show(options, (found.to_dict(), report(found, data, plan)))
    return 0


def report(found: "Audit", data: "LabelledData", plan: "FoldPlan") -> str:
    """Write the findings for a terminal: schema, classes, duplicates, and the content of each fold."""
    sections = [_schema(data), _classes(found, data, plan), *_groups(data), *_sources(found)]
    sections.append(_repeats(found, data))
    notes = [*data.notes, *plan.notes, *found.warnings()]
    if notes:
        sections.append("\n".join(["Notes", *(f"  {note}" for note in notes)]))
    return "\n\n".join(sections)


def _schema(data: "LabelledData") -> str:
    test = f", {count(len(data.test), 'test row')}" if data.test is not None else ""
    inputs = columns_words(data.input.columns_of(data.input_column))
    labels = columns_words(data.label_columns)
    scheme = f", written as {data.scheme}" if data.scheme else ""
    lines = [
        f"{data.name}, split {data.split}: {count(len(data.rows), 'row')} of {data.input.name}{test}",
        f"  input from {inputs}, labels from {labels}{scheme}",
        f"  fingerprint {data.fingerprint}",
    ]
    own = ("row_id", "input", "label", "sources")
    others = [name for name in data.rows.column_names if name not in own]
    return "\n".join([*lines, f"  folds also go by {', '.join(others)}"] if others else lines)


def _classes(found: "Audit", data: "LabelledData", plan: "FoldPlan") -> str:
    """A line for each class: its rows in all, and in each fold."""
    _, counts = data.target.tabled(data.rows["label"][:])
    whole = counts.sum() if data.target.per_word else len(counts)
    folds = plan.fold_of_row()
    line_name, several = data.target.called
    head = [line_name, data.target.counted, "share"]
    head += [fold_name(0, index, 1) for index in plan.scored_folds]
    table = [[name, f"{rows:,}", f"{rows / max(1, whole):.1%}"] for name, rows in found.class_counts.items()]
    sizes = ["all rows", f"{found.num_rows:,}", "100.0%"]
    for index in plan.scored_folds:
        held = counts[folds == index]
        sizes.append(f"{len(held):,}")
        for line, number in zip(table, held.sum(axis=0), strict=True):
            line.append(f"{number:,}")
    many = f"{len(found.class_counts)} {several} in {plan.num_folds} folds"
    title = f"{many}, {plan.scheme}; {_rarest(found.class_counts)}"
    return f"{title}\n{aligned([head, *table, sizes])}"


def _rarest(class_counts: "Mapping[str, int]") -> str:
    """Name the class with the fewest rows, or say that several are as rare."""
    fewest = min(class_counts.values())
    rarest = [name for name, number in class_counts.items() if number == fewest]
    if len(rarest) == len(class_counts):
        return f"each has {fewest:,}"
    return (
        f"the rarest is {rarest[0]!r}"
        if len(rarest) == 1
        else f"{len(rarest)} are the rarest, with {fewest:,}"
    )


def _groups(data: "LabelledData") -> list[str]:
    """Number and sizes of the groups that stay together, if there are any."""
    if "group" not in data.rows.column_names:
        return []
    sizes = sorted(Counter(data.rows["group"]).values())
    said = f"{count(sizes[0], 'row')} each"
    if sizes[0] < sizes[-1]:
        said = f"{sizes[0]:,} to {sizes[-1]:,} rows each, the middle one {sizes[len(sizes) // 2]:,}"
    return [f"{count(len(sizes), 'group')} that stay together: {said}"]


def _sources(found: "Audit") -> list[str]:
    """Columns and parts of names by which rows may belong together."""
    if not found.sources:
        return []
    lines = [f"  {source.words}" for source in found.sources]
    return ["\n".join(["Equal values, by which rows may belong together (--group_by keeps them so)", *lines])]


def _repeats(found: "Audit", data: "LabelledData") -> str:
    kinds = {
        "Exact duplicates": found.duplicates,
        "Almost the same": found.near_duplicates,
        "Duplicates with different labels": found.conflicts,
    }
    positions = {row_id: position for position, row_id in enumerate(data.rows["row_id"])}
    lines = []
    for title, groups in kinds.items():
        lines.append(f"{title}: {count(len(groups), 'group')}")
        for group in groups[:_EXAMPLES]:
            lines.append(
                f"  {some(group)}: {data.input.excerpt(data.rows[positions[group[0]]]['input'], _WIDTH)}"
            )
    if data.test is not None:
        lines.append(
            f"Also in the test split: {len(found.in_test):,} pairs, {len(found.near_test):,} almost the same"
        )
    if found.lengths is not None:
        lines.append(
            f"{data.input.measured_in}: "
            + ", ".join(f"{name} {value:g}" for name, value in found.lengths.items())
        )
    return "\n".join(lines)

"""An adaptation in words: the table of its arms, the verdict, what to do then, and the model's card."""

from hf_transfer import _guard  # noqa: F401
from hf_transfer.machine.network import HUB_ID
from hf_transfer.machine.secrets import local_name
from hf_transfer.machine.wording import aligned, count, interval, number, probability
from hf_transfer.report.words.verdict import Verdict
from hf_transfer.runs.adapt_record import FEWEST_LABELS, AdaptArm, AdaptRecord, TrainedLayers
from hf_transfer.runs.card_file import KIT, join_card
from hf_transfer.runs.paired import LEVEL

_LEARNS = {"nothing": "source alone", "rows": "target rows", "labels": "target labels"}
_VERDICTS = {
    "adapted": "{published} is better in the target than the source's own head, and is published.",
    "no better": "No arm is shown to be better in the target. The source's own head is published.",
    "same domain": "The rows of the two can't be told apart, so there is nothing to adapt to. The source's "
    "own head is published.",
    "too few labels": "{labels} of the target are too few for a test, which needs {fewest} of rows that were "
    "drawn at random. The source's own head is published.",
    "no labels": "Without labels of the target nothing shows whether an arm helps or harms. The source's own "
    "head is published.",
}  # fmt: skip


def adapt_text(record: AdaptRecord) -> str:
    """Write what was compared, the arms, the verdict, and what helps."""
    verdict = adapt_verdict(record)
    parts = [
        "\n".join(adapt_about(record)),
        aligned(adapt_rows(record)),
        f"{verdict.question} {verdict.answer.capitalize()}. {verdict.words}",
        f"What helps, the most first\n{_listed(record.advice)}",
    ]
    if record.notes:
        parts.append("\n".join(["Notes", *(f"  {note}" for note in record.notes)]))
    return "\n\n".join(parts)


def _listed(lines: list[str]) -> str:
    return "\n".join(f"  {place}. {line}" for place, line in enumerate(lines, 1))


def adapt_about(record: AdaptRecord) -> list[str]:
    """What was adapted to what, and whether the two differ at all."""
    source, target = record.source, record.target
    told = "can" if record.shift.p < LEVEL else "can't"
    deep = [arm.name for arm in record.arms if arm.deep]
    return [
        f"From {source.name} ({count(source.num_rows, 'labelled row')}) to "
        f"{target.name} ({count(target.num_rows, 'row')}), by frozen features of "
        f"{local_name(record.base_model)}",
        f"Rows of the two {told} be told apart: AUC {number(record.shift.auc)}, "
        f"p {probability(record.shift.p)}",
        *([_trained(record.trained, deep)] if record.trained else []),
    ]


def _trained(how: TrainedLayers, names: list[str]) -> str:
    return (
        f"Trained with layers of the backbone ({how.trainable}): {', '.join(names)}; "
        f"{count(how.num_epochs, 'epoch')} of batches of {how.batch_size} at {how.learning_rate:g}, each "
        "with as many target rows. The other arms are heads on frozen features. Settings are the source's, "
        "and so are running statistics of normalisation layers."
    )


def adapt_rows(record: AdaptRecord) -> list[list[str]]:
    """A table of the arms."""
    labels, domains = record.num_labels > 0, record.domain_column is not None
    columns = ["arm", "learns from", "answers changed"]
    columns += ["right", "95 %", "gained", "lost", "p", "p corrected"] * labels
    columns += ["gain over own domains"] * domains
    return [columns, *(_line(arm, labels, domains) for arm in record.arms)]


def _line(arm: AdaptArm, labels: bool, domains: bool) -> list[str]:
    cells = [arm.name, _LEARNS[arm.learns_from], f"{arm.changed:.0%}"]
    if labels:
        cells += [number(arm.accuracy), interval(arm.interval)]
        counts = [arm.gained, arm.lost]
        cells += ["-" if one is None else str(one) for one in counts]
        cells += ["-" if p is None else probability(p) for p in (arm.p, arm.adjusted)]
    if domains:
        cells.append("-" if arm.left_out is None else f"{arm.left_out:+.3f}")
    return cells


def adapt_verdict(record: AdaptRecord) -> Verdict:
    """Answer whether an adapted head is better in the target, with what the answer rests on."""
    question = f"Is an adapted head better in {record.target.name}?"
    return Verdict("adapted", question, record.verdict, verdict_words(record))


def verdict_words(record: AdaptRecord) -> str:
    """What was published and why, and what it rests on."""
    labels = count(record.num_labels, "label")
    parts = [
        _VERDICTS[record.verdict].format(published=record.published, labels=labels, fewest=FEWEST_LABELS)
    ]
    if record.num_labels:
        parts.append(
            f"Right and its interval are of {labels} of rows drawn at random; arms that learn from labels "
            "are judged on each without its own. p is exact and one-sided, corrected for "
            f"{len(record.arms) - 1} arms by Holm's rule."
        )
        parts.append(
            "The arms had seen these rows without their labels (transductive): new rows of the target may "
            "fare worse. --split_target keeps them apart."
            if record.transductive
            else "The arms had not seen these rows."
        )
    if record.classes_without_label:
        without = ", ".join(map(repr, record.classes_without_label))
        parts.append(
            f"No labelled row is of {without}. Where the target lacks classes, arms without labels often "
            "harm."
        )
    if record.domain_column is not None:
        parts.append(
            "The arm that goes to the test was chosen on the source's own domains, which licenses nothing."
        )
    return " ".join(parts)


def advice(record: AdaptRecord) -> list[str]:
    """What to do, in the order of what usually gains most."""
    source = local_name(record.source.name)
    rank = f"Another base model: hf-transfer rank {source} MODEL MODEL"
    rank += f" --group_by {record.domain_column}." if record.domain_column else ", with folds by domain."
    if record.num_labels < FEWEST_LABELS:
        second = (
            f"Labels: hf-transfer shift SOURCE TARGET --label_target {FEWEST_LABELS} draws rows to label; "
            "give the file as --labels."
        )
    else:
        second = "More labels of the target, and a run on both domains' labelled rows."
    third = "Adaptation, if it passes the test."
    if record.verdict == "same domain":
        return [rank]
    return [rank, second, third]


def card_text(record: AdaptRecord) -> str:
    """The model's card: what was used, what was tested, and what is in `model/`."""
    hub = HUB_ID.fullmatch(record.base_model) is not None
    header = {
        "base_model": record.base_model if hub else None,
        "pipeline_tag": record.task,
        "tags": [KIT, "domain-adaptation", record.task],
    }
    body = f"""
# A head for {record.target.name}

{_used(record)}

## What was tested

```
{adapt_text(record)}
```

![Accuracy of each arm on labelled rows of the target](adapt.png)

Labels: {", ".join(map(repr, record.label_names))}. Made with {KIT} {record.kit_version}.
"""
    return join_card({key: value for key, value in header.items() if value}, body)


def _used(record: AdaptRecord) -> str:
    arm = next(arm for arm in record.arms if arm.name == record.published)
    rows = {
        "nothing": "No row of the target was used for the weights.",
        "rows": f"{count(record.target.num_rows, 'row')} of the target were used without labels.",
        "labels": f"{count(record.num_labels, 'label')} of the target were learned from.",
    }[arm.learns_from]
    model = local_name(record.base_model)
    if arm.deep and record.trained:
        made = f"{model}, of which {record.trained.trainable} learned: {arm.name}"
    else:
        made = f"The frozen backbone {model} with a linear head: {arm.name}"
    return (
        f"{made}, of {count(record.source.num_rows, 'labelled row')} of {record.source.name}. {rows} The "
        "folder `model/` loads with plain libraries."
    )

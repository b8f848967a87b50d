"""What `shift` found, in words."""

from hf_transfer import _guard  # noqa: F401
from hf_transfer.machine.secrets import local_name
from hf_transfer.machine.wording import aligned, count, interval, number, probability
from hf_transfer.report.words.verdict import Verdict
from hf_transfer.runs.shift_record import EstimatedAccuracy, GivenLabels, LabelledAccuracy, ShiftRecord
from hf_transfer.scores.shift.two_samples import FEW
from hf_transfer.tasks import task_class

LEVEL = 0.05
_ANSWERS = {
    "none": "no sign of it", "mild": "a little", "another domain": "yes",
}  # fmt: skip
_MOST_LABELS = 10  # in a table
_SHOWN = 3  # rows in a table


def shift_verdict(shift: ShiftRecord) -> Verdict:
    """Answer whether the second data set is another domain, with what is known of the accuracy there."""
    source, target = shift.source_data.title, shift.target_data.title
    words = [_told_apart(shift)]
    if shift.estimate:
        words.append(accuracy_words(shift, shift.estimate))
    if shift.by_labels:
        words.append(labelled_words(shift.by_labels))
    return Verdict(
        "another-domain",
        f"Is {target} another domain than {source}?",
        _ANSWERS[shift.verdict],
        " ".join(words),
    )


def said_of(shift: ShiftRecord) -> str:
    """The verdict with its question, as shift.json keeps it."""
    verdict = shift_verdict(shift)
    return f"{verdict.question} {verdict.answer.capitalize()}. {verdict.words}"


def _told_apart(shift: ShiftRecord) -> str:
    test, source = shift.domain_test, shift.source_data.title
    halves = test.control_auc
    control = "" if halves is None else f"; two random halves of {source}: {number(halves)}"
    few = min(test.num_rows) < FEW
    chance = "of so few rows chance is below 0.5" if few else "0.5 is chance"
    area = (
        "A linear model tells rows that it has not seen apart with an area under the ROC curve of "
        f"{number(test.auc)} ({chance}; p {probability(test.p)}, {test.num_permutations} permutations "
        f"of {test.unit}s{control})."
    )
    if test.p >= LEVEL:
        least = number(max(test.found_from, 0.5))
        return f"{area} With as many {test.unit}s, an area above {least} would have been found."
    if shift.verdict == "none":
        size = "how large it is can't be told from so few rows" if few else "too small to matter"
        return f"{area} The difference is real, but {size}."
    return area


def accuracy_words(shift: ShiftRecord, estimate: EstimatedAccuracy) -> str:
    """What is known of the accuracy on the second data set without its labels."""
    source, target = shift.source_data.title, shift.target_data.title
    parts = f"{len(estimate.parts)} {estimate.left_out}s"
    known = (
        f"A linear head is right for {number(estimate.source_accuracy)} of the held-out rows of {source}; "
        f"for {target}, how sure it is of itself says {number(estimate.estimated)} (by the greatest "
        f"probability {number(estimate.by_probability)})."
    )
    off = (
        f"Tried on the {parts} of {source}, each left out in turn, such an estimate was off by "
        f"{number(estimate.mean_error)} on average and {number(estimate.worst_error)} at most"
    )
    if shift.verdict == "another domain":
        limits = ", which says nothing of another domain" if estimate.left_out == "fold" else ""
        text = f"Accuracy there can't be told without labels. {known} {off}{limits}."
    else:
        text = f"{known} {off}."
    if estimate.target_accuracy is not None:
        text += f" By the labels that came with {target} it is {number(estimate.target_accuracy)}."
    return text


def labelled_words(found: LabelledAccuracy) -> str:
    """The accuracy by labels of rows that were drawn at random."""
    return (
        f"By {count(found.num_rows, 'label')} of rows drawn at random, {found.num_right:,} are right: "
        f"accuracy {number(found.accuracy)}, 95 % {interval(found.exact)} (exact, by Clopper and Pearson). "
        f"With the rows without labels, which count {number(found.weight, 2)}: {number(found.powered)}, "
        f"about {interval(found.powered_interval)} (prediction-powered, right for many labels; of few, quote "
        "the exact one)."
    )


def next_step(shift: ShiftRecord) -> str:
    """What to do now."""
    if shift.by_labels or not shift.estimate:
        return ""
    if shift.drawn:
        rows = count(len(shift.drawn.row_ids), "row")
        return (
            f"Label the {rows} in {shift.drawn.page} (or in {shift.drawn.table}), and give the file: "
            "--labels FILE."
        )
    if shift.verdict == "none":
        return ""
    return "Thirty labels tell more than any estimate without: --label_target 30 draws the rows."


def shift_text(shift: ShiftRecord) -> str:
    """All that was found, for a terminal."""
    verdict = shift_verdict(shift)
    nouns = task_class(shift.task_name, shift.input_name).input.nouns
    sizes = " and ".join(f"{one.num_rows:,} of {one.title}" for one in (shift.source_data, shift.target_data))
    parts = [
        f"{nouns.capitalize()}: {sizes}, by the features of {local_name(shift.base_model)}",
        f"{verdict.question} {verdict.answer.capitalize()}.\n{verdict.words}",
        labels_text(shift),
        distance_words(shift),
        _telling(shift) if shift.verdict != "none" else "",
        _farthest(shift),
        "\n".join(["Notes", *(f"  {note}" for note in shift.notes)]) if shift.notes else "",
        next_step(shift),
    ]
    return "\n\n".join(part for part in parts if part)


def labels_text(shift: ShiftRecord) -> str:
    """A table of how often the model gives each label in either data set."""
    if shift.given_labels is None:
        return ""
    rows = [
        ["labels that the head gives", shift.source_data.title, shift.target_data.title],
        *label_rows(shift),
    ]
    return f"{aligned(rows)}\n{shares_words(shift)}" if len(rows) > 1 else shares_words(shift)


def label_rows(shift: ShiftRecord) -> list[list[str]]:
    """Labels whose shares differ, at most ten, the one that moved most first."""
    given = shift.given_labels
    if given is None:
        return []
    sums = [max(1, sum(counts)) for counts in (given.source_counts, given.target_counts)]
    lines = [
        (abs(a / sums[0] - b / sums[1]), [name, f"{a / sums[0]:.1%}", f"{b / sums[1]:.1%}"])
        for name, a, b in zip(given.label_names, given.source_counts, given.target_counts, strict=True)
    ]
    moved = sorted((line for line in lines if line[0]), key=lambda line: -line[0])
    return [cells for _, cells in moved][:_MOST_LABELS]


def _others(shift: ShiftRecord, given: GivenLabels) -> str:
    """How many labels are not in that table."""
    left = len(given.label_names) - len(label_rows(shift))
    return f" {count(left, 'other label')} moved less, or not at all." if left else ""


def shares_words(shift: ShiftRecord) -> str:
    """Whether those shares differ by more than chance."""
    given = shift.given_labels
    if given is None:
        return ""
    if given.p >= LEVEL:
        return (
            f"Their shares differ no more than by chance (p {probability(given.p)}).{_others(shift, given)}"
        )
    return (
        f"Their shares differ (p {probability(given.p)}): other labels are frequent there, or the head "
        f"mistakes some for others.{_others(shift, given)}"
    )


def distance_words(shift: ShiftRecord) -> str:
    """How many rows of the second data set are far from all of the first."""
    return (
        f"{shift.distances.share_far:.0%} of {shift.target_data.title} is farther from every row of "
        f"{shift.source_data.title} than 95 % of its rows are from each other."
    )


def _telling(shift: ShiftRecord) -> str:
    test = shift.domain_test
    told = [["row", "looks least like the other data set", "score"]]
    for data, rows in ((shift.source_data, test.telling_source), (shift.target_data, test.telling_target)):
        told += [
            [str(row.row), f"{data.title}: {row.excerpt}", number(row.score, 2)] for row in rows[:_SHOWN]
        ]
    return aligned(told)


def _farthest(shift: ShiftRecord) -> str:
    source, target = shift.source_data.title, shift.target_data.title
    far = [["row", f"farthest of {target}", "distance", f"nearest of {source}"]]
    far += [
        [str(row.row), row.excerpt, number(row.distance, 2), f"{row.nearest_id}: {row.nearest_excerpt}"]
        for row in shift.distances.farthest[:_SHOWN]
    ]
    return aligned(far)

"""Say whether rows of other data help in training, or hurt."""

from hf_transfer import _guard  # noqa: F401
from hf_transfer.machine.secrets import local_name
from hf_transfer.machine.wording import count, number
from hf_transfer.report.words.pairs import sentence
from hf_transfer.report.words.verdict import Verdict
from hf_transfer.runs.added import losing_words
from hf_transfer.runs.records import AddedSource, Results
from hf_transfer.tasks import metric_name

_ANSWERS = {"helps": "yes", "hurts": "no, they hurt: negative transfer", "can't tell": "can't tell"}


def added(results: Results) -> list[Verdict]:
    """Say for each other data set whether its rows help in training."""
    return [source_verdict(results, one) for one in results.added_sources]


def source_verdict(results: Results, one: AddedSource) -> Verdict:
    """Say whether the rows of one data set help in training."""
    question = f"Do more rows from {local_name(one.name)} help?"
    return Verdict("added-source", question, *_answer(results, one))


def _answer(results: Results, found: AddedSource) -> tuple[str, str]:
    tested, metric = sentence(found.pair), metric_name(found.pair.metric, results.task)
    who = "the same training reaches" if found.trained else "linear heads on the frozen features reach"
    left_out = f" {count(found.num_dropped, 'row')} left out, as the run's data has the same inputs."
    words = (
        f"{count(found.num_rows, 'row')} of {local_name(found.name)} in every training part: {who} "
        f"{number(found.added)} {metric} with them and {number(found.alone)} "
        f"without.{left_out if found.num_dropped else ''}",
        f"{tested[0].upper()}{tested[1:]}",
        losing_words(found),
        "The published weights learned from none of them.",
    )
    return _ANSWERS[found.verdict], " ".join(filter(None, words))

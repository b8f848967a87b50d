"""Say whether fine-tuning was worth it, beside a model that judged the same rows without training."""

from hf_transfer import _guard  # noqa: F401
from hf_transfer.machine.secrets import local_name
from hf_transfer.machine.wording import number
from hf_transfer.report.words.pairs import graded, sentence
from hf_transfer.runs.commonest import commonest_scores
from hf_transfer.runs.records import Results, ZeroShot
from hf_transfer.tasks import metric_name


def zero_shot_answer(results: Results, found: ZeroShot) -> tuple[str, str]:
    """The answer in a few words, and the evidence in sentences."""
    answer = graded(found.pair, worse="no, zero-shot is better", same="it changes nothing")
    name, score = metric_name(found.metric, results.task), found.scores.get(found.metric)
    reached = number(score.mean if score else None)
    least = commonest_scores(results.dataset.class_counts).get(found.metric)
    beside, tested = "", sentence(found.pair)
    if results.confusion is not None and least is not None:
        beside = f"; always giving the commonest class would reach {number(least)}"
    words = (
        f"Without training, {local_name(found.model)} reaches {reached} {name} by the names of the classes "
        f"alone (in {found.template!r}){beside}.",
        f"{tested[0].upper()}{tested[1:]}",
        "Its pretraining may have seen these rows.",
    )
    return answer, " ".join(words)

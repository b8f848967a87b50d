"""Say whether weights averaged with the pretrained ones are better than fine-tuned ones alone."""

from hf_transfer import _guard  # noqa: F401
from hf_transfer.machine.wording import number
from hf_transfer.report.words.pairs import graded, sentence
from hf_transfer.report.words.verdict import Verdict
from hf_transfer.runs.records import Results, WiseTest
from hf_transfer.runs.wise import AVERAGED, START, TUNED, shares_words
from hf_transfer.tasks import metric_name


def averaged(results: Results) -> list[Verdict]:
    """Say whether weights that were averaged with the pretrained ones are better than without."""
    if results.wise is None:
        return []
    question = "Is averaging with the pretrained weights worth it?"
    return [Verdict("worth-averaging", question, *_answer(results, results.wise))]


def _answer(results: Results, found: WiseTest) -> tuple[str, str]:
    pair, shares = found.against_tuned, shares_words(results.done)
    answer = graded(pair, worse="no, plain fine-tuning is better", same="it changes nothing")
    name = metric_name(found.metric, results.task)
    means = {one: number(mean.mean) for one, mean in found.means.items()}
    tested = sentence(pair)
    how = "chosen on inner folds" if any(fold.wise and fold.wise.tried for fold in results.done) else "given"
    words = (
        f"Pretrained weights with a solved head reach {means[START]} {name}, plain fine-tuning "
        f"{means[TUNED]}, their average {means[AVERAGED]}.",
        f"{tested[0].upper()}{tested[1:]}",
        f"{shares[0].upper()}{shares[1:]}, {how}.",
        "All of it is on rows like those it learned from: what averaging keeps shows on other data, by "
        "hf-transfer score RUN DATA --wise_curve.",
    )
    return answer, " ".join(words)

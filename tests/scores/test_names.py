import pytest

from hf_transfer.scores.names import shown_metrics
from hf_transfer.tasks import metric_name


def test_the_primary_metric_is_shown_first_and_each_once() -> None:
    scores = dict.fromkeys(("accuracy", "balanced_accuracy", "bleu", "f1_macro", "log_loss", "mcc"))
    results = {"primary_metric": "log_loss", "scores": scores}
    assert shown_metrics(results) == ["log_loss", "accuracy", "f1_macro", "balanced_accuracy"]
    assert sorted(shown_metrics(results, None)) == sorted(scores)


@pytest.mark.parametrize(
    ("name", "task", "written"),
    [
        ("mcc", "", "Matthews correlation"),
        ("accuracy", "text-classification", "accuracy"),
        ("accuracy", "token-classification", "accuracy (tags)"),
        ("owner/own", "", "owner/own"),
    ],
)
def test_metrics_have_readable_names(name: str, task: str, written: str) -> None:
    assert metric_name(name, task) == written

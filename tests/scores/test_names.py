import pytest

from hf_transfer.tasks import metric_name


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

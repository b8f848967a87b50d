from types import SimpleNamespace

from hf_transfer import RunConfig
from hf_transfer.study.final.scored import scoring_config


def test_rows_are_scored_by_a_soup_too_whose_run_had_sealed_rows():
    results = SimpleNamespace(
        config=RunConfig(final="soup", sealed=0.2), task="text-classification", input="text", target=None
    )
    assert scoring_config(results, "new.csv").sealed == 0.0

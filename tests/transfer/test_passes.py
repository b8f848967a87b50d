"""What a verb on stored features costs: rows through the backbone once, and none when they are stored."""

from pathlib import Path

import pytest
from digit_pictures import pictures
from row_counter import counted_rows

from hf_transfer.cli.main import main
from hf_transfer.models.base_model import _builtin_folder

ROWS = 40
BAR = 1.3  # passes of the backbone
MODEL = "builtin:digits-resnet"
ONE, BOTH, MODELS = ("SOURCE",), ("SOURCE", "TARGET"), ("SOURCE", MODEL, _builtin_folder(MODEL))
BASE = ("--base_model", MODEL)
VERBS = {
    "shift": (*BOTH, *BASE),
    "adapt": (*BOTH, *BASE),
    "shots": (*ONE, *BASE, "--shots", "1,2", "--draws", "5", "--episodes", "0"),
    "combine": (*MODELS, "--judge_only", "--num_folds", "2", "--num_repeats", "1"),
    "rank": (*MODELS[:2], "--num_folds", "2", "--num_repeats", "1"),
}
# Over two data sets, or by two models; rank's second is its control, the same network with random weights.
PASSES = {"shift": 2, "adapt": 2, "shots": 1, "combine": 2, "rank": 2}
FEW = 12  # rows by which stored features are known to be the model's, and a saved model to be what it was


@pytest.fixture(scope="module")
def domains(tmp_path_factory) -> dict[str, str]:
    return {
        "SOURCE": pictures(tmp_path_factory.mktemp("source"), range(ROWS)),
        "TARGET": pictures(tmp_path_factory.mktemp("target"), range(ROWS, 2 * ROWS), lambda grey: 255 - grey),
    }


def rows_of(verb: str, domains: dict[str, str], folder: Path) -> int:
    """Rows that a verb sends through a backbone."""
    words = [domains.get(word, word) for word in VERBS[verb]]
    with counted_rows() as counter:
        assert main([verb, *words, "--output_dir", str(folder)]) == 0
    return counter.rows


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_costs_one_pass_and_the_next_one_none(verb, domains, tmp_path, monkeypatch):
    stores = tmp_path / "stores"
    monkeypatch.setattr("hf_transfer.replay.features.stored.stores_folder", lambda: stores)
    first, second = (rows_of(verb, domains, tmp_path / name) for name in ("first", "second"))
    assert PASSES[verb] * ROWS <= first <= BAR * PASSES[verb] * ROWS
    assert second <= FEW

"""Verbs on a pretend GPU: what they find is what they find on the processor."""

import pytest
from digit_pictures import pictures
from recipe_runs import run_verb

pytestmark = pytest.mark.device
DIGITS = "--base_model builtin:digits-resnet --seed 0"
OF_A_MACHINE = ("seconds", "identity", "reused", "environment", "prices", "output_dir")
FEW = "--max_rows 40 --num_folds 2 --num_repeats 1"
VERBS = {
    "rank": f"rank builtin:digits_5to9 builtin:digits-resnet {FEW} --learning_curve false",
    "shots": f"shots builtin:digits_5to9 {DIGITS} --max_rows 60 --shots 1,4 --draws 10 --episodes 10",
    "shift": f"shift {{source}} {{target}} {DIGITS} --num_folds 3",
    "adapt": f"adapt {{source}} {{target}} {DIGITS} --arms z-score,coral",
    "adapt, trained": f"adapt {{source}} {{target}} {DIGITS} --arms dann,mcc"
    " --trainable last:1 --num_epochs 1",
    "pretrain": f"pretrain {{source}} {DIGITS} --objective same-pictures --num_epochs 1 --batch_size 16"
    " --probe {target}",
    "pretrain, words": "pretrain {lines} --base_model builtin:tiny-bert --num_epochs 1 --max_length 16"
    " --learning_rate 1e-3",
}


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """What the verbs read."""
    folder = tmp_path_factory.mktemp("given")
    lines = folder / "lines.txt"
    lines.write_text("\n".join(f"We saw the film number {n}" for n in range(60)))
    return {
        "lines": str(lines),
        "source": pictures(folder / "source", range(60)),
        "target": pictures(folder / "target", range(60, 120), lambda grey: 255 - grey),
    }


def close(there, here, place=""):
    """Where two records differ by more than rounding; nothing of what belongs to a time or a machine."""
    if isinstance(here, dict) and isinstance(there, dict):
        keys = [key for key in here.keys() | there.keys() if not key.endswith(OF_A_MACHINE)]
        return [line for key in keys for line in close(there.get(key), here.get(key), f"{place}.{key}")]
    if isinstance(here, list) and isinstance(there, list) and len(here) == len(there):
        return [
            line
            for i, (one, other) in enumerate(zip(there, here, strict=True))
            for line in close(one, other, f"{place}[{i}]")
        ]
    alike = here == pytest.approx(there, abs=1e-4, rel=1e-4) if isinstance(here, float) else here == there
    return [] if alike else [f"{place}: {there} there, {here} here"]


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_finds_what_it_finds_on_the_processor(verb, device, given, tmp_path):
    words = VERBS[verb].format(**given).split()
    answer = device.call(run_verb, [*words, "--output_dir", str(tmp_path / "there")])
    there = answer.checked()
    assert answer.counts["launches"]
    assert not close(there, run_verb([*words, "--output_dir", str(tmp_path / "here")]))

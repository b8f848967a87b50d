"""Verbs on a pretend GPU: what they find is what they find on the processor."""

import pytest
from digit_pictures import pictures
from recipe_runs import BY_GRADIENT, DATA, RECIPES, SMALL, run_recipe, run_verb

from hf_transfer.models.base_model import _builtin_folder

pytestmark = pytest.mark.device
DIGITS = "--base_model builtin:digits-resnet --seed 0"
OF_A_MACHINE = ("seconds", "identity", "reused", "environment", "prices", "output_dir")
FEW = "--max_rows 40 --num_folds 2 --num_repeats 1"
TEXTS = "--base_model builtin:tiny-bert --max_length 16 --num_epochs 1 --batch_size 16 --learning_rate 1e-3"
NOUNS = ("film", "actor", "plot")
VERBS = {
    "rank": f"rank builtin:digits_5to9 builtin:digits-resnet {FEW} --learning_curve false",
    "shots": f"shots builtin:digits_5to9 {DIGITS} --max_rows 60 --shots 1,4 --draws 10 --episodes 10",
    "shift": f"shift {{source}} {{target}} {DIGITS} --num_folds 3",
    "adapt": f"adapt {{source}} {{target}} {DIGITS} --arms z-score,coral",
    "adapt, trained": f"adapt {{source}} {{target}} {DIGITS} --arms dann,mcc"
    " --trainable last:1 --num_epochs 1",
    "search": f"search image_classification {DIGITS} --dataset builtin:digits_5to9 {FEW}"
    " --mode shared --learning_rates 1e-3 --num_epochs 1 --batch_size 16",
    "combine": f"combine builtin:digits_5to9 builtin:digits-resnet {{copy}} {FEW} --judge_only"
    " --combine concat",
    "pretrain, masked words": f"pretrain {{lines}} {TEXTS}",
    "pretrain, same texts": f"pretrain {{lines}} {TEXTS} --objective same-texts",
    "pretrain, same pictures": f"pretrain {{source}} {DIGITS} --objective same-pictures"
    " --num_epochs 1 --batch_size 16 --probe {target}",
}


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """What the verbs read."""
    folder = tmp_path_factory.mktemp("given")
    lines = (f"We {verb} the {noun} at {n}" for n in range(8) for verb in ("saw", "liked") for noun in NOUNS)
    (folder / "lines.txt").write_text("\n".join(lines))
    return {
        "lines": folder / "lines.txt",
        "copy": _builtin_folder("builtin:digits-resnet"),
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
    floats = isinstance(here, float) and isinstance(there, float)
    alike = here == pytest.approx(there, abs=1e-5, rel=1e-5) if floats else here == there
    return [] if alike else [f"{place}: {there} there, {here} here"]


def measured(*commands):
    """Run verbs there; what each says, and the most memory of the device that was in use."""
    import torch

    torch.accelerator.reset_peak_memory_stats()
    return [run_verb(words) for words in commands], torch.accelerator.max_memory_allocated()


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_finds_what_it_finds_on_the_processor(verb, device, given, tmp_path):
    words = VERBS[verb].format(**given).split()
    answer = device.call(run_verb, [*words, "--output_dir", str(tmp_path / "there")])
    there = answer.checked()
    assert answer.counts["launches"]
    assert not close(there, run_verb([*words, "--output_dir", str(tmp_path / "here")]))


def test_what_learns_from_rows_beside_each_other_says_that_fewer_would_fit(device, given, tmp_path):
    words = [*VERBS["pretrain, masked words"].format(**given).split(), "--output_dir"]
    _, peak = device.call(measured, [*words, str(tmp_path / "whole")]).checked()
    found = device.call(measured, [*words, str(tmp_path / "short")], memory=int(0.7 * peak))
    assert "ShortOfMemoryError: Memory ran out at update 1 with 16 rows" in found.printed
    assert "Set batch_size to 8 or less" in found.printed


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run with a final model."""
    folder = tmp_path_factory.mktemp("run") / "run"
    words = f"{DATA['image_classification']} {SMALL} {BY_GRADIENT} --trainable last:1 --final refit"
    run_recipe(RECIPES / "image_classification.py", [*words.split(), "--output_dir", str(folder)])
    return str(folder)


def test_a_final_model_answers_as_on_the_processor_also_in_little_memory(device, run, given):
    commands = [["predict", run, given["target"], "--all_probabilities"], ["score", run, given["target"]]]
    there, peak = device.call(measured, *commands).checked()
    short = device.call(measured, *commands, memory=int(0.6 * peak))
    here = [run_verb(words) for words in commands]
    assert "Memory ran out as rows were predicted: 15 rows at a time instead of 60." in short.printed
    assert not close(there, here)
    assert not close(short.checked()[0], here)

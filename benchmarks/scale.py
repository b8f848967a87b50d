"""Whether memory stays flat: what the verbs hold at 1, 2 and 4 times as many rows.

    python benchmarks/scale.py text --rows 50000                      # up to 200,000 rows, frozen backbone
    python benchmarks/scale.py pictures --rows 12500                  # up to 50,000 pictures
    python benchmarks/scale.py text --rows 2000 --trainable all       # everything learns

Rows are made here, seed 0; every verb runs in a process of its own, with an empty cache. Needs Linux.
"""

import argparse
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from memory import Peak, run_watched
from PIL import Image, ImageDraw, ImageFont
from report import machine, number, table, versions

MIB = 2**20
VERBS = ("inspect", "run", "verify", "report", "card", "predict")
_WORDS = {"good": "fine lovely honest bright moving", "bad": "dull weak tired empty loud"}
_COMMON = "the a film story actor scene plot and with of its is was for"


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("kind", choices=tuple(MAKERS))
    options.add_argument("--rows", type=int, default=2000, help="1x; 2x and 4x follow (default 2000)")
    options.add_argument("--trainable", default="head", help="what learns (default head)")
    options.add_argument("--num_folds", type=int, default=5)
    options.add_argument("--num_repeats", type=int, default=1)
    options.add_argument("--classes", type=int, help="how many classes the texts have (default 2)")
    options.add_argument("--verbs", nargs="+", choices=VERBS, default=VERBS)
    options.add_argument("--folder", type=Path, help="where to work; a temporary folder if not given")
    chosen = options.parse_args()
    print(f"{machine(1)}.\n{versions()}.")
    print(
        f"{chosen.kind}, trainable={chosen.trainable}, {chosen.num_folds} folds x {chosen.num_repeats}, "
        "1 epoch, seed 0.\n"
    )
    with TemporaryDirectory() as temporary:
        folder = chosen.folder or Path(temporary)
        found = {n: measure(folder / str(n), n, chosen) for n in (chosen.rows * i for i in (1, 2, 4))}
    print(f"Most memory held at one time, children included, pages of mapped files not\n\n{peaks(found)}")
    print(f"\nSeconds\n\n{seconds(found)}")


def measure(folder: Path, num_rows: int, chosen: argparse.Namespace) -> dict[str, Peak]:
    """Make so many rows and run every verb on them."""
    folder.mkdir(parents=True, exist_ok=True)
    dataset, inputs, settings = MAKERS[chosen.kind](folder, num_rows, chosen.classes or 2)
    run = str(folder / "run")
    settings = ["--dataset", dataset, "--trainable", chosen.trainable, *settings]
    folds = ["--num_folds", str(chosen.num_folds), "--num_repeats", str(chosen.num_repeats)]
    training = ["--num_epochs", "1", "--batch_size", "64", "--lr", "1e-3", "--overwrite"]
    recipe = {"text": "sentiment", "pictures": "image_classification"}[chosen.kind]
    commands = {
        "inspect": ["inspect", dataset, *folds],
        "run": ["run", recipe, *settings, *folds, *training, "--output_dir", run],
        "verify": ["verify", run],
        "report": ["report", run],
        "card": ["card", run],
        "predict": ["predict", run, inputs],
    }
    environment = os.environ | {
        "HF_DATASETS_CACHE": str(folder / "cache"),
        "OMP_NUM_THREADS": "1",
        "OMP_WAIT_POLICY": "PASSIVE",
    }
    found = {}
    for verb in chosen.verbs:
        command = [sys.executable, "-m", "hf_transfer", *commands[verb]]
        found[verb] = run_watched(command, environment, folder / f"{verb}.log")
        held, seconds = found[verb].held / MIB, found[verb].seconds
        print(f"{num_rows:,} rows, {verb}: {held:,.0f} MiB, {seconds:,.0f} s", file=sys.stderr, flush=True)
    return found


def peaks(found: Mapping[int, Mapping[str, Peak]]) -> str:
    """A line for each verb: MiB at each size, growth, and with mapped files at the last."""
    columns = ["verb", *(f"{n:,} rows, MiB" for n in found), "4x / 1x", "with mapped files, MiB"]
    rows = []
    for verb in next(iter(found.values())):
        held = [of_size[verb].held for of_size in found.values()]
        last = [*found.values()][-1][verb].resident / MIB
        rows.append(
            [verb, *(f"{one / MIB:,.0f}" for one in held), f"{held[-1] / held[0]:.2f}", f"{last:,.0f}"]
        )
    return table(columns, rows)


def seconds(found: Mapping[int, Mapping[str, Peak]]) -> str:
    """The times."""
    rows = [
        [verb, *(number(of_size[verb].seconds) for of_size in found.values())]
        for verb in next(iter(found.values()))
    ]
    return table(["verb", *(f"{n:,} rows" for n in found)], rows)


def make_texts(folder: Path, num_rows: int, num_classes: int) -> tuple[str, str, list[str]]:
    """Write sentences whose words tell the class as a CSV file; give it, what to label, and settings."""
    file = folder / "reviews.csv"
    with file.open("w", encoding="utf-8") as stream:
        stream.write("text,label\n")
        stream.writelines(f"{text},{label}\n" for text, label in _texts(num_rows, num_classes))
    return str(file), str(file), ["--base_model", _small_bert(folder), "--max_length", "32"]


def _texts(num_rows: int, num_classes: int) -> Iterator[tuple[str, str]]:
    rng = np.random.default_rng(0)
    names = ["bad", "good"] if num_classes == 2 else [f"class {i:04d}" for i in range(num_classes)]
    for row in range(num_rows):
        label = row % num_classes
        own = _WORDS.get(names[label], f"{label // 26} {chr(97 + label % 26)}").split()
        words = [*rng.choice(_COMMON.split(), 12), *rng.choice(own, 2), str(row)]
        yield " ".join(words), names[label]


def _small_bert(folder: Path) -> str:
    """A BERT with weights that nobody trained, so that what is frozen is the same in every fold."""
    import torch
    from transformers import AutoConfig, AutoTokenizer, BertModel

    import hf_transfer

    source, place = Path(hf_transfer.__file__).parent / "data" / "builtin" / "tiny-bert", folder / "model"
    torch.manual_seed(0)
    BertModel(AutoConfig.from_pretrained(source, num_hidden_layers=1)).save_pretrained(place)
    AutoTokenizer.from_pretrained(source).save_pretrained(place)
    return str(place)


def make_pictures(folder: Path, num_rows: int, num_classes: int) -> tuple[str, str, list[str]]:
    """Draw digits of 28 pixels as files, a folder for each class; give it, what to label, and settings."""
    place, rng = folder / "digits", np.random.default_rng(0)
    font = ImageFont.load_default(20)
    for digit in range(10):
        (place / str(digit)).mkdir(parents=True, exist_ok=True)
    for row in range(num_rows):
        picture = Image.fromarray(rng.integers(0, 60, (28, 28), np.uint8))
        x, y = rng.integers(4, 12), rng.integers(-1, 5)
        ImageDraw.Draw(picture).text(
            (int(x), int(y)), str(row % 10), fill=int(rng.integers(150, 256)), font=font
        )
        picture.save(place / str(row % 10) / f"{row:06d}.png")
    return str(place), str(place), ["--base_model", "builtin:digits-resnet"]


MAKERS: dict[str, Callable[[Path, int, int], tuple[str, str, list[str]]]] = {
    "text": make_texts,
    "pictures": make_pictures,
}

if __name__ == "__main__":
    main()

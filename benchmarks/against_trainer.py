"""Cross-validation by the kit beside transformers.Trainer, a plain Accelerate loop, and one forward pass.

    python benchmarks/against_trainer.py                      frozen backbone, pictures made on the spot
    python benchmarks/against_trainer.py --case full --model MODEL --dataset FOLDER --max_rows 400
    python benchmarks/against_trainer.py --case frozen --task text --model MODEL --dataset FILE.csv

Cases: `frozen` (the head learns; 5 folds x 5 epochs x 8 learning rates), `half` (the upper half of the
layers; 5 x 5 x 1), `full` (everything; 5 x 5 x 1), `parts` (an epoch of the kit with one part left out or
put in), `growth` (the kit alone, with more rows, folds, epochs and rates), `processes` (the kit in two
processes against one), `memory` (peaks of the kit and of Trainer).

A peer is measured on one fold, one epoch and one learning rate, and multiplied up; `--whole` runs all of it.
"""

import os

# Read when torch is loaded. The kit sets it for itself, so it is set for all.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from cases import RUNNERS
from report import setting
from stand_in import write_pictures, write_weights
from workload import RATES, TAKES_RATES, TASKS, Workload

from hf_transfer import RunConfig

ROWS = 300  # of pictures made on the spot: the default case is to be done in minutes


@dataclass(frozen=True)
class Case:
    """What learns, and how much work it is."""

    trainable: str
    num_folds: int = 5
    num_epochs: int = 5
    num_rates: int = 1


CASES = {
    "frozen": Case("head", num_rates=8),
    "half": Case("last:50%"),
    "full": Case("all"),
    "parts": Case("all", num_epochs=3),
    "growth": Case("head", num_rates=8),
    "processes": Case("all", num_epochs=2),
    "memory": Case("head", num_rates=8),
}


def main() -> None:
    options = read_options()
    if options.case == "processes":
        options.threads = 1  # or two processes would share what one has alone
    torch.set_num_threads(options.threads)
    with workload(options) as (work, name, dataset):
        if work.num_rates > 1 and not TAKES_RATES:
            print("This version of the kit takes one learning rate at a time: all contenders get one.\n")
            work = work.changed(num_rates=1)
        print(f"## {options.case}: {work.size}\n\n{setting(work, name, dataset)}\n", flush=True)
        RUNNERS[options.case](work, options)


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--case", choices=CASES, default="frozen")
    add("--model", help="as base_model of the kit; a ResNet-18 with random weights when not given")
    add("--dataset", help="as dataset of the kit; pictures made on the spot when not given")
    add("--task", choices=TASKS, default="image", help="what a row's input is")
    add("--max_rows", type=int, help=f"rows to use; {ROWS} of the pictures made on the spot")
    add("--repeats", type=int, default=3, help="of everything, interleaved; medians are printed")
    add("--threads", type=int, default=torch.get_num_threads(), help="of each process")
    add("--mixed_precision", choices=("no", "bf16", "fp16"), default="no")
    add("--batch_size", type=int, default=32)
    add("--max_length", type=int, help="most tokens of a text")
    add("--seed", type=int, default=0)
    add("--trainable", help="in place of the case's")
    add("--num_folds", type=int, help="in place of the case's")
    add("--num_epochs", type=int, help="in place of the case's")
    add("--num_rates", type=int, choices=range(1, len(RATES) + 1), help="in place of the case's")
    add("--workers", type=int, help="loading processes of the peers; the better of 0 and all cores by itself")
    add("--side_by_side", type=int, help="also run the kit with so many folds at once (frozen, half, full)")
    add("--whole", action="store_true", help="run the peers as a whole instead of multiplying a part")
    return parser.parse_args()


@contextmanager
def workload(options: argparse.Namespace) -> Iterator[tuple[Workload, str, str]]:
    """The work, and what its model and data are called, with stand-ins for what was not given."""
    case = CASES[options.case]
    with TemporaryDirectory() as folder:
        name, model, dataset, data = stand_ins(options, Path(folder))
        config = RunConfig(
            base_model=model, dataset=data, max_rows=options.max_rows, max_length=options.max_length,
            trainable=options.trainable or case.trainable, num_folds=options.num_folds or case.num_folds,
            num_epochs=options.num_epochs or case.num_epochs, batch_size=options.batch_size,
            mixed_precision=options.mixed_precision, num_threads=options.threads, seed=options.seed,
            final="none", report_to="none",
        )  # fmt: skip
        yield Workload(config, options.task, options.num_rates or case.num_rates), name, dataset


def stand_ins(options: argparse.Namespace, folder: Path) -> tuple[str, str, str, str]:
    """Name and place of the model, name and place of the data."""
    model, data = options.model, options.dataset
    if options.case == "processes" and model is None and data is None and options.task == "image":
        model, data = "builtin:digits-resnet", "builtin:digits_5to9"
    if options.task != "image" and (model is None or data is None):
        raise SystemExit(f"--task {options.task} needs --model and --dataset.")
    # A folder's own name and nothing above it: where it lies on this machine says nothing to others.
    name, dataset = (Path(given).name if given and Path(given).exists() else given for given in (model, data))
    if model is None:
        name, model = "timm resnet18 with random weights", write_weights(folder / "model")
    if data is None:
        dataset = "224-pixel JPEG files made on the spot"
        data = write_pictures(folder / "pictures", options.max_rows or ROWS, options.seed)
    return str(name), model, str(dataset), data


if __name__ == "__main__":
    main()

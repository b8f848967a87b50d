"""What the host does for an update beside the model: processor time to make a batch and send it off.

    python benchmarks/host_time.py

Rows are encoded as in a run and lie in a file. "read" is reading and stacking a batch; "changed" is drawing
its augmentation and starting the kernels that augment and normalise, which is all that the host of a GPU does
of it: here they are given the pictures' corners, which hold hardly any arithmetic.
"""

import argparse
import io
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from PIL import Image
from report import machine, table, versions

from hf_transfer import ImageClassification, RunConfig, SequenceClassification
from hf_transfer.folds.order import derive_seed
from hf_transfer.replay.batching import Batches
from hf_transfer.tasks.task import Task

MODELS = {
    "BERT-base": "builtin:tiny-bert",
    "ViT-B": "timm:vit_base_patch16_224",
    "ResNet-50": "timm:resnet50",
}
WORDS = ("good", "bad", "film", "plot", "and", "the", "of", "with")


def main() -> None:
    """Print the table."""
    options = parse()
    torch.set_num_threads(1)
    rows = []
    with TemporaryDirectory() as folder:
        for number, (name, model) in enumerate(MODELS.items()):
            task = task_of(model, options)
            encoded = encode(task, options, Path(folder) / f"{number}.arrow")
            rows.append((name, *costs(task, encoded, options)))
    print(
        f"{machine(1)}; {versions()}; seed {options.seed}.\nProcessor time of a batch of "
        f"{options.batch_size} rows in ms, the least of {options.repeats} repeats.\n"
    )
    print(table(("batches for", "read", "changed", "both"), rows, words=1))


def parse() -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--batch_size", type=int, default=128)
    parser.add_argument("--length", type=int, default=128, help="tokens of a text")
    parser.add_argument("--rows", type=int, default=512)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def task_of(model: str, options: argparse.Namespace) -> Task:
    """The task whose batches such a model takes; no weights are needed for them."""
    if model.startswith("timm:"):
        config = RunConfig(base_model=model, from_scratch=True, augmentation="crop-flip")
        return ImageClassification(config, ("a", "b"))
    return SequenceClassification(RunConfig(base_model=model, max_length=options.length), ("a", "b"))


def encode(task: Task, options: argparse.Namespace, path: Path) -> Dataset:
    """Rows of noise in a file, as a run keeps them."""
    random = np.random.default_rng(options.seed)
    make = picture if task.augments else (lambda random: " ".join(random.choice(WORDS, 2 * options.length)))
    values = [make(random) for _ in range(options.rows)]
    given = Dataset.from_dict({"input": values, "label": random.integers(0, 2, options.rows)})
    size = task.input.rows_at_once
    return given.map(
        task.encode,
        batched=True,
        with_indices=True,
        batch_size=size,
        writer_batch_size=size,
        remove_columns=given.column_names,
        cache_file_name=str(path),
    )


def picture(random: np.random.Generator) -> dict[str, Any]:
    """A picture of noise of 224 pixels."""
    stream = io.BytesIO()
    Image.fromarray(random.integers(0, 256, (224, 224, 3), np.uint8)).save(stream, "BMP")
    return {"bytes": stream.getvalue(), "path": None}


def costs(task: Task, encoded: Dataset, options: argparse.Namespace) -> tuple[str, ...]:
    """Processor time to read a batch, to change it, and of both."""
    order = np.random.default_rng(options.seed).permutation(options.rows)[: options.batch_size]
    batches = Batches(task, encoded, torch.device("cpu"))
    whole = batches.stacked(order)
    corners = {name: tensor[..., :16, :16] if tensor.ndim == 4 else tensor for name, tensor in whole.items()}

    def change() -> None:
        seeds = [derive_seed(0, "augmentation", 1, p) for p in order.tolist()] if task.augments else None
        task.transform(corners, seeds)

    found = [least(work, options.repeats) for work in (lambda: batches.stacked(order), change)]
    return tuple(f"{cost:.1f}" for cost in (*found, sum(found)))


def least(work: Callable[[], Any], repeats: int) -> float:
    """Milliseconds of processor time of the quickest call; a first one is not counted."""
    work()
    found = []
    for _ in range(repeats):
        began = time.process_time()
        work()
        found.append(time.process_time() - began)
    return min(found) * 1e3


if __name__ == "__main__":
    main()

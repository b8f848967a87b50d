"""One fold of the kit beside the same training with transformers.Trainer: the ratio of their times.

    python benchmarks/one_fold.py --model FOLDER --dataset FILE --max_rows 500 --trainable head --repeats 5

Both start from the same weights, freeze the same layers, see the same rows in batches of the same size,
use AdamW with the same schedule, and score the held-out rows once. The two are interleaved, and the
median of the ratios is what counts: single times on a shared machine say little.
"""

import argparse
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from transformers import (
    AutoModelForSequenceClassification,
    DataCollatorWithPadding,
    Trainer,
    TrainingArguments,
)

from hf_transfer import RunConfig, SequenceClassification, freeze, open_dataset
from hf_transfer.models import build_model, quiet
from hf_transfer.run_folder import RunFolder
from hf_transfer.study import Study
from hf_transfer.workers import make_accelerator


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="builtin:tiny-bert")
    parser.add_argument("--dataset", default="builtin:reviews")
    parser.add_argument("--max_rows", type=int, default=500)
    parser.add_argument("--trainable", default="all")
    parser.add_argument("--num_epochs", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        config = RunConfig(
            base_model=options.model, dataset=options.dataset, max_rows=options.max_rows,
            trainable=options.trainable, num_epochs=options.num_epochs, learning_rate=1e-4, max_length=128,
            output_dir=folder, report_to="none",
        )  # fmt: skip
        study = make_study(config)
        kit_fold(study)  # both warm: files cached, libraries imported
        trainer_fold(study)
        pairs = [(kit_fold(study), trainer_fold(study)) for _ in range(options.repeats)]
    kit, trainer = (statistics.median(times) for times in zip(*pairs, strict=True))
    ratio = statistics.median(b / a for a, b in pairs)
    print(f"kit {kit:.2f} s, Trainer {trainer:.2f} s a fold; Trainer takes {ratio:.2f} times as long "
          f"(median of {len(pairs)} pairs, {torch.get_num_threads()} threads)")  # fmt: skip


def make_study(config: RunConfig) -> Study:
    """Everything up to the first fold: rows, folds, encoded rows."""
    data = open_dataset(config, SequenceClassification.kind)
    task = SequenceClassification(config, data.label_names)
    study = Study(task, data, config, make_accelerator(config), RunFolder(config.output_dir))
    _ = study.encoded, study.plans, study.row_of
    return study


def kit_fold(study: Study) -> float:
    """Seconds of one fold, with its training score left out: Trainer computes none."""
    plan, began = study.plans[0], time.perf_counter()
    fitted = study.fit(plan.train(0), 1, "kit")
    study.scores(study.table(fitted, plan.valid(0), 0, 0))
    return time.perf_counter() - began


def trainer_fold(study: Study) -> float:
    """Seconds of the same fold with Trainer."""
    plan, config, began = study.plans[0], study.config, time.perf_counter()
    torch.manual_seed(1)
    model = build_model(
        study.task.base, AutoModelForSequenceClassification, study.task.label_names, replace(config)
    )
    freeze(model, config.trainable)
    columns = ["input_ids", "attention_mask", "labels"]
    encoded = study.encoded.select_columns(columns)
    arguments = TrainingArguments(
        output_dir=str(Path(config.output_dir) / "trainer"), per_device_train_batch_size=config.batch_size,
        per_device_eval_batch_size=64, num_train_epochs=config.num_epochs, learning_rate=config.learning_rate,
        weight_decay=config.weight_decay, warmup_steps=config.warmup, save_strategy="no", report_to="none",
        disable_tqdm=True, logging_strategy="no", use_cpu=not torch.accelerator.is_available(),
    )  # fmt: skip
    with quiet():
        trainer = Trainer(
            model,
            arguments,
            train_dataset=encoded.select(plan.train(0)),
            data_collator=DataCollatorWithPadding(study.task.tokenizer.tokenizer),
        )
        trainer.train()
        found = trainer.predict(encoded.select(plan.valid(0)))
    np.argmax(found.predictions, axis=1)
    return time.perf_counter() - began


if __name__ == "__main__":
    main()

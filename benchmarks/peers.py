"""The peers: transformers.Trainer, a plain Accelerate loop, and one forward pass as the yardstick."""

import io
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset, Subset
from transformers import (
    DataCollatorForTokenClassification,
    DataCollatorWithPadding,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    default_data_collator,
    get_scheduler,
)
from workload import Clock, Workload

from hf_transfer import freeze, parameter_groups
from hf_transfer.machine.environment import usable_cores
from hf_transfer.models.base_model import quiet
from hf_transfer.tasks.token_classification import first_subword_labels

SCORED_AT_ONCE = 64  # held-out rows in a batch, as in the kit


@dataclass(frozen=True)
class Times:
    """Seconds of one fold at one learning rate.

    Attributes:
        start: Building and freezing the model, making the optimizer.
        epoch: One pass over the training rows.
        evaluation: Predicting the held-out rows.
    """

    start: float
    epoch: float
    evaluation: float

    def fold(self, num_epochs: int) -> float:
        """The fold as a whole."""
        return self.start + num_epochs * self.epoch + self.evaluation


@dataclass(frozen=True)
class PeerRows:
    """Rows in the form that the peers read.

    Attributes:
        dataset: Pictures are opened at each access; texts are tokenised already.
        collate: Makes a batch.
        sizes: Tokens of each row; None for pictures.
        seconds: What tokenising took, once for all folds.
        workers: Processes that load batches.
    """

    dataset: "Dataset[dict[str, Any]]"
    collate: Callable[[list[dict[str, Any]]], Mapping[str, Any]]
    sizes: list[int] | None = None
    seconds: float = 0.0
    workers: int = 0


Peer = Callable[[Workload, PeerRows, int, float, int], Times]  # of a fold, at a rate, for so many epochs


class Pictures(Dataset[dict[str, Any]]):
    """Pictures that are opened, resized and normalised at every access by the model's own processor."""

    def __init__(self, inputs: list[dict[str, Any]], labels: list[int], processor: Any) -> None:
        self.inputs, self.labels, self.processor = inputs, labels, processor

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, row: int) -> dict[str, Any]:
        source = self.inputs[row]
        with Image.open(source["path"] or io.BytesIO(source["bytes"])) as image:
            pixels = self.processor(image.convert("RGB"), return_tensors="pt")["pixel_values"][0]
        return {"pixel_values": pixels, "labels": self.labels[row]}


class Tokenised(Dataset[dict[str, Any]]):
    """Token ids in memory."""

    def __init__(self, rows: list[dict[str, Any]]) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, row: int) -> dict[str, Any]:
        return self.rows[row]


def peer_rows(work: Workload, workers: int = 0) -> PeerRows:
    """All rows of a workload in the peers' form."""
    inputs, labels = work.data.rows["input"][:], work.data.rows["label"][:]
    task: Any = work.task
    if work.kind == "image":
        return PeerRows(
            Pictures(inputs, labels, task.processor.processor), default_data_collator, workers=workers
        )
    tokenizer = task.tokenizer.tokenizer
    clock, words = Clock(), work.kind == "tokens"
    encoded = tokenizer(
        inputs, truncation=True, max_length=task.tokenizer.max_length, is_split_into_words=words
    )
    if words:
        labels = [first_subword_labels(encoded.word_ids(row), labels[row]) for row in range(len(labels))]
    rows = [
        {name: values[row] for name, values in encoded.items()} | {"labels": labels[row]}
        for row in range(len(labels))
    ]
    collate = (DataCollatorForTokenClassification if words else DataCollatorWithPadding)(tokenizer)
    return PeerRows(Tokenised(rows), collate, [len(row["input_ids"]) for row in rows], clock.lap())


def best_workers(work: Workload) -> int:
    """How many loading processes suit Trainer best, none or one for each core: measured once."""
    if work.kind != "image":
        return 0  # padding token ids is too little work to send to another process
    seconds = {}
    for workers in (0, usable_cores()):
        times = trainer_fold(work, peer_rows(work, workers), 0, work.rates[0], 1)
        seconds[workers] = times.epoch + times.evaluation
    return min(seconds, key=lambda workers: seconds[workers])


def trainer_fold(work: Workload, rows: PeerRows, fold: int, rate: float, num_epochs: int) -> Times:
    """One fold with transformers.Trainer."""
    with TemporaryDirectory() as folder, quiet():
        clock, epochs = Clock(), _EpochClock()
        trainer = Trainer(
            fresh_model(work, fold),
            trainer_arguments(work, rows, folder, rate, num_epochs),
            data_collator=rows.collate,
            train_dataset=Subset(rows.dataset, work.plan.train(fold).tolist()),
            callbacks=[epochs],
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
        trained = clock.lap()
        found = trainer.predict(Subset(rows.dataset, work.plan.valid(fold).tolist()))
        np.argmax(found.predictions, axis=-1)
        evaluation = clock.lap()
    return Times(trained - epochs.seconds, epochs.seconds / num_epochs, evaluation)


def trainer_arguments(
    work: Workload, rows: PeerRows, folder: str, rate: float, num_epochs: int
) -> TrainingArguments:
    """The kit's batch size, optimizer and schedule, and nothing written on the way."""
    config = work.config
    return TrainingArguments(
        output_dir=folder,
        per_device_train_batch_size=config.batch_size,
        per_device_eval_batch_size=SCORED_AT_ONCE,
        num_train_epochs=num_epochs,
        learning_rate=rate,
        weight_decay=config.weight_decay,
        warmup_steps=config.warmup,
        lr_scheduler_type=config.scheduler,
        max_grad_norm=config.max_grad_norm,
        bf16=config.mixed_precision == "bf16",
        fp16=config.mixed_precision == "fp16",
        dataloader_num_workers=rows.workers,
        seed=config.seed,
        use_cpu=not torch.accelerator.is_available(),
        save_strategy="no",
        logging_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )


class _EpochClock(TrainerCallback):
    """Seconds inside of epochs, loading included."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def on_epoch_begin(self, *_: Any, **__: Any) -> None:
        """Start the clock."""
        self.clock = Clock()

    def on_epoch_end(self, *_: Any, **__: Any) -> None:
        """Stop it."""
        self.seconds += self.clock.lap()


def loop_fold(work: Workload, rows: PeerRows, fold: int, rate: float, num_epochs: int) -> Times:
    """One fold with a plain Accelerate loop, as one writes it for cross-validation."""
    config, clock = work.config, Clock()
    accelerator = Accelerator(
        mixed_precision=config.mixed_precision, cpu=not torch.accelerator.is_available()
    )
    model = fresh_model(work, fold)
    groups = parameter_groups(model, learning_rate=rate, weight_decay=config.weight_decay)
    optimizer = torch.optim.AdamW(groups, fused=True)
    model, optimizer, train, valid = accelerator.prepare(
        model,
        optimizer,
        loader(rows, Subset(rows.dataset, work.plan.train(fold).tolist()), config.batch_size, shuffle=True),
        loader(rows, Subset(rows.dataset, work.plan.valid(fold).tolist()), SCORED_AT_ONCE),
    )
    steps = len(train) * num_epochs
    schedule = get_scheduler(config.scheduler, optimizer, round(config.warmup * steps), steps)
    start = clock.lap()
    for _ in range(num_epochs):
        model.train()
        for batch in train:
            loss = model(**batch).loss
            accelerator.backward(loss)
            accelerator.clip_grad_norm_(model.parameters(), config.max_grad_norm)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
    trained = clock.lap()
    _predictions = list(predict(accelerator, model, valid))
    evaluation = clock.lap()
    accelerator.free_memory()
    return Times(start, trained / num_epochs, evaluation)


def predict(accelerator: Accelerator, model: nn.Module, batches: Any) -> Iterator[torch.Tensor]:
    """Predicted labels, batch by batch."""
    model.eval()
    for batch in batches:
        with torch.inference_mode():
            predicted = model(**batch).logits.argmax(-1)
        yield accelerator.gather_for_metrics(predicted).cpu()


def loader(rows: PeerRows, dataset: Any, batch_size: int, *, shuffle: bool = False) -> "DataLoader[Any]":
    """Batches as Trainer loads them."""
    return DataLoader(
        dataset,
        batch_size=batch_size,
        shuffle=shuffle,
        collate_fn=rows.collate,
        num_workers=rows.workers,
        pin_memory=torch.accelerator.is_available(),
    )


def one_pass(work: Workload, rows: PeerRows, precision: str = "no") -> float:
    """Seconds of one forward pass over all rows, with loading or tokenising, without building the model."""
    kind = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    device = kind or torch.device("cpu")
    model = fresh_model(work, 0).to(device).eval()
    order = np.arange(len(rows.sizes or work.data.rows))
    if rows.sizes is not None:
        order = np.argsort(rows.sizes, kind="stable")
    clock = Clock()
    batches = loader(rows, Subset(rows.dataset, order.tolist()), SCORED_AT_ONCE)
    reduced = torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")
    with torch.inference_mode(), reduced:
        for batch in batches:
            inputs = {name: values.to(device) for name, values in batch.items() if name != "labels"}
            model(**inputs).logits.float().cpu()
    return clock.lap() + rows.seconds


def fresh_model(work: Workload, fold: int) -> nn.Module:
    """The base weights with a new head, and the same layers frozen as in the kit."""
    torch.manual_seed(work.config.seed + fold)
    model: nn.Module = work.task.build_model()
    freeze(model, work.config.trainable)
    return model

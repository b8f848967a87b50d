"""What people would write in the kit's place, in a process of its own and on the folds of a run of the kit.

    python benchmarks/rivals.py '{"contender": "sklearn", "kind": "text", "run": FOLDER, "output": FILE, …}'

`quality.py` starts it. It writes accuracy and log loss of each fold.
"""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from peers import SCORED_AT_ONCE, PeerRows, Pictures, loader, peer_rows
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch.utils.data import Subset
from torchvision import transforms
from transformers import (
    AutoModel,
    AutoModelForImageClassification,
    AutoModelForSequenceClassification,
    Trainer,
    TrainingArguments,
    set_seed,
)
from workload import Workload

from hf_transfer import RunConfig
from hf_transfer.layers.output import output_layer
from hf_transfer.models.base_model import quiet
from hf_transfer.models.mean_classifier import mean_of_tokens
from hf_transfer.scores.metrics import log_loss

CLASSIFIERS = {"image": AutoModelForImageClassification, "text": AutoModelForSequenceClassification}
STRENGTHS = np.logspace(-4, 2, 7)

Probabilities = NDArray[np.float64]
Fold = tuple[list[int], list[int]]  # rows to learn from, rows held out


def main() -> None:
    given = json.loads(sys.argv[1])
    work = Workload(RunConfig.load(Path(given["run"]) / "config.yaml"), given["kind"])
    folds = folds_of(Path(given["run"]), work)
    labels = np.array(work.data.rows["label"][:])
    with quiet():
        found = RIVALS[given["contender"]](work, folds, given)
    scores = [score(labels[valid], one) for (_, valid), one in zip(folds, found, strict=True)]
    output = Path(given["output"])
    output.parent.mkdir()
    output.write_text(json.dumps(scores), encoding="utf-8")


def folds_of(run: Path, work: Workload) -> list[Fold]:
    """The folds of a run with one repeat, as numbers of our rows."""
    split = pq.read_table(run / "folds.parquet").to_pydict()
    fold_of = dict(zip(split["row_id"], split["fold"], strict=True))
    ours = np.array([fold_of[row] for row in work.data.rows["row_id"]])
    numbers = range(work.config.num_folds)
    return [(np.flatnonzero(ours != k).tolist(), np.flatnonzero(ours == k).tolist()) for k in numbers]


def score(labels: NDArray[np.int64], probabilities: Probabilities) -> dict[str, float]:
    """Scores of one fold, the log loss as the kit computes it."""
    right = probabilities.argmax(axis=1) == labels
    return {"accuracy": float(right.mean())} | log_loss(labels, probabilities)


def by_sklearn(work: Workload, folds: list[Fold], _: dict[str, Any]) -> list[Probabilities]:
    """Logistic regression on standardised features of the frozen model."""
    features, labels = frozen_features(work), np.array(work.data.rows["label"][:])
    found = []
    for train, valid in folds:
        pipeline = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
        search = GridSearchCV(pipeline, {"logisticregression__C": STRENGTHS}, scoring="neg_log_loss")
        found.append(search.fit(features[train], labels[train]).predict_proba(features[valid]))
    return found


@torch.inference_mode()
def frozen_features(work: Workload) -> NDArray[np.float32]:
    """One vector a row: what enters the head, or the mean of a text's tokens."""
    rows, kept = peer_rows(work), []
    model = (classifier(work) if work.kind == "image" else AutoModel.from_pretrained(base(work))).eval()
    if work.kind == "image":
        output_layer(model)[1].register_forward_pre_hook(lambda _, entered: kept.append(entered[0]))
    for batch in loader(rows, rows.dataset, SCORED_AT_ONCE):
        given = model(**{name: values for name, values in batch.items() if name != "labels"})
        if work.kind == "text":
            kept.append(mean_of_tokens(given.last_hidden_state, batch["attention_mask"]))
    return torch.cat(kept).numpy()


def by_trainer(work: Workload, folds: list[Fold], _: dict[str, Any]) -> list[Probabilities]:
    """Trainer with a learning rate, epochs, batches and pictures as its example scripts have them."""
    learned, scored = example_rows(work)
    found = []
    for train, valid in folds:
        set_seed(work.config.seed)
        with TemporaryDirectory() as folder:
            arguments = TrainingArguments(
                folder, learning_rate=5e-5, num_train_epochs=3, per_device_train_batch_size=8,
                lr_scheduler_type="linear", seed=work.config.seed, save_strategy="no", report_to="none",
                disable_tqdm=True, use_cpu=not torch.accelerator.is_available(),
            )  # fmt: skip
            trainer = Trainer(
                classifier(work), arguments, train_dataset=Subset(learned.dataset, train),
                data_collator=learned.collate,
            )  # fmt: skip
            trainer.train()
            logits = torch.tensor(trainer.predict(Subset(scored.dataset, valid)).predictions)
        found.append(logits.double().softmax(-1).numpy())
    return found


def example_rows(work: Workload) -> tuple[PeerRows, PeerRows]:
    """Rows to learn from and to score: pictures cropped at random and in the middle, texts alike."""
    rows = peer_rows(work)
    if not isinstance(rows.dataset, Pictures):
        return rows, rows
    inputs, labels, processor = rows.dataset.inputs, rows.dataset.labels, rows.dataset.processor
    size = processor.size.get("shortest_edge") or (processor.size["height"], processor.size["width"])
    last = [transforms.ToTensor(), transforms.Normalize(processor.image_mean, processor.image_std)]
    changes = (
        [transforms.RandomResizedCrop(size), transforms.RandomHorizontalFlip(), *last],
        [transforms.Resize(size), transforms.CenterCrop(size), *last],
    )
    made = (Pictures(inputs, labels, as_processor(transforms.Compose(change))) for change in changes)
    learned, scored = (replace(rows, dataset=dataset) for dataset in made)
    return learned, scored


def as_processor(change: Callable[[Any], torch.Tensor]) -> Callable[..., dict[str, list[torch.Tensor]]]:
    """A change of one picture, called as processors of transformers are."""
    return lambda picture, **_: {"pixel_values": [change(picture)]}


def classifier(work: Workload) -> Any:
    """The checkpoint with a new head, as the example scripts build it."""
    return CLASSIFIERS[work.kind].from_pretrained(
        base(work), num_labels=len(work.data.label_names), ignore_mismatched_sizes=True
    )


def base(work: Workload) -> str:
    """The folder or Hub id of the checkpoint."""
    task: Any = work.task
    return str(task.base.location)


def by_autogluon(work: Workload, folds: list[Fold], given: dict[str, Any]) -> list[Probabilities]:
    """AutoGluon in its own environment: it reads rows from files and writes probabilities."""
    with TemporaryDirectory() as name:
        folder, columns = Path(name), work.data.rows[:]
        rows = [(as_cell(one, folder, i), columns["label"][i]) for i, one in enumerate(columns["input"])]
        about = {
            "kind": work.kind, "model": given["autogluon_model"] or base(work), "seed": work.config.seed,
            "num_labels": len(work.data.label_names), "rows": rows, "folds": folds,
        }  # fmt: skip
        (folder / "given.json").write_text(json.dumps(about), encoding="utf-8")
        script = str(Path(__file__).with_name("autogluon_folds.py"))
        subprocess.run([given["autogluon"], script, name], check=True)
        return [np.array(one) for one in json.loads((folder / "found.json").read_text(encoding="utf-8"))]


def as_cell(source: Any, folder: Path, row: int) -> str:
    """A text itself; of a picture the path of its file, which is written where there is none."""
    if isinstance(source, str) or source["path"]:
        return source if isinstance(source, str) else source["path"]
    written = folder / f"picture{row}"
    written.write_bytes(source["bytes"])
    return str(written)


RIVALS: dict[str, Callable[[Workload, list[Fold], dict[str, Any]], list[Probabilities]]] = {
    "sklearn": by_sklearn,
    "trainer": by_trainer,
    "autogluon": by_autogluon,
}

if __name__ == "__main__":
    main()

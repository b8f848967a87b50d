"""Fine-tune image, sound and text models under cross-validation, and publish numbers that can be recomputed.

The names in `__all__` are resolved on first use, so that importing the package is cheap: other
libraries import `hf_transfer` only to see whether the download accelerator of that name is there.
"""

import os
from importlib import import_module
from typing import Any

__kit__ = "hf-transfer-kit"  # what _guard.py looks for
__version__ = "0.1.0"

_HOMES = {
    "AudioClassification": "tasks",
    "CrossValidationResult": "runs.results",
    "Fold": "folds",
    "FoldResult": "runs.fold_result",
    "ImageClassification": "tasks",
    "ImageTextClassification": "tasks",
    "LabelledData": "data.labelled",
    "LayerGroup": "layers",
    "RunConfig": "config.run_config",
    "SequenceClassification": "tasks",
    "Task": "tasks",
    "TextPairClassification": "tasks",
    "TokenClassification": "tasks",
    "TransferError": "errors",
    "adapt": "transfer.adapt_run",
    "combine": "transfer.combining",
    "compare": "report.compare",
    "compare_outcomes": "report.outcomes",
    "cross_validate": "cluster.doors",
    "fine_tune": "cluster.doors",
    "freeze": "layers",
    "k_folds": "folds",
    "layer_groups": "layers",
    "open_dataset": "data.opening",
    "parameter_groups": "layers",
    "predict": "study.final.predict",
    "preflight": "runs.hub.push",
    "pretrain": "transfer.pretrain",
    "publish": "report.publish",
    "push": "runs.hub.push",
    "rank": "selection.rank.writing",
    "rank_models": "selection.rank.ranking",
    "report": "report",
    "run_recipe": "cli.main",
    "score": "report.scored",
    "search": "cli.search",
    "shift": "transfer.writing",
    "shots": "transfer.shots",
    "verify_run": "verify.verify_run",
    "write_card": "report.card.card",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        # Waiting threads sleep instead of spin, or two processes on the same cores slow each other
        # down twentyfold. torch reads this when it is loaded, which the next line may do.
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        from hf_transfer.machine.collection import no_collection

        with no_collection():
            home = import_module(f"hf_transfer.{_HOMES[name]}")
            return home if name == _HOMES[name] else getattr(home, name)
    if name in {"download", "multipart_upload"}:
        # RuntimeError, as an AttributeError makes old Hub clients say "pip install hf_transfer".
        from hf_transfer._guard import MEND

        raise RuntimeError(
            f"`hf_transfer.{name}` belongs to the download accelerator `hf_transfer` from PyPI; "
            f"this `hf_transfer` is {__kit__}. {MEND}"
        )
    raise AttributeError(f"module 'hf_transfer' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__

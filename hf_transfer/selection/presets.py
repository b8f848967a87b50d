"""Presets: `best` searches for layers and rate before it trains."""

from typing import TYPE_CHECKING

from hf_transfer import _guard  # noqa: F401
from hf_transfer.config.run_config import RunConfig
from hf_transfer.errors import RunError
from hf_transfer.machine.collection import no_collection
from hf_transfer.runs.results import CrossValidationResult

if TYPE_CHECKING:
    from datasets import Dataset

    from hf_transfer.data.labelled import LabelledData
    from hf_transfer.study.engine import Engine
    from hf_transfer.tasks.task import Task


def fine_tune(
    task: "Task", dataset: "Dataset | LabelledData", config: RunConfig, engine: "Engine | None" = None
) -> CrossValidationResult:
    """Cross-validate a configuration and make the final model; `preset=best` searches first.

    Args:
        task: What to learn.
        dataset: Labelled rows.
        config: How to learn; its preset says how much is tried.
        engine: Trains folds and final model elsewhere; None trains them here.

    Raises:
        TransferError: As `cross_validate` and `search` do.
    """
    # Imported here: a recipe's --help needs no torch, and other presets nothing that ranks models.
    if config.preset != "best":
        with no_collection():
            from hf_transfer.study.cross_validation import cross_validate
        return cross_validate(task, dataset, config, engine=engine)
    with no_collection():
        from hf_transfer.selection.search.run import search
    found = search(task, dataset, config, engine=engine)
    if not found.judged:
        raise RunError(str(found.partial))
    return CrossValidationResult.load(config.output_dir)

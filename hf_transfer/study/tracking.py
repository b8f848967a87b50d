"""Log folds to Accelerate's trackers: one run a fold, one group a configuration."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from accelerate.tracking import LOGGER_TYPE_TO_CLASS, GeneralTracker

from hf_transfer import _guard  # noqa: F401
from hf_transfer.config.run_config import RunConfig
from hf_transfer.errors import ConfigError


class FoldTracker:
    """Logs the epochs of one fold; does nothing if `report_to` is `none`.

    Args:
        config: Of which `report_to` and `output_dir` are used: the folder's name is the group.
        fold: Name of the fold, e.g. r0f3.

    Raises:
        ConfigError: If the tracker's package is not installed.
    """

    def __init__(self, config: RunConfig, fold: str) -> None:
        self.tracker = None if config.report_to == "none" else _start(config, fold)

    def epoch(self, epoch: dict[str, Any]) -> None:
        """Log an epoch's numbers."""
        if self.tracker is not None:
            numbers = {k: v for k, v in epoch.items() if isinstance(v, (int, float)) and k != "epoch"}
            self.tracker.log(numbers, step=epoch["epoch"])

    def finish(self, scores: dict[str, float | None]) -> None:
        """Log the held-out scores, and close the run."""
        if self.tracker is not None:
            self.tracker.log({f"valid/{name}": value for name, value in scores.items() if value is not None})
            self.tracker.finish()


def _start(config: RunConfig, fold: str) -> GeneralTracker:
    group, logs = Path(config.output_dir).name, Path(config.output_dir) / "logs"
    make: dict[str, Callable[[Any], GeneralTracker]] = {
        "tensorboard": lambda kind: kind(fold, logging_dir=logs),
        "wandb": lambda kind: kind("hf-transfer-kit", name=f"{group}/{fold}", group=group, reinit=True),
        "trackio": lambda kind: kind("hf-transfer-kit", name=f"{group}-{fold}", group=group),
        "mlflow": lambda kind: kind(group, run_name=fold),
    }
    kind = LOGGER_TYPE_TO_CLASS[config.report_to]
    # In parallel folds every process has folds of its own to log, not only the main one.
    kind = type(kind.__name__, (kind,), {"main_process_only": False})
    try:
        tracker = make[config.report_to](kind)
        tracker.start()
    except ImportError as error:
        raise ConfigError(
            f"report_to={config.report_to!r} needs it installed: pip install {config.report_to}."
        ) from error
    tracker.store_init_configuration(
        {k: v for k, v in config.to_dict().items() if isinstance(v, (int, float, str))}
    )
    return tracker

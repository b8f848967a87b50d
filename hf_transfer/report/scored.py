"""Score a run's final model on rows it has not seen, and keep the scores with their pictures."""

from pathlib import Path
from typing import Any

import pyarrow as pa

from hf_transfer import _guard  # noqa: F401
from hf_transfer.config.run_config import RunConfig
from hf_transfer.errors import ConfigError
from hf_transfer.machine.files import json_bytes, new_folder, table_bytes
from hf_transfer.machine.paths import refuse_folders_elsewhere
from hf_transfer.runs.hub.fetch import is_repository
from hf_transfer.runs.records import Results
from hf_transfer.runs.results import read_results
from hf_transfer.runs.schema import to_json
from hf_transfer.runs.scored_record import PREDICTIONS, SCORES_FILE, ScoredRows, scored_folder
from hf_transfer.scores.calibration import reliability_bins
from hf_transfer.scores.scorer import Scorer


def score(run: str | Path, dataset: str | Path, *, wise_curve: bool = False, **settings: Any) -> ScoredRows:
    """Score a run's final model on labelled rows that it has not learned from.

    The scores, predictions and pictures are kept in the run's folder, in `scored/`.

    Args:
        run: A finished run's folder with its final model.
        dataset: What `--dataset` takes, with labels.
        wise_curve: Whether to score every share of the fine-tuned weights too, of a run with `wise`.
        settings: Settings of these rows, such as `split` and `label_column`; the run's are used else.

    Raises:
        ConfigError: If the run kept no final model, or for a curve not both ends of it.
        DataError: If the rows cannot be used, have a label that the run has not, or were all learned from.
    """
    from hf_transfer.study.final.scored import scoring_config

    config = scoring_config(local_results(run), str(dataset)).changed(settings)
    return score_with(run, config, wise_curve=wise_curve)[0]


def score_with(run: str | Path, config: RunConfig, *, wise_curve: bool = False) -> tuple[ScoredRows, Path]:
    """Do what `score` does, with all settings of the rows; give the record, and where it is kept."""
    from hf_transfer.study.final.scored import score_rows
    from hf_transfer.study.final.trained import TrainedModel

    model = TrainedModel.open(run, trust_remote_code=config.trust_remote_code)
    refuse_folders_elsewhere(model.run)
    record, tables = score_rows(model, config, wise_curve=wise_curve)
    folder = scored_folder(model.run, record)
    folder.parent.mkdir(exist_ok=True)
    with new_folder(folder) as beside:
        (beside / SCORES_FILE).write_bytes(json_bytes(to_json(record)))
        for name, table in tables.items():
            (beside / f"{name}.parquet").write_bytes(table_bytes(table))
        _draw(record, tables[PREDICTIONS], model.task.target.scorer, beside)
    return record, folder


def _draw(record: ScoredRows, table: pa.Table, scorer: Scorer, folder: Path) -> None:
    """Confusion matrix, reliability diagram and curve over shares, where there are such."""
    from hf_transfer.report.plots.reliability import reliability_curves
    from hf_transfer.report.plots.scores import confusion_matrix, save
    from hf_transfer.report.plots.shares import share_curve

    if record.confusion:
        save(confusion_matrix(record.confusion, scorer.label_names), folder / "confusion.png")
    if found := reliability_bins(table, scorer):
        error, bins = found
        picture = reliability_curves([(f"the published model (error {error:.3f})", bins)])
        save(picture, folder / "reliability.png")
    if curve := share_curve(record):
        save(curve, folder / "wise_curve.png")


def local_results(run: str | Path) -> Results:
    """The results of a run in a folder, beside which scores can be kept.

    Raises:
        ConfigError: If it is a repository, or no finished run.
    """
    if is_repository(run):
        raise ConfigError(
            f"{run} is on the Hub, and scores are kept beside a run. Download it first: "
            f"hf download {run} --local-dir {Path(run).name}"
        )
    return read_results(run)

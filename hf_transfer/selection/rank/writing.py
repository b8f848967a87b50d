"""Write a ranking to its folder: rank.json, and a plot of the layers."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hf_transfer import _guard  # noqa: F401
from hf_transfer.config.run_config import RunConfig
from hf_transfer.machine.files import make_folder, write_json
from hf_transfer.report.card.card import update_card
from hf_transfer.runs.schema import to_json
from hf_transfer.selection.rank.ranking import Ranking, rank_models
from hf_transfer.selection.rank.words import TRUST, conclusion


def rank(
    dataset: str | Path,
    models: Sequence[str],
    *,
    kind: str | None = None,
    num_repeats: int | None = None,
    priors: Mapping[str, float] | None = None,
    **settings: Any,
) -> Ranking:
    """Show which of some pretrained models is a good start for a data set; nothing is trained.

    Args:
        dataset: What `--dataset` takes.
        models: What `--base_model` takes, one or more.
        kind: What a row's input is (`image`, `text`, `tokens`); found by itself when not given.
        num_repeats: How often to repeat with other folds; by the number of rows when not given.
        priors: What is known of a model beforehand, by its name or the end of it.
        settings: Others, such as `max_rows`, `num_folds` and `output_dir`, where rank.json goes.

    Raises:
        TransferError: As `rank_models` does.
    """
    config = RunConfig(dataset=str(dataset), output_dir="runs/rank").changed(settings)
    return run_ranking(config, models, kind=kind, num_repeats=num_repeats, priors=priors)[0]


def run_ranking(config: RunConfig, models: Sequence[str], **options: Any) -> tuple[Ranking, dict[str, Any]]:
    """The same from settings that are read already; gives the content of rank.json too."""
    folder = Path(config.output_dir)
    make_folder(folder)
    found = rank_models(config, models, **options)
    value = write_ranking(found, folder)
    update_card(folder)
    return found, value


def write_ranking(ranking: Ranking, folder: Path) -> dict[str, Any]:
    """Write rank.json and depth.png into a folder, which is there; gives the content of the former."""
    from hf_transfer.report.plots.depth import depth_plot
    from hf_transfer.report.plots.scores import save

    record = ranking.record
    pairs = zip(record.candidates, ranking.candidates, strict=True)
    concluded = [replace(told, conclusion=conclusion(ranking, candidate)) for told, candidate in pairs]
    value: dict[str, Any] = to_json(replace(record, candidates=concluded, trust=TRUST))
    write_json(folder / "rank.json", value)
    save(depth_plot(record), folder / "depth.png")
    return value

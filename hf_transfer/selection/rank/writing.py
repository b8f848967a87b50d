"""Write a ranking to its folder: rank.json, and a plot of the layers."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from hf_transfer import _guard  # noqa: F401
from hf_transfer.machine.files import write_json
from hf_transfer.runs.schema import to_json
from hf_transfer.selection.rank.ranking import Ranking
from hf_transfer.selection.rank.words import TRUST, conclusion


def write_ranking(ranking: Ranking, folder: Path) -> dict[str, Any]:
    """Write rank.json and depth.png into a folder; gives the content of the former."""
    from hf_transfer.report.plots.depth import depth_plot
    from hf_transfer.report.plots.scores import save

    record = ranking.record
    pairs = zip(record.candidates, ranking.candidates, strict=True)
    concluded = [replace(told, conclusion=conclusion(ranking, candidate)) for told, candidate in pairs]
    value: dict[str, Any] = to_json(replace(record, candidates=concluded, trust=TRUST))
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "rank.json", value)
    save(depth_plot(record), folder / "depth.png")
    return value

"""Write a ranking to its folder: rank.json, and a plot of the layers."""

from pathlib import Path
from typing import Any

from hf_transfer import _guard  # noqa: F401
from hf_transfer.machine.files import write_json
from hf_transfer.selection.rank.ranking import Ranking
from hf_transfer.selection.rank.words import TRUST, conclusion


def write_ranking(ranking: Ranking, folder: Path) -> dict[str, Any]:
    """Write rank.json and depth.png into a folder; gives the content of the former."""
    from hf_transfer.report.plots.depth import depth_plot
    from hf_transfer.report.plots.scores import save

    value = ranking.to_dict() | {"trust": TRUST}
    for described, candidate in zip(value["candidates"], ranking.candidates, strict=True):
        described["conclusion"] = conclusion(ranking, candidate)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "rank.json", value)
    save(depth_plot(value), folder / "depth.png")
    return value

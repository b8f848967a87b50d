"""`hf-transfer rank`: from the words of the command line to a table, a picture and rank.json."""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hf_transfer import _guard  # noqa: F401
from hf_transfer.config.run_config import RunConfig
from hf_transfer.errors import ConfigError
from hf_transfer.machine.files import write_json

if TYPE_CHECKING:
    from hf_transfer.selection.rank.ranking import Ranking


def rank_command(options: argparse.Namespace) -> tuple[dict[str, Any], str]:
    """Rank models as asked, and write rank.json and depth.png: as values, and as text.

    Raises:
        ConfigError: If a prior is not NAME=VALUE, or a setting is wrong.
        TransferError: If the data or a model cannot be used.
    """
    from hf_transfer.selection.rank.ranking import rank_models
    from hf_transfer.selection.rank.words import ranking_text

    defaults = replace(RunConfig(), dataset=options.dataset, output_dir="runs/rank")
    config = RunConfig.from_args(defaults, options.settings)
    ranking = rank_models(
        config,
        options.models,
        kind=options.kind,
        num_repeats=options.num_repeats,
        priors=read_priors(options.prior),
    )
    folder = Path(config.output_dir)
    value = write_ranking(ranking, folder)
    files = f"Layer by layer: {folder / 'depth.png'}. All figures: {folder / 'rank.json'}."
    return value, f"{ranking_text(ranking)}\n\n{files}"


def write_ranking(ranking: "Ranking", folder: Path) -> dict[str, Any]:
    """Write rank.json and depth.png into a folder; gives the content of the former."""
    from hf_transfer.report.plots.depth import depth_plot
    from hf_transfer.report.plots.scores import save
    from hf_transfer.selection.rank.words import TRUST, conclusion

    value = ranking.to_dict() | {"trust": TRUST}
    for described, candidate in zip(value["candidates"], ranking.candidates, strict=True):
        described["conclusion"] = conclusion(ranking, candidate)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "rank.json", value)
    save(depth_plot(value), folder / "depth.png")
    return value


def read_priors(words: Sequence[str]) -> dict[str, float]:
    """Read NAME=VALUE words.

    Raises:
        ConfigError: If one is not.
    """
    found = {}
    for word in words:
        name, _, value = word.rpartition("=")
        try:
            found[name] = float(value)
        except ValueError:
            name = ""
        if not name:
            raise ConfigError(f"--prior {word!r} is not NAME=VALUE, such as resnet18=69.8.")
    return found

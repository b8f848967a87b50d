"""How good is what the kit chooses by itself? The default beside a grid of rates and epochs.

    python benchmarks/defaults.py --output_dir FOLDER PAIRS.txt

Each line of PAIRS.txt is a pair of model and set: WHAT KIND MODEL DATASET ROWS, of which WHAT is what
learns (`head`, `last:2`, `all`, `scratch`). For each: every one of four rates at every one of three numbers
of epochs, by plain settings (random start of the head, one rate for all layers), and the kit's default
(nothing said but WHAT), under the same folds.

Regret: the score of the best of the twelve less that of the default, in percentage points. The best of twelve
is partly the luckiest, so that even the truly best settings have some regret: the best is also given with the
luck taken out (bootstrap bias correction). Below 0, the default beats all twelve. It resumes where it was
stopped. `--only grid` leaves the defaults out.
"""

import argparse
import sys
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from hf_transfer import RunConfig, cross_validate, open_dataset
from hf_transfer.runs.results import read_results
from hf_transfer.tasks import task_of_kind

# Rates and epochs of the grid, by what learns; those of networks without attention go last.
TRANSFORMERS = {
    "head": ((1e-3, 3e-3, 1e-2, 3e-2), (5, 20, 60)),
    "last:2": ((1e-4, 3e-4, 1e-3, 3e-3), (3, 10, 30)),
    "all": ((3e-5, 1e-4, 3e-4, 1e-3), (3, 8, 20)),
    "scratch": ((1e-4, 3e-4, 1e-3, 3e-3), (3, 10, 30)),
}
CONVOLUTIONAL = TRANSFORMERS | {
    "all": ((1e-4, 3e-4, 1e-3, 3e-3), (3, 10, 30)),
    "scratch": ((3e-4, 1e-3, 3e-3, 1e-2), (3, 10, 30)),
}
COLUMNS = (
    "what learns",
    "model",
    "set",
    "rows",
    "best of the grid",
    "without luck",
    "default",
    "regret, points",
    "grid's range",
)


@dataclass(frozen=True)
class Pair:
    """A model, a set, and what learns."""

    what: str
    kind: str
    model: str
    dataset: str
    num_rows: int

    @property
    def names(self) -> tuple[str, str]:
        """Short names of the model and the set."""
        path = Path(self.dataset)
        told = path.parent.name if path.name in {"train", "train.csv"} else path.name
        return Path(self.model).name.removeprefix("builtin:"), told.removeprefix("builtin:")

    @property
    def folder(self) -> str:
        """Of its runs."""
        return "-".join([*self.names, self.what.replace(":", ""), str(self.num_rows)]).replace(":", "-")


def main() -> None:
    options = read_options()
    print(f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}")
    regrets: defaultdict[str, list[tuple[float, float]]] = defaultdict(list)
    for line in Path(options.pairs).read_text(encoding="utf-8").splitlines():
        if line.strip() and not line.startswith("#"):
            what, kind, model, dataset, rows = line.split()
            pair = Pair(what, kind, model, dataset, int(rows))
            regret = one_pair(pair, options)
            if regret is not None:
                regrets[pair.what].append(regret)
    for what, found in regrets.items():
        regret, fair = (list(column) for column in zip(*found, strict=True))
        print(
            f"\n{what}: mean regret {fmean(regret):.2f} points over {len(regret)}, at most {max(regret):.1f};"
        )
        print(f"without the luck of the best {fmean(fair):.2f}, at most {max(fair):.1f}.")


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("pairs", metavar="PAIRS.txt", help="a line for each pair of model and set")
    parser.add_argument("--output_dir", required=True, help="folder of the runs")
    parser.add_argument("--only", choices=("grid", "default"), help="run one half of it")
    parser.add_argument("--num_folds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--num_threads", type=int)
    return parser.parse_args()


def one_pair(pair: Pair, options: argparse.Namespace) -> tuple[float, float] | None:
    """Regret of the default on one pair, also without luck, with its line of the table.

    None where a half is missing.
    """
    place = Path(options.output_dir) / pair.folder
    if options.only != "default":
        run(pair, options, place / "grid", grid=True)
    if options.only != "grid":
        run(pair, options, place / "default", grid=False)
    if not all((place / half / "results.json").is_file() for half in ("grid", "default")):
        return None
    grid, default = read_results(place / "grid"), read_results(place / "default")
    metric = grid.primary_metric
    scores = {settings(entry.settings): entry.scores[metric].mean for entry in grid.grid or ()}
    best = max(scores, key=scores.__getitem__)
    fair = next(entry.bbc for entry in grid.grid or () if settings(entry.settings) == best)
    reached = default.scores[metric].mean
    regret = 100 * (scores[best] - reached)
    line = (
        pair.what, *pair.names, f"{default.dataset.num_rows:,}", f"{best}: {scores[best]:.3f}",
        f"{fair:.3f}",
        f"{settings(default.config.to_dict())}: {reached:.3f}", f"{regret:.1f}",
        f"{min(scores.values()):.3f} to {max(scores.values()):.3f}",
    )  # fmt: skip
    print(f"| {' | '.join(line)} |", flush=True)
    return regret, 100 * (fair - reached)


def settings(values: dict[str, Any]) -> str:
    """Say with which settings something was trained."""
    if values.get("head_solver", "gradient") != "gradient":
        return "closed form"
    return f"{values['learning_rate']:g}, {values['num_epochs']} epochs"


def run(pair: Pair, options: argparse.Namespace, folder: Path, *, grid: bool) -> None:
    """Cross-validate the grid or the default into a folder; what is there already is not computed again."""
    if (folder / "results.json").is_file():
        return
    config = RunConfig(
        base_model=pair.model,
        dataset=pair.dataset,
        max_rows=pair.num_rows,
        num_folds=options.num_folds,
        num_repeats=1,
        seed=options.seed,
        num_threads=options.num_threads,
        trainable="all" if pair.what == "scratch" else pair.what,
        from_scratch=pair.what == "scratch",
        max_length=None if pair.kind == "image" else 128,
        batch_size=16 if pair.kind == "tokens" else 32,
        final="none",
        output_dir=str(folder),
    )
    data = open_dataset(config, pair.kind)  # type: ignore[arg-type]
    task = task_of_kind(pair.kind)(config, data.label_names)
    cross_validate(task, data, config, grid=plain_grid(pair, config) if grid else ())
    print(f"{folder.parent.name}: {folder.name} is done", file=sys.stderr)


def plain_grid(pair: Pair, config: RunConfig) -> list[RunConfig]:
    """Four rates at three numbers of epochs, all else as it is without any choice by the kit."""
    attention = pair.kind != "image" or "vit" in pair.model
    rates, epochs = (TRANSFORMERS if attention else CONVOLUTIONAL)[pair.what]
    plain = replace(
        config, head_solver="gradient", head_start="random", layer_decay=1.0, warmup=0.1, weight_decay=0.01
    )
    return [replace(plain, learning_rate=rate, num_epochs=many) for many in epochs for rate in rates]


if __name__ == "__main__":
    main()

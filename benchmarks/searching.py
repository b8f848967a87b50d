"""What a search loses against trying everything, and what it costs beside that.

    python benchmarks/searching.py --output_dir FOLDER image,MODEL,DATASET text,MODEL,DATASET …

For each set: every candidate at every rate under k folds of all rows (the exhaustive grid), and the search
in one mode.

Regret: the score of the grid's best configuration less that of the one that the search chose, both as the
grid scored them, in percentage points. The best of twenty is partly the luckiest, so that even a perfect
choice has some regret: the grid's best is also given with the luck taken out (bootstrap bias correction), and
so is whether the choice is within one corrected standard error of the best.

Cost: all that the search trained and scored, trials and judging by the real folds together, as a share of
what the grid did. It is counted in forward passes of a row (a backward pass is two), so that it is the same
on every machine, and also measured in seconds. The final model counts for neither.

It resumes where it was stopped.
"""

import argparse
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hf_transfer import RunConfig, open_dataset
from hf_transfer.runs.fold_result import FoldResult
from hf_transfer.runs.reading import read_record
from hf_transfer.runs.records import GridEntry
from hf_transfer.runs.results import read_results
from hf_transfer.runs.search_record import Search
from hf_transfer.scores.statistics import corrected_error
from hf_transfer.selection.search.run import SearchOptions, search
from hf_transfer.tasks import task_of_kind

Choice = tuple[str, float]
COLUMNS = (
    "set", "model", "rows", "best of the grid", "without luck", "chosen", "regret, points", "within 1 SE",
    "cost, %", "trials alone, %", "seconds, %",
)  # fmt: skip


@dataclass(frozen=True)
class Loss:
    """What a search lost on one set, in points, and what it cost, in percent of the grid."""

    regret: float
    cost: float
    trials: float
    seconds: float


def main() -> None:
    options = read_options()
    print(f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}")
    found = [one_set(words, options) for words in options.sets]
    regret, cost = (sum(getattr(one, name) for one in found) / len(found) for name in ("regret", "cost"))
    print(f"\nMean regret {regret:.2f} points at {cost:.1f} % of the grid's cost.")


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sets", nargs="+", metavar="KIND,MODEL,DATASET", help="kind: image, text or tokens")
    parser.add_argument("--output_dir", required=True, help="folder of the runs")
    parser.add_argument("--mode", default="design-slice", help="of the search")
    parser.add_argument("--max_rows", type=int, default=1000)
    parser.add_argument("--num_folds", type=int, default=5)
    parser.add_argument("--num_epochs", type=int, default=3)
    parser.add_argument("--batch_size", type=int, default=32)
    parser.add_argument("--learning_rates", type=float, nargs="*", default=(), help="instead of the usual")
    parser.add_argument("--max_length", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def one_set(words: str, options: argparse.Namespace) -> Loss:
    """Regret and cost on one set, with its line of the table."""
    kind, model, dataset = words.split(",", 2)
    place = Path(options.output_dir) / name_of(model, dataset)
    grid = run(kind, model, dataset, options, place / "grid", exhaustive=True)
    chosen = run(kind, model, dataset, options, place / options.mode, mode=options.mode)
    results, metric = read_results(grid), read_results(grid).primary_metric
    entries = {key(entry): entry for entry in results.grid or ()}
    scores = {choice: entry.scores[metric].mean for choice, entry in entries.items()}
    best, picked = max(scores, key=scores.__getitem__), chosen_by(about(chosen))
    regret = 100 * (scores[best] - scores[picked])
    loss = Loss(regret, *costs(grid, chosen))
    line = (
        f"{Path(dataset).parent.name}/{Path(dataset).stem}", Path(model).name.removeprefix("builtin:"),
        f"{results.dataset.num_rows:,}", f"{said(best)}: {scores[best]:.3f}",
        without_luck(entries[best]), f"{said(picked)}: {scores[picked]:.3f}", f"{regret:.1f}",
        "yes" if within_one_error(entries[best], entries[picked], metric) else "no",
        f"{loss.cost:.1f}", f"{loss.trials:.1f}", f"{loss.seconds:.0f}",
    )  # fmt: skip
    print(f"| {' | '.join(line)} |", flush=True)
    return loss


def name_of(model: str, dataset: str) -> str:
    """The folder of a set with a model."""
    return f"{Path(model).name}-{Path(dataset).parent.name}-{Path(dataset).stem}".replace(":", "-")


def run(kind: str, model: str, dataset: str, options: argparse.Namespace, folder: Path, **how: Any) -> Path:
    """A search into a folder; what is there already is not computed again."""
    if not (folder / "search.json").is_file():
        config = RunConfig(
            base_model=model, dataset=dataset, max_rows=options.max_rows,
            num_folds=options.num_folds, num_repeats=1,
            num_epochs=options.num_epochs, batch_size=options.batch_size,
            learning_rates=tuple(options.learning_rates),
            max_length=options.max_length if kind != "image" else None,
            seed=options.seed, final="none", output_dir=str(folder),
        )  # fmt: skip
        data = open_dataset(config, kind)  # type: ignore[arg-type]
        search(task_of_kind(kind)(config, data.label_names), data, config, SearchOptions(**how))
        print(f"{folder.parent.name}: {folder.name} is done", file=sys.stderr)
    return folder


def about(folder: Path) -> Search:
    return read_record(Search, folder / "search.json")


def costs(grid: Path, chosen: Path) -> tuple[float, float, float]:
    """Cost of a search, of its trials alone, and its seconds, in percent of the grid's."""
    price = {one.trainable: one.cost for one in about(grid).candidates}
    whole, judged = (passes(configurations(folder), price) for folder in (grid, chosen))
    trials = about(chosen).trial_passes
    seconds = about(chosen).trial_seconds + time_of(configurations(chosen))
    shares = (trials + judged) / whole, trials / whole, seconds / time_of(configurations(grid))
    return tuple(100 * share for share in shares)  # type: ignore[return-value]


def configurations(folder: Path) -> list[tuple[str, list[FoldResult]]]:
    """What the real folds scored: what each trains, and its folds."""
    results = read_results(folder)
    if results.grid is None:
        return [(results.config.trainable, results.folds)]
    return [(entry.settings["trainable"], entry.folds) for entry in results.grid]


def passes(entries: Iterable[tuple[str, list[FoldResult]]], price: Mapping[str, float]) -> float:
    """Forward passes of a row: training from the lowest layer that learns, and scoring."""
    return sum(
        price[trainable] * fold.num_train * fold.num_epochs + fold.num_valid + fold.train_rows_scored
        for trainable, folds in entries
        for fold in folds
    )


def time_of(entries: Iterable[tuple[str, list[FoldResult]]]) -> float:
    return sum(fold.seconds for _, folds in entries for fold in folds)


def without_luck(best: GridEntry) -> str:
    return "-" if best.bbc is None else f"{best.bbc:.3f}"


def within_one_error(best: GridEntry, picked: GridEntry, metric: str) -> bool:
    """Whether a configuration is at most one corrected standard error of the difference behind the best."""
    pairs = zip(best.folds, picked.folds, strict=True)
    behind = np.array([a.scores[metric] - b.scores[metric] for a, b in pairs])  # type: ignore[operator]
    return bool(behind.mean() <= corrected_error(behind, len(behind)))


def key(entry: GridEntry) -> Choice:
    return entry.settings["trainable"], entry.learning_rate


def chosen_by(search: Search) -> Choice:
    assert search.judged is not None
    return search.judged.trainable, search.judged.learning_rate


def said(choice: Choice) -> str:
    return f"{choice[0]} at {choice[1]:g}"


if __name__ == "__main__":
    main()

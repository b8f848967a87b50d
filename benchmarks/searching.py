"""What a search loses against trying everything, and what it costs beside that.

    python benchmarks/searching.py --output_dir FOLDER image,MODEL,DATASET text,MODEL,DATASET …

For each set: every candidate at every rate under k folds of all rows (the exhaustive grid), and the search
in one mode. The regret is the score of the grid's best configuration less that of the one that the search
chose, both as the grid scored them, in percentage points. The cost of the search is the time of its trials
and of judging its finalists, as a share of the time of the grid; the final model counts for neither.

It goes on where it was stopped.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from hf_transfer import RunConfig, open_dataset
from hf_transfer.results import read_results
from hf_transfer.search import SearchOptions, search
from hf_transfer.tasks import task_of_kind


def main() -> None:
    options = read_options()
    print(f"| set | model | rows | best of the grid | chosen | regret, points | cost, % |\n|{'---|' * 7}")
    found = [one_set(words, options) for words in options.sets]
    regrets, costs = zip(*found, strict=True)
    print(f"\nMean regret {mean(regrets):.2f} points at {mean(costs):.1f} % of the cost.")


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
    parser.add_argument("--max_length", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def one_set(words: str, options: argparse.Namespace) -> tuple[float, float]:
    """Regret and cost on one set, with its line of the table."""
    kind, model, dataset = words.split(",", 2)
    name = f"{Path(model).name}-{Path(dataset).parent.name}-{Path(dataset).stem}".replace(":", "-")
    grid = run(kind, model, dataset, options, Path(options.output_dir) / name / "grid", exhaustive=True)
    chosen = run(
        kind, model, dataset, options, Path(options.output_dir) / name / options.mode, mode=options.mode
    )
    entries = read_results(grid)["grid"]
    metric = read_results(grid)["primary_metric"]
    scores = {key(entry): entry["scores"][metric]["mean"] for entry in entries}
    best = max(scores, key=scores.__getitem__)
    about = json.loads((chosen / "search.json").read_text(encoding="utf-8"))
    picked = key(about["judged"])
    judged = read_results(chosen)
    whole = sum(fold["seconds"] for entry in entries for fold in entry["folds"])
    spent = about["trial_seconds"] + sum(
        fold["seconds"] for entry in judged["grid"] or [judged] for fold in entry["folds"]
    )
    regret, cost = 100 * (scores[best] - scores[picked]), 100 * spent / whole
    rows = read_results(grid)["dataset"]["num_rows"]
    print(
        f"| {Path(dataset).parent.name}/{Path(dataset).stem} | {Path(model).name} | {rows:,} "
        f"| {said(best)}: {scores[best]:.3f} | {said(picked)}: {scores[picked]:.3f} "
        f"| {regret:.1f} | {cost:.0f} |",
        flush=True,
    )
    return regret, cost


def run(kind: str, model: str, dataset: str, options: argparse.Namespace, folder: Path, **how: Any) -> Path:
    """A search into a folder; what is there already is not computed again."""
    if not (folder / "search.json").is_file():
        config = RunConfig(
            base_model=model, dataset=dataset, max_rows=options.max_rows, num_folds=options.num_folds,
            num_epochs=options.num_epochs, max_length=options.max_length if kind != "image" else None,
            seed=options.seed, final="none", output_dir=str(folder),
        )  # fmt: skip
        data = open_dataset(config, kind)  # type: ignore[arg-type]
        search(task_of_kind(kind)(config, data.label_names), data, config, SearchOptions(**how))
        print(f"{folder.parent.name}: {folder.name} is done", file=sys.stderr)
    return folder


def key(entry: dict[str, Any]) -> tuple[str, float]:
    return entry["trainable"], entry["learning_rate"]


def said(choice: tuple[str, float]) -> str:
    return f"{choice[0]} at {choice[1]:g}"


def mean(values: tuple[float, ...]) -> float:
    return sum(values) / len(values)


if __name__ == "__main__":
    main()

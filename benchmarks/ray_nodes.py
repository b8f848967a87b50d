"""How much faster two nodes of a Ray cluster train the folds of a run than one.

    python benchmarks/ray_nodes.py            # about ten minutes on two cores that do nothing else
    python benchmarks/ray_nodes.py --quick    # a minute: shows that it works, and measures nothing

Full training of 10 folds in this process, on a cluster of one node and on one of two, in turns. Each node is
started for it on this machine, has one processor and an empty cache of its own, and trains with one thread.
Before the clock starts, every node has trained once, so that what its process imports is not counted. The
epochs of a fold are chosen here, before anything is timed, so that it takes about as long as asked for.
What the nodes find must be what this process finds, bit for bit, or this fails. Needs the extra `ray`.
"""

import argparse
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from report import machine, number, table, versions
from timing import Timing, all_of_it, interleaved, ratio

from hf_transfer import CrossValidationResult, RunConfig, cross_validate, open_dataset
from hf_transfer.data.opening import find_task

HERE = "this process"
STORE = 200_000_000  # bytes of a node's object store


def main() -> None:
    """Print the table, or stop if nodes find anything else."""
    options = parse()
    os.environ |= {"OMP_NUM_THREADS": "1", "RAY_USAGE_STATS_ENABLED": "0"}
    torch.set_num_threads(1)
    with TemporaryDirectory() as name:
        folder = Path(name)
        config = sized(configuration(options), options.seconds, folder)
        contenders = {
            HERE: lambda: here(config, folder),
            "one node": lambda: on_nodes(1, config, folder),
            "two nodes": lambda: on_nodes(2, config, folder),
        }
        found = interleaved(contenders, options.repeats)
        same = predictions(folder / HERE)
        different = [name for name in contenders if predictions(folder / name) != same]
    if different:
        sys.exit(f"Not what this process finds: {', '.join(different)}.")
    print(described(options, config))
    print(report(found))


def parse() -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="builtin:tiny-bert", help="what base_model takes")
    parser.add_argument("--dataset", default="builtin:reviews")
    parser.add_argument("--max_rows", type=int, default=400)
    parser.add_argument("--seconds", type=float, default=17.0, help="about what a fold takes (default 17)")
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="40 rows, folds of about a second, one repeat")
    options = parser.parse_args()
    if options.quick:
        options.max_rows, options.seconds, options.repeats = 40, 1.0, 1
    return options


def configuration(options: argparse.Namespace) -> RunConfig:
    """Ten folds in which all layers learn; nothing else is computed."""
    return RunConfig(
        base_model=options.model,
        dataset=options.dataset,
        max_rows=options.max_rows,
        trainable="all",
        num_folds=5,
        num_repeats=2,
        num_epochs=1,
        batch_size=16,
        learning_rate=1e-4,
        max_length=64,
        final="none",
        num_threads=1,
        seed=options.seed,
    )


def sized(config: RunConfig, seconds: float, folder: Path) -> RunConfig:
    """The same with as many epochs as a fold takes the wanted seconds for, by a training of 1 and of 6."""
    short, longer = (fold_seconds(replace(config, num_epochs=n), folder / f"sized{n}") for n in (1, 6))
    epoch = max((longer - short) / 5, 1e-3)
    return replace(config, num_epochs=max(1, round((seconds - short) / epoch) + 1))


def fold_seconds(config: RunConfig, folder: Path) -> float:
    """The least that a fold takes."""
    return min(fold.seconds for fold in trained(replace(config, num_repeats=1), folder).folds)


def trained(config: RunConfig, folder: Path) -> CrossValidationResult:
    """Cross-validate anew into a folder."""
    config = replace(config, output_dir=str(folder), overwrite=True)
    data = open_dataset(config, find_task(config))
    return cross_validate(data.task(config, data.target), data, config)


def here(config: RunConfig, folder: Path) -> Timing:
    """Train all folds in this process."""
    return timed(config, folder / HERE)


def on_nodes(nodes: int, config: RunConfig, folder: Path) -> Timing:
    """Train all folds on a new cluster, once each of its nodes has trained."""
    with cluster(nodes) as address:
        far = replace(config, engine="ray", ray_address=address)
        trained(replace(far, num_epochs=1, num_folds=2, num_repeats=1), folder / "first")
        return timed(far, folder / ("one node" if nodes == 1 else "two nodes"))


def timed(config: RunConfig, folder: Path) -> Timing:
    """Seconds from opening the data to the summary."""
    began = time.perf_counter()
    trained(config, folder)
    return all_of_it(time.perf_counter() - began)


@contextmanager
def cluster(nodes: int) -> Iterator[str]:
    """Nodes of one processor on this machine, each with a cache of its own; gives their address."""
    import ray
    from ray.cluster_utils import Cluster

    paths = os.pathsep.join([str(Path(__file__).parents[1]), *filter(None, sys.path)])
    with TemporaryDirectory() as caches:
        made = Cluster()
        for node in range(nodes):
            own = {"HF_DATASETS_CACHE": f"{caches}/{node}", "PYTHONPATH": paths}
            made.add_node(num_cpus=1, object_store_memory=STORE, include_dashboard=False, env_vars=own)
        try:
            yield made.address
        finally:
            ray.shutdown()
            made.shutdown()


def predictions(folder: Path) -> list[pa.Table]:
    """Those of all folds."""
    return [pq.read_table(path) for path in sorted(folder.glob("folds/*/predictions.parquet"))]


def described(options: argparse.Namespace, config: RunConfig) -> str:
    """A paragraph on machine, versions and sizes."""
    import ray

    return (
        f"{machine(1)}.\n{versions()}, ray {ray.__version__}.\n{options.model} on "
        f"{options.max_rows} rows of {options.dataset}, all layers learn, 10 folds of {config.num_epochs} "
        f"epochs, {options.repeats} repeats, seed {options.seed}. Predictions are the same to the bit.\n"
    )


def report(found: dict[str, list[Timing]]) -> str:
    """Seconds of each, and how much faster it is than one node."""
    rows = [
        (name, number(min(timing.whole for timing in timings)), ratio(found, "one node", name))
        for name, timings in found.items()
    ]
    return table(("10 folds on", "s, least", "one node / it"), rows)


if __name__ == "__main__":
    main()

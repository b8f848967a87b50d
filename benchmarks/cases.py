"""The cases: what is run, in which order, and the table that it gives."""

import argparse
from collections.abc import Callable
from functools import partial
from statistics import median

import torch
from apart import PEERS, Apart
from child import run_child
from parts import parts
from report import number, table
from timing import Timing, all_of_it, interleaved, ratio
from workload import Workload, run_kit_anew

MIB = 2**20


def side_by_side(work: Workload, options: argparse.Namespace) -> None:
    """The kit, the two peers and one pass."""
    run_kit_anew(work.small)
    together = f"kit, {options.side_by_side} folds side by side"
    with Apart(work, options.workers) as peers:
        contenders: dict[str, Callable[[], Timing]] = {
            "kit": partial(run_here, work),
            **{name: partial(peers.run, name, whole=options.whole) for name in PEERS},
            "one pass, float32": peers.one_pass,
        }
        if options.side_by_side:
            contenders[together] = partial(run_side_by_side, work, options.side_by_side)
        if work.config.mixed_precision == "bf16":
            contenders["one pass, bfloat16"] = partial(peers.one_pass, "bf16")
        workers = peers.workers
        found = interleaved(contenders, options.repeats)
    print(comparison(work, found))
    print(f"\nMedians of {options.repeats} interleaved repeats; {workers} loading processes for the peers.")
    if not options.whole:
        epochs = f"(start + {work.config.num_epochs} x epoch + evaluation)"
        print(
            f"Peers: {work.config.num_folds} folds x {work.num_rates} rates x {epochs}, a part multiplied up."
        )
    print(f"The kit takes {ratio(found, 'kit', 'one pass, float32')} times one pass in float32.")
    if options.side_by_side:
        print(f"Trainer takes {ratio(found, 'Trainer', together)} times as long as the {together}.")


def comparison(work: Workload, found: dict[str, list[Timing]]) -> str:
    """The table of a side-by-side case."""
    columns = ("contender", "measured", "s measured", f"s for {work.size}", "times the kit")
    rows = [
        (
            name,
            measured_part(timings),
            number(median(t.measured for t in timings)),
            None if name.startswith("one pass") else number(median(t.whole for t in timings)),
            ratio(found, name, "kit"),
        )
        for name, timings in found.items()
    ]
    return table(columns, rows, words=2)


def measured_part(timings: list[Timing]) -> str:
    times = [t.times for t in timings if t.times is not None]
    if not times:
        return "all of it"
    start, epoch, evaluation = (
        number(median(getattr(t, part) for t in times)) for part in ("start", "epoch", "evaluation")
    )
    return f"start {start}, epoch {epoch}, evaluation {evaluation}"


def growth(work: Workload, options: argparse.Namespace) -> None:
    """How the kit's time grows with rows, folds, epochs and learning rates, one at a time."""
    rows, rates = len(work.data.rows), tuple(r for r in (1, 4, 8) if r <= work.num_rates)
    lines = {
        **{("rows", n): work.changed(max_rows=n) for n in quarters(rows)},
        **{("folds", n): work.changed(num_folds=n) for n in (2, 5, 10)},
        **{("epochs", n): work.changed(num_epochs=n) for n in (2, 5, 10)},
        **{("rates", n): work.changed(num_rates=n) for n in rates},
    }
    run_kit_anew(work.changed(max_rows=quarters(rows)[0], num_epochs=1, num_rates=1))  # loads the libraries
    runs = {f"{what} {n}": partial(run_here, one) for (what, n), one in lines.items()}
    found = interleaved(runs, options.repeats)
    first = {what: f"{what} {n}" for what, n in reversed(lines)}
    cells = [
        (
            what,
            n,
            number(median(t.whole for t in found[f"{what} {n}"])),
            ratio(found, f"{what} {n}", first[what]),
        )
        for what, n in lines
    ]
    print(table(("the kit, with other", "number", "seconds", "times the first"), cells))
    print(f"\nMedians of {options.repeats} interleaved repeats; else {rows:,} rows, {work.size}.")


def run_here(work: Workload) -> Timing:
    """The kit in this process."""
    return all_of_it(run_kit_anew(work))


def run_side_by_side(work: Workload, num_folds: int) -> Timing:
    """The kit with folds side by side; loading the libraries and warming up are in its time."""
    work = work.changed(folds_per_device=num_folds, num_threads=None)
    return all_of_it(run_child(work, processes=num_folds)["seconds"])


def processes(work: Workload, options: argparse.Namespace) -> None:
    """The kit in two processes against one, on processors, one thread each."""
    contenders = {
        f"{trainable} {n}": partial(run_apart, work.changed(trainable=trainable), n)
        for trainable in ("all", "head")
        for n in (1, 2)
    }
    found = interleaved(contenders, options.repeats)
    rows = [
        (
            trainable,
            *(number(median(t.whole for t in found[f"{trainable} {n}"])) for n in (1, 2)),
            ratio(found, f"{trainable} 1", f"{trainable} 2"),
        )
        for trainable in ("all", "head")
    ]
    print(table(("learns", "s, one process", "s, two processes", "times faster"), rows))
    print(f"\nMedians of {options.repeats} interleaved repeats, one thread a process, no GPU used.")


def run_apart(work: Workload, num_processes: int) -> Timing:
    """The kit in launched processes, from its call to its return: starting Python is not counted."""
    return all_of_it(run_child(work, processes=num_processes, on_processors=True)["seconds"])


def memory(work: Workload, options: argparse.Namespace) -> None:
    """Peak memory of the kit and of Trainer, as the rows grow."""
    columns = ["rows", "kit, MiB", "Trainer, MiB", "kit / Trainer"]
    gpu = torch.cuda.is_available()
    cells, before = [], 0.0
    for n in quarters(len(work.data.rows)):
        pairs = [
            [run_child(work.changed(max_rows=n), who) for who in ("kit", "trainer")]
            for _ in range(options.repeats)
        ]
        before = median(found["before"] for pair in pairs for found in pair)
        line = [f"{n:,}", *peaks(pairs, "peak")]
        cells.append(line + (peaks(pairs, "device_peak") if gpu else []))
    if gpu:
        columns += ["kit, MiB of GPU", "Trainer, MiB of GPU", "kit / Trainer"]
    print(table(columns, cells))
    print(f"\nMedians of {options.repeats} repeats, each in a process of its own; the libraries alone take "
          f"{before / MIB:,.0f} MiB. Mapped files count as long as the system keeps them in memory. Trainer "
          "runs one fold, epoch and rate, and loads in its own process.")  # fmt: skip


def peaks(pairs: list[list[dict[str, float]]], name: str) -> list[str]:
    """Median peaks of the kit and of Trainer, and their ratio."""
    kit, trainer = (median(found[name] for found in side) for side in zip(*pairs, strict=True))
    return [f"{kit / MIB:,.0f}", f"{trainer / MIB:,.0f}", number(kit / trainer)]


def quarters(rows: int) -> tuple[int, int, int]:
    """A quarter, a half and all of the rows."""
    return rows // 4, rows // 2, rows


RUNNERS: dict[str, Callable[[Workload, argparse.Namespace], None]] = {
    "frozen": side_by_side,
    "half": side_by_side,
    "full": side_by_side,
    "parts": parts,
    "growth": growth,
    "processes": processes,
    "memory": memory,
}

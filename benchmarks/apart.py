"""The peers in a process of their own: nothing that the kit sets for its process (memory kept) is theirs."""

from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from multiprocessing import get_context

import torch
from peers import Peer, PeerRows, best_workers, loop_fold, one_pass, peer_rows, trainer_fold
from timing import Timing, all_of_it
from workload import Workload

PEERS: dict[str, Peer] = {"Trainer": trainer_fold, "Accelerate loop": loop_fold}


class Apart(AbstractContextManager["Apart"]):
    """A process in which the peers take their turns, after each has run once on a few rows.

    Args:
        work: To do.
        workers: Loading processes; None takes what suits Trainer best.
    """

    def __init__(self, work: Workload, workers: int | None) -> None:
        given = (work.changed(), workers, torch.get_num_threads())
        self.pool = ProcessPoolExecutor(1, get_context("spawn"), _begin, given)

    def __exit__(self, *_: object) -> None:
        self.pool.shutdown()

    @property
    def workers(self) -> int:
        """Loading processes that are used."""
        return self.pool.submit(_workers).result()

    def run(self, peer: str, *, whole: bool) -> Timing:
        """All folds and rates, or one of each and one epoch, multiplied up."""
        return self.pool.submit(_run, peer, whole).result()

    def one_pass(self, precision: str = "no") -> Timing:
        """One forward pass over all rows."""
        return self.pool.submit(_one_pass, precision).result()


@dataclass(frozen=True)
class _Given:
    work: Workload
    rows: PeerRows


_given: list[_Given] = []  # of the process of the peers


def _begin(work: Workload, workers: int | None, threads: int) -> None:
    torch.set_num_threads(threads)
    small = work.small
    for peer in PEERS.values():
        peer(small, peer_rows(small), 0, small.rates[0], 1)
    one_pass(small, peer_rows(small))
    _given.append(_Given(work, peer_rows(work, best_workers(work) if workers is None else workers)))


def _workers() -> int:
    return _given[0].rows.workers


def _run(peer: str, whole: bool) -> Timing:
    work, rows, fold = _given[0].work, _given[0].rows, PEERS[peer]
    epochs = work.config.num_epochs
    if whole:
        units = [(number, rate) for rate in work.rates for number in range(work.config.num_folds)]
        return all_of_it(
            rows.seconds + sum(fold(work, rows, number, rate, epochs).fold(epochs) for number, rate in units)
        )
    times = fold(work, rows, 0, work.rates[0], 1)
    product = work.config.num_folds * work.num_rates * times.fold(epochs)
    return Timing(times.fold(1), rows.seconds + product, times)


def _one_pass(precision: str) -> Timing:
    return all_of_it(one_pass(_given[0].work, _given[0].rows, precision))

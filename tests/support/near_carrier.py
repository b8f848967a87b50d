"""Carries pieces of work no further than this process, and loses some: stands in for a cluster."""

import pickle
from collections.abc import Callable, Mapping

import numpy as np

from hf_transfer.cluster.handing import Outcome
from hf_transfer.cluster.work import work

PLAIN = (str, int, float, bool, type(None), bytes)


def assert_plain(value, where="it"):
    """Nothing but texts, numbers, bytes and arrays of bytes, in lists and mappings."""
    if isinstance(value, Mapping):
        assert type(value) is dict, where
        for name, inner in value.items():
            assert type(name) is str, where
            assert_plain(inner, f"{where}.{name}")
    elif isinstance(value, list | tuple):
        for number, inner in enumerate(value):
            assert_plain(inner, f"{where}[{number}]")
    elif isinstance(value, np.ndarray):
        assert value.dtype == np.uint8, where
    else:
        assert type(value) in PLAIN, f"{where} is {type(value)}"


class NearCarrier:
    """Does each piece of work when it is waited for, the last that was handed over first.

    Args:
        loses: Says why a piece of work does not come back, by its order; None of one that does.
        stop_after: Pieces of work after which the driver is killed.
    """

    gpus, places = 0.0, 2

    def __init__(self, loses: Callable = lambda order: None, stop_after: int | None = None):
        self.loses, self.stop_after = loses, stop_after
        self.put_bytes, self.orders, self.most_waiting, self.back_bytes = [], [], 0, []

    def put(self, value):
        assert_plain(value)
        sent = pickle.dumps(value, protocol=5)
        self.put_bytes.append(len(sent))
        return sent

    def start(self, order, about, bulk):
        assert_plain(order)
        self.orders.append(order)
        return len(self.orders) - 1, about, bulk

    def wait(self, tickets):
        if self.stop_after == 0:
            raise KeyboardInterrupt("SIGTERM")
        self.stop_after = None if self.stop_after is None else self.stop_after - 1
        self.most_waiting = max(self.most_waiting, len(tickets))
        ticket = tickets[-1]
        order = pickle.loads(pickle.dumps(self.orders[ticket[0]]))
        lost = self.loses(order)
        if lost:
            return ticket, Outcome(None, lost)
        found = work(order, *map(pickle.loads, ticket[1:]))
        assert_plain(found)
        self.back_bytes.append(len(pickle.dumps(found)))
        return ticket, Outcome(found)

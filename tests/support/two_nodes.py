"""A real cluster of two nodes on this machine, each with one processor and a store of 200 MB."""

import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from subprocess import Popen
from typing import Any

import pytest


@contextmanager
def two_nodes() -> Iterator[Any]:
    """Start the nodes, of which `second` can be removed; skips where Ray is not installed."""
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    # Nodes find the kit where this process does.
    paths = os.pathsep.join([str(Path(__file__).parents[2]), *filter(None, sys.path)])
    before = os.environ.get("PYTHONPATH")
    os.environ |= {"PYTHONPATH": paths, "RAY_USAGE_STATS_ENABLED": "0"}
    size = {"num_cpus": 1, "object_store_memory": 200_000_000, "include_dashboard": False}
    made = Cluster(initialize_head=True, head_node_args=size)
    made.second = made.add_node(num_cpus=1, object_store_memory=200_000_000)
    yield made
    import ray

    ray.shutdown()
    made.shutdown()
    os.environ.pop("PYTHONPATH") if before is None else os.environ.update(PYTHONPATH=before)


def wait_for(found: Callable[[], Sequence[Path]], number: int, driver: "Popen[bytes]") -> None:
    """Wait until a driver has left so many files."""
    end = time.monotonic() + 300
    while len(found()) < number:
        assert driver.poll() is None, "the driver has ended"
        assert time.monotonic() < end
        time.sleep(0.05)

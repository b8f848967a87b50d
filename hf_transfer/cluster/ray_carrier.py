"""Carry pieces of work to the nodes of a Ray cluster.

What goes through Ray's object store are texts, numbers and bytes. Ray itself pickles them, and the name of
the function that a node calls: nothing of it leaves the nodes of the cluster, and nothing of it is kept.
"""

import os
import re
import socket
from collections.abc import Sequence
from typing import Any

import torch

from hf_transfer import _guard  # noqa: F401
from hf_transfer.cluster.handing import Outcome, Plain
from hf_transfer.cluster.work import work
from hf_transfer.config.run_config import RunConfig
from hf_transfer.errors import ConfigError
from hf_transfer.machine.wording import count

_RETRIES = 3  # times that a piece of work is placed again when its node is lost
_ANSWER = 10  # seconds for a cluster to answer; Ray itself asks for minutes
# What decides how libraries compute and where they look, and has to be the same on all nodes.
_SAME = ("HF_HUB_OFFLINE", "CUBLAS_WORKSPACE_CONFIG", "MKL_CBWR", "ATEN_CPU_CAPABILITY")


class RayCarrier:
    """Each piece of work is a task of Ray, which places it again if its node is lost.

    Args:
        config: Of which `ray_address` and `gpus_per_unit` are used.

    Raises:
        ConfigError: If Ray is not installed, there is no cluster, or no node is large enough.
    """

    def __init__(self, config: RunConfig) -> None:
        self._ray = _connected(config)
        has_gpus = self._ray.cluster_resources().get("GPU", 0) > 0
        self.gpus = float(has_gpus) if config.gpus_per_unit is None else config.gpus_per_unit
        cpus = 1 if self.gpus else torch.get_num_threads()
        self.places = self._places(cpus)
        threads = str(torch.get_num_threads())
        environment = {name: os.environ[name] for name in _SAME if name in os.environ}
        self._work = self._ray.remote(
            num_cpus=cpus,
            num_gpus=self.gpus,
            max_retries=_RETRIES,
            retry_exceptions=False,
            runtime_env={
                "env_vars": environment | {"OMP_NUM_THREADS": threads, "OMP_WAIT_POLICY": "PASSIVE"}
            },
        )(work)

    def put(self, value: Plain) -> Any:
        """Store plain data once in the object store."""
        return self._ray.put(value)

    def start(self, order: Plain, about: Any, bulk: Any) -> Any:
        """Have `work` called on a node; the ticket is Ray's reference to what it will give."""
        return self._work.options(name=order["kind"]).remote(order, about, bulk)

    def wait(self, tickets: Sequence[Any]) -> tuple[Any, Outcome]:
        """Wait for one of some tasks.

        Raises:
            Exception: What the work raised itself, if that is a defect.
        """
        (ticket,), _ = self._ray.wait(list(tickets), num_returns=1)
        try:
            return ticket, Outcome(self._ray.get(ticket))
        except self._ray.exceptions.RayTaskError as error:
            raise error.cause or error from error
        except self._ray.exceptions.RayError as error:
            lines = str(error).strip().splitlines() or [type(error).__name__]
            return ticket, Outcome(None, f"Lost with its node, {_RETRIES + 1} times: {lines[0]}")

    def _places(self, cpus: int) -> int:
        """How many pieces of work all nodes do at once; none would wait for ever, so that this stops."""
        nodes = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        places = [node.get("CPU", 0) // cpus for node in nodes]
        if self.gpus:
            places = [min(n, node.get("GPU", 0) // self.gpus) for n, node in zip(places, nodes, strict=True)]
        if any(places):
            return int(sum(places))
        most = ", ".join(f"{node.get('CPU', 0):g} CPU and {node.get('GPU', 0):g} GPU" for node in nodes)
        raise ConfigError(
            f"A piece of work needs {cpus} CPU ({count(cpus, 'thread')}) and {self.gpus:g} GPU, and the "
            f"nodes of the cluster have {most}. Give --num_threads or --gpus_per_unit that a node has."
        )


def _connected(config: RunConfig) -> Any:
    """Ray, connected to the cluster.

    Raises:
        ConfigError: If it is not installed, there is no cluster, or the environment names another.
    """
    try:
        import ray
    except ImportError as error:
        raise ConfigError("engine='ray' needs Ray: pip install \"hf-transfer-kit[ray]\".") from error
    if not ray.is_initialized():
        try:
            _check_answers(config.ray_address)
            ray.init(address=config.ray_address, log_to_driver=False, configure_logging=False)
        except (OSError, ValueError, RuntimeError) as error:
            raise ConfigError(
                f"ray_address={config.ray_address!r}: no Ray cluster answers there "
                f"({str(error).strip().splitlines()[0]}). Start one with `ray start --head` here, and `ray "
                "start --address` on the other machines, or give the address of one."
            ) from error
    return ray


def _check_answers(address: str) -> None:
    """Ask whether anything listens where the cluster should be.

    Raises:
        OSError: If nothing does.
        ConfigError: If the environment names another cluster, to which Ray would go.
    """
    named = os.environ.get("RAY_ADDRESS") or address
    if address not in ("auto", named):
        raise ConfigError(
            f"ray_address={address!r}, and RAY_ADDRESS={named!r} in the environment, which Ray follows. "
            "Unset RAY_ADDRESS, or give the same."
        )
    if found := re.fullmatch(r"(?:ray://)?\[?([^/]+?)\]?:(\d+)", named):
        socket.create_connection((found[1], int(found[2])), timeout=_ANSWER).close()

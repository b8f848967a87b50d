"""An update that all processes at work together make, or none."""

from contextlib import AbstractContextManager

import torch
from torch import Tensor

from hf_transfer import _guard  # noqa: F401
from hf_transfer.machine.memory import is_out_of_memory
from hf_transfer.training.workers import Workers


class JointUpdate(AbstractContextManager["JointUpdate"]):
    """What a process computes by itself between two meetings with the others.

    Memory may run out in one of them alone. It keeps the error and goes on to where they meet, as they
    would wait for it there; then it ends the attempt of all. Where parts of the model travel in the
    middle of a pass, nobody can go on alone: there the error ends the process, and its launcher the others.
    """

    def __init__(self, workers: Workers) -> None:
        self.workers = workers
        self.error: BaseException | None = None

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> bool:
        alone = not self.workers.together or self.workers.sharded
        if error is None or alone or not is_out_of_memory(error):
            return False
        self.error = error
        return True

    def agreed(self, value: Tensor) -> Tensor:
        """Sum a number over the processes.

        Raises:
            OutOfMemoryError: In all, if memory ran out in one.
        """
        if not self.workers.together:
            return value
        failed = torch.full_like(value, float(self.error is not None))
        both = self.workers.total(torch.stack([value, failed]))
        if both[1] > 0:
            raise self.error or torch.OutOfMemoryError("out of memory in another process")
        return both[0]

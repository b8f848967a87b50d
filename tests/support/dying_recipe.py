"""The sentiment recipe, one process of which comes to grief; started by a launcher in tests.

    accelerate launch … tests/dying_recipe.py RANK PLACE HOW [settings]

RANK may be `all` or `none`; PLACE is `start`, `update` or `pass` (from the third on) or `fold` (each);
HOW is a name in `ENDS`.
"""

import os
import runpy
import signal
import sys
import time
from pathlib import Path

import hf_transfer
from hf_transfer.errors import DataError
from hf_transfer.study.fold_runner import FoldRunner
from hf_transfer.training.loop import Loop


def _raise(error):
    raise error


def _linger():
    """Take long, and let those outside know that this has begun."""
    (Path(sys.argv[-1]) / "lingers").touch()
    time.sleep(0.3)


_FIRST = iter([MemoryError("no room for this batch")])


def _memory_once():
    if error := next(_FIRST, None):
        raise error


ENDS = {
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "exit": lambda: os._exit(7),
    "refuse": lambda: _raise(DataError("Row 3 went bad.")),
    "memory": lambda: _raise(MemoryError("no room for this batch")),
    "memory-once": _memory_once,
    "crash": lambda: _raise(LookupError("a defect")),
    "linger": _linger,
}
PLACES = {"update": (Loop, "_update", 2), "pass": (Loop, "_learned", 2), "fold": (FoldRunner, "run", 0)}


def _after(end, owner, name, number):
    """Let a method be called so many times as ever, and something happen before each call that follows."""
    method, calls = getattr(owner, name), iter(range(number))

    def called(*words):
        if next(calls, None) is None:
            end()
        return method(*words)

    setattr(owner, name, called)


def main():
    rank, place, how, *settings = sys.argv[1:]
    sys.argv = ["sentiment.py", *settings]
    if rank in ("all", os.environ.get("RANK", "0")):
        _after(ENDS[how], *PLACES[place]) if place in PLACES else ENDS[how]()
    recipe = Path(hf_transfer.__file__).parents[1] / "recipes" / "sentiment.py"
    runpy.run_path(str(recipe), run_name="__main__")


if __name__ == "__main__":
    main()

import subprocess
import sys

import pytest

# Page faults of layers' outputs that come and go, before and after.
SCRIPT = """
import resource, torch
from hf_transfer.machine.allocator import keep_freed_memory
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        torch.ones(5_000_000)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
usual = faults()
print(keep_freed_memory(), usual, faults())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the GNU C library is needed")
@pytest.mark.slow
def test_memory_is_not_asked_for_twice():
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    taken, usual, kept = done.stdout.split()
    if taken == "False":
        pytest.skip("this C library has no such setting")
    assert int(kept) < int(usual) / 3


def test_elsewhere_there_is_nothing_to_set(monkeypatch):
    from hf_transfer.machine.allocator import keep_freed_memory, return_freed_memory

    monkeypatch.setattr(sys, "platform", "darwin")
    assert keep_freed_memory() is False
    assert return_freed_memory() is False

import errno

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hf_transfer.errors import DataError
from hf_transfer.machine import mapped
from hf_transfer.machine.cache import cache_folder
from hf_transfer.machine.mapped import mapped_rows, mapped_table

SCHEMA = pa.schema([("text", pa.string())])


def batches(texts, size=3):
    for start in range(0, len(texts), size):
        yield pa.record_batch({"text": pa.array(texts[start : start + size], pa.string())}, schema=SCHEMA)


def files():
    return {path.name for path in cache_folder().glob("*")} if cache_folder().exists() else set()


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=st.lists(st.text(max_size=8)), kept=st.sampled_from([0, 40, 10**6]))
def test_rows_are_the_same_in_memory_and_in_a_file(monkeypatch, texts, kept):
    monkeypatch.setattr(mapped, "KEPT_IN_MEMORY", kept)
    before = files()
    assert mapped_rows(batches(texts), SCHEMA)["text"][:] == texts
    assert files() == before


def test_many_rows_take_no_memory(monkeypatch):
    monkeypatch.setattr(mapped, "KEPT_IN_MEMORY", 10**4)
    before = pa.total_allocated_bytes()
    table = mapped_table(batches(["x" * 1000] * 2000), SCHEMA)
    assert pa.total_allocated_bytes() - before < 10**5
    assert table["text"][1999].as_py() == "x" * 1000


def test_a_full_disk_is_told_and_leaves_no_file(monkeypatch):
    def full(*_args):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(mapped, "KEPT_IN_MEMORY", 0)
    monkeypatch.setattr(pa.ipc, "new_stream", full)
    before = files()
    with pytest.raises(
        DataError, match=r"cannot be laid in .* \(No space left on device\).*HF_DATASETS_CACHE"
    ):
        mapped_table(batches(["a"]), SCHEMA)
    assert files() == before

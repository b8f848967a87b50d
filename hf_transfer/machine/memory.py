"""GPU and CPU memory: what fits, and out-of-memory errors."""

import gc

import torch

from hf_transfer import _guard  # noqa: F401
from hf_transfer.errors import RunError

_WORDS = ("DefaultCPUAllocator", "out of memory", "CUBLAS_STATUS_ALLOC_FAILED")


def fits_on_device(needed: float, device: torch.device) -> bool:
    """Whether this many bytes leave half of a GPU's free memory unused; always False on a CPU."""
    return device.type == "cuda" and needed < 0.5 * torch.cuda.mem_get_info(device)[0]


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means that memory ran out."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _WORDS)


def free_memory() -> None:
    """Release unused memory."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def first_words(error: BaseException) -> str:
    """The first line of an error, to stand in brackets."""
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")


def memory_error(error: BaseException, update: int, rows: int) -> RunError:
    """Make the error for a training that does not fit even with fewer rows at a time.

    Args:
        error: That memory ran out.
        update: At which it did.
        rows: That were taken at a time.
    """
    return RunError(
        f"Memory ran out at update {update} with {rows} rows at a time ({first_words(error)}). Set "
        f"per_device_batch_size to {max(1, rows // 2)} or less, which changes no update, or take a shorter "
        "max_length, a smaller model or fewer layers (trainable)."
    )

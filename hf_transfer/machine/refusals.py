"""Put into one sentence what the machine refused: a full disk, a right that is missing, one file too many."""

import errno
import re
from pathlib import Path

from hf_transfer import _guard  # noqa: F401
from hf_transfer.errors import DiskFullError, MachineError, TransferError
from hf_transfer.machine.files import full_words, is_disk_full

_AGAIN = "Finished work is kept: run the same command again to resume."
_ADVICE = {
    errno.EACCES: "Give this account the right to read and write there, or another folder.",
    errno.EPERM: "Give this account the right to read and write there, or another folder.",
    errno.EROFS: "The file system is read-only. Make it writable, or give another folder.",
    errno.EMFILE: "Raise the number of open files (`ulimit -n 4096`).",
    errno.ENFILE: "Other programs have too many files open. End some of them.",
    errno.ENAMETOOLONG: "Give a shorter name.",
    errno.EIO: "The disk or its connection is failing. Look at the log of the system.",
}
# What libraries say in errors that carry no number.
_WORDS = re.compile(r"Too many open files|Permission denied|Read-only file system|Input/output error")
_NUMBERS = {
    "Too many open files": errno.EMFILE, "Permission denied": errno.EACCES,
    "Read-only file system": errno.EROFS, "Input/output error": errno.EIO,
}  # fmt: skip


def refusal(error: BaseException) -> TransferError | None:
    """What an error says of the machine, as one of ours; None where the error is of another kind.

    Args:
        error: As it was raised, by this package or by a library below it.
    """
    if is_disk_full(error):
        return DiskFullError(full_words(Path(getattr(error, "filename", None) or ".")))
    cause: BaseException | None = error
    while cause is not None:
        number = cause.errno if isinstance(cause, OSError) else None
        if number not in _ADVICE and (words := _WORDS.search(str(cause))):
            number = _NUMBERS[words[0]]
        if number in _ADVICE:
            return MachineError(f"{' '.join(str(cause).split())[:300]}. {_ADVICE[number]} {_AGAIN}")
        cause = cause.__cause__
    return None

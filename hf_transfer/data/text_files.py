"""Read text files as UTF-8, and check the names of the columns in them."""

import codecs
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from hf_transfer import _guard  # noqa: F401  (says what is wrong when another package hides ours)
from hf_transfer.errors import DataError

BYTE_ORDER_MARK = "\ufeff"
END_OF_FILE = "\x1a"  # Ctrl-Z, which programs of DOS wrote at the end

_UTF8 = re.compile(r"[^\x00\ud800-\udfff]*")  # without zero bytes and halves of letters
_BYTES_AT_ONCE = 1_000_000


def read_text(path: Path) -> str:
    """Read a text file without its byte order mark, and without a Ctrl-Z at its end.

    Raises:
        DataError: If it is not UTF-8, with the byte where it goes wrong.
    """
    refuse_other_than_utf8(path)
    text = path.read_text(encoding="utf-8").lstrip(BYTE_ORDER_MARK)
    return text.rstrip(END_OF_FILE) if text.endswith(END_OF_FILE) else text


def text_lines(text: str) -> list[str]:
    """Lines that are not blank; texts may hold the other line ends of Unicode."""
    return [line for line in (line.removesuffix("\r") for line in text.split("\n")) if line.strip()]


def refuse_other_than_utf8(path: Path) -> None:
    """Stop at a file that is not UTF-8.

    Raises:
        DataError: With the byte where it goes wrong.
    """
    decoder, place = codecs.getincrementaldecoder("utf-8")(), 0
    with path.open("rb") as stream:
        start = stream.read(2)
        stream.seek(0)
        while True:
            data = stream.read(_BYTES_AT_ONCE)
            waiting = len(decoder.getstate()[0])
            try:
                decoder.decode(data, final=not data)
            except UnicodeDecodeError as error:
                byte = place - waiting + error.start
                wide = start in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
                raise DataError(
                    f"{path.name} is not UTF-8: byte {byte} is 0x{error.object[error.start]:02x}"
                    f"{'; it looks like UTF-16' if wide else ''}. Save it as UTF-8."
                ) from error
            if not data:
                return
            place += len(data)


def refuse_names(names: Sequence[str], path: Path) -> None:
    """Stop at two columns of one name, and at a name that cannot be written.

    Raises:
        DataError: Naming the column.
    """
    repeated = next((name for name, times in Counter(names).items() if times > 1), None)
    if repeated is not None:
        raise DataError(
            f"{path.name} has more than one column {repeated!r}. Rename one of them; or, if its first line "
            "is a row already, put a line of names above it."
        )
    if odd := [name for name in names if not _UTF8.fullmatch(name)]:
        raise DataError(f"{path.name} has a column {odd[0]!r}, whose name is no whole text. Rename it.")

"""Grey values of more than 8 bits as 0 to 255: one rule for DICOM, NIfTI and 16-bit pictures."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hf_transfer import _guard  # noqa: F401
from hf_transfer.errors import ConfigError

Window = tuple[float, float]
"""The value that is black, and the one that is white."""

PERCENTILES = "percentiles"
SIXTEEN_BITS: Window = (0.0, 65535.0)
_AT_ONCE = 1_000_000  # values
_SHARES = (0.5, 99.5)  # percent; a few glowing or dead pixels decide nothing


def eight_bits(values: NDArray[Any], window: Window) -> NDArray[np.uint8]:
    """Scale values so that the window is 0 to 255; those beyond its ends are black or white."""
    low, high = window
    slope = 255.0 / (high - low) if high > low else 0.0
    found = np.empty(values.shape, np.uint8)
    lines = max(1, _AT_ONCE * len(values) // max(1, values.size))
    for start in range(0, len(values), lines):  # in 64 bits, of which all would take much memory
        scaled = (np.nan_to_num(values[start : start + lines], nan=low) - low) * slope
        found[start : start + lines] = np.floor(np.clip(scaled, 0, 255) + 0.5)
    return found


def own_window(values: NDArray[Any]) -> Window:
    """The window of pixels that come without one: their 0.5th and 99.5th percentile.

    Of the picture, never of the data set, as what is held out must not decide how a row looks. Of a
    volume all slices share it, so that a nearly empty one is not stretched to noise.
    """
    known = values[np.isfinite(values)]
    if not known.size:
        return 0.0, 1.0
    low, high = (float(end) for end in np.percentile(known, _SHARES))
    return (low, high) if high > low else (float(known.min()), float(known.max()))


def parse_window(text: str) -> Window | str | None:
    """What the setting `window` says: two numbers, `percentiles`, or None for what each file says.

    Raises:
        ConfigError: If it is something else.
    """
    if text in ("auto", PERCENTILES):
        return PERCENTILES if text == PERCENTILES else None
    try:
        low, high = (float(end) for end in text.split(","))
    except ValueError:
        low, high = 0.0, 0.0
    if not low < high:
        raise ConfigError(
            f"window={text!r} must be auto, percentiles, or the values of black and white such as -160,240."
        )
    return low, high

"""What `shift` found as a single HTML page."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hf_transfer import _guard  # noqa: F401
from hf_transfer.report.page.template import page_template
from hf_transfer.report.words.shift import (
    distance_words,
    label_rows,
    next_step,
    shares_words,
    shift_verdict,
)
from hf_transfer.runs.shift_record import ShiftRecord
from hf_transfer.tasks.inputs.input import Original


@dataclass(frozen=True)
class BothOriginals:
    """What stands in some rows of either data set, by their ids."""

    source: Mapping[Any, Original] = field(default_factory=dict)
    target: Mapping[Any, Original] = field(default_factory=dict)


def shift_page(shift: ShiftRecord, originals: BothOriginals) -> str:
    """Give the page as HTML; it needs no other file.

    Args:
        shift: What shift.json holds.
        originals: What stands in the rows that it names.
    """
    from hf_transfer.report.page.pictures import svg_uri  # here, as matplotlib is slow to import
    from hf_transfer.report.plots.clouds import CLOUD_CAPTION, cloud_plot

    return page_template("shift.html").render(
        shift=shift,
        verdict=shift_verdict(shift),
        step=next_step(shift),
        labels=label_rows(shift),
        shares=shares_words(shift),
        distance=distance_words(shift),
        originals=originals,
        cloud=svg_uri(cloud_plot(shift)),
        caption=CLOUD_CAPTION,
    )

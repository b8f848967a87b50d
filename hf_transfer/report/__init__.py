"""A run as one page for a browser, and what the page is made of."""

from hf_transfer import _guard  # noqa: F401
from hf_transfer.report.page import write_report

__all__ = ["write_report"]

"""Read lists that a CSV file holds as text: as Python, JSON and numpy write them."""

import ast
import re

from hf_transfer import _guard  # noqa: F401

_TEXT = r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\""""
_LIST = re.compile(rf"\s*[\[(]\s*(?:(?:{_TEXT})(?:\s*,\s*|\s+|\s*(?=[\])])))*[\])]\s*", re.DOTALL)
_ONE = re.compile(_TEXT, re.DOTALL)


def written_list(text: str) -> list[str] | None:
    r"""The texts in a list that is written out; None if it is no list of texts.

    Numpy sets no commas, which Python would read as one text.

    Example:
        >>> written_list("['New' 'York']"), written_list("[]"), written_list("New York")
        (['New', 'York'], [], None)
    """
    if not _LIST.fullmatch(text):
        return None
    try:
        return [ast.literal_eval(one) for one in _ONE.findall(text)]
    except (SyntaxError, ValueError):  # such as half an escape
        return None

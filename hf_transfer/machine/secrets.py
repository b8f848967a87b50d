"""Find tokens, keys and home folders in a text, and remove them."""

import os
import re
import sys
import traceback
from typing import Any

from hf_transfer import _guard  # noqa: F401

_TOKEN = re.compile(
    r"hf_[A-Za-z0-9]{30,}|hf_(?:oauth|jwt)_(?=[\w.-]{20})[\w-]+(?:\.[\w-]+)*|api_org_[A-Za-z0-9]{20,}"
    r"|(?<![A-Z0-9])(?:AKIA|ASIA)[A-Z0-9]{16}(?![A-Z0-9])|(?<!\w)AIza[\w-]{35}"
    r"|gh[pousr]_[A-Za-z0-9]{36,}|github_pat_\w{22,}|(?<!\w)glpat-[\w-]{20,}"
    r"|(?<!\w)sk-[\w-]{32,}|(?<!\w)xox[abprs]-[\w-]{20,}|-----BEGIN [A-Z ]*PRIVATE KEY-----",
    re.ASCII,
)
# A name and password in an address (`git@` is nobody's, and after a port comes no password), the signature
# by which a storage lets anybody in for a while, and what a request says to be let in.
_LETS_IN = re.compile(
    r"(?<=://)(?!git@)[^/\s@'\"]+(?=@)|(?<=://)[^/\s@'\"]*:(?!\d{1,5}/)[^\s@'\"]+(?=@)"
    r"|(?<=[?&])(?:X-Amz-\w+|X-Goog-\w+|X-Xet-[\w-]+|AWSAccessKeyId|GoogleAccessId|Signature|Policy"
    r"|Key-Pair-Id|\w*token|sig|key)=[^&\s'\"]+"
    r"|\b(?:access_token|api_key|apikey|client_secret)=[^&\s'\"]+"
    r"|\b(?:Bearer|Basic) +[\w.~+/=-]{8,}"
    r"|(?<=cookie)['\"]? *[:=,] *b?['\"]?[^'\"\s]+",
    re.I,
)
# What is no secret, and not for publishing: homes name people, and some letters hide others.
_PRIVATE = (
    (re.compile(r"(?<![\w.~-])(/home/[^/\s]+|/Users/[^/\s]+|/root(?![\w.-]))"), "~"),
    (re.compile("[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e\u2066-\u2069]"), "\ufffd"),
)
_VARIABLES = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")
_SHORTEST = 8  # of a token that is looked for; a shorter one is no token, and would be found in any text


def without_secrets(text: str) -> str:
    """Replace each token, key, password and signature in a text with ***."""
    if len(text) >= _SHORTEST:  # the client reads a file for its token, and most cells of a table are shorter
        for token in _tokens():
            text = text.replace(token, "***")
    return _LETS_IN.sub("***", _TOKEN.sub("***", text))


def holds_secret(text: str) -> bool:
    """Whether a text contains a secret."""
    return without_secrets(text) != text


def traceback_without_secrets(error: BaseException) -> str:
    """Format an error with its causes as Python does, without secrets."""
    return without_secrets("".join(traceback.format_exception(error)))


def public(text: str) -> str:
    """Remove secrets, home folders and control characters from a text."""
    text = without_secrets(text)
    for pattern, replacement in _PRIVATE:
        text = pattern.sub(replacement, text)
    return text


def one_line(value: Any) -> str:
    """Write a value on one line, without secrets or control characters."""
    return " ".join(public(str(value)).split())


def local_name(name: str) -> str:
    """Strip the folders of a path, which reveal where somebody keeps their files.

    A folder called `model` has its name from the one that it is in: each run leaves such a folder.
    """
    scheme = re.match(r"timm:[^@]*@", name)
    *folders, last = re.split(r"[\\/@]", name.rstrip("\\/"))
    if last == "model" and folders and folders[-1].strip("."):
        last = folders[-1]
    return (scheme[0] if scheme else "") + last


def _tokens() -> list[str]:
    """Hub tokens of this account, longest first."""
    tokens = {os.environ.get(name, "").strip() for name in _VARIABLES}
    if "huggingface_hub" in sys.modules:
        from huggingface_hub import get_token

        tokens.add(get_token() or "")
    return sorted((token for token in tokens if len(token) >= _SHORTEST), key=len, reverse=True)

"""Tokens and keys: how they look, and text without them."""

import os
import re
import sys
import traceback

from hf_transfer import _guard  # noqa: F401

SECRET = re.compile(
    r"hf_[A-Za-z0-9]{30,}|(?<![A-Z0-9])(AKIA|ASIA)[A-Z0-9]{16}(?![A-Z0-9])|gh[pousr]_[A-Za-z0-9]{36,}"
    r"|github_pat_\w{22,}|-----BEGIN [A-Z ]*PRIVATE KEY-----",
    re.ASCII,
)
# A name and password in an address, and the signature by which a storage lets anybody in for a while.
_IN_ADDRESS = re.compile(
    r"(?<=://)[^/\s@'\"]+(?=@)|(?<=[?&])(?:X-Amz-\w+|X-Xet-[\w-]+|Signature|Policy|token|sig)=[^&\s'\"]+",
    re.I,
)
_VARIABLES = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")
_SHORTEST = 8  # of a token that is looked for; a shorter one is no token, and would be found in any text


def scrubbed(text: str) -> str:
    """Put *** in the place of each token, key, password and signature in a text."""
    for token in _tokens():
        text = text.replace(token, "***")
    return _IN_ADDRESS.sub("***", SECRET.sub("***", text))


def holds_secret(text: str) -> bool:
    """Whether a text has something in it that must not be written down."""
    return scrubbed(text) != text


def scrubbed_traceback(error: BaseException) -> str:
    """Write an error with its causes as Python would, without tokens."""
    return scrubbed("".join(traceback.format_exception(error)))


def _tokens() -> list[str]:
    """The tokens of this process's account, longest first."""
    found = {os.environ.get(name, "").strip() for name in _VARIABLES}
    if "huggingface_hub" in sys.modules:
        from huggingface_hub import get_token

        found.add(get_token() or "")
    return sorted((token for token in found if len(token) >= _SHORTEST), key=len, reverse=True)

"""Names on the Hub, and a quick test of the connection."""

import re
import socket
import urllib.request
from functools import cache
from urllib.parse import urlsplit

from hf_transfer import _guard  # noqa: F401

_SECONDS = 5.0
_NAME = r"(?![.-])[\w.-]{1,96}(?<![.-])"

# Of a model, data set or metric: `name`, or `user/name`.
HUB_ID = re.compile(rf"(?!.*(--|\.\.)){_NAME}(/{_NAME})?(?<!\.git)", re.ASCII)


@cache
def hub_reachable() -> bool:
    """Whether the Hub accepts connections; tested once a process, in seconds instead of half a minute.

    Behind a proxy the answer is yes without asking, as only the proxy knows.
    """
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return False
    if urllib.request.getproxies():
        return True
    address = urlsplit(constants.ENDPOINT)
    port = address.port or (443 if address.scheme == "https" else 80)
    try:
        socket.create_connection((address.hostname or "", port), timeout=_SECONDS).close()
    except OSError:
        return False
    return True

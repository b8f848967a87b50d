"""The Hub's client with bounds: timeouts, patient repetition, and its errors in words."""

import json
import random
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from hf_transfer import _guard  # noqa: F401  (says what is wrong when another package hides ours)
from hf_transfer.errors import HubError, TransferError

if TYPE_CHECKING:
    from huggingface_hub import HfApi

TAG = "hf-transfer-kit"  # among the tags of a card that the kit wrote
FIRST_PAUSE = 1.0  # seconds; doubles with each attempt
LOG_IN = "Log in with `hf auth login`, or set HF_TOKEN to a token that may write."
_REFUSALS = {
    401: f"The Hub does not accept the token. {LOG_IN}",
    403: "The token may not write there. Use one that may, or another repository.",
    404: "The Hub does not know this place, or does not show it to this token.",
    412: "Somebody else changed the repository in the same moment. Look at it before pushing again.",
    429: "The Hub asks for patience.",
}


@contextmanager
def client(seconds: float) -> Iterator["HfApi"]:
    """Give a client that waits for an answer so long and no longer; by itself it waits for ever.

    Large files go over plain HTTP meanwhile: the xet uploader takes no time limit and no answer for a no.
    """
    from huggingface_hub import HfApi, constants, set_client_factory
    from huggingface_hub.utils import _http

    factory, xet_off = _http._GLOBAL_CLIENT_FACTORY, constants.HF_HUB_DISABLE_XET

    def bounded() -> Any:
        client = factory()  # perhaps a person's own, with their proxy and certificates
        client.timeout = seconds
        return client

    set_client_factory(bounded)
    constants.HF_HUB_DISABLE_XET = True
    try:
        yield HfApi(library_name=TAG)
    finally:
        constants.HF_HUB_DISABLE_XET = xet_off
        set_client_factory(factory)


def patiently(step: Callable[[], None], seconds: float) -> None:
    """Repeat a step that may be repeated, while the fault looks passing and time is left."""
    deadline, pause = time.monotonic() + seconds, FIRST_PAUSE
    while True:
        try:
            return step()
        except _faults() as error:
            # Not the shared generator: a retry must not change the run's random numbers.
            wait = _asked_pause(error) or random.SystemRandom().uniform(pause / 2, pause)
            if not _may_pass(error) or time.monotonic() + wait > deadline:
                raise
            say(f"{in_words(error)} Trying again in {wait:.0f} s.")
        time.sleep(wait)
        pause = min(2 * pause, 30.0)


def _faults() -> tuple[type[Exception], ...]:
    """What the client raises. Its HTTP library has another name in each major version."""
    from huggingface_hub.errors import HfHubHTTPError

    http = next(base for base in HfHubHTTPError.__mro__ if base.__module__.startswith("httpx"))
    return (http, OSError, RuntimeError, ValueError)


def _may_pass(error: BaseException) -> bool:
    from huggingface_hub.errors import OfflineModeIsEnabled

    if isinstance(error, TransferError | OfflineModeIsEnabled):
        return False
    answer = _answer(error)
    if answer is not None:
        return answer.status_code in (408, 429) or answer.status_code >= 500
    passing = (_faults()[0], ConnectionError, TimeoutError, json.JSONDecodeError)
    return any(isinstance(cause, passing) for cause in _causes(error))


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """The client hides why a large file could not be sent under a RuntimeError."""
    while error is not None:
        yield error
        error = error.__cause__


def _answer(error: BaseException) -> Any:
    answers = (getattr(cause, "response", None) for cause in _causes(error))
    return next((answer for answer in answers if answer is not None), None)


def _asked_pause(error: BaseException) -> float | None:
    """Seconds that the server asks to wait, by either of its two headers."""
    headers = getattr(_answer(error), "headers", {})
    found = re.fullmatch(r"\s*(\d+)\s*", headers.get("Retry-After", "")) or re.search(
        r"r=0;\s*t=(\d+)", headers.get("RateLimit", "")
    )
    return float(found[1]) if found else None


def in_words(error: BaseException) -> str:
    """Say what the Hub or the network did, without the token."""
    from huggingface_hub import constants, get_token
    from huggingface_hub.errors import OfflineModeIsEnabled

    answer = _answer(error)
    if isinstance(error, OfflineModeIsEnabled):
        text = "HF_HUB_OFFLINE is set, so nothing is sent. Unset it to publish."
    elif answer is not None:
        status = answer.status_code
        why = _REFUSALS.get(status, "The Hub fails." if status >= 500 else "The Hub refuses.")
        text = f"{why} (HTTP {status}: {one_line(getattr(error, 'server_message', None) or error)})"
    elif isinstance(error, json.JSONDecodeError):
        text = f"What answers at {constants.ENDPOINT} is not the Hub, perhaps a login page or a proxy."
    elif _may_pass(error):
        text = (
            f"{constants.ENDPOINT} does not answer ({type(error).__name__}). Check the network and the proxy."
        )
    else:
        text = (
            str(error) if isinstance(error, TransferError) else f"{type(error).__name__}: {one_line(error)}"
        )
    return text.replace(get_token() or "\0", "***")


@contextmanager
def explained(advice: str) -> Iterator[None]:
    """Turn whatever the client raises into words and what to do next."""
    try:
        yield
    except _faults() as error:
        raise HubError(f"{in_words(error)}\n{advice}") from error


def one_line(error: object) -> str:
    """Write a message without line breaks."""
    return " ".join(str(error).split())


def say(text: str) -> None:
    """Report progress on standard error."""
    print(text, file=sys.stderr, flush=True)

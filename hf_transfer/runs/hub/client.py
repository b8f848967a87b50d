"""A client of the Hub with timeouts, retries, and errors in plain words."""

import json
import logging
import random
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from hf_transfer import _guard  # noqa: F401  (says what is wrong when another package hides ours)
from hf_transfer.errors import HubError, TransferError
from hf_transfer.machine.secrets import one_line, without_secrets

if TYPE_CHECKING:
    from huggingface_hub import HfApi

T = TypeVar("T")

TAG = "hf-transfer-kit"  # among the tags of a card that the kit wrote
ANSWER_SECONDS = 60.0  # longest silence of the server in the middle of a request
ANSWER_BYTES = 64e6  # that a Hub's answers are never larger than, without files
SLOWEST = 1_000.0  # bytes a second that a line brings at least
FIRST_PAUSE = 1.0  # seconds; doubles with each attempt
LONGEST_PAUSE = 60.0  # seconds that the client may wait by itself because the Hub asks it to
_BUSY = "another conflicting operation is in progress"  # the client would ask again without any pause
LOG_IN = "Log in with `hf auth login`, or set HF_TOKEN to a token that may write."
_REFUSALS = {
    401: f"The Hub does not accept the token. {LOG_IN}",
    403: "The token may not write there. Use one that may, or another repository.",
    404: "The Hub has no such repository or file, or hides it from this token.",
    412: "Somebody else changed the repository at the same time. Look at it before you push again.",
    429: "The Hub limits the rate of requests.",
}


class DamagedError(ConnectionError):
    """Downloaded content failed its checksum."""


class OverrunError(HubError):
    """An answer is larger than what was asked for."""


class _Incoming:
    """Counts what comes in, so that an answer can neither trickle for days nor fill the disk.

    Args:
        seconds: That an answer may take beside those that its bytes need at a slow rate.
        most_bytes: Of all answers together, unpacked.
    """

    def __init__(self, seconds: float, most_bytes: float) -> None:
        self.seconds, self.left = seconds, most_bytes

    def bound(self, response: Any) -> None:
        """Let an answer end with an error where it comes too slowly, or is too large."""
        raw, unpacked = response.iter_raw, response.iter_bytes
        response.iter_raw = lambda *a, **b: self._in_time(raw(*a, **b), response.url)
        response.iter_bytes = lambda *a, **b: self._in_bounds(unpacked(*a, **b), response.url)

    def _in_time(self, chunks: Iterator[bytes], url: Any) -> Iterator[bytes]:
        began, received = time.monotonic(), 0
        for chunk in chunks:
            received += len(chunk)
            if time.monotonic() - began > self.seconds + received / SLOWEST:
                raise TimeoutError(f"{url.host} sends less than {SLOWEST:,.0f} bytes a second.")
            yield chunk

    def _in_bounds(self, chunks: Iterator[bytes], url: Any) -> Iterator[bytes]:
        for chunk in chunks:
            self.left -= len(chunk)
            if self.left < 0:
                raise OverrunError(
                    f"{url.host} sends more than it listed, for {url.path}. The rest was not fetched: do not "
                    "trust this address."
                )
            yield chunk


@contextmanager
def client(seconds: float, most_bytes: float = ANSWER_BYTES) -> Iterator["HfApi"]:
    """Open a Hub client that waits at most `seconds` for an answer; its own default is to wait for ever.

    Large files go over plain HTTP meanwhile: the xet uploader takes no time limit and no answer for a no.
    What the client writes into its log has no tokens and no signatures of storage in it.

    Args:
        seconds: Longest silence of the server, and what an answer may take beside a slow line's time for
            its bytes.
        most_bytes: Of all answers together, unpacked.
    """
    from huggingface_hub import HfApi, constants, set_client_factory
    from huggingface_hub.utils import _http

    factory, xet_off = _http._GLOBAL_CLIENT_FACTORY, constants.HF_HUB_DISABLE_XET
    record_factory, incoming = logging.getLogRecordFactory(), _Incoming(seconds, most_bytes)

    def bounded() -> Any:
        client = factory()  # perhaps a person's own, with their proxy and certificates
        hooks = ("request", limit), ("response", incoming.bound), ("response", _refuse_to_wait)
        for event, hook in hooks:
            client.event_hooks[event] = [*client.event_hooks[event], hook]
        return client

    def limit(request: Any) -> None:
        """Set the time limit where the client would wait for ever; some of its calls ask for that by name."""
        limits = request.extensions["timeout"]
        limits |= {kind: seconds for kind, limit in limits.items() if limit is None}

    set_client_factory(bounded)
    constants.HF_HUB_DISABLE_XET = True
    logging.setLogRecordFactory(lambda *args, **more: _cleaned(record_factory(*args, **more)))
    try:
        yield HfApi(library_name=TAG)
    finally:
        constants.HF_HUB_DISABLE_XET = xet_off
        set_client_factory(factory)
        logging.setLogRecordFactory(record_factory)


def _cleaned(record: logging.LogRecord) -> logging.LogRecord:
    """Remove tokens from a line of the client's log, which names signed addresses and shows headers."""
    if record.name.startswith(("huggingface_hub", "http", "h2", "urllib3")):
        record.msg, record.args = without_secrets(record.getMessage()), ()
    return record


def _refuse_to_wait(response: Any) -> None:
    """Turn off the client's own endless retries, as `patiently` keeps the time."""
    from huggingface_hub.utils import _http

    if response.status_code >= 400:
        response.read()
        if _is_busy(response) or (_pause_in(response.headers) or 0.0) > LONGEST_PAUSE:
            _http.hf_raise_for_status(response)


def _is_busy(response: Any) -> bool:
    return response.status_code == 409 and _BUSY in response.text


def download(api: "HfApi", repo_id: str, name: str, revision: str, size: int) -> bytes:
    """Download a small file of a repository, without the cache and without a checksum.

    Raises:
        OverrunError: If more comes than `size` bytes.
    """
    from huggingface_hub import get_session, hf_hub_url
    from huggingface_hub.utils import _http

    url = hf_hub_url(repo_id, name, revision=revision, endpoint=api.endpoint)
    with get_session().stream("GET", url, headers=api._build_hf_headers()) as response:
        if response.status_code >= 400:
            response.read()
        _http.hf_raise_for_status(response)
        _Incoming(ANSWER_SECONDS, size).bound(response)
        return b"".join(response.iter_bytes())


def patiently(step: Callable[[], T], seconds: float) -> T:
    """Call a step again while its error looks temporary and time is left.

    There is always time for one repetition: the step may have sent large files for hours before it failed.
    """
    deadline, pause = time.monotonic() + seconds, FIRST_PAUSE
    attempt = 0
    while True:
        try:
            return step()
        except _faults() as error:
            # Not the shared generator: a retry must not change the run's random numbers.
            wait = _asked_pause(error) or random.SystemRandom().uniform(pause / 2, pause)
            over = time.monotonic() + wait > deadline if attempt else wait > seconds
            if not _may_pass(error) or over:
                raise
            say(f"{in_words(error)} Trying again in {wait:.0f} s.")
        except _OTHER_JSON as error:
            raise HubError(without_secrets(_not_the_hub())) from error
        time.sleep(wait)
        attempt, pause = attempt + 1, min(2 * pause, 30.0)


def within(step: Callable[[], T], seconds: float) -> T:
    """Call a step, and give up after `seconds`: limits of single reads do not bound what comes bit by bit.

    Raises:
        TimeoutError: When they are over. The step's thread is left to itself.
    """
    answers: list[T] = []
    errors: list[BaseException] = []

    def call() -> None:
        try:
            answers.append(step())
        except BaseException as error:  # noqa: BLE001  (raised again below, where it is waited for)
            errors.append(error)

    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    thread.join(seconds)
    if errors:
        raise errors[0]
    if not answers:
        raise TimeoutError(f"No whole answer came in {seconds:.0f} s.")
    return answers[0]


def _http_error() -> type[Exception]:
    """The base class of the HTTP library's errors; its module differs between major versions."""
    from huggingface_hub.errors import HfHubHTTPError

    return next(base for base in HfHubHTTPError.__mro__ if base.__module__.startswith("httpx"))


# What the client makes of JSON that is not what the protocol says, such as a proxy's own.
_OTHER_JSON = (KeyError, TypeError, AttributeError)


def _faults() -> tuple[type[Exception], ...]:
    """Exceptions that the client raises when the Hub refuses or does not answer."""
    return (_http_error(), OSError, RuntimeError, ValueError)


def _may_pass(error: BaseException) -> bool:
    from huggingface_hub.errors import OfflineModeIsEnabled

    if isinstance(error, TransferError | OfflineModeIsEnabled) or _leads_astray(error):
        return False
    answer = _answer(error)
    if answer is not None:
        return answer.status_code in (408, 429) or answer.status_code >= 500 or _is_busy(answer)
    passing = (_http_error(), ConnectionError, TimeoutError, json.JSONDecodeError)
    return any(isinstance(cause, passing) for cause in _causes(error))


def _leads_astray(error: BaseException) -> bool:
    """Whether the server redirects in a circle, or to what is no address of the web."""
    return any(
        type(cause).__name__ in ("TooManyRedirects", "UnsupportedProtocol") for cause in _causes(error)
    )


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and its causes: the client hides a failed upload under a RuntimeError."""
    while error is not None:
        yield error
        error = error.__cause__


def _answer(error: BaseException) -> Any:
    answers = (getattr(cause, "response", None) for cause in _causes(error))
    return next((answer for answer in answers if answer is not None), None)


def _asked_pause(error: BaseException) -> float | None:
    """Seconds that the server asks to wait, from either of its two headers."""
    return _pause_in(getattr(_answer(error), "headers", {}))


def _pause_in(headers: Mapping[str, str]) -> float | None:
    seconds = re.fullmatch(r"\s*(\d+)\s*", headers.get("Retry-After", "")) or re.search(
        r"r=0;\s*t=(\d+)", headers.get("RateLimit", "")
    )
    return float(seconds[1]) if seconds else None


def in_words(error: BaseException) -> str:
    """Describe a failure of the Hub or the network in words, without the token."""
    from huggingface_hub import constants
    from huggingface_hub.errors import OfflineModeIsEnabled

    if isinstance(error, OfflineModeIsEnabled):
        text = "HF_HUB_OFFLINE is set, so that the Hub is not asked. Unset it to reach the Hub."
    elif isinstance(error, TransferError | DamagedError):
        text = str(error)
    elif _answer(error) is not None:
        text = f"{_refusal(error)} (HTTP {_answer(error).status_code}: {_reasons(error)})"
    elif isinstance(error, json.JSONDecodeError):
        text = _not_the_hub()
    elif _leads_astray(error):
        text = f"{_not_the_hub()} It redirects to nowhere ({_reasons(error)})."
    elif _may_pass(error):
        text = f"{constants.ENDPOINT} does not answer ({_reasons(error)}). Check the network and the proxy."
    else:
        text = f"{type(error).__name__}: {_reasons(error)}"
    return without_secrets(text)


def _refusal(error: BaseException) -> str:
    """Explain an error status; storage of large files is not the Hub, and knows no token."""
    status = _answer(error).status_code
    if isinstance(error, RuntimeError) and status < 500 and status != 429:
        return "The storage of large files refuses."
    return _REFUSALS.get(status, "The Hub fails." if status >= 500 else "The Hub refuses.")


def _reasons(error: BaseException) -> str:
    """Join the messages of an error and its causes, up to the one with the server's answer."""
    words = []
    for cause in _causes(error):
        words.append(one_line(getattr(cause, "server_message", None) or cause) or type(cause).__name__)
        if hasattr(cause, "response"):
            break
    return " ".join(dict.fromkeys(words))


def _not_the_hub() -> str:
    from huggingface_hub import constants

    return f"What answers at {constants.ENDPOINT} is not the Hub, perhaps a login page or a proxy."


@contextmanager
def explained(advice: str) -> Iterator[None]:
    """Turn any error of the client into a `HubError` with advice."""
    try:
        yield
    except _faults() as error:
        raise HubError(f"{in_words(error)}\n{without_secrets(advice)}") from error


def say(text: str) -> None:
    """Report progress on standard error."""
    print(without_secrets(text), file=sys.stderr, flush=True)

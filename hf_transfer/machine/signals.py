"""Stop a run on a signal: after the current step if the training can be resumed, otherwise at once."""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from hf_transfer import _guard  # noqa: F401

# Ctrl-C, what a scheduler sends before it kills, and what it sends when it is told to warn.
STOP_SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1") if hasattr(signal, name)
)  # Windows has no third
_COPIES = 2.0  # seconds: a launcher passes on what a terminal has sent to all processes already


class Interrupted(KeyboardInterrupt):
    """The run was stopped by a signal, which sets its exit code.

    Attributes:
        number: Of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number

    @property
    def exit_code(self) -> int:
        """130 for SIGINT, 143 for SIGTERM."""
        return 128 + self.number


class StopSignals:
    """Handler of the signals that stop this process.

    Attributes:
        received: The number of the first one; 0 when there was none.
    """

    def __init__(self) -> None:
        self.received = 0
        self._at = 0.0
        self._waits = False

    @contextmanager
    def handled(self) -> Iterator[None]:
        """Install handlers for the signals that nobody else handles; only a main thread can.

        Raises:
            Interrupted: When one comes.
        """
        defaults = (signal.SIG_DFL, signal.default_int_handler)
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {n: signal.getsignal(n) for n in STOP_SIGNALS if signal.getsignal(n) in defaults}
        for number in before:
            signal.signal(number, self._handle)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            self.received = 0

    @contextmanager
    def at_steps(self) -> Iterator[None]:
        """Defer signals: check `received` after each step, and call `stop`."""
        self._waits = True
        try:
            yield
        finally:
            self._waits = False
        self.stop()

    def stop(self) -> None:
        """Raise `Interrupted` if a signal has arrived."""
        if self.received:
            raise Interrupted(self.received)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.received:
            if time.monotonic() - self._at > _COPIES:
                signal.signal(number, signal.SIG_DFL)
                signal.raise_signal(number)  # at once
            return
        self.received, self._at = number, time.monotonic()
        if not self._waits:
            raise Interrupted(number)


stop_signals = StopSignals()

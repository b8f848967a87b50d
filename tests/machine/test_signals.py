import os
import signal
import threading

import pytest

from hf_transfer.machine.signals import Interrupted, stop_signals


def send(name: str) -> None:
    os.kill(os.getpid(), getattr(signal, name))


def test_between_steps_a_signal_is_only_noted():
    steps = []

    def run():
        with stop_signals.handled(), stop_signals.at_steps():
            for step in range(3):
                steps.append((step, stop_signals.received))
                send("SIGTERM")

    with pytest.raises(Interrupted, match="SIGTERM"):
        run()
    assert steps == [(0, 0), (1, 15), (2, 15)]  # the copies that a launcher passes on do not count


def test_handlers_are_put_back_and_other_peoples_stay():
    def mine(*_):
        pass

    before = signal.signal(signal.SIGUSR1, mine)
    try:
        with stop_signals.handled():
            assert signal.getsignal(signal.SIGUSR1) is mine
            assert signal.getsignal(signal.SIGINT) is not signal.default_int_handler
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_outside_the_main_thread_nothing_is_touched():
    found = []

    def look():
        with stop_signals.handled():
            found.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert found == [signal.default_int_handler]

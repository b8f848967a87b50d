import os
import signal
import threading

import pytest

from hf_transfer.cli.main import _guarded
from hf_transfer.machine.signals import Interrupted, stop_signals


def send(name: str) -> None:
    os.kill(os.getpid(), getattr(signal, name))


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGUSR1", 138)])
def test_a_signal_stops_a_run_with_the_shells_exit_code(capsys, name, code):
    def run():
        with stop_signals.handled():
            send(name)
        return 0

    assert _guarded(run, [], debug=False) == code
    assert f"Stopped by {name}. The same command goes on where it stopped." in capsys.readouterr().err


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


def test_an_interrupt_of_python_itself_ends_with_130(capsys):
    def run():
        raise KeyboardInterrupt

    assert _guarded(run, [], debug=False) == 130
    assert "Stopped by SIGINT" in capsys.readouterr().err

"""Signals at the worst moment: in the middle of a log line."""

from __future__ import annotations

import faulthandler
import io
import logging
import os
import signal
from collections.abc import Iterator

import pytest
import structlog

from detectord import log
from detectord.runtime.signals import Signals

HANDLED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class InterruptedStream(io.StringIO):
    """A stream in whose first write a signal arrives; it is not to be written to meanwhile."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self._coming = [number]
        self._writing = False

    def write(self, text: str) -> int:
        if self._writing:
            raise RuntimeError("reentrant call")  # as an io.BufferedWriter does
        self._writing = True
        try:
            while self._coming:
                os.kill(os.getpid(), self._coming.pop())
            return super().write(text)
        finally:
            self._writing = False


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in HANDLED}
    handlers, level = logging.getLogger().handlers[:], logging.getLogger().level
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
    faulthandler.unregister(signal.SIGUSR1)
    structlog.reset_defaults()
    logging.getLogger().handlers[:] = handlers
    logging.getLogger().setLevel(level)


@pytest.mark.parametrize(
    ("number", "said", "stops"),
    [(signal.SIGTERM, "daemon.draining", 1), (signal.SIGHUP, "rules.not_reloaded", 0)],
)
def test_a_signal_within_a_log_line_is_told_when_the_loop_comes_round(
    number: int, said: str, stops: int
) -> None:
    stream, stopped = InterruptedStream(number), list[int]()
    log.setup(stream=stream, form="json")
    signals = Signals(lambda: stopped.append(1))
    signals.take()
    log.get("x").info("something.else")
    assert len(stopped) == stops
    assert stream.getvalue().count("\n") == 1
    signals.tell()
    signals.tell()
    assert stream.getvalue().count(said) == 1


def test_of_many_requests_to_reload_one_is_told() -> None:
    stream = io.StringIO()
    log.setup(stream=stream, form="json")
    signals = Signals(lambda: None)
    signals.take()
    for _ in range(1_000):
        os.kill(os.getpid(), signal.SIGHUP)
    signals.tell()
    assert stream.getvalue().count("\n") == 1

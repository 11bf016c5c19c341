"""What signals ask of the daemon: noted when they come, told when the loop comes round.

A handler runs between any two steps of the main thread, in the middle of a log line or with a counter's lock
held. Writing a log line there raises, or waits for ever; so a handler only notes.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import threading
from collections.abc import Callable
from types import FrameType

from detectord import log

LOG = log.get(__name__)


class Signals:
    """SIGTERM and SIGINT call `stop`, which must be safe at any point; a second one ends the process."""

    def __init__(self, stop: Callable[[], None]) -> None:
        self._stop = stop
        self._untold: list[int] = []
        self._stops = 0

    def take(self) -> None:
        """Handle signals from now on."""
        if threading.current_thread() is not threading.main_thread():
            return  # signals are the main thread's; an embedding program stops us by `stop`
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_stop)
        signal.signal(signal.SIGHUP, self._on_reload)
        faulthandler.register(signal.SIGUSR1, all_threads=True)

    def tell(self) -> None:
        """Log what came since this was last called."""
        while self._untold:
            number = self._untold.pop(0)
            if number == signal.SIGHUP:
                LOG.warning(
                    "rules.not_reloaded", reason="reloading is not supported yet; restart to load new rules"
                )
            else:
                LOG.info("daemon.draining", signal=signal.Signals(number).name)

    def _on_stop(self, number: int, frame: FrameType | None) -> None:
        del frame
        self._stops += 1
        if self._stops > 1:
            os._exit(128 + number)
        self._untold.append(number)
        self._stop()

    def _on_reload(self, number: int, frame: FrameType | None) -> None:
        del frame
        if number not in self._untold:
            self._untold.append(number)

"""The real clock. Everything else is handed its time."""

from __future__ import annotations

import time


class SystemClock:
    """Wall and monotonic time in nanoseconds."""

    def now(self) -> int:
        """Since the epoch."""
        return time.time_ns()

    def monotonic(self) -> int:
        """Since some fixed point."""
        return time.monotonic_ns()

"""A clock that can be set: imported by any Python that has this folder in PYTHONPATH.

`time.time` and `time.time_ns` are off by as many seconds as the file CHAOS_CLOCK says; it is read at every
call. The monotonic clock and what is not Python, such as the Kafka client, keep the machine's time.
(libfaketime moves the client's clock, too, but not what it waits by: a client ahead waits for hours.)
"""

import os
import time
from pathlib import Path

_FILE = Path(os.environ["CHAOS_CLOCK"])
_time, _time_ns = time.time, time.time_ns


def _ahead() -> int:
    return int(_FILE.read_text())


time.time = lambda: _time() + _ahead()
time.time_ns = lambda: _time_ns() + _ahead() * 1_000_000_000

"""detectord, with a record that kills whichever worker evaluates it. Started as a script, in its place.

Workers are spawned: each imports this script again, under another name, before it begins to work, so what is
changed here is changed there, too.
"""

from __future__ import annotations

import os
import signal
from functools import wraps
from typing import Any

from detectord.__main__ import main
from detectord.runtime.worker import Worker

MARK = b'"--poison"'
"""As `traffic.POISON` is in a record; this script is not started from where `chaos` is known."""

_evaluate_record = Worker._evaluate_record


@wraps(_evaluate_record)
def _die_of_poison(self: Worker, record: Any, *rest: Any) -> Any:
    if MARK in record.value:
        os.kill(os.getpid(), signal.SIGKILL)
    return _evaluate_record(self, record, *rest)


Worker._evaluate_record = _die_of_poison

if __name__ == "__main__":
    main()

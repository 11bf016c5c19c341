"""Alerts as lines: one document a line, to a file or to standard output.

A commit is one write and one flush. If a write to a file fails half-way (a full disk), the file is cut
back to its last whole commit, so that trying again repeats nothing. A pipe cannot be cut back.
Dead letters are counted by reason, and the first few kept for whoever prints the summary. The ledger is left
out: that summary has what it tells.
"""

from __future__ import annotations

import io
import sys
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from detectord.events.record import DeadLetter, Partition, Positions
from detectord.sinks import DeliveryError, Outputs

KEPT_DEAD_LETTERS = 20


class NdjsonSink:
    """Writes to `path`, or to standard output for None or `-`. The file is made anew.

    `dead_letters` counts by reason, `first_dead_letters` are the first of them, `positions` is what
    was committed, and `alerts` the number of lines written.

    Raises:
        DeliveryError: the file cannot be written.
    """

    def __init__(self, path: str | Path | None = None) -> None:
        self.dead_letters: Counter[str] = Counter()
        self.first_dead_letters: list[DeadLetter] = []
        self.positions: dict[Partition, int] = {}
        self.alerts = 0
        self._owned = path is not None and str(path) != "-"
        self._name = str(path) if self._owned else "standard output"
        self._size = 0
        try:
            self._file: BinaryIO = (
                open(str(path), "wb", buffering=0)  # noqa: SIM115  closed by close()
                if self._owned
                else sys.stdout.buffer
            )
        except OSError as e:
            raise self._failed(e) from e

    def commit(self, outputs: Outputs, positions: Positions) -> None:
        """Write the alerts, then remember `positions`; see `Sink.commit`."""
        lines = b"".join(alert.value + b"\n" for alert in outputs.alerts)
        if lines:
            try:
                self._write(lines)
            except (OSError, ValueError) as e:
                self._cut_back()
                raise self._failed(e) from e
        self._size += len(lines)
        self.alerts += len(outputs.alerts)
        for letter in outputs.dead_letters:
            self.dead_letters[letter.reason] += 1
            if len(self.first_dead_letters) < KEPT_DEAD_LETTERS:
                self.first_dead_letters.append(letter)
        self.positions.update(positions)

    def close(self) -> None:
        """Close the file; standard output stays open."""
        if self._owned:
            self._file.close()

    def _write(self, lines: bytes) -> None:
        rest = memoryview(lines)
        while rest:
            rest = rest[self._file.write(rest) :]
        self._file.flush()

    def _cut_back(self) -> None:
        """To the last whole commit, where the file can do that."""
        with suppress(OSError, ValueError, io.UnsupportedOperation):
            if self._owned:
                self._file.truncate(self._size)
                self._file.seek(self._size)

    def _failed(self, error: Exception) -> DeliveryError:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        return DeliveryError(f"{self._name}: {reason}")

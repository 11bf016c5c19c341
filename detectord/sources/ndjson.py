"""Records from files: one JSON document a line, plain or gzip (`.gz`), or standard input (`-`).

Rule 1: the topic is the file's name, the partition 0, the offset the number of the line, from 1.
Alert ids rest on these, so they may depend on nothing else. Blank lines are no records but count.
Rule 2: memory is bounded by the chunk and the longest record wanted. Of a line longer than that one
byte more is kept, enough for the decoder to see that it is too large.
Rule 3: one poll reads a bounded number of chunks, so that no input keeps its caller waiting.

Inputs are read one after the other. Going back opens a file again and skips lines; going forward,
or staying, works on pipes as well.
"""

from __future__ import annotations

import gzip
import os
import select
import stat
import sys
import time
import zlib
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Protocol

from detectord.events.record import Partition, Positions, Record
from detectord.sources import Poll, SourceError

STANDARD_INPUT = "-"

CHUNK = 256 * 1024
CHUNKS_PER_POLL = 64

MAX_EVENT_BYTES = 1024 * 1024


class NdjsonSource:
    """The lines of `paths`, in this order; finite.

    Two inputs with one base name are called by their paths as given. Of a line at most
    `max_event_bytes` + 1 bytes are kept.

    Raises:
        SourceError: an input does not exist, is a directory, cannot be read, or is given twice.
    """

    def __init__(self, paths: Sequence[str | Path], *, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        names = _names([str(path) for path in paths])
        self._inputs = [_Input(path, name, max_event_bytes + 1) for path, name in names.items()]

    def poll(self, limit: int, timeout: float) -> Poll:
        """The next lines; see `Source.poll`. Only pipes and standard input make it wait.

        Raises:
            SourceError: the input is damaged from here on; every record before was handed out.
        """
        until = time.monotonic() + timeout
        records: list[Record] = []
        try:
            for _ in range(CHUNKS_PER_POLL if limit > 0 else 0):
                records += self._ready(limit - len(records))
                if len(records) >= limit or not self._unread():
                    break
                wait = 0.0 if records else max(0.0, until - time.monotonic())
                if not self._unread()[0].fill(wait):
                    break
        except SourceError:
            if not records:
                raise
        self._look_ahead()
        at_end = frozenset(each.partition for each in self._inputs if each.ended)
        return Poll(records, at_end, finished=not self._unread())

    def assignment(self) -> frozenset[Partition]:
        """All inputs, also those that are read to their ends."""
        return frozenset(each.partition for each in self._inputs)

    def seek(self, positions: Positions) -> None:
        """Read on at these lines; see `Source.seek`.

        Raises:
            SourceError: a pipe would have to be read again.
        """
        for each in self._inputs:
            each.seek(positions.get(each.partition, 1))

    def progress(self) -> tuple[int, int | None]:
        """Bytes read of all inputs as they are stored, and their sum; None where a pipe has no size."""
        sizes = [each.size for each in self._inputs]
        read = sum(each.bytes_read for each in self._inputs)
        return read, None if None in sizes else sum(size or 0 for size in sizes)

    def close(self) -> None:
        """Close the files."""
        for each in self._inputs:
            each.close()

    def _unread(self) -> list[_Input]:
        return [each for each in self._inputs if not each.ended]

    def _ready(self, limit: int) -> list[Record]:
        unread = self._unread()
        return unread[0].take(limit) if unread else []

    def _look_ahead(self) -> None:
        """Find out whether a record follows the one handed out last, if that takes no waiting."""
        with suppress(SourceError):  # the next poll meets it again
            for _ in range(CHUNKS_PER_POLL):
                unread = self._unread()
                if not unread or unread[0].has_record() or not unread[0].fill(0.0):
                    return


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes | None: ...


class _Input:
    """One input and how far it was read.

    `_lines` are at hand, those before `_next` done with. `_line` numbers the last of these, `_handed` the
    last that left as a record.
    """

    def __init__(self, path: str, name: str, keep: int) -> None:
        self.partition: Partition = (name, 0)
        self.ended = False
        self.bytes_read = 0
        self.size: int | None = None
        self._path = path
        self._keep = keep
        self._start = 1
        self._handed = 0
        self._raw: BinaryIO | None = None
        self._regular = False
        self._error: SourceError | None = None
        self._reset()
        if path != STANDARD_INPUT:
            self._examine()

    def take(self, limit: int) -> list[Record]:
        """Records of the lines at hand, at most `limit`."""
        records: list[Record] = []
        name = self.partition[0]
        while len(records) < limit and self.has_record():
            lines = self._lines[self._next : self._next + limit - len(records)]
            records += [
                Record(name, 0, number, None, None, line)
                for number, line in enumerate(lines, self._line + 1)
                if line and not line.isspace()
            ]
            self._pass(len(lines))
            self._handed = self._line
        self._end_if_empty()
        return records

    def has_record(self) -> bool:
        """True if the next line at hand is a record; lines before it that are none are passed over."""
        lines = self._lines
        self._pass(min(len(lines) - self._next, max(0, self._start - 1 - self._line)))
        while self._next < len(lines):
            line = lines[self._next]
            if line and not line.isspace():
                return True
            self._pass(1)
        self._end_if_empty()
        return False

    def _pass(self, lines: int) -> None:
        """These lines at hand are done with."""
        self._next += lines
        self._line += lines

    def fill(self, timeout: float) -> bool:
        """Read one chunk, waiting at most `timeout` seconds for a pipe; False if none came.

        Raises:
            SourceError: the input cannot be read on; nor can it the next time.
        """
        if self._error is not None:
            raise self._error
        try:
            if self._raw is None:
                self._open()
            chunk = self._read(timeout)
        except (OSError, EOFError, zlib.error) as e:
            self.close()
            place = f"after line {self._line}: " if self._line else ""
            self._error = error = SourceError(f"{self._path}: {place}{_said(e)}")
            raise error from e
        if chunk is None:
            return False
        self._split(chunk)
        if not chunk:
            self._complete = True
            self._end_if_empty()
        return True

    def seek(self, line: int) -> None:
        """Go on with the first record at or after `line`."""
        if line > self._handed:
            self._start = line
            return
        if not self._regular:
            raise SourceError(f"{self._path}: a pipe cannot be read again from line {line}")
        self.close()
        self._reset()
        self._start = line

    def close(self) -> None:
        """Close the file, if it is open."""
        if self._raw is not None and self._path != STANDARD_INPUT:
            self._raw.close()
        self._raw = None

    def _reset(self) -> None:
        self._lines: list[bytes] = []
        self._next = 0
        self._partial = b""
        self._line = 0
        self._handed = 0
        self._complete = False
        self._error = None
        self.ended = False
        self.bytes_read = 0

    def _examine(self) -> None:
        try:
            status = os.stat(self._path)
            if stat.S_ISDIR(status.st_mode):
                raise SourceError(f"{self._path}: is a directory")
            self._regular = stat.S_ISREG(status.st_mode)
            if self._regular:
                self.size = status.st_size
                open(self._path, "rb").close()
        except (OSError, ValueError) as e:
            raise SourceError(f"{self._path}: {_said(e)}") from e

    def _open(self) -> None:
        if self._path == STANDARD_INPUT:
            self._raw = _standard_input()
        else:
            self._raw = open(self._path, "rb", buffering=0)  # noqa: SIM115  closed by close()
        self._zipped = self._path.endswith(".gz")
        self._data: _Readable = gzip.GzipFile(fileobj=self._raw) if self._zipped else self._raw

    def _read(self, timeout: float) -> bytes | None:
        if not self._regular and not self._zipped and not _has_data(self._raw, timeout):
            return None
        chunk = self._data.read(CHUNK)
        if self._regular and self._raw is not None:
            self.bytes_read = self._raw.tell()
        elif chunk:
            self.bytes_read += len(chunk)
        return chunk

    def _split(self, chunk: bytes) -> None:
        """Add the lines that `chunk` completes; an empty chunk completes the last one."""
        first, *rest = chunk.split(b"\n")
        self._partial = (self._partial + first[: self._keep])[: self._keep]
        if chunk and not rest:
            return
        complete = [self._partial] if rest or self._partial else []
        self._partial = b""
        if rest:
            self._partial = rest.pop()[: self._keep]
            complete += rest if len(chunk) <= self._keep else [line[: self._keep] for line in rest]
        self._lines = [*self._lines[self._next :], *[line.removesuffix(b"\r") for line in complete]]
        self._next = 0

    def _end_if_empty(self) -> None:
        if self._complete and self._next >= len(self._lines) and not self.ended:
            self.ended = True
            self.close()


def _names(paths: list[str]) -> dict[str, str]:
    """The topic of each path: its base name, or where that is not the only one the path itself."""
    if twice := [path for path, count in Counter(paths).items() if count > 1]:
        raise SourceError(f"{twice[0]}: is given twice")
    bases = {path: os.path.basename(path) or path for path in paths}
    counts = Counter(bases.values())
    return {path: base if counts[base] == 1 else path for path, base in bases.items()}


def _standard_input() -> BinaryIO:
    """Standard input without a buffer, so that waiting for it can be limited."""
    try:
        return open(sys.stdin.fileno(), "rb", buffering=0, closefd=False)
    except (OSError, ValueError):  # not a file but an object in its place
        return sys.stdin.buffer


def _has_data(file: BinaryIO | None, timeout: float) -> bool:
    try:
        return file is None or bool(select.select([file], [], [], timeout)[0])
    except (OSError, ValueError):  # nothing the system could wait for
        return True


def _said(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return f"damaged: {error}"

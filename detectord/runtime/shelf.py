"""The way of records to a worker: memory that the supervisor writes and one worker reads.

Through a pipe the bytes of a record would be copied six times, and wake both sides again and again.
Here keys and values are laid down once, and the pipe carries only where: `Shelf.lay` gives a batch without
them (`Laid`), and from `WorkerPipe.recv` it comes with some that are copied off the shelf one by one, as the
worker comes to them.

Rule 1: what is laid down stays until the worker has answered its batch or a later one; it handles
messages in order. Nothing that a worker keeps refers to the shelf.
Rule 2: a batch that finds no room, or a system that has no such memory, is no special case for anybody:
all of it goes through the pipe. So the size of the shelf bounds memory, never a record.
Rule 3: a shelf is one process's. Who takes a dead worker's place gets a new one, so nobody reads what was
meant for another.
"""

from __future__ import annotations

import mmap
import os
from array import array
from bisect import insort
from collections.abc import Iterator, Sequence
from itertools import chain
from multiprocessing.connection import Connection
from multiprocessing.reduction import DupFd
from typing import Any, NamedTuple

from detectord.runtime.protocol import Batch, Message, Reply

MOST_LAID = 64
"""Batches that lie on a shelf at once. Small ones that wait in great numbers may as well go by the pipe."""


class Laid(NamedTuple):
    """A batch without keys and values, and how long those are, -1 for none: the keys of the first chunk, its
    values, the keys of the next, and so on. So they lie one behind the other from `start` on."""

    batch: Batch
    start: int
    sizes: tuple[array[int], ...]


class Shelf:
    """The supervisor's side.

    Raises:
        OSError: the system gives no such memory.
    """

    def __init__(self, size: int) -> None:
        if not hasattr(os, "memfd_create"):
            raise OSError("this system has no memfd")
        self._size = size
        self._file = os.memfd_create("detectord-shelf")
        try:
            os.ftruncate(self._file, size)
            self._memory = mmap.mmap(self._file, size)
        except BaseException:
            os.close(self._file)
            raise
        self._laid: list[tuple[int, int, int]] = []
        """Where each batch that may still be read starts and ends, and its number; in order of place."""

    def lay(self, batch: Batch) -> Batch | Laid:
        """The batch with keys and values laid down, or as it is if there is no room for them."""
        columns = [column for chunk in batch.chunks for column in (chunk.keys, chunk.values)]
        sizes = tuple(
            [array("i", [-1 if text is None else len(text) for text in column]) for column in columns]
        )
        size = max(sum(map(_total, sizes)), 1)
        start = self._place(size)
        if start is None:
            return batch
        insort(self._laid, (start, start + size, batch.number))
        texts = b"".join(filter(None, chain.from_iterable(columns)))
        self._memory[start : start + len(texts)] = texts
        bare = [chunk._replace(keys=(), values=()) for chunk in batch.chunks]
        return Laid(batch._replace(chunks=tuple(bare)), start, sizes)

    def clear(self, through: int) -> None:
        """The worker is done with this batch and all with lower numbers."""
        self._laid = [place for place in self._laid if place[2] > through]

    def reader(self) -> ShelfReader:
        """The worker's side; it can be given to a process that is being started."""
        return ShelfReader(self._file, self._size)

    def close(self) -> None:
        """Let go of the memory; a worker that still has it may go on reading."""
        self._memory.close()
        os.close(self._file)

    def _place(self, size: int) -> int | None:
        """The first place with so many free bytes; the fewer are used, the more often the same, which are
        then in the processor's cache."""
        if len(self._laid) >= MOST_LAID:
            return None
        start = 0
        for begin, end, _ in self._laid:
            if begin - start >= size:
                return start
            start = end
        return start if self._size - start >= size else None


class ShelfReader:
    """The worker's side of a shelf. It travels as the descriptor of the memory."""

    def __init__(self, file: int, size: int) -> None:
        self._file = file
        self._size = size
        self._memory: mmap.mmap | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return _received, (DupFd(self._file), self._size)

    def pick(self, laid: Laid) -> Batch:
        """The batch with its values, as long as it is not answered."""
        if self._memory is None:
            self._memory = mmap.mmap(self._file, self._size, prot=mmap.PROT_READ)
        columns = []
        start = laid.start
        for sizes in laid.sizes:
            columns.append(_Column(self._memory, start, sizes))
            start += _total(sizes)
        chunks = [
            chunk._replace(keys=keys, values=values)
            for chunk, keys, values in zip(laid.batch.chunks, columns[::2], columns[1::2], strict=True)
        ]
        return laid.batch._replace(chunks=tuple(chunks))


def _sizes(column: Sequence[bytes | None]) -> array[int]:
    return array("i", [-1 if text is None else len(text) for text in column])


def _total(sizes: array[int]) -> int:
    return sum(sizes) + sizes.count(-1)


def _received(file: Any, size: int) -> ShelfReader:
    return ShelfReader(file.detach(), size)


class _Column(Sequence[Any]):
    """Keys or values on the shelf. Each is copied in its turn; then it is in the processor's cache."""

    def __init__(self, memory: mmap.mmap, start: int, sizes: array[int]) -> None:
        self._memory = memory
        self._start = start
        self._sizes = sizes

    def __len__(self) -> int:
        return len(self._sizes)

    def __iter__(self) -> Iterator[bytes | None]:
        memory, start = self._memory, self._start
        for size in self._sizes:
            if size < 0:
                yield None
            else:
                yield memory[start : start + size]
                start += size

    def __getitem__(self, index: Any) -> Any:
        return list(self)[index]


class WorkerPipe:
    """A worker's end of its pipe: messages as they were sent, whichever way the records came."""

    def __init__(self, pipe: Connection, shelf: ShelfReader | None) -> None:
        self.pipe = pipe
        self._shelf = shelf

    def recv(self) -> Message:
        """The next message, waiting for it; raises as `Connection.recv` does."""
        message: Message | Laid = self.pipe.recv()
        if isinstance(message, Laid):
            assert self._shelf is not None, "only a worker with a shelf is sent what lies in one"
            return self._shelf.pick(message)
        return message

    def send(self, reply: Reply) -> None:
        """Answer."""
        self.pipe.send(reply)

"""Worker processes: started fresh (never forked after a client exists), and never waited for.

Each worker has a shelf for records (`shelf.py`), a duplex pipe for all else, and two threads of ours, one
that writes to the pipe and one that reads from it. A worker that is slow, or stopped in the middle of a
message, so holds up nobody: what is sent to it waits in a queue whose size the supervisor bounds by what it
has in flight, and what it says is read as it comes, so that neither side can wait for the other for ever.
"""

from __future__ import annotations

import contextlib
import mmap
import multiprocessing
import queue
import threading
from collections.abc import Callable, Sequence
from multiprocessing.context import SpawnProcess

from detectord.runtime.protocol import Batch, Death, Message, Outcome, Reply, Stop
from detectord.runtime.shelf import Laid, Shelf, WorkerPipe

JOIN_SECONDS = 5.0
"""How long a worker may take to end when told to."""

IN_FLIGHT_BYTES = 16 * 1024 * 1024
"""Bytes of records on their way to workers or in their hands, unless a pool is told otherwise."""


class _Member:
    """One process with its shelf, its pipe, its writer and its reader. The reader's last word is None."""

    def __init__(
        self,
        target: Callable[..., None],
        arguments: tuple[object, ...],
        name: str,
        shelf_bytes: int,
        heard: queue.SimpleQueue[tuple[_Member, Reply | None]],
    ) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe(duplex=True)
        self._shelf: Shelf | None = None
        with contextlib.suppress(OSError):  # there is another way
            self._shelf = Shelf(shelf_bytes)
        end = WorkerPipe(theirs, self._shelf.reader() if self._shelf is not None else None)
        self.process: SpawnProcess = context.Process(
            target=target, args=(end, *arguments), name=name, daemon=True
        )
        self.process.start()
        theirs.close()
        self.reason = "crash"
        self._heard = heard
        self._messages: queue.SimpleQueue[Message | Laid | None] = queue.SimpleQueue()
        self._threads = [
            threading.Thread(target=work, name=f"{name}-{work.__name__}", daemon=True)
            for work in (self._write, self._read)
        ]
        for thread in self._threads:
            thread.start()

    def send(self, message: Message) -> None:
        if self._shelf is not None and isinstance(message, Batch):
            self._messages.put(self._shelf.lay(message))
        else:
            self._messages.put(message)

    def heard(self, reply: Reply) -> None:
        """Take note of what the worker said."""
        if self._shelf is not None and isinstance(reply, Outcome):
            self._shelf.clear(reply.number)

    def close(self) -> None:
        """Let go of a process that has ended or was killed."""
        self._messages.put(None)
        self.process.join(JOIN_SECONDS)
        for thread in self._threads:
            thread.join(JOIN_SECONDS)
        self.pipe.close()
        if self._shelf is not None:
            self._shelf.close()

    def _write(self) -> None:
        while (message := self._messages.get()) is not None:
            try:
                self.pipe.send(message)
            except OSError:
                return  # the process is gone; the reader tells

    def _read(self) -> None:
        try:
            while True:
                self._heard.put((self, self.pipe.recv()))
        except (EOFError, OSError):
            pass  # the process is gone
        except Exception as error:  # what cannot be read is as good as never said
            self.reason = f"crash: {type(error).__name__}"
            self.process.kill()
        finally:
            self._heard.put((self, None))


class ProcessPool:
    """`size` worker processes, numbered from 0. `arguments(worker)` is what each is started with,
    behind its `WorkerPipe`. `in_flight_bytes`: see IN_FLIGHT_BYTES; shelves have room for twice as much."""

    def __init__(
        self,
        size: int,
        target: Callable[..., None],
        arguments: Callable[[int], tuple[object, ...]],
        in_flight_bytes: int = IN_FLIGHT_BYTES,
    ) -> None:
        self.size = size
        self._target = target
        self._arguments = arguments
        self._shelf_bytes = max(2 * in_flight_bytes // size, mmap.PAGESIZE)
        """Twice a worker's share, so that one that is not even finds room, too."""
        self._heard: queue.SimpleQueue[tuple[_Member, Reply | None]] = queue.SimpleQueue()
        self._members: list[_Member | None] = [self._start(worker) for worker in range(size)]

    def send(self, worker: int, message: Message) -> None:
        """See `Pool`."""
        member = self._members[worker]
        if member is not None:
            member.send(message)

    def receive(self, timeout: float) -> Sequence[Reply | Death]:
        """See `Pool`."""
        told: list[Reply | Death] = []
        try:
            member, reply = self._heard.get(block=timeout > 0, timeout=timeout or None)
            while True:
                self._take(member, reply, told)
                member, reply = self._heard.get(block=False)
        except queue.Empty:
            return told

    def kill(self, worker: int, reason: str) -> None:
        """See `Pool`."""
        member = self._members[worker]
        if member is not None:
            member.reason = reason
            member.process.kill()

    def replace(self, worker: int) -> None:
        """See `Pool`."""
        self._members[worker] = self._start(worker)

    def pids(self) -> list[int | None]:
        """The process ids, None for a worker that is gone."""
        return [member.process.pid if member is not None else None for member in self._members]

    def alive(self) -> int:
        """How many worker processes run."""
        return sum(member is not None and member.process.is_alive() for member in self._members)

    def close(self) -> None:
        """See `Pool`."""
        members = [member for member in self._members if member is not None]
        self._members = [None] * self.size
        for member in members:
            member.send(Stop())
        for member in members:
            member.process.join(JOIN_SECONDS)
            if member.process.is_alive():
                member.process.kill()
            member.close()

    def _take(self, member: _Member, reply: Reply | None, told: list[Reply | Death]) -> None:
        if member not in self._members:
            return  # the last words of one that was replaced
        if reply is not None:
            member.heard(reply)
            told.append(reply)
            return
        worker = self._members.index(member)
        self._members[worker] = None
        member.process.join(JOIN_SECONDS)
        told.append(Death(worker, member.reason, f"exit code {member.process.exitcode}"))
        member.close()

    def _start(self, worker: int) -> _Member:
        name = f"detectord-worker-{worker}"
        return _Member(self._target, self._arguments(worker), name, self._shelf_bytes, self._heard)

"""A proxy on loopback between the daemon and the broker, that knows where a request begins and what it asks.

The broker has a second listener, which tells its clients the proxy's address; so everything the daemon asks
passes here, and everybody else goes straight to the broker.

It can stand still: connections stay open and nothing passes, as when a network drops packets. And it can be
set a *trap*: the n-th request of a kind from now on springs it, before the request is passed on or after,
and whatever the trap does is done while that connection waits. So a fault strikes at a step of a commit, not
somewhere near it.
"""

from __future__ import annotations

import asyncio
import enum
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

CHUNK = 65_536


class Request(enum.IntEnum):
    """Kafka's requests, by the numbers of its protocol; those that somebody waits for here."""

    PRODUCE = 0
    FETCH = 1
    JOIN_GROUP = 11
    INIT_PRODUCER_ID = 22
    ADD_PARTITIONS = 24
    ADD_OFFSETS = 25
    END_TRANSACTION = 26
    STORE_OFFSETS = 28


@dataclass
class Trap:
    """What is done at the `count`-th such request: `act` is called, then for `hold` seconds the connection
    waits, and with `cut` it is closed. `is_after`: the request is passed on first, its answer waits.
    `client`: only requests of who has this `client.id` count; None: everybody's."""

    request: Request
    count: int = 1
    is_after: bool = False
    act: Callable[[], None] = lambda: None
    hold: float = 0.0
    cut: bool = False
    client: str | None = None
    sprung: threading.Event = field(default_factory=threading.Event)


class Proxy:
    """Listens from the beginning; passes on to `upstream` (host:port), which is told later."""

    def __init__(self) -> None:
        self.upstream = ""
        self.address = ""
        self._trap: Trap | None = None
        self._loop = asyncio.new_event_loop()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._connections: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)

    def __enter__(self) -> Proxy:
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(
            asyncio.start_server(self._connected, "127.0.0.1", 0), self._loop
        ).result(10)
        self.address = "{}:{}".format(*self._server.sockets[0].getsockname()[:2])
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def stand_still(self) -> None:
        """From now on nothing passes."""
        self._loop.call_soon_threadsafe(self._flowing.clear)

    def flow(self) -> None:
        """Everything passes again."""
        self._loop.call_soon_threadsafe(self._flowing.set)

    def cut(self) -> None:
        """Close every connection."""
        self._loop.call_soon_threadsafe(lambda: [task.cancel() for task in self._connections])

    def set(self, trap: Trap) -> None:
        """From the next request on."""
        self._trap = trap

    def clear(self) -> None:
        """Take the trap away."""
        self._trap = None

    async def _end(self) -> None:
        self._server.close()
        for task in list(self._connections):
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        upstream: asyncio.StreamWriter | None = None
        try:
            host, port = self.upstream.rsplit(":", 1)
            answers, upstream = await asyncio.open_connection(host, int(port))
            connection = _Connection(self, reader, writer, answers, upstream)
            await connection.run()
        except (OSError, EOFError, asyncio.CancelledError):
            pass  # one side is gone, or we were told to cut
        finally:
            self._connections.discard(task)
            # Not reset: what was passed on is still to be read
            for each in (writer, upstream):
                if each is not None:
                    each.close()

    async def wait(self) -> None:
        """Until things flow."""
        await self._flowing.wait()

    def springs(self, body: bytes) -> Trap | None:
        """The trap, if this request is the one it waits for."""
        trap = self._trap
        if trap is None or struct.unpack_from(">h", body)[0] != trap.request:
            return None
        if trap.client is not None and _client(body) != trap.client:
            return None
        trap.count -= 1
        if trap.count > 0:
            return None
        self._trap = None
        return trap


def _client(body: bytes) -> str:
    """The `client.id` of a request: behind its kind, version and number."""
    (length,) = struct.unpack_from(">h", body, 8)
    return body[10 : 10 + max(length, 0)].decode()


class _Connection:
    """One connection of the daemon and its other half to the broker."""

    def __init__(
        self,
        proxy: Proxy,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        answers: asyncio.StreamReader,
        upstream: asyncio.StreamWriter,
    ) -> None:
        self._proxy = proxy
        self._reader, self._writer, self._answers, self._upstream = reader, writer, answers, upstream
        self._passing = asyncio.Event()
        self._passing.set()

    async def run(self) -> None:
        """Until either side ends."""
        ways = [asyncio.create_task(self._there()), asyncio.create_task(self._back())]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)

    async def _there(self) -> None:
        while True:
            head = await self._reader.readexactly(4)
            body = await self._reader.readexactly(struct.unpack(">i", head)[0])
            await self._proxy.wait()
            trap = self._proxy.springs(body)
            if trap is not None and not trap.is_after:
                await self._spring(trap)
            if trap is not None and trap.is_after:
                self._passing.clear()  # its answer stays here
            self._upstream.write(head + body)
            await self._upstream.drain()
            if trap is not None and trap.is_after:
                await self._spring(trap)
                self._passing.set()

    async def _spring(self, trap: Trap) -> None:
        """Do what the trap does; ends the connection if it says so."""
        trap.act()
        trap.sprung.set()
        if trap.hold:
            await asyncio.sleep(trap.hold)
        if trap.cut:
            raise EOFError

    async def _back(self) -> None:
        while chunk := await self._answers.read(CHUNK):
            await self._proxy.wait()
            await self._passing.wait()
            self._writer.write(chunk)
            await self._writer.drain()

"""Metrics and health over HTTP, in a thread of its own.

Rule 1: GET only, one request a connection, nothing read from a body, nothing changed by a request.
Rule 2: answers come from the callables of a `Health`, which must only look, never wait; the
supervisor's loop never waits for this thread.
Rule 3: a client costs little, however slow or hostile. A request may be 16 KiB long and take five
seconds, an answer ten; of too many connections the oldest gives way to the newest, so a crowd of
idle ones cannot keep the health check out.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final, NamedTuple

from detectord import log

LOG: Final = log.get(__name__)
MOST_CONNECTIONS: Final = 64
MOST_REQUEST_BYTES: Final = 16 << 10
REQUEST_SECONDS: Final = 5.0
ANSWER_SECONDS: Final = 10.0
_JSON: Final = "application/json"


@dataclass(frozen=True, slots=True)
class Health:
    """What the endpoints tell. All are called from the HTTP thread and must return at once.

    `metrics` takes the Accept header and gives content type and body. `ready` gives each check by
    name; ready is when all hold.
    """

    metrics: Callable[[str], tuple[str, bytes]]
    alive: Callable[[], bool]
    ready: Callable[[], Mapping[str, bool]]
    status: Callable[[], Mapping[str, object]]
    rules: Callable[[], Sequence[Mapping[str, object]]]


class Answer(NamedTuple):
    """A status, a content type and a body."""

    status: HTTPStatus
    content_type: str
    body: bytes


def answer(health: Health, method: str, target: str, accept: str) -> Answer:
    """The answer to one request. An endpoint that fails is answered 500, never raised."""
    if method != "GET":
        return _text(HTTPStatus.METHOD_NOT_ALLOWED)
    endpoint = _ENDPOINTS.get(target.partition("?")[0])
    if endpoint is None:
        return _text(HTTPStatus.NOT_FOUND)
    try:
        return endpoint(health, accept)
    except Exception:
        LOG.exception("http.failed", url=target[:100])
        return _text(HTTPStatus.INTERNAL_SERVER_ERROR)


def _text(status: HTTPStatus) -> Answer:
    return Answer(status, "text/plain; charset=utf-8", f"{status.value} {status.phrase}\n".encode())


def _as_json(status: HTTPStatus, value: object) -> Answer:
    return Answer(status, _JSON, json.dumps(value, default=str).encode() + b"\n")


def _metrics(health: Health, accept: str) -> Answer:
    return Answer(HTTPStatus.OK, *health.metrics(accept))


def _healthz(health: Health, _: str) -> Answer:
    if health.alive():
        return _as_json(HTTPStatus.OK, {"status": "ok"})
    return _as_json(HTTPStatus.SERVICE_UNAVAILABLE, {"status": "stuck"})


def _readyz(health: Health, _: str) -> Answer:
    checks = dict(health.ready())
    if all(checks.values()):
        return _as_json(HTTPStatus.OK, {"status": "ready", "checks": checks})
    return _as_json(HTTPStatus.SERVICE_UNAVAILABLE, {"status": "unready", "checks": checks})


def _status(health: Health, _: str) -> Answer:
    return _as_json(HTTPStatus.OK, health.status())


def _rules(health: Health, _: str) -> Answer:
    return _as_json(HTTPStatus.OK, health.rules())


_ENDPOINTS: Final[Mapping[str, Callable[[Health, str], Answer]]] = {
    "/metrics": _metrics,
    "/healthz": _healthz,
    "/readyz": _readyz,
    "/status": _status,
    "/rules": _rules,
}


def local_url(host: str, port: int) -> str:
    """Where a server that listens on `host` (empty: everywhere) and `port` is found from its own machine."""
    everywhere = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "[::1]"}  # noqa: S104 - nothing is bound here
    near = everywhere.get(host, f"[{host}]" if ":" in host else host)
    return f"http://{near}:{port}"


class HttpServer:
    """The listener. It accepts from `start` until `close`."""

    def __init__(
        self,
        address: tuple[str, int],
        health: Health,
        *,
        request_seconds: float = REQUEST_SECONDS,
        most_connections: int = MOST_CONNECTIONS,
    ) -> None:
        """Bind to `address` (an empty host: everywhere; port 0: any free one).

        Raises:
            OSError: the address cannot be had.
        """
        self._health = health
        self._request_seconds = request_seconds
        self._most = most_connections
        self._open: dict[asyncio.Task[None], None] = {}  # oldest first
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="http", daemon=True)
        self._serving = threading.Event()
        try:
            self._socket = _bind(*address)
        except OSError:
            self._loop.close()
            raise
        host, port = self._socket.getsockname()[:2]
        self.address: tuple[str, int] = (host, port)

    @property
    def url(self) -> str:
        """Where the endpoints are, as this machine sees it."""
        return local_url(*self.address)

    def start(self) -> None:
        """Answer from here on."""
        self._thread.start()
        self._serving.wait(self._request_seconds)

    def close(self) -> None:
        """Stop answering; what is being answered is cut off."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
        elif not self._loop.is_closed():
            self._loop.close()
        self._socket.close()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(
            asyncio.start_server(self._accept, sock=self._socket, limit=MOST_REQUEST_BYTES)
        )
        self._loop.call_soon(self._serving.set)
        try:
            self._loop.run_forever()
        finally:
            server.close()
            for task in asyncio.all_tasks(self._loop):
                task.cancel()
            self._loop.run_until_complete(_settled(self._loop))
            self._loop.close()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        while len(self._open) >= self._most:
            oldest = next(iter(self._open))
            del self._open[oldest]
            oldest.cancel()
        self._open[task] = None
        try:
            with contextlib.suppress(OSError, TimeoutError, asyncio.CancelledError):
                await self._serve(reader, writer)
        finally:
            self._open.pop(task, None)
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with asyncio.timeout(self._request_seconds):
            reply = await self._reply(reader)
        async with asyncio.timeout(ANSWER_SECONDS):
            writer.write(_encoded(reply))
            await writer.drain()
            writer.close()
            await writer.wait_closed()

    async def _reply(self, reader: asyncio.StreamReader) -> Answer:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.LimitOverrunError:
            return _text(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        except asyncio.IncompleteReadError:
            return _text(HTTPStatus.BAD_REQUEST)
        request, *headers = head.decode("latin-1").split("\r\n")
        match request.split(" "):
            case [method, target, version] if version.startswith("HTTP/1."):
                return answer(self._health, method, target, _header(headers, "accept"))
        return _text(HTTPStatus.BAD_REQUEST)


def _bind(host: str, port: int) -> socket.socket:
    family, _, _, _, address = socket.getaddrinfo(
        host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    return socket.create_server(address[:2], family=family)


async def _settled(loop: asyncio.AbstractEventLoop) -> None:
    others = asyncio.all_tasks(loop) - {asyncio.current_task()}
    await asyncio.gather(*others, return_exceptions=True)


def _header(lines: Sequence[str], wanted: str) -> str:
    pairs = (line.partition(":") for line in lines)
    return ",".join(value.strip() for name, _, value in pairs if name.lower() == wanted)


def _encoded(reply: Answer) -> bytes:
    allow = "Allow: GET\r\n" if reply.status is HTTPStatus.METHOD_NOT_ALLOWED else ""
    head = (
        f"HTTP/1.1 {reply.status.value} {reply.status.phrase}\r\n{allow}"
        f"Content-Type: {reply.content_type}\r\nContent-Length: {len(reply.body)}\r\n"
        "Cache-Control: no-store\r\nConnection: close\r\n\r\n"
    )
    return head.encode("latin-1") + reply.body

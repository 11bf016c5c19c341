"""The proxy: passes on what it is given, and strikes at the request it was told."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest

from chaos.proxy import Proxy, Request, Trap


class Broker:
    """Answers every request with itself, and keeps it."""

    def __init__(self) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._server.getsockname()[1]}"
        self.seen: list[bytes] = []
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        # Whose connection is cut may not hear the answer
        with suppress(ConnectionError), connection, connection.makefile("rwb") as file:
            while head := file.read(4):
                body = file.read(struct.unpack(">i", head)[0])
                self.seen.append(body)
                file.write(head + body)
                file.flush()

    def close(self) -> None:
        self._server.close()


@pytest.fixture
def broker() -> Iterator[Broker]:
    broker = Broker()
    yield broker
    broker.close()


@pytest.fixture
def proxy(broker: Broker) -> Iterator[Proxy]:
    with Proxy() as proxy:
        proxy.upstream = broker.address
        yield proxy


def connect(proxy: Proxy) -> socket.socket:
    host, port = proxy.address.split(":")
    connection = socket.create_connection((host, int(port)))
    connection.settimeout(10)
    return connection


def ask(connection: socket.socket, request: Request, text: bytes = b"") -> None:
    body = struct.pack(">h", request) + text
    connection.sendall(struct.pack(">i", len(body)) + body)


def answer(connection: socket.socket) -> bytes:
    """The answer's text; nothing if the connection ended."""
    head = _take(connection, 4)
    return _take(connection, struct.unpack(">i", head)[0])[2:] if head else b""


def _take(connection: socket.socket, size: int) -> bytes:
    taken = b""
    while len(taken) < size and (more := connection.recv(size - len(taken))):
        taken += more
    return taken


def test_it_passes_on_in_order_also_what_is_large(proxy: Proxy) -> None:
    with connect(proxy) as one, connect(proxy) as other:
        ask(one, Request.FETCH, b"x" * 300_000)
        ask(other, Request.FETCH, b"other")
        ask(one, Request.PRODUCE, b"last")
        assert answer(other) == b"other"
        assert answer(one) == b"x" * 300_000
        assert answer(one) == b"last"


@pytest.mark.parametrize("is_after", [False, True])
def test_a_trap_springs_at_the_nth_request_of_its_kind(proxy: Proxy, broker: Broker, is_after: bool) -> None:
    acts: list[int] = []
    trap = Trap(
        Request.END_TRANSACTION, 2, is_after=is_after, cut=True, act=lambda: acts.append(len(broker.seen))
    )
    with connect(proxy) as connection:
        ask(connection, Request.END_TRANSACTION, b"before it was set")
        assert answer(connection) == b"before it was set"
        proxy.set(trap)
        ask(connection, Request.END_TRANSACTION, b"1")
        ask(connection, Request.PRODUCE, b"2")
        assert (answer(connection), answer(connection)) == (b"1", b"2")
        assert not trap.sprung.is_set()
        ask(connection, Request.END_TRANSACTION, b"3")
        assert answer(connection) == b""
    assert trap.sprung.is_set()
    assert len(acts) == 1
    with connect(proxy) as connection:  # once
        ask(connection, Request.END_TRANSACTION, b"4")
        assert answer(connection) == b"4"
    texts = [body[2:] for body in broker.seen]
    assert texts == [b"before it was set", b"1", b"2", *([b"3"] if is_after else []), b"4"]


def test_a_trap_may_wait_for_one_client(proxy: Proxy) -> None:
    trap = Trap(Request.END_TRANSACTION, cut=True, client="detectord.b")
    proxy.set(trap)

    def named(client: bytes) -> bytes:
        return struct.pack(">hih", 3, 7, len(client)) + client + b"rest"

    with connect(proxy) as connection:
        for text in (named(b"detectord.a"), named(b"detectord.bb"), struct.pack(">hih", 3, 7, -1)):
            ask(connection, Request.END_TRANSACTION, text)
            assert answer(connection) == text
        ask(connection, Request.PRODUCE, named(b"detectord.b"))
        assert answer(connection) == named(b"detectord.b")
        assert not trap.sprung.is_set()
        ask(connection, Request.END_TRANSACTION, named(b"detectord.b"))
        assert answer(connection) == b""
    assert trap.sprung.is_set()


def test_a_trap_may_only_hold(proxy: Proxy) -> None:
    trap = Trap(Request.STORE_OFFSETS, hold=0.05)
    proxy.set(trap)
    with connect(proxy) as connection:
        ask(connection, Request.STORE_OFFSETS, b"late")
        assert answer(connection) == b"late"
    assert trap.sprung.is_set()


def test_while_it_stands_still_nothing_passes_and_then_everything(proxy: Proxy, broker: Broker) -> None:
    with connect(proxy) as connection:
        ask(connection, Request.FETCH, b"1")
        assert answer(connection) == b"1"
        proxy.stand_still()
        ask(connection, Request.FETCH, b"2")
        connection.settimeout(0.1)
        with pytest.raises(TimeoutError):
            answer(connection)
        assert len(broker.seen) == 1
        proxy.flow()
        connection.settimeout(10)
        assert answer(connection) == b"2"


def test_cut_ends_every_connection_and_new_ones_are_taken(proxy: Proxy) -> None:
    with connect(proxy) as connection:
        ask(connection, Request.FETCH, b"1")
        assert answer(connection) == b"1"
        proxy.cut()
        assert answer(connection) == b""
    with connect(proxy) as connection:
        ask(connection, Request.FETCH, b"2")
        assert answer(connection) == b"2"

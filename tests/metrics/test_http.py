"""The HTTP thread: its endpoints, and clients that mean no good."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator, Mapping
from dataclasses import replace

import pytest

from detectord.metrics import Metrics
from detectord.runtime.http import Health, HttpServer, answer

COUNTS = Metrics()
HEALTH = Health(
    metrics=COUNTS.exposition,
    alive=lambda: True,
    ready=lambda: {"group": True, "workers": True},
    status=lambda: {"version": "1"},
    rules=lambda: [{"rule_id": "a"}],
)


def broken() -> Mapping[str, object]:
    raise RuntimeError("no status")


@pytest.fixture
def server() -> Iterator[HttpServer]:
    server = HttpServer(("127.0.0.1", 0), HEALTH, request_seconds=0.5, most_connections=3)
    server.start()
    yield server
    server.close()


def ask(server: HttpServer, request: bytes) -> bytes:
    with socket.create_connection(server.address, timeout=10) as client:
        client.sendall(request)
        return read(client)


def read(client: socket.socket) -> bytes:
    parts = []
    try:
        while part := client.recv(65536):
            parts.append(part)
    except ConnectionResetError:
        pass
    return b"".join(parts)


@pytest.mark.parametrize(
    ("target", "status", "body"),
    [
        ("/healthz", 200, {"status": "ok"}),
        ("/readyz", 200, {"status": "ready", "checks": {"group": True, "workers": True}}),
        ("/status", 200, {"version": "1"}),
        ("/rules", 200, [{"rule_id": "a"}]),
        ("/healthz?x=1", 200, {"status": "ok"}),
    ],
)
def test_endpoints(target: str, status: int, body: object) -> None:
    reply = answer(HEALTH, "GET", target, "")
    assert (reply.status, reply.content_type, json.loads(reply.body)) == (status, "application/json", body)


def test_not_well() -> None:
    health = replace(HEALTH, alive=lambda: False, ready=lambda: {"group": False, "workers": True})
    assert answer(health, "GET", "/healthz", "").status == 503
    reply = answer(health, "GET", "/readyz", "")
    assert (reply.status, json.loads(reply.body)["checks"]["group"]) == (503, False)


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [("POST", "/metrics", 405), ("HEAD", "/healthz", 405), ("GET", "/", 404), ("GET", "/-/reload", 404)],
)
def test_nothing_else(method: str, target: str, status: int) -> None:
    assert answer(HEALTH, method, target, "").status == status


def test_a_failing_endpoint_is_an_answer() -> None:
    assert answer(replace(HEALTH, status=broken), "GET", "/status", "").status == 500


def test_metrics_by_accept(server: HttpServer) -> None:
    text = ask(server, b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
    assert text.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"Content-Type: text/plain; version=0.0.4" in text
    assert b"detectord_hits_total" in text
    request = b"GET /metrics HTTP/1.1\r\naccept: application/openmetrics-text; version=1.0.0\r\n\r\n"
    assert ask(server, request).endswith(b"# EOF\n")


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"POST /metrics HTTP/1.1\r\nContent-Length: 3\r\n\r\n", b"405"),
        (b"\r\n\r\n", b"400"),
        (b"GET /metrics\r\n\r\n", b"400"),
        (b"GET  /metrics HTTP/1.1\r\n\r\n", b"400"),
        (b"\xff\xfe\x00 / HTTP/1.1\r\n\r\n", b"405"),
        (b"GET /metrics HTTP/9\r\n\r\n", b"400"),
    ],
)
def test_requests_that_are_none(server: HttpServer, request_: bytes, status: bytes) -> None:
    assert ask(server, request_).split(b" ")[1] == status


def test_a_long_request_is_refused(server: HttpServer) -> None:
    assert ask(server, b"GET /metrics HTTP/1.1\r\nX: " + b"x" * 20_000).split(b" ")[1] == b"431"


def test_a_slow_client_is_cut_off(server: HttpServer) -> None:
    with socket.create_connection(server.address, timeout=10) as client:
        client.sendall(b"GET /healthz HTTP/1.1\r\n")
        assert read(client) == b""  # after request_seconds


def test_idle_connections_do_not_keep_the_health_check_out(server: HttpServer) -> None:
    idle = [socket.create_connection(server.address, timeout=10) for _ in range(20)]
    try:
        for _ in range(5):
            assert ask(server, b"GET /healthz HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.1 200")
    finally:
        for client in idle:
            client.close()


def test_the_address_is_told_and_freed() -> None:
    server = HttpServer(("127.0.0.1", 0), HEALTH)
    assert server.url == f"http://127.0.0.1:{server.address[1]}"
    with pytest.raises(OSError, match="in use"):
        HttpServer(server.address, HEALTH)
    server.start()
    server.close()
    again = HttpServer(server.address, HEALTH)
    again.close()


def test_every_address_is_nearest_by_loopback() -> None:
    server = HttpServer(("", 0), HEALTH)
    assert "0.0.0.0" not in server.url
    server.close()

"""The real daemon as a child process, configured for the embedded broker.

It leads a process group of its own, so that a Ctrl-C in the terminal reaches only us and the daemon is
asked to end in its own way; whatever is left of the group after that is killed. Nothing else is.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

READY_SECONDS = 60.0
DRAIN_SECONDS = 30.0
_PAUSE = 0.1


class DaemonError(Exception):
    """The daemon did not become ready, or ended before it was asked to."""


def configuration(
    *, bootstrap_servers: str, group: str, topic: str, rules: Path, workers: int, port: int
) -> dict[str, Any]:
    """A configuration for a short run: small delays, answers on loopback only."""
    return {
        "instance": "demo",
        "sources": [{"topics": [topic], "keyed_by": "host.id"}],
        "kafka": {
            "bootstrap_servers": bootstrap_servers,
            "group": group,
            # The embedded broker balances nothing else.
            "properties": {"partition.assignment.strategy": "range"},
        },
        "input": {"start": "earliest"},
        "delivery": {"mode": "at_least_once", "commit_interval": "250ms"},
        "workers": workers,
        "rules": {"paths": [str(rules)]},
        "time": {"allowed_lateness": "1s", "idle_timeout": "2s"},
        "http": {"listen": f"127.0.0.1:{port}"},
        "log": {"format": "json"},
    }


def free_port() -> int:
    """A port of loopback that nobody listens on now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


class Daemon:
    """`detectord run` with `config`, running inside a `with` block. Its files are in `directory`."""

    def __init__(self, config: dict[str, Any], directory: Path) -> None:
        self.address: str = config["http"]["listen"]
        self.log = directory / "daemon.log"
        self._file = directory / "detectord.yml"
        self._config = config
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self._file.write_text(json.dumps(self._config, indent=2), encoding="utf-8")
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own program
                [sys.executable, "-m", "detectord", "run", "--config", str(self._file)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def wait_until_ready(self, told: Callable[[], None] = lambda: None) -> None:
        """Wait until it has joined its group; `told` is called now and then meanwhile.

        Raises:
            DaemonError: it ended, or was not ready in time.
        """
        until = time.monotonic() + READY_SECONDS
        while not self._is_ready():
            self.check()
            if time.monotonic() >= until:
                raise DaemonError(
                    f"the daemon was not ready within {READY_SECONDS:.0f} s\n{self.last_lines()}"
                )
            told()
            time.sleep(_PAUSE)

    def check(self) -> None:
        """See that it still runs.

        Raises:
            DaemonError: it does not.
        """
        assert self._process is not None, "it runs inside its with block only"
        code = self._process.poll()
        if code is not None:
            raise DaemonError(f"the daemon ended by itself, exit code {code}\n{self.last_lines()}")

    def stop(self) -> int:
        """Ask it to drain and end, and make sure that it has; its exit code. May be called again."""
        process = self._process
        assert process is not None, "it runs inside its with block only"
        try:
            if process.poll() is None:
                process.terminate()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(DRAIN_SECONDS)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        return process.wait()

    def last_lines(self, count: int = 12) -> str:
        """The end of its log."""
        return "\n".join(self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-count:])

    def _is_ready(self) -> bool:
        connection = http.client.HTTPConnection(self.address, timeout=2)
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == http.HTTPStatus.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

"""One instance of the daemon, and the service manager that starts it again whenever it ends.

As the unit file in `deploy/systemd` has it: what ends by itself is started again, but not after 65 or 78,
which starting again does not cure. Any such end, and a traceback in a log, is a finding of its own.

Each start is a *life*, with a configuration and a log of its own.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from daemon import ROOT, wait_until

from chaos.history import Interval

AGAIN = (69, 75)
"""Exit codes after which the daemon is meant to be started again. 70 is as well, but nothing here explains
it."""

DETECTORD = ("-m", "detectord")

MOST_EPOCHS = 40
"""More than these in one life are a storm. A record that kills workers takes some ten."""

WITH_US = ("setpriv", "--pdeathsig", "KILL") if shutil.which("setpriv") else ()
"""Should we be killed, the system kills it, too; already if the thread ends that started it."""

_PLACE = re.compile(r"\[(\d+)\]$")


class Life:
    """One process, from a start to an end."""

    def __init__(
        self,
        folder: Path,
        config: Mapping[str, Any],
        environment: Mapping[str, str],
        program: Sequence[str],
    ) -> None:
        folder.mkdir(parents=True)
        self.log = folder / "detectord.log"
        file = folder / "detectord.yml"
        file.write_text(json.dumps(config, indent=1))
        rest = dict(environment)
        path = os.pathsep.join(filter(None, (rest.pop("PYTHONPATH", ""), str(ROOT))))
        with self.log.open("wb") as out:
            self.process = subprocess.Popen(
                [*WITH_US, sys.executable, *program, "run", "--config", str(file)],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": path, **rest},
            )

    def end(self, seconds: float = 90) -> int:
        """Wait for its end; the exit code."""
        wait_until(lambda: self.process.poll() is not None, f"the process of {self.log} ends", seconds)
        return int(self.process.returncode)

    def lines(self) -> list[dict[str, Any]]:
        """Its log so far."""
        lines = []
        for line in self.log.read_text(errors="replace").splitlines():
            with suppress(ValueError):  # of the last one there may be a part
                lines.append(json.loads(line))
        return lines

    def has_said(self, message: str) -> bool:
        """True if there is a log line of that name."""
        return any(line.get("message") == message for line in self.lines())

    def workers(self) -> list[int]:
        """The ids of its worker processes."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        with suppress(OSError):
            return [pid for pid in map(int, children.read_text().split()) if _is_worker(pid)]
        return []

    def gaps(self) -> list[Interval]:
        """The records it told to be lost."""
        return [
            (_number(line), int(line["labels"]["expected"]), int(line["labels"]["resumed"]))
            for line in self.lines()
            if line.get("message") == "source.gap" and line["kafka"]["partition"].startswith("ecs.")
        ]

    def count(self, message: str) -> int:
        """How many log lines there are of that name."""
        return sum(line.get("message") == message for line in self.lines())


class Instance:
    """An instance that lives again and again, inside a `with` block. `config` is what the next life begins
    with, `program` what Python is to run."""

    def __init__(
        self, name: str, folder: Path, config: dict[str, Any], program: Sequence[str] = DETECTORD
    ) -> None:
        self.name = name
        self._program = program
        self.config = {**config, "instance": name}
        self.environment: dict[str, str] = {}
        self.lives: list[Life] = []
        self.problems: list[str] = []
        self._folder = folder
        self._lock = threading.RLock()
        self._is_over = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._keep, name=f"keeper of {name}", daemon=True)

    def __enter__(self) -> Instance:
        self.begin()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        for life in self.lives:
            if life.process.poll() is None:
                kill([life.process.pid, *life.workers()])
                life.process.wait(30)

    @property
    def life(self) -> Life:
        """The one that is now, or was last."""
        return self.lives[-1]

    def begin(self) -> Life:
        """Begin a life, whatever became of the last one."""
        with self._lock:
            folder = self._folder / f"{len(self.lives):03}"
            self.lives.append(Life(folder, self.config, self.environment, self._program))
            return self.life

    @contextmanager
    def left_alone(self) -> Iterator[None]:
        """Inside, it is not started again."""
        with self._lock:
            yield

    def kill(self) -> None:
        """SIGKILL to all of it, at once."""
        life = self.life
        kill([life.process.pid, *life.workers()])

    def kill_for_good(self) -> None:
        """SIGKILL to all of it; it is not started again."""
        with self.left_alone():
            self._is_over = True
            self.kill()
            self.life.end()

    def stop(self) -> None:
        """SIGTERM, for good; it has to end well."""
        with self.left_alone():
            self._is_over = True
            self._end_well()

    def restart(self) -> None:
        """SIGTERM, and a new life; it has to end well."""
        life = self.life
        # Who is stopped while it reads its state back ends with 75
        wait_until(lambda: life.has_said("state.restored"), "it has its state")
        with self.left_alone():
            self._end_well()
            self.begin()

    def _end_well(self) -> None:
        self.life.process.send_signal(signal.SIGTERM)
        code = self.life.end()
        if code != 0:
            self.problems.append(f"a clean stop ended with {code} in {self.life.log}")

    def client(self) -> str:
        """How its Kafka clients call themselves."""
        return f"detectord.{self.config['kafka']['group']}.{self.name}"

    def gaps(self) -> list[Interval]:
        """The records it told to be lost, in all its lives."""
        return [gap for life in self.lives for gap in life.gaps()]

    def symptoms(self) -> list[str]:
        """What its logs tell of that should not be, whatever came out: exceptions that nobody caught,
        beginning anew without end, hits that were gone before they were read."""
        found = []
        for life in self.lives:
            text = life.log.read_text(errors="replace")
            if "Traceback (most recent call last)" in text:
                found.append(f"traceback in {life.log}")
            if (epochs := life.count("epoch.began")) > MOST_EPOCHS:
                found.append(f"{epochs} epochs in {life.log}")
            if (gaps := life.count("source.gap")) != len(life.gaps()):
                found.append(f"{gaps} gaps in {life.log}, not all of them of the input")
        return found

    def _keep(self) -> None:
        while not self._stop.wait(0.02):
            with self._lock:
                code = self.life.process.poll()
                if code is None or self._is_over:
                    continue
                if code >= 0 and code not in AGAIN:
                    last = [line.get("message") for line in self.life.lines()[-3:]]
                    self.problems.append(f"it ended with {code}: {last} in {self.life.log}")
                self.begin()


def kill(pids: Sequence[int]) -> None:
    """SIGKILL to those that still are."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def is_alive(pid: int) -> bool:
    """True if it runs, or stands still; one that ended may be listed until somebody asks for its end."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def wait_for_workers(life: Life) -> list[int]:
    """The ids of its workers, once it has any."""
    return list(wait_until(life.workers, "the daemon has workers"))


def _is_worker(pid: int) -> bool:
    with suppress(OSError):
        return b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()
    return False


def _number(line: Mapping[str, Any]) -> int:
    """The partition of `topic[number]`."""
    found = _PLACE.search(line["kafka"]["partition"])
    assert found is not None, line
    return int(found[1])

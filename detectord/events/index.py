"""The index an event would have been in, and the index patterns of a rule.

Elasticsearch searches a rule's query in the indices its patterns name. On a stream there is no
index, so an event gets a virtual one from what it says about itself (rule-format.md 6.1), and a rule's
`IndexGate` decides whether the rule sees it. An event that does not tell is in index `unknown`, which
passes every gate: the queries themselves ask for the operating system, the category and so on.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from detectord.eql.wildcard_index import WildcardIndex
from detectord.events.event import Event

UNKNOWN_INDEX = "unknown"

TELLING = (
    "data_stream.dataset", "data_stream.type", "data_stream.namespace",
    "_index", "@metadata._index", "@metadata.raw_index", "kibana.alert.rule.rule_id", "kibana.space_ids",
    "event.module", "@metadata.beat", "@metadata.version", "agent.type", "agent.version", "event.dataset",
)  # fmt: skip
"""All fields that tell a virtual index, where the source says nothing. Without `endgame`, an object."""

_BEATS = frozenset(["auditbeat", "filebeat", "heartbeat", "metricbeat", "packetbeat", "winlogbeat"])
_GENERATION = re.compile(r"-[0-9]{4}\.[0-9]{2}\.[0-9]{2}-[0-9]{6}\Z")
_PLACEHOLDER = re.compile(r"\{([^{}]+)\}")


@dataclass(frozen=True, slots=True)
class SourceIndex:
    """What the operator says of the events of one topic: the index they belong to (see `virtual_index`),
    and whether those that do not tell theirs are kept from all rules."""

    name: str | None = None
    force: bool = False
    drop_unknown: bool = False


NOTHING_SAID = SourceIndex()


def virtual_index(event: Event, source_index: str | None = None, *, force: bool = False) -> str:
    """The name of the index `event` belongs to.

    `source_index` is what the source says of its events; it may contain fields in braces
    (`logs-{event.dataset}-default`) and then holds only for events that have them. It comes last, or,
    with `force`, first.
    """
    told = _told(event, source_index) if source_index is not None else None
    if force and told is not None:
        return told
    return (
        _data_stream(event)
        or _stored(event)
        or _alert(event)
        or _endgame(event)
        or _beat(event)
        or _dataset(event)
        or told
        or UNKNOWN_INDEX
    )


def _first(event: Event, path: str, default: str = "") -> str:
    texts = event.text(path)
    return texts[0] if texts else default


def _data_stream(event: Event) -> str | None:
    dataset = _first(event, "data_stream.dataset")
    if not dataset:
        return None
    kind = _first(event, "data_stream.type", "logs")
    return f"{kind}-{dataset}-{_first(event, 'data_stream.namespace', 'default')}"


def _stored(event: Event) -> str | None:
    for path in ("_index", "@metadata._index", "@metadata.raw_index"):
        name = _first(event, path)
        if name:
            name = name.rpartition(":")[2].removeprefix(".ds-")
            return _GENERATION.sub("", name) or None
    return None


def _alert(event: Event) -> str | None:
    if not event.values("kibana.alert.rule.rule_id"):
        return None
    return f".alerts-security.alerts-{_first(event, 'kibana.space_ids', 'default')}"


def _endgame(event: Event) -> str | None:
    if "endgame" not in event.text("event.module") and not event.holds_object("endgame"):
        return None
    return f"endgame-{_first(event, 'agent.version', '0')}"


def _beat(event: Event) -> str | None:
    beat = _first(event, "@metadata.beat")
    if beat:
        return f"{beat}-{_first(event, '@metadata.version') or _first(event, 'agent.version', '0')}"
    agent = _first(event, "agent.type")
    return f"{agent}-{_first(event, 'agent.version', '0')}" if agent in _BEATS else None


def _dataset(event: Event) -> str | None:
    dataset = _first(event, "event.dataset")
    return f"logs-{dataset}-default" if "." in dataset else None


def _told(event: Event, template: str) -> str | None:
    fields = {name: _first(event, name) for name in _PLACEHOLDER.findall(template)}
    if not all(fields.values()):
        return None
    return _PLACEHOLDER.sub(lambda found: fields[found[1]], template) or None


class IndexGate:
    """The index patterns of a rule, in the order in which they stand there.

    In a pattern `*` is any run of characters and nothing else is special; what stands before a `:` is the
    name of a cluster and is dropped. A pattern with a `-` before it takes back what earlier ones
    let through. Without patterns everything passes.
    """

    __slots__ = ("_patterns",)

    def __init__(self, patterns: Sequence[str]) -> None:
        self._patterns = [(_excludes(pattern), _pieces(pattern)) for pattern in patterns]

    def admits(self, index: str) -> bool:
        """True if a rule with these patterns sees the events of `index`."""
        if not self._patterns or index == UNKNOWN_INDEX:
            return True
        admitted = False
        for excludes, pieces in self._patterns:
            if admitted is excludes and _covers(pieces, index):
                admitted = not excludes
        return admitted


class IndexGates:
    """The gates of many rules: one question for all. Rules name the same few patterns again and again."""

    __slots__ = ("_all", "_gates", "_masks", "_open", "_patterns")

    def __init__(self, rules: Iterable[Sequence[str]]) -> None:
        by_pattern: dict[str, int] = {}
        by_gate: dict[tuple[str, ...], int] = {}
        self._all = self._open = 0
        for number, patterns in enumerate(rules):
            bit = 1 << number
            self._all |= bit
            if not patterns:
                self._open |= bit
            elif any(_excludes(pattern) or "?" in pattern for pattern in patterns):
                by_gate[tuple(patterns)] = by_gate.get(tuple(patterns), 0) | bit
            else:
                for pattern in map(_without_cluster, patterns):
                    by_pattern[pattern] = by_pattern.get(pattern, 0) | bit
        self._masks = list(by_pattern.values())
        self._patterns = WildcardIndex((number, [pattern]) for number, pattern in enumerate(by_pattern))
        self._gates = [(IndexGate(patterns), mask) for patterns, mask in by_gate.items()]

    def admitting(self, index: str) -> int:
        """The rules that see the events of `index`, a bit each, in the order of their patterns."""
        if index == UNKNOWN_INDEX:
            return self._all
        admitting = self._open
        for number in self._patterns.find(index):
            admitting |= self._masks[number]
        for gate, mask in self._gates:
            if gate.admits(index):
                admitting |= mask
        return admitting


def _excludes(pattern: str) -> bool:
    """True for a `-` before the pattern, or between it and the name of its cluster."""
    return pattern.startswith("-") or pattern.rpartition(":")[2].startswith("-")


def _pieces(pattern: str) -> list[str]:
    """A pattern cut at its stars."""
    return _without_cluster(pattern).removeprefix("-").split("*")


def _without_cluster(pattern: str) -> str:
    return pattern.removeprefix("-").rpartition(":")[2]


def _covers(pieces: list[str], name: str) -> bool:
    """Whether the pieces stand in `name` one after another, the first and the last at its ends. The
    leftmost place for each piece leaves the most room for the next, so there is no going back."""
    first, last = pieces[0], pieces[-1]
    if len(pieces) == 1:
        return name == first
    if len(name) < len(first) + len(last) or not (name.startswith(first) and name.endswith(last)):
        return False
    place, end = len(first), len(name) - len(last)
    for piece in pieces[1:-1]:
        place = name.find(piece, place, end)
        if place < 0:
            return False
        place += len(piece)
    return True

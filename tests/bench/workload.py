"""The events of the bench: the demonstration's machines at work, the recorded ones, and hostile ones.

The demonstration's traffic is seeded and invented: process, file, network, registry, DNS, library and logon
events of Windows and Linux machines as four products report them, 1 to 4 KB each, about 2 KB on average.
Programs, paths, users and hosts come again and again; process ids, times, ids and parts of command lines
do not.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator
from itertools import islice
from random import Random
from typing import Any

import msgspec

from bench.results import ROOT
from detectord.demo.traffic import events
from detectord.events.record import Record

START = 1_790_000_000 * 1_000_000_000
HOSTS = 200
COMMAND_LINE = 950_000
"""Characters: some take two bytes as JSON, and an event may have a MiB."""
RECORDED = ROOT.parent / "shared" / "data" / "windows-recorded.ndjson.gz"

Document = dict[str, Any]


def synthetic(count: int, seed: int = 0) -> list[bytes]:
    """`count` events of a fleet, the same for the same seed."""
    encode = msgspec.json.Encoder().encode
    return [encode(document) for document in events(seed, count, START, HOSTS)]


def recorded(count: int) -> list[bytes]:
    """At most `count` events of real Windows machines, none where there are none on this machine."""
    if not RECORDED.is_file():
        return []
    with gzip.open(RECORDED) as lines:
        return [line.rstrip(b"\n") for line in islice(lines, count)]


def records(values: list[bytes], topic: str = "bench") -> list[Record]:
    """The events as a source would hand them over."""
    return [Record(topic, 0, offset, None, None, value, offset) for offset, value in enumerate(values)]


# --- hostile ---------------------------------------------------------------------------------


def ever_new(size: int) -> list[bytes]:
    """About `size` bytes in which no text but the names that events are sorted by was seen before."""
    return _changed(size, _renew)


def new_actions(size: int) -> list[bytes]:
    """An `event.action` of its own for every event, and a data set."""

    def renew(document: Document, random: Random) -> None:
        document["event"] = {**document["event"], "action": f"action-{random.getrandbits(60):x}"}
        document["data_stream"] = {"dataset": f"data.{random.getrandbits(60):x}"}

    return _changed(size, renew)


def long_command_lines(size: int) -> list[bytes]:
    """Command lines as long as an event may be, with pieces in them that patterns look for."""

    def lengthen(document: Document, random: Random) -> None:
        words = ("-enc ", "cmd.exe /c ", "http://", "\\Temp\\", "/dev/tcp/", f"{random.getrandbits(60):x} ")
        line = "".join(random.choices(words, k=200))
        text = (line * (COMMAND_LINE // len(line) + 1))[:COMMAND_LINE]
        document["process"] = {**document.get("process", {}), "command_line": text}

    return _changed(size, lengthen)


def long_arrays(size: int) -> list[bytes]:
    """Arguments, addresses and file names by the ten thousand."""

    def lengthen(document: Document, random: Random) -> None:
        texts = [f"--{random.getrandbits(40):x}" for _ in range(10_000)]
        document["process"] = {**document.get("process", {}), "args": texts, "name": texts}

    return _changed(size, lengthen)


HOSTILE = {
    "values": ever_new,
    "actions": new_actions,
    "command_lines": long_command_lines,
    "arrays": long_arrays,
}
"""The hostile streams by what is hostile about them."""

_KEPT = frozenset(["event", "data_stream", "host", "@timestamp", "agent"])


def _renew(document: Document, random: Random) -> None:
    for key, value in document.items():
        if key not in _KEPT:
            document[key] = _renewed(value, random)


def _renewed(value: Any, random: Random) -> Any:
    if isinstance(value, dict):
        return {key: _renewed(child, random) for key, child in value.items()}
    if isinstance(value, list):
        return [_renewed(child, random) for child in value]
    return f"{value}{random.getrandbits(48):x}" if isinstance(value, str) else value


def _changed(size: int, change: Callable[[Document, Random], None]) -> list[bytes]:
    random, encode = Random(f"hostile {change.__qualname__}"), msgspec.json.Encoder().encode
    changed: list[bytes] = []
    made = 0
    for document in _endless():
        copy = dict(document)
        change(copy, random)
        changed.append(encode(copy))
        made += len(changed[-1])
        if made >= size:
            break
    return changed


def _endless() -> Iterator[Document]:
    for seed in range(1, 1_000):
        yield from events(seed, 10_000, START, HOSTS)

"""End to end: the daemon on the embedded broker, from the first record written to the last one committed.

The embedded broker keeps little, so that who writes to it goes at the reader's pace; the figure is of the
whole, broker and writer on the same machine included.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

import msgspec
from daemon import Daemon, Topics

from bench.context import Context
from bench.workload import synthetic
from detectord.demo.broker import UNREAD_LIMIT, EmbeddedBroker, Feeder


def measure(context: Context) -> None:
    """The line of the embedded broker."""
    with EmbeddedBroker() as broker:
        topics = Topics(broker.bootstrap_servers)
        broker.create(*topics.names())
        context.add("embedded_broker", rate(context, topics, keyed(context)), "events/s, 2 workers")
        topics.close()


def keyed(context: Context) -> list[tuple[bytes, bytes]]:
    """The events that are written, behind their keys."""
    values = synthetic(context.scale.feed)
    return [(msgspec.json.decode(value)["host"]["id"].encode(), value) for value in values]


def rate(
    context: Context,
    topics: Topics,
    events: Sequence[tuple[bytes, bytes]],
    *,
    unread_limit: int = UNREAD_LIMIT,
    rules: Sequence[Path] = (),
    **config: Any,
) -> float:
    """Events a second, written to the topic and committed by the daemon. Of the written, `unread_limit`
    bytes a partition may wait for it. `rules` beside those of the bench; `config` replaces sections of the
    daemon's configuration."""
    sources = [{"topics": [topics.input], "keyed_by": "host.id"}]
    with (
        tempfile.TemporaryDirectory() as place,
        Daemon(
            Path(place), topics, rules=[context.folder, *rules], sources=sources, workers=2, **config
        ) as daemon,
    ):
        feeder = Feeder(topics.bootstrap_servers, topics.prefix, unread_limit=unread_limit)
        feeder.feed(topics.input, events[:10])
        feeder.wait_until_read()  # everybody is there
        began = perf_counter()
        feeder.feed(topics.input, events[10:])
        feeder.wait_until_read()
        seconds = perf_counter() - began
        feeder.close()
        assert daemon.metric("detectord_input_records_total") == len(events)
        assert daemon.stop() == 0
    return (len(events) - 10) / seconds

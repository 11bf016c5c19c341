"""End to end: the daemon on the embedded broker, from the first record written to the last one committed.

The embedded broker keeps little, so that who writes to it goes at the reader's pace; the figure is of the
whole, broker and writer on the same machine included.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from time import perf_counter

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
        context.add("embedded_broker", rate(context, topics), "events/s, 2 workers")
        topics.close()


def rate(context: Context, topics: Topics, *, unread_limit: int = UNREAD_LIMIT) -> float:
    """Events a second, written to the topic and committed by the daemon. Of the written, `unread_limit`
    bytes a partition may wait for it."""
    count = context.scale.feed
    values = synthetic(count)
    keys = [msgspec.json.decode(value)["host"]["id"].encode() for value in values]
    sources = [{"topics": [topics.input], "keyed_by": "host.id"}]
    with (
        tempfile.TemporaryDirectory() as place,
        Daemon(Path(place), topics, rules=[context.folder], sources=sources, workers=2) as daemon,
    ):
        feeder = Feeder(topics.bootstrap_servers, topics.prefix, unread_limit=unread_limit)
        feeder.feed(topics.input, zip(keys[:10], values[:10], strict=True))
        feeder.wait_until_read()  # everybody is there
        began = perf_counter()
        feeder.feed(topics.input, zip(keys[10:], values[10:], strict=True))
        feeder.wait_until_read()
        seconds = perf_counter() - began
        feeder.close()
        assert daemon.metric("detectord_input_records_total") == count
        assert daemon.stop() == 0
    return (count - 10) / seconds

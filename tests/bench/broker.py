"""End to end: the daemon on a broker, from the first record written to the last one committed.

On the embedded broker always, on Apache Kafka where DETECTORD_TEST_KAFKA names one. The embedded broker keeps
little, so that who writes to it goes at the reader's pace; the figure is of the whole, broker and writer
on the same machine included.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from time import perf_counter

import msgspec
from confluent_kafka.admin import AdminClient, NewTopic
from daemon import Daemon, Topics

from bench.context import Context
from bench.workload import synthetic
from detectord.demo.broker import EmbeddedBroker, Feeder

REAL = "DETECTORD_TEST_KAFKA"


def measure(context: Context) -> None:
    """The lines of the brokers."""
    with EmbeddedBroker() as broker:
        topics = Topics(broker.bootstrap_servers)
        broker.create(*topics.names())
        context.add("embedded_broker", _rate(context, topics), "events/s, 2 workers")
        topics.close()
    if REAL in os.environ:
        topics = Topics(os.environ[REAL])
        admin = AdminClient({"bootstrap.servers": topics.bootstrap_servers})
        for made in admin.create_topics([NewTopic(name, 4, 1) for name in topics.names()]).values():
            made.result(30)
        context.add("kafka", _rate(context, topics), "events/s, 2 workers")
        topics.close()
        for gone in admin.delete_topics(list(topics.names())).values():
            gone.result(30)


def _rate(context: Context, topics: Topics) -> float:
    """Events a second, written to the topic and committed by the daemon."""
    count = context.scale.feed
    values = synthetic(count)
    keys = [msgspec.json.decode(value)["host"]["id"].encode() for value in values]
    sources = [{"topics": [topics.input], "keyed_by": "host.id"}]
    with (
        tempfile.TemporaryDirectory() as place,
        Daemon(Path(place), topics, rules=context.folder, sources=sources, workers=2) as daemon,
    ):
        feeder = Feeder(topics.bootstrap_servers, topics.prefix)
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

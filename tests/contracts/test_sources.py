"""The source contract, held against every source."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from pathlib import Path

import pytest
from brokers import Broker
from contracts.source import CHECKS, Make
from mockcluster import produce

from detectord.kafka import KafkaSettings
from detectord.sources import Source
from detectord.sources.kafka import KafkaSource
from detectord.sources.memory import MemoryLog, MemorySource
from detectord.sources.ndjson import NdjsonSource


@pytest.fixture(params=["memory", "ndjson", "gzip"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    def memory(values: Sequence[bytes]) -> Source:
        log = MemoryLog([("in", 0)])
        for value in values:
            log.append(("in", 0), value)
        return MemorySource(log)

    def ndjson(values: Sequence[bytes]) -> Source:
        path = tmp_path / "in.ndjson"
        path.write_bytes(b"\n".join(values))
        return NdjsonSource([path])

    def zipped(values: Sequence[bytes]) -> Source:
        path = tmp_path / "in.ndjson.gz"
        path.write_bytes(gzip.compress(b"".join(value + b"\r\n" for value in values)))
        return NdjsonSource([path])

    return {"memory": memory, "ndjson": ndjson, "gzip": zipped}[request.param]


@pytest.mark.parametrize("check", CHECKS)
def test_contract(check, make: Make) -> None:
    check(make)


@pytest.mark.broker
@pytest.mark.parametrize("check", CHECKS)
def test_kafka_contract(check, broker: Broker) -> None:
    def make(values: Sequence[bytes]) -> Source:
        topic = broker.topic(1)
        produce(broker.bootstrap_servers, topic, values)
        settings = KafkaSettings(bootstrap_servers=broker.bootstrap_servers, group=f"of-{topic}")
        return KafkaSource(settings, [topic], start="earliest", pause_after=0.0)

    check(make)

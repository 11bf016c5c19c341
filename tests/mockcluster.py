"""librdkafka's mock cluster with its levers: partition counts, no join delay, brokers going down,
errors on order. The library exports them; Python's binding does not, hence ctypes."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import confluent_kafka
import pytest
from confluent_kafka import Consumer, KafkaError, Message, Producer, TopicPartition

PRODUCE, OFFSET_COMMIT, OFFSET_FETCH, HEARTBEAT = 0, 8, 9, 12  # API keys of the protocol


def _load() -> ctypes.CDLL:
    package = Path(confluent_kafka.__file__).parent
    places = [package.parent / "confluent_kafka.libs", package / ".dylibs"]
    found = [file for place in places for file in sorted(place.glob("librdkafka*"))]
    lib = ctypes.CDLL(str(found[0]) if found else "librdkafka.so.1")
    pointer, text = ctypes.c_void_p, ctypes.c_char_p
    lib.rd_kafka_conf_new.restype = pointer
    lib.rd_kafka_conf_set.argtypes = [pointer, text, text, text, ctypes.c_size_t]
    lib.rd_kafka_new.restype = pointer
    lib.rd_kafka_new.argtypes = [ctypes.c_int, pointer, text, ctypes.c_size_t]
    lib.rd_kafka_destroy.argtypes = [pointer]
    lib.rd_kafka_mock_cluster_new.restype = pointer
    lib.rd_kafka_mock_cluster_new.argtypes = [pointer, ctypes.c_int]
    lib.rd_kafka_mock_cluster_destroy.argtypes = [pointer]
    lib.rd_kafka_mock_cluster_bootstraps.restype = text
    lib.rd_kafka_mock_cluster_bootstraps.argtypes = [pointer]
    lib.rd_kafka_mock_group_initial_rebalance_delay_ms.argtypes = [pointer, ctypes.c_int32]
    lib.rd_kafka_mock_topic_create.argtypes = [pointer, text, ctypes.c_int, ctypes.c_int]
    lib.rd_kafka_mock_broker_set_down.argtypes = [pointer, ctypes.c_int32]
    lib.rd_kafka_mock_broker_set_up.argtypes = [pointer, ctypes.c_int32]
    lib.rd_kafka_mock_push_request_errors_array.argtypes = [
        pointer,
        ctypes.c_int16,
        ctypes.c_size_t,
        ctypes.POINTER(ctypes.c_int),
    ]
    return lib


class MockCluster:
    """One broker, on loopback."""

    def __init__(self) -> None:
        self._lib = _load()
        error = ctypes.create_string_buffer(512)
        conf = self._lib.rd_kafka_conf_new()
        self._lib.rd_kafka_conf_set(conf, b"bootstrap.servers", b"127.0.0.1:9", error, 512)
        self._lib.rd_kafka_conf_set(conf, b"log_level", b"0", error, 512)
        self._client = self._lib.rd_kafka_new(0, conf, error, 512)
        assert self._client, error.value
        self._cluster = self._lib.rd_kafka_mock_cluster_new(self._client, 1)
        self._lib.rd_kafka_mock_group_initial_rebalance_delay_ms(self._cluster, 0)
        self.bootstrap_servers: str = self._lib.rd_kafka_mock_cluster_bootstraps(self._cluster).decode()
        self._topics = 0

    def topic(self, partitions: int, stem: str = "topic") -> str:
        """A new topic."""
        self._topics += 1
        name = f"{stem}-{self._topics}"
        assert self._lib.rd_kafka_mock_topic_create(self._cluster, name.encode(), partitions, 1) == 0
        return name

    def fail(self, api_key: int, codes: Sequence[int]) -> None:
        """Answer the next requests of a kind with these errors."""
        array = (ctypes.c_int * len(codes))(*codes)
        self._lib.rd_kafka_mock_push_request_errors_array(self._cluster, api_key, len(codes), array)

    @contextmanager
    def down(self) -> Iterator[None]:
        """The broker is away."""
        self._lib.rd_kafka_mock_broker_set_down(self._cluster, 1)
        try:
            yield
        finally:
            self.set_up()

    def set_up(self) -> None:
        """The broker is back."""
        self._lib.rd_kafka_mock_broker_set_up(self._cluster, 1)

    def close(self) -> None:
        self._lib.rd_kafka_mock_cluster_destroy(self._cluster)
        self._lib.rd_kafka_destroy(self._client)


@pytest.fixture(scope="session")
def cluster() -> Iterator[MockCluster]:
    """One cluster for all tests; they keep apart by topic and group. A `conftest.py` imports it."""
    cluster = MockCluster()
    yield cluster
    cluster.close()


def produce(bootstrap_servers: str, topic: str, values: Sequence[bytes], partition: int = 0) -> None:
    """Write `values` and wait until they are stored."""
    producer = Producer({"bootstrap.servers": bootstrap_servers, "linger.ms": 0})
    for value in values:
        producer.produce(topic, value, partition=partition)
    assert producer.flush(10) == 0


def consume(bootstrap_servers: str, topic: str, partitions: int = 1) -> list[Message]:
    """Every message of a topic, read without a group."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap_servers,
            "group.id": "reader",
            "enable.partition.eof": True,
            "fetch.wait.max.ms": 10,
        }
    )
    consumer.assign([TopicPartition(topic, number, 0) for number in range(partitions)])
    messages: list[Message] = []
    ended: set[int] = set()
    until = time.monotonic() + 20
    while len(ended) < partitions:
        assert time.monotonic() < until, "the end was not reached"
        message = consumer.poll(0.2)
        if message is None:
            continue
        if message.error() is None:
            messages.append(message)
        elif message.error().code() == KafkaError._PARTITION_EOF:
            ended.add(message.partition())
    consumer.close()
    return messages

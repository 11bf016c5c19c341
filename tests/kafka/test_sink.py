"""KafkaSink: what the records look like, and what it does when something is wrong."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import pytest
from brokers import Broker
from confluent_kafka import KafkaError, KafkaException, Message
from contracts.sink import alert, letter
from contracts.source import read
from mockcluster import PRODUCE, MockCluster, consume, produce

from detectord.alerts import AlertRecord
from detectord.events.record import DeadLetter, Positions, Record
from detectord.kafka import ClientValue, KafkaSettings
from detectord.sinks import DeliveryError, Outputs
from detectord.sinks.kafka import KafkaSink
from detectord.sources.kafka import KafkaSource

pytestmark = pytest.mark.broker


class Line:
    """A sink with its topics."""

    def __init__(self, broker: Broker, properties: dict[str, ClientValue], **options: Any) -> None:
        self.broker = broker
        self.alert_topic = broker.topic(1, "alerts")
        self.dead_letter_topic = broker.topic(1, "dlq")
        self.ledger_topic = broker.topic(1, "ledger")
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.stored: list[Positions] = []
        self.sink = KafkaSink(
            KafkaSettings(bootstrap_servers=broker.bootstrap_servers, producer_properties=properties),
            options.pop("commit_positions", self.stored.append),
            alert_topic=self.alert_topic,
            dead_letter_topic=self.dead_letter_topic,
            ledger_topic=self.ledger_topic,
            on_event=lambda *event: self.events.append(event),
            **options,
        )

    def alerts(self) -> list[Message]:
        return consume(self.broker.bootstrap_servers, self.alert_topic)

    def dead(self) -> list[tuple[bytes | None, bytes, dict[str, str]]]:
        return [
            (m.key(), m.value(), {name: value.decode() for name, value in m.headers()})
            for m in consume(self.broker.bootstrap_servers, self.dead_letter_topic)
        ]


MakeLine = Callable[..., Line]


def lines_on(broker: Broker) -> MakeLine:
    return lambda properties=None, **options: Line(broker, properties or {}, **options)


@pytest.fixture
def line(broker: Broker) -> MakeLine:
    """Makes lines, on both brokers."""
    return lines_on(broker)


@pytest.fixture
def mock_line(cluster: MockCluster) -> MakeLine:
    """Makes lines on the broker that fails on order."""
    return lines_on(cluster)


def test_an_alert_record(line: MakeLine) -> None:
    one = line()
    headers = (("rule-id", b"r"), ("alert-kind", b"event"))
    one.sink.commit(Outputs([AlertRecord("id", b"{}", headers, 4321, "event", "r", "low")], []), {})
    (message,) = one.alerts()
    assert (message.key(), message.value(), message.timestamp()[1]) == (b"id", b"{}", 4321)
    assert message.headers() == list(headers)
    assert one.stored == []
    one.sink.close()


def test_a_dead_letter(line: MakeLine) -> None:
    one = line(dead_letter_limit=4)
    short = Record("in", 3, 17, 99, b"key", b"\xff")
    long = Record("dir/a.ndjson", 0, 5, None, None, b"123456789")
    long_key = Record("in", 0, 1, None, b"k" * 5_000, b"")
    one.sink.commit(
        Outputs(
            [],
            [
                DeadLetter(short, "not_json", "unexpected \ud800"),
                DeadLetter(long, "too_large", "e" * 2_000),
                DeadLetter(long_key, "not_json", ""),
            ],
        ),
        {},
    )
    first, second, third = one.dead()
    assert first == (
        b"key",
        b"\xff",
        {
            "dlq-reason": "not_json",
            "dlq-error": "unexpected ?",
            "src-topic": "in",
            "src-partition": "3",
            "src-offset": "17",
            "src-timestamp": "99",
        },
    )
    assert second == (
        None,
        b"1234",
        {
            "dlq-reason": "too_large",
            "dlq-error": "e" * 1_000,
            "src-topic": "dir/a.ndjson",
            "src-partition": "0",
            "src-offset": "5",
            "dlq-truncated": "true",
            "dlq-sha256": hashlib.sha256(b"123456789").hexdigest(),
            "dlq-size": "9",
        },
    )
    assert third[0] == b"k" * 4_096
    one.sink.close()


def test_what_is_too_big_is_cut_and_does_not_wedge(line: MakeLine) -> None:
    one = line({"message.max.bytes": 1_500})
    big = AlertRecord("id", b"a" * 5_000, (("rule-id", b"r"),), 1, "event", "r", "low")
    record = Record("in", 0, 1, None, b"k", b"b" * 3_000)
    one.sink.commit(Outputs([big, alert(2)], [DeadLetter(record, "not_json", "no")]), {("in", 0): 2})
    assert [message.value() for message in one.alerts()] == [alert(2).value]
    by_reason = {headers["dlq-reason"]: (value, headers) for _, value, headers in one.dead()}
    value, headers = by_reason["alert_too_large"]
    assert value == b"a" * len(value)
    assert (headers["dlq-size"], headers["rule-id"], headers["dlq-truncated"]) == ("5000", "r", "true")
    value, headers = by_reason["not_json"]
    assert value == b"b" * 750
    assert headers["dlq-sha256"] == hashlib.sha256(b"b" * 3_000).hexdigest()
    assert one.events == [("alert.too_large", {"rule_id": "r", "size": 5_000})]
    assert one.stored == [{("in", 0): 2}]
    one.sink.close()


def test_the_broker_finds_it_too_big(mock_line: MakeLine, cluster: MockCluster) -> None:
    one = mock_line()
    cluster.fail(PRODUCE, [KafkaError.MSG_SIZE_TOO_LARGE])
    one.sink.commit(Outputs([], [letter(1)]), {})
    assert [value for _, value, _ in one.dead()] == [letter(1).record.value[:1]]
    one.sink.close()


def test_a_topic_that_is_closed_to_us_fails_at_once(mock_line: MakeLine, cluster: MockCluster) -> None:
    one = mock_line()
    cluster.fail(PRODUCE, [KafkaError.TOPIC_AUTHORIZATION_FAILED])
    with pytest.raises(DeliveryError, match="does not take our records"):
        one.sink.commit(Outputs([alert(1)], []), {("in", 0): 1})
    assert one.events[0][0] == "kafka.not_authorised"
    assert one.stored == []
    one.sink.close()


def test_what_the_client_gave_up_is_produced_again(mock_line: MakeLine, cluster: MockCluster) -> None:
    ticks = 0

    def come_back_at_the_fifth() -> None:
        nonlocal ticks
        ticks += 1
        if ticks == 5:
            cluster.set_up()

    quick = {"delivery.timeout.ms": 200, "reconnect.backoff.max.ms": 100, "linger.ms": 0}
    one = mock_line(quick, tick=come_back_at_the_fifth)
    one.sink.commit(Outputs([alert(0)], []), {})
    ticks = 0  # a slow machine may have ticked in the first commit already
    with cluster.down():
        one.sink.commit(Outputs([alert(1)], []), {("in", 0): 1})
    assert ticks >= 5
    assert {message.value() for message in one.alerts()} == {alert(0).value, alert(1).value}
    assert one.stored == [{("in", 0): 1}]
    one.sink.close()


def test_more_than_the_queue_holds(line: MakeLine) -> None:
    one = line({"queue.buffering.max.messages": 10})
    alerts = [alert(n) for n in range(200)]
    one.sink.commit(Outputs(alerts, []), {})
    assert [message.value() for message in one.alerts()] == [each.value for each in alerts]
    one.sink.close()


def test_a_tick_that_raises_leaves_nothing_behind(mock_line: MakeLine, cluster: MockCluster) -> None:
    stopping = True

    def stop() -> None:
        if stopping:
            raise KeyboardInterrupt

    one = mock_line(tick=stop)
    with cluster.down(), pytest.raises(KeyboardInterrupt):
        one.sink.commit(Outputs([alert(1)], []), {("in", 0): 1})
    stopping = False
    one.sink.commit(Outputs([alert(2)], []), {})
    assert [message.value() for message in one.alerts()] == [alert(2).value]
    assert one.stored == []
    one.sink.close()


def test_positions_that_cannot_be_stored(line: MakeLine) -> None:
    def refuse(positions: Positions) -> None:
        raise KafkaException(KafkaError(KafkaError.ILLEGAL_GENERATION))

    one = line(commit_positions=refuse)
    with pytest.raises(DeliveryError, match="could not be stored"):
        one.sink.commit(Outputs([alert(1)], []), {("in", 0): 1})
    one.sink.commit(Outputs([alert(1)], []), {})
    one.sink.close()


def test_source_and_sink_together(broker: Broker) -> None:
    topic = broker.topic(1)
    produce(broker.bootstrap_servers, topic, [b"0", b"1"])
    settings = KafkaSettings(bootstrap_servers=broker.bootstrap_servers, group=f"of-{topic}")
    source = KafkaSource(settings, [topic], start="earliest")
    one = Line(broker, {}, commit_positions=source.commit)
    records = read(source, 2)
    one.sink.commit(Outputs([alert(1)], []), {(topic, 0): records[-1].offset + 1})
    assert source._committed([(topic, 0)]) == {(topic, 0): 2}
    one.sink.close()
    source.close()


def test_settings_the_client_refuses() -> None:
    settings = KafkaSettings(bootstrap_servers="127.0.0.1:1", producer_properties={"no.such.setting": 1})
    with pytest.raises(DeliveryError, match="cannot be set up"):
        KafkaSink(settings, lambda _: None, alert_topic="a", dead_letter_topic="d", ledger_topic="l")

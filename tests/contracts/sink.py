"""What every Sink keeps. A `Harness` is one sink with eyes on what came out of it and a way to break it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

import pytest

from detectord.alerts import AlertRecord
from detectord.events.record import DeadLetter, Partition, Record
from detectord.sinks import DeliveryError, LedgerRecord, Outputs, Sink

PARTITION: Partition = ("in", 0)


@dataclass
class Harness:
    """`alerts` are the values delivered, `dead_letters` the reasons, in the order of delivery; `ledger` what
    was told, by name, None of a sink that leaves it out; `positions` what is stored; under `broken` nothing
    can be delivered."""

    sink: Sink
    alerts: Callable[[], list[bytes]]
    dead_letters: Callable[[], list[str]]
    positions: Callable[[], dict[Partition, int]]
    broken: Callable[[], AbstractContextManager[None]]
    ledger: Callable[[], list[tuple[str, bytes]]] | None = None


Make = Callable[[], Harness]


def alert(n: int) -> AlertRecord:
    return AlertRecord(f"key-{n}", b'{"alert":%d}' % n, (("rule-id", b"r"),), 1_000 + n, "event", "r", "low")


def letter(n: int, reason: str = "not_json") -> DeadLetter:
    return DeadLetter(Record("in", 0, n, 5, b"k", b"\xff%d" % n), reason, "does not parse")


def told(n: int, value: int = 0) -> LedgerRecord:
    return LedgerRecord(f"interval-{n}", b'{"count":%d}' % value)


def delivers_then_stores(make: Make) -> None:
    harness = make()
    harness.sink.commit(Outputs([alert(1), alert(2)], [letter(3)]), {PARTITION: 4})
    assert harness.alerts() == [alert(1).value, alert(2).value]
    assert harness.dead_letters() == ["not_json"]
    assert harness.positions() == {PARTITION: 4}
    harness.sink.close()


def adds_up_over_commits(make: Make) -> None:
    harness = make()
    harness.sink.commit(Outputs([alert(1)], []), {PARTITION: 2})
    harness.sink.commit(Outputs([], []), {PARTITION: 5})
    harness.sink.commit(Outputs([alert(6)], [letter(7, "too_large")]), {PARTITION: 8})
    assert harness.alerts() == [alert(1).value, alert(6).value]
    assert harness.dead_letters() == ["too_large"]
    assert harness.positions() == {PARTITION: 8}
    harness.sink.close()


def tells_the_ledger_or_leaves_it_out(make: Make) -> None:
    """A later record of an interval has the name of the earlier one."""
    harness = make()
    harness.sink.commit(Outputs([alert(1)], [], ledger=[told(1), told(2)]), {PARTITION: 2})
    harness.sink.commit(Outputs([], [], ledger=[told(1, 7)]), {})
    assert harness.alerts() == [alert(1).value]
    assert harness.positions() == {PARTITION: 2}
    if harness.ledger is not None:
        assert harness.ledger() == [tuple(told(1)), tuple(told(2)), tuple(told(1, 7))]
    harness.sink.close()


def stores_nothing_if_delivery_fails(make: Make) -> None:
    harness = make()
    harness.sink.commit(Outputs([alert(1)], []), {PARTITION: 2})
    with harness.broken(), pytest.raises(DeliveryError):
        harness.sink.commit(Outputs([alert(2)], []), {PARTITION: 3})
    assert harness.positions() == {PARTITION: 2}
    harness.sink.commit(Outputs([alert(2)], []), {PARTITION: 3})
    assert set(harness.alerts()) == {alert(1).value, alert(2).value}
    assert harness.positions() == {PARTITION: 3}
    harness.sink.close()


CHECKS = [
    delivers_then_stores,
    adds_up_over_commits,
    tells_the_ledger_or_leaves_it_out,
    stores_nothing_if_delivery_fails,
]

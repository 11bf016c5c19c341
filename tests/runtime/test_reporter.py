"""What an operator is told: of outputs that could not be delivered, of what may have been missed."""

from __future__ import annotations

from collections import Counter

import pytest

from detectord.alerts import AlertRecord
from detectord.engine.losses import Cause, Extent, Losses
from detectord.events.record import DeadLetter, Record
from detectord.metrics import Metrics
from detectord.runtime.coverage import Ledger
from detectord.runtime.reporter import Reporter
from detectord.runtime.seams import Commit
from detectord.sinks import LedgerRecord, Outputs


def test_what_was_not_delivered_is_counted_by_topic() -> None:
    counts = Metrics()
    reporter = Reporter(
        counts,
        alert_topic="alerts",
        dead_letter_topic="dead",
        ledger_topic="ledger",
        on_turn=lambda: None,
    )
    alert = AlertRecord("host", b"12345", (), 1, "event", "rule", "low")
    letter = DeadLetter(Record("events", 0, 1, None, None, b"123"), "not_json", "no JSON")
    told = LedgerRecord("name", b"1234567")
    reporter.delivery_failed(Outputs([alert, alert], [letter], (), [told]), "the broker is away", 1)
    lines = counts.exposition("")[1].decode().splitlines()
    found = {line for line in lines if line.startswith("detectord_output_") and 'result="error"' in line}
    assert found == {
        'detectord_output_records_total{result="error",topic="alerts"} 2.0',
        'detectord_output_bytes_total{result="error",topic="alerts"} 10.0',
        'detectord_output_records_total{result="error",topic="dead"} 1.0',
        'detectord_output_bytes_total{result="error",topic="dead"} 3.0',
        'detectord_output_records_total{result="error",topic="ledger"} 1.0',
        'detectord_output_bytes_total{result="error",topic="ledger"} 7.0',
    }


@pytest.mark.parametrize("per_rule", [True, False])
def test_what_the_ledger_has_is_counted_by_reason_and_rule(per_rule: bool) -> None:
    counts = Metrics(per_rule=per_rule)
    reporter = Reporter(
        counts,
        alert_topic="alerts",
        dead_letter_topic="dead",
        ledger_topic="ledger",
        on_turn=lambda: None,
    )
    ledger, second = Ledger(most=1), 1_000_000_000

    def commit(now: int, *causes: Cause) -> None:
        nonlocal ledger
        lost = Losses()
        for cause in causes:
            lost.add(cause, Extent(2, now, now))
        following, told = ledger.after(lost, now)
        found, ledger = following.counted_since(ledger), following
        outputs = Outputs([], [], (), told)
        reporter.committed(Commit(outputs, {}, {}, Counter(), {}, {}, {}, None, 0, 0, [], following, found))

    def value(name: str, **labels: str) -> float | None:
        return counts.registry.get_sample_value(name, labels)

    def lost(rule_id: str) -> float | None:
        return value("detectord_ledger_losses_total", reason="late", rule_id=rule_id if per_rule else "")

    assert value("detectord_ledger_losses_total", reason="gap", rule_id="") == 0
    commit(second, Cause("late", "r", "t", 0), Cause("late", "s", "t", 0), Cause("late", "u", "t", 0))
    commit(2 * second, Cause("late", "r", "t", 0))
    assert lost("r") == (4 if per_rule else 8)
    if per_rule:
        assert (lost("s"), lost("u"), lost("")) == (2, None, 2)
    assert value("detectord_ledger_widened_total") == 4
    assert value("detectord_ledger_open_intervals", reason="late") == 3
    commit(90 * second)
    assert value("detectord_ledger_open_intervals", reason="late") == 0
    assert lost("r") == (4 if per_rule else 8)

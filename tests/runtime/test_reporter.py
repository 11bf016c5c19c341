"""What an operator is told of outputs that could not be delivered."""

from __future__ import annotations

from detectord.alerts import AlertRecord
from detectord.events.record import DeadLetter, Record
from detectord.metrics import Metrics
from detectord.runtime.reporter import Reporter
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

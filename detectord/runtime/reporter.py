"""What happens in the loop, as metrics and log lines. Called by the supervisor only, in its thread.

Rule 1: counts come with commits, so nothing that is read twice after a loss is counted twice.
Rule 2: whatever may have cost a detection is logged, not only counted: the first of each kind at once,
later ones summed up once a minute.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping

from detectord import log, metrics
from detectord.engine.losses import REASONS
from detectord.engine.tallies import Tallies
from detectord.events.record import Partition
from detectord.metrics import Metrics
from detectord.runtime.seams import Commit
from detectord.sinks import Outputs

LOG = log.get(__name__)

COSTLY: Mapping[str, str] = {
    "rule_error": "rule.failed",
    "rule_late": "hit.late",
    "key_tuples_capped": "keys.capped",
    "combinations_capped": "combinations.capped",
    "no_time": "hit.without_time",
    "hits_dropped": "hits.dropped",
    "future": "event.from_the_future",
    "lineage_forgotten": "lineage.forgotten",
}
"""Tallies that may mean a missed detection, and the name of their log line."""


class Reporter:
    """Counts into `metrics` and logs. `on_turn` is called once in every turn of the loop."""

    def __init__(
        self,
        counts: Metrics,
        *,
        alert_topic: str,
        dead_letter_topic: str,
        ledger_topic: str,
        on_turn: Callable[[], None],
    ) -> None:
        self._counts = counts
        self._alert_topic = alert_topic
        self._dead_letter_topic = dead_letter_topic
        self._ledger_topic = ledger_topic
        self._widened = 0
        self._on_turn = on_turn
        self._problems = log.Problems(LOG, time.monotonic)
        self._held_rules: set[str] = set()

    def committed(self, commit: Commit) -> None:
        """See `Observer`."""
        now = time.time()
        self._counts.set(metrics.LAST_COMMIT_TIMESTAMP, now)
        self._counts.record(metrics.BATCH_DURATION, (commit.ended - commit.began) / 1e9, "commit")
        for topic, (records, size) in commit.records.items():
            self._counts.count(metrics.INPUT_RECORDS, records, topic)
            self._counts.count(metrics.INPUT_BYTES, size, topic)
            self._counts.set(metrics.LAST_RECORD_TIMESTAMP, now, topic)
        self._counts.observe(commit.tallies)
        for worker, seconds in commit.busy.items():
            self._counts.count(metrics.WORKER_BUSY, seconds, str(worker))
        for worker, size in commit.resident_bytes.items():
            self._counts.set(metrics.WORKER_MEMORY, size, str(worker))
        self._report_outputs(commit, now)
        self._report_state(commit)
        self._report_losses(commit.tallies)
        self._report_ledger(commit)
        for letter in commit.outputs.dead_letters:
            self._problems.report(
                "record.dead_lettered",
                letter.reason,
                topic=letter.record.topic,
                partition=letter.record.partition,
                offset=letter.record.offset,
                error=letter.error,
            )

    def restarted(self, worker: int, reason: str, detail: str) -> None:
        """See `Observer`."""
        self._counts.count(metrics.WORKER_RESTARTS, 1, str(worker), reason)
        LOG.error(
            "worker.died", worker=worker, reason=reason, detail=detail, next="a new one takes its place"
        )

    def rewound(self, reason: str, positions: Mapping[Partition, int]) -> None:
        """See `Observer`."""
        LOG.warning(
            "epoch.began",
            reason=reason,
            positions=", ".join(f"{topic}[{p}]={offset}" for (topic, p), offset in sorted(positions.items())),
            next="everything after these positions is read again",
        )

    def delivery_failed(self, outputs: Outputs, error: str, attempt: int) -> None:
        """See `Observer`."""
        self._count_outputs(outputs, "error")
        LOG.error(
            "delivery.failed", error=error, attempt=attempt, next="tried again; nothing is acknowledged"
        )

    def turned(self) -> None:
        """See `Observer`."""
        self._problems.tick()
        self._on_turn()

    def _report_outputs(self, commit: Commit, now: float) -> None:
        self._count_outputs(commit.outputs, "ok")
        for alert in commit.outputs.alerts:
            self._counts.count(metrics.ALERT_RECORDS, 1, alert.kind)
            if alert.kind != "block":
                self._counts.count(metrics.ALERTS, 1, alert.rule_id, alert.severity)
        for happened, ingested in commit.times:
            if happened is not None:
                self._counts.record(metrics.DETECTION_DELAY, max(0.0, now - happened / 1e9))
            if ingested is not None:
                self._counts.record(metrics.END_TO_END_LATENCY, max(0.0, now - ingested / 1e9))

    def _count_outputs(self, outputs: Outputs, result: str) -> None:
        sizes = {
            self._alert_topic: [len(alert.value) for alert in outputs.alerts],
            self._dead_letter_topic: [len(letter.record.value) for letter in outputs.dead_letters],
            self._ledger_topic: [len(told.value) for told in outputs.ledger],
        }
        for topic, own in sizes.items():
            if own:
                self._counts.count(metrics.OUTPUT_RECORDS, len(own), topic, result)
                self._counts.count(metrics.OUTPUT_BYTES, sum(own), topic, result)

    def _report_state(self, commit: Commit) -> None:
        changed = sum(len(key) + len(value or b"") for _, key, value in commit.outputs.changes)
        self._counts.set(metrics.STATE_COMMIT_BYTES, changed)
        partials: Counter[str] = Counter()
        for worker, gauges in commit.gauges.items():
            self._counts.set(metrics.STATE_BYTES, gauges.state_bytes, str(worker))
            partials.update(gauges.partials)
        self._counts.set(metrics.REORDER_HITS, sum(gauges.held for gauges in commit.gauges.values()))
        for rule_id in self._held_rules | set(partials):
            self._counts.set(metrics.RULE_STATE_ENTRIES, partials[rule_id], rule_id)
        self._held_rules |= set(partials)

    def _report_ledger(self, commit: Commit) -> None:
        if not (commit.lost or commit.outputs.ledger):
            return
        ledger = commit.ledger
        for (reason, rule_id), number in commit.lost.items():
            self._counts.count(metrics.LEDGER_LOSSES, number, rule_id, reason)
        self._counts.count(metrics.LEDGER_WIDENED, ledger.widened - self._widened)
        self._widened = ledger.widened
        lasting = Counter(
            interval.cause.reason for interval in (*ledger.open.values(), *ledger.idle.values())
        )
        for reason in REASONS:
            self._counts.set(metrics.LEDGER_OPEN, lasting[reason], reason)

    def _report_losses(self, tallies: Tallies) -> None:
        for (name, *labels), count in tallies.items():
            if name in COSTLY:
                self._problems.report(
                    COSTLY[name], "".join(labels[:1]), count=count, kind=" ".join(labels[1:])
                )
            elif name == "state_removed" and labels[1] == "capacity":
                self._problems.report("partial.evicted", labels[0], count=count, kind="state.max_bytes")

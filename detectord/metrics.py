"""Every metric, declared once.

Rule 1: a metric is one line below; docs/metrics.md and the first zeros of a scrape come from it.
Rule 2: workers count into plain tallies, and only the supervisor adds those to metrics, so that a
worker's death takes no counter back.
Rule 3: labels are bounded sets. A label whose values are written beside the metric starts at zero;
topics, workers and rules start at zero when `expect` names them.
"""

from __future__ import annotations

import itertools
import platform
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple, TypeVar

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, exposition

from detectord import __version__
from detectord.engine.losses import REASONS

Kind = Literal["counter", "gauge", "histogram"]
Made = TypeVar("Made", Counter, Gauge)

BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
LATENCY_BUCKETS: Final = (
    *(0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
    *(30.0, 60.0, 120.0, 300.0, 900.0, 3600.0),
)


@dataclass(frozen=True, slots=True)
class Metric:
    """One declaration. `known` holds the labels whose values are all known here, in order."""

    name: str
    kind: Kind
    help: str
    open_labels: tuple[str, ...] = ()
    known: Mapping[str, tuple[str, ...]] = field(default_factory=dict, hash=False)
    buckets: tuple[float, ...] = ()

    @property
    def labels(self) -> tuple[str, ...]:
        """All label names, in the order in which values are given."""
        return (*self.open_labels, *self.known)


def _counter(name: str, text: str, *labels: str, **known: tuple[str, ...]) -> Metric:
    return Metric(name, "counter", text, labels, known)


def _gauge(name: str, text: str, *labels: str, **known: tuple[str, ...]) -> Metric:
    return Metric(name, "gauge", text, labels, known)


def _histogram(name: str, text: str, buckets: tuple[float, ...], **known: tuple[str, ...]) -> Metric:
    return Metric(name, "histogram", text, (), known, buckets)


BUILD_INFO = _gauge(
    "detectord_build_info",
    "1, with what runs.",
    *("version", "revision", "python_version", "librdkafka_version"),
)
READY = _gauge("detectord_ready", "1 while /readyz says so.")
DRAINING = _gauge("detectord_draining", "1 while stopping.")

INPUT_RECORDS = _counter("detectord_input_records_total", "Records read.", "topic")
INPUT_BYTES = _counter("detectord_input_bytes_total", "Bytes of their values.", "topic")
EVENTS_DECODED = _counter("detectord_events_decoded_total", "Records that are events.", "topic")
EVENTS_DROPPED = _counter(
    "detectord_events_dropped_total",
    "Events that were knowingly not evaluated.",
    reason=("no_rules", "too_old", "duplicate", "filtered"),
)
EVENTS_DEAD_LETTERED = _counter(
    "detectord_events_dead_lettered_total",
    "Records that went to the dead-letter topic.",
    reason=("not_json", "not_object", "too_large", "decode_error", "poison"),
)
EVENTS_LATE = _counter(
    "detectord_events_late_total",
    "Events behind the watermark when they arrived.",
    "topic",
    action=("processed", "dropped"),
)
EVENTS_NO_CATEGORY = _counter(
    "detectord_events_no_category_total", "Events without an event category.", "topic"
)
EVENTS_UNKNOWN_INDEX = _counter(
    "detectord_events_unknown_index_total", "Events that do not tell which index they belong to.", "topic"
)
EVENTS_BAD_TIMESTAMP = _counter(
    "detectord_events_bad_timestamp_total", "Events whose time is missing or cannot be read.", "topic"
)
EVENTS_FUTURE = _counter(
    "detectord_events_future_total",
    "Sequence steps too far ahead of their record's time, ordered by that instead.",
    "topic",
)
PARTITION_KEY_VIOLATIONS = _counter(
    "detectord_partition_key_violations_total",
    "Records of a `keyed_by` source whose key is not what the source says.",
    "topic",
)
GAP_RECORDS = _counter(
    "detectord_gap_records_total",
    "Records that were gone from the broker before they were read; missed detections are possible.",
    "topic",
)
LAST_RECORD_TIMESTAMP = _gauge(
    "detectord_last_record_timestamp_seconds",
    "When the last record was read (wall clock); before the first, when the daemon started.",
    "topic",
)
CONSUMER_LAG_RECORDS = _gauge(
    "detectord_consumer_lag_records", "Records between our position and the end.", "topic", "partition"
)
WATERMARK_DELAY = _gauge(
    "detectord_watermark_delay_seconds", "Wall clock minus watermark.", "topic", "partition"
)
ASSIGNED_PARTITIONS = _gauge("detectord_consumer_assigned_partitions", "Partitions read here.", "topic")
REBALANCES = _counter(
    "detectord_consumer_rebalances_total",
    "Changes of the assignment.",
    type=("assigned", "revoked", "lost"),
)

WORKERS = _gauge("detectord_workers", "Worker processes.", state=("configured", "alive"))
WORKER_EVENTS = _counter("detectord_worker_events_total", "Events evaluated.", "worker")
WORKER_BUSY = _counter("detectord_worker_busy_seconds_total", "Time spent evaluating.", "worker")
WORKER_MEMORY = _gauge("detectord_worker_resident_memory_bytes", "Resident memory.", "worker")
WORKER_RESTARTS = _counter(
    "detectord_worker_restarts_total",
    "Workers that were replaced.",
    "worker",
    reason=("crash", "hang", "memory", "poison"),
)
BATCH_DURATION = _histogram(
    "detectord_batch_duration_seconds",
    "Time that a stage takes for what one commit covers.",
    BUCKETS,
    stage=("commit",),
)

RULES_LOADED = _gauge(
    "detectord_rules_loaded",
    "Rules that were loaded.",
    type=("event", "sequence", "sample"),
    state=("enabled", "disabled"),
)
RULES_FAILED = _gauge(
    "detectord_rules_failed",
    "Rules that were refused.",
    reason=(
        *("parse_error", "schema_error", "unsupported_type"),
        *("unsupported_syntax", "unsupported_filter", "duplicate"),
    ),
)
RULE_INFO = _gauge(
    "detectord_rule_info", "1, for joins by rule_id.", "rule_id", "name", "severity", "type", "version"
)
RULE_MATCHES = _counter(
    "detectord_rule_matches_total",
    "Events that matched a step (`0`, `1`, …) or an event rule (`event`).",
    *("rule_id", "stage"),
)
RULE_ERRORS = _counter(
    "detectord_rule_errors_total", "Evaluations that failed at run time.", "rule_id", "kind"
)
RULE_LATE_HITS = _counter(
    "detectord_rule_late_hits_total", "Sequence steps from behind the watermark.", "rule_id"
)
RULE_NO_TIME = _counter(
    "detectord_rule_no_time_total",
    "Sequence steps left out because the event lacks the time the rule orders by.",
    "rule_id",
)
RULE_KEY_TUPLES_CAPPED = _counter(
    "detectord_rule_key_tuples_capped_total",
    "Events with more join keys than `engine.max_key_tuples`; a missed detection is possible.",
    "rule_id",
)
RULE_COMBINATIONS_CAPPED = _counter(
    "detectord_rule_combinations_capped_total",
    "Conditions given up because their fields had too many values; a missed detection is possible.",
    "rule_id",
)
HITS = _counter(
    "detectord_hits_total",
    "Sequence step hits, by the way to their state.",
    route=("local", "worker", "remote"),
)
HITS_DROPPED = _counter(
    "detectord_hits_dropped_total",
    "Sequence step hits that were given up: too large for the hits topic, or of a rule not loaded here.",
    reason=("too_large", "unknown_rule"),
)
REORDER_HITS = _gauge("detectord_reorder_hits", "Hits that wait for the watermark.")
RULE_STATE_ENTRIES = _gauge("detectord_rule_state_entries", "Partial sequences held.", "rule_id")
STATE_BYTES = _gauge("detectord_state_bytes", "Estimated size of the sequence state.", "worker")
STATE_LIMIT = _gauge("detectord_state_limit_bytes", "The configured limit of it.")
STATE_COMMIT_BYTES = _gauge(
    "detectord_state_commit_bytes", "State changes in the last commit; only with exactly-once delivery."
)
RESTORE_SECONDS = _gauge(
    "detectord_restore_seconds", "How long it took to take over and read the state back at the start."
)
RESTORE_RECORDS = _counter(
    "detectord_restore_records_total", "Records of the state topic that were read back."
)
STATE_REMOVED = _counter(
    "detectord_state_removed_total",
    "Partial sequences that ended. `capacity` may be a missed detection.",
    "rule_id",
    reason=("expired", "completed", "until", "ruled_out", "capacity", "reload"),
)
LINEAGE_FORGOTTEN = _counter(
    "detectord_lineage_forgotten_total",
    "Processes forgotten to keep the bounds; `child of` and its like may miss a detection.",
)

LEDGER_LOSSES = _counter(
    "detectord_ledger_losses_total",
    "What may have cost a detection; `rule_id` is empty where it is not one rule's. See docs/coverage.md.",
    "rule_id",
    reason=tuple(REASONS),
)
LEDGER_OPEN = _gauge(
    "detectord_ledger_open_intervals",
    "Intervals of the coverage ledger that are open.",
    reason=tuple(REASONS),
)
LEDGER_WIDENED = _counter(
    "detectord_ledger_widened_total",
    "Losses that stand under a wider cause than their own, as there were too many causes.",
)

ALERTS = _counter(
    "detectord_alerts_total", "Alerts published: event alerts and shells.", "rule_id", "severity"
)
ALERT_RECORDS = _counter(
    "detectord_alert_records_total", "Alert records written.", kind=("event", "shell", "block", "update")
)
ALERTS_DROPPED = _counter(
    "detectord_alerts_dropped_total",
    "Alerts that were not published; too large ones went to the dead-letter topic.",
    reason=("too_large",),
)
OUTPUT_RECORDS = _counter(
    "detectord_output_records_total", "Records written.", "topic", result=("ok", "error")
)
OUTPUT_BYTES = _counter(
    "detectord_output_bytes_total", "Bytes of their values.", "topic", result=("ok", "error")
)
_OUTPUTS = frozenset((OUTPUT_RECORDS, OUTPUT_BYTES))
"""Those whose topics are the ones written to."""
LAST_COMMIT_TIMESTAMP = _gauge(
    "detectord_last_commit_timestamp_seconds", "When the last commit succeeded (wall clock)."
)
END_TO_END_LATENCY = _histogram(
    "detectord_end_to_end_latency_seconds",
    "From the completing record's broker time to the commit of the alert.",
    LATENCY_BUCKETS,
)
DETECTION_DELAY = _histogram(
    "detectord_detection_delay_seconds",
    "From the completing event's own time to the commit of the alert.",
    LATENCY_BUCKETS,
)
LOG_MESSAGES = _counter(
    "detectord_log_messages_total",
    "Log messages written.",
    level=("debug", "info", "warning", "error", "critical"),
)

DECLARED: Final[tuple[Metric, ...]] = tuple(
    value for value in list(globals().values()) if isinstance(value, Metric)
)

TALLIES: Final[Mapping[str, Metric]] = {
    "decoded": EVENTS_DECODED,
    "dead_letter": EVENTS_DEAD_LETTERED,
    "dropped": EVENTS_DROPPED,
    "late": EVENTS_LATE,
    "future": EVENTS_FUTURE,
    "no_category": EVENTS_NO_CATEGORY,
    "unknown_index": EVENTS_UNKNOWN_INDEX,
    "bad_timestamp": EVENTS_BAD_TIMESTAMP,
    "key_violation": PARTITION_KEY_VIOLATIONS,
    "rule_match": RULE_MATCHES,
    "rule_error": RULE_ERRORS,
    "rule_late": RULE_LATE_HITS,
    "no_time": RULE_NO_TIME,
    "key_tuples_capped": RULE_KEY_TUPLES_CAPPED,
    "combinations_capped": RULE_COMBINATIONS_CAPPED,
    "state_removed": STATE_REMOVED,
    "lineage_forgotten": LINEAGE_FORGOTTEN,
    "worker_events": WORKER_EVENTS,
    "hits": HITS,
    "hits_dropped": HITS_DROPPED,
}
"""The metric for each kind of tally. A tally is its kind and then the label values in their order:
`("late", topic, action)`, `("rule_match", rule_id, stage)`."""


class KnownRule(NamedTuple):
    """What metrics say about a loaded rule. `steps`: the names of its steps in metrics."""

    rule_id: str
    name: str
    severity: str
    type: Literal["event", "sequence", "sample"]
    version: int
    steps: tuple[str, ...] = ("event",)
    enabled: bool = True


class Metrics:
    """All metrics of a process, in a registry of its own.

    With `per_rule` False every `rule_id` is "", and there is no detectord_rule_info.
    """

    def __init__(self, registry: CollectorRegistry | None = None, *, per_rule: bool = True) -> None:
        # `_created` would be a second series for every first one, read by nobody.
        prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]  # the library forgets its type
        self.registry = registry or CollectorRegistry()
        self.per_rule = per_rule
        self._counters = self._made(Counter, "counter")
        self._gauges = self._made(Gauge, "gauge")
        self._histograms = {
            m: Histogram(m.name, m.help, m.labels, buckets=m.buckets, registry=self.registry)
            for m in DECLARED
            if m.kind == "histogram"
        }
        self._shown: dict[Metric, frozenset[tuple[str, str]]] = {}
        self.expect()
        for reason in REASONS:
            self.count(LEDGER_LOSSES, 0, "", reason)
            self.set(LEDGER_OPEN, 0, reason)

    def _made(self, make: Callable[..., Made], kind: Kind) -> dict[Metric, Made]:
        return {m: make(m.name, m.help, m.labels, registry=self.registry) for m in DECLARED if m.kind == kind}

    def count(self, metric: Metric, amount: float = 1, *labels: str) -> None:
        """Add to a counter. Label values come in the order of the declaration."""
        counter = self._counters[metric]
        (counter.labels(*self._labels(metric, labels)) if metric.labels else counter).inc(amount)

    def set(self, metric: Metric, value: float, *labels: str) -> None:
        """Set a gauge."""
        gauge = self._gauges[metric]
        (gauge.labels(*self._labels(metric, labels)) if metric.labels else gauge).set(value)

    def show(self, metric: Metric, series: Mapping[tuple[str, str], float]) -> None:
        """Set a gauge to these series, by label values, and drop those that were shown before, as of a
        partition which is no longer read here."""
        for labels in self._shown.get(metric, frozenset()) - series.keys():
            self._gauges[metric].remove(*labels)
        for labels, value in series.items():
            self.set(metric, value, *labels)
        self._shown[metric] = frozenset(series)

    def record(self, metric: Metric, seconds: float, *labels: str) -> None:
        """Add an observation to a histogram."""
        histogram = self._histograms[metric]
        (histogram.labels(*labels) if metric.labels else histogram).observe(seconds)

    def observe(self, tallies: Mapping[tuple[str, ...], int]) -> None:
        """Add what a worker counted.

        Raises:
            LookupError: a tally has no metric; whoever counts it must add one to TALLIES.
        """
        for (name, *labels), amount in tallies.items():
            if name not in TALLIES:
                raise LookupError(f"the tally {name!r} has no metric")
            self.count(TALLIES[name], amount, *labels)

    def message(self, level: str) -> None:
        """Count one log message."""
        self.count(LOG_MESSAGES, 1, level)

    def expect(self, **values: Iterable[str]) -> None:
        """Start at zero every counter and histogram whose label values are known with these.

        `expect(topic=["ecs.endpoint"], worker=["0", "1"])`; without arguments those that need none. The
        topics that are written to are called `output_topic` here.
        """
        read = {label: tuple(each) for label, each in values.items()}
        written = {"topic": read.pop("output_topic", ())}
        for metric in DECLARED:
            given = written if metric in _OUTPUTS else read
            if metric.kind != "gauge" and set(metric.open_labels) <= given.keys():
                self._start(metric, given)

    def _start(self, metric: Metric, given: Mapping[str, tuple[str, ...]]) -> None:
        domains = [metric.known.get(label, given.get(label, ())) for label in metric.labels]
        for labels in itertools.product(*domains) if domains else ():
            if metric.kind == "counter":
                self._counters[metric].labels(*self._labels(metric, labels))
            else:
                self._histograms[metric].labels(*labels)

    def loaded(self, rules: Iterable[KnownRule], refused: Mapping[str, int]) -> None:
        """Say which rules run, and how many were refused by reason; start their counters at zero."""
        self._gauges[RULE_INFO].clear()
        for metric in (RULES_LOADED, RULES_FAILED):
            for labels in itertools.product(*metric.known.values()):
                self.set(metric, 0, *labels)
        for reason, number in refused.items():
            self.set(RULES_FAILED, number, reason)
        for rule in rules:
            self._start_rule(rule)

    def _start_rule(self, rule: KnownRule) -> None:
        state = "enabled" if rule.enabled else "disabled"
        self._gauges[RULES_LOADED].labels(rule.type, state).inc()
        if self.per_rule:
            self.set(RULE_INFO, 1, rule.rule_id, rule.name, rule.severity, rule.type, str(rule.version))
        sequence = rule.type != "event" or "inner" in rule.steps  # it has state
        for step in rule.steps:
            self.count(RULE_MATCHES, 0, rule.rule_id, step)
        self.count(ALERTS, 0, rule.rule_id, rule.severity)
        if sequence:
            for metric in (RULE_LATE_HITS, RULE_NO_TIME, RULE_KEY_TUPLES_CAPPED):
                self.count(metric, 0, rule.rule_id)
            for reason in STATE_REMOVED.known["reason"]:
                self.count(STATE_REMOVED, 0, rule.rule_id, reason)

    def identify(self, *, librdkafka: str, revision: str = "") -> None:
        """Say what runs, and add the standard metrics of this process."""
        self.set(BUILD_INFO, 1, __version__, revision, platform.python_version(), librdkafka)
        prometheus_client.ProcessCollector(registry=self.registry)
        prometheus_client.GCCollector(registry=self.registry)

    def exposition(self, accept: str) -> tuple[str, bytes]:
        """A scrape: content type and body, as OpenMetrics or as text by the Accept header."""
        encode, content_type = exposition.choose_encoder(accept)
        return content_type, encode(self.registry)

    def _labels(self, metric: Metric, labels: tuple[str, ...]) -> tuple[str, ...]:
        if self.per_rule or "rule_id" not in metric.open_labels:
            return labels
        return tuple(
            "" if name == "rule_id" else value for name, value in zip(metric.labels, labels, strict=True)
        )

"""`detectord run`: the daemon from its configuration to its exit code.

Order matters and says so: rules are loaded and checked, then the workers are started, and only then
does a Kafka client exist, so that no worker inherits anything of it. With exactly-once delivery what a
predecessor committed is read back (`recovery`) before the group is joined. Whatever goes wrong ends here, as
one log line that says what to do and an exit code that says who has to (operations: 65 rules, 69
Kafka, 70 workers, 75 try again, 78 configuration).
"""

from __future__ import annotations

import dataclasses
import logging
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import confluent_kafka

from detectord import __version__, log, metrics
from detectord.alerts.settings import AlertSettings
from detectord.config import Config, Duration, masked
from detectord.engine.detector import EngineSettings
from detectord.engine.state import StateError
from detectord.engine.watermark import EventTimeWatermark
from detectord.eql import ast
from detectord.events.fields import FIELD_TYPES
from detectord.events.index import SourceIndex
from detectord.kafka import KafkaSettings
from detectord.metrics import KnownRule, Metrics
from detectord.rules.ledger import Loaded, Refusal
from detectord.rules.load import load
from detectord.rules.report import asks_for_relatives
from detectord.runtime.clock import SystemClock
from detectord.runtime.coverage import Idle, Ledger
from detectord.runtime.http import Health, HttpServer
from detectord.runtime.policy import policy_of
from detectord.runtime.pool import ProcessPool
from detectord.runtime.recovery import RefusedError, take_over
from detectord.runtime.reporter import Reporter
from detectord.runtime.sharding import Router
from detectord.runtime.share import Restored, Share
from detectord.runtime.signals import Signals
from detectord.runtime.supervisor import CrashLoopError, DrainTimeoutError, Settings, Supervisor
from detectord.runtime.worker import WorkerSettings, WorkerStart, serve
from detectord.sinks import DeliveryError, EndedError
from detectord.sinks.kafka import KafkaSink
from detectord.sinks.transactional import TransactionalSink
from detectord.sources import GroupSource, SourceError
from detectord.sources.kafka import KafkaSource
from detectord.sources.pair import PairedSource

LOG = log.get(__name__)

CLEAN, BAD_RULES, NO_KAFKA, BROKEN, TRY_AGAIN, BAD_CONFIG = 0, 65, 69, 70, 75, 78
STUCK_SECONDS = 30.0
"""/healthz fails when the loop has not gone round for this long."""
IDLE_SECONDS = 60.0
"""/readyz fails when there was neither a commit nor an idle turn for this long."""
LOOK_SECONDS = 1.0
"""How often gauges that have to be asked for are brought up to date."""

_NOTES = {
    "at_least_once": "no state is kept: half-done sequences do not outlive this process",
    "exactly_once": "state and positions are committed with the alerts; instances share the state",
}


class StartupError(Exception):
    """Kafka could not be reached, or would not have us, within `startup.timeout`."""


def run(config: Config) -> int:
    """Run until stopped; the exit code.

    Raises:
        ConfigError: a file that the configuration names cannot be used.
    """
    counts = Metrics(per_rule=config.metrics.per_rule)
    log.setup(level=config.log.level, form=config.log.format, instance=config.instance, count=counts.message)
    # The client tells its troubles through callbacks, too; its own lines would repeat them without end.
    logging.getLogger("detectord.kafka").setLevel(logging.CRITICAL)
    for sentence in config.not_yet():
        LOG.warning("config.no_effect", reason=sentence)
    loaded = load(
        [Path(path) for path in config.rules.paths],
        maturity=config.rules.maturity,
        types=FIELD_TYPES,
        strict_fields=config.rules.strict_fields,
        policy=policy_of(config.rules),
        now=datetime.now(UTC),
        cache=Path(config.rules.cache) if config.rules.cache else None,
    )
    _report_rules(loaded)
    _report_long_spans(loaded, config.state.max_span)
    if len(loaded.rules) < config.rules.min_loaded:
        LOG.error(
            "rules.too_few",
            count=len(loaded.rules),
            wanted=config.rules.min_loaded,
            next="mend the rules named above, or lower rules.min_loaded",
        )
        return BAD_RULES
    with ExitStack() as parts:
        try:
            daemon = Daemon(config, loaded, counts, parts)
        except OSError as error:
            LOG.error(
                "http.cannot_listen", listen=config.http.listen, error=str(error), next="set http.listen"
            )
            return BAD_CONFIG
        except (SourceError, DeliveryError) as error:
            LOG.error("kafka.settings_refused", error=str(error), next="mend the kafka section")
            return BAD_CONFIG
        return daemon.run()


class StoppedError(Exception):
    """We were told to stop while there was nothing to finish."""


class Daemon:
    """Everything that runs, wired together. `parts` is given what has to be closed, in order.

    Raises:
        OSError: the HTTP address cannot be had.
        SourceError, DeliveryError: a Kafka client refuses its settings.
    """

    def __init__(self, config: Config, loaded: Loaded, counts: Metrics, parts: ExitStack) -> None:
        self._config = config
        self._loaded = loaded
        self._counts = counts
        self._started = time.monotonic()
        self._looked = 0.0
        self._signals = Signals(self.stop)
        self._source_started = False
        self._last_trouble = ""
        self._problems = log.Problems(LOG, time.monotonic)
        self._http = HttpServer(
            config.http.address,
            Health(counts.exposition, self._is_alive, self._checks, self._status, self._rules_status),
        )
        parts.callback(self._http.close)
        # Before any Kafka client
        self._pool = ProcessPool(config.workers, serve, self._worker_start, config.batch.in_flight_bytes)
        parts.callback(self._pool.close)
        self._declare_metrics()
        settings = KafkaSettings.of(config)
        start = config.input.start.fixed(datetime.now(UTC))
        inputs = KafkaSource(settings, config.topics, start=start, on_event=self._on_kafka_event)
        self._commit_positions = inputs.commit
        self._source: GroupSource = inputs
        if config.delivery.mode == "exactly_once":
            settings_of_hits = dataclasses.replace(settings, group=config.hits_group)
            hits = KafkaSource(
                settings_of_hits, [config.hits_topic], start="earliest", on_event=self._on_kafka_event
            )
            self._source = PairedSource(inputs, hits, config.hits_topic)
        parts.callback(self._source.close)
        self._sink = self._make_sink(settings)
        parts.callback(self._sink.close)
        self._clock = SystemClock()
        self._supervisor = self._make_supervisor(None)

    def run(self) -> int:
        """Run until stopped; the exit code."""
        self._signals.take()
        self._http.start()
        LOG.info(
            "daemon.started",
            version=__version__,
            workers=self._config.workers,
            rules=len(self._loaded.rules),
            topics=",".join(self._config.topics),
            url=f"{self._http.url}/metrics",
            delivery=self._config.delivery.mode,
            note=_NOTES[self._config.delivery.mode],
        )
        try:
            if isinstance(self._sink, TransactionalSink):
                self._supervisor = self._make_supervisor(self._take_over(self._sink))
            self._supervisor.run()
        except StoppedError:
            pass  # what was read back is as it was
        except StartupError as error:
            LOG.error("kafka.unreachable", error=str(error), next="check kafka.bootstrap_servers and access")
            return NO_KAFKA
        except DeliveryError as error:
            LOG.error("delivery.failed", error=str(error), next="nothing was acknowledged; restart resumes")
            return NO_KAFKA
        except (RefusedError, StateError) as error:
            LOG.error("state.refused", error=str(error), next="see `Delivery` in docs/operations.md")
            return BAD_CONFIG
        except EndedError as error:
            LOG.error("delivery.ended", error=str(error), next="restart; it goes on at the last commit")
            return TRY_AGAIN
        except SourceError as error:
            LOG.error("source.failed", error=str(error), next="restart; another instance may have our name")
            return TRY_AGAIN
        except CrashLoopError as error:
            LOG.error("worker.crash_loop", error=str(error), next="see the worker.died lines above")
            return BROKEN
        except DrainTimeoutError as error:
            LOG.error("drain.timed_out", error=str(error), next="what was not committed is read again")
            return TRY_AGAIN
        self._signals.tell()
        held, partials = self._supervisor.holding
        if (held or partials) and not isinstance(self._sink, TransactionalSink):
            LOG.warning("state.dropped", held=held, partials=partials, note=_NOTES["at_least_once"])
        LOG.info("daemon.stopped")
        return CLEAN

    # --- wiring ---------------------------------------------------------------------------------

    def _make_sink(self, settings: KafkaSettings) -> KafkaSink | TransactionalSink:
        config = self._config
        common: dict[str, Any] = {
            "alert_topic": config.alert_topic,
            "dead_letter_topic": config.dlq_topic,
            "ledger_topic": config.ledger_topic,
            "dead_letter_limit": config.dlq.max_value_bytes,
            "tick": self._tick,
            "on_event": self._on_kafka_event,
        }
        if config.delivery.mode == "exactly_once":
            return TransactionalSink(
                settings,
                self._source.membership,
                state_topic=config.state_topic,
                hits_topic=config.hits_topic,
                **common,
            )
        return KafkaSink(settings, self._commit_positions, **common)

    def _take_over(self, sink: TransactionalSink) -> Share:
        """Take the place of a predecessor, and be ready for a share of the state."""
        config = self._config
        store = take_over(
            config,
            sink,
            tick=self._tick,
            wait=self._wait,
            on_event=self._on_kafka_event,
            on_restored=self._on_restored,
        )
        return Share(
            self._source,
            store,
            group=config.kafka.group,
            hits_topic=config.hits_topic,
            partitions=config.state.partitions,
        )

    def _on_restored(self, restored: Restored, records: int, seconds: float) -> None:
        """State partitions came, and were read back."""
        self._counts.set(metrics.RESTORE_SECONDS, seconds)
        self._counts.count(metrics.RESTORE_RECORDS, records)
        LOG.info(
            "state.restored",
            partitions=len(restored.standings),
            records=records,
            entries=sum(map(len, restored.state.values())),
            seconds=round(seconds, 3),
        )

    def _wait(self, reason: str) -> None:
        """There is no answer of the brokers, and nothing can be done before it comes."""
        self._tick()
        self._last_trouble = reason
        self._give_up_if_unreachable(time.monotonic())
        if self._supervisor.stopping:
            raise StoppedError

    def _worker_start(self, worker: int) -> tuple[WorkerStart]:
        config = self._config
        indices = {
            topic: SourceIndex(source.index, source.index_force, source.unknown_index == "drop")
            for source in config.sources
            for topic in source.topics
        }
        engine = EngineSettings(
            partitions=config.state.partitions,
            by_arrival=not config.time.allowed_lateness,
            max_future=config.time.max_future,
            max_key_tuples=config.engine.max_key_tuples,
            max_lineage=config.engine.max_lineage,
            max_span=config.state.max_span,
            max_bytes=config.state.max_bytes // config.workers,
            topic_indices=tuple(indices.items()),
        )
        settings = WorkerSettings(
            worker,
            config.workers,
            engine,
            keyed=tuple(self._keyed_topics()),
            max_event_bytes=config.input.max_event_bytes,
            held_event_bytes=config.state.max_event_bytes,
        )
        alert = config.alert
        alerts = AlertSettings(
            instance=config.instance,
            version=__version__,
            space=alert.space,
            event_kind=alert.event_kind,
            key_style=alert.key_style,
            rule_detail=alert.rule_detail,
            building_blocks=alert.building_blocks,
            max_bytes=alert.max_bytes,
            redact=alert.redact,
            source_index=indices,
        )
        return (WorkerStart(self._loaded.rules, settings, alert.format, alerts),)

    def _make_supervisor(self, share: Share | None) -> Supervisor:
        config, began = self._config, self._clock.now()
        reporter = Reporter(
            self._counts,
            alert_topic=config.alert_topic,
            dead_letter_topic=config.dlq_topic,
            ledger_topic=config.ledger_topic,
            on_turn=self._turned,
        )
        return Supervisor(
            self._source,
            self._sink,
            self._pool,
            Router(config.workers, config.state.partitions, self._keyed_topics()),
            EventTimeWatermark(config.time.allowed_lateness, config.time.idle_timeout),
            self._clock,
            reporter,
            Settings(
                partitions=config.state.partitions,
                commit_interval=config.delivery.commit_interval,
                batch_records=config.batch.max_records,
                commit_records=config.delivery.max_records,
                commit_bytes=config.delivery.max_bytes,
                max_in_flight_bytes=config.batch.in_flight_bytes,
                worker_deadline=config.batch.worker_timeout,
                drain_timeout=config.shutdown.timeout,
                poll_wait=config.batch.max_wait / 1e9,
            ),
            Ledger(config.instance, began).with_idle(map(_refused, self._loaded.failed), began),
            share,
        )

    def _keyed_topics(self) -> list[str]:
        return [topic for s in self._config.sources if s.keyed_by == "host.id" for topic in s.topics]

    def _declare_metrics(self) -> None:
        config, counts = self._config, self._counts
        counts.identify(librdkafka=confluent_kafka.libversion()[0])
        counts.expect(
            topic=config.topics,
            output_topic=[config.alert_topic, config.dlq_topic, config.ledger_topic],
            worker=[str(worker) for worker in range(config.workers)],
        )
        for topic in config.topics:  # so that one of which nothing ever comes is missed, too
            counts.set(metrics.LAST_RECORD_TIMESTAMP, time.time(), topic)
        counts.loaded(map(_known_rule, self._loaded.rules), Counter(r.reason for r in self._loaded.refused))
        counts.set(metrics.STATE_LIMIT, config.state.max_bytes)
        counts.set(metrics.WORKERS, config.workers, "configured")

    # --- while it runs --------------------------------------------------------------------------

    def _turned(self) -> None:
        """Once in every turn of the loop; what has to be asked for is asked for once a second."""
        self._signals.tell()
        now = time.monotonic()
        if now - self._looked < LOOK_SECONDS:
            return
        self._looked = now
        self._problems.tick()
        self._give_up_if_unreachable(now)
        counts = self._counts
        counts.set(metrics.READY, float(all(self._checks().values())))
        counts.set(metrics.DRAINING, float(self._supervisor.stopping))
        counts.set(metrics.WORKERS, self._pool.alive(), "alive")
        assigned = self._source.assignment()
        by_topic = Counter(topic for topic, _ in assigned)
        for topic in self._config.topics:
            counts.set(metrics.ASSIGNED_PARTITIONS, by_topic[topic], topic)
        lag = {(topic, str(number)): each for (topic, number), each in self._source.lag().items()}
        counts.show(metrics.CONSUMER_LAG_RECORDS, lag)
        wall = time.time()
        delay = {
            (partition[0], str(partition[1])): wall - reached / 1e9
            for partition, reached in self._supervisor.progress().items()
            if partition in assigned
        }
        counts.show(metrics.WATERMARK_DELAY, delay)

    def _tick(self) -> None:
        """The sink waits for the broker; the loop is alive all the same."""
        self._signals.tell()
        self._supervisor.last_step = self._clock.monotonic()

    def _give_up_if_unreachable(self, now: float) -> None:
        waited = now - self._started
        if self._source_started or not self._last_trouble or waited < self._config.startup.timeout / 1e9:
            return
        raise StartupError(f"nothing to read after {waited:.0f} s: {self._last_trouble}")

    def _on_kafka_event(self, name: str, details: Mapping[str, object]) -> None:
        """Called in the loop's thread, from within a poll or a commit."""
        if name == "source.started":
            self._source_started = True
            self._counts.count(metrics.REBALANCES, 1, "assigned")
        elif name in ("source.revoked", "source.lost"):
            self._counts.count(metrics.REBALANCES, 1, name.removeprefix("source."))
        if name == "source.gap":
            self._count_gap(details)
        elif name == "alert.too_large":
            self._counts.count(metrics.ALERTS_DROPPED, 1, "too_large")
        told = {key: _shown(value) for key, value in details.items()}
        if name.startswith("kafka."):
            self._last_trouble = f"{name.removeprefix('kafka.')}: {details.get('error', '')}"
            self._problems.report(name, told.get("code", ""), **told)  # a broker away is told all the time
        elif name in ("source.started", "source.revoked"):
            LOG.info(name, **told)
        else:
            LOG.warning(name, **told)

    def _count_gap(self, details: Mapping[str, Any]) -> None:
        """Records that were to be read are gone from the broker: detections may have been missed."""
        topic, _ = details["partition"]
        self._counts.count(metrics.GAP_RECORDS, max(0, details["resumed"] - details["expected"]), topic)

    def stop(self) -> None:
        """Drain and end; safe from any thread."""
        self._supervisor.stop()

    # --- what HTTP tells ------------------------------------------------------------------------

    def _is_alive(self) -> bool:
        return self._clock.monotonic() - self._supervisor.last_step < STUCK_SECONDS * 1e9

    def _checks(self) -> dict[str, bool]:
        supervisor = self._supervisor
        return {
            "rules": len(self._loaded.rules) >= self._config.rules.min_loaded,
            "group": self._source_started,
            "workers": self._pool.alive() == self._config.workers,
            "commits": supervisor.is_idle
            or self._clock.monotonic() - supervisor.last_commit < IDLE_SECONDS * 1e9,
            "not_draining": not supervisor.stopping,
        }

    def _status(self) -> Mapping[str, object]:
        return {
            "version": __version__,
            "instance": self._config.instance,
            "uptime_seconds": round(time.monotonic() - self._started, 3),
            "epoch": self._supervisor.epoch,
            "workers": [{"worker": n, "pid": pid} for n, pid in enumerate(self._pool.pids())],
            "assignment": sorted(f"{topic}[{number}]" for topic, number in self._source.assignment()),
            "rules": {"loaded": len(self._loaded.rules), "refused": len(self._loaded.refused)},
            "ledger": self._supervisor.ledger.status(),
            "config": masked(self._config),
        }

    def _rules_status(self) -> Sequence[Mapping[str, object]]:
        loaded: list[dict[str, Any]] = [
            {
                "rule_id": rule.rule_id,
                "name": rule.name,
                "type": _known_rule(rule).type,
                "state": "enabled" if rule.enabled else "disabled",
                "reason": "",
                "content_hash": rule.content_hash,
            }
            for rule in self._loaded.rules
        ]
        refused = [
            {"rule_id": r.rule_id, "name": r.name, "type": "", "state": "refused", "reason": r.reason}
            for r in self._loaded.refused
        ]
        return [*loaded, *refused]


def _shown(value: object) -> str:
    """A detail of a Kafka event as a person reads it: partitions as topic[number]."""
    if isinstance(value, Mapping):
        return ", ".join(f"{topic}[{number}]={offset}" for (topic, number), offset in sorted(value.items()))
    if isinstance(value, list):
        return ", ".join(f"{topic}[{number}]" for topic, number in value)
    if isinstance(value, tuple):
        return f"{value[0]}[{value[1]}]"
    return str(value)


def _refused(refusal: Refusal) -> Idle:
    return Idle("refused", refusal.rule_id, f"{refusal.file}: {refusal.reason}")


def _known_rule(rule: Any) -> KnownRule:
    body = rule.query.body
    kind: Literal["event", "sequence", "sample"] = "event"
    steps: tuple[str, ...] = ("event",)
    if isinstance(body, ast.EventQuery):
        steps = ("event", "inner") if asks_for_relatives(rule) else ("event",)
    else:
        kind = "sample" if isinstance(body, ast.Sample) else "sequence"
        steps = tuple(map(str, range(len(body.steps))))
        if isinstance(body, ast.Sequence) and body.until is not None:
            steps = (*steps, "until")
        steps = (*steps, "inner") if asks_for_relatives(rule) else steps
    return KnownRule(rule.rule_id, rule.name, rule.severity, kind, rule.version, steps, rule.enabled)


def _report_rules(loaded: Loaded) -> None:
    for refusal in loaded.refused:
        LOG.warning(
            "rule.refused",
            rule=refusal.rule_id,
            file=refusal.file,
            line=refusal.line,
            code=refusal.code,
            reason=refusal.reason,
            error=refusal.message.splitlines()[0],
            next="`detectord check` shows the place and all findings",
        )
    LOG.info(
        "rules.loaded",
        count=len(loaded.rules),
        refused=len(loaded.refused),
        warnings=len(loaded.warnings),
        unselected=loaded.unselected,
    )


def _report_long_spans(loaded: Loaded, max_span: Duration) -> None:
    for rule in loaded.rules:
        body = rule.query.body
        if isinstance(body, ast.Sequence) and (body.maxspan or rule.look_back) > max_span:
            LOG.warning(
                "rule.span_capped",
                rule=rule.rule_id,
                span=str(max_span),
                next="longer sequences are missed; raise state.max_span",
            )

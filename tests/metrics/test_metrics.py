"""Metrics: what a scrape holds, from the first zeros on."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import golden
import pytest
import yaml
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from detectord import metrics
from detectord.metrics import DECLARED, TALLIES, KnownRule, Metrics

HERE = Path(__file__).parent
DEPLOY = HERE.parents[1] / "deploy"
RULES = [
    KnownRule("r-seq", "Sequence", "high", "sequence", 3, ("0", "1")),
    KnownRule("r-event", "Event", "low", "event", 1),
    KnownRule("r-off", "Off", "low", "event", 1, enabled=False),
]
PLAIN_TALLIES = [
    (("decoded", "ecs.endpoint"), 90),
    (("dead_letter", "not_json"), 3),
    (("dropped", "duplicate"), 2),
    (("late", "ecs.endpoint", "processed"), 4),
    (("future", "ecs.endpoint"), 1),
    (("no_category", "ecs.endpoint"), 5),
    (("unknown_index", "ecs.endpoint"), 6),
    (("bad_timestamp", "ecs.endpoint"), 7),
    (("key_violation", "ecs.endpoint"), 2),
    (("rule_match", "r-seq", "1"), 8),
    (("rule_error", "r-event", "TypeError"), 9),
    (("rule_late", "r-seq"), 10),
    (("no_time", "r-seq"), 11),
    (("key_tuples_capped", "r-seq"), 12),
    (("combinations_capped", "r-seq"), 3),
    (("hits_dropped", "too_large"), 2),
    (("state_removed", "r-seq", "capacity"), 13),
    (("lineage_forgotten",), 14),
    (("worker_events", "1"), 14),
    (("hits", "worker"), 15),
]


def started(*, per_rule: bool = True) -> Metrics:
    counts = Metrics(per_rule=per_rule)
    counts.expect(topic=["ecs.endpoint"], output_topic=["detectord.alerts"], worker=["0", "1"])
    counts.loaded(RULES, {"parse_error": 2, "duplicate": 1})
    return counts


def scrape(counts: Metrics) -> str:
    return counts.exposition("")[1].decode()


def value(counts: Metrics, name: str, **labels: str) -> float | None:
    return counts.registry.get_sample_value(name, labels)


def test_scrape(update_goldens: bool) -> None:
    counts = started()
    counts.observe(dict(PLAIN_TALLIES))
    counts.count(metrics.INPUT_RECORDS, 100, "ecs.endpoint")
    counts.count(metrics.ALERTS, 1, "r-seq", "high")
    counts.set(metrics.READY, 1)
    counts.set(metrics.CONSUMER_LAG_RECORDS, 17, "ecs.endpoint", "0")
    counts.record(metrics.BATCH_DURATION, 0.02, "commit")
    counts.record(metrics.DETECTION_DELAY, 3)
    golden.check(HERE / "scrape.txt", scrape(counts), update=update_goldens)


def test_each_kind_of_tally_is_in_the_scrape_test() -> None:
    assert {kind for (kind, *_), _ in PLAIN_TALLIES} == TALLIES.keys()


def test_counters_start_at_zero() -> None:
    counts = started()
    assert value(counts, "detectord_events_dead_lettered_total", reason="poison") == 0
    assert value(counts, "detectord_events_late_total", topic="ecs.endpoint", action="dropped") == 0
    assert value(counts, "detectord_worker_restarts_total", worker="1", reason="crash") == 0
    assert value(counts, "detectord_rule_matches_total", rule_id="r-seq", stage="1") == 0
    assert value(counts, "detectord_rule_matches_total", rule_id="r-event", stage="event") == 0
    assert value(counts, "detectord_state_removed_total", rule_id="r-seq", reason="expired") == 0
    assert value(counts, "detectord_state_removed_total", rule_id="r-event", reason="expired") is None
    assert value(counts, "detectord_batch_duration_seconds_count", stage="commit") == 0


def test_rules_are_told_and_told_anew() -> None:
    counts = started()
    assert value(counts, "detectord_rules_loaded", type="event", state="disabled") == 1
    assert value(counts, "detectord_rules_failed", reason="parse_error") == 2
    assert value(counts, "detectord_rules_failed", reason="schema_error") == 0
    counts.loaded(RULES[:1], {})
    assert value(counts, "detectord_rules_loaded", type="event", state="disabled") == 0
    assert value(counts, "detectord_rules_failed", reason="parse_error") == 0
    assert scrape(counts).count("detectord_rule_info{") == 1


def test_a_tally_without_a_metric_is_a_bug() -> None:
    with pytest.raises(LookupError, match="surprise"):
        started().observe({("surprise", "x"): 1})
    with pytest.raises(ValueError, match="label"):
        started().observe({("late", "ecs.endpoint"): 1})


def test_without_per_rule_there_is_one_series_for_all_rules() -> None:
    counts = started(per_rule=False)
    counts.observe(dict(PLAIN_TALLIES))
    counts.count(metrics.ALERTS, 1, "r-seq", "high")
    counts.count(metrics.ALERTS, 1, "r-other", "high")
    assert value(counts, "detectord_alerts_total", rule_id="", severity="high") == 2
    assert value(counts, "detectord_rule_late_hits_total", rule_id="") == 10
    assert "r-seq" not in scrape(counts)


def test_the_series_of_a_partition_that_went_go_with_it() -> None:
    counts = started()
    counts.show(metrics.CONSUMER_LAG_RECORDS, {("ecs.endpoint", "0"): 5, ("ecs.endpoint", "1"): 6})
    counts.show(metrics.CONSUMER_LAG_RECORDS, {("ecs.endpoint", "1"): 7})
    assert value(counts, "detectord_consumer_lag_records", topic="ecs.endpoint", partition="0") is None
    assert value(counts, "detectord_consumer_lag_records", topic="ecs.endpoint", partition="1") == 7
    counts.show(metrics.CONSUMER_LAG_RECORDS, {})
    assert "detectord_consumer_lag_records{" not in scrape(counts)


def test_topics_that_are_written_to_are_not_told_as_read() -> None:
    counts = Metrics()
    counts.expect(topic=["in"], output_topic=["out"], worker=["0"])
    lines = [line for line in scrape(counts).splitlines() if not line.startswith("#")]
    assert {line.partition("{")[0] for line in lines if 'topic="out"' in line} == {
        "detectord_output_records_total",
        "detectord_output_bytes_total",
    }
    assert not [line for line in lines if line.startswith("detectord_output_") and 'topic="in"' in line]
    assert value(counts, "detectord_input_records_total", topic="in") == 0


def test_log_messages_are_counted() -> None:
    counts = started()
    counts.message("warning")
    assert value(counts, "detectord_log_messages_total", level="warning") == 1


def test_both_formats_are_good() -> None:
    counts = started()
    counts.identify(librdkafka="2.10.0", revision="abc")
    counts.observe(dict(PLAIN_TALLIES))
    kind, body = counts.exposition("text/plain")
    assert kind.startswith("text/plain; version=0.0.4")
    names = {family.name for family in parse_text(body.decode())}
    kind, body = counts.exposition("application/openmetrics-text; version=1.0.0")
    assert kind.startswith("application/openmetrics-text")
    assert body.endswith(b"# EOF\n")
    assert names == {family.name for family in parse_openmetrics(body.decode())}
    assert {"detectord_build_info", "process_cpu_seconds", "python_gc_collections"} <= names


@pytest.mark.parametrize("metric", DECLARED, ids=lambda metric: metric.name)
def test_names_follow_the_conventions(metric: metrics.Metric) -> None:
    assert re.fullmatch(r"detectord_[a-z_]+", metric.name)
    assert metric.name.endswith("_total") == (metric.kind == "counter")
    assert not re.search(r"_(ms|millis|kb|mb|kilobytes)\b", metric.name)
    assert not {"host", "host_id", "user", "alert", "offset", "error"} & set(metric.labels)
    assert metric.help.endswith(".")
    if metric.kind == "histogram":
        assert metric.name.endswith("_seconds")


def test_no_name_twice() -> None:
    assert len({metric.name for metric in DECLARED}) == len(DECLARED)


def alert_rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load((DEPLOY / "prometheus/rules/detectord.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


@pytest.mark.parametrize("rule", alert_rules(), ids=lambda rule: rule.get("alert") or rule["record"])
def test_alert_rules_ask_for_metrics_that_exist(rule: dict[str, Any]) -> None:
    suffixes = ("", "_bucket", "_sum", "_count")
    known = {m.name + s: m for m in DECLARED for s in suffixes if not s or m.kind == "histogram"}
    asked = set(re.findall(r"\bdetectord_\w+", rule["expr"]))
    assert asked <= known.keys()
    labels = {"job", "instance", "le"} | {label for name in asked for label in known[name].labels}
    for listed in re.findall(r"(?:by|without|on)\s*\(([^)]*)\)", rule["expr"]):
        assert {label.strip() for label in listed.split(",")} <= labels
    assert set(re.findall(r"\$labels\.(\w+)", str(rule.get("annotations")))) <= labels


def test_every_alert_has_its_page() -> None:
    page = (HERE.parents[1] / "docs/operations.md").read_text()
    headings = {line.lstrip("# ").lower() for line in page.splitlines() if line.startswith("#")}
    for rule in alert_rules():
        if "alert" in rule:
            assert rule["annotations"]["runbook"].partition("#")[2] in headings
            assert rule["labels"]["severity"] in {"critical", "warning"}

"""What an event may change of its alert: score, severity and name."""

from typing import Any

import pytest
from alerts.samples import NOW, SETTINGS, START, changed, document_of, hit, rule, run_of

from detectord.alerts.elastic import elastic
from detectord.alerts.settings import MIN_MAX_BYTES, AlertSettings
from detectord.rules.rule import Rule, SeverityMatch


def alert(of: Rule, value: Any, settings: AlertSettings = SETTINGS) -> tuple[dict[str, Any], dict[str, str]]:
    """The alert of a rule on an event with `value` at lab.value, and its headers."""
    (record,) = elastic(settings)(hit(changed(START, "lab.value", value), of=of), NOW)
    return document_of(record), {name: text.decode() for name, text in record.headers}


@pytest.mark.parametrize(
    ("value", "score"),
    [
        (80, 80),
        ("80", 80),
        (" 80.5 ", 80.5),
        (0, 0),
        (100, 100),
        ([3, "90", 101, "x", None, -1], 90),
        (101, 47),
        (-1, 47),
        ("eighty", 47),
        ("1e2", 47),
        ("", 47),
        (True, 47),
        (None, 47),
        ([], 47),
        ({"deeper": 80}, 47),
        ("9" * 5_000, 47),
    ],
)
def test_the_score(value: Any, score: float) -> None:
    document, headers = alert(rule(risk_score_field="lab.value"), value)
    assert document["kibana.alert.risk_score"] == score
    assert document["event"]["risk_score"] == float(score)
    assert document["kibana.alert.rule.parameters"]["risk_score"] == 47
    assert headers["risk-score"] == str(score)
    assert document["kibana.alert.severity"] == "medium"


def mapped(*entries: tuple[str, str, Any]) -> Rule:
    return rule(severity_mapping=tuple(SeverityMatch(*entry) for entry in entries))


@pytest.mark.parametrize(
    ("value", "severity"),
    [
        ("worst", "critical"),
        ("bad", "low"),
        (["bad", "worst"], "critical"),
        ("Worst", "medium"),
        (7, "high"),
        ("7", "high"),
        (7.0, "medium"),
        ("7.0", "medium"),
        (True, "medium"),
        (None, "medium"),
    ],
)
def test_the_severity(value: Any, severity: str) -> None:
    of = mapped(
        ("lab.value", "worst", "critical"), ("lab.value", "bad", "low"), ("lab.value", "7", "high"),
        ("lab.value", "true", "critical"),
    )  # fmt: skip
    document, headers = alert(of, value)
    assert document["kibana.alert.severity"] == headers["severity"] == severity
    assert document["event"]["severity"] == {"low": 21, "medium": 47, "high": 73, "critical": 99}[severity]
    assert f"created {severity} alert" in document["kibana.alert.reason"]
    assert document["kibana.alert.rule.parameters"]["severity"] == "medium"
    assert document["kibana.alert.risk_score"] == 47


@pytest.mark.parametrize(
    ("value", "severity"), [(10, "high"), ("10", "high"), ("010", "high"), (11, "medium"), ("x", "medium")]
)
def test_the_severity_of_the_event_is_a_number(value: Any, severity: str) -> None:
    of = mapped(("event.severity", "10", "high"), ("event.severity", "ten", "critical"))
    (record,) = elastic(SETTINGS)(hit(changed(START, "event.severity", value), of=of), NOW)
    assert document_of(record)["kibana.alert.severity"] == severity


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ("Crane in the dark", "Crane in the dark"),
        (["a"], None),
        (["a", "b"], None),
        (5, None),
        (" ", None),
        (None, None),
        ({"a": "b"}, None),
    ],
)
def test_the_name(value: Any, name: str | None) -> None:
    of = rule(name_field="lab.value")
    document, _ = alert(of, value)
    wanted = name or of.name
    assert document["kibana.alert.rule.name"] == document["rule"]["name"] == wanted
    assert document["kibana.alert.reason"].endswith(f"alert {wanted}.")


def test_a_dotted_key_is_a_name_too() -> None:
    (record,) = elastic(SETTINGS)(hit({**START, "lab.value": "dotted"}, of=rule(name_field="lab.value")), NOW)
    assert document_of(record)["kibana.alert.rule.name"] == "dotted"


def test_a_redacted_field_gives_no_name() -> None:
    settings = AlertSettings(instance="i", version="1", redact=("lab.*",))
    of = rule(name_field="lab.value")
    document, _ = alert(of, "secret", settings)
    assert document["kibana.alert.rule.name"] == of.name
    assert "secret" not in str(document)


def test_the_smallest_document_has_them_as_well() -> None:
    settings = AlertSettings(instance="i", version="1", max_bytes=MIN_MAX_BYTES)
    of = rule(name_field="labels.dock", risk_score_field="event.severity")
    big = changed(START, "host.blob", "x" * 100_000)
    (record,) = elastic(settings)(hit(big, of=of), NOW)
    document = document_of(record)
    assert len(record.value) <= MIN_MAX_BYTES
    assert (document["kibana.alert.rule.name"], document["kibana.alert.risk_score"]) == ("north", 10)


def test_a_sequence_keeps_what_its_rule_says() -> None:
    of = rule(
        name_field="labels.dock",
        risk_score_field="event.severity",
        severity_mapping=(SeverityMatch("user.name", "lp", "critical"),),
    )
    for record in elastic(SETTINGS)(run_of(START, START, of=of), NOW):
        document = document_of(record)
        assert document["kibana.alert.rule.name"] == of.name
        assert (document["kibana.alert.severity"], document["kibana.alert.risk_score"]) == ("medium", 47)


def test_one_event_changes_nothing_for_the_next() -> None:
    made = elastic(SETTINGS)
    of = rule(risk_score_field="lab.value")
    scores = [
        document_of(made(hit(changed(START, "lab.value", value), of=of), NOW)[0])["kibana.alert.risk_score"]
        for value in (80, None, 20)
    ]
    assert scores == [80, 47, 20]

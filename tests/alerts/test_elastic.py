"""Whole documents: the three kinds, the operator's choices, hostile events, documents that are too big."""

import copy
import json
from dataclasses import replace
from pathlib import Path

import golden
import msgspec
import pytest
from alerts.samples import (
    CONNECT,
    NOW,
    SETTINGS,
    START,
    changed,
    compiled,
    document_of,
    event,
    hit,
    rule,
    run_of,
)
from contracts.alert_format import check_alert_format
from hypothesis import given
from hypothesis import settings as run_with
from hypothesis import strategies as st

from detectord.alerts.elastic import elastic
from detectord.alerts.formats import FORMATS
from detectord.alerts.ids import shell_id
from detectord.alerts.settings import MIN_MAX_BYTES, AlertSettings
from detectord.engine.detection import Detection
from detectord.eql import ast
from detectord.events.index import SourceIndex
from detectord.rules.rule import SeverityMatch

GOLDEN = Path(__file__).parent / "golden"


def documents(detection, **choices):
    return [document_of(record) for record in elastic(replace(SETTINGS, **choices))(detection, NOW)]


# --- goldens ---------------------------------------------------------------------------------

CASES = {
    "event": (hit(), {}),
    "event-minimal-flat": (hit(), {"rule_detail": "minimal", "key_style": "flat"}),
    "event-full-nested": (
        hit(of=rule(extra={"note": "## Triage", "from": "now-9m", "actions": ["x"], "revision": 3})),
        {"rule_detail": "full", "key_style": "nested"},
    ),
    "event-as-alert": (hit(), {"event_kind": "alert", "space": "harbour"}),
    "event-overridden": (
        hit(
            of=rule(
                risk_score_field="event.severity",
                severity_mapping=(SeverityMatch("user.name", "lp", "critical"),),
                name_field="labels.dock",
                extra={"severity_mapping": [{"field": "user.name", "value": "lp", "severity": "critical"}]},
            )
        ),
        {"rule_detail": "full"},
    ),
    "sequence": (run_of(START, CONNECT), {}),
    "sequence-redacted": (
        run_of(START, CONNECT, late=True),
        {
            "redact": ("process.entity_id", "process.env_vars", "host.name", "user.*"),
            "building_blocks": "none",
        },
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_golden(name, update_goldens):
    detection, choices = CASES[name]
    made = json.dumps(documents(detection, **choices), indent=1, ensure_ascii=False) + "\n"
    golden.check(GOLDEN / f"{name}.json", made, update=update_goldens)


# --- the contract, under every choice --------------------------------------------------------

CHOICES = [
    {},
    {"key_style": "nested"},
    {"key_style": "flat"},
    {"event_kind": "alert", "rule_detail": "minimal"},
    {"rule_detail": "full", "building_blocks": "none"},
    {"redact": ("process.*", "host.id", "event.id"), "space": "x"},
    {"max_bytes": MIN_MAX_BYTES},
]


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize("choices", CHOICES, ids=str)
@pytest.mark.parametrize("detection", [hit(), run_of(START, CONNECT), run_of(START, START, CONNECT)])
def test_contract(format_, choices, detection):
    settings = replace(SETTINGS, **choices)
    assert check_alert_format(FORMATS[format_](settings), detection, max_bytes=settings.max_bytes)


@pytest.mark.parametrize("choices", CHOICES, ids=str)
def test_the_key_is_the_uuid_in_the_document(choices):
    for record in elastic(replace(SETTINGS, **choices))(run_of(START, CONNECT), NOW):
        document = document_of(record)
        alert = document["kibana"]["alert"] if "kibana" in document else None
        assert record.key == (alert["uuid"] if alert else document["kibana.alert.uuid"])


def test_the_events_documents_are_not_touched():
    detection = run_of(START, CONNECT)
    before = copy.deepcopy([event.document for event in detection.events])
    documents(detection, redact=("process.*",), key_style="nested", max_bytes=MIN_MAX_BYTES)
    assert [event.document for event in detection.events] == before


def test_a_rule_is_taken_anew_when_it_was_loaded_anew():
    format_ = elastic(SETTINGS)
    names = [document_of(format_(hit(of=rule(name=name)), NOW)[0])["rule"]["name"] for name in ("old", "new")]
    assert names == ["old", "new"]


@pytest.mark.parametrize(
    "bad",
    [
        {"redact": ("a.*.b",)},
        {"redact": ("*",)},
        {"redact": ("",)},
        {"redact": ("a..b",)},
        {"max_bytes": 100},
    ],
)
def test_settings_that_cannot_work_are_refused(bad):
    with pytest.raises(ValueError, match=r"redact|max_bytes"):
        AlertSettings(instance="i", version="v", **bad)


# --- events ----------------------------------------------------------------------------------


def test_what_an_earlier_alert_left_in_the_event_does_not_come_along():
    source = {
        **START,
        "kibana.alert.workflow_status": "closed",
        "signal": {"status": "open"},
        "threshold_result": 1,
        "detectord": {"late": True},
        "_id": "x",
        "rule": {"name": "theirs", "uuid": "theirs", "author": ["they"]},
    }
    document = documents(hit(source))[0]
    assert document["kibana.alert.workflow_status"] == "open"
    assert not {"signal", "threshold_result", "_id"} & set(document)
    assert "late" not in document["detectord"]
    assert document["rule"]["name"] == "Compiler started by a print server"


def test_dotted_event_kind_leaves_no_twin():
    source = {
        **{k: v for k, v in START.items() if k != "event"},
        "event.kind": "state",
        "event.category": "process",
    }
    document = documents(hit(source))[0]
    assert document["event"]["kind"] == "signal"
    assert "event.kind" not in document
    assert document["kibana.alert.original_event.kind"] == "state"


@pytest.mark.parametrize(
    ("stamp", "expected"),
    [
        ("2026-03-03T11:04:00.1234567Z", "2026-03-03T11:04:00.1234567Z"),
        ("2026-03-03 11:04:00,5+02:00", "2026-03-03 11:04:00,5+02:00"),
        (1_772_535_840_123, 1_772_535_840_123),
        (["2026-03-03T11:04:00Z", "x"], "2026-03-03T11:04:00Z"),
        ("yesterday", None),
        ({"seconds": 1}, None),
        (True, None),
        (None, None),
    ],
)
def test_original_time_is_the_sources_own_spelling(stamp, expected):
    assert (
        documents(hit(changed(START, "@timestamp", stamp)))[0].get("kibana.alert.original_time") == expected
    )


def test_threat_of_the_rule_lies_over_that_of_the_event():
    threat = {"indicator": {"ip": "203.0.113.1"}, "tactic": {"id": ["TA9"]}, "framework": "other"}
    found = documents(hit(changed(START, "threat", threat)))[0]["threat"]
    assert found["indicator"] == {"ip": "203.0.113.1"}
    assert found["tactic"]["id"] == ["TA0002"]
    assert documents(hit(changed(START, "threat", threat), of=rule(threat=())))[0]["threat"] == threat


def test_threat_arrays_hold_each_entry_once_and_stay_in_step():
    def technique(number, *subs):
        entry = {"id": f"T{number}", "name": f"n{number}", "reference": f"https://x.example/{number}"}
        return {
            **entry,
            "subtechnique": [{"id": f"T{number}.{s}", "name": "same", "reference": ""} for s in subs],
        }

    def entry(tactic, *techniques):
        return {
            "framework": "F",
            "tactic": {"id": tactic, "name": tactic.lower()},
            "technique": list(techniques),
        }

    of = rule(
        threat=(
            entry("TA1", technique(1, 1, 2), technique(2)),
            entry("TA2", technique(1, 1)),
            {"tactic": "bad"},
        )
    )
    assert documents(hit({**START}, of=of))[0]["threat"] == {
        "framework": "F",
        "tactic": {"id": ["TA1", "TA2"], "name": ["ta1", "ta2"]},
        "technique": {
            "id": ["T1", "T2"],
            "name": ["n1", "n2"],
            "reference": ["https://x.example/1/", "https://x.example/2/"],
            "subtechnique": {"id": ["T1.1", "T1.2"], "name": ["same", "same"]},
        },
    }


def test_building_block_rules_say_so_and_stay_events():
    of = rule(building_block_type="default")
    (record,) = elastic(SETTINGS)(hit(of=of), NOW)
    assert record.kind == "event"
    assert document_of(record)["kibana.alert.building_block_type"] == "default"
    assert documents(run_of(START, CONNECT, of=of))[-1]["kibana.alert.building_block_type"] == "default"
    assert "kibana.alert.building_block_type" not in documents(run_of(START, CONNECT))[-1]


def test_where_an_event_came_from():
    source = Detection(compiled(rule()), (event(START, 9, timestamp=None),))
    assert documents(source)[0]["detectord"]["source"] == [
        {"topic": "lab.events", "partition": 3, "offset": 9}
    ]
    absurd = Detection(compiled(rule()), (event(START, 9, timestamp=2**62),))
    assert documents(absurd)[0]["detectord"]["source"] == [
        {"topic": "lab.events", "partition": 3, "offset": 9}
    ]


def test_the_index_is_hinted_by_topic():
    bare = {k: v for k, v in START.items() if k != "data_stream"}
    hinted = documents(hit(bare), source_index={"lab.events": SourceIndex("logs-hinted-default")})[0]
    assert hinted["kibana.alert.ancestors"][0]["index"] == "logs-hinted-default"


# --- sequences -------------------------------------------------------------------------------


def test_a_sequences_times():
    shell = documents(run_of(START, CONNECT))[-1]
    assert shell["kibana.alert.original_time"] == CONNECT["@timestamp"]
    assert shell["event"]["start"] == START["@timestamp"]
    assert shell["event"]["end"] == CONNECT["@timestamp"]
    assert shell["event"]["duration"] == 2_500_000_000
    assert shell["detectord"]["sequence"]["span_seconds"] == 2.5


def test_times_that_an_index_would_not_read_are_written_anew():
    shell = documents(run_of(changed(START, "@timestamp", 1_772_535_840_500), CONNECT))[-1]
    assert shell["event"]["start"] == "2026-03-03T11:04:00.500Z"


def test_a_sequence_without_times_has_no_span():
    shell = documents(run_of(changed(START, "@timestamp", "never"), CONNECT))[-1]
    assert not {"start", "end", "duration"} & set(shell["event"])
    assert "span_seconds" not in shell["detectord"]["sequence"]


def test_a_rules_own_time_field_times_the_sequence():
    first = changed(START, "lab.seen", "2026-03-03T10:00:00Z")
    last = changed(CONNECT, "lab.seen", ["2026-03-03T10:00:07Z"])
    shell = documents(run_of(first, last, of=rule(timestamp_field="lab.seen")))[-1]
    assert (shell["event"]["start"], shell["event"]["duration"]) == ("2026-03-03T10:00:00Z", 7_000_000_000)
    assert shell["kibana.alert.original_time"] == CONNECT["@timestamp"]


def test_a_missing_step_leaves_a_gap_in_the_stage_numbers():
    first, second, shell = documents(run_of(START, CONNECT, stages=(0, 2)))
    assert [first["kibana.alert.group.index"], second["kibana.alert.group.index"]] == [0, 2]
    assert [stage["index"] for stage in shell["detectord"]["sequence"]["stages"]] == [0, 2]
    assert shell["detectord"]["sequence"]["stages"][1]["uuid"] == second["kibana.alert.uuid"]


def test_the_key_is_part_of_the_id_only_where_events_fanned_out():
    plain, fanned = (
        documents(run_of(START, CONNECT, fanned_out=f))[-1]["kibana.alert.uuid"] for f in (False, True)
    )
    sids = ["e:agent-4:Zm9v/1", "e:agent-4:Zm9v/2"]
    assert plain == shell_id(rule().rule_id, sids)
    assert fanned == shell_id(rule().rule_id, sids, ["pier-9", "p-771"])


def test_a_sample_lasts_from_its_earliest_to_its_latest_event():
    sample = rule(query=ast.Query(ast.Sample(())))
    *_, forth = documents(run_of(START, CONNECT, of=sample))
    *_, back = documents(run_of(CONNECT, START, of=sample))
    assert forth["kibana.alert.original_time"] == back["kibana.alert.original_time"]
    assert [stage["index"] for stage in back["detectord"]["sequence"]["stages"]] == [0, 1]
    assert forth["detectord"]["sequence"]["span_seconds"] == back["detectord"]["sequence"]["span_seconds"] > 0


def test_samples_have_ids_of_their_own():
    sample = rule(query=ast.Query(ast.Sample(())))
    assert documents(run_of(START, CONNECT, of=sample))[-1]["kibana.alert.uuid"] == shell_id(
        sample.rule_id, ["e:agent-4:Zm9v/1", "e:agent-4:Zm9v/2"], sample=True
    )


def test_without_building_blocks_the_shell_is_the_same():
    separate = documents(run_of(START, CONNECT))
    assert documents(run_of(START, CONNECT), building_blocks="none") == separate[-1:]


def test_late_is_said_on_every_record_and_only_then():
    assert all(d["detectord"]["late"] is True for d in documents(run_of(START, CONNECT, late=True)))
    assert not any("late" in d["detectord"] for d in documents(run_of(START, CONNECT)))


# --- alerts on alerts ------------------------------------------------------------------------


def alert_event(**choices):
    """An alert of another rule, read back as an event."""
    other = rule(rule_id="other-rule", name="Other")
    return documents(hit(of=other), **choices)[0]


@pytest.mark.parametrize("key_style", ["elastic", "nested", "flat"])
def test_an_alert_on_an_alert_names_its_ancestors(key_style):
    source = alert_event(key_style=key_style)
    document = documents(hit(source))[0]
    assert document["kibana.alert.depth"] == 2
    original, parent = document["kibana.alert.ancestors"]
    assert (original["type"], original["depth"]) == ("event", 0)
    assert (parent["type"], parent["depth"], parent["rule"]) == ("signal", 1, "other-rule")
    assert parent["id"] == alert_event()["kibana.alert.uuid"]
    shell = documents(run_of(source, CONNECT))[-1]
    assert shell["kibana.alert.depth"] == 3
    assert [a["type"] for a in shell["kibana.alert.ancestors"]] == [
        "event",
        "signal",
        "signal",
        "event",
        "signal",
    ]


def test_no_rule_alerts_on_itself():
    source = documents(hit(alert_event()))[0]
    assert documents(hit(source)) == []
    assert documents(hit(source, of=rule(rule_id="other-rule"))) == []
    assert documents(run_of(CONNECT, source)) == []
    assert len(documents(hit(source, of=rule(rule_id="third")))) == 1


@pytest.mark.parametrize(
    "kibana",
    [
        {"alert": {"rule": {"uuid": "r"}, "ancestors": "none", "depth": "deep", "uuid": {"x": 1}}},
        {"alert": [{"rule": {"uuid": ["r"]}}], "x": 1},
        {
            "alert": {
                "rule": {"uuid": "r"},
                "ancestors": [1, None, {"id": 5, "depth": {}, "rule": "q"}],
                "depth": -3,
            }
        },
        [{"alert": {"rule": {"uuid": "r"}}}],
    ],
)
def test_forged_alerts_are_events_like_any_other(kibana):
    document = documents(hit({**START, "kibana": kibana}))[0]
    assert document["kibana.alert.depth"] == 2
    assert document["kibana.alert.ancestors"][-1]["rule"] == "r"


# --- redaction -------------------------------------------------------------------------------


def test_a_redacted_value_is_nowhere_in_any_record():
    hidden = ("process.env_vars", "user.name", "event.action", "host.id", "process.entity_id")
    records = elastic(replace(SETTINGS, redact=hidden))(run_of(START, CONNECT), NOW)
    for record in records:
        text = record.value + b"".join(value for _, value in record.headers)
        for secret in (b"hunter2", b'"lp"', b" lp ", b'"exec"', b'pier-9"', b"p-771", b'"connect"'):
            assert secret not in text
        assert dict(record.headers)["host-id"] == b"[redacted]"
    block = document_of(records[0])
    assert block["kibana.alert.original_event.action"] == block["event"]["action"] == "[redacted]"
    assert "by [redacted] on pier-9.example.org" in block["kibana.alert.reason"]


@pytest.mark.parametrize("pattern", ["event.id", "agent.*", "event.*"])
def test_a_source_identity_made_of_redacted_fields_is_hashed(pattern):
    first, _, shell = documents(run_of(START, CONNECT), redact=(pattern,))
    plain = documents(run_of(START, CONNECT))[-1]
    assert "e:agent-4" not in json.dumps([first, shell])
    assert shell["detectord"]["sequence"]["stages"][0]["id"] == first["kibana.alert.ancestors"][0]["id"]
    assert shell["kibana.alert.uuid"] == plain["kibana.alert.uuid"], "redaction changes no id"


def test_different_values_do_not_become_common_by_redaction():
    other = changed(CONNECT, "user.name", "root")
    assert "name" not in documents(run_of(START, other), redact=("user.name",))[-1]["user"]


# --- size ------------------------------------------------------------------------------------


def test_original_goes_first_everywhere():
    source = changed(START, "event.original", "o" * 500_000)
    source["message"] = "m" * 300_000
    document = documents(hit(source))[0]
    assert document["detectord"]["truncated"] is True
    assert not [name for name in document if name.startswith("kibana.alert.original_event.original")]
    assert "original" not in document["event"]
    assert document["message"] == source["message"]


def test_then_the_fields_that_say_little_about_who_and_what():
    source = changed(START, "message", "m" * 950_000)
    document = documents(hit(source))[0]
    assert "message" not in document
    assert document["process"]["name"] == "cc"
    assert document["kibana.alert.rule.parameters"]["type"] == "eql"


def test_below_the_limit_nothing_is_cut():
    document = documents(hit(changed(START, "message", "m" * 800_000)))[0]
    assert "truncated" not in document["detectord"]
    assert len(document["message"]) == 800_000


HOSTILE = {
    "process fields": changed(START, "process.args", ["x" * 50] * 2_000),
    "a join key": changed(START, "process.entity_id", "\x01" * 60_000),
    "an identity": changed(START, "event.id", "\x01" * 60_000),
    "categories": changed(START, "event.category", ["\x01" * 500] * 200),
    "a long name over many leaves": changed(
        START, "event", {"k" * 40_000: {str(i): i for i in range(3_000)}}
    ),
    "an index name": changed(START, "data_stream.dataset", "\x01" * 60_000),
    "ancestors": {**START, "kibana.alert": {"rule": {"uuid": "r"}, "ancestors": [{"id": "a" * 90}] * 1_000}},
    "depth": changed(START, "event.deep", json.loads('{"a":[' * 400 + "]}" * 400)),
}
"""Each too big or too deep for the smallest limit."""


@pytest.mark.parametrize("key_style", ["elastic", "nested", "flat"])
@pytest.mark.parametrize("name", HOSTILE)
def test_no_event_gets_a_record_over_the_limit(name, key_style):
    source = HOSTILE[name]
    settings = replace(SETTINGS, key_style=key_style, max_bytes=MIN_MAX_BYTES)
    join = (("process.entity_id", source["process"]["entity_id"]),)
    for detection in (hit(source), run_of(source, source, join=join)):
        for record in check_alert_format(elastic(settings), detection, max_bytes=MIN_MAX_BYTES):
            document = document_of(record)
            detectord = document.get("detectord") or {"truncated": document["detectord.truncated"]}
            assert detectord["truncated"] is True
            assert b"Compiler started by a print server" in record.value


def test_the_last_resort_still_says_which_alert_by_which_rule_and_from_where():
    source = changed(START, "event.id", "i" * 1_000_000)
    (record,) = elastic(SETTINGS)(hit(source), NOW)
    document = document_of(record)
    assert document["kibana.alert.uuid"] == record.key
    assert (
        document["kibana.alert.rule.name"] == document["rule"]["name"] == "Compiler started by a print server"
    )
    assert (document["kibana.alert.severity"], document["kibana.alert.risk_score"]) == ("medium", 47)
    assert document["event"] == {
        "kind": "signal",
        "severity": 47,
        "risk_score": 47.0,
        "risk_score_norm": 47.0,
    }
    assert document["detectord"]["source"][0]["offset"] == 100


def test_a_rule_that_is_too_big_by_itself_fits_too():
    of = rule(query_text="\x01" * 1_000_000, name="n" * 100_000, description="d" * 1_000_000)
    check_alert_format(elastic(SETTINGS), run_of(START, CONNECT, of=of), max_bytes=SETTINGS.max_bytes)


# --- any event -------------------------------------------------------------------------------

ROOTS = [
    "event",
    "process",
    "host",
    "user",
    "source",
    "kibana",
    "threat",
    "rule",
    "data_stream",
    "@timestamp",
    "agent",
]
NAMES = st.sampled_from(
    [*ROOTS, "id", "name", "category", "kind", "parent", "alert", "ancestors", "a.b", "", "."]
)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(codec=None), max_size=6)
    | st.sampled_from(["2026-03-03T11:04:00Z", "-", "\ud800", 10**30])
)
TREES = st.recursive(
    SCALARS,
    lambda t: st.lists(t, max_size=3) | st.dictionaries(NAMES | st.text(max_size=3), t, max_size=4),
    max_leaves=20,
)
DOCUMENTS = st.dictionaries(NAMES | st.just("kibana.alert.rule.uuid"), TREES, max_size=6)
SETTINGS_GRID = [replace(SETTINGS, **choices) for choices in CHOICES]


@run_with(max_examples=100, deadline=None)
@given(DOCUMENTS, DOCUMENTS, st.sampled_from(SETTINGS_GRID), st.booleans())
def test_any_events_make_valid_alerts_and_stay_as_they_were(left, right, settings, is_sequence):
    before = repr([left, right])
    join = tuple(("a", name) for name in list(left)[:2])
    detection = run_of(left, right, join=join, fanned_out=True) if is_sequence else hit(left)
    check_alert_format(elastic(settings), detection, max_bytes=settings.max_bytes)
    assert repr([left, right]) == before


def test_conflicts_are_counted():
    format_ = elastic(SETTINGS)
    format_(hit({**START, "host": "h", "process": {"name": {"x": 1}}}), NOW)
    assert format_.conflicts == 2


def test_documents_are_utf_8_without_a_line_break_at_the_end():
    (record,) = elastic(SETTINGS)(hit(changed(START, "message", "ø\n")), NOW)
    assert record.value.startswith(b"{")
    assert record.value.endswith(b"}")
    assert "ø".encode() in record.value
    assert msgspec.json.decode(record.value)["message"] == "ø\n"

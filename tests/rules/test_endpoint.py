"""Endpoint behaviour rules: told from other rules, read under the names of these."""

import pytest

from detectord.compiler import compile_rule
from detectord.eql.printer import expression_text
from detectord.events.event import Event
from detectord.events.record import Record
from detectord.rules.load import read_bytes
from detectord.rules.schema import Reading, ReadOptions

RULE = '''\
[rule]
description = """
A clerk starts
a crane.
"""
id = "crane-1"
license = "MIT"
name = "Crane"
os_list = ["linux", "macos"]
reference = ["https://soc.example.org/r/1"]
version = "1.0.13"

query = \'\'\'
process where process.name == "crane"
\'\'\'

min_endpoint_version = "8.12.0"
optional_actions = []
reputation = true
[[actions]]
action = "kill_process"
field = "process.entity_id"
state = 0

[[threat]]
framework = "MITRE ATT&CK"
[[threat.technique]]
id = "T1059"
name = "Command and Scripting Interpreter"
reference = "https://attack.mitre.org/techniques/T1059/"

[threat.tactic]
id = "TA0002"
name = "Execution"
reference = "https://attack.mitre.org/tactics/TA0002/"
[[threat]]
framework = "MITRE ATT&CK"

[threat.tactic]
id = "TA0011"
name = "Command and Control"
reference = "https://attack.mitre.org/tactics/TA0011/"

[internal]
min_endpoint_version = "8.12.0"
'''


def reading_of(text: str, **options) -> Reading:
    return read_bytes(text.encode(), "r.toml", ReadOptions(**options))


def with_query(query: str) -> str:
    return RULE.replace('process where process.name == "crane"', query)


def place_of(text: str, marker: str) -> tuple[int, int]:
    offset = text.index(marker)
    return text.count("\n", 0, offset) + 1, offset - (text.rfind("\n", 0, offset) + 1) + 1


def test_a_rule() -> None:
    reading = reading_of(RULE)
    rule = reading.rule
    assert (reading.findings, reading.unknown_keys) == ((), ())
    assert (reading.rule_id, reading.name, reading.has_version) == ("crane-1", "Crane", False)
    assert rule is not None
    assert (rule.rule_id, rule.uuid, rule.name, rule.dialect) == ("crane-1", "crane-1", "Crane", "endpoint")
    assert (rule.severity, rule.risk_score, rule.version, rule.index) == ("medium", 47, 1, ())
    assert (rule.description, rule.license) == ("A clerk starts a crane.", "MIT")
    assert rule.references == ("https://soc.example.org/r/1",)
    assert [threat["tactic"]["id"] for threat in rule.threat] == ["TA0002", "TA0011"]
    assert rule.extra == {"artifact_version": "1.0.13"}


def test_it_is_always_production() -> None:
    assert reading_of(RULE, maturity=("beta",)).rule is None
    assert reading_of('[metadata]\nmaturity = "beta"\n' + RULE).rule is not None


def test_it_looks_at_its_systems_only() -> None:
    rule = reading_of(RULE).rule
    assert rule is not None
    assert rule.filter is not None
    assert expression_text(rule.filter) == 'host.os.type in ("linux", "macos")'
    (step,) = compile_rule(rule).steps
    for system, matches in (("linux", True), ("macos", True), ("windows", False), (None, False)):
        document = {
            "event": {"category": "process"},
            "process": {"name": "crane"},
            "host": {"os": {"type": system}},
        }
        assert step.matcher(Event(document, Record("t", 0, 0, None, None, b""), 0)) == matches
    everywhere = reading_of(RULE.replace('os_list = ["linux", "macos"]\n', "")).rule
    assert everywhere is not None
    assert everywhere.filter is None


@pytest.mark.parametrize("query", [
    'network where destination.ip : "10.*" and source.ip like ("127.*", "::1")',
    'network where destination.port : "88" and source.port in (80, "443")',
    'process where process.Ext.api.parameters.size : 4096',
    'process where user.id == 0 and process.code_signature.trusted == "true"',
    'any where event.category : ("registry", "file")',
    'sequence with maxspan=1m [process where true] by process.pid [network where true] by user.id',
    'process where process.args : ("a", // a note\n  "b") and not /* another */ (process.args : "–x")',
    'process where process.args regex """/proc/(self|[0-9]{1,7})/fd"""',
    'file where file.extension :(".x", "y") and event.action!= "deletion"',
])  # fmt: skip
def test_its_dialect_knows_no_types(query: str) -> None:
    types = {"destination.ip": "ip", "source.ip": "ip", "destination.port": "long", "process.pid": "long"}
    reading = reading_of(with_query(query), types={**types, "user.id": "keyword"})
    assert [each.text for each in reading.findings if each.reason is not None] == []
    assert reading.rule is not None
    assert compile_rule(reading.rule).steps


def test_a_sequence_without_maxspan_has_six_minutes() -> None:
    reading = reading_of(with_query("sequence by process.entity_id [file where true] [process where true]"))
    assert [each.code for each in reading.findings] == ["W405"]
    assert reading.rule is not None
    assert reading.rule.look_back == 360 * 10**9


@pytest.mark.parametrize(("old", "new", "code", "marker"), [
    ('name = "Crane"', 'name = ""', "E410", "[rule]"),
    ('id = "crane-1"', "id = 7", "E411", "7\nlicense"),
    ('["linux", "macos"]', '"linux"', "E411", '"linux"'),
    ('reference = ["https://soc.example.org/r/1"]', "reference = [7]", "E411", "7]"),
    ('version = "1.0.13"', "version = 1", "E411", "1\n\nquery"),
    ('process.name == "crane"', "zork(1)", "E104", "zork"),
])  # fmt: skip
def test_what_is_refused(old: str, new: str, code: str, marker: str) -> None:
    text = RULE.replace(old, new, 1)
    reading = reading_of(text)
    assert reading.rule is None
    assert [(each.code, each.line, each.column) for each in reading.findings] == [
        (code, *place_of(text, marker))
    ]


def test_findings_have_the_names_of_the_file() -> None:
    assert "`rule.id` must be" in reading_of(RULE.replace('id = "crane-1"', "id = 7", 1)).findings[0].message
    assert "`rule.version` must be" in reading_of(RULE.replace('"1.0.13"', "1", 1)).findings[0].message


def test_one_reference_need_not_be_a_list() -> None:
    rule = reading_of(RULE.replace('["https://soc.example.org/r/1"]', '"https://soc.example.org/r/1"')).rule
    assert rule is not None
    assert rule.references == ("https://soc.example.org/r/1",)


def test_a_threat_that_is_not_understood_is_left_out() -> None:
    text = RULE.replace('id = "TA0002"\n', "")
    reading = reading_of(text)
    assert reading.rule is not None
    assert [threat["tactic"]["id"] for threat in reading.rule.threat] == ["TA0011"]
    (found,) = reading.findings
    assert (found.code, found.line) == ("W428", place_of(text, "[threat.tactic]")[0])


def test_unknown_keys_only_warn() -> None:
    reading = reading_of(RULE.replace("[rule]\n", "[rule]\nrelease = 1\n") + "[surprise]\n")
    assert reading.rule is not None
    assert [key for key, _ in reading.unknown_keys] == ["rule.release", "surprise"]


def test_the_hash_covers_the_threats() -> None:
    one, other = reading_of(RULE).rule, reading_of(RULE.replace('"TA0011"', '"TA0010"')).rule
    assert one is not None
    assert other is not None
    assert one.content_hash != other.content_hash

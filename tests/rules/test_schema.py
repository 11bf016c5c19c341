"""One rule document: every key's check, what becomes of the keys, where findings point."""

import json
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectord.rules.load import MAX_BYTES, read_bytes
from detectord.rules.schema import Reading, ReadOptions, content_hash
from detectord.rules.spans import spelled_span

RULE = '''\
[metadata]
creation_date = "2026/01/15"
updated_date = "2026/02/01"
maturity = "production"

[rule]
author = ["Example"]
description = """
Two
  lines.
"""
index = ["logs-*"]
language = "eql"
name = "Example"
risk_score = 47
rule_id = "id-1"
severity = "medium"
type = "eql"
query = """
process where true
"""
'''
SEQUENCE = "sequence by host.id with maxspan=1m [process where true] [network where true]"


def reading_of(text: str, **options) -> Reading:
    return read_bytes(text.encode(), "r.toml", ReadOptions(**options))


def changed(key: str, value: str, text: str = RULE) -> str:
    """The rule with `key = value` in place of the line(s) of `key`, or added if it has none."""
    lines, out, found = text.splitlines(keepends=True), [], False
    skipping = False
    for line in lines:
        if line.startswith(f"{key} ="):
            found, skipping = True, '"""' in line
            out.append(f"{key} = {value}\n")
        elif skipping:
            skipping = '"""' not in line
        else:
            out.append(line)
    return "".join(out) if found else text + f"{key} = {value}\n"


def without(key: str) -> str:
    return changed(key, "REMOVED").replace(f"{key} = REMOVED\n", "")


def place_of(text: str, marker: str) -> tuple[int, int]:
    offset = text.index(marker)
    return text.count("\n", 0, offset) + 1, offset - (text.rfind("\n", 0, offset) + 1) + 1


def test_a_rule() -> None:
    rule = reading_of(RULE, ruleset="pack").rule
    assert rule is not None
    assert (rule.rule_id, rule.uuid, rule.name, rule.severity, rule.risk_score) == (
        "id-1",
        "id-1",
        "Example",
        "medium",
        47,
    )
    assert (rule.description, rule.query_text, rule.version, rule.index) == (
        "Two lines.",
        "process where true",
        1,
        ("logs-*",),
    )
    assert (rule.path, rule.ruleset, rule.look_back, rule.enabled) == ("r.toml", "pack", 360 * 10**9, True)
    assert pickle.loads(pickle.dumps(rule)) == rule


def test_every_key_has_its_field() -> None:
    text = (
        RULE
        + """\
version = 7
license = "L"
tags = [" a ", "b"]
references = ["https://example.com"]
false_positives = ["one\\n  two"]
building_block_type = "default"
event_category_override = "event.type"
timestamp_field = "event.created"
tiebreaker_field = "event.sequence"
enabled = false
from = "now-9m"
note = "# Note\\n\\ntext "
setup = "s"
interval = "5m"
to = "now"
max_signals = 33
timestamp_override = "event.ingested"
investigation_fields = { field_names = ["process.name"] }
[[rule.threat]]
framework = "MITRE ATT&CK"
tactic = { id = "TA0002", name = "Execution", reference = "https://attack.mitre.org/tactics/TA0002/" }
[transform]
x = 1
"""
    )
    reading = reading_of(text)
    rule = reading.rule
    assert reading.findings == ()
    assert reading.unknown_keys == ()
    assert rule is not None
    assert (rule.version, rule.license, rule.tags, rule.references) == (
        7,
        "L",
        ("a", "b"),
        ("https://example.com",),
    )
    assert (rule.false_positives, rule.building_block_type) == (("one two",), "default")
    assert (rule.category_field, rule.timestamp_field, rule.tiebreaker_field) == (
        "event.type",
        "event.created",
        "event.sequence",
    )
    assert (rule.enabled, rule.look_back) == (False, 540 * 10**9)
    assert rule.threat[0]["tactic"]["id"] == "TA0002"
    assert rule.extra == {
        "from": "now-9m",
        "note": "# Note\n\ntext",
        "setup": "s",
        "interval": "5m",
        "to": "now",
        "max_signals": 33,
        "timestamp_override": "event.ingested",
        "investigation_fields": {"field_names": ["process.name"]},
    }


WRONG = [
    ("rule_id", '""', "E410", "[rule]"),
    ("rule_id", "71", "E411", "71\n"),
    ("name", '"  "', "E410", "[rule]"),
    ("language", '"kuery"', "E411", '"kuery"'),
    ("type", "71", "E411", "71\n"),
    ("severity", '"High"', "E411", '"High"'),
    ("severity", "[]", "E411", "[]\n"),
    ("risk_score", "-1", "E411", "-1\n"),
    ("risk_score", "101", "E411", "101\n"),
    ("risk_score", "47.0", "E411", "47.0\n"),
    ("risk_score", "true", "E411", "true\n"),
    ("risk_score", '"47"', "E411", '"47"'),
    ("author", '"Example"', "E411", '"Example"\nd'),
    ("author", '["a", 5]', "E411", "5]"),
    ("index", '"logs-*"', "E411", '"logs-*"'),
    ("index", '["logs-*", " "]', "E411", '" "]'),
    ("description", "7", "E411", "7\n"),
    ("query", "71", "E411", "71\n"),
    ("query", "''", "E410", "[rule]"),
    ("version", "0", "E411", "0\n"),
    ("version", '"1.0.4"', "E411", '"1.0.4"'),
    ("enabled", '"yes"', "E411", '"yes"'),
    ("from", '"9m"', "E411", '"9m"'),
    ("from", '"now-0m"', "E411", '"now-0m"'),
    ("from", '"now-9M"', "E411", '"now-9M"'),
    ("from", '"now-1.5h"', "E411", '"now-1.5h"'),
    ("from", "540", "E411", "540\n"),
    ("interval", '"5 m"', "E411", '"5 m"'),
    ("to", '"tomorrow"', "E411", '"tomorrow"'),
    ("max_signals", "0", "E411", "0\n"),
    ("building_block_type", '"x"', "E411", '"x"'),
    ("event_category_override", '"a b"', "E411", '"a b"'),
    ("tiebreaker_field", "[]", "E411", "[]\n"),
    ("threat", "[{ framework = 'F' }]", "E411", "{ framework"),
    ("threat", "[{ framework = 'F', tactic = { id = 'T', name = 'N', reference = 5 } }]", "E411", "5 }"),
    ("threat", "{}", "E411", "{}"),
    ("references", '["a", ["b"]]', "E411", '["b"]'),
    ("investigation_fields", '{ field_names = "x" }', "E411", '"x"'),
    ("creation_date", '"2026-01-15"', "E411", '"2026-01-15"'),
    ("updated_date", "2026-01-15", "E411", "2026-01-15\n"),
    ("maturity", '"prodution"', "E411", '"prodution"'),
    ("filters", "[{}]", "E422", "{}]"),
    ("filters", '"x"', "E411", '"x"'),
    ("filters", '[{ query.match_all = {} }, { query.fuzzy.a = "b" }]', "E422", "{ query.fuzzy"),
    ("filters", '[{ meta.type = "combined" }]', "E422", "{ meta.type"),
    ("exceptions_list", '[{ list_id = "b", type = "nonsense" }]', "E411", '"nonsense"'),
    ("exceptions_list", '["b"]', "E411", '"b"]'),
    ("alert_suppression", "{ group_by = [] }", "E411", "[] }"),
    ("alert_suppression", '{ group_by = ["a", "b", "c", "d", "e", "f"] }', "E411", '["a", "b"'),
    ("alert_suppression", '{ group_by = ["a"], duration = { value = 0, unit = "m" } }', "E411", "0, unit"),
    ("alert_suppression", '{ group_by = ["a"], duration = { value = 1, unit = "w" } }', "E411", '"w"'),
    ("alert_suppression", '{ group_by = ["a"], missing_fields_strategy = "x" }', "E411", '"x" }'),
    ("severity_mapping", '[{ field = "a", severity = "Low" }]', "E411", '"Low"'),
    ("severity_mapping", '[{ field = "a", value = "b" }]', "E411", '{ field = "a", value'),
    ("severity_mapping", '[{ field = "a", value = 1.5, severity = "low" }]', "E411", "1.5"),
    ("risk_score_mapping", '[{ field = "a", operator = "is" }]', "E411", '"is"'),
    ("rule_name_override", '"a b"', "E411", '"a b"'),
    ("query", "'process where'", "E011", "'\n"),
    ("query", "'join by host.id [a where true] [b where true]'", "E305", "join"),
]
REASONS = {
    "E410": "schema_error",
    "E411": "schema_error",
    "E422": "unsupported_filter",
}
REASONS |= {"E011": "parse_error", "E305": "unsupported_syntax"}


@pytest.mark.parametrize(
    ("key", "value", "code", "marker"), WRONG, ids=[f"{w[0]}={w[1][:20]}" for w in WRONG]
)
def test_refused_with_code_and_place(key: str, value: str, code: str, marker: str) -> None:
    text = changed(key, value)
    reading = reading_of(text)
    assert reading.rule is None
    (found,) = [each for each in reading.findings if each.reason is not None]
    assert (found.code, found.reason) == (code, REASONS[code])
    assert (found.line, found.column) == place_of(text, marker)
    assert found.text.startswith(f"r.toml:{found.line}:{found.column}: error[{code}]: {found.message}")


@pytest.mark.parametrize(
    "key", ["author", "description", "language", "name", "query", "risk_score", "rule_id", "severity", "type"]
)
def test_required_keys(key: str) -> None:
    reading = reading_of(without(key))
    assert [(each.code, each.line) for each in reading.findings] == [("E410", 6)]
    assert f"`rule.{key}`" in reading.findings[0].message


def test_a_query_that_is_only_white_space_is_missing() -> None:
    assert [each.code for each in reading_of(changed("query", '"""\n  """')).findings] == ["E410"]


def test_one_finding_never_hides_the_next() -> None:
    text = changed("query", "'process where foo('", changed("severity", '"x"', changed("risk_score", "500")))
    found = reading_of(text).findings
    assert [each.code for each in found[:2]] == ["E411", "E411"]
    assert found[2].reason == "parse_error"


def test_findings_are_bounded() -> None:
    text = changed("tags", "[" + "5," * 3_000 + "]") + "".join(f"x{n} = 1\n" for n in range(1_000))
    reading = reading_of(text)
    assert len(reading.findings) == 50
    assert len(reading.unknown_keys) == 50


@pytest.mark.parametrize(
    ("quoted", "word"),
    [
        ("'process where foo(a)'", "foo"),
        ('"process where foo(a)"', "foo"),
        ("'''\nprocess where\n  foo(a)'''", "foo"),
        ('"""\nprocess where\r\n  foo(a)"""', "foo"),
        ('"""  process where \\"a\\" == \\"\\u0041\\\\n\\" or\\t \\\n    foo(a)  """', "foo"),
        ("'''process where a == \"é😀\" and foo(a)'''", "foo"),
    ],
)
def test_a_finding_in_the_query_points_into_the_file(quoted: str, word: str) -> None:
    text = changed("query", quoted)
    (found,) = reading_of(text).findings
    assert found.code == "E104"
    assert (found.line, found.column) == place_of(text.replace("\r\n", "\n"), word)


def test_a_query_in_an_inline_table_has_its_place_too() -> None:
    text = "metadata.maturity = 'production'\nrule = { type = 'eql', query = 'any where foo(a)' }\n"
    found = [each for each in reading_of(text).findings if each.code == "E104"]
    assert [(each.line, each.column) for each in found] == [place_of(text, "foo")]


def test_types_of_fields_reach_the_query_check() -> None:
    text = changed("query", "'process where process.pid == \"x\"'")
    assert reading_of(text).rule is not None
    assert [each.code for each in reading_of(text, types={"process.pid": "long"}).findings] == ["E108"]


@pytest.mark.parametrize(
    ("text", "warnings"),
    [
        (changed("risk_score", "22"), []),
        (changed("risk_score", "48"), ["W402"]),
        (changed("risk_score", "0", changed("severity", '"low"')), []),
        (changed("risk_score", "99", changed("severity", '"high"')), ["W402"]),
        (without("index"), ["W403"]),
        (changed("index", "[]"), ["W403"]),
        (changed("query", "'sequence [a where true] [b where true]'"), ["W405"]),
        (changed("rule_name_override", '"a.b"'), []),
        (changed("exceptions_list", '[{ id = "endpoint_list", type = "endpoint" }]'), ["W422"]),
        (changed("alert_suppression", '{ group_by = ["host.id"] }'), ["W423"]),
        (
            changed(
                "severity_mapping",
                '[{ field = "a", severity = "low" }]',
                changed("query", f"'{SEQUENCE}'"),
            ),
            ["W424"],
        ),
        (changed("rule_name_override", '"a"', changed("query", f"'{SEQUENCE}'")), ["W424"]),
        (changed("exceptions_list", "[]", changed("filters", "[]")), []),
        (changed("license", '""', changed("note", '""')), []),
        (changed("actions", "[{ anything = 1 }]"), []),
    ],
)
def test_warned_but_loaded(text: str, warnings: list[str]) -> None:
    reading = reading_of(text)
    assert reading.rule is not None
    assert [each.code for each in reading.findings] == warnings


def test_the_implicit_span_is_told() -> None:
    query = "'sequence by host.id [a where true] [b where true]'"
    for look_back, told in (("now-9m", "9m"), ("now-7200s", "2h"), ("now-90s", "90s"), ("now-1w/d", "7d")):
        reading = reading_of(changed("from", f'"{look_back}"', changed("query", query)))
        assert reading.rule is not None
        assert f"look-back of {told} " in reading.findings[0].message
        assert spelled_span(reading.rule.look_back) == told


@pytest.mark.parametrize(
    ("value", "selection", "selected"),
    [
        ('"production"', ("production",), True),
        ('"beta"', ("production",), False),
        ('"beta"', ("production", "beta"), True),
        ('"deprecated"', ("production", "deprecated"), False),
        ('"development"', ("development",), True),
    ],
)
def test_maturity(value: str, selection: tuple[str, ...], selected: bool) -> None:
    reading = reading_of(changed("maturity", value, changed("severity", '"low"')), maturity=selection)
    assert (reading.rule is not None) == selected
    assert all(each.reason is None for each in reading.findings)


def test_a_rule_that_is_not_selected_is_not_looked_at() -> None:
    reading = reading_of(changed("maturity", '"beta"', changed("severity", '"nonsense"')))
    assert (reading.rule, reading.findings, reading.rule_id) == (None, (), "id-1")


def test_no_maturity_is_development_and_says_so() -> None:
    assert [each.code for each in reading_of(without("maturity")).findings] == ["W404"]
    assert reading_of(without("maturity"), maturity=("development",)).rule is not None


@pytest.mark.parametrize("kind", ["query", "esql", "new_terms", "machine_learning", "threshold", "strange"])
def test_other_types_are_named_and_no_more(kind: str) -> None:
    (found,) = reading_of(changed("type", f'"{kind}"', without("severity"))).findings
    assert (found.code, found.reason) == ("E420", "unsupported_type")


def test_unknown_keys_are_kept_apart() -> None:
    reading = reading_of(RULE.replace("[rule]\n", "odd = 1\n[rule]\n") + "strange = 1\n[other]\n")
    assert reading.rule is not None
    assert [key for key, _ in reading.unknown_keys] == ["rule.strange", "metadata.odd", "other"]


def test_the_hash_is_of_the_content() -> None:
    moved = changed(
        "rule_id", '"id-1" # a note', RULE.replace('name = "Example"\n', "") + "name = 'Example'\n"
    )
    assert reading_of(RULE).rule.content_hash == reading_of(moved).rule.content_hash
    assert reading_of(RULE).rule.content_hash != reading_of(changed("name", '"Other"')).rule.content_hash
    assert len(content_hash({"a": 1})) == 64


@pytest.mark.parametrize(
    ("data", "code", "place"),
    [
        (b"a = [1, 2\nb = 3", "E403", (2, 1)),
        (b"a = 1\na = 2", "E403", (2, 6)),
        (b"x = 'open", "E403", (1, 10)),
        (b"", "E410", (1, 1)),
        (b"[metadata]\nmaturity = 'production'\n", "E410", (1, 1)),
        (b"rule = 5\nmetadata.maturity = 'production'", "E411", (1, 8)),
        (b"metadata = 5\n", "E411", (1, 12)),
        (b"ok = 1\nbad = '\xff'", "E402", (2, 8)),
        (b"\xff\xfe[\x00", "E402", (1, 1)),
        (b"a = " + b"[" * 4000, "E405", None),
        (b"a = [" + b"1," * 5000, "E443", (1, 1)),
        (b"a = " + b"9" * 5000, "E403", None),
        (b"#" * (MAX_BYTES + 1), "E404", (1, 1)),
        (b"\n" * 1000 + b"\x00", "E403", (1001, 1)),
    ],
    ids=range(14),
)
def test_files_that_are_no_rule(data: bytes, code: str, place: tuple[int, int] | None) -> None:
    (found,) = [
        each
        for each in read_bytes(data, "f", ReadOptions(maturity=("development", "production"))).findings
        if each.reason
    ]
    assert found.code == code
    assert place is None or (found.line, found.column) == place


def test_a_byte_order_mark_and_carriage_returns_do_not_matter() -> None:
    data = b"\xef\xbb\xbf" + changed("query", "'any where foo(a)'").replace("\n", "\r\n").encode()
    (found,) = read_bytes(data, "r.toml").findings
    assert (found.line, found.column) == place_of(changed("query", "'any where foo(a)'"), "foo")


def test_a_long_line_is_shown_around_its_caret() -> None:
    text = changed("name", "7" + " " * 5 + "#" + "x" * 100_000)
    assert len(reading_of(text).findings[0].text) < 500
    text = changed("tags", "[" + "'a', " * 4_000 + "5]")
    shown, caret = reading_of(text).findings[0].text.splitlines()[1:]
    assert shown[caret.index("^")] == "5"


@given(st.data())
def test_any_mutation_gives_a_rule_or_findings(data: st.DataObject) -> None:
    text = RULE + "[[rule.threat]]\nframework = 'F'\n[rule.threat.tactic]\nid = 'T'\n"
    at = data.draw(st.integers(0, len(text)))
    cut = data.draw(st.integers(0, 40))
    put = data.draw(st.text(st.sampled_from("[]{}='\"\\#\n.,a1é\x00 "), max_size=8))
    reading = reading_of(text[:at] + put + text[at + cut :])
    refusing = [each for each in reading.findings if each.reason is not None]
    assert reading.rule is None or not refusing
    for each in reading.findings:
        assert each.line >= 1
        assert each.column >= 1
        json.dumps(each.text)


@given(st.binary(max_size=200))
def test_any_bytes(data: bytes) -> None:
    assert read_bytes(data, "f").rule is None

"""Rules in JSON, YAML and exports: the same rule in each form, and what is wrong told with its place."""

import copy
import json
import time
from pathlib import Path
from typing import Any

import golden
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from detectord.rules.contents import ExceptionItem, ExceptionList, contents, kind_of_object, toml_exceptions
from detectord.rules.findings import Finding
from detectord.rules.jsontext import json_document
from detectord.rules.ledger import Loaded
from detectord.rules.load import load, read_bytes
from detectord.rules.objects import MAX_OBJECT, MAX_VALUES, Object
from detectord.rules.schema import Reading, ReadOptions
from detectord.rules.yamltext import yaml_documents

HERE = Path(__file__).parent
BAD = sorted(path for path in (HERE / "formats").iterdir() if path.suffix != ".out")
SUFFIXES = (".ndjson", ".jsonl", ".json", ".yml", ".yaml")

RULE: dict[str, Any] = {
    "id": "0d3b7a52-5f5e-4c1e-8a3e-1f1f8b1c9a10",
    "rule_id": "crane-1",
    "name": "Crane started by a clerk",
    "type": "eql",
    "language": "eql",
    "query": 'process where process.name == "crane"\n  and user.name == "clerk"',
    "severity": "medium",
    "risk_score": 47,
    "author": ["Harbour SOC"],
    "description": "A clerk has no business\nwith cranes.",
    "index": ["logs-*"],
    "version": 3,
    "from": "now-360s",
    "tags": ["OS: Linux"],
}
OF_KIBANA = {
    "created_at": "2026-01-02T03:04:05.000Z",
    "created_by": "elastic",
    "updated_at": "2026-01-03T03:04:05.000Z",
    "updated_by": "elastic",
    "immutable": False,
    "rule_source": {"type": "internal"},
    "revision": 2,
    "enabled": True,
    "interval": "5m",
    "to": "now",
    "output_index": "",
    "license": "",
    "setup": "",
    "meta": {},
    "throttle": None,
    "actions": [],
    "exceptions_list": [],
    "risk_score_mapping": [],
    "severity_mapping": [],
    "threat": [],
    "max_signals": 100,
    "related_integrations": [{"package": "endpoint", "version": "^8.2.0"}],
    "required_fields": [],
    "investigation_fields": {},
    "alert_suppression": None,
}
ASSET = {"id": "crane-1_3", "type": "security-rule", "attributes": RULE}
SUMMARY = {"exported_count": 1, "exported_rules_count": 1, "missing_rules": [], "missing_rules_count": 0}
CONNECTOR = {"id": "x", "type": "action", "attributes": {"actionTypeId": ".email", "name": "mail"}}
LIST = {"list_id": "clerks", "type": "detection", "name": "Clerks", "id": "y"}
ITEM = {
    "item_id": "one",
    "list_id": "clerks",
    "name": "One",
    "entries": [{"field": "user.id", "type": "match", "operator": "included", "value": "7"}],
}


def changed(**keys: Any) -> dict[str, Any]:
    return copy.deepcopy({**RULE, **keys})  # shared values would become aliases in YAML


def without(key: str) -> dict[str, Any]:
    return {name: value for name, value in RULE.items() if name != key}


def read(text: str | bytes, suffix: str, **options: Any) -> list[Any]:
    data = text if isinstance(text, bytes) else text.encode()
    return list(contents(data, f"r{suffix}", suffix, ReadOptions(**options)))


def rules_of(text: str | bytes, suffix: str) -> list[Any]:
    return [each.rule for each in read(text, suffix) if isinstance(each, Reading) and each.rule is not None]


def findings_of(text: str | bytes, suffix: str) -> list[Finding]:
    return [found for each in read(text, suffix) if isinstance(each, Reading) for found in each.findings]


def ids(loaded: Loaded) -> list[str]:
    return [rule.rule_id for rule in loaded.rules]


# --- the same rule in every form -------------------------------------------------------------


def lines(*values: object) -> str:
    return "\n".join(json.dumps(value) for value in values)


FORMS = {
    "line": (lines(RULE), ".ndjson"),
    "lines with blank ones": (f"\n{lines(RULE)}\r\n\n", ".jsonl"),
    "asset": (lines(ASSET), ".json"),
    "asset on a line": (lines(ASSET), ".ndjson"),
    "object": (json.dumps(RULE, indent=2), ".json"),
    "array": (json.dumps([RULE], indent=1), ".json"),
    "kibana": (lines({**RULE, **OF_KIBANA}, LIST, ITEM, CONNECTOR, SUMMARY), ".ndjson"),
    "yaml": (yaml.safe_dump(RULE), ".yml"),
    "yaml list": (yaml.safe_dump([RULE], sort_keys=False), ".yaml"),
    "yaml flow": (json.dumps(RULE), ".yaml"),
    "with a byte-order mark": ("\ufeff" + json.dumps(RULE), ".json"),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_rule_in_every_form(form: str) -> None:
    (rule,) = rules_of(*FORMS[form])
    uuid = "crane-1" if form.startswith("asset") and "id" not in RULE else RULE["id"]
    assert (rule.rule_id, rule.uuid, rule.name, rule.version) == ("crane-1", uuid, RULE["name"], 3)
    assert (rule.query_text, rule.description) == (RULE["query"], "A clerk has no business with cranes.")
    assert (rule.severity, rule.risk_score, rule.index, rule.tags) == (
        "medium",
        47,
        ("logs-*",),
        ("OS: Linux",),
    )
    assert rule.look_back == 360 * 10**9
    assert not [found for found in findings_of(*FORMS[form]) if found.code != "W402"]


def test_what_kibana_says_of_a_rule() -> None:
    (rule,) = rules_of(*FORMS["kibana"])
    assert rule.integrations == ("endpoint",)
    assert (rule.extra["immutable"], rule.extra["revision"]) == (False, 2)
    assert rule.suppression is None
    assert not [
        key for each in read(*FORMS["kibana"]) if isinstance(each, Reading) for key in each.unknown_keys
    ]


def test_the_hash_does_not_follow_what_kibana_notes() -> None:
    (one,), (other,), (different,) = (
        rules_of(lines({**RULE, "updated_at": at, "severity": severity}), ".ndjson")
        for at, severity in (("a", "medium"), ("b", "medium"), ("b", "low"))
    )
    assert one.content_hash == other.content_hash != different.content_hash


def test_a_rule_without_rule_id_has_its_id() -> None:
    (rule,) = rules_of(lines(without("rule_id")), ".ndjson")
    assert (rule.rule_id, rule.uuid) == (RULE["id"], RULE["id"])


def test_several_rules_in_a_file() -> None:
    three = [changed(rule_id=name) for name in "abc"]
    for text, suffix in (
        (lines(*three), ".ndjson"),
        (lines(*three), ".json"),
        (json.dumps(three), ".json"),
        (json.dumps(three[:2]) + json.dumps(three[2]), ".json"),
        (yaml.safe_dump(three), ".yml"),
        (yaml.safe_dump_all(three), ".yml"),
        ("---\n---\n" + yaml.safe_dump_all(three), ".yml"),
    ):
        assert [rule.rule_id for rule in rules_of(text, suffix)] == ["a", "b", "c"], text[:40]


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (SUMMARY, "summary"),
        ({"exported_rules_count": 3}, "summary"),
        (ASSET, "asset"),
        (CONNECTOR, "connector"),
        (ITEM, "item"),
        ({"list_id": "a", "entries": []}, "item"),
        (LIST, "list"),
        ({"list_id": "a", "type": "endpoint"}, "list"),
        ({"list_id": "a", "type": "detection", "query": "x", "rule_id": "r"}, "rule"),
        (RULE, "rule"),
        ({"id": "x", "type": "threshold"}, "rule"),
        ({"id": "x", "type": "dashboard"}, "nothing"),
        ({"list_id": "a", "type": "shopping"}, "nothing"),
        ({}, "nothing"),
    ],
)
def test_what_an_object_is(value: dict[str, Any], kind: str) -> None:
    assert kind_of_object(value) == kind


def test_lists_and_items_come_out(tmp_path: Path) -> None:
    found = read(lines(LIST, ITEM, RULE), ".ndjson")
    assert found[0] == ExceptionList("clerks")
    assert isinstance(found[1], ExceptionItem)
    assert (found[1].list_id, found[1].value) == ("clerks", ITEM)
    assert found[1].left_out("why").line == 2


@pytest.mark.parametrize(
    ("key", "what"),
    [
        ("missing_rules_count", "rules"),
        ("missing_exception_lists_count", "exception lists"),
        ("missing_exception_list_items_count", "exception items"),
    ],
)
def test_an_export_that_is_not_complete(key: str, what: str) -> None:
    (found,) = findings_of(lines(RULE, {**SUMMARY, key: 2}), ".ndjson")
    assert (found.code, found.line) == ("W425", 2)
    assert f"2 of its {what}" in found.message


def test_other_types_and_maturities() -> None:
    (found,) = findings_of(lines(changed(type="esql")), ".ndjson")
    assert (found.code, found.reason) == ("E420", "unsupported_type")
    (reading,) = read(lines(RULE), ".ndjson", maturity=("beta",))
    assert (reading.rule, reading.findings) == (None, ())


def test_a_data_view_is_no_index_gate() -> None:
    assert [
        each.code for each in findings_of(lines({**without("index"), "data_view_id": "d"}), ".ndjson")
    ] == ["W426"]
    assert [each.code for each in findings_of(lines(without("index")), ".ndjson")] == ["W403"]


# --- what is wrong, and where ----------------------------------------------------------------


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.name)
def test_bad_files(path: Path, update_goldens: bool) -> None:
    found = [
        each.text
        for reading in contents(path.read_bytes(), path.name, path.suffix)
        if isinstance(reading, Reading)
        for each in (*reading.findings, *(unknown for _, unknown in reading.unknown_keys))
    ]
    golden.check(path.with_name(path.name + ".out"), "\n".join(found) + "\n", update=update_goldens)


def place_of(text: str, marker: str) -> tuple[int, int]:
    offset = text.index(marker)
    return text.count("\n", 0, offset) + 1, offset - (text.rfind("\n", 0, offset) + 1) + 1


WRITTEN = {
    "a line": lambda rule: (lines(RULE, rule), ".ndjson"),
    "an object": lambda rule: (json.dumps(rule, indent=2), ".json"),
    "an element": lambda rule: (json.dumps([RULE, rule], indent=1), ".json"),
    "an asset": lambda rule: (json.dumps({**ASSET, "attributes": rule}), ".json"),
    "yaml": lambda rule: (yaml.safe_dump(rule, width=1000, allow_unicode=True), ".yml"),
    "a yaml element": lambda rule: (
        yaml.safe_dump([changed(), rule], width=1000, allow_unicode=True),
        ".yml",
    ),
}


@pytest.mark.parametrize("form", WRITTEN)
def test_places_of_values(form: str) -> None:
    text, suffix = WRITTEN[form](changed(severity="XYZ"))
    (found,) = findings_of(text, suffix)
    line, column = place_of(text, "XYZ")
    assert (found.code, found.line) == ("E411", line)
    assert found.column in (column, column - 1)  # at the quote, where there is one
    assert f"{'attributes.' if form == 'an asset' else ''}severity` must be" in found.message


@pytest.mark.parametrize("form", [form for form in WRITTEN if "yaml" not in form])
def test_places_in_the_query_of_json(form: str) -> None:
    query = 'process where\n\ta == "\\"é😀" and\n  zork(a)'
    text, suffix = WRITTEN[form](changed(query=query))
    (found,) = findings_of(text, suffix)
    assert (found.code, found.line, found.column) == ("E104", *place_of(text, "zork"))
    assert found.text.splitlines()[1].count("zork") == 1


@pytest.mark.parametrize(
    "query",
    [
        "|\n    process where\n      zork(a)\n",
        '|-\n    process where a == "é😀" and\n\n      zork(a)',
        "process where zork(a)",
        "'process where zork(a)'",
        '"process where zork(a)"',
    ],
)
def test_places_in_the_query_of_yaml(query: str) -> None:
    text = yaml.safe_dump(without("query")) + f"query: {query}\n"
    (found,) = findings_of(text, ".yml")
    assert (found.code, found.line, found.column) == ("E104", *place_of(text, "zork"))


@pytest.mark.parametrize(
    "query",
    [
        ">\n  process where\n  zork(a)\n",
        "process where\n  zork(a)",
        '"process where\\n zork(a)"',
        "'process where a == \"it''s\" and zork(a)'",
    ],
)
def test_a_query_that_is_written_otherwise_has_the_place_of_its_key(query: str) -> None:
    text = yaml.safe_dump(without("query")) + f"query: {query}\n"
    (found,) = findings_of(text, ".yml")
    assert (found.code, found.line, found.column) == ("E104", *place_of(text, query))


def test_an_error_in_a_line_does_not_touch_the_others(tmp_path: Path) -> None:
    text = b"\n".join(
        [lines(changed(rule_id="a")).encode(), b"{", b"\xff", b"7", lines(changed(rule_id="b")).encode()]
    )
    (tmp_path / "r.ndjson").write_bytes(text)
    loaded = load([tmp_path])
    assert ids(loaded) == ["a", "b"]
    assert [(each.code, each.line) for each in loaded.refused] == [("E440", 2), ("E402", 3), ("E444", 4)]


def test_an_error_in_an_element_does_not_touch_the_others() -> None:
    text = f"[{json.dumps(changed(rule_id='a'))}, {{x}}, {json.dumps(changed(rule_id='b'))},\n nul]"
    assert [rule.rule_id for rule in rules_of(text, ".json")] == ["a", "b"]
    assert [(each.code, each.line) for each in findings_of(text, ".json")] == [("E440", 1), ("E440", 2)]


# --- bounds ----------------------------------------------------------------------------------


def test_what_is_too_large() -> None:
    long = lines(changed(note="x" * MAX_OBJECT))
    for text, suffix in (
        (long, ".ndjson"),
        (long, ".json"),
        (long, ".yml"),
        ("é" * MAX_OBJECT * 3, ".ndjson"),
    ):
        assert [each.code for each in findings_of(text, suffix)] == ["E404"], suffix
    many = json.dumps(changed(tags=["x"] * MAX_VALUES), separators=(",", ":"))
    deep = lines(changed(meta="DEEP")).replace('"DEEP"', "[" * 40 + "]" * 40)
    for suffix in (".ndjson", ".json", ".yml"):
        assert [each.code for each in findings_of(many, suffix)] == ["E443"], suffix
        assert [each.code for each in findings_of(deep, suffix)] == ["E405"], suffix


def test_errors_of_a_file_are_bounded(tmp_path: Path) -> None:
    (tmp_path / "r.ndjson").write_text("1\n" * 20_000)
    loaded = load([tmp_path])
    assert len(loaded.refused) == 10_001
    assert (loaded.refused[-1].code, loaded.refused[-1].reason) == ("E447", "parse_error")


@pytest.mark.parametrize(
    ("text", "suffix"),
    [
        ("[" * 500_000, ".json"),
        ("{" * 500_000, ".json"),
        ("[" + "0," * 400_000, ".json"),
        ('"' * 500_000, ".json"),
        ("\\" * 500_000, ".json"),
        ('["' + "\\\\" * 250_000, ".json"),
        ("[" * 500_000, ".yml"),
        ("- " * 250_000, ".yml"),
        ("{a: " * 100_000, ".yml"),
        ("a: &a [1]\nb: [" + "*a," * 100_000 + "]", ".yml"),
        ("? " * 100_000, ".yml"),
        ("'" * 500_000, ".yml"),
        ("a: |\n" + " x\n" * 200_000, ".yml"),
        ("- 1\n" * 100_000, ".yml"),
        ("{}\n" * 100_000, ".ndjson"),
    ],
    ids=range(15),
)
def test_hostile_texts_take_no_time(tmp_path: Path, text: str, suffix: str) -> None:
    (tmp_path / f"r{suffix}").write_text(text)
    started = time.process_time()
    assert load([tmp_path]).refused
    assert time.process_time() - started < 10


# --- whatever comes, it ends in rules or findings --------------------------------------------

PIECES = st.sampled_from(
    [*'[]{}:,"\\|>-*&!?#%@`\'\n\t 0eE.+', "\\u", "d800", "\\ud83d\\ude00", "null", "true", "- ", "---\n",
     "a: ", "<<: ", "!!int ", "*a", "&a ", "\r\n", "\x00", "\x85", "\u2028", "\ufeff", "é", "😀",
     json.dumps(RULE), json.dumps(ITEM)]
)  # fmt: skip


def holds(found: Any, text: str) -> bool:
    """The finding's place is in the text."""
    count = text.count("\n") + 1
    return 1 <= found.line <= count and 1 <= found.column <= len(text) + 2


@settings(max_examples=400, deadline=None)
@given(st.one_of(st.text(), st.lists(PIECES).map("".join)), st.sampled_from(SUFFIXES))
def test_any_text(text: str, suffix: str) -> None:
    data = text.encode("utf-8", "surrogatepass")
    for each in contents(data, "r", suffix):
        if isinstance(each, Reading):
            assert each.rule is not None or each.findings
            assert all(holds(found, data.decode("utf-8", "replace")) for found in each.findings)


@settings(max_examples=200, deadline=None)
@given(st.binary(), st.sampled_from((*SUFFIXES, ".toml")))
def test_any_bytes(data: bytes, suffix: str) -> None:
    if suffix == ".toml":
        assert read_bytes(data, "r").findings or read_bytes(data, "r").rule is None
        assert list(toml_exceptions(data, "r"))
    else:
        assert isinstance(list(contents(data, "r", suffix)), list)


def values(text: st.SearchStrategy[str]) -> st.SearchStrategy[Any]:
    scalars = st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), text
    )
    return st.recursive(
        scalars,
        lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(text, inner, max_size=3)),
        max_leaves=6,
    )


VALUES = values(st.text(max_size=5))
PRINTABLE = st.text(st.characters(exclude_categories=("Cc", "Cs", "Cn", "Zl", "Zp", "Cf")), max_size=5)
"""What YAML lets stand in quotes as it is."""
KEYS = st.sampled_from(
    [*RULE, *OF_KIBANA, "filters", "alert_suppression", "exceptions_list", "threat_mappings"]
)


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(KEYS, VALUES, max_size=4), st.sampled_from(["json", "yaml"]))
def test_any_value_of_any_key(keys: dict[str, Any], form: str) -> None:
    rule = {**copy.deepcopy(RULE), **keys}
    text = json.dumps(rule) if form == "json" else yaml.safe_dump(rule, allow_unicode=True)
    suffix = ".json" if form == "json" else ".yml"
    for each in read(text, suffix):
        assert not isinstance(each, Reading) or each.rule is not None or each.findings


@settings(max_examples=300, deadline=None)
@given(VALUES)
def test_json_is_read_as_json_reads_it(value: Any) -> None:
    text = json.dumps([value], ensure_ascii=False, indent=1)
    (found,) = list(json_document(text, "r"))
    assert isinstance(found, Object)
    assert found.value == value


@settings(max_examples=300, deadline=None)
@given(values(PRINTABLE))
def test_yaml_is_read_as_json_reads_it(value: Any) -> None:
    text = json.dumps([value, value], ensure_ascii=False)
    found = list(yaml_documents(text, "r"))
    assert [each.value for each in found if isinstance(each, Object)] == [value, value]


def paths_of(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[tuple[Any, ...], Any]]:
    inner = enumerate(value) if isinstance(value, list) else value.items() if isinstance(value, dict) else ()
    return [(path, value), *(each for key, item in inner for each in paths_of(item, (*path, key)))]


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(st.text(min_size=1, max_size=5), st.text(max_size=8), max_size=4), st.booleans())
def test_places_of_strings_are_never_wrong(value: dict[str, str], as_yaml: bool) -> None:
    text = yaml.safe_dump(value, allow_unicode=True) if as_yaml else json.dumps(value, ensure_ascii=False)
    document = yaml_documents if as_yaml else json_document
    for found in document(text, "r"):
        assert isinstance(found, Object)
        for path, inner in paths_of(found.value):
            offsets = found.places.string(path)
            if isinstance(inner, str) and offsets is not None:
                assert len(offsets) == len(inner) + 1
                shown = [found.places.text[offset : offset + 1] for offset in offsets[:-1]]
                assert all(c in (s, "\n") or s == "\\" for c, s in zip(inner, shown, strict=True))

"""What a file of rules holds besides one TOML rule: exports, assets, lists of exceptions.

An export of Kibana has an object a line: rules, then the exception lists and items they refer to, then
connectors and a summary. A Fleet asset wraps a rule; a JSON or YAML file holds rules as they are. What an
object is, it tells by its keys; one that is nothing of all this is an error, and the others load.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from detectord.eql.source import Source
from detectord.rules.document import of_object
from detectord.rules.exceptions import ENDPOINT_TYPES, LIST_TYPES
from detectord.rules.findings import Finding, RuleCode, finding, kind_of
from detectord.rules.jsontext import json_document, json_lines
from detectord.rules.objects import MAX_OBJECT, Object, Places, TextError
from detectord.rules.places import Path
from detectord.rules.schema import NO_OPTIONS, Reading, ReadOptions, read_rule
from detectord.rules.tomltext import decoded, readable, toml_document
from detectord.rules.yamltext import yaml_documents

LINES = frozenset((".ndjson", ".jsonl"))
DOCUMENTS = frozenset((".json", ".yml", ".yaml"))
MAX_LINES_BYTES = 64 * 1024 * 1024
"""An export may be this long; each of its lines has the bound of one object."""
MAX_DOCUMENT_BYTES = 16 * 1024 * 1024
RULE_TYPES = frozenset(
    (
        *("eql", "esql", "machine_learning", "new_terms", "query", "saved_query"),
        *("threat_match", "threshold"),
    )
)

Kind = Literal["summary", "asset", "connector", "item", "list", "rule", "nothing"]


@dataclass(frozen=True, slots=True)
class ExceptionList:
    """A list of exceptions, which may have no items."""

    list_id: str


@dataclass(frozen=True, slots=True)
class ExceptionItem:
    """An item of a list, not looked into yet; `left_out` makes the finding that it is not applied."""

    list_id: str
    value: Mapping[str, Any]
    left_out: Callable[[str], Finding]


Content = Reading | ExceptionList | ExceptionItem


def kind_of_object(value: Mapping[str, Any]) -> Kind:
    """What an object of a rule file is."""
    if "exported_count" in value or "exported_rules_count" in value:
        return "summary"
    attributes = value.get("attributes")
    if isinstance(attributes, dict):
        return "asset" if "rule_id" in attributes else "connector"
    if "item_id" in value or ("entries" in value and "list_id" in value):
        return "item"
    if "list_id" in value and value.get("type") in (*LIST_TYPES, *ENDPOINT_TYPES) and "query" not in value:
        return "list"
    if "rule_id" in value or ("id" in value and value.get("type") in RULE_TYPES):
        return "rule"
    return "nothing"


def objects_of(data: bytes, file: str, suffix: str) -> Iterator[Object | Finding]:
    """The objects in the bytes of a file whose name ends in `suffix`."""
    if suffix in LINES:
        yield from _lines(data, file)
        return
    if len(data) > MAX_DOCUMENT_BYTES:
        yield finding(RuleCode.TOO_LARGE, {"limit": MAX_DOCUMENT_BYTES}, Source("", file))
        return
    try:
        text = decoded(data)
    except TextError as error:
        yield error.finding(file, readable(data))
        return
    if suffix == ".json":
        yield from json_document(text, file)
    else:
        yield from yaml_documents(text.replace("\r\n", "\n"), file)


def _lines(data: bytes, file: str) -> Iterator[Object | Finding]:
    """The objects of an export, line by line."""
    if len(data) > MAX_LINES_BYTES:
        yield finding(RuleCode.TOO_LARGE, {"limit": MAX_LINES_BYTES}, Source("", file))
        return
    at, number = 0, 0
    while at < len(data):
        end = data.find(b"\n", at)
        end = len(data) if end < 0 else end
        number += 1
        # A character has at most four bytes: beyond that a line is too long however it is written
        line = data[at : min(end, at + 4 * MAX_OBJECT + 4)]
        at = end + 1
        try:
            text = decoded(line) if number == 1 else line.decode()
        except (TextError, UnicodeDecodeError):
            if len(line) <= 4 * MAX_OBJECT:
                yield _not_utf8(line, file, number)
                continue
            text = " " * MAX_OBJECT + "…"  # cut in the middle of a character: too long anyway
        yield from json_lines(iter(((number, text),)), file)


def _not_utf8(line: bytes, file: str, number: int) -> Finding:
    try:
        decoded(line)
    except TextError as error:
        return error.finding(file, readable(line), (number, 1))
    raise AssertionError("a line without a byte-order mark that is UTF-8 with one")


def contents(
    data: bytes,
    file: str,
    suffix: str,
    options: ReadOptions = NO_OPTIONS,
    *,
    only_exceptions: bool = False,
) -> Iterator[Content]:
    """What the bytes of a JSON or YAML file or an export hold, in order.

    Where there may be `only_exceptions`, a rule is left out with a warning.
    """
    for each in objects_of(data, file, suffix):
        if isinstance(each, Finding):
            yield Reading("", "", (each,))
        else:
            found = _content(each, file, options, only_exceptions)
            if found is not None:
                yield found


def _content(each: Object, file: str, options: ReadOptions, only_exceptions: bool) -> Content | None:
    """What one object is; None if it is of no concern here."""

    def found(code: RuleCode, path: Path = (), **args: object) -> Reading:
        source = Source(each.places.text, file, origin=each.origin)
        return Reading("", "", (finding(code, args, source, each.places.of(path)),), is_rule=False)

    value = each.value
    if not isinstance(value, dict):
        return found(RuleCode.NOT_AN_OBJECT, actual=kind_of(value))
    match kind_of_object(value):
        case "summary":
            return _missing(value, found)
        case "connector":
            return None
        case "item" | "list" as kind:
            return _of_list(value, kind, each.places, file, each.origin) or found(
                RuleCode.WRONG_VALUE,
                ("list_id",),
                key="list_id",
                expected="a string",
                actual=kind_of(value.get("list_id")),
            )
        case "rule" | "asset" as kind:
            if only_exceptions:
                return found(RuleCode.LEFT_OUT_HERE)
            at: Path = ("attributes",) if kind == "asset" else ()
            rule = value["attributes"] if kind == "asset" else value
            return read_rule(of_object(rule, at, file, each.places, each.origin), options)
    return found(RuleCode.NOT_A_RULE)


def _missing(summary: Mapping[str, Any], found: Callable[..., Reading]) -> Reading | None:
    """A warning if the export says that it is not complete."""
    for key, what in (
        ("missing_rules_count", "rules"),
        ("missing_exception_lists_count", "exception lists"),
        ("missing_exception_list_items_count", "exception items"),
        ("missing_action_connection_count", "connectors"),
    ):
        count = summary.get(key)
        if isinstance(count, int) and count > 0:
            return found(RuleCode.MISSING_FROM_EXPORT, (key,), count=count, what=what)
    return None


def _of_list(
    value: Mapping[str, Any], kind: str, places: Places, file: str, origin: tuple[int, int], at: Path = ()
) -> ExceptionList | ExceptionItem | None:
    """A list, or an item of one; None if it does not say of which."""
    list_id = value.get("list_id")
    if not isinstance(list_id, str) or not list_id.strip():
        return None
    if kind == "list":
        return ExceptionList(list_id.strip())
    name = value.get("name") or value.get("item_id") or list_id

    def left_out(why: str) -> Finding:
        source = Source(places.text, file, origin=origin)
        args = {"name": name, "why": why}
        return finding(RuleCode.EXCEPTION_LEFT_OUT, args, source, places.of(at))

    return ExceptionItem(list_id.strip(), value, left_out)


# --- exceptions in TOML ----------------------------------------------------------------------


def toml_exceptions(data: bytes, file: str) -> Iterator[Content]:
    """The lists and items in the bytes of a TOML file: `[[exceptions]]`, each with a `container`, which is
    the list, and `items`."""
    parsed = toml_document(data, file)
    if isinstance(parsed, Finding):
        yield Reading("", "", (parsed,))
        return
    document, places = parsed

    def wrong(path: Path, error: str) -> Reading:
        source = Source(places.text, file)
        return Reading("", "", (finding(RuleCode.NOT_EXCEPTIONS, {"error": error}, source, places.of(path)),))

    groups = document.get("exceptions")
    if not isinstance(groups, list) or not groups:
        yield wrong((), "it has no [[exceptions]]")
        return
    for position, group in enumerate(groups):
        path: Path = ("exceptions", position)
        container = group.get("container") if isinstance(group, dict) else None
        known = _of_list(container, "list", places, file, (1, 1)) if isinstance(container, dict) else None
        if known is None:
            yield wrong(path, "a group has no `container` with a `list_id`")
            continue
        yield known
        items = group.get("items", [])
        for number, item in enumerate(items if isinstance(items, list) else [items]):
            place: Path = (*path, "items", number)
            if not isinstance(item, dict):
                yield wrong(place, "an item is no table")
                continue
            named = {"list_id": known.list_id, **item}
            yield _of_list(named, "item", places, file, (1, 1), place) or wrong(
                place, "`list_id` is not a text"
            )

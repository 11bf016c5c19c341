"""Exception lists: which events a rule leaves alone.

A list has items, an item has entries; an event to which every entry of some item applies does not exist for
the rules that refer to the list. Lists and items come from exports and from files in directories called
`exceptions`, in any order; rules name them by `list_id`.

Rule 1: what is not understood is left out with a reason: too many alerts are better than too few.
Rule 2: the time is handed in; an item that has expired by then is left out.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from detectord.eql import ast
from detectord.rules import prefilter
from detectord.rules.findings import Finding
from detectord.rules.prefilter import equals, exists, is_one_of, is_scalar, like

LIST_TYPES = ("detection", "rule_default")
ENDPOINT_TYPES = (
    "endpoint",
    "endpoint_blocklists",
    "endpoint_events",
    "endpoint_host_isolation_exceptions",
    "endpoint_trusted_apps",
    "endpoint_trusted_devices",
)
_VARIABLE = "$item"


class ExceptionItemError(Exception):
    """An item that cannot be applied; the message says why."""


@dataclass
class ExceptionLists:
    """The lists of one load: which there are, and their items' conditions."""

    known: set[str] = field(default_factory=set)
    items: dict[str, list[ast.Expr]] = field(default_factory=dict)

    def add_list(self, list_id: str) -> None:
        """A list, perhaps without items."""
        self.known.add(list_id)

    def add_item(self, list_id: str, condition: ast.Expr) -> None:
        """An item; its list counts as known."""
        self.known.add(list_id)
        self.items.setdefault(list_id, []).append(condition)

    def excluding(self, list_ids: Sequence[str]) -> ast.Expr | None:
        """What an event must satisfy to be on none of the lists; None if they have no items."""
        unique = dict.fromkeys(list_ids)
        conditions = [condition for list_id in unique for condition in self.items.get(list_id, ())]
        return ast.Not(prefilter.some(conditions)) if conditions else None


@dataclass(frozen=True, slots=True)
class ListReference:
    """A rule's reference to a list, and the finding to keep if there is no such list."""

    list_id: str
    unresolved: Finding


def item_condition(
    item: Mapping[str, Any], types: Mapping[str, str], now: datetime.datetime | None
) -> ast.Expr:
    """What an event satisfies that the item is about.

    `types` are the Elasticsearch types of fields by path. Without `now` nothing is expired.

    Raises:
        ExceptionItemError: the item is not understood, or has expired.
    """
    _check_expiry(item.get("expire_time"), now)
    entries = item.get("entries")
    if not isinstance(entries, list) or not entries:
        raise ExceptionItemError("it has no entries")
    conditions = [_entry(entry, "") for entry in entries]
    systems = item.get("os_types") or []
    if not isinstance(systems, list) or not all(isinstance(each, str) for each in systems):
        raise ExceptionItemError("`os_types` is not a list of texts")
    condition = prefilter.joined([prefilter.on_systems(systems), *conditions])
    assert condition is not None
    if wrong := prefilter.trouble(condition, types):
        raise ExceptionItemError(wrong)
    return condition


def _check_expiry(expires: object, now: datetime.datetime | None) -> None:
    if not expires:
        return
    try:
        when = datetime.datetime.fromisoformat(str(expires))
    except ValueError:
        raise ExceptionItemError("`expire_time` is no time") from None
    if when.tzinfo is None:
        when = when.replace(tzinfo=datetime.UTC)
    if now is not None and when <= now:
        raise ExceptionItemError(f"it expired at {expires}")


def _entry(entry: Any, scope: str) -> ast.Expr:
    if not isinstance(entry, dict):
        raise ExceptionItemError("an entry is no object")
    name, kind, operator = entry.get("field"), entry.get("type"), entry.get("operator", "included")
    if not isinstance(name, str) or not name.strip():
        raise ExceptionItemError("an entry names no field")
    if operator not in ("included", "excluded"):
        raise ExceptionItemError(f"the operator `{operator}` is unknown")
    condition = _test(ast.Field(name.strip(), scope=scope), kind, entry)
    return ast.Not(condition) if operator == "excluded" else condition


def _test(of: ast.Field, kind: object, entry: Mapping[str, Any]) -> ast.Expr:
    value = entry.get("value")
    match kind:
        case "match" if is_scalar(value):
            return equals(of, value)  # type: ignore[arg-type]  # the guard says so
        case "match_any" if isinstance(value, list) and value and all(map(is_scalar, value)):
            return is_one_of(of, value)
        case "wildcard" if isinstance(value, str):
            return like(of, value)
        case "exists":
            return exists(of)
        case "nested" if not of.scope:
            return _nested(of, entry.get("entries"))
        case "list":
            raise ExceptionItemError("value lists are not supported")
        case "match" | "match_any" | "wildcard" | "nested":
            raise ExceptionItemError(f"the value of an entry of the type `{kind}` is not one for it")
    raise ExceptionItemError(f"the entry type `{kind}` is unknown")


def _nested(array: ast.Field, entries: object) -> ast.Expr:
    """Some object of the array satisfies all entries; these name its fields without the array's path."""
    if not isinstance(entries, list) or not entries:
        raise ExceptionItemError("a nested entry has no entries")
    conditions = [_entry(entry, _VARIABLE) for entry in entries]
    return ast.ArraySearch(array, _VARIABLE, prefilter.every(conditions))

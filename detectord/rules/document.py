"""Where a rule stands in a file: the three ways of writing one, brought into one form.

A rule is
the [rule] table of a TOML file with [metadata] beside it; the same keys flat in an object of an export, a
Fleet asset, JSON or YAML; or the [rule] table of an endpoint behaviour rule, which has other names for some
keys and lacks others.

All strings lose the white space around them. A key whose value is an empty string, or in an object null or
{}, is not set.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from detectord.rules import keys
from detectord.rules.objects import Places
from detectord.rules.places import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One rule as its file has it.

    `table` holds the rule's keys under the names of Elastic's rules, unset ones left out; `at` is the path of
    the object they stand in, `elsewhere` the whole paths of keys that stand in another place or under
    another name. `hashed` is what the content hash is made of. `others` are the paths of what stands
    beside the rule unasked.
    """

    file: str
    places: Places
    origin: tuple[int, int] = (1, 1)
    at: Path
    table: Mapping[str, Any]
    hashed: Mapping[str, Any]
    elsewhere: Mapping[str, Path] = field(default_factory=dict)
    metadata: Mapping[str, Any] | None = None
    others: tuple[Path, ...] = ()
    is_endpoint: bool = False

    def place(self, path: Path) -> Path:
        """Where the value at `path` of the table stands in the file."""
        key, *rest = path
        return (*self.elsewhere.get(str(key), (*self.at, key)), *rest)


def of_object(
    value: Mapping[str, Any], at: Path, file: str, places: Places, origin: tuple[int, int]
) -> Document:
    """The rule that an object of an export, a Fleet asset, JSON or YAML is."""
    table = {key: each for key, each in _set(value).items() if each is not None and each != {}}
    elsewhere: dict[str, Path] = {}
    if "rule_id" not in table and "id" in table:
        table["rule_id"] = table["id"]
        elsewhere["rule_id"] = (*at, "id")
    hashed = {key: each for key, each in value.items() if key not in keys.NOT_HASHED}
    return Document(
        file=file, places=places, origin=origin, at=at, table=table, hashed=hashed, elsewhere=elsewhere
    )


def of_toml(document: Mapping[str, Any], file: str, places: Places) -> Document:
    """The rule of a TOML file, whose tables `rule` and `metadata` are tables."""
    rule = _set(document.get("rule", {}))
    if "id" in rule and "rule_id" not in rule and "type" not in rule:
        return _of_endpoint(document, rule, file, places)
    return Document(
        file=file,
        places=places,
        at=("rule",),
        table=rule,
        hashed=document.get("rule", {}),
        metadata=_set(document.get("metadata", {})),
        others=tuple((name,) for name in document if name not in keys.TABLES),
    )


def _of_endpoint(document: Mapping[str, Any], rule: dict[str, Any], file: str, places: Places) -> Document:
    """An endpoint behaviour rule under the names of a detection rule."""
    renamed = {"rule_id": "id", "references": "reference", "artifact_version": "version"}
    table = {key: value for key, value in rule.items() if key not in renamed.values()}
    table |= {name: rule[written] for name, written in renamed.items() if written in rule}
    if isinstance(table.get("references"), str):
        table["references"] = [table["references"]]
    elsewhere: dict[str, Path] = {name: ("rule", written) for name, written in renamed.items()}
    if "threat" in document:
        table["threat"], elsewhere["threat"] = _stripped(document["threat"]), ("threat",)
    return Document(
        file=file,
        places=places,
        at=("rule",),
        table=table,
        hashed={**document["rule"], "threat": document.get("threat", [])},
        elsewhere=elsewhere,
        others=tuple((name,) for name in document if name not in keys.ENDPOINT_TABLES),
        is_endpoint=True,
    )


def _set(table: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of a table that are set, all strings in it stripped; an empty string is a key not set."""
    stripped = {key: _stripped(value) for key, value in table.items()}
    return {key: value for key, value in stripped.items() if value != ""}


def _stripped(value: Any) -> Any:
    """A TOML value with every string in it stripped and every date and time as text."""
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, list):
        return [_stripped(each) for each in value]
    if isinstance(value, dict):
        return {key: _stripped(each) for key, each in value.items()}
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    return value

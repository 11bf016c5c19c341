"""The decode floor: what it costs to decode only what the rules read, and to do nothing with it.

The paths that the loaded rules read become a tree of msgspec structs whose leaves take anything; one call
decodes an event into it. An engine that builds what its rules read of every event cannot be faster in this
language; one that builds less has to find out what it can do without.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import msgspec

from detectord.compiler import CompiledRule
from detectord.eql import ast

ALWAYS = ("@timestamp", "data_stream.dataset", "event.id", "host.id")
"""What any engine has to know of an event."""

Tree = dict[str, Any]


def decoder(rules: Iterable[CompiledRule]) -> Callable[[bytes], object]:
    """Decodes an event into the narrow struct of the rules."""
    tree: Tree = {}
    for path in paths(rules):
        node = tree
        for segment in path.split("."):
            node = node.setdefault(segment, {})
    return msgspec.json.Decoder(_struct("Event", tree)).decode


def paths(rules: Iterable[CompiledRule]) -> set[str]:
    """Every field that the rules read."""
    found = set(ALWAYS)
    for rule in rules:
        found |= {rule.category_field, rule.timestamp_field, rule.tiebreaker_field} - {""}
        found |= set(_fields(rule.rule.query))
        found |= set(_fields(rule.rule.filter))
    return found


def _fields(node: Any) -> Iterator[str]:
    pending = [node]
    while pending:
        match pending.pop():
            case ast.Field(path=path, scope=scope):
                if path and not scope.startswith("$"):
                    yield path
            case tuple() as children:
                pending.extend(children)
            case ast.Node() | ast.Query() as inner:
                pending.extend(getattr(inner, name) for name in inner.__match_args__)


def _struct(name: str, tree: Tree) -> Any:
    """A struct type of the tree; where a field is a leaf and has fields below it, it is a leaf."""
    fields: list[Any] = []
    for number, (segment, below) in enumerate(tree.items()):
        inner = _struct(f"{name}_{number}", below) if below else None
        kind = Any if inner is None else inner | list[Any] | str | int | float | bool | None
        fields.append((f"f{number}", kind, msgspec.field(default=None, name=segment)))
    return msgspec.defstruct(name, fields, frozen=True, gc=False)

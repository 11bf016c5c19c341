"""Values that must not leave: `alert.redact`.

A pattern names a field, and then everything below it, too; with a trailing `.*` only what is below.
Objects and arrays of objects keep their shape, each value (an array of values counts as one) becomes
the text `[redacted]`. Redaction runs on the source fields before anything is derived from them, so
copies (`kibana.alert.original_event.*`, the reason, the host header) need no second look; join values
and source identities, which are not copies of a field, ask `covers`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

REDACTED = "[redacted]"

_Tree = dict[str, "_Tree | None"]
"""What to redact by first segment; None: all of it. The key `*` holds None for `.*`."""


class Redaction:
    """The compiled patterns of one configuration."""

    def __init__(self, patterns: Iterable[str]) -> None:
        self._tree: _Tree = {}
        for pattern in patterns:
            _add(self._tree, pattern.split("."))

    def __call__(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """The fields with every covered value replaced. Nothing is changed in place; parts that no
        pattern reaches are shared with `fields`."""
        return _object(fields, self._tree) if self._tree else dict(fields)

    def covers(self, path: str) -> bool:
        """True if a scalar at `path` would be replaced."""
        node: _Tree | None = self._tree
        for name in path.split("."):
            if node is None or "*" in node:
                return True
            if name not in node:
                return False
            node = node[name]
        return node is None


def _add(tree: _Tree, path: list[str]) -> None:
    node = tree
    for name in path[:-1]:
        child = node.setdefault(name, {})
        if child is None:
            return  # a shorter pattern covers this one
        node = child
    node[path[-1]] = None


def _object(fields: Mapping[str, Any], tree: _Tree) -> dict[str, Any]:
    if "*" in tree:
        return {name: _all(value) for name, value in fields.items()}
    return {name: _value(value, tree[name]) if name in tree else value for name, value in fields.items()}


def _value(value: Any, tree: _Tree | None) -> Any:
    if tree is None:
        return _all(value)
    if isinstance(value, dict):
        return _object(value, tree)
    if isinstance(value, list):
        return [_value(item, tree) for item in value]
    return value


def _all(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _all(item) for name, item in value.items()}
    if isinstance(value, list) and any(isinstance(item, (dict, list)) for item in value):
        return [_all(item) for item in value]
    return value if value is None or value == [] else REDACTED

"""The name of what decides which events match: `match_hash`.

It covers the syntax tree, spans left out, so that a rule whose text is only laid out differently keeps the
state of its partials, and everything beside the query that has a say. Strings are written with their length,
so that no two trees are written alike; no recursion, trees may be deep.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable
from functools import cache
from typing import Any

_MEANING = "1"
"""Raised when the same tree comes to mean something else, so that old partials are not gone on with."""


def fingerprint(parts: Iterable[Any]) -> str:
    """Thirty-two hex digits over syntax nodes, tuples and scalars."""
    digest = hashlib.sha256()
    pending: list[Any] = [tuple(parts), _MEANING]
    while pending:
        part = pending.pop()
        if dataclasses.is_dataclass(part) and not isinstance(part, type):
            names = _fields(type(part))
            _write(digest, "node", f"{type(part).__name__} {len(names)}")
            pending += [getattr(part, name) for name in reversed(names)]
        elif isinstance(part, tuple):
            _write(digest, "tuple", str(len(part)))
            pending += reversed(part)
        else:
            _write(digest, type(part).__name__, part if isinstance(part, str) else repr(part))
    return digest.hexdigest()[:32]


@cache
def _fields(node: type[Any]) -> tuple[str, ...]:
    return tuple(field.name for field in dataclasses.fields(node) if field.compare)


def _write(digest: Any, kind: str, text: str) -> None:
    data = text.encode("utf-8", "surrogatepass")
    digest.update(f"{kind} {len(data)}:".encode() + data)

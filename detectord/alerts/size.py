"""Alerts that would be too big: what is left out, in which order.

A document over the limit is rendered again from ever fewer source fields: the bulky ones that tell an
analyst little go first, at last all but host, user, process and event, and of those the largest values
(`detectord.events.trim` has the order). Because an alert repeats some fields, how much must go is not
known beforehand: first as much as would do if everything stood in the document twice, then as much as
would do if nothing did, at last everything. A few renderings, whatever the event.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from detectord.events.trim import trim

Fields = dict[str, Any]
Render = Callable[[Fields, bool], bytes]
"""The document over the given source fields; the flag says that some were left out."""

_NOTHING = 2
"""The size of an empty document."""

MAX_TEXT = 128
"""Characters that `clipped` leaves of a text."""


def fit(fields: Fields, render: Render, limit: int, *, cut: bool = False) -> bytes | None:
    """The document with as many of the fields as fit into `limit` bytes, None if it does not fit even
    without them. `cut` says that something was left out before."""
    value = render(fields, cut)
    if len(value) <= limit:
        return value
    size, excess = len(msgspec.json.encode(fields)), len(value) - limit
    for target in _targets(size, excess):
        value = render(trim(fields, target)[0], True)
        if len(value) <= limit:
            return value
    return None


def _targets(size: int, excess: int) -> Iterator[int]:
    yield max(size - (excess + 1) // 2, _NOTHING)
    yield max(size - excess, _NOTHING)
    yield _NOTHING


def clipped(value: Any) -> Any:
    """The value with every text in it cut to a length that still names something."""
    if isinstance(value, str):
        return value if len(value) <= MAX_TEXT else value[:MAX_TEXT]
    if isinstance(value, dict):
        return {name: clipped(item) for name, item in value.items()}
    return [clipped(item) for item in value] if isinstance(value, list) else value

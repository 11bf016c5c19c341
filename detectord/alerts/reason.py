"""The sentence that tells an analyst what happened: `kibana.alert.reason`.

    process event with process sh, parent process nginx, by web on host-1 created high alert Web shell.

A part whose value is missing, empty or `-` goes with its words; "with" goes when no part is left
that it could introduce. Several values of one field are joined by commas. Values come from attackers:
each is cut at a length that still names the thing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from detectord.alerts.fields import values

MAX_VALUE = 512
"""Characters of one value; a reason is read by people, the whole value stands in its own field."""


def reason(fields: Mapping[str, Any], severity: str, rule_name: str) -> str:
    """The sentence for an event (or for what a sequence's events have in common)."""
    words = [*_subject(fields), *_object(fields)]
    for word, path in (("by", "user.name"), ("on", "host.name")):
        if text := _text(fields, path):
            words.append(f"{word} {text}")
    return f"{' '.join(words)} created {severity} alert {rule_name}."


def _subject(fields: Mapping[str, Any]) -> list[str]:
    category = _text(fields, "event.category")
    return [category, "event"] if category else ["event"]


def _object(fields: Mapping[str, Any]) -> list[str]:
    parts = [
        f"{word} {text},"
        for word, path in (
            ("process", "process.name"),
            ("parent process", "process.parent.name"),
            ("file", "file.name"),
        )
        if (text := _text(fields, path))
    ]
    parts += [part for root in ("source", "destination") if (part := _endpoint(fields, root))]
    return ["with", *parts] if parts else []


def _endpoint(fields: Mapping[str, Any], root: str) -> str:
    address, port = _text(fields, f"{root}.ip"), _text(fields, f"{root}.port")
    if not address:
        return ""
    return f"{root} {address}:{port}," if port else f"{root} {address}"


def _text(fields: Mapping[str, Any], path: str) -> str:
    """The values at `path` as a person reads them, empty if there is nothing to read."""
    parts: list[str] = []
    length = 0
    for value in values(fields, path):
        text = str(value)
        if isinstance(value, bool) or text in ("", "-"):
            continue
        parts.append(text)
        length += len(text)
        if length > MAX_VALUE:
            break
    joined = ", ".join(parts)
    return joined if len(joined) <= MAX_VALUE else joined[: MAX_VALUE - 1] + "…"

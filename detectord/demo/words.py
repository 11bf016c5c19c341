"""What an event says, in a few words for somebody who watches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

MOST_CHARACTERS = 160


def happened(document: Mapping[str, Any]) -> str:
    """The deed in an ECS document; where it tells of none that we know, its alert's reason."""
    process = _object(document, "process")
    name = process.get("name", "a process")
    categories = _object(document, "event").get("category", ())
    words = ""
    if "process" in categories:
        words = _started(document, process, name)
    elif "file" in categories:
        words = f"{name} wrote {_object(document, 'file').get('path', 'a file')}"
    elif "network" in categories:
        destination = _object(document, "destination")
        words = (
            f"{name} connected to {destination.get('ip', 'somewhere')} port {destination.get('port', '?')}"
        )
    return _readable(words or str(document.get("kibana.alert.reason", "")))


def _started(document: Mapping[str, Any], process: Mapping[str, Any], name: str) -> str:
    command = process.get("command_line") or " ".join(process.get("args", ())) or name
    parent = _object(process, "parent").get("name")
    action = _object(document, "event").get("action")
    if action == "fork":
        return f"{parent or name} forked"
    if parent:
        return f"{parent} started {command}"
    user = _object(document, "user").get("name")
    return f"{user} started {command}" if user else f"{command} was started"


def _object(document: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = document.get(key)
    return found if isinstance(found, Mapping) else {}


def _readable(words: str) -> str:
    """Without what would move the cursor, and not longer than a glance takes in."""
    shown = "".join(c if c.isprintable() else "·" for c in words)
    return shown if len(shown) <= MOST_CHARACTERS else shown[: MOST_CHARACTERS - 1] + "…"

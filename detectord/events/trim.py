"""Making a document fit: what is dropped first from an event that is too large to keep or to send.

Rule 1: a document is a value: trimming returns another one that shares the parts left as they were.
Rule 2: the result fits, whatever was in the document, and depends on nothing but the document and the limit:
trimming the same event again, after a crash, gives the same bytes.
Rule 3: trimming changes neither which event it is (identity.sid) nor when it happened.

Large fields that nobody correlates on go first, one after another until the rest fits; then everything
but who, where and what; then the largest values that are left.
"""

from __future__ import annotations

from typing import Any

import msgspec

Document = dict[str, Any]

_DROPPED_FIRST = (
    "event.original",
    "process.env_vars",
    "process.io",
    "*.Ext.call_stack",
    "powershell.file.script_block_text",
)
_KEPT_ROOTS = frozenset(["event", "host", "process", "user"])
_KEPT_ALWAYS = (
    "@timestamp", "_id", "_index", "agent.id", "data_stream",
    "winlog.channel", "winlog.computer_name", "winlog.record_id",
)  # fmt: skip


def trim(document: Document, limit: int) -> tuple[Document, bool]:
    """`document` in at most `limit` (>= 2) bytes of compact JSON, and whether anything was dropped for it.

    The document is one that `decode` made, or nested no deeper.
    """
    if _size(document) <= limit:
        return document, False
    for path in _DROPPED_FIRST:
        shorter = _without(document, path)
        if shorter is not document:
            document = shorter
            if _size(document) <= limit:
                return document, True
    document = _essential(document)
    size = _size(document)
    if size > limit:
        document = _without_largest(document, size - limit)
    return (document if _size(document) <= limit else {}), True


def _size(document: Document) -> int:
    return len(msgspec.json.encode(document))


def _without(document: Document, path: str) -> Document:
    remove = _removed_anywhere if path.startswith("*.") else _removed
    shorter: Document = remove(document, path.removeprefix("*.").split("."))
    return shorter


def _removed(node: Any, segments: list[str]) -> Any:
    """`node` without what stands at the path, however it is spelt; `node` itself if nothing does."""
    if isinstance(node, list):
        elements = [_removed(element, segments) for element in node]
        return elements if any(a is not b for a, b in zip(elements, node, strict=True)) else node
    if not isinstance(node, dict):
        return node
    changed: Document | None = None
    for length in range(1, len(segments) + 1):
        key, rest = ".".join(segments[:length]), segments[length:]
        if key not in node:
            continue
        child = _removed(node[key], rest) if rest else None
        if rest and child is node[key]:
            continue
        changed = dict(node) if changed is None else changed
        if rest:
            changed[key] = child
        else:
            del changed[key]
    return node if changed is None else changed


def _removed_anywhere(node: Any, segments: list[str]) -> Any:
    """`node` without what stands at the path under any object of it, however it is spelt."""
    if isinstance(node, list):
        elements = [_removed_anywhere(element, segments) for element in node]
        return elements if any(a is not b for a, b in zip(elements, node, strict=True)) else node
    if not isinstance(node, dict):
        return node
    suffix = "." + ".".join(segments)
    changed: Document = {}
    differs = False
    for key, child in node.items():
        if key.endswith(suffix):
            differs = True
            continue
        below = _removed_anywhere(_removed(child, segments), segments)
        for length in range(1, len(segments)):  # `process.Ext` holding `call_stack`
            if key.endswith("." + ".".join(segments[:length])):
                below = _removed(below, segments[length:])
        differs = differs or below is not child
        changed[key] = below
    return changed if differs else node


def _essential(document: Document) -> Document:
    """Who, where, what and which: the roots that are kept, and what identifies the event."""
    kept: Document = {}
    for key, value in document.items():
        if key.partition(".")[0] in _KEPT_ROOTS:
            kept[key] = value
            continue
        for path in _KEPT_ALWAYS:
            root, _, rest = path.partition(".")
            if key == path or key.startswith(path + "."):
                kept[key] = value
            elif key == root and isinstance(value, dict) and rest in value:
                kept[key] = {**kept.get(key, {}), rest: value[rest]}
    return kept


def _without_largest(document: Document, excess: int) -> Document:
    """`document` without its largest values, as many as make up for `excess` bytes."""
    leaves: list[tuple[int, tuple[str, ...]]] = []
    pending: list[tuple[Document, tuple[str, ...]]] = [(document, ())]
    while pending:
        node, place = pending.pop()
        for key, value in node.items():
            if isinstance(value, dict):
                pending.append((value, (*place, key)))
            else:
                leaves.append((len(msgspec.json.encode(value)), (*place, key)))
    leaves.sort(key=lambda leaf: (-leaf[0], leaf[1]))
    dropped: dict[str, Any] = {}
    for size, place in leaves:
        if excess <= 0:
            break
        excess -= size
        node = dropped
        for key in place[:-1]:
            node = node.setdefault(key, {})
        node[place[-1]] = None
    return _pruned(document, dropped)


def _pruned(node: Document, dropped: dict[str, Any]) -> Document:
    """`node` without the leaves that `dropped` names; objects stay, emptied or not."""
    kept: Document = {}
    for key, value in node.items():
        if key not in dropped:
            kept[key] = value
        elif dropped[key] is not None:
            kept[key] = _pruned(value, dropped[key])
    return kept

"""From paths to Sigma documents: which files are read, and what each `---` part of one holds.

A file holds one or more YAML documents. The old collection actions are resolved here: a document with
`action: global` is merged into every later one, `reset` forgets it, `repeat` merges into the rule before.

YAML is not trusted: a file has a largest size, a document a largest depth and number of values, counted as
if every alias were written out, so that a small text cannot become a huge rule. A key that is there twice is
an error; the later one would silently win.
"""

from __future__ import annotations

import copy
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from detectord.sigma.ledger import Entry, RefusedError

MAX_BYTES = 256 * 1024
"""The largest file; public rules have less than a quarter of it."""
MAX_VALUES = 20_000
MAX_DEPTH = 16
SUFFIXES = (".yml", ".yaml")

_CONTROL = "action"
_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class Document:
    """One Sigma document. `source` is its file as it was reached, `name` the file below the path that was
    given, `number` counts the documents of the file from 1."""

    source: str
    name: str
    number: int
    content: dict[str, Any] = field(repr=False)

    def entry(self, **facts: Any) -> Entry:
        """What the ledger says of this document."""
        title, identity = self.content.get("title"), self.content.get("id")
        told = {"title": _line(title), "id": _line(identity), **facts}
        return Entry(self.source, self.number, **told)


def _line(value: object) -> str:
    """A text of the rule as one line of the ledger."""
    return " ".join(value.split())[:256] if isinstance(value, str) else ""


def read(paths: Sequence[Path]) -> Iterator[Document | Entry]:
    """The documents of the files at or below `paths`, in the order of names, and an entry for each file
    or document that cannot be read."""
    seen: set[str] = set()
    for root in paths:
        for file in _files(root):
            identity = os.path.realpath(file)
            if identity not in seen:
                seen.add(identity)
                name = file.name if file == root else file.relative_to(root).as_posix()
                yield from _documents(file, name)


def _files(root: Path) -> Iterator[Path]:
    if not root.is_dir():
        yield root
        return
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(each for each in folders if not each.startswith("."))
        yield from (
            Path(folder, name)
            for name in sorted(names)
            if name.lower().endswith(SUFFIXES) and not name.startswith(".")
        )


def _documents(file: Path, name: str) -> Iterator[Document | Entry]:
    source = os.fsencode(file).decode("utf-8", "replace")
    try:
        text = _text(file)
    except RefusedError as error:
        yield Entry(source, 0, reason=error.reason, detail=error.detail)
        return
    merging = _Merging()
    number = 0
    try:
        for number, content in enumerate(yaml.load_all(text, _Loader), 1):
            if content is None:
                continue
            try:
                whole = merging.next(_checked(content))
            except RefusedError as error:
                yield Entry(source, number, reason=error.reason, detail=error.detail)
                continue
            if whole is not None:
                yield Document(source, name, number, whole)
    except (yaml.YAMLError, ValueError) as error:  # a ValueError: a number or date that Python cannot hold
        yield Entry(source, number + 1, reason="bad_yaml", detail=_told(error))
    except RecursionError:
        yield Entry(source, number + 1, reason="bad_yaml", detail="nested too deep")


def _text(file: Path) -> str:
    if not file.is_file():
        raise RefusedError("bad_file", "not a regular file")
    try:
        with file.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise RefusedError("bad_file", error.strerror or str(error)) from error
    if len(data) > MAX_BYTES:
        raise RefusedError("too_large", f"larger than {MAX_BYTES} bytes")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise RefusedError("bad_file", f"not UTF-8 at byte {error.start}") from error


def _told(error: Exception) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        return f"line {mark.line + 1}, column {mark.column + 1}: {error.problem or error.context}"
    return str(error).split("\n")[0][:200]


class _Loader(yaml.SafeLoader):
    """YAML's plain types only, and no key twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode) and key.value != "<<"]
        if len(keys) > len(set(keys)):
            twice = next(key for key in keys if keys.count(key) > 1)
            raise yaml.constructor.ConstructorError(None, None, f"the key {twice!r} twice", node.start_mark)
        return super().construct_mapping(node, deep)


def _checked(content: object) -> dict[str, Any]:
    """A document that is a mapping of bounded size."""
    if not isinstance(content, dict):
        raise RefusedError("bad_rule", "not a mapping, so not a Sigma rule")
    count = 0
    waiting: list[tuple[object, int]] = [(content, 1)]
    while waiting:
        value, depth = waiting.pop()
        count += 1
        if count > MAX_VALUES:
            raise RefusedError("too_large", f"more than {MAX_VALUES} values")
        if depth > MAX_DEPTH:
            raise RefusedError("too_large", f"nested deeper than {MAX_DEPTH} levels")
        if isinstance(value, dict):
            if not all(isinstance(key, str) for key in value):
                raise RefusedError("bad_rule", "a key that is not text")
            waiting.extend((each, depth + 1) for each in value.values())
        elif isinstance(value, (list, tuple, set)):
            waiting.extend((each, depth + 1) for each in value)
        elif isinstance(value, str) and _SURROGATE.search(value):
            raise RefusedError("bad_yaml", "half a surrogate pair is not a character")
    return content


class _Merging:
    """The collection actions of one file."""

    def __init__(self) -> None:
        self.always: dict[str, Any] = {}
        self.last: dict[str, Any] = {}

    def next(self, content: dict[str, Any]) -> dict[str, Any] | None:
        """The rule that a document makes, None if it only changes those after it."""
        action = content.pop(_CONTROL, None)
        match action:
            case None:
                # Correlations and filters are whole: what is global belongs to rules
                whole = content if "correlation" in content or "filter" in content else None
                self.last = _merged(self.always, content)
                return whole or _checked(self.last)
            case "global":
                self.always = content
                return None
            case "reset":
                self.always = {}
                return None
            case "repeat":
                self.last = _merged(self.last, content)
                return _checked(self.last)
            case _:
                raise RefusedError("bad_rule", f"the action {str(action)[:40]!r} is unknown")


def _merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Both, tables of the same name merged; `above` wins."""
    merged = copy.copy(below)
    for key, value in above.items():
        old = merged.get(key)
        merged[key] = _merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged

"""YAML to objects with places: the documents of a file, or the elements of one that is a list.

The parser's events are put together here, not by PyYAML's constructors: so no tag makes an object, and an
alias, of which a few can stand for billions of values, is refused where it stands. A plain word is what YAML
1.2 and JSON take it for: `no` and dates are texts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

import yaml

from detectord.rules.findings import Finding, RuleCode
from detectord.rules.objects import (
    HALF_CHARACTER,
    MAX_NUMBER,
    MAX_OBJECT,
    Object,
    Origins,
    TextError,
    check_count,
    check_depth,
    nearest,
)
from detectord.rules.places import Path

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml's, where PyYAML was built with it

_NULL = re.compile(r"~|null|Null|NULL|")
_BOOLEANS = {word: word.lower() == "true" for word in ("true", "True", "TRUE", "false", "False", "FALSE")}
_INTEGER = re.compile(r"[-+]?[0-9]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_TEXT_TAGS = frozenset(("!", "tag:yaml.org,2002:str"))


class YamlPlaces:
    """The places of one object's text, in which `strings` have also their values."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.values: dict[Path, int] = {}
        self.strings: dict[Path, str] = {}

    def of(self, path: Path) -> int:
        """See `objects.Places`."""
        return nearest(self.values, path)

    def string(self, path: Path) -> Sequence[int] | None:
        """See `objects.Places`. Known of a literal block, and of a string that stands there as it is."""
        value, place = self.strings.get(path), self.values.get(path)
        if value is None or place is None:
            return None
        if self.text.startswith("|", place):
            return self._block(value, place)
        start = place + (self.text[place : place + 1] in ('"', "'"))
        return range(start, start + len(value) + 1) if self.text.startswith(value, start) else None

    def _block(self, value: str, place: int) -> Sequence[int] | None:
        """A literal block: each of its lines is a line of the text behind some spaces."""
        offsets: list[int] = []
        at = self.text.find("\n", place) + 1
        for line in value.split("\n"):
            end = self.text.find("\n", at)
            end = len(self.text) if end < 0 else end
            start = end - len(line)
            if not at or start < at or self.text[start:end] != line or self.text[at:start].strip(" "):
                if line or len(offsets) < len(value):
                    return None
                start = end
            offsets.extend(range(start, end + 1))
            at = end + 1
        return offsets[: len(value) + 1]


def yaml_documents(text: str, file: str) -> Iterator[Object | Finding]:
    """The objects of a YAML file. After an error nothing more of the file is read."""
    try:
        yield from _Composer(text).objects()
    except TextError as error:
        yield _error(error, text, file)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        sentence = (error.problem or error.context or "cannot be parsed").lower()
        offset = len(text) if mark is None else min(mark.index, len(text))
        yield _error(TextError(RuleCode.NOT_YAML, offset, error=sentence), text, file)
    except yaml.YAMLError as error:
        position = getattr(error, "position", None)  # a character that no YAML text may hold
        offset = position if isinstance(position, int) and position <= len(text) else 0
        sentence = str(getattr(error, "reason", "") or "cannot be parsed")
        yield _error(TextError(RuleCode.NOT_YAML, offset, error=sentence), text, file)


def _error(error: TextError, text: str, file: str) -> Finding:
    start = max(text.rfind("\n", 0, error.offset) + 1, error.offset - MAX_OBJECT)
    place = Origins(text).of(start)
    shown = text[start : error.offset + 200]
    return TextError(error.code, error.offset - start, **error.args_of_code).finding(file, shown, place)


@dataclass
class _Open:
    """A list or mapping whose end has not been met yet; `key` is that of the value to come."""

    path: Path
    values: list[Any] | dict[str, Any]
    key: str | None = None


class _Composer:
    """Puts a parser's events together."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.origins = Origins(text)
        self.events: Iterator[yaml.Event] = yaml.parse(text, Loader=_LOADER)

    def objects(self) -> Iterator[Object]:
        """Every object, as soon as it is complete."""
        in_list = False
        for event in self.events:
            match event:
                case yaml.SequenceStartEvent() if not in_list:
                    _no_tag(event)
                    in_list = True
                case yaml.SequenceEndEvent():
                    in_list = False
                case yaml.ScalarEvent() if not in_list and _is_null(event):
                    pass  # a document without content
                case yaml.NodeEvent():
                    yield self.object(event)

    def object(self, first: yaml.NodeEvent) -> Object:
        """The value that begins with the event `first`."""
        start = _start(first)
        places = YamlPlaces("")
        root: Any = None
        opened: list[_Open] = []
        event: yaml.Event = first
        while True:
            offset = _start(event) - start
            if _end(event) - start > MAX_OBJECT:
                raise TextError(RuleCode.TOO_LARGE, start, limit=MAX_OBJECT)
            if isinstance(event, (yaml.SequenceEndEvent, yaml.MappingEndEvent)):
                opened.pop()
            elif opened and isinstance(opened[-1].values, dict) and opened[-1].key is None:
                opened[-1].key = _key(event, opened[-1].values)
            else:
                path = _next_path(opened)
                check_depth(path, _start(event))
                places.values[path] = offset
                check_count(len(places.values), _start(event))
                value = _value(event)
                if isinstance(value, str):
                    places.strings[path] = value
                root = _put(opened, value, root)
                if isinstance(value, (list, dict)):
                    opened.append(_Open(path, value))
            if not opened:
                places.text = self.text[start : _end(event)]
                return Object(root, places, self.origins.of(start))
            event = next(self.events)


def _start(event: yaml.Event) -> int:
    """Where an event begins."""
    mark = event.start_mark
    return 0 if mark is None else mark.index


def _end(event: yaml.Event) -> int:
    """Where an event ends."""
    mark = event.end_mark
    return 0 if mark is None else mark.index


def _next_path(opened: list[_Open]) -> Path:
    """The path of the value to come."""
    if not opened:
        return ()
    inner = opened[-1]
    return (*inner.path, len(inner.values) if isinstance(inner.values, list) else str(inner.key))


def _put(opened: list[_Open], value: Any, root: Any) -> Any:
    """Put a value where it belongs; the root of all."""
    if not opened:
        return value
    inner = opened[-1]
    if isinstance(inner.values, list):
        inner.values.append(value)
    else:
        inner.values[str(inner.key)] = value
        inner.key = None
    return root


def _key(event: yaml.Event, values: dict[str, Any]) -> str:
    """A key, which is a text whatever it looks like."""
    place = _start(event)
    if not isinstance(event, yaml.ScalarEvent):
        raise TextError(RuleCode.NOT_YAML, place, error="a key must be a text")
    _no_tag(event)
    if event.value in values:
        raise TextError(RuleCode.DUPLICATE_KEY, place, key=event.value)
    return _whole(event)


def _value(event: yaml.Event) -> Any:
    """A scalar, or an empty list or mapping whose content follows."""
    match event:
        case yaml.SequenceStartEvent():
            _no_tag(event)
            return []
        case yaml.MappingStartEvent():
            _no_tag(event)
            return {}
        case yaml.ScalarEvent():
            return _scalar(event)
    raise TextError(RuleCode.NOT_YAML, _start(event), error="aliases are not supported")


def _no_tag(event: yaml.NodeEvent) -> None:
    tag = getattr(event, "tag", None)
    if tag is not None and tag not in _TEXT_TAGS:
        raise TextError(RuleCode.NOT_YAML, _start(event), error=f"the tag `{tag}` is not supported")


def _is_null(event: yaml.ScalarEvent) -> bool:
    return _is_plain(event) and _NULL.fullmatch(event.value) is not None


def _is_plain(event: yaml.ScalarEvent) -> bool:
    """True for a word without quotes or tag, which may stand for something other than a text."""
    return bool(event.implicit[0]) and event.tag is None


def _whole(event: yaml.ScalarEvent) -> str:
    """A scalar's text, in which no character may be halved."""
    text: str = event.value
    if HALF_CHARACTER.search(text):
        raise TextError(RuleCode.NOT_YAML, _start(event), error="a string holds half a character")
    return text


def _scalar(event: yaml.ScalarEvent) -> Any:
    """A text, or what a plain word stands for."""
    _no_tag(event)
    text = _whole(event)
    if not _is_plain(event):
        return text
    if _is_null(event):
        return None
    if text in _BOOLEANS:
        return _BOOLEANS[text]
    place = _start(event)
    if len(text) > MAX_NUMBER:
        return text
    if _INTEGER.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text):
        number = float(text)
        if isfinite(number):
            return number
    elif not _NOT_FINITE.fullmatch(text):
        return text
    raise TextError(RuleCode.NOT_YAML, place, error="a number out of range")

"""What reading rule files gave, kept on disk, so that the next start need not read the same bytes again.

What is kept is the reading of one file: findings, and the rule with its syntax tree; whatever depends on more
than that file (duplicates, the ledger) is made anew at every load. An entry is found by a digest of all
that decides about it: the file's bytes, its name, the options of the load, and detectord's own code. So
nothing has to be compared or to expire, a changed file is simply not found, and the cache may be deleted at
any time.

One load has one file in the cache's directory, a *pack*: a checksum, then MessagePack, a map from digest to
entry. It is replaced as a whole, under another name first, and only by a load that found something new;
it then has what that load used and nothing else. The oldest packs beyond `MAX_PACKS` are removed.

Rule 1: data, never code: an entry is numbers, texts and lists, and only becomes the frozen dataclasses that
a `Reading` is made of.
Rule 2: it is used only in a directory, and from a file, that belong to us or to root and that nobody else
may write to.
Rule 3: nothing about a cache is an error: what cannot be used is left alone, and the load says so once.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import os
import secrets
import stat
import sys
import types
import typing
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import msgspec

from detectord import __version__
from detectord.eql.source import Span
from detectord.rules.schema import FieldTypes, Reading

MAX_PACKS = 16
"""So many packs are kept in a directory: one for each set of paths and options."""
MAX_PACK = 64 * 1024 * 1024
"""Bytes of the largest pack that is written or read: ten thousand rules."""

_SUFFIX = ".rules-cache"
_CHECKSUM = hashlib.sha256().digest_size
_encode = msgspec.msgpack.Encoder().encode
_decode_entry = msgspec.msgpack.Decoder().decode
_decode_pack = msgspec.msgpack.Decoder(dict[bytes, bytes]).decode


class Cache:
    """The pack of one load."""

    def __init__(self, path: Path) -> None:
        """A cache in the file `path`, which may not exist; `open_cache` makes the usual one."""
        self._path = path
        self.directory = path.parent
        self._found: Mapping[bytes, bytes] = {}
        self._used: dict[bytes, bytes] = {}
        self.error = ""
        """Why the cache is not used, empty while it is."""

    def load(self) -> None:
        """Read what there is; nothing, if it is damaged."""
        try:
            _make_safe(self._path.parent)
            self._found = _read_pack(self._path)
        except OSError as error:
            self.error = error.strerror or str(error)

    def key(self, data: bytes, *parts: str) -> bytes:
        """The name of the reading of `data`, which also depends on `parts`."""
        return _digest(hashlib.sha256(data).digest(), *parts)

    def get(self, key: bytes) -> Reading | None:
        """The reading kept under `key`."""
        entry = self._found.get(key)
        if entry is None:
            return None
        try:
            reading = from_bytes(entry)
        except (ValueError, TypeError, LookupError, RecursionError):  # damaged, and the checksum is right
            return None
        self._used[key] = entry
        return reading

    def put(self, key: bytes, reading: Reading) -> None:
        """Keep a reading, if it can be written down."""
        if not self.error:
            with contextlib.suppress(ValueError, OverflowError):  # half a character; an enormous number
                self._used[key] = to_bytes(reading)

    def save(self) -> None:
        """Write the pack again, if it is no longer what was found."""
        if self.error or self._used.keys() == self._found.keys():
            return
        body = _encode(self._used)
        if len(body) > MAX_PACK:
            self.error = f"it would have more than {MAX_PACK} bytes"
            return
        try:
            _write(self._path, hashlib.sha256(body).digest() + body)
            _remove_oldest(self._path.parent)
        except OSError as error:
            self.error = error.strerror or str(error)


def open_cache(
    directory: Path,
    paths: Sequence[Path],
    maturity: Collection[str],
    field_types: FieldTypes,
    strict_fields: bool = False,
) -> Cache:
    """The cache in `directory` for loading `paths` with these options; `error` tells if it cannot be used."""
    known = getattr(field_types, "fingerprint", None) or repr(sorted(field_types.items()))
    options = _digest(_own_code(), str(strict_fields), *sorted(maturity), known)
    name = _digest(options, *(os.path.realpath(path) for path in paths)).hex()[:32]
    opened = Cache(directory / f"{name}{_SUFFIX}")
    opened.load()
    return opened


def _digest(first: bytes, *parts: str) -> bytes:
    """A digest of texts that differs for different texts, however they are cut."""
    digest = hashlib.sha256(first)
    for part in parts:
        data = part.encode("utf-8", "surrogatepass")
        digest.update(len(data).to_bytes(8, "big") + data)
    return digest.digest()


@cache
def _own_code() -> bytes:
    """A digest of what turns a file into a reading: this program, its tables, and the interpreter."""
    digest = hashlib.sha256(f"{__version__} {sys.version}".encode())
    waiting = [files("detectord.eql"), files("detectord.rules"), files("detectord.events")]
    while waiting:
        for each in sorted(waiting.pop().iterdir(), key=lambda each: each.name):
            if each.is_dir() and each.name != "__pycache__":
                waiting.append(each)
            elif each.name.endswith((".py", ".json", ".txt")):
                digest.update(hashlib.sha256(each.read_bytes()).digest())
    return digest.digest()


# --- files -----------------------------------------------------------------------------------


def _make_safe(directory: Path) -> None:
    """Make the directory if it is missing. Raises OSError if it is not for us alone to write."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    _check_owner(os.stat(directory))


def _check_owner(status: os.stat_result) -> None:
    if status.st_uid not in (0, os.geteuid()):
        raise OSError(0, "it belongs to another user")
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise OSError(0, "other users may write to it")


def _read_pack(path: Path) -> Mapping[bytes, bytes]:
    """The entries of a pack; none if there is no pack, or it is damaged."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return {}
    with open(descriptor, "rb") as stream:
        status = os.fstat(descriptor)
        _check_owner(status)
        if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_PACK + _CHECKSUM:
            return {}
        data = stream.read(MAX_PACK + _CHECKSUM)
    body = data[_CHECKSUM:]
    if hashlib.sha256(body).digest() != data[:_CHECKSUM]:
        return {}
    try:
        return _decode_pack(body)
    except ValueError:  # msgspec's errors are ValueErrors
        return {}


def _write(path: Path, data: bytes) -> None:
    """Replace the file at `path`, at once."""
    beside = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with open(descriptor, "wb") as stream:
            stream.write(data)
        os.replace(beside, path)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(beside)
        raise


def _remove_oldest(directory: Path) -> None:
    """Remove the packs, and what a killed process left of one, beyond those last written."""
    packs = [each for each in directory.iterdir() if _SUFFIX in each.name]
    packs.sort(key=lambda each: each.lstat().st_mtime_ns, reverse=True)
    for each in packs[MAX_PACKS:]:
        each.unlink(missing_ok=True)


# --- entries ---------------------------------------------------------------------------------
#
# Scalars and maps are themselves. Everything else is an array that begins with a number: a list, a tuple,
# or the dataclass of that number with the values of its fields, spans last, as two numbers each.

_LIST, _TUPLE = 0, 1
_NESTED = (list, dict)


def to_bytes(reading: Reading) -> bytes:
    """A reading as an entry.

    Raises:
        ValueError, OverflowError: it has a text or a number that cannot be written down.
    """
    return _encode(_plain(reading, _shapes().known))


def from_bytes(entry: bytes) -> Reading:
    """What `to_bytes` was given.

    Raises:
        ValueError, TypeError, LookupError, RecursionError: it is no entry.
    """
    reading = _revived(_decode_entry(entry), _shapes().makers)
    if not isinstance(reading, Reading):
        raise TypeError("not a reading")
    return reading


class _Shape(typing.NamedTuple):
    """A dataclass: its number, the names of its fields, and of those that hold a span."""

    number: int
    names: tuple[str, ...]
    spans: tuple[str, ...]


Maker = Callable[[list[Any]], object]


class _Shapes(typing.NamedTuple):
    """The dataclasses that a reading may hold, and by number what makes one of the values of its fields."""

    known: Mapping[type, _Shape]
    makers: Sequence[Maker]


@cache
def _shapes() -> _Shapes:
    known: dict[type, _Shape] = {}
    makers: list[Maker] = [list, tuple]
    for kind in sorted(_dataclasses_in(Reading), key=lambda kind: kind.__qualname__):
        hints = typing.get_type_hints(kind)
        names = [field.name for field in dataclasses.fields(kind) if field.init]
        spans = tuple(name for name in names if hints[name] is Span)
        shape = _Shape(len(makers), tuple(name for name in names if name not in spans), spans)
        known[kind] = shape
        makers.append(_maker(kind, shape))
    return _Shapes(known, makers)


def _maker(kind: type, shape: _Shape) -> Maker:
    """What makes a dataclass of the values of its fields. Where it has nothing but slots they are filled
    directly, in a third of the time that its own `__init__` takes: a load makes fifty thousand."""
    names = (*shape.names, *reversed(shape.spans))
    spans = range(len(shape.spans))
    direct = hasattr(kind, "__slots__") and not hasattr(kind, "__post_init__")
    setters = [getattr(kind, name).__set__ for name in names] if direct else []

    def make(values: list[Any]) -> object:
        found = []
        for _ in spans:
            end = values.pop()
            found.append(Span(values.pop(), end))
        values += found
        if not direct:
            return kind(**dict(zip(names, values, strict=True)))
        made: object = object.__new__(kind)
        for fill, value in zip(setters, values, strict=True):
            fill(made, value)
        return made

    return make


def _dataclasses_in(kind: type) -> set[type]:
    """The dataclass itself, and those that its fields may hold."""
    found: set[type] = set()
    waiting: list[object] = [kind]
    while waiting:
        hint = waiting.pop()
        if isinstance(hint, type) and dataclasses.is_dataclass(hint):
            if hint not in found:
                found.add(hint)
                waiting.extend(typing.get_type_hints(hint).values())
        else:
            waiting.extend(_arms(hint))
    return found


def _arms(hint: object) -> Iterator[object]:
    """What a type is made of: the members of a union, the elements of a container."""
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is not typing.Literal:
        yield from typing.get_args(hint)


def _plain(value: Any, known: Mapping[type, _Shape]) -> Any:
    kind = type(value)
    if kind in (str, int, float, bool, type(None)):
        return value
    if kind is tuple or kind is list:
        return [_TUPLE if kind is tuple else _LIST, *(_plain(each, known) for each in value)]
    if kind is dict:
        return {key: _plain(each, known) for key, each in value.items()}
    number, names, spans = known[kind]
    ends = [end for name in spans for end in (getattr(value, name).start, getattr(value, name).end)]
    return [number, *(_plain(getattr(value, name), known) for name in names), *ends]


def _revived(plain: Any, makers: Sequence[Maker]) -> Any:
    kind = type(plain)
    if kind is list:
        rest = iter(plain)
        make = makers[next(rest)]
        return make([_revived(each, makers) if type(each) in _NESTED else each for each in rest])
    if kind is dict:
        return {key: _revived(each, makers) for key, each in plain.items()}
    return plain

"""The types of fields, as Elasticsearch maps them.

A JSON value does not tell its field's type: `"48211"` in `process.pid` is a number in Elasticsearch, an
address is text in JSON, and `event.code` is compared and joined as text although it looks like a number.
`FIELD_TYPES` has the type of every field of the Elastic Common Schema and of those of the integrations that
rules read. A field that it does not have takes the type of what it is compared with. Where sources disagree,
an entry stands for what Elastic's own agent maps; a type that is not certain is left out, because a wrong
one changes answers.

The tables (tables/*.txt, one for each source, which its head names together with its licence) are read at the
first question; reading a file of one's own package is all the I/O there is. Their form:

    process process.parent            where: one or more prefixes, `.` for none
        keyword     args executable   a type and names below each prefix; the type is an Elasticsearch type
        keyword     labels.*          everything below `labels` that is not listed itself
        object      .                 the prefix itself
        @hash       hash dll.hash     the fields of a set, at each of these places below the prefix

    set hash                          a set of fields to be placed by `@hash`, here or in a later table
        keyword     md5 sha256

`#` begins a line of comment. What lies below a field of type flattened is a keyword.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from pkgutil import get_data

_TABLES = ("ecs", "endpoint", "integrations")

_NO_FIELDS: Mapping[str, str] = {}


class FieldTypes(Mapping[str, str]):
    """Elasticsearch type by path. Iterating gives the paths that are listed; a look-up also finds those below
    a flattened field or a dynamic prefix (`labels.*`), of which there is no end.

    `listed` lies over `under`: what it has, and what lies below its own flattened fields, is its own.
    """

    def __init__(self, listed: Mapping[str, str], under: Mapping[str, str] = _NO_FIELDS) -> None:
        self._listed = dict(listed)
        self._below = {path: "keyword" for path, name in listed.items() if name == "flattened"}
        for dynamic in [path for path in listed if path[-2:] == ".*"]:
            self._below[dynamic[:-2]] = self._listed.pop(dynamic)
        self._under = under

    @property
    def fingerprint(self) -> str:
        """A text that is another for other types, what is below prefixes included."""
        under = getattr(self._under, "fingerprint", sorted(self._under.items()))
        return repr((sorted(self._listed.items()), sorted(self._below.items()), under))

    def __getitem__(self, path: str) -> str:
        found = self._listed.get(path) or self._inherited(path)
        return self._under[path] if found is None else found

    def _inherited(self, path: str) -> str | None:
        """The type of what lies below the nearest prefix that tells it."""
        while "." in path:
            path = path.rpartition(".")[0]
            if path in self._below:
                return self._below[path]
        return None

    def __iter__(self) -> Iterator[str]:
        yield from self._listed
        yield from (path for path in self._under if path not in self._listed)

    def __len__(self) -> int:
        return len(self._listed) + sum(path not in self._listed for path in self._under)


class _ShippedTypes(Mapping[str, str]):
    """The types in our tables, which are read when they are first asked."""

    fingerprint = "shipped"
    """As that of FieldTypes; the tables are part of the program, like its code."""

    @cached_property
    def _types(self) -> FieldTypes:
        tables = [get_data("detectord.events", f"tables/{name}.txt") or b"" for name in _TABLES]
        return FieldTypes(read_tables(*map(bytes.decode, tables)))

    def __getitem__(self, path: str) -> str:
        return self._types[path]

    def __iter__(self) -> Iterator[str]:
        return iter(self._types)

    def __len__(self) -> int:
        return len(self._types)


FIELD_TYPES: Mapping[str, str] = _ShippedTypes()
"""Elasticsearch type by path, of the fields that we know."""


def read_tables(*texts: str) -> dict[str, str]:
    """The entries of tables in the form above, `.*` kept at the end of a dynamic prefix; of two entries for
    one path the later holds."""
    sets: dict[str, list[tuple[str, str]]] = {}
    types: dict[str, str] = {}
    places: list[str] = []
    target: list[tuple[str, str]] | None = None
    for text in texts:
        for line in text.splitlines():
            if not line or line.startswith("#"):
                continue
            first, *names = line.split()
            if line[0] != " ":
                target = sets.setdefault(names[0], []) if first == "set" else None
                places = [first, *names]
                continue
            is_set = first.startswith("@")
            entries = _placed(sets[first[1:]], names) if is_set else [(name, first) for name in names]
            if target is None:
                types.update(_placed(entries, places))
            else:
                target += entries
    return types


def _placed(entries: list[tuple[str, str]], places: list[str]) -> list[tuple[str, str]]:
    """The entries below each of the places; a dot is no place, and no name."""
    return [(f"{place}.{name}".strip("."), kind) for place in places for name, kind in entries]

"""The plain twin of the engine: EQL read off the syntax tree, one rule of the language at a time.

Rule 1: nothing here is fast and nothing is shared with the engine. Conditions are answered by trying
every combination of values, sequences by keeping the whole list of events and walking it.
Rule 2: it imports the syntax tree, the bodies of the scalar functions and the table of field types;
path lookup, conversion, comparison, patterns and regular expressions are its own.

A condition is *filtered* (`_Condition.holds`): `and`, `or` and `not` are plain boolean there, and each
leaf between them is true if some combination of values makes its *value* true (`_Condition.value`, where
null is a value and logic is Kleene's). Each occurrence of a field contributes its values in turn, a field
without values null.

A field may be one of another node than the event (`_Scopes`): of an event that an earlier step took, or of
an element of an array. What `… of [event]` asks is answered by `_Ancestry`, which has walked through all
events once.

How operands of different origin meet (`_meet`): a field with a type holds what its values convert to,
and a value that does not convert is no value. A constant opposite a typed operand is read as that
type. A field without a type takes the kind of what it is compared with: texts of its values for a
string, parsed numbers for a number, true/false for a boolean. Two fields without a type compare as
JSON. What then still differs in kind is incomparable, which is null.
"""

from __future__ import annotations

import enum
import functools
import ipaddress
import itertools
import math
import operator
import re
import string as ascii_letters
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any, NamedTuple

from detectord.eql import ast
from detectord.eql.functions import FUNCTIONS

INT64 = range(-(2**63), 2**63)


class Match(NamedTuple):
    """One result: indexes into the events (None: a missing step) and the key values."""

    events: tuple[int | None, ...]
    join_keys: tuple[Any, ...] = ()


# --- events: a path has values ---------------------------------------------------------------


def values_at(node: Any, segments: Sequence[str]) -> Iterator[Any]:
    """Every scalar at the path, through nested objects, dotted keys and arrays, nulls left out."""
    if isinstance(node, list):
        for element in node:
            yield from values_at(element, segments)
    elif isinstance(node, dict):
        for length in range(1, len(segments) + 1):
            key = ".".join(segments[:length])
            if key in node:
                yield from values_at(node[key], segments[length:])
    elif node is not None and not segments:
        yield node


def elements_at(node: Any, segments: Sequence[str]) -> Iterator[Any]:
    """What stands at the path, one by one: objects and scalars. Keys of one object that go on behind the path
    are together an object there."""
    if isinstance(node, list):
        for element in node:
            yield from elements_at(element, segments)
    elif node is not None and not segments:
        yield node
    elif isinstance(node, dict):
        for length in range(1, len(segments) + 1):
            key = ".".join(segments[:length])
            if key in node:
                yield from elements_at(node[key], segments[length:])
        prefix = ".".join(segments) + "."
        behind = {key.removeprefix(prefix): value for key, value in node.items() if key.startswith(prefix)}
        if behind:
            yield behind


# --- kinds and conversion ----------------------------------------------------------------------


class Kind(enum.Enum):
    STRING = "string"
    NUMBER = "number"
    BOOLEAN = "boolean"
    IP = "ip"
    DATE = "date"
    VERSION = "version"
    NULL = "null"
    ANY = "any"


_KIND_OF_TYPE = {
    **dict.fromkeys(["keyword", "wildcard", "constant_keyword", "text", "match_only_text"], Kind.STRING),
    **dict.fromkeys(["flattened", "string"], Kind.STRING),
    "version": Kind.VERSION,
    **dict.fromkeys(["long", "integer", "short", "byte", "unsigned_long", "number"], Kind.NUMBER),
    **dict.fromkeys(["double", "float", "half_float", "scaled_float"], Kind.NUMBER),
    **dict.fromkeys(["date", "date_nanos"], Kind.DATE),
    "boolean": Kind.BOOLEAN,
    "ip": Kind.IP,
    "any": Kind.ANY,
}


class Instant(NamedTuple):
    """A date: nanoseconds since the epoch."""

    ns: int


class Version:
    """A version opposite another: equal is what is spelt alike, the order is that of semantic versions."""

    def __init__(self, value: str) -> None:
        self.text = value
        self.rank = version_rank(value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Version) and self.text == other.text

    def __hash__(self) -> int:
        return hash(self.text)

    def __lt__(self, other: Version) -> bool:
        return self.rank < other.rank

    def __le__(self, other: Version) -> bool:
        return self.rank <= other.rank

    def __gt__(self, other: Version) -> bool:
        return self.rank > other.rank

    def __ge__(self, other: Version) -> bool:
        return self.rank >= other.rank


def version_rank(value: str) -> tuple[Any, ...]:
    """Legal versions by their numbers, then before the release what leads to it, then by the text of the
    build; whatever else there is behind them, by code point and the empty text first."""
    number = r"(?:0|[1-9][0-9]{0,126})"
    identifier = r"(?:0|[1-9][0-9]{0,126}|[0-9]*[A-Za-z-][0-9A-Za-z-]*)"
    found = re.fullmatch(
        rf"({number}(?:\.{number}){{0,31}})(-{identifier}(?:\.{identifier}){{0,31}})?"
        r"(\+[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+){0,31})?",
        value,
    )
    if not found:
        return (1, value != "", value)
    main = [int(part) for part in found[1].split(".")]
    leading = found[2] and [
        (0, int(part), "") if part.isdigit() else (1, 0, part) for part in found[2][1:].split(".")
    ]
    return (0, main, (1,) if leading is None else (0, leading), found[3] or "")


class Block(NamedTuple):
    """An address block of a literal such as 10.0.0.0/8, both ends as 128-bit numbers."""

    first: int
    last: int

    def holds(self, bits: int) -> bool:
        """An IPv4 address is only in a block of IPv4 addresses, however wide an IPv6 block is."""
        is_four, are_four = bits >> 32 == 0xFFFF, self.first >> 32 == 0xFFFF == self.last >> 32
        return self.first <= bits <= self.last and (are_four or not is_four)


_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")


def json_kind(value: Any) -> Kind:
    """The kind a JSON scalar shows by itself."""
    if isinstance(value, bool):
        return Kind.BOOLEAN
    if isinstance(value, int | float):
        return Kind.NUMBER
    if isinstance(value, Instant):
        return Kind.DATE
    return Kind.STRING if isinstance(value, str) else Kind.NULL


def text(value: Any) -> str:
    """The JSON text of a scalar; a string as it is, a date as ISO with milliseconds."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Instant):
        seconds, rest = divmod(value.ns, 10**9)
        moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
        return f"{moment:%Y-%m-%dT%H:%M:%S}.{rest // 10**6:03}Z"
    return value if isinstance(value, str) else repr(value)


def number(value: Any) -> int | float | None:
    """A JSON number, or the number a string spells; None for anything else."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return value
    if not isinstance(value, str) or not _NUMBER.fullmatch(value):
        return None
    as_float = float(value)
    if not math.isfinite(as_float):
        return None
    return int(value) if re.fullmatch(r"[+-]?[0-9]+", value) else as_float


def boolean(value: Any) -> bool | None:
    return {"true": True, "false": False}.get(text(value))


def address(value: Any) -> int | None:
    """The 128-bit number of an address; IPv4 as its mapped IPv6 address."""
    if not isinstance(value, str):
        return None
    try:
        parsed = ipaddress.ip_address(value)
    except ValueError:
        return None
    return int(parsed) + (0xFFFF << 32 if parsed.version == 4 else 0)


def address_text(bits: int) -> str:
    return str(
        ipaddress.IPv4Address(bits & 0xFFFFFFFF) if bits >> 32 == 0xFFFF else ipaddress.IPv6Address(bits)
    )


def block(value: str) -> Block | None:
    start, slash, length = value.partition("/")
    bits = address(start)
    if bits is None or not slash:
        return None if bits is None else Block(bits, bits)
    prefix = int(length) + (0 if ":" in start else 96)
    size = 1 << (128 - prefix)
    return Block(bits // size * size, bits // size * size + size - 1)


_ISO = re.compile(
    r"([0-9]{4})(?:-([0-9]{2})(?:-([0-9]{2})"
    r"(?:[T ]([0-9]{2})(?::([0-9]{2})(?::([0-9]{2})(?:[.,]([0-9]{1,9}))?)?)?)?"
    r"(Z|[+-][0-9]{2}:?[0-9]{2})?)?)?"
)


def iso_ns(value: str) -> int | None:
    """Nanoseconds since the epoch of an ISO 8601 text."""
    found = _ISO.fullmatch(value)
    if not found:
        return None
    year, month, day = (int(part or 1) for part in found.groups()[:3])
    hour, minute, second = (int(part or 0) for part in found.groups()[3:6])
    fraction, zone = found[7] or "", found[8] or "Z"
    try:
        moment = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError:
        return None
    shift = 0 if zone == "Z" else (int(zone[1:3]) * 60 + int(zone[-2:])) * (-60 if zone[0] == "-" else 60)
    since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86400 + since.seconds - shift) * 10**9 + int(fraction.ljust(9, "0"))


def date(value: Any) -> Instant | None:
    """A date field's value: ISO 8601 text, or milliseconds since the epoch; in the years 1 to 9999."""
    ns = None
    if isinstance(value, str) and re.fullmatch(r"[0-9]{2}-[0-9]{2}-[0-9]{4}", value):
        ns = iso_ns(f"{value[6:]}-{value[3:5]}-{value[:2]}")
    elif isinstance(value, str) and (ns := iso_ns(value)) is None:
        found = re.fullmatch(r"(-?)([0-9]{1,20})(?:\.([0-9]{1,20}))?", value)
        if found:
            ns = int(found[2]) * 10**6 + int((found[3] or "").ljust(6, "0")[:6])
            ns = -ns if found[1] else ns
    elif isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        ns = round(Fraction(value) * 10**6)
    return Instant(ns) if ns is not None and _FIRST_NS <= ns <= _LAST_NS else None


_FIRST_NS, _LAST_NS = -62135596800 * 10**9, 253402300800 * 10**9 - 1


def convert(value: Any, kind: Kind) -> Any:
    """A scalar as a value of `kind`: addresses as canonical text, dates as Instant; None if it is none."""
    if value is None or kind is Kind.ANY:
        return value
    if isinstance(value, Instant) and kind is not Kind.STRING:
        return value if kind is Kind.DATE else None
    if kind is Kind.IP:
        bits = address(value)
        return None if bits is None else address_text(bits)
    to = {Kind.STRING: text, Kind.VERSION: text, Kind.NUMBER: number, Kind.BOOLEAN: boolean, Kind.DATE: date}
    return to[kind](value) if kind in to else None


# --- text ------------------------------------------------------------------------------------


def fold(value: str) -> str:
    """Simple case folding: each character's lower case where that is one character."""
    return "".join(c.lower() if len(c.lower()) == 1 else c for c in value)


def wildcard(pattern: str, value: str) -> bool:
    """Whether `pattern` (`*` any run, `?` one character, nothing escapes) covers the whole value."""
    reachable = [True] + [False] * len(value)
    for p in pattern:
        if p == "*":
            reachable = list(itertools.accumulate(reachable, operator.or_))
        else:
            reachable = [False] + [
                before and (p in ("?", c)) for before, c in zip(reachable[:-1], value, strict=True)
            ]
    return reachable[-1]


_CLASSES = {
    "d": frozenset(ascii_letters.digits),
    "s": frozenset(" \t\n\r"),
    "w": frozenset(ascii_letters.ascii_letters + ascii_letters.digits + "_"),
}


class _Regex:
    """A regular expression in Lucene's syntax, matched by following sets of positions."""

    def __init__(self, pattern: str, *, insensitive: bool) -> None:
        self.pattern, self.place = pattern, 0
        self.fold = fold if insensitive else str
        self.tree = self._alternatives()
        if self.place < len(pattern):
            raise ValueError(f"regex: {pattern!r} does not go on at {self.place}")

    def covers(self, value: str) -> bool:
        value = self.fold(value)
        return len(value) in self._ends(self.tree, value, {0})

    def _peek(self) -> str:
        return self.pattern[self.place : self.place + 1]

    def _take(self) -> str:
        self.place += 1
        return self.pattern[self.place - 1]

    def _alternatives(self) -> tuple[Any, ...]:
        branches = [self._sides()]
        while self._peek() == "|":
            self._take()
            branches.append(self._sides())
        return ("any", branches)

    def _sides(self) -> tuple[Any, ...]:
        sides = [self._row()]
        while self._peek() == "&":
            self._take()
            sides.append(self._row())
        return ("all", sides)

    def _row(self) -> tuple[Any, ...]:
        """One item at least, whatever sign it begins with; only the empty pattern has none."""
        items: list[tuple[Any, ...]] = []
        while self.pattern and (not items or self._peek() not in ("", "|", "&", ")")):
            item = self._item()
            while self._peek() and self._peek() in "?*+{":
                item = ("repeat", item, *self._times())
            items.append(item)
        return ("row", items)

    def _times(self) -> tuple[int, float]:
        sign = self._take()
        if sign != "{":
            return {"?": (0, 1.0), "*": (0, math.inf), "+": (1, math.inf)}[sign]
        bounds = self.pattern[self.place : self.pattern.index("}", self.place)]
        self.place += len(bounds) + 1
        low, comma, high = bounds.partition(",")
        return int(low), int(high) if high else math.inf if comma else int(low)

    def _item(self) -> tuple[Any, ...]:
        c = self._take()
        if c == "~":
            return ("not", self._item())
        if c == "(":
            inner = ("row", []) if self._peek() == ")" else self._alternatives()
            if self._take() != ")":
                raise ValueError(f"regex: {self.pattern!r} does not go on at {self.place}")
            return inner
        if c == "<":
            end = self.pattern.index(">", self.place)
            bounds, self.place = self.pattern[self.place : end].split("-"), end + 1
            return ("number", bounds)
        if c in "@#":
            return ("repeat", ("one", lambda _: c == "@"), 0 if c == "@" else 1, math.inf)
        if c == '"':
            end = self.pattern.index('"', self.place)
            literal, self.place = self.pattern[self.place : end], end + 1
            return ("row", [self._one(each) for each in literal])
        if c == "[":
            return self._class()
        if c == ".":
            return ("one", lambda _: True)
        if c == "\\":
            c = self._take()
            if c.lower() in _CLASSES:
                return ("one", self._escape(c))
        return self._one(c)

    def _one(self, c: str) -> tuple[Any, ...]:
        wanted = self.fold(c)
        return ("one", lambda each: each == wanted)

    def _escape(self, c: str) -> Any:
        members = _CLASSES[c.lower()]
        return (lambda each: each in members) if c.islower() else (lambda each: each not in members)

    def _class(self) -> tuple[Any, ...]:
        negated = self._peek() == "^"
        if negated:
            self._take()
        tests, first = [], True
        while first or self._peek() != "]":
            first = False
            low = self._take()
            if low == "\\":
                low = self._take()
                if low.lower() in _CLASSES:
                    tests.append(self._escape(low))
                    continue
            high = low
            if self._peek() == "-" and self.pattern[self.place + 1] != "]":
                self._take()
                high = self._take()
                high = self._take() if high == "\\" else high
            members = {self.fold(chr(n)) for n in range(ord(low), ord(high) + 1)}
            tests.append(members.__contains__)
        self._take()
        return ("one", lambda each: any(test(each) for test in tests) != negated)

    def _ends(self, tree: tuple[Any, ...], value: str, starts: set[int]) -> set[int]:
        kind, inner = tree[0], tree[1]
        if kind == "one":
            return {at + 1 for at in starts if at < len(value) and inner(value[at])}
        if kind == "any":
            return set().union(*(self._ends(branch, value, starts) for branch in inner))
        if kind == "row":
            for item in inner:
                starts = self._ends(item, value, starts)
            return starts
        if kind in ("all", "not", "number"):
            return {end for start in starts for end in self._from(kind, inner, value, start)}
        low, high = tree[2], tree[3]
        for _ in range(low):
            starts = self._ends(inner, value, starts)
        seen, done = set(starts), low
        while starts and done < high:
            starts = self._ends(inner, value, starts) - seen
            seen |= starts
            done += 1
        return seen

    def _from(self, kind: str, inner: Any, value: str, start: int) -> set[int]:
        """Where a match that starts here may end, for what has to hold for a stretch as a whole."""
        everywhere = set(range(start, len(value) + 1))
        if kind == "all":
            return everywhere.intersection(*(self._ends(side, value, {start}) for side in inner))
        if kind == "not":
            return everywhere - self._ends(inner, value, {start})
        low, high = sorted(map(int, inner))
        digits = {len(bound) for bound in inner}
        return {
            end
            for end in everywhere - {start}
            if set(value[start:end]) <= set(ascii_letters.digits)
            and low <= int(value[start:end]) <= high
            and (len(digits) > 1 or end - start in digits)
        }


@functools.lru_cache(maxsize=4096)
def _regex(pattern: str, *, insensitive: bool) -> _Regex:
    return _Regex(pattern, insensitive=insensitive)


# --- numbers ---------------------------------------------------------------------------------


def arithmetic(op: str, a: Any, b: Any) -> int | float | None:
    """int64 and double: integers truncate toward zero and become null when they overflow."""
    if isinstance(a, int) and isinstance(b, int):
        result = _integer(op, a, b)
        return None if result is None or result not in INT64 else result
    return _double(op, float(a), float(b))


def _integer(op: str, a: int, b: int) -> int | None:
    if op in "/%":
        if b == 0:
            return None
        quotient = abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)
        return quotient if op == "/" else a - quotient * b
    return {"+": a + b, "-": a - b, "*": a * b}[op]


def _double(op: str, a: float, b: float) -> float:
    if op == "/":
        if b == 0:
            return math.nan if a == 0 or math.isnan(a) else math.copysign(math.inf, a) * math.copysign(1, b)
        return a / b
    if op == "%":
        return math.nan if b == 0 or math.isinf(a) else math.fmod(a, b)
    return {"+": a + b, "-": a - b, "*": a * b}[op]


# --- conditions --------------------------------------------------------------------------------


class Operand(NamedTuple):
    """A value inside a leaf: null is None; `constant` if no field takes part in it."""

    value: Any
    kind: Kind
    constant: bool = False


_STRINGS = (Kind.STRING,)
_SIGNATURES: dict[str, tuple[tuple[Kind, ...], Kind, Kind]] = {
    # name: kinds of the first arguments, kind of all further ones, kind of the result
    **dict.fromkeys(("add", "subtract", "multiply", "divide", "modulo"), ((), Kind.NUMBER, Kind.NUMBER)),
    "between": (_STRINGS * 3, Kind.BOOLEAN, Kind.STRING),
    "cidrmatch": ((), Kind.STRING, Kind.BOOLEAN),
    "concat": ((), Kind.ANY, Kind.STRING),
    "endswith": ((), Kind.STRING, Kind.BOOLEAN),
    "indexof": (_STRINGS * 2, Kind.NUMBER, Kind.NUMBER),
    "length": ((), Kind.STRING, Kind.NUMBER),
    "number": (_STRINGS, Kind.NUMBER, Kind.NUMBER),
    "startswith": ((), Kind.STRING, Kind.BOOLEAN),
    "string": ((), Kind.ANY, Kind.STRING),
    "stringcontains": ((), Kind.STRING, Kind.BOOLEAN),
    "substring": (_STRINGS, Kind.NUMBER, Kind.STRING),
    "wildcard": ((), Kind.STRING, Kind.BOOLEAN),
}


def fields_of(expr: ast.Expr) -> Iterator[ast.Field]:
    """Each occurrence of a field, in the order in which `_Condition.value` asks for them."""
    match expr:
        case ast.Field():
            yield expr
        case ast.Call(args=parts) | ast.And(operands=parts) | ast.Or(operands=parts):
            for part in parts:
                yield from fields_of(part)
        case ast.Comparison(left=left, right=right) | ast.Arithmetic(left=left, right=right):
            yield from fields_of(left)
            yield from fields_of(right)
        case ast.Negative(operand=operand) | ast.Not(operand=operand):
            yield from fields_of(operand)
        case ast.In(value=value, items=items):
            yield from fields_of(value)
            for item in items:
                yield from fields_of(item)
        case ast.Pattern(value=value):
            yield from fields_of(value)


def _segments(field: ast.Field) -> list[str]:
    """No segment at all if the field is what its scope stands for: `$v`."""
    return field.path.split(".") if field.path else []


def _is_boolean_expression(expr: ast.Expr) -> bool:
    match expr:
        case ast.And() | ast.Or() | ast.Not() | ast.Comparison() | ast.In() | ast.Pattern():
            return True
        case ast.Call(name=name):
            return _SIGNATURES[name.lower()][2] is Kind.BOOLEAN
    return False


def _opposite(known: bool | str | None) -> bool | str | None:
    return not known if isinstance(known, bool) else known


def _asks_events(expr: ast.Expr) -> bool:
    """Whether there is a lineage or a search in it, which only an event answers."""
    return isinstance(expr, (ast.Lineage, ast.ArraySearch)) or any(map(_asks_events, ast.children(expr)))


def _is_null(expr: ast.Expr) -> bool:
    return isinstance(expr, ast.Literal) and expr.value is None


class _Scope(NamedTuple):
    """What the fields of one scope are fields of: a node, and the path at which it stands in its event."""

    node: Any
    path: str = ""


class _Condition:
    """The two modes of evaluation over one event."""

    def __init__(
        self,
        event: dict[str, Any],
        types: Mapping[str, str],
        *,
        named: Mapping[str, dict[str, Any]] = {},
        related: Callable[[ast.Lineage], bool] | None = None,
    ) -> None:
        """`named`: the events of named steps; `related`: what the event's `… of [ ]` are."""
        self.types = types
        self.related = related
        self.scopes = {"": _Scope(event), **{name: _Scope(other) for name, other in named.items()}}

    def kind(self, field: ast.Field) -> Kind:
        return _KIND_OF_TYPE.get(self.types.get(self.whole_path(field), "any"), Kind.ANY)

    def whole_path(self, field: ast.Field) -> str:
        """The path of the field in the event that it is part of."""
        return ".".join(part for part in (self.scopes[field.scope].path, field.path) if part)

    def values(self, field: ast.Field) -> list[Any]:
        """The field's values as its type has them; a value that is none of the type is left out."""
        kind = self.kind(field)
        found = (convert(value, kind) for value in values_at(self.scopes[field.scope].node, _segments(field)))
        return [value for value in found if value is not None]

    def _some_element_holds(self, search: ast.ArraySearch) -> bool:
        before, path = self.scopes, self.whole_path(search.array)
        try:
            for element in elements_at(before[search.array.scope].node, _segments(search.array)):
                self.scopes = {**before, search.variable: _Scope(element, path)}
                if self.holds(search.condition):
                    return True
            return False
        finally:
            self.scopes = before

    # filter mode

    def holds(self, expr: ast.Expr) -> bool:
        """Two-valued: the whole condition, and what stands between `and`, `or` and `not`."""
        match expr:
            case ast.And(operands=operands):
                return all(self.holds(operand) for operand in operands)
            case ast.Or(operands=operands):
                return any(self.holds(operand) for operand in operands)
            case ast.Not(operand=operand):
                return self._known(operand) is not None and not self.holds(operand)
            case ast.Literal(value=value):
                return value is True
            case ast.Field():
                return any(convert(value, Kind.BOOLEAN) is True for value in self.values(expr))
            case ast.ArraySearch():
                return self._some_element_holds(expr)
            case ast.Lineage():
                assert self.related is not None, "nobody has walked through the events"
                return self.related(expr)
            case ast.In(negated=True, value=value, items=items, insensitive=insensitive):
                return self.holds(ast.Not(ast.In(value, items, insensitive)))
            case ast.Comparison(op="!=", left=left, right=right):
                return self.holds(ast.Not(ast.Comparison("==", left, right)))
            case ast.Comparison(op="==", left=left, right=right):
                return self._equality_holds(left, right)
        return self._leaf_holds(expr)

    def _known(self, expr: ast.Expr) -> bool | str | None:
        """What a condition is before there is any event: "?" if that depends, else its value, null as well.

        An event cannot make true what is null by then, nor its negation.
        """
        if next(fields_of(expr), None) is None and not _asks_events(expr):
            value = self.value(expr, iter(())).value
            return value if isinstance(value, bool) else None
        match expr:
            case ast.And(operands=operands):
                known = {self._known(operand) for operand in operands}
                return False if False in known else None if None in known else "?"
            case ast.Or(operands=operands):
                known = {self._known(operand) for operand in operands}
                return True if True in known else "?" if "?" in known else None if None in known else False
            case ast.Not(operand=operand):
                return _opposite(self._known(operand))
            case ast.ArraySearch(condition=inner) | ast.Lineage(event=ast.EventQuery(condition=inner)):
                return "?" if self._known(inner) in (True, "?") else False
            case ast.In(items=items) if all(self._is_known_null(item) for item in items):
                return None
            case ast.In(value=value) | ast.Pattern(value=value) if self._is_known_null(value):
                return None
            case ast.Comparison(op="!=", left=left, right=right):
                return _opposite(self._known(ast.Comparison("==", left, right)))
            case ast.Comparison(op="==", left=ast.Literal() as left, right=right):
                return self._known(ast.Comparison("==", right, left))
            case ast.Comparison(op="==", left=left, right=ast.Literal(value=bool(wanted))):
                if isinstance(left, (ast.And, ast.Or, ast.Not, ast.Comparison, ast.In)):
                    return self._known(left) if wanted else _opposite(self._known(left))
        return "?"

    def _is_known_null(self, expr: ast.Expr) -> bool:
        return next(fields_of(expr), None) is None and self.value(expr, iter(())).value is None

    def _equality_holds(self, left: ast.Expr, right: ast.Expr) -> bool:
        if isinstance(left, ast.Literal) and not isinstance(right, ast.Literal):
            left, right = right, left
        if _is_null(right):
            return self._null_holds(left)
        if isinstance(right, ast.Literal) and isinstance(right.value, bool) and _is_boolean_expression(left):
            return self.holds(left) if right.value else self.holds(ast.Not(left))
        return self._leaf_holds(ast.Comparison("==", left, right))

    def _null_holds(self, expr: ast.Expr) -> bool:
        if isinstance(expr, ast.Field):
            return not self.values(expr)
        return any(self.value(expr, iter(row)).value is None for row in self._combinations(expr))

    def _leaf_holds(self, expr: ast.Expr) -> bool:
        return any(self.value(expr, iter(row)).value is True for row in self._combinations(expr))

    def _combinations(self, expr: ast.Expr) -> Iterator[tuple[Any, ...]]:
        return itertools.product(*(self.values(field) or [None] for field in fields_of(expr)))

    # value mode

    def value(self, expr: ast.Expr, row: Iterator[Any]) -> Operand:
        """Three-valued: everything inside a leaf. `row` holds one value for each occurrence of a field."""
        constant = next(fields_of(expr), None) is None
        match expr:
            case ast.Literal(value=value):
                return Operand(value, json_kind(value), constant)
            case ast.Field():
                return Operand(next(row), self.kind(expr), constant)
            case ast.Negative(operand=operand):
                inner = convert(self.value(operand, row).value, Kind.NUMBER)
                negative = (
                    None if inner is None else arithmetic("-", 0 if isinstance(inner, int) else -0.0, inner)
                )
                return Operand(negative, Kind.NUMBER, constant)
            case ast.Arithmetic(op=op, left=left, right=right):
                a = convert(self.value(left, row).value, Kind.NUMBER)
                b = convert(self.value(right, row).value, Kind.NUMBER)
                result = None if a is None or b is None else arithmetic(op, a, b)
                return Operand(result, Kind.NUMBER, constant)
            case ast.Call():
                return self._call(expr, row, constant)
        return Operand(self._truth(expr, row), Kind.BOOLEAN, constant)

    def _call(self, call: ast.Call, row: Iterator[Any], constant: bool) -> Operand:
        first, further, result = _SIGNATURES[call.name.lower()]
        kinds = itertools.chain(first, itertools.repeat(further))
        args = []
        for arg, kind in zip(call.args, kinds, strict=False):
            value = convert(self.value(arg, row).value, kind)
            args.append(text(value) if isinstance(value, Instant) else value)
        returned = FUNCTIONS[call.name.lower()].call(args, insensitive=call.insensitive)
        return Operand(returned, result, constant)

    def _truth(self, expr: ast.Expr, row: Iterator[Any]) -> bool | None:
        match expr:
            case ast.And(operands=operands):
                return self._junction(operands, row, decisive=False)
            case ast.Or(operands=operands):
                return self._junction(operands, row, decisive=True)
            case ast.Not(operand=operand):
                inner = convert(self.value(operand, row).value, Kind.BOOLEAN)
                return None if inner is None else not inner
            case ast.Comparison(op=op, left=left, right=right):
                a, b = self.value(left, row), self.value(right, row)
                for side, other in ((a, b), (b, a)):
                    if op in ("==", "!=") and side.constant and side.value is None:
                        return (other.value is None) == (op == "==")  # a test for null, never null itself
                return compare(op, a, b)
            case ast.In():
                return self._in(expr, row)
            case ast.Pattern(op=op, value=operand, patterns=patterns):
                value = convert(self.value(operand, row).value, Kind.STRING)
                if value is None:
                    return None
                return any(pattern_covers(op, str(pattern.value), value) for pattern in patterns)
        raise NotImplementedError(f"{type(expr).__name__} has no meaning here")

    def _junction(self, operands: Sequence[ast.Expr], row: Iterator[Any], *, decisive: bool) -> bool | None:
        """Kleene's `or` (decisive True) and `and` (decisive False)."""
        found = [convert(self.value(operand, row).value, Kind.BOOLEAN) for operand in operands]
        if any(value is decisive for value in found):
            return decisive
        return None if any(value is None for value in found) else not decisive

    def _in(self, expr: ast.In, row: Iterator[Any]) -> bool | None:
        left = self.value(expr.value, row)
        items = [self.value(item, row) for item in expr.items]
        if left.value is None:
            return None
        found = any(compare("==", left, item, insensitive=expr.insensitive) is True for item in items)
        return found != expr.negated


_COMPARISONS = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def compare(op: str, left: Operand, right: Operand, *, insensitive: bool = False) -> bool | None:
    """The comparison's value: null if a side is null or the sides cannot be compared."""
    sides = _meet(left, right)
    if sides is None:
        return None
    a, b = sides
    if isinstance(a, Block) or isinstance(b, Block):
        inside, around = (b, a) if isinstance(a, Block) else (a, b)
        return around.holds(inside) == (op == "==") if op in ("==", "!=") else None
    if insensitive and isinstance(a, Version):
        a, b = a.text, b.text
    if insensitive and isinstance(a, str):
        a, b = fold(a), fold(b)
    return bool(_COMPARISONS[op](a, b))


def _meet(left: Operand, right: Operand) -> tuple[Any, Any] | None:
    """Both sides as values of one kind (addresses as numbers, blocks as Block), or None."""
    if left.value is None or right.value is None:
        return None
    kind = _common_kind(left, right)
    if kind is None:
        return None
    a, b = (_as(side, kind) for side in (left, right))
    return None if a is None or b is None else (a, b)


def _common_kind(left: Operand, right: Operand) -> Kind | None:
    a, b = left.kind, right.kind
    if a is Kind.ANY and b is Kind.ANY:
        a, b = json_kind(left.value), json_kind(right.value)
        return a if a is b else None
    if a is b or b is Kind.ANY:
        return a
    if a is Kind.ANY:
        return b
    if left.constant != right.constant:
        return b if left.constant else a
    read = (Kind.IP, Kind.DATE, Kind.VERSION)
    return next((kind for kind in read if {a, b} == {kind, Kind.STRING}), None)


def _as(side: Operand, kind: Kind) -> Any:
    if kind is Kind.IP:
        is_block = side.constant and isinstance(side.value, str) and "/" in side.value
        return block(side.value) if is_block else address(side.value)
    value = convert(side.value, kind)
    return Version(value) if kind is Kind.VERSION else value


def pattern_covers(op: str, pattern: str, value: str) -> bool:
    if op in (":", "like~"):
        return wildcard(fold(pattern), fold(value))
    if op == "like":
        return wildcard(pattern, value)
    return _regex(pattern, insensitive=op == "regex~").covers(value)


# --- queries -----------------------------------------------------------------------------------


def _types(types: Mapping[str, str]) -> Mapping[str, str]:
    from detectord.events.fields import FIELD_TYPES, FieldTypes

    return types if isinstance(types, FieldTypes) else FieldTypes(types, FIELD_TYPES)


class Place(NamedTuple):
    """Where an event stands in the total order."""

    ns: float
    tiebreaker: tuple[Any, ...]
    position: int


class _Data:
    """The events of one search, with what its query asks of them. `host`: only those of one host, on which
    the query asks for lineage; "" for those without a host."""

    def __init__(
        self,
        query: ast.Query,
        events: list[dict[str, Any]],
        types: Mapping[str, str],
        timestamp_field: str,
        tiebreaker_field: str | None,
        category_field: str,
        host: str | None = None,
    ) -> None:
        self.events = events
        self.types = types
        self.category_field = ast.Field(category_field)
        self.places = [
            Place(self._ns(event, timestamp_field), self._tiebreaker(event, tiebreaker_field), index)
            for index, event in enumerate(events)
        ]
        self.host = host
        self.ancestry = _Ancestry()
        if host is not None:
            self.ancestry.walk(self, host, _lineages_of(query))

    def _ns(self, event: dict[str, Any], field: str) -> float:
        """The event's time; infinity without one, so that it stands last."""
        moments = (date(value) for value in values_at(event, field.split(".")))
        return next((moment.ns for moment in moments if moment), math.inf)

    def _tiebreaker(self, event: dict[str, Any], field: str | None) -> tuple[Any, ...]:
        """Numbers by value, then texts by code point, then none at all."""
        found = [] if field is None else _Condition(event, self.types).values(ast.Field(field))
        ranked = [((0, value) if json_kind(value) is Kind.NUMBER else (1, text(value))) for value in found]
        return min(ranked, default=(2,))

    def ordered(self, *, timed: bool) -> list[int]:
        """The events' indexes in order; with `timed`, only of events that have a time."""
        wanted = (index for index, place in enumerate(self.places) if not timed or place.ns != math.inf)
        if self.host is not None:
            wanted = (index for index in wanted if self.host in hosts_of(self.events[index]))
        return sorted(wanted, key=self.places.__getitem__)

    def accepts(self, query: ast.EventQuery, index: int, named: Mapping[str, int] = {}) -> bool:
        """Whether the event satisfies `category where condition`; `named` events are read by their names."""
        condition = _Condition(
            self.events[index],
            self.types,
            named={name: self.events[other] for name, other in named.items()},
            related=lambda lineage: self.ancestry.holds(lineage, index),
        )
        if query.category is not None:
            names = (text(value) for value in condition.values(self.category_field))
            if query.category not in names:
                return False
        return condition.holds(query.condition)

    def key_tuples(self, keys: Sequence[ast.Expr], index: int) -> list[tuple[Any, ...]]:
        """The key tuples with which the event takes part: none if a mandatory key is missing."""
        condition = _Condition(self.events[index], self.types)
        columns = []
        for key in keys:
            assert isinstance(key, ast.Field)
            found = {_key_rank(value): value for value in condition.values(key)}
            if not found and not key.optional:
                return []
            columns.append([found[rank] for rank in sorted(found)] or [None])
        return list(itertools.product(*columns))


def _key_rank(value: Any) -> tuple[Any, ...]:
    """Equal for equal key values only (1 is no `true`), and ordered across kinds: nothing, numbers with
    `true` right before 1, dates, texts."""
    if value is None:
        return (0,)
    kind = json_kind(value)
    order = {Kind.BOOLEAN: 1, Kind.NUMBER: 1, Kind.DATE: 2, Kind.STRING: 3}
    return (order[kind], value, kind is Kind.NUMBER)


def rank(key: tuple[Any, ...]) -> tuple[Any, ...]:
    """Where a join key stands among others; equal for equal keys only."""
    return tuple(_key_rank(value) for value in key)


# --- lineage -----------------------------------------------------------------------------------


def _below(expr: ast.Expr) -> Iterator[ast.Expr]:
    """An expression and all in it, what stands in the brackets of an `of` included."""
    yield expr
    for child in ast.children(expr):
        yield from _below(child)


def _lineages_of(query: ast.Query) -> list[ast.Lineage]:
    body = query.body
    if isinstance(body, ast.EventQuery):
        events = [body]
    else:
        events = [step.event for step in body.steps]
        events += [body.until.event] if isinstance(body, ast.Sequence) and body.until else []
    return [part for event in events for part in _below(event.condition) if isinstance(part, ast.Lineage)]


GENERATIONS = 100
"""How far up `descendant of` looks."""


class _Process:
    """A process of a host, as far as it is known."""

    def __init__(self) -> None:
        self.entity_id: str | None = None
        self.pid: int | float | None = None
        self.ended = False
        self.parent: _Process | None = None
        self.marks: set[int] = set()


class _Host:
    """The processes of one host, by their names."""

    def __init__(self, name: str) -> None:
        self.has_pids = bool(name)
        self.by_entity: dict[str, _Process] = {}
        self.by_pid: dict[int | float, _Process] = {}

    def tell(self, event: dict[str, Any]) -> _Process | None:
        """Bring the event's process, its pid and its parent up to date."""
        entity_id, pid = _only_text(event, "process.entity_id"), self._pid(event, "process.pid")
        begins = _is_process_event(event, "start") and "exec" not in _texts(event, "event.action")
        process = self._find(entity_id, None if begins else pid)
        if process is None:
            if entity_id is None and pid is None:
                return None
            process = _Process()
        if entity_id is not None:
            process.entity_id = entity_id
            self.by_entity[entity_id] = process
        if pid is not None and not process.ended:
            self._give(pid, process)
        if process.parent is None:
            process.parent = self._parent(event, process)
        return process

    def ask(self, event: dict[str, Any]) -> tuple[_Process | None, _Process | None]:
        """The event's process and its parent, as far as they are known; nothing changes."""
        entity_id, pid = _only_text(event, "process.entity_id"), self._pid(event, "process.pid")
        if entity_id is None and pid is None:
            return None, None
        own = self._find(entity_id, pid)
        if own is not None and own.parent is not None:
            return own, own.parent
        parent_id, parent_pid = self._parent_name(event)
        if parent_id is None and parent_pid == pid and not (own and own.ended):
            return own, None  # the pid is its own
        parent = self._find(parent_id, parent_pid if parent_id is None else None)
        return own, None if parent is own else parent

    def end(self, process: _Process) -> None:
        process.ended = True
        if process.pid is not None:
            del self.by_pid[process.pid]
            process.pid = None

    def _pid(self, event: dict[str, Any], path: str) -> int | float | None:
        found = {number(value) for value in values_at(event, path.split("."))} - {None}
        return found.pop() if self.has_pids and len(found) == 1 else None

    def _find(self, entity_id: str | None, pid: int | float | None) -> _Process | None:
        """The process of that name. One that has the pid and no entity_id yet may be given one."""
        if entity_id in self.by_entity:
            return self.by_entity[entity_id]
        running = None if pid is None else self.by_pid.get(pid)
        if running is None or entity_id is None or running.entity_id is None:
            return running
        return None

    def _give(self, pid: int | float, process: _Process) -> None:
        holder = self.by_pid.get(pid)
        if holder is process:
            return
        if holder is not None:
            holder.pid = None
        if process.pid is not None:
            del self.by_pid[process.pid]
        process.pid, self.by_pid[pid] = pid, process

    def _parent_name(self, event: dict[str, Any]) -> tuple[str | None, int | float | None]:
        return _only_text(event, "process.parent.entity_id"), self._pid(event, "process.parent.pid")

    def _parent(self, event: dict[str, Any], child: _Process) -> _Process | None:
        """The parent that an event names; one that nobody has heard of is known from now on."""
        entity_id, pid = self._parent_name(event)
        if entity_id is None and pid is None:
            return None
        parent = self._find(entity_id, pid if entity_id is None else None)
        if parent is None:
            parent = _Process()
            if entity_id is not None:
                parent.entity_id = entity_id
                self.by_entity[entity_id] = parent
            elif pid is not None:
                self._give(pid, parent)
        return None if parent is child else parent


def hosts_of(event: dict[str, Any]) -> list[str]:
    """The host that an event is of; "" if it names none, or several."""
    named = set(_texts(event, "host.id")) - {""}
    return sorted(named) if len(named) == 1 else [""]


def _texts(event: dict[str, Any], path: str) -> list[str]:
    return [text(value) for value in values_at(event, path.split("."))]


def _only_text(event: dict[str, Any], path: str) -> str | None:
    """The only value at the path; no name if there are several, or it is empty."""
    found = set(_texts(event, path))
    return found.pop() or None if len(found) == 1 else None


def _is_process_event(event: dict[str, Any], kind: str) -> bool:
    return "process" in _texts(event, "event.category") and kind in _texts(event, "event.type")


class _Ancestry:
    """What every `… of [event]` of a query says of every event (docs/endpoint-dialect.md, Lineage)."""

    def __init__(self) -> None:
        self._true: set[tuple[int, int]] = set()  # of which lineages (by id) which events are

    def holds(self, lineage: ast.Lineage, index: int) -> bool:
        return (id(lineage), index) in self._true

    def walk(self, data: _Data, name: str, lineages: Sequence[ast.Lineage]) -> None:
        """Go through the events of a host in order. A start or end is told, the questions are answered from
        what is known, the event's own marks are set, and its process ends if it says so."""
        host = _Host(name)
        for index in data.ordered(timed=True):
            event = data.events[index]
            process = host.tell(event) if _starts_or_ends(event) else None
            own, parent = host.ask(event)
            self._true.update((id(each), index) for each in lineages if _is_marked(each, own, parent))
            marks = [id(each) for each in lineages if data.accepts(each.event, index)]
            if marks and process is None:
                process = host.tell(event)
            if process is not None:
                process.marks.update(marks)
                if _is_process_event(event, "end"):
                    host.end(process)


def _starts_or_ends(event: dict[str, Any]) -> bool:
    return _is_process_event(event, "start") or _is_process_event(event, "end")


def _is_marked(lineage: ast.Lineage, own: _Process | None, parent: _Process | None) -> bool:
    if lineage.relation == "event":
        return own is not None and id(lineage) in own.marks
    generations: list[_Process] = []
    while parent is not None and parent not in generations and len(generations) < GENERATIONS:
        generations.append(parent)
        parent = parent.parent if lineage.relation == "descendant" else None
    return any(id(lineage) in each.marks for each in generations)


# --- sequences ---------------------------------------------------------------------------------


class _Pending(NamedTuple):
    """A sequence on its way: the events taken by its first steps."""

    key: tuple[Any, ...]
    taken: tuple[int, ...]


class _SequenceSearch:
    """A sequence over a finite list of events: the positive steps by the slot machine, then the
    check of the missing steps against the whole list."""

    def __init__(self, body: ast.Sequence, data: _Data) -> None:
        self.body, self.data = body, data
        self.order = data.ordered(timed=True)
        written = [step for step in body.steps for _ in range(step.runs)]
        self.all_steps = written
        self.taking_part: dict[tuple[int, int], list[tuple[Any, ...]]] = {}
        self.steps = [step for step in written if not step.missing]

    def keys(self, step: ast.Step, index: int) -> list[tuple[Any, ...]]:
        return self.data.key_tuples((*self.body.keys, *step.keys), index)

    def parts(self, step: ast.Step, index: int) -> list[tuple[Any, ...]]:
        """The key tuples with which the event takes part in a step, none if it does not match. Remembered:
        a step with `runs` is asked as often."""
        place = (id(step), index)
        if place not in self.taking_part:
            accepted = self.data.accepts(step.event, index)
            self.taking_part[place] = self.keys(step, index) if accepted else []
        return self.taking_part[place]

    def ns(self, index: int) -> int:
        return int(self.data.places[index].ns)

    def run(self) -> list[Match]:
        completed: list[_Pending] = []
        machines: dict[tuple[Any, ...], dict[int, _Pending]] = {}
        for index in self.order:
            for step_number in range(len(self.steps) - 1, -1, -1):
                step = self.steps[step_number]
                reads = _reads_names(step)
                for key in self.keys(step, index) if reads else self.parts(step, index):
                    slots = machines.setdefault(rank(key), {})
                    if not reads or self._fits(step, slots.get(step_number - 1), index):
                        self._advance(step_number, key, index, slots, completed)
            until = self.body.until
            for key in self.parts(until, index) if until else ():
                machines.pop(rank(key), None)
        completed.sort(key=lambda done: (self.data.places[done.taken[-1]], rank(done.key)))
        return [
            Match(self._with_placeholders(done.taken), tuple(map(_shown, done.key)))
            for done in completed
            if not self._disturbed(done)
        ]

    def _fits(self, step: ast.Step, before: _Pending | None, index: int) -> bool:
        """Whether a step that reads named events may go on with this sequence; if not, it stays as it is."""
        if before is None:
            return False
        taken = zip(self.steps, before.taken, strict=False)
        named = {earlier.alias: other for earlier, other in taken if earlier.alias}
        return self.data.accepts(step.event, index, named)

    def _advance(
        self,
        step_number: int,
        key: tuple[Any, ...],
        index: int,
        slots: dict[int, _Pending],
        completed: list[_Pending],
    ) -> None:
        grown = _Pending(key, (index,))
        if step_number > 0:
            before = slots.pop(step_number - 1, None)
            if before is None or self._too_long(before.taken[0], index):
                return
            grown = _Pending(key, (*before.taken, index))
        if step_number == len(self.steps) - 1:
            completed.append(grown)
        else:
            slots[step_number] = grown

    def _too_long(self, first: int, last: int) -> bool:
        return self.body.maxspan is not None and self.ns(last) - self.ns(first) > self.body.maxspan

    def _with_placeholders(self, taken: tuple[int, ...]) -> tuple[int | None, ...]:
        events = iter(taken)
        return tuple(None if step.missing else next(events) for step in self.all_steps)

    # missing steps

    def _disturbed(self, done: _Pending) -> bool:
        """True if an event of a missing step stands where it must not."""
        first, last, span = self.ns(done.taken[0]), self.ns(done.taken[-1]), self.body.maxspan
        position, leading, trailing = 0, [], []
        for step in self.all_steps:
            if not step.missing:
                position += 1
            elif position == 0:
                leading.append(step)
            elif position == len(self.steps):
                trailing.append(step)
            elif self._between(step, done.key, *done.taken[position - 1 : position + 1]):
                return True
        before = [ns for step in leading for ns in self._hits(step, done.key) if _ms(ns) < _ms(first)]
        after = [ns for step in trailing for ns in self._hits(step, done.key) if _ms(ns) > _ms(last)]
        if span is None:  # the language demands one where an end is missing
            return False
        if leading and trailing:
            return bool(before and after) and min(after) - max(before) <= span
        if leading:
            return bool(before) and last - max(before) <= span
        return bool(after) and min(after) - first <= span

    def _between(self, step: ast.Step, key: tuple[Any, ...], previous: int, following: int) -> bool:
        low, high = _ms(self.ns(previous)), _ms(self.ns(following))
        return any(low < _ms(ns) < high for ns in self._hits(step, key))

    def _hits(self, step: ast.Step, key: tuple[Any, ...]) -> list[int]:
        """The times of all events that match a missing step with this key."""
        wanted = rank(key)
        return [
            self.ns(index)
            for index in self.order
            if any(rank(own) == wanted for own in self.parts(step, index))
        ]


def _reads_names(step: ast.Step) -> bool:
    parts = (part for part in _below(step.event.condition) if isinstance(part, ast.Field))
    return any(field.scope and not field.scope.startswith("$") for field in parts)


def _ms(ns: int) -> int:
    return ns // 10**6


def _shown(value: Any) -> Any:
    return text(value) if isinstance(value, Instant) else value


# --- samples -----------------------------------------------------------------------------------


def _samples(body: ast.Sample, data: _Data, per_key: int) -> list[Match]:
    """For each key tuple that every step has, the first `per_key` combinations of different events. They
    are chosen from the first few events of each step: one a step, and one for each sample but the first."""
    hits: list[dict[tuple[Any, ...], list[int]]] = []
    keys: dict[tuple[Any, ...], tuple[Any, ...]] = {}
    for step in body.steps:
        own: dict[tuple[Any, ...], list[int]] = {}
        for index in data.ordered(timed=False):
            if data.accepts(step.event, index):
                for key in data.key_tuples((*body.keys, *step.keys), index):
                    own.setdefault(rank(key), []).append(index)
                    keys.setdefault(rank(key), key)
        hits.append(own)
    width = len(body.steps) + per_key - 1
    results = []
    for place in sorted(place for place in keys if all(place in own for own in hits)):
        combinations = itertools.product(*(own[place][:width] for own in hits))
        distinct = (chosen for chosen in combinations if len(set(chosen)) == len(chosen))
        shown = tuple(value.ns // 10**6 if isinstance(value, Instant) else value for value in keys[place])
        results += [Match(chosen, shown) for chosen in itertools.islice(distinct, per_key)]
    return results


def matches(
    query: ast.EventQuery,
    event: dict[str, Any],
    *,
    types: Mapping[str, str] = {},
    category_field: str = "event.category",
) -> bool:
    """Whether one event satisfies `category where condition`. `types`: path → Elasticsearch type name."""
    data = _Data(ast.Query(query), [event], _types(types), "@timestamp", None, category_field)
    return data.accepts(query, 0)


def _found(query: ast.Query, data: _Data, max_samples_per_key: int) -> list[Match]:
    match query.body:
        case ast.EventQuery() as body:
            order = data.ordered(timed=data.host is not None)  # lineage needs an order
            return [Match((index,)) for index in order if data.accepts(body, index)]
        case ast.Sequence() as body:
            return _SequenceSearch(body, data).run()
        case ast.Sample() as body:
            return _samples(body, data, max_samples_per_key)
        case ast.Join():
            raise NotImplementedError("joins are not supported")


def _by_host(query: ast.Query, hosts: Sequence[_Data], max_samples_per_key: int) -> list[Match]:
    """The results of every host, in order."""
    found = [each for data in hosts for each in _found(query, data, max_samples_per_key)]
    if isinstance(query.body, ast.Sample):
        return sorted(found, key=lambda each: rank(each.join_keys))
    places = hosts[0].places

    def place(result: Match) -> tuple[Place, tuple[Any, ...]]:
        return max(places[index] for index in result.events if index is not None), rank(result.join_keys)

    return sorted(found, key=place)


def places_of(
    events: Sequence[dict[str, Any]], timestamp_field: str, tiebreaker_field: str | None
) -> list[Place]:
    """The place of each event in the order of a search."""
    query = ast.Query(ast.EventQuery(None, ast.Literal(True)))
    return _Data(query, list(events), _types({}), timestamp_field, tiebreaker_field, "event.category").places


def run(
    query: ast.Query,
    events: list[dict[str, Any]],
    *,
    timestamp_field: str = "@timestamp",
    tiebreaker_field: str | None = None,
    event_category_field: str = "event.category",
    size: int | None = None,
    max_samples_per_key: int = 1,
    types: Mapping[str, str] = {},
) -> list[Match]:
    """All results of one search over the events, in order. `size` keeps the last ones, of samples the first.
    Joins: NotImplementedError."""
    arguments = (query, events, _types(types), timestamp_field, tiebreaker_field, event_category_field)
    if _lineages_of(query):
        hosts = sorted({host for event in events for host in hosts_of(event)})
        results = _by_host(query, [_Data(*arguments, host) for host in hosts], max_samples_per_key)
    else:
        results = _found(query, _Data(*arguments), max_samples_per_key)
    for pipe in query.pipes:
        limit = _Condition({}, {}).value(pipe.args[0], iter(())).value
        results = results[:limit] if pipe.name == "head" else results[max(0, len(results) - limit) :]
    if size is None or query.pipes:
        return results
    return results[:size] if isinstance(query.body, ast.Sample) else results[max(0, len(results) - size) :]

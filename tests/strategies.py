"""Generated queries and events for the property that every engine answers as the oracle does.

Rule 1: queries pass the language's checks, whatever the events hold: operands are drawn by type.
Rule 2: a case first draws its `World`: a few fields and a few values, from which both the query's
literals and the events are made, so that matches and near misses are both common.
Rule 3: a part of a case (the query, one event) is read off one string of bytes, each byte a choice
and zero the simplest one. That is ten times as fast as a strategy per choice, and it still shrinks: events
are dropped from their list, bytes go to zero.

Events are written in every spelling the language treats as one: nested, dotted, mixed, in arrays and
in arrays of objects, with nulls, objects where a value is expected, and values of the wrong type.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import oracle
from hypothesis import strategies as st

from detectord.eql import ast

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

T = TypeVar("T")

KEYWORDS = ("process.name", "process.args", "user.name")
NUMBERS = ("process.pid", "process.parent.pid")
BOOLEANS = ("process.code_signature.exists",)
ADDRESSES = ("source.ip", "destination.ip")
UNTYPED = ("x", "a.b", "a.b.c", "odd key.v")
ALL = KEYWORDS + NUMBERS * 2 + BOOLEANS + ADDRESSES * 2 + UNTYPED

# Values that are easily taken for each other stand in one line; a world draws from a few lines.
_TEXT_FAMILIES = (
    ("cmd.exe", "CMD.EXE", "cmd.ex", "cmd?exe"),
    ("bash", "Bash", "bas", "bash "),
    ("a", "A", "ab", "", "aab", "abab", "a\nb", "a\tb"),
    ("a*b", "a?b", "axb", "a\\*b", "a\\b", "ab"),
    ("22", "22.0", "2_2", " 22", "0x16", "٢٢", "2.2e1", "+22", "022"),
    ("1", "true", "True", "4.5", "-3", "null", "1e999"),
    ("ß", "ss", "SS", "ẞ", "ſs"),
    ("i", "I", "İ", "i̇", "ı"),
    ("k", "K", "\u212a", "Ω", "\u2126", "ω"),
    ("Σς", "σσ", "ΣΣ", "σς"),
    ("\u00e9", "e\u0301", "É", "E\u0301", "e"),
    ("^a$", "a", '"a"', "[a]", "a-b_c", "a.c"),
    ("👍🏽", "👍", "\ufffd", "z", "ab cd"),
    ("10.0.0.1", "010.0.0.1", "::ffff:10.0.0.1", "10.0.0.1/32"),
)
_TEXTS = tuple(text for family in _TEXT_FAMILIES for text in family)
_NUMBER_FAMILIES: tuple[tuple[int | float, ...], ...] = (
    (1, 2, 3, 0, 22),
    (7, -7, 3, -3, 2, -2),
    (22, 22.0, 22.5, -22),
    (4.5, 0.5, -2.5, 4, 5),
    (2**63 - 1, -(2**63), 2**62, 2**53 + 1, 2**53, 1e300, 1e10),
)
_NUMBERS = tuple(number for family in _NUMBER_FAMILIES for number in family)
_ADDRESSES = (
    *("10.0.0.1", "10.0.0.2", "192.168.1.5", "::1") * 2,
    *("::ffff:10.0.0.1", "0:0:0:0:0:0:0:1", "2001:db8::7", "2001:DB8:0:0::7", "::10.0.0.1", "0.0.0.0"),
)
_BLOCKS = (
    *("10.0.0.0/8", "10.6.48.157/8", "10.0.0.2/31", "192.168.0.0/16", "0.0.0.0/0", "::/0", "2001:db8::/32"),
    *("::1", "10.0.0.1", "::ffff:10.0.0.0/104", "10.0.0.1/32"),
)
_PATTERNS = (
    *(
        "*",
        "a*",
        "*a*",
        "*.exe",
        "CMD*",
        "c?d.*",
        "?",
        "??",
        "a?b",
        "2*",
        "*2",
        "",
        "a*b*",
        "*a*b",
        "ß*",
        "*ς",
        "k*",
    ),
    *("\u212a", "É", "i?", "İ", "a\\*", "**", "*?", "true", "*\n*", "?0.0.0.1", "f*"),
)
_REGEXES = (
    *(
        "[a-c]+",
        "a|bash",
        "(cmd|CMD)\\.(exe|EXE)",
        ".*",
        "a.*b",
        "[^a]*",
        "[A-Z.]+",
        "\\d+",
        "\\w+",
        "[\\d.]+",
    ),
    *(
        "(ab)*",
        "a{1,3}b",
        "^a$",
        "[a\\-z]+",
        ".",
        "k",
        "[k]",
        "ß",
        "é",
        "a?b?",
        "(a|ab)(b|())",
        '\\"+',
        "[^\\s]+",
    ),
    *(
        "(a*)*b",
        "[Σσ]+",
        "[k-m]",
        "22(\\.0)?",
        "()",
        "\\D*",
        "true|false",
        "..?",
        "[^A-Z]+",
        "a{2}",
        "a{0,}.*",
    ),
)


class Choices:
    """A string of bytes, read as one choice after another; at its end every choice is the first."""

    def __init__(self, source: bytes) -> None:
        self._bytes = iter(source)

    def number(self, count: int) -> int:
        """A number below `count` (at most 256)."""
        return next(self._bytes, 0) % count

    def pick(self, options: Sequence[T]) -> T:
        return options[self.number(len(options))]

    def chance(self, percent: int) -> bool:
        """True in about `percent` of 100 cases; the simplest choice is False."""
        return self.number(256) >= 256 - percent * 256 // 100

    def some(self, low: int, high: int, make: Callable[[], T]) -> list[T]:
        """Between `low` and `high` things."""
        return [make() for _ in range(low + self.number(high - low + 1))]


class World(NamedTuple):
    """What a case is about: fields by type, and the values that go round in it."""

    families: tuple[tuple[str, ...], ...]
    texts: tuple[str, ...]
    amounts: tuple[int | float, ...]
    hosts: tuple[str, ...]

    @property
    def keywords(self) -> tuple[str, ...]:
        return self.families[0]

    @property
    def numbers(self) -> tuple[str, ...]:
        return self.families[1]

    @property
    def booleans(self) -> tuple[str, ...]:
        return self.families[2]

    @property
    def addresses(self) -> tuple[str, ...]:
        return self.families[3]

    @property
    def untyped(self) -> tuple[str, ...]:
        return self.families[4]

    @property
    def fields(self) -> tuple[str, ...]:
        return tuple(path for family in self.families for path in family)


def families_of(paths: Collection[str]) -> tuple[tuple[str, ...], ...]:
    """The fields by type, in a fixed order."""
    kinds = (KEYWORDS, NUMBERS, BOOLEANS, ADDRESSES, UNTYPED)
    return tuple(tuple(path for path in kind if path in paths) for kind in kinds)


def world_of(choices: Choices) -> World:
    chosen = set(choices.some(1, 3, lambda: choices.pick(ALL)))
    lines = [choices.pick(_TEXT_FAMILIES), choices.pick(_TEXT_FAMILIES)]
    amounts = choices.pick(_NUMBER_FAMILIES)
    return World(
        families_of(chosen),
        texts=tuple(choices.pick(line) for line in lines for _ in range(2)),
        amounts=tuple(choices.pick(amounts) for _ in range(3)),
        hosts=tuple(choices.pick(_ADDRESSES) for _ in range(3)),
    )


# --- expressions -----------------------------------------------------------------------------

_ORDER = ("<", "<=", ">", ">=")
_EQUALITY = ("==", "!=")
_SPELLINGS = {
    "startswith": ("startsWith", "startswith"),
    "endswith": ("endsWith", "ENDSWITH"),
    "stringcontains": ("stringContains", "stringcontains"),
    "indexof": ("indexOf", "indexof"),
    "cidrmatch": ("cidrMatch", "cidrmatch"),
}


def constant(value: Any) -> ast.Expr:
    """A constant as the parser gives it back: a sign is an operator of its own."""
    if isinstance(value, int | float) and math.copysign(1, value) < 0:
        magnitude = -value if -value < 2**63 else float(-value)
        return ast.Negative(ast.Literal(magnitude))
    return ast.Literal(value)


class Expressions:
    """Draws expressions over one world."""

    def __init__(self, choices: Choices, world: World) -> None:
        self.choices, self.world = choices, world
        self.pick, self.chance, self.some = choices.pick, choices.chance, choices.some

    # constants

    def some_text(self) -> str:
        """Mostly a text of the world, perhaps in other case or cut."""
        value = self.pick(self.world.texts)
        match self.choices.number(10):
            case 5:
                return value.swapcase()
            case 6:
                return value[: len(value) // 2]
            case 7:
                return self.pick(_TEXTS)
            case 8:
                return value.casefold()
            case 9:
                return value.upper()
        return value

    def some_number(self) -> int | float:
        return self.pick(self.world.amounts if not self.chance(25) else _NUMBERS)

    def some_address(self) -> str:
        return self.pick(self.world.hosts if not self.chance(25) else _ADDRESSES)

    def text_literal(self) -> ast.Expr:
        return constant(self.some_text())

    def number_literal(self) -> ast.Expr:
        return constant(self.some_number())

    def wildcards(self) -> str:
        value = self.some_text()
        cut = self.choices.number(len(value) + 1)
        match self.choices.number(6):
            case 1:
                return value[:cut] + "*"
            case 2:
                return "*" + value[cut:]
            case 3:
                return value[:cut] + "?" + value[cut + 1 :]
            case 4:
                return "*" + value[cut : cut + 2] + "*"
            case 5:
                return self.pick(_PATTERNS)
        return value

    def regex(self) -> str:
        value = self.some_text()
        cut = self.choices.number(len(value) + 1)
        head, tail = _quoted(value[:cut]), _quoted(value[cut + 1 :])
        match self.choices.number(7):
            case 1:
                return head + ".*"
            case 2:
                return f"({head}.{tail}|b+)"
            case 5:
                return f"{head}.*&~(.*{tail}|(#|@b)&.{{3,}})"
            case 6:
                return f"({head or '()'}&@)|&&&|~{_quoted(value[:1]) or '.'}"
            case 3:
                return self.pick(_REGEXES)
            case 4:
                return "".join(f"[{_quoted(c)}x]" for c in value)
        return _quoted(value)

    # operands

    def field(self, *families: tuple[str, ...]) -> ast.Field | None:
        """A field of one of the families, None if the world has none."""
        paths = [path for family in families for path in family]
        return ast.Field(self.pick(paths), optional=self.chance(10)) if paths else None

    def any_field(self) -> ast.Field:
        return ast.Field(self.pick(self.world.fields), optional=self.chance(10))

    def call(self, name: str, *args: ast.Expr, folds: bool = False) -> ast.Call:
        spelling = self.pick(_SPELLINGS.get(name, (name,)))
        return ast.Call(spelling, args, insensitive=folds and self.chance(40))

    def strings(self, depth: int = 1) -> ast.Expr:
        """An expression with text as its value."""
        field = self.field(self.world.keywords, self.world.untyped)
        if field and (depth == 0 or not self.chance(40)):
            return field
        if depth == 0:
            return self.call("string", self.any_field())
        inner = self.strings(depth - 1)
        match self.choices.number(4):
            case 0:
                return self.call("string", self.any_field() if self.chance(70) else self.numbers(0))
            case 1:
                return self.call("concat", inner, *self.some(0, 2, self.any_literal))
            case 2:
                bounds = self.some(1, 2, lambda: constant(self.pick((0, 1, 2, -1, -2, 50, -50, None))))
                return self.call("substring", inner, *bounds)
        greedy = (ast.Literal(self.pick((True, False))),) if self.chance(50) else ()
        return self.call("between", inner, self.text_literal(), self.text_literal(), *greedy, folds=True)

    def any_literal(self) -> ast.Expr:
        return self.pick((self.text_literal, self.number_literal, lambda: ast.Literal(True)))()

    def numbers(self, depth: int = 1) -> ast.Expr:
        """An expression with a number as its value."""
        field = self.field(self.world.numbers, self.world.untyped)
        if field and (depth == 0 or not self.chance(55)):
            return field
        kind = self.choices.number(3 if depth == 0 else 6)
        if kind == 0:
            return self.call("length", self.strings(0))
        if kind == 1:
            start = (constant(self.pick((0, 1, 2, -5, 40, None))),) if self.chance(50) else ()
            return self.call("indexof", self.strings(0), self.text_literal(), *start, folds=True)
        if kind == 2:
            base = (constant(self.pick((10, 16, 8, None))),) if self.chance(50) else ()
            return self.call("number", self.strings(0), *base)
        return self.arithmetic(depth)

    def arithmetic(self, depth: int) -> ast.Expr:
        operands = [self.numbers(depth - 1), self.number_literal()]
        if self.chance(25):
            operands[1] = self.numbers(depth - 1)
        if self.chance(30):
            operands.reverse()
        if self.chance(15):
            return ast.Negative(operands[0])
        if self.chance(30):
            return self.call(self.pick(("add", "subtract", "multiply", "divide", "modulo")), *operands)
        return ast.Arithmetic(self.pick(("+", "-", "*", "/", "%")), *operands)

    # leaves

    def leaf(self) -> ast.Expr:
        """A condition without `and`, `or`, `not`."""
        if self.chance(12):
            return self.null_test()
        if self.chance(4):
            return self.constant()
        families: list[Callable[[], ast.Expr]] = []
        if self.world.keywords or self.world.untyped:
            families += [
                self.string_leaf,
                self.string_leaf,
                self.membership,
                self.pattern,
                self.function_leaf,
            ]
        if self.world.numbers or self.world.untyped:
            families += [self.number_leaf] * 3
        if self.world.booleans or self.world.untyped:
            families += [self.boolean_leaf]
        if self.world.addresses:
            families += [self.address_leaf, self.address_leaf]
        families += [self.pair_leaf, self.pattern_on_text]
        make = self.pick(families)
        return make()

    def sides(self, left: ast.Expr, right: ast.Expr) -> tuple[ast.Expr, ast.Expr]:
        return (right, left) if self.chance(20) else (left, right)

    def null_test(self) -> ast.Expr:
        subject: ast.Expr = self.any_field()
        if self.chance(40):
            subject = self.pick((self.strings, self.numbers))()
        if self.chance(15):
            subject = self.comparison(self.strings(0), self.text_literal())
        return ast.Comparison(self.pick(_EQUALITY), *self.sides(subject, ast.Literal(None)))

    def constant(self) -> ast.Expr:
        """A condition that is the same for every event, or null for it; mostly null."""
        null, text, number = ast.Literal(None), self.text_literal(), self.number_literal()
        match self.choices.number(7):
            case 0:
                return ast.Literal(self.chance(50))
            case 1:
                return ast.In(self.strings(), (null,), negated=self.chance(30))
            case 2:
                return ast.In(text, (null, self.text_literal()), negated=self.chance(30))
            case 3:
                return ast.Comparison(self.pick(_ORDER), *self.sides(null, number))
            case 4:
                return ast.Comparison(self.pick(_EQUALITY), *self.sides(null, self.call("length", null)))
            case 5:
                return ast.Comparison("==", ast.And((null, self.null_test())), ast.Literal(self.chance(50)))
        return null

    def comparison(self, left: ast.Expr, right: ast.Expr, *, ordered: int = 25) -> ast.Expr:
        op = self.pick(_ORDER if self.chance(ordered) else _EQUALITY)
        return ast.Comparison(op, *self.sides(left, right))

    def string_leaf(self) -> ast.Expr:
        field = self.field(self.world.keywords, self.world.untyped)
        if field and self.chance(15):
            return self.comparison(field, self.any_literal(), ordered=0)
        return self.comparison(self.strings(), self.text_literal())

    def membership(self) -> ast.Expr:
        items = self.some(1, 4, self.text_literal)
        if self.chance(10):
            items.append(ast.Literal(None))
        return ast.In(self.strings(), tuple(items), insensitive=self.chance(40), negated=self.chance(30))

    def pattern(self) -> ast.Expr:
        return self.pattern_for(self.strings())

    def pattern_on_text(self) -> ast.Expr:
        return self.pattern_for(self.call("string", self.any_field()))

    def pattern_for(self, subject: ast.Expr) -> ast.Expr:
        op = self.pick((":", "like", "like~", "regex", "regex~"))
        make = self.regex if op.startswith("regex") else self.wildcards
        return ast.Pattern(op, subject, tuple(ast.Literal(text) for text in self.some(1, 3, make)))

    def function_leaf(self) -> ast.Expr:
        name = self.pick(("startswith", "endswith", "stringcontains", "wildcard"))
        if name == "wildcard":
            patterns = self.some(1, 3, lambda: constant(self.wildcards()))
            return self.perhaps_compared(self.call(name, self.strings(), *patterns, folds=True))
        other = self.strings(0) if self.chance(30) else self.text_literal()
        args = self.sides(self.strings(), other)
        return self.perhaps_compared(self.call(name, *args, folds=True))

    def perhaps_compared(self, call: ast.Expr) -> ast.Expr:
        if not self.chance(25):
            return call
        return ast.Comparison(self.pick(_EQUALITY), *self.sides(call, ast.Literal(self.pick((True, False)))))

    def number_leaf(self) -> ast.Expr:
        field = self.field(self.world.numbers)
        if field and self.chance(30):
            return ast.In(field, tuple(self.some(1, 3, self.number_literal)), negated=self.chance(30))
        if field and self.chance(15):
            return self.comparison(field, ast.Literal(self.pick(("22", "1", "4.5"))), ordered=30)
        field = field or self.field(self.world.untyped)
        if field and self.chance(50):
            return self.arithmetic_near_hit(field)
        return self.comparison(self.numbers(), self.number_literal(), ordered=40)

    def arithmetic_near_hit(self, field: ast.Field) -> ast.Expr:
        """An operation with the result that one of the world's numbers gives, or with none."""
        op, amount = self.pick(("+", "-", "*", "/", "%", "/", "%")), self.pick(self.world.amounts)
        other = self.pick((2, 3, -2, -3, 0, 1, -1, 2.0, 0.5, 2**62, amount))
        result = oracle.arithmetic(op, amount, other)
        operation = ast.Arithmetic(op, field, constant(other))
        if result is None or not math.isfinite(result) or self.chance(20):
            return ast.Comparison(self.pick(_EQUALITY), operation, ast.Literal(None))
        return self.comparison(operation, constant(result), ordered=30)

    def boolean_leaf(self) -> ast.Expr:
        field = self.field(self.world.booleans, self.world.untyped)
        assert field is not None
        if self.chance(30):
            return field
        return self.comparison(field, ast.Literal(self.pick((True, False, True, "true", "false"))), ordered=0)

    def block_or_address(self) -> ast.Expr:
        return constant(self.pick(_BLOCKS) if self.chance(40) else self.some_address())

    def address_leaf(self) -> ast.Expr:
        field = self.field(self.world.addresses)
        assert field is not None
        kind = self.choices.number(4)
        if kind == 0:
            return self.comparison(field, constant(self.some_address()), ordered=0)
        if kind == 1:
            blocks = self.some(1, 2, lambda: constant(self.pick(_BLOCKS)))
            return self.perhaps_compared(self.call("cidrmatch", field, *blocks))
        if kind == 2:
            values = self.some(1, 3, self.block_or_address)
            return ast.In(field, tuple(values), negated=self.chance(30))
        if self.chance(50):
            return ast.Comparison(self.pick(_ORDER), field, constant(self.some_address()))
        return self.comparison(field, constant(self.pick(_BLOCKS)), ordered=0)

    def pair_leaf(self) -> ast.Expr:
        """Field against field: both of one type, or one without a type."""
        left = self.any_field()
        family = next(family for family in self.world.families if left.path in family)
        right = self.field(family, self.world.untyped) or left
        ordered = 0 if {left.path, right.path} & set(BOOLEANS) else 25
        return self.comparison(left, right, ordered=ordered)

    # conditions

    def condition(self, depth: int) -> ast.Expr:
        if depth == 0 or not self.chance(60):
            return self.leaf()
        match self.choices.number(7):
            case 0 | 1:
                return ast.Not(self.condition(depth - 1))
            case 2 | 3:
                return ast.Or(tuple(self.some(2, 3, lambda: self.condition(depth - 1))))
            case 4:
                return ast.And(tuple(self.some(2, 3, lambda: self.condition(depth - 1))))
            case 5:
                truth = ast.Literal(self.pick((True, False)))
                sides = self.sides(self.boolean_value(depth - 1), truth)
                return ast.Comparison(self.pick(_EQUALITY), *sides)
        return self.pattern_for(self.call("string", self.boolean_value(depth - 1)))

    def boolean_value(self, depth: int) -> ast.Expr:
        """A condition that may stand as an operand: no bare field."""
        found = self.condition(depth)
        return ast.Not(found) if isinstance(found, ast.Field) else found

    def event_query(self) -> ast.EventQuery:
        category = self.pick((None, None, None, "process", "process", "network", "my cat", "Process"))
        return ast.EventQuery(category, self.condition(2))


def _quoted(text: str) -> str:
    """A text as a regular expression that is nothing but this text."""
    return "".join(c if c.isalnum() or ord(c) > 127 or c.isspace() else "\\" + c for c in text)


# --- events ----------------------------------------------------------------------------------

_WRONG: tuple[Any, ...] = (
    {},
    {"deep": 1},
    [{"deep": "a"}],
    "x",
    "",
    True,
    22,
    "22",
    4.5,
    [],
    [[]],
    [None],
    None,
)


def _value(choices: Choices, world: World, path: str) -> Any:
    """A value of the field's type, or now and then what a careless producer sends for it."""
    if path in KEYWORDS:
        return choices.pick((*world.texts * 3, *world.amounts, True, False))
    if path in NUMBERS:
        return choices.pick((*world.amounts * 4, "22", "1", "-3", "4.5", "x", "", "1e2", " 22", 22))
    if path in BOOLEANS:
        return choices.pick((True, True, False, False, "true", "false", "True", "", 1, 0))
    if path in ADDRESSES:
        return choices.pick((*world.hosts * 4, "10.0.0.300", "bash", "", 5, "10.0.0.0/8", True))
    return choices.pick((*world.texts * 2, *world.amounts, True, False, world.hosts[0]))


def _contents(choices: Choices, world: World, path: str) -> Any:
    """What stands at a path: mostly one value, sometimes an array, nothing, or something strange."""
    shape = choices.number(20)
    if shape < 13:
        return _value(choices, world, path)
    if shape < 17:
        elements = choices.some(0, 3, lambda: _value(choices, world, path))
        return elements if shape < 15 else [elements[:1], None, *elements[1:]]
    return choices.pick(_WRONG)


def put(document: dict[str, Any], path: str, cuts: int, value: Any) -> None:
    """Writes `value` at the path: bit i of `cuts` ends a key after segment i. What stands there already
    is kept: a value is joined with another to an array, an object stands beside a value in one."""
    segments = path.split(".")
    keys, start = [], 0
    for end in range(1, len(segments) + 1):
        if end == len(segments) or cuts >> (end - 1) & 1:
            keys.append(".".join(segments[start:end]))
            start = end
    for key in keys[:-1]:
        inner = document.setdefault(key, {})
        if not isinstance(inner, dict):
            inner = {}
            document[key] = [document[key], inner]
        document = inner
    last = keys[-1]
    document[last] = [document[last], value] if last in document else value


_CATEGORIES: tuple[Any, ...] = (
    "process",
    "process",
    "process",
    "network",
    ["network", "process"],
    "my cat",
    None,
    [],
)


def document_of(choices: Choices, world: World) -> dict[str, Any]:
    document: dict[str, Any] = {}
    category = choices.pick(_CATEGORIES)
    if category is not None:
        put(document, "event.category", choices.number(2), category)
    for path in world.fields:
        presence = choices.number(12)
        if presence == 11:
            continue
        put(document, path, choices.number(16), _contents(choices, world, path))
        if presence == 10:  # a second spelling
            put(document, path, choices.number(16), _contents(choices, world, path))
        head, _, tail = path.partition(".")
        if presence == 9 and tail:  # as an object in an array
            put(document, head, 0, [{tail: _contents(choices, world, path)}, None, {}])
    return document


# --- cases -----------------------------------------------------------------------------------


class Case(NamedTuple):
    """One query over a few events, with the options of the search."""

    query: ast.Query
    events: list[dict[str, Any]]
    options: dict[str, Any]


_TIMES: tuple[Any, ...] = (
    *(f"2026-03-01T10:00:{second:02}Z" for second in range(13)),
    *("2026-03-01T10:00:05.000000001Z", "2026-03-01T10:00:05.0000001Z", "2026-03-01T10:00:04.999999999Z"),
    *("2026-03-01T11:00:05.5+01:00", "2026-03-01 10:00:05", "2026-03-01T10:00:05.000+00:00"),
    *(1772359205000, "1772359205000", "yesterday", None),
)


def _timed(choices: Choices, world: World, field: str) -> dict[str, Any]:
    document = document_of(choices, world)
    time = choices.pick(_TIMES)
    if time is not None:
        put(document, field, choices.number(2), time)
    rank = choices.pick((None, None, 1, 2, 3, 10))
    if rank is not None:
        put(document, "event.sequence", choices.number(2), rank)
    return document


def _options(choices: Choices, pipes: tuple[ast.Pipe, ...]) -> dict[str, Any]:
    return {
        "timestamp_field": choices.pick(("@timestamp", "@timestamp", "event.ingested")),
        "tiebreaker_field": choices.pick((None, "event.sequence")),
        "event_category_field": choices.pick(("event.category",) * 19 + ("x",)),
        "size": None if pipes else choices.pick((None, None, None, None, 1, 3)),
    }


def _pipes(choices: Choices) -> tuple[ast.Pipe, ...]:
    if not choices.chance(20):
        return ()

    def make() -> ast.Pipe:
        return ast.Pipe(choices.pick(("head", "tail")), (ast.Literal(choices.number(5)),))

    return tuple(choices.some(1, 2, make))


def blob(size: int) -> st.SearchStrategy[bytes]:
    """What a case is made from."""
    return st.binary(min_size=size, max_size=size)


def event_case(plan: bytes, parts: list[bytes]) -> Case:
    choices = Choices(plan)
    world = world_of(choices)
    pipes = _pipes(choices)
    options = _options(choices, pipes)
    query = ast.Query(Expressions(choices, world).event_query(), pipes)
    events = [_timed(Choices(part), world, options["timestamp_field"]) for part in parts]
    return Case(query, events, options)


def event_cases() -> st.SearchStrategy[Case]:
    """An event query over a few events."""
    return st.builds(event_case, blob(160), st.lists(blob(48), min_size=1, max_size=8))


_KEYS: dict[str, tuple[Any, ...]] = {
    "user.name": ("a", "b", 1, "1", True),
    "process.pid": (1, 2, "1", 1.0, "x"),
    "source.ip": ("10.0.0.1", "::1", "::ffff:10.0.0.1"),
    "process.args": ("a", "b", "A"),
    "x": ("a", "b", 1, "1", True, 1.0),
}
_MARK = "a.b.c"
"""The field by which an event says what steps it is meant for."""


def _step(choices: Choices, world: World, number: int, own: list[str]) -> ast.Step:
    condition: ast.Expr = ast.Comparison("==", ast.Field(_MARK), ast.Literal("ABCD"[number]))
    kind = choices.number(12)
    if kind == 10:
        condition = ast.Literal(True)
    if kind == 11:
        condition = Expressions(choices, world).condition(1)
    category = choices.pick((None, None, None, None, "process"))
    keys = tuple(ast.Field(path, optional=choices.chance(40)) for path in own)
    return ast.Step(ast.EventQuery(category, condition), keys)


def _participant(choices: Choices, world: World, keys: list[str], field: str) -> dict[str, Any]:
    names = choices.pick(("A", "B", "A", "B", "C", "D", ["A", "B"], ["B", "C"], None))
    document = _timed(choices, world, field)
    for spelling in ("a", "a.b", _MARK):
        document.pop(spelling, None)
    if names is not None:
        put(document, _MARK, choices.number(4), names)
    for path in keys:
        first, second, *others = _KEYS[path]
        mixed = [value for value in others if not isinstance(value, bool)] + [first]
        value = choices.pick(
            (*(first,) * 9, second, second, *others, [first, second], [None, first], mixed, None, [], [None])
        )
        if value is not None:
            put(document, path, choices.number(2), value)
    return document


def sequence_case(plan: bytes, parts: list[bytes]) -> Case:
    choices = Choices(plan)
    shared = sorted(set(choices.some(0, 2, lambda: choices.pick(tuple(_KEYS)))))
    own = choices.some(0, 1, lambda: choices.pick(tuple(_KEYS)))
    wide = world_of(choices)
    used = {*shared, *own}
    world = wide._replace(families=families_of(set(wide.fields) - used or {"process.name"}))
    pipes = _pipes(choices)
    options = _options(choices, pipes)
    keys = tuple(ast.Field(path, optional=choices.chance(40)) for path in shared)
    steps = tuple(_step(choices, world, number, own) for number in range(choices.pick((2, 2, 2, 3, 3, 4))))
    maxspan = choices.pick((None, 1, 3, 5, 5, 8))
    body = ast.Sequence(steps, keys, None if maxspan is None else maxspan * 10**9)
    events = [_participant(Choices(part), world, sorted(used), options["timestamp_field"]) for part in parts]
    return Case(ast.Query(body, pipes), events, options)


def sequence_cases() -> st.SearchStrategy[Case]:
    """A sequence of two to four steps over a few events, out of order, with ties."""
    return st.builds(sequence_case, blob(160), st.lists(blob(64), min_size=5, max_size=16))


def cases() -> st.SearchStrategy[Case]:
    """Event cases and sequence cases, half and half."""
    return st.one_of(event_cases(), sequence_cases())

"""Generated syntax trees: every shape the parser can make, of right types or not; and mangled texts.

A tree is read off one string of bytes, each byte a choice and zero the simplest one. That is far
faster than a strategy a choice, and still shrinks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from hypothesis import strategies as st

from detectord.eql import ast
from detectord.eql.printer import expression_text, to_text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

T = TypeVar("T")

KEYWORDS = (
    *("and", "any", "by", "false", "in", "join", "like", "maxspan", "not", "null", "of", "or"),
    *("regex", "sample", "sequence", "true", "until", "where", "with"),
)
NAMES = ("a", "process", "Event", "_x9", "as", "runs", "head", "fork", "of_", "AND", "ms", "e5")
PATHS = (
    "process.name",
    "process.pid",
    "source.ip",
    "@timestamp",
    "a.by",
    "any.a",
    "x y",
    "`",
    "?a",
    "a..b",
    "0",
    "é",
)
VARIABLES = ("$v", "$entry", "$_2", "$by")
FUNCTIONS = ("length", "endsWith", "cidrMatch", "concat", "substring", "nope", "indexof")
TEXTS = (
    "a",
    "a*b?",
    "10.0.0.0/8",
    "",
    '"',
    '"""',
    "\\",
    "\\u{41}",
    "\r\n",
    "/*",
    "//",
    "'",
    "\x00",
    "\u2028",
    "日本",
    "🙂",
)
NUMBERS = (0, 1, 42, 2**63 - 1, 0.0, 0.5, 1e16, 1e-300, 1.7976931348623157e308, 9.223372036854775807e18)
SPANS = (10**6, 5 * 10**8, 10**9, 90 * 10**9, 3600 * 10**9, 86400 * 10**9, 7 * 86400 * 10**9)

_DEEPEST = 8


class _Choices:
    """Choices read off bytes; simplest ones when they are used up."""

    def __init__(self, data: bytes) -> None:
        self.data = iter(data)

    def below(self, limit: int) -> int:
        return next(self.data, 0) % limit

    def one(self, options: Sequence[T]) -> T:
        return options[self.below(len(options))]

    def some(self, make: Callable[[], T], least: int, most: int = 3) -> tuple[T, ...]:
        return tuple(make() for _ in range(least + self.below(most - least + 1)))


class _Trees:
    """Builds a tree from choices."""

    def __init__(self, data: bytes) -> None:
        self.choices = _Choices(data)
        self.depth = 0
        self.readable: list[str] = []  # names of earlier steps

    def query(self) -> ast.Query:
        choose = self.choices
        steps = choose.one((0, 1, 2, 3, 1, 1))
        if steps == 0:
            body: ast.EventQuery | ast.Sequence | ast.Sample | ast.Join = self.event()
        elif steps == 1:
            until = self.step() if choose.below(2) else None
            span = choose.one((None, *SPANS))
            named_steps = choose.some(self.named_step, 1)
            self.readable = []
            body = ast.Sequence(named_steps, self.keys(), span, until)
        elif steps == 2:
            body = ast.Sample(choose.some(self.step, 1), self.keys())
        else:
            until = self.step() if choose.below(2) else None
            body = ast.Join(choose.some(self.step, 1), self.keys(), until)
        return ast.Query(body, choose.some(self.pipe, 0, 2))

    def pipe(self) -> ast.Pipe:
        names = ("head", "tail", "count", *NAMES)
        name = self.choices.one([name for name in names if name != "as"])  # `as x` names a step
        return ast.Pipe(name, self.choices.some(self.expr, 0, 2))

    def step(self) -> ast.Step:
        runs = self.choices.one((1, 1, 2, 100))
        return ast.Step(self.event(), self.keys(), runs, bool(self.choices.below(2)))

    def named_step(self) -> ast.Step:
        """A step of a sequence: it may read the names before it, and have one."""
        runs = self.choices.one((1, 1, 1, 2, 100))
        missing = self.choices.below(4) == 3
        names, self.readable = self.readable, [] if missing else self.readable
        event = self.event()
        self.readable = []
        keys = self.keys()
        self.readable = names
        if missing or runs > 1 or not self.choices.below(2):
            return ast.Step(event, keys, runs, missing)
        if keys and expression_text(keys[-1]).endswith("as"):  # `by as as s0` has one name too many
            return ast.Step(event, keys)
        alias = f"{self.choices.one(('s', '_event', 'E'))}{len(names)}"
        self.readable = [*names, alias]
        return ast.Step(event, keys, alias=alias)

    def keys(self) -> tuple[ast.Expr, ...]:
        return self.choices.some(self.expr, 0, 2)

    def event(self) -> ast.EventQuery:
        return ast.EventQuery(self.choices.one((None, *NAMES, *KEYWORDS, *TEXTS)), self.expr())

    def expr(self) -> ast.Expr:
        self.depth += 1
        leaf = self.depth > _DEEPEST
        kind = self.choices.one((self.field, self.literal)) if leaf else self.choices.one(self.kinds)
        found = kind(self) if not leaf else kind()
        self.depth -= 1
        return found

    def field(self) -> ast.Field:
        path = self.choices.one((*PATHS, *KEYWORDS, *NAMES))
        kind = self.choices.below(8)
        if kind == 6:
            return ast.Field(self.choices.one(("", path, "a.b c")), scope=self.choices.one(VARIABLES))
        if kind > 3 and self.readable:
            optional = bool(self.choices.below(2))
            return ast.Field(path, optional, scope=self.choices.one(self.readable))
        return ast.Field(path, bool(kind % 2))

    def literal(self) -> ast.Literal:
        return ast.Literal(self.choices.one((*TEXTS, *NUMBERS, True, False, None)))

    def some_and(self) -> ast.And:
        return ast.And(self.choices.some(self.expr, 2))

    def some_or(self) -> ast.Or:
        return ast.Or(self.choices.some(self.expr, 2))

    def some_not(self) -> ast.Not:
        return ast.Not(self.expr())

    def comparison(self) -> ast.Comparison:
        return ast.Comparison(self.choices.one(("==", "!=", "<", "<=", ">", ">=")), self.expr(), self.expr())

    def arithmetic(self) -> ast.Arithmetic:
        return ast.Arithmetic(self.choices.one("+-*/%"), self.expr(), self.expr())

    def negative(self) -> ast.Negative:
        return ast.Negative(self.expr())

    def membership(self) -> ast.In:
        items = self.choices.some(self.expr, 1)
        return ast.In(self.expr(), items, bool(self.choices.below(2)), bool(self.choices.below(2)))

    def pattern(self) -> ast.Pattern:
        op = self.choices.one((":", "like", "like~", "regex", "regex~"))
        return ast.Pattern(op, self.expr(), self.choices.some(self.literal, 1))

    def call(self) -> ast.Call:
        args = self.choices.some(self.expr, 0)
        return ast.Call(self.choices.one(FUNCTIONS), args, bool(self.choices.below(2)))

    def lineage(self) -> ast.Lineage:
        relation = self.choices.one(("child", "descendant", "event", "x"))
        names, self.readable = self.readable, []
        event = self.event()
        self.readable = names
        return ast.Lineage(relation, event)

    def array_search(self) -> ast.ArraySearch:
        return ast.ArraySearch(self.field(), self.choices.one(VARIABLES), self.expr())

    # Doubled ones are the leaves
    kinds = (
        *(field, literal, comparison, field, literal, some_and, some_or, some_not, arithmetic, negative),
        *(membership, pattern, call, lineage, array_search),
    )


# Short ones alone would hardly ever reach a second step
_bytes = st.one_of(st.binary(max_size=160), st.binary(min_size=60, max_size=160))

queries = _bytes.map(lambda data: _Trees(data).query())

_SHARDS = (
    *('"', "'", '"""', "`", "?", "~", "\\", "//", "/*", "*/", "\n", "\x00", "é", "\u2028", "$", "&", "🙂"),
    *("(", ")", "[", "![", "]", "[0]", ",", ".", ":", "=", "==", "!", "|", "-", "1e999", "5m", "9" * 20),
    *(" and ", " not ", " in ", " by ", " with maxspan=", " where ", " as x ", " of ", "sequence ", "until "),
    *(" as s0 ", "s0.", "$v", "$", "$v.a", "_arraysearch(", "_arraysearch(a, $v, $v.b == 1)", "child of ["),
    *("\\u{41}", "\\u{d800}", "length(", "x:length()", "| head 1", "", "", " "),
)


def _mangled(tree: bytes, cuts: bytes) -> str:
    choose = _Choices(cuts)
    if choose.below(4) == 3:
        return "".join(choose.one(_SHARDS) for _ in cuts)
    text = to_text(_Trees(tree).query())
    for _ in range(choose.below(5)):
        at = choose.below(256) * len(text) // 256
        end = min(len(text), at + choose.below(7))
        middle = choose.one((*_SHARDS, text[at:end] * 2))
        text = text[:at] + middle + text[end:]
    return text


mangled_texts = st.builds(_mangled, _bytes, st.binary(max_size=24))
"""The text of a query with a few pieces cut out, doubled or put in; or such pieces only."""

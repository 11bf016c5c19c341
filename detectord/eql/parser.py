"""Text to syntax tree, by the LALR(1) tables that are made from grammar.lark.

Rule 1: nothing here recurses over the query; the machine's stacks and ours are lists.
Rule 2: a mistake that the grammar knows (marked REFUSED there) is reported where it is built, and
reading goes on: a stand-in takes its place in the tree. Any other token out of place ends the
parse, with one diagnostic made from the token, its neighbours and what could have stood there.
Rule 3: a query with an error has no tree for the outside.

The scanner cuts the text, the machine of lalr.py runs the tokens through the tables, and the builder
makes the tree: it has a method for each rule of the grammar, by name. The tables are read once a process,
at the first parse, and shared; a builder serves one parse.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from types import MappingProxyType
from typing import Any, NamedTuple

from detectord.eql import ast
from detectord.eql.aliases import resolve_aliases
from detectord.eql.diagnostics import Code, Diagnostic
from detectord.eql.lalr import END, Machine, UnexpectedError, load_tables
from detectord.eql.scanner import MAX_FINDINGS, MAX_NESTING, Token, scan
from detectord.eql.source import Source, Span
from detectord.eql.unexpected import constant_hint, explain

MAX_LIST = 5_000
"""Most items of a list: of `in`, of a pattern, of arguments, of keys."""
MAX_RUNS = 100

_CONSTANTS = {"null": None, "true": True, "false": False}
_VALUED = ("STRING", "INT", "DECIMAL")
_UNITS = {"ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9, "d": 86400 * 10**9}
_MAX_SPAN = 2**63 - 1
_STAND_IN_SPAN = 10**9
_QUOTE_CATEGORY = 'write it in double quotes: "…"'


class Parsed(NamedTuple):
    """A query and what was found in it. `query` is None exactly if a diagnostic is an error."""

    query: ast.Query | None
    diagnostics: tuple[Diagnostic, ...]


def parse(source: Source) -> Parsed:
    """The tree of a query, or why there is none. Never raises, whatever the text."""
    query, diagnostics = read(source)
    refused = any(diagnostic.code.is_error for diagnostic in diagnostics)
    return Parsed(None if refused else query, diagnostics)


def read(source: Source) -> Parsed:
    """As `parse`, but with a tree in spite of errors, where one could be built.

    The tree has stand-ins where the mistakes were: good for finding more of them, for nothing else.
    """
    tables = _tables()
    scanned = scan(source.text, tables.literals)
    if scanned.lost:
        return Parsed(None, tuple(scanned.diagnostics))
    query, found = _tree(scanned.tokens)
    diagnostics = sorted(scanned.diagnostics + found, key=lambda diagnostic: diagnostic.span.start)
    return Parsed(query, tuple(diagnostics[:MAX_FINDINGS]))


def literals() -> Mapping[str, str]:
    """The grammar's keywords and operators, each with the name of its terminal."""
    return MappingProxyType(_tables().literals)


_tables = cache(load_tables)


@cache
def _spelling() -> Mapping[str, str]:
    """The keywords and operators by the names of their terminals."""
    return {terminal: text for text, terminal in _tables().literals.items()}


def _tree(tokens: list[Token]) -> tuple[ast.Query | None, list[Diagnostic]]:
    builder = _Builder()
    end = tokens[-1].end_pos if tokens else 0
    try:
        query = Machine(_tables(), builder).run([*tokens, Token(END, "", end, end)])
    except UnexpectedError as error:
        spelling = _spelling()
        expected = {spelling.get(name, name) for name in error.expected}
        builder.found.append(explain(tokens, error.token, expected, _tables().literals))
        return None, builder.found
    assert isinstance(query, ast.Query)
    too_deep = _too_deep(query)
    if too_deep is not None:
        return None, [*builder.found, Diagnostic(Code.TOO_DEEP, too_deep, {"limit": MAX_NESTING})]
    return resolve_aliases(query, builder.find), builder.found


def _too_deep(query: ast.Query) -> Span | None:
    """Where the tree first grows deeper than it may."""
    pending = [(expr, 1) for expr in _roots(query)]
    while pending:
        expr, depth = pending.pop()
        if depth > MAX_NESTING:
            return expr.span
        pending.extend((child, depth + 1) for child in ast.children(expr))
    return None


def _roots(query: ast.Query) -> Iterator[ast.Expr]:
    body = query.body
    if isinstance(body, ast.EventQuery):
        yield body.condition
    else:
        yield from body.keys
        until = None if isinstance(body, ast.Sample) else body.until
        for step in (*body.steps, *([until] if until else [])):
            yield step.event.condition
            yield from step.keys
    for pipe in query.pipes:
        yield from pipe.args


# --- building --------------------------------------------------------------------------------


class _Amount(NamedTuple):
    """What stands behind the `=` of a `with`: its tokens."""

    tokens: tuple[Token, ...]

    @property
    def span(self) -> Span:
        return self.tokens[0].span.to(self.tokens[-1].span)

    @property
    def text(self) -> str:
        return "".join(token.text for token in self.tokens)


class _With(NamedTuple):
    """`with word = amount`."""

    name: Token
    amount: _Amount
    span: Span
    word: str = "with"


class _Keys(NamedTuple):
    """`by` with its expressions."""

    exprs: tuple[ast.Expr, ...]
    span: Span
    word: str = "by"


class _Alias(NamedTuple):
    """`as name`."""

    name: Token
    span: Span
    word: str = "as"


class _Header(NamedTuple):
    keys: tuple[ast.Expr, ...]
    clause: _With | None


class _Items(NamedTuple):
    """A list in parentheses."""

    exprs: tuple[ast.Expr, ...]
    span: Span


class _Builder:
    """Makes the tree, bottom up. A method gets what its rule matched, tokens included."""

    def __init__(self) -> None:
        self.found: list[Diagnostic] = []

    def find(self, code: Code, span: Span, hint: str = "", **args: object) -> None:
        """Keep a finding."""
        if len(self.found) < MAX_FINDINGS:
            self.found.append(Diagnostic(code, span, args, hint))

    # -- statements

    def start(self, children: list[Any]) -> ast.Query:
        body, *pipes = children
        end = pipes[-1] if pipes else body
        return ast.Query(body, tuple(pipes), span=body.span.to(end.span))

    def steps(self, children: list[Any]) -> ast.Sequence | ast.Sample | ast.Join:
        kind, header, *steps = children
        until: ast.Step | None = None
        if len(steps) > 2 and isinstance(steps[-2], Token):
            word, until = steps.pop(-2), steps.pop()
            if kind.text == "sample":
                self.find(Code.UNTIL_MISPLACED, word.span)
        span = kind.span.to((until or steps[-1]).span)
        maxspan = self._maxspan(kind, header.clause)
        if kind.text == "sequence":
            return ast.Sequence(tuple(steps), header.keys, maxspan, until, span=span)
        if kind.text == "sample":
            return ast.Sample(tuple(steps), header.keys, span=span)
        return ast.Join(tuple(steps), header.keys, until, span=span)

    def header(self, children: list[Any]) -> _Header:
        self._once_each(children, "the header")
        return _Header(*self._keys_then_with(children))

    def step(self, children: list[Any]) -> ast.Step:
        bracket, event, close, *rest = children
        self._once_each(rest, "this step")
        named = next((part for part in rest if isinstance(part, _Alias)), None)
        keys, clause = self._keys_then_with([part for part in rest if part is not named])
        span = bracket.span.to(rest[-1].span if rest else close.span)
        step = ast.Step(event, keys, self._runs(clause), bracket.text == "![", span=span)
        return replace(step, alias=named.name.text, alias_span=named.name.span) if named else step

    def _once_each(self, parts: list[Any], place: str) -> None:
        """There is one `by`, one `with` and one `as`."""
        seen: set[type] = set()
        for part in list(parts):
            if type(part) in seen:
                self.find(Code.REPEATED_CLAUSE, part.span, place=place, what=f"`{part.word}`")
                parts.remove(part)
            seen.add(type(part))

    def alias(self, children: list[Any]) -> _Alias:
        word, name = children
        return _Alias(name, word.span.to(name.span))

    def _keys_then_with(self, parts: list[Any]) -> tuple[tuple[ast.Expr, ...], _With | None]:
        keys: tuple[ast.Expr, ...] = ()
        clause: _With | None = None
        for part in parts:
            if isinstance(part, _With):
                clause = part
            else:
                if clause is not None:
                    self.find(Code.KEYS_AFTER_WITH, part.span, word=clause.name.text)
                keys += part.exprs
        return keys, clause

    def keys(self, children: list[Any]) -> _Keys:
        by, *items = children
        exprs = self._list(items[::2])
        return _Keys(exprs, by.span.to(exprs[-1].span))

    def clause(self, children: list[Any]) -> _With:
        start, word, _, amount = children
        return _With(word, amount, start.span.to(amount.span))

    def amount(self, children: list[Any]) -> _Amount:
        return _Amount(tuple(children))

    def _maxspan(self, kind: Token, clause: _With | None) -> int | None:
        """The nanoseconds of a header's `with maxspan`."""
        if clause is None:
            return None
        if clause.name.text == "runs":
            self.find(Code.RUNS_MISPLACED, clause.span, "it belongs behind a step", place="the header")
            return _STAND_IN_SPAN
        if clause.name.text != "maxspan":
            self._unknown_with(clause, "maxspan")
            return _STAND_IN_SPAN
        if kind.text != "sequence":
            self.find(Code.MAXSPAN_MISPLACED, clause.span, place=f"a {kind.text}")
            return None
        tokens = clause.amount.tokens
        if [token.type for token in tokens] == ["INT", "IDENT"]:
            number, unit = tokens[0].value, _UNITS.get(tokens[1].text)
            if isinstance(number, int) and unit and 0 < number * unit <= _MAX_SPAN:
                return number * unit
        hint = "a whole number above 0 and one of the units ms, s, m, h, d: `with maxspan=5m`"
        self.find(Code.BAD_MAXSPAN, clause.amount.span, hint, text=clause.amount.text)
        return _STAND_IN_SPAN

    def _runs(self, clause: _With | None) -> int:
        if clause is None:
            return 1
        if clause.name.text == "maxspan":
            hint = "it belongs in the header: `sequence by … with maxspan=…`"
            self.find(Code.MAXSPAN_MISPLACED, clause.span, hint, place="a step")
            return 1
        if clause.name.text != "runs":
            self._unknown_with(clause, "runs")
            return 1
        tokens = clause.amount.tokens
        count = tokens[0].value
        if len(tokens) == 1 and type(count) is int and 1 <= count <= MAX_RUNS:
            return count
        self.find(Code.BAD_RUNS, clause.amount.span, limit=MAX_RUNS)
        return 2  # so that nobody misses a second step

    def _unknown_with(self, clause: _With, known: str) -> None:
        self.find(
            Code.UNKNOWN_WITH, clause.name.span, f"here it can only be `{known}`", word=clause.name.text
        )

    def event(self, children: list[Any]) -> ast.EventQuery:
        category, _, condition = children
        name = None if category.text == "any" and category.type != "STRING" else category.value
        return ast.EventQuery(name, condition, span=category.span.to(condition.span))

    def category(self, children: list[Any]) -> Token:
        token: Token = children[0]
        if token.type == "QUOTED":
            self.find(Code.BACKQUOTED_CATEGORY, token.span, _QUOTE_CATEGORY)
        elif token.type not in ("IDENT", "STRING", "ANY"):
            self.find(Code.KEYWORD_AS_CATEGORY, token.span, _QUOTE_CATEGORY, word=token.text)
        return token

    def pipe(self, children: list[Any]) -> ast.Pipe:
        bar, name, *items = children
        end = items[-1] if items else name
        return ast.Pipe(name.text, self._list(items[::2]), span=bar.span.to(end.span))

    # -- conditions

    def disjunction(self, children: list[Any]) -> ast.Or:
        return ast.Or(tuple(children[::2]), span=children[0].span.to(children[-1].span))

    def conjunction(self, children: list[Any]) -> ast.And:
        return ast.And(tuple(children[::2]), span=children[0].span.to(children[-1].span))

    def negation(self, children: list[Any]) -> ast.Not:
        return ast.Not(children[1], span=children[0].span.to(children[1].span))

    def lineage(self, children: list[Any]) -> ast.Lineage:
        relation, _, _, event, close = children
        return ast.Lineage(relation.text, event, span=relation.span.to(close.span))

    def comparison(self, children: list[Any]) -> ast.Comparison:
        left, sign, right, *chained = children
        if chained:
            hint = "join two comparisons with `and`"
            self.find(Code.CHAINED_COMPARISON, chained[0].span, hint)
        if sign.text == "=":
            self.find(Code.SINGLE_EQUALS, sign.span, "write `==`")
        op = "==" if sign.text == "=" else sign.text
        return ast.Comparison(op, left, right, span=left.span.to(right.span))

    def arithmetic(self, children: list[Any]) -> ast.Arithmetic:
        left, sign, right = children
        return ast.Arithmetic(sign.text, left, right, span=left.span.to(right.span))

    def sign(self, children: list[Any]) -> ast.Expr:
        sign = children[0]
        operand: ast.Expr = children[1]
        if sign.text == "-":
            return ast.Negative(operand, span=sign.span.to(operand.span))
        if isinstance(operand, ast.Literal) and type(operand.value) not in (int, float):
            actual = (
                "null"
                if operand.value is None
                else f"a {'string' if isinstance(operand.value, str) else 'boolean'}"
            )
            self.find(
                Code.WRONG_TYPE, operand.span, place="what follows `+`", expected="a number", actual=actual
            )
        return operand  # a plus changes nothing, so the tree has no node for it

    def membership(self, children: list[Any]) -> ast.In:
        value, operator, items = children[0], children[-2], children[-1]
        if not items.exprs:
            self.find(Code.EMPTY_LIST, items.span)
        return ast.In(
            value,
            items.exprs,
            operator.text == "in~",
            negated=len(children) == 4,
            span=value.span.to(items.span),
        )

    def pattern(self, children: list[Any]) -> ast.Expr:
        value, operator, right = children[0], children[-2], children[-1]
        span = value.span.to(right.span)
        pattern = ast.Pattern(operator.text, value, self._literals(operator, right), span=span)
        if len(children) == 3:
            return pattern
        hint = f"write `not` first: `not field {operator.text} …`"
        self.find(Code.NOT_BEFORE_PATTERN, children[1].span, hint, operator=operator.text)
        return ast.Not(pattern, span=span)

    def _literals(self, operator: Token, right: _Items | ast.Expr) -> tuple[ast.Literal, ...]:
        if isinstance(right, ast.Call) and operator.text == ":":
            hint = f"the value is the first argument: `{right.name}(…)`"
            self.find(Code.METHOD_CALL_NOT_SUPPORTED, right.span, hint)
            return ()
        if isinstance(right, _Items) and not right.exprs:
            self.find(Code.EMPTY_LIST, right.span)
        exprs = right.exprs if isinstance(right, _Items) else (right,)
        for expr in exprs:
            if not isinstance(expr, ast.Literal):
                self.find(
                    Code.PATTERN_NOT_CONSTANT,
                    expr.span,
                    constant_hint(operator.text),
                    operator=operator.text,
                )
        return tuple(expr for expr in exprs if isinstance(expr, ast.Literal))

    # -- values

    def parentheses(self, children: list[Any]) -> ast.Expr:
        opening, closing = children[0], children[2]
        expr: ast.Expr = children[1]
        return replace(expr, span=opening.span.to(closing.span))

    def call(self, children: list[Any]) -> ast.Call | ast.ArraySearch:
        name, items = children
        folded = name.type == "TILDE_IDENT"
        if name.text.lower() == "_arraysearch":
            return self._array_search(name, items)
        return ast.Call(
            name.text.rstrip("~"),
            items.exprs,
            folded,
            span=name.span.to(items.span),
            name_span=name.span,
        )

    def _array_search(self, name: Token, items: _Items) -> ast.ArraySearch:
        span = name.span.to(items.span)
        match items.exprs:
            case (ast.Field() as array, ast.Field(path="", scope=variable), condition) if variable:
                return ast.ArraySearch(array, variable, condition, span=span)
        hint = "it is written `_arraysearch(field, $name, condition)`"
        self.find(Code.BAD_ARRAYSEARCH, name.span, hint)
        return ast.ArraySearch(ast.Field("_", span=span), "$_", ast.Literal(True, span=span), span=span)

    def items(self, children: list[Any]) -> _Items:
        opening, *items, closing = children
        if items and isinstance(items[-1], Token):
            self.find(Code.TRAILING_COMMA, items[-1].span, "delete it")
        return _Items(self._list(items[::2]), opening.span.to(closing.span))

    def _list(self, items: Sequence[ast.Expr]) -> tuple[ast.Expr, ...]:
        if len(items) > MAX_LIST:
            self.find(Code.LIST_TOO_LONG, items[MAX_LIST].span, actual=len(items), limit=MAX_LIST)
        return tuple(items)

    def field(self, children: list[Any]) -> ast.Field:
        optional = children[0].text == "?"
        segments = children[1:] if optional else children
        span = children[0].span.to(children[-1].span)
        if segments[0].type == "VARIABLE":
            path = ".".join(token.value for token in segments[1:] if token.text != ".")
            return ast.Field(path, scope=segments[0].text, span=span)
        if len(segments) == 1:
            return ast.Field(segments[0].value, optional, span=span)
        for token in segments:
            if token.type == "INDEX":
                hint = "a test of an array holds if it holds for any of its elements"
                self.find(Code.ARRAY_INDEX_NOT_SUPPORTED, token.span, hint)
        names = [token.value for token in segments if token.text != "." and token.type != "INDEX"]
        return ast.Field(".".join(names), optional, span=span)

    def constant(self, children: list[Any]) -> ast.Literal:
        token: Token = children[0]
        value = token.value if token.type in _VALUED else _CONSTANTS[token.text]
        return ast.Literal(value, span=token.span)

    def word(self, children: list[Any]) -> Token:
        token: Token = children[0]
        return token

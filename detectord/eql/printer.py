"""Syntax tree to text: one canonical spelling of every tree the parser can make.

Rule 1: `parse(to_text(query))` gives an equal tree. So parentheses stand where the grammar's
precedence needs them, and around an `and` inside an `and`, which the tree keeps apart.
Rule 2: the text is for people, too: a name is quoted only if it must be, a span of time has the
largest unit that fits, each step has a line.

The walk recurses: the parser bounds the depth of a tree.
"""

from __future__ import annotations

import re

from detectord.eql import ast

# How tightly an expression holds together; an operand that holds less gets parentheses
_OR, _AND, _NOT, _COMPARISON, _SUM, _PRODUCT, _SIGN, _POSTFIX, _PRIMARY = range(9)

_LOOSE = {"+": _SUM, "-": _SUM, "*": _PRODUCT, "/": _PRODUCT, "%": _PRODUCT}
_UNITS = (("d", 86400 * 10**9), ("h", 3600 * 10**9), ("m", 60 * 10**9), ("s", 10**9), ("ms", 10**6))
_KEYWORDS = frozenset(
    (
        *("and", "any", "by", "false", "in", "join", "like", "maxspan", "not", "null", "of", "or"),
        *("regex", "sample", "sequence", "true", "until", "where", "with"),
    )
)
_NAME = re.compile(r"[A-Za-z_@][A-Za-z0-9_]*")
_PATH = re.compile(r"[A-Za-z_@][A-Za-z0-9_]*(?:\.[A-Za-z_@][A-Za-z0-9_]*)*")
_ESCAPES = {"\b": r"\b", "\t": r"\t", "\n": r"\n", "\f": r"\f", "\r": r"\r", '"': r"\"", "\\": r"\\"}
_SURROGATES = range(0xD800, 0xE000)


def to_text(query: ast.Query) -> str:
    """The query as EQL text."""
    body = query.body
    text = event_text(body) if isinstance(body, ast.EventQuery) else _steps(body)
    return text + "".join(f"\n{_pipe(pipe)}" for pipe in query.pipes)


def event_text(event: ast.EventQuery) -> str:
    """One event query: `process where …`."""
    category = event.category
    if category is None:
        name = "any"
    else:
        plain = _NAME.fullmatch(category) and category not in _KEYWORDS
        name = category if plain else _string(category)
    return f"{name} where {expression_text(event.condition)}"


def expression_text(expr: ast.Expr) -> str:
    """One expression, without parentheses around it."""
    return _at_least(_OR, expr)


def _steps(body: ast.Sequence | ast.Sample | ast.Join) -> str:
    maxspan = body.maxspan if isinstance(body, ast.Sequence) else None
    until = None if isinstance(body, ast.Sample) else body.until
    lines = [f"{type(body).__name__.lower()}{_keys(body.keys)}{_maxspan(maxspan)}"]
    lines += [f"  {_step(step)}" for step in body.steps]
    if until is not None:
        lines.append(f"until {_step(until)}")
    return "\n".join(lines)


def _step(step: ast.Step) -> str:
    runs = f" with runs={step.runs}" if step.runs != 1 else ""
    alias = f" as {step.alias}" if step.alias else ""
    return f"{'!' if step.missing else ''}[{event_text(step.event)}]{_keys(step.keys)}{runs}{alias}"


def _keys(keys: tuple[ast.Expr, ...]) -> str:
    return f" by {_list(keys)}" if keys else ""


def _maxspan(maxspan: int | None) -> str:
    if maxspan is None:
        return ""
    unit, size = next((unit, size) for unit, size in _UNITS if maxspan % size == 0)
    return f" with maxspan={maxspan // size}{unit}"


def _pipe(pipe: ast.Pipe) -> str:
    return f"| {pipe.name}{' ' if pipe.args else ''}{_list(pipe.args)}"


def _list(exprs: tuple[ast.Expr, ...]) -> str:
    return ", ".join(map(expression_text, exprs))


def _at_least(strength: int, expr: ast.Expr) -> str:
    own, text = _render(expr)
    return text if own >= strength else f"({text})"


def _render(expr: ast.Expr) -> tuple[int, str]:
    """How tightly the expression holds together, and its text."""
    match expr:
        case ast.Or(operands):
            return _OR, " or ".join(_at_least(_AND, operand) for operand in operands)
        case ast.And(operands):
            return _AND, " and ".join(_at_least(_NOT, operand) for operand in operands)
        case ast.Not(operand):
            return _NOT, f"not {_at_least(_NOT, operand)}"
        case ast.Lineage(relation, event):
            return _NOT, f"{relation} of [{event_text(event)}]"
        case ast.Comparison(op, left, right):
            return _COMPARISON, f"{_at_least(_SUM, left)} {op} {_at_least(_SUM, right)}"
        case ast.Arithmetic(op, left, right):
            own = _LOOSE[op]
            return own, f"{_at_least(own, left)} {op} {_at_least(own + 1, right)}"
        case ast.Negative(operand):
            return _SIGN, f"-{_at_least(_SIGN, operand)}"
        case _:
            return _render_tight(expr)


def _render_tight(expr: ast.Expr) -> tuple[int, str]:
    match expr:
        case ast.In(value, items, insensitive, negated):
            operator = f"{'not ' if negated else ''}in{'~' if insensitive else ''}"
            return _POSTFIX, f"{_at_least(_PRIMARY, value)} {operator} ({_list(items)})"
        case ast.Pattern(op, value, patterns):
            right = _list(patterns)
            right = right if len(patterns) == 1 else f"({right})"
            return _POSTFIX, f"{_at_least(_PRIMARY, value)} {op} {right}"
        case ast.Call(name, args, insensitive):
            return _PRIMARY, f"{name}{'~' if insensitive else ''}({_list(args)})"
        case ast.Field():
            return _PRIMARY, field_text(expr)
        case ast.ArraySearch(array, variable, condition):
            return _PRIMARY, f"_arraysearch({field_text(array)}, {variable}, {expression_text(condition)})"
        case ast.Literal(value):
            return _PRIMARY, _literal(value)
        case _:
            raise TypeError(f"not an expression: {expr!r}")


def field_text(field: ast.Field) -> str:
    """A field as it is written, its scope before it."""
    scope = field.scope
    path = _path(field.path) if field.path or not scope else ""
    return f"{'?' if field.optional else ''}{scope}{'.' if scope and path else ''}{path}"


def _literal(value: ast.Value) -> str:
    if isinstance(value, str):
        return _string(value)
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(value)


def _string(text: str) -> str:
    return f'"{"".join(map(_character, text))}"'


def _character(character: str) -> str:
    escaped = _ESCAPES.get(character)
    if escaped is not None:
        return escaped
    if character.isprintable() or ord(character) in _SURROGATES:  # these have no escape
        return character
    return f"\\u{{{ord(character):02x}}}"


def _path(path: str) -> str:
    if _PATH.fullmatch(path) and path.split(".", 1)[0] not in _KEYWORDS:
        return path
    return "`" + path.replace("`", "``") + "`"

"""What a condition is worth without any event: the part of a query that is known when it is loaded.

Rule 1: conditions are two-valued between leaves, values three-valued inside one, as at run time.
Rule 2: what is not certain is unknown; nothing here guesses.
Rule 3: null that is known when loading is no leaf. Elasticsearch folds constants before it asks for events:
`not null` is null, so is `not (null and x)`, and a condition that is null finds nothing. `settled` works
that out; `truth` and the compiler take what it made.

The walk recurses: the parser bounds the depth of a tree.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from detectord.eql import ast
from detectord.eql.arithmetic import OPERATIONS, negate
from detectord.eql.compare import compare
from detectord.eql.functions import FUNCTIONS


class _Unknown(enum.Enum):
    UNKNOWN = enum.auto()


UNKNOWN: Final = _Unknown.UNKNOWN
Constant = ast.Value | _Unknown

_LOGIC = (ast.And, ast.Or, ast.Not, ast.Comparison, ast.In)
"""What a comparison with `true` or `false` is a condition in, and no leaf."""


def settled(condition: ast.Expr) -> ast.Expr:
    """The condition with all that is null for every event written as null, and what follows from it."""
    match condition:
        case ast.And(operands) | ast.Or(operands):
            inner: list[ast.Expr] = []
            for operand in operands:
                inner.append(settled(operand))  # noqa: PERF401  # a comprehension is one more stack frame
            return _settled_junction(condition, tuple(inner))
        case ast.Not(operand):
            part = settled(operand)
            return part if _is_null(part) else replace(condition, operand=part)
        case ast.Comparison("==" | "!=", left, ast.Literal(bool())) if isinstance(left, _LOGIC):
            known = constant(condition)
            if known is not UNKNOWN:  # null on the left is not that value, and so the comparison false
                return ast.Literal(known, span=condition.span)
            part = settled(left)
            return part if _is_null(part) else replace(condition, left=part)
        case ast.Comparison("==" | "!=", ast.Literal(bool()) as left, right) if isinstance(right, _LOGIC):
            return settled(replace(condition, left=right, right=left))
        case ast.ArraySearch(condition=searched):
            return replace(condition, condition=settled(searched))
        case ast.Lineage(event=event):
            return replace(condition, event=replace(event, condition=settled(event.condition)))
        case ast.In(items=items) if all(constant(item) is None for item in items):
            return ast.Literal(None, span=condition.span)
        case ast.In(value=value) | ast.Pattern(value=value) if constant(value) is None:
            return ast.Literal(None, span=condition.span)
        case _:
            return condition if constant(condition) is not None else ast.Literal(None, span=condition.span)


def _settled_junction(junction: ast.And | ast.Or, operands: tuple[ast.Expr, ...]) -> ast.Expr:
    """`and` with null is null unless it is false anyway, `or` goes on without null."""
    others = tuple(operand for operand in operands if not _is_null(operand))
    if len(others) == len(operands):
        return replace(junction, operands=operands)
    known = [truth(operand) for operand in others]
    if isinstance(junction, ast.And):
        return ast.Literal(False if False in known else None, span=junction.span)
    if all(value is False for value in known):
        return ast.Literal(None, span=junction.span)
    return others[0] if len(others) == 1 else replace(junction, operands=others)


def _is_null(expr: ast.Expr) -> bool:
    return isinstance(expr, ast.Literal) and expr.value is None


def truth(condition: ast.Expr) -> bool | None:
    """True or False if a settled condition is that for every event, None if it depends on the event."""
    match condition:
        case ast.And(operands):
            known = [truth(operand) for operand in operands]
            return False if False in known else None if None in known else True
        case ast.Or(operands):
            known = [truth(operand) for operand in operands]
            return True if True in known else None if None in known else False
        case ast.Not(operand):
            return _opposite(truth(operand))
        case ast.Comparison("!=", left, right):
            return _opposite(truth(ast.Comparison("==", left, right)))
        case ast.In(value, items, insensitive, True):
            return _opposite(truth(ast.In(value, items, insensitive)))
        case ast.ArraySearch(condition=inner) | ast.Lineage(event=ast.EventQuery(condition=inner)):
            return False if truth(inner) is False else None
        case ast.Comparison("<" | "<=" | ">" | ">=", left, right) if None in (
            constant(left),
            constant(right),
        ):
            return False  # null has no order, whatever it is compared with
        case _:
            found = constant(condition)
            return None if found is UNKNOWN else found is True


def constant(expr: ast.Expr) -> Constant:
    """The value of an expression without fields; UNKNOWN for any other, and for patterns."""
    match expr:
        case ast.Literal(value):
            return value
        case ast.Negative(operand):
            number = constant(operand)
            return number if number is UNKNOWN else negate(_number(number))
        case ast.Arithmetic(op, left, right):
            a, b = constant(left), constant(right)
            return UNKNOWN if a is UNKNOWN or b is UNKNOWN else OPERATIONS[op](_number(a), _number(b))
        case ast.Comparison(op, left, right):
            return _comparison(op, constant(left), constant(right))
        case ast.And(operands) | ast.Or(operands):
            return _junction([constant(operand) for operand in operands], decisive=isinstance(expr, ast.Or))
        case ast.Not(operand):
            return _negated(constant(operand))
        case ast.In(value, items, False, negated):
            found = _membership(constant(value), items)
            return _negated(found) if negated else found
        case ast.Call(name, args, insensitive):
            return _call(name, args, insensitive)
        case _:
            return UNKNOWN


def _opposite(value: bool | None) -> bool | None:
    return None if value is None else not value


def _comparison(op: str, a: Constant, b: Constant) -> Constant:
    if op in ("==", "!=") and (a is None or b is None):  # a test for null, which is never null itself
        return UNKNOWN if a is UNKNOWN or b is UNKNOWN else (a is b) == (op == "==")
    return UNKNOWN if a is UNKNOWN or b is UNKNOWN else compare(op, a, b)


def _junction(values: list[Constant], *, decisive: bool) -> Constant:
    """`or` if `decisive`, else `and`: three-valued, and unknown as soon as anything is."""
    if UNKNOWN in values:
        return UNKNOWN
    return decisive if decisive in values else None if None in values else not decisive


def _negated(value: Constant) -> Constant:
    return not value if isinstance(value, bool) else value


def _membership(value: Constant, items: Sequence[ast.Expr]) -> Constant:
    if value is UNKNOWN:
        return UNKNOWN
    known = [constant(item) for item in items]
    if UNKNOWN in known:
        return UNKNOWN
    return None if value is None else any(compare("==", value, item) for item in known if item is not UNKNOWN)


def _call(name: str, args: tuple[ast.Expr, ...], insensitive: bool) -> Constant:
    function = FUNCTIONS.get(name.lower())
    values = []
    for arg in args:
        value = constant(arg)
        if value is UNKNOWN:
            return UNKNOWN
        values.append(value)
    return UNKNOWN if function is None else function.call(values, insensitive)


def _number(value: ast.Value) -> int | float | None:
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None

"""What a condition is worth without any event: the part of a query that is known when it is loaded.

Rule 1: conditions are two-valued between leaves, values three-valued inside one, as at run time.
Rule 2: what is not certain is unknown; nothing here guesses.

The walk recurses: the parser bounds the depth of a tree.
"""

from __future__ import annotations

import enum
from typing import Final

from detectord.eql import ast
from detectord.eql.arithmetic import OPERATIONS, negate
from detectord.eql.compare import compare
from detectord.eql.functions import FUNCTIONS


class _Unknown(enum.Enum):
    UNKNOWN = enum.auto()


UNKNOWN: Final = _Unknown.UNKNOWN
Constant = ast.Value | _Unknown


def truth(condition: ast.Expr) -> bool | None:
    """True or False if the condition is that for every event, None if it depends on the event."""
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
        case ast.In(items=items) if all(constant(item) is None for item in items):
            return False
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
        case ast.In(value, items, False, False):
            return _membership(constant(value), [constant(item) for item in items])
        case ast.Call(name, args, insensitive):
            return _call(name, args, insensitive)
        case _:
            return UNKNOWN


def _opposite(value: bool | None) -> bool | None:
    return None if value is None else not value


def _comparison(op: str, a: Constant, b: Constant) -> Constant:
    if op in ("==", "!=") and (a is None or b is None):  # a test for null, which is never null itself
        return UNKNOWN if a is UNKNOWN or b is UNKNOWN else (a is b) == (op == "==")
    if op not in ("==", "!=") and (a is None or b is None):
        return None  # null has no order, whatever it is compared with
    return UNKNOWN if a is UNKNOWN or b is UNKNOWN else compare(op, a, b)


def _membership(value: Constant, items: list[Constant]) -> Constant:
    if value is UNKNOWN or UNKNOWN in items:
        return UNKNOWN
    return None if value is None else any(compare("==", value, item) for item in items if item is not UNKNOWN)


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

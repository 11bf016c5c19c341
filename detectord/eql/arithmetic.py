"""Arithmetic on 64-bit integers and doubles, as Java does it.

Two integers give an integer, anything else a double. Null, and whatever is not a number, gives
null; so do an integer result beyond 64 bits and integer division by zero, which fail a whole search
in Elasticsearch. Doubles never fail: they have infinities and NaN. An integer operand beyond
64 bits counts as a double, as such a literal does.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable

from detectord.eql.text import INT64_MAX, INT64_MIN, Number

Operand = Number | None
Operation = Callable[[Operand, Operand], Operand]


def _double(value: Number) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _int64(value: int) -> int | None:
    return value if INT64_MIN <= value <= INT64_MAX else None


def _is_int64(value: object) -> bool:
    return type(value) is int and INT64_MIN <= value <= INT64_MAX


def _operation(
    name: str, doc: str, whole: Callable[[int, int], int | None], real: Callable[[float, float], float]
) -> Operation:
    def apply(a: Operand, b: Operand) -> Operand:
        if type(a) not in (int, float) or type(b) not in (int, float):
            return None
        assert a is not None
        assert b is not None
        if _is_int64(a) and _is_int64(b):
            result = whole(int(a), int(b))
            return None if result is None else _int64(result)
        return real(_double(a), _double(b))

    apply.__name__ = apply.__qualname__ = name
    apply.__doc__ = doc
    return apply


def _whole_divide(a: int, b: int) -> int | None:
    if b == 0:
        return None
    quotient = abs(a) // abs(b)
    return quotient if (a < 0) == (b < 0) else -quotient


def _real_divide(a: float, b: float) -> float:
    if b != 0:
        return a / b
    if a == 0 or math.isnan(a):
        return math.nan
    return math.copysign(math.inf, math.copysign(1, a) * math.copysign(1, b))


def _whole_modulo(a: int, b: int) -> int | None:
    if b == 0:
        return None
    rest = abs(a) % abs(b)
    return -rest if a < 0 else rest


def _real_modulo(a: float, b: float) -> float:
    try:
        return math.fmod(a, b)
    except ValueError:  # an infinite dividend or a zero divisor
        return math.nan


add = _operation("add", "`a + b`.", operator.add, operator.add)
subtract = _operation("subtract", "`a - b`.", operator.sub, operator.sub)
multiply = _operation("multiply", "`a * b`.", operator.mul, operator.mul)
divide = _operation("divide", "`a / b`; of two integers, cut toward zero.", _whole_divide, _real_divide)
modulo = _operation("modulo", "`a % b`, with the sign of `a`.", _whole_modulo, _real_modulo)


def negate(value: Operand) -> Operand:
    """`-value`."""
    if type(value) not in (int, float):
        return None
    assert value is not None
    return _int64(-value) if isinstance(value, int) and _is_int64(value) else -_double(value)


OPERATIONS: dict[str, Operation] = {
    "+": add,
    "-": subtract,
    "*": multiply,
    "/": divide,
    "%": modulo,
}
"""The operations by the operator that is written for them."""

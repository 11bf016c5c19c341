"""Arithmetic: 64-bit integers and doubles, null for what has no answer."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectord.eql.arithmetic import OPERATIONS, negate
from detectord.eql.text import INT64_MAX, INT64_MIN, Number

INF, NAN = math.inf, math.nan
INT64 = st.integers(INT64_MIN, INT64_MAX)
NUMBERS = INT64 | st.integers() | st.floats()


def same(a: Number | None, b: Number | None) -> bool:
    if isinstance(a, float) and isinstance(b, float) and math.isnan(a):
        return math.isnan(b)
    return type(a) is type(b) and a == b


@pytest.mark.parametrize(
    ("a", "op", "b", "result"),
    [
        (40, "+", 2, 42),
        (40, "+", 2.0, 42.0),
        (INT64_MAX, "+", 1, None),
        (INT64_MAX, "+", 1.0, float(INT64_MAX)),
        (INT64_MIN, "-", 1, None),
        (5, "-", 8, -3),
        (1 << 32, "*", 1 << 31, None),
        (INT64_MIN, "*", -1, None),
        (-6, "*", 0.5, -3.0),
        (1e308, "*", 10, INF),
        (7, "/", 2, 3),
        (-7, "/", 2, -3),
        (7, "/", -2, -3),
        (-7, "/", -2, 3),
        (INT64_MIN, "/", -1, None),
        (7, "/", 2.0, 3.5),
        (7, "/", 0, None),
        (0, "/", 0, None),
        (7, "/", 0.0, INF),
        (7, "/", -0.0, -INF),
        (-7.0, "/", 0, -INF),
        (0.0, "/", 0, NAN),
        (NAN, "/", 0, NAN),
        (7, "%", 3, 1),
        (-7, "%", 3, -1),
        (7, "%", -3, 1),
        (-7, "%", -3, -1),
        (INT64_MIN, "%", -1, 0),
        (7, "%", 0, None),
        (5.5, "%", 2, 1.5),
        (-5.5, "%", 2, -1.5),
        (7, "%", 0.0, NAN),
        (INF, "%", 2, NAN),
        (2, "%", INF, 2.0),
        (INF, "-", INF, NAN),
        (INT64_MAX + 1, "-", 1, float(INT64_MAX)),  # beyond 64 bits an operand is a double
        (10**400, "+", 1, INF),
        (None, "+", 1, None),
        (1.0, "/", None, None),
        ("1", "+", 1, None),
        (True, "+", 1, None),
        (1, "*", False, None),
    ],
)
def test_operations(a: Number | None, op: str, b: Number | None, result: Number | None) -> None:
    assert same(OPERATIONS[op](a, b), result)


@pytest.mark.parametrize(
    ("value", "result"),
    [
        (5, -5),
        (-0.5, 0.5),
        (INT64_MAX, -INT64_MAX),
        (INT64_MIN, None),
        (None, None),
        (True, None),
        ("5", None),
    ],
)
def test_negate(value: Number | None, result: Number | None) -> None:
    assert same(negate(value), result)


@given(INT64, INT64.filter(bool))
def test_dividend_is_quotient_times_divisor_plus_remainder(a: int, b: int) -> None:
    quotient, rest = OPERATIONS["/"](a, b), OPERATIONS["%"](a, b)
    assert isinstance(rest, int)
    assert abs(rest) < abs(b)
    assert rest == 0 or (rest < 0) == (a < 0)
    if quotient is None:
        assert (a, b) == (INT64_MIN, -1)
    else:
        assert isinstance(quotient, int)
        assert quotient * b + rest == a


@given(st.sampled_from(sorted(OPERATIONS)), NUMBERS, NUMBERS)
def test_results_are_64_bit_integers_or_doubles(op: str, a: Number, b: Number) -> None:
    result = OPERATIONS[op](a, b)
    if isinstance(a, float) or isinstance(b, float):
        assert isinstance(result, float)
    elif isinstance(result, int):
        assert INT64_MIN <= result <= INT64_MAX


@given(NUMBERS)
def test_negate_is_zero_minus(value: Number) -> None:
    difference = OPERATIONS["-"](0, value)
    assert difference == negate(value) or value != value

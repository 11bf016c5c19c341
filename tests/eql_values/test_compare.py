"""Comparing values: within one kind only."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectord.eql.compare import OPERATORS, compare
from detectord.eql.text import Scalar

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3)


@pytest.mark.parametrize(
    ("a", "op", "b", "result"),
    [
        (22, "==", 22.0, True),
        (4, "==", 4.5, False),
        (4, "<", 4.5, True),
        (2**53 + 1, ">", float(2**53), True),
        (10**400, ">", math.inf, False),
        (-0.0, "==", 0, True),
        (math.nan, "==", math.nan, False),
        (math.nan, "!=", math.nan, True),
        (math.nan, "<=", 1, False),
        ("a", "==", "A", False),
        ("B", "<", "a", True),
        ("9", ">=", "1000000000", True),
        ("\uffff", "<", "\U00010000", True),  # by code point, not by UTF-16 unit
        ("a*", "==", "abc", False),
        ("", "<=", "", True),
        (True, "==", True, True),
        (True, "!=", False, True),
        (False, "<", True, True),
        (True, "==", 1, None),
        (False, "!=", 0.0, None),
        ("1", "==", 1, None),
        ("true", "!=", True, None),
        (None, "==", None, None),
        (None, "!=", "a", None),
        (1, "<", None, None),
    ],
)
def test_compare(a: Scalar | None, op: str, b: Scalar | None, result: bool | None) -> None:
    assert compare(op, a, b) is result


MIRRORED = {"==": "==", "!=": "!=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}


@given(st.sampled_from(sorted(OPERATORS)), SCALARS, SCALARS)
def test_sides_can_be_swapped(op: str, a: Scalar | None, b: Scalar | None) -> None:
    assert compare(op, a, b) is compare(MIRRORED[op], b, a)


@given(SCALARS, SCALARS)
def test_unequal_is_not_equal(a: Scalar | None, b: Scalar | None) -> None:
    equal = compare("==", a, b)
    assert compare("!=", a, b) is (None if equal is None else not equal)

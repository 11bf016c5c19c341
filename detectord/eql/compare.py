"""Comparing two values at run time: true, false, or null where they cannot be compared.

Numbers compare by value across integers and doubles, strings by code point, booleans with false
before true. A boolean is not a number, and a string is not one either: turning a value into its
field's type (`"22"` in a numeric field, `4624` in a keyword field) and addresses and dates into
what orders them comes before this, by whoever knows the field's type. NaN equals nothing, itself
included, and has no order.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from detectord.eql.text import Scalar

OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}

_KINDS = {bool: "boolean", int: "number", float: "number", str: "string"}


def compare(op: str, a: Scalar | None, b: Scalar | None) -> bool | None:
    """`a op b`; None if either is null or the two are of different kinds. `op` is one of OPERATORS."""
    kind = _KINDS.get(type(a))
    if kind is None or kind is not _KINDS.get(type(b)):
        return None
    return OPERATORS[op](a, b)

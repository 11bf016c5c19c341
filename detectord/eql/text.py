"""Text: folding case, and the text and the number that a scalar stands for.

Folding is one function everywhere: a character becomes its lower case if that is one character and
stays itself otherwise, so folded text keeps its length and a position in it is one in the original.
`str.lower` does nearly that, at C speed; its only exceptions are a capital sigma, whose lower case
depends on where it stands, and the dotted capital I, whose lower case is two characters.
"""

from __future__ import annotations

import re

Scalar = str | int | float | bool
"""A value of a field, a literal or an expression; null is None beside it."""

Number = int | float

INT64_MIN = -(2**63)
INT64_MAX = 2**63 - 1

_SIGMA, _FOLDED_SIGMA = "\u03a3", "\u03c3"
_DOTTED_I = "\u0130"

_DECIMAL = re.compile(r"[+-]?(?:(?P<whole>[0-9]++)(?:\.[0-9]*+)?|\.[0-9]++)(?:[eE][+-]?[0-9]++)?+")
_INT64_DIGITS = 19


def fold(text: str) -> str:
    """`text` without case, of the same length: equal results are equal without regard to case."""
    if text.isascii():
        return text.lower()
    if _SIGMA in text:
        text = text.replace(_SIGMA, _FOLDED_SIGMA)
    if _DOTTED_I in text:
        return _DOTTED_I.join(map(str.lower, text.split(_DOTTED_I)))
    return text.lower()


def json_text(value: bool | int | float) -> str:
    """The JSON text of a value that is no string: what a keyword field holds when an event has a
    number or a boolean there. Infinities and NaN, which arithmetic can give, have Java's names."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        try:
            return str(value)
        except ValueError:  # more digits than the interpreter converts; as a double it is infinite
            return "Infinity" if value > 0 else "-Infinity"
    if value != value:
        return "NaN"
    if value in (float("inf"), float("-inf")):
        return "Infinity" if value > 0 else "-Infinity"
    return repr(value)


def string_of(value: Scalar) -> str:
    """What `string(value)` gives. The text of an address or a date is made canonical by whoever
    knows that the field has that type."""
    return value if isinstance(value, str) else json_text(value)


def parse_number(text: str) -> Number | None:
    """The number that a decimal text stands for, None if it is not one.

    An integer if it is written as one and fits 64 bits, else a double. Spaces, other digits than
    0-9, hexadecimal and the names of infinities are not decimal text.
    """
    found = _DECIMAL.fullmatch(text)
    if found is None:
        return None
    if found["whole"] is not None and found.end("whole") == len(text):
        whole = found["whole"].lstrip("0")
        if len(whole) <= _INT64_DIGITS:
            number = int(whole or "0")
            number = -number if text[0] == "-" else number
            if INT64_MIN <= number <= INT64_MAX:
                return number
    return float(text)


def parse_integer(text: str, base: int) -> int | None:
    """The 64-bit integer written in `base` (2 to 36), with an optional sign; None if it is not one."""
    digits = text[1:] if text[:1] in ("+", "-") else text
    if not digits or not (digits.isascii() and digits.isalnum()) or not 2 <= base <= 36:
        return None
    digits = digits.lstrip("0") or "0"
    if len(digits) > 64:  # even in base 2
        return None
    try:
        number = int(digits, base)
    except ValueError:
        return None
    number = -number if text[0] == "-" else number
    return number if INT64_MIN <= number <= INT64_MAX else None

"""Functions of numbers: the operators by name, and reading a number from text."""

from __future__ import annotations

from detectord.eql import arithmetic
from detectord.eql.functions.function import Param, function
from detectord.eql.text import Number, parse_integer, parse_number
from detectord.eql.types import Type

_SPACES = "".join(map(chr, range(0x21)))  # what Java's number parser trims

_A, _B = Param("a", Type.NUMBER), Param("b", Type.NUMBER)


@function(
    _A,
    _B,
    returns=Type.NUMBER,
    examples={
        "add(40, 2)": 42,
        "add(1, 0.25)": 1.25,
        "add(9223372036854775807, 1)": None,
        "add(1, null)": None,
    },
)
def add(a: Number, b: Number) -> Number | None:
    """The sum, as `a + b`."""
    return arithmetic.add(a, b)


@function(
    _A,
    _B,
    returns=Type.NUMBER,
    examples={"subtract(5, 8)": -3, "subtract(0.5, 2)": -1.5, "subtract(null, 1)": None},
)
def subtract(a: Number, b: Number) -> Number | None:
    """The difference, as `a - b`."""
    return arithmetic.subtract(a, b)


@function(
    _A,
    _B,
    returns=Type.NUMBER,
    examples={"multiply(-6, 7)": -42, "multiply(3, 0.5)": 1.5, "multiply(4611686018427387904, 2)": None},
)
def multiply(a: Number, b: Number) -> Number | None:
    """The product, as `a * b`."""
    return arithmetic.multiply(a, b)


@function(
    _A,
    _B,
    returns=Type.NUMBER,
    examples={"divide(7, 2)": 3, "divide(-7, 2)": -3, "divide(7, 2.0)": 3.5, "divide(7, 0)": None},
)
def divide(a: Number, b: Number) -> Number | None:
    """The quotient, as `a / b`: of two integers, cut toward zero; null if an integer is divided by 0."""
    return arithmetic.divide(a, b)


@function(
    _A,
    _B,
    returns=Type.NUMBER,
    examples={"modulo(7, 3)": 1, "modulo(-7, 3)": -1, "modulo(7, -3)": 1, "modulo(7, 0)": None},
)
def modulo(a: Number, b: Number) -> Number | None:
    """The remainder, as `a % b`, with the sign of `a`; null if an integer is divided by 0."""
    return arithmetic.modulo(a, b)


@function(
    Param("text", Type.STRING),
    Param("base", Type.NUMBER, optional=True, nullable=True, whole=True),
    returns=Type.NUMBER,
    examples={
        'number("443")': 443,
        'number(" -0.5 ")': -0.5,
        'number("2e3")': 2000.0,
        'number("0xff")': 255,
        'number("ff", 16)': 255,
        'number("0755", 8)': 493,
        'number("7", null)': 7,
        'number("0xff", 10)': None,
        'number("many")': None,
        "number(null)": None,
    },
)
def number(text: str, base: int | None = None) -> Number | None:
    """The number a text stands for, null if none.

    Without a base, hexadecimal if the text starts with `0x`, else decimal: an integer if it is
    written as one and fits 64 bits, else a double. With any other base only integers are read.
    """
    hexadecimal = text.startswith("0x")
    if base is None:
        base = 16 if hexadecimal else 10
    if base == 10:
        return parse_number(text.strip(_SPACES))
    return parse_integer(text[2:] if base == 16 and hexadecimal else text, base)

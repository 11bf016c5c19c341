"""Folding, and the text and the number of a scalar."""

from __future__ import annotations

import math
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectord.eql.text import INT64_MAX, INT64_MIN, fold, json_text, parse_integer, parse_number, string_of

ANY_TEXT = st.text(st.characters(exclude_categories=()))
TRICKY_TEXT = st.text("aAzZ0ΣσςİiIıKÅẞßÇç\ud800\U00010400\U00010428 .")


def fold_character(character: str) -> str:
    lower = character.lower()
    return lower if len(lower) == 1 else character


def test_fold_is_simple_folding_of_every_character() -> None:
    wrong = [code for code in range(sys.maxunicode + 1) if fold(chr(code)) != fold_character(chr(code))]
    assert wrong == []


@given(ANY_TEXT | TRICKY_TEXT)
def test_fold_goes_character_by_character(text: str) -> None:
    assert fold(text) == "".join(map(fold_character, text))


@given(ANY_TEXT | TRICKY_TEXT)
def test_fold_is_idempotent_and_keeps_length(text: str) -> None:
    assert fold(fold(text)) == fold(text)
    assert len(fold(text)) == len(text)


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("C:\\Temp\\RUN.EXE", "c:\\temp\\run.exe"),
        ("ΟΔΟΣ", "οδοσ"),  # no final sigma
        ("İSTANBUL", "İstanbul"),  # its lower case would be two characters
        ("ΣİΣ", "σİσ"),
        ("STRASSE ß ẞ", "strasse ß ß"),
        ("\u212aelvin", "kelvin"),
    ],
)
def test_fold_cases(text: str, folded: str) -> None:
    assert fold(text) == folded


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "true"),
        (False, "false"),
        (4624, "4624"),
        (-1, "-1"),
        (42.5, "42.5"),
        (2.0, "2.0"),
        (1e300, "1e+300"),
        (math.nan, "NaN"),
        (math.inf, "Infinity"),
        (-math.inf, "-Infinity"),
    ],
)
def test_json_text(value: bool | int | float, text: str) -> None:
    assert json_text(value) == text
    assert string_of(value) == text


def test_json_text_of_an_integer_of_any_size() -> None:
    assert json_text(10**100) == "1" + "0" * 100
    assert json_text(10**5000) == "Infinity"
    assert json_text(-(10**5000)) == "-Infinity"


def test_string_of_a_string_is_itself() -> None:
    assert string_of("4.0 ") == "4.0 "


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("22", 22),
        ("-22", -22),
        ("+7", 7),
        ("007", 7),
        ("0", 0),
        (str(INT64_MAX), INT64_MAX),
        (str(INT64_MIN), INT64_MIN),
        (str(INT64_MAX + 1), float(INT64_MAX + 1)),
        (str(INT64_MIN - 1), float(INT64_MIN - 1)),
        ("1.5", 1.5),
        ("1.", 1.0),
        (".5", 0.5),
        ("-2e3", -2000.0),
        ("2E+3", 2000.0),
        ("1e999", math.inf),
        ("", None),
        ("-", None),
        (".", None),
        ("e3", None),
        ("1e", None),
        ("1_000", None),
        ("0x10", None),
        (" 1", None),
        ("1\n", None),
        ("nan", None),
        ("Infinity", None),
        ("١٢", None),
        ("1.2.3", None),
    ],
)
def test_parse_number(text: str, number: int | float | None) -> None:
    parsed = parse_number(text)
    assert parsed == number
    assert type(parsed) is type(number)


def test_long_numbers() -> None:
    assert parse_number("0" * 1_000_000 + "5") == 5
    assert parse_number("9" * 1_000_000) == math.inf
    assert parse_number("9" * 1_000_000 + "x") is None
    assert parse_number("1." + "9" * 1_000_000 + "e" + "9" * 1_000_000 + "x") is None
    assert parse_integer("0" * 1_000_000 + "1", 3) == 1
    assert parse_integer("f" * 1_000_000, 16) is None


@given(st.integers(INT64_MIN, INT64_MAX) | st.floats(allow_nan=False, allow_infinity=False))
def test_parse_number_reads_back_json_text(number: int | float) -> None:
    parsed = parse_number(json_text(number))
    assert parsed == number
    assert type(parsed) is type(number)


@pytest.mark.parametrize(
    ("text", "base", "number"),
    [
        ("ff", 16, 255),
        ("-FF", 16, -255),
        ("+z", 36, 35),
        ("0755", 8, 493),
        ("-1" + "0" * 63, 2, INT64_MIN),
        ("1" + "0" * 63, 2, None),
        ("8", 8, None),
        ("1_0", 16, None),
        ("0x1", 16, None),
        ("+-1", 16, None),
        (" 1", 16, None),
        ("", 16, None),
        ("-", 16, None),
        ("é", 36, None),
        ("1", 1, None),
        ("1", 0, None),
        ("1", 37, None),
        ("1", -(10**30), None),
    ],
)
def test_parse_integer(text: str, base: int, number: int | None) -> None:
    assert parse_integer(text, base) == number

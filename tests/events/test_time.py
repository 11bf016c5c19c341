"""Spellings of instants."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectord.events.time import SECOND, format_instant, format_milliseconds, parse_instant

MOMENT = 1_760_169_600 * SECOND  # 2025-10-11T08:00:00Z


@pytest.mark.parametrize(
    ("value", "instant"),
    [
        ("2025-10-11T08:00:00Z", MOMENT),
        ("2025-10-11T08:00:00", MOMENT),
        ("2025-10-11 08:00:00", MOMENT),
        ("2025-10-11T08:00Z", MOMENT),
        ("2025-10-11", MOMENT - 8 * 3_600 * SECOND),
        ("2025-10-11T10:00:00+02:00", MOMENT),
        ("2025-10-11T03:30:00-0430", MOMENT),
        ("2025-10-11T08:00:00.5Z", MOMENT + SECOND // 2),
        ("2025-10-11T08:00:00,5Z", MOMENT + SECOND // 2),
        ("2025-10-11T08:00:00.4182501Z", MOMENT + 418_250_100),
        ("2025-10-11T08:00:00.123456789Z", MOMENT + 123_456_789),
        ("2025-10-11T08:00:00.123456789", MOMENT + 123_456_789),
        ("2024-02-29T23:59:59.999Z", 1_709_251_199 * SECOND + 999_000_000),
        ("1969-12-31T23:59:59.999Z", -1_000_000),
        ("1601-01-01T00:00:00Z", -11_644_473_600 * SECOND),
        (1_760_169_600, MOMENT),
        (1_760_169_600_000, MOMENT),
        (1_760_169_600_000_000, MOMENT),
        (1_760_169_600_000_000_001, MOMENT + 1),
        ("1760169600", MOMENT),
        ("2025", 2_025 * SECOND),
        ("1760169600123", MOMENT + 123_000_000),
        ("1760169600.000000001", MOMENT + 1),
        ("-1.5", -SECOND * 3 // 2),
        (1_760_169_600.418, MOMENT + 418_000_000),
        (-1, -SECOND),
        (0, 0),
        (10**11 - 1, (10**11 - 1) * SECOND),
        (10**11, 10**11 * 1_000_000),
    ],
)
def test_spellings(value: object, instant: int) -> None:
    assert parse_instant(value) == instant


@pytest.mark.parametrize(
    "value",
    [
        None, True, False, "", " ", "now", "x2025-10-11T08:00:00Z", "2025-10-11T08:00:00Z ",
        "2025-13-01T00:00:00Z", "2025-02-29T00:00:00Z", "2025-10-11T24:00:00Z", "2025-10-11T08:60:00Z",
        "2025-10-11T08:00:60Z", "2025-10-11T08:00:00.1234567890Z", "2025-10-11T08:00:00.Z",
        "2025-10-11T08:00:00.1²3Z", "2025-10-11T08:00:00+25:00", "2025-10-11T08:00:00+01:60",
        "2025-10-11T08:00:00z", "0000-01-01T00:00:00Z", "٢٠٢٥-10-11T08:00:00Z", "1e9", "0x10", "1.7.2",
        10**30, -(10**30), float("nan"), float("inf"), 1e13, [], {}, "1" * 5_000,
    ],
)  # fmt: skip
def test_what_is_no_time(value: object) -> None:
    assert parse_instant(value) is None


@given(st.one_of(st.text(), st.integers(), st.floats(), st.none(), st.booleans()))
def test_never_raises_and_stays_in_the_calendar(value: object) -> None:
    instant = parse_instant(value)
    if instant is not None:
        assert parse_instant(format_instant(instant)) == instant


@given(
    st.datetimes(min_value=datetime(1, 1, 2), max_value=datetime(9999, 12, 30)),
    st.integers(0, 999),
    st.integers(-23 * 60, 23 * 60),
)
def test_agrees_with_the_standard_library(moment: datetime, nanoseconds: int, offset: int) -> None:
    micros = (moment.replace(tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    local = moment + timedelta(minutes=offset)
    sign, minutes = "-" if offset < 0 else "+", abs(offset)
    text = f"{local:%m-%dT%H:%M:%S.%f}{nanoseconds:03d}{sign}{minutes // 60:02d}:{minutes % 60:02d}"
    assert parse_instant(f"{local.year:04d}-{text}") == micros * 1_000 + nanoseconds


@pytest.mark.parametrize(
    ("instant", "text", "short"),
    [
        (MOMENT, "2025-10-11T08:00:00.000Z", "2025-10-11T08:00:00.000Z"),
        (MOMENT + 7_000_000, "2025-10-11T08:00:00.007Z", "2025-10-11T08:00:00.007Z"),
        (MOMENT + 418_250_000, "2025-10-11T08:00:00.418250Z", "2025-10-11T08:00:00.418Z"),
        (MOMENT + 418_250_100, "2025-10-11T08:00:00.418250100Z", "2025-10-11T08:00:00.418Z"),
        (-1, "1969-12-31T23:59:59.999999999Z", "1969-12-31T23:59:59.999Z"),
    ],
)
def test_format(instant: int, text: str, short: str) -> None:
    assert format_instant(instant) == text
    assert format_milliseconds(instant) == short

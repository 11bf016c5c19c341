"""Values and literals of dates."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectord.eql.dates import MILLISECOND, SECOND, parse_date

DAY = 86_400 * SECOND
NOON = 1_583_496_000 * SECOND  # 2020-03-06T12:00:00Z


@pytest.mark.parametrize(
    ("value", "instant"),
    [
        ("2020-03-06T12:00:00Z", NOON), ("2020-03-06T12:00:00", NOON), ("2020-03-06 12:00", NOON),
        ("2020-03-06T12", NOON), ("2020-03-06T12:00:00.5Z", NOON + SECOND // 2),
        ("2020-03-06T12:00:00,000000001Z", NOON + 1), ("2020-03-06T14:00+02:00", NOON),
        ("2020-03-06T10:30-0130", NOON), ("2020-03-06", NOON - DAY // 2),
        ("06-03-2020", NOON - DAY // 2),
        ("2020-03", NOON - DAY // 2 - 5 * DAY),
        ("1970", 0), ("1970-01", 0), ("0", 0), (0, 0), ("-1", -MILLISECOND), (-1, -MILLISECOND),
        (1583496000000, NOON), ("1583496000000", NOON), ("1583496000000.5", NOON + 500_000),
        ("1583496000000.000001999", NOON + 1), (1583496000000.5, NOON + 500_000),
        ("20200306", 20200306 * MILLISECOND),
        ("-0.5", -500_000), ("0001-01-01", -62_135_596_800 * SECOND), (12.5, 12_500_000),
    ],
)  # fmt: skip
def test_dates(value: object, instant: int) -> None:
    assert parse_date(value) == instant


@pytest.mark.parametrize(
    "value",
    [
        "", "x", "now", "now-1d", "2020-03-06||/d", "2020-13-01", "2020-02-30", "2020-03-06T24:00",
        "2020-3-6",
        "2020-03-06T12:60", "2020-03-06T12:00:60", "2020-03-06T12:00+24:00", "11:12:13",
        "06-13-2020", "6-3-2020",
        "2020-03-06T12:00:00.", "1.", ".5", "1e3", "+1", " 1", "١", "9" * 21, "9" * 5_000, 10**30, True, None,
        float("nan"), float("inf"), 1e300, [], "2020-03-06T12:00:00.0000000001",
    ],
)  # fmt: skip
def test_what_is_no_date(value: object) -> None:
    assert parse_date(value) is None


@given(st.datetimes(min_value=datetime(1, 1, 2), max_value=datetime(9999, 12, 30)))  # UTC is meant
def test_every_way_of_writing_an_instant_is_the_same(moment: datetime) -> None:
    delta = moment.replace(tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    micros = (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds
    text = f"{moment.isoformat(timespec='microseconds')}Z"
    sign, (whole, rest) = "-" if micros < 0 else "", divmod(abs(micros), 1_000)
    assert parse_date(text) == parse_date(f"{sign}{whole:05d}.{rest:03d}") == micros * 1_000


@given(st.text(max_size=40))
def test_nothing_raises(text: str) -> None:
    assert parse_date(text) is None or isinstance(parse_date(text), int)

"""Instants: nanoseconds since the epoch, from the many ways in which events spell them.

Rule 1: whatever is not one of the spellings is None; nothing raises.
Rule 2: no digit is lost: an integer or decimal text is never taken through a float, because agents
write 100 ns steps and `datetime` keeps microseconds.

Spellings: ISO 8601, `2025-10-11T08:00:00.4182501Z`, with `T` or a space, at most nine digits of
fraction after `.` or `,`, `Z`, `+hh:mm`, `+hhmm` or nothing (then it is UTC); it may end behind any
part from the year on. Or a number of seconds, milliseconds, microseconds or nanoseconds, an
integer or a string of digits, told apart by its size; with a decimal point it is seconds. An instant
lies in the years 1 to 9999.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from detectord.eql.dates import MILLISECOND, SECOND, in_range, parse_iso

__all__ = ["MILLISECOND", "SECOND", "format_instant", "format_milliseconds", "parse_instant"]

_DECIMAL = re.compile(r"(-?)([0-9]{1,20})(?:\.([0-9]{1,20}))?")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_UNITS = ((10**11, SECOND), (10**14, MILLISECOND), (10**17, 1_000))
"""A count below the first number is of the second number of nanoseconds each."""


def parse_instant(value: object) -> int | None:
    """The instant that a JSON value spells, None if it spells none."""
    if isinstance(value, str):
        if value[19:20] == "." and value[-1] == "Z":  # by far the usual form
            second, fraction = _second(value[:19]), value[20:-1]
            if second is not None and 0 < len(fraction) < 10 and fraction.isascii() and fraction.isdigit():
                return second + int(fraction.ljust(9, "0"))
        found = _from_text(value)
        return parse_iso(value) if found is None else found
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return _from_count(value)
    if isinstance(value, float):
        return _from_seconds(value)
    return None


def format_instant(instant: int) -> str:
    """`instant` as ISO 8601 in UTC with `Z`: three, six or nine digits of fraction, as few as lose
    nothing. It must lie in the years 1 to 9999."""
    seconds, fraction = divmod(instant, SECOND)
    digits = f"{fraction:09d}"
    while len(digits) > 3 and digits.endswith("000"):
        digits = digits[:-3]
    return f"{_whole_second(seconds)}.{digits}Z"


def format_milliseconds(instant: int) -> str:
    """`instant` as ISO 8601 in UTC with exactly three digits of fraction: what `string()` gives."""
    seconds, fraction = divmod(instant, SECOND)
    return f"{_whole_second(seconds)}.{fraction // MILLISECOND:03d}Z"


def _whole_second(seconds: int) -> str:
    return (_EPOCH + timedelta(seconds=seconds)).replace(tzinfo=None).isoformat()


@lru_cache(maxsize=4_096)  # events come in bursts
def _second(text: str) -> int | None:
    """The instant of a text of date and time in whole seconds."""
    return parse_iso(text)


def _from_text(text: str) -> int | None:
    found = _DECIMAL.fullmatch(text)
    if found is None:
        return None
    sign, whole, fraction = found.groups()
    if fraction is None:
        return _from_count(-int(whole) if sign else int(whole))
    instant = int(whole) * SECOND + int(fraction[:9].ljust(9, "0"))
    return in_range(-instant if sign else instant)


def _from_count(count: int) -> int | None:
    size = abs(count)
    for limit, unit in _UNITS:
        if size < limit:
            return in_range(count * unit)
    return in_range(count)


def _from_seconds(seconds: float) -> int | None:
    if not -1e12 < seconds < 1e12:  # also stops infinities and NaN
        return None
    # A double has no more than microseconds of a present time; the digits after them are noise
    return in_range(round(seconds * 1_000_000) * 1_000)

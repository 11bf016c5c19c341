"""Instants: nanoseconds since the epoch, from the many ways in which events spell them.

Rule 1: whatever is not one of the spellings is None; nothing raises.
Rule 2: no digit is lost: an integer or decimal text is never taken through a float, because agents
write 100 ns steps and `datetime` keeps microseconds.

Spellings: ISO 8601, `2025-10-11T08:00:00.4182501Z`, with `T` or a space, at most nine digits of
fraction after `.` or `,`, `Z`, `+hh:mm`, `+hhmm` or nothing (then it is UTC); the seconds or the whole
time of day may be left out. Or a number of seconds, milliseconds, microseconds or nanoseconds, an
integer or a string of digits, told apart by its size; with a decimal point it is seconds. An instant
lies in the years 1 to 9999.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache

SECOND = 1_000_000_000
MILLISECOND = 1_000_000

_ISO = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})"
    r"(?:[T ]([0-9]{2}):([0-9]{2})(?::([0-9]{2})(?:[.,]([0-9]{1,9}))?)?)?"
    r"(?:Z|([+-])([0-9]{2}):?([0-9]{2}))?"
)
_DECIMAL = re.compile(r"(-?)([0-9]{1,20})(?:\.([0-9]{1,20}))?")

_EPOCH_DAY = date(1970, 1, 1).toordinal()
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST = (date.min.toordinal() - _EPOCH_DAY) * 86_400 * SECOND
_LAST = (date.max.toordinal() - _EPOCH_DAY + 1) * 86_400 * SECOND - 1

_UNITS = ((10**11, SECOND), (10**14, MILLISECOND), (10**17, 1_000))
"""A count below the first number is of the second number of nanoseconds each."""


def parse_instant(value: object) -> int | None:
    """The instant that a JSON value spells, None if it spells none."""
    if isinstance(value, str):
        if value[19:20] == "." and value[-1] == "Z":  # by far the usual form
            second, fraction = _second(value[:19]), value[20:-1]
            if second is not None and 0 < len(fraction) < 10 and fraction.isascii() and fraction.isdigit():
                return second + int(fraction.ljust(9, "0"))
        found = _ISO.fullmatch(value)
        return _from_iso(found) if found is not None else _from_text(value)
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


def _from_iso(found: re.Match[str]) -> int | None:
    day, hour, minute, second, fraction, sign, offset_hours, offset_minutes = found.groups()
    seconds = _day(day)
    if seconds is None:
        return None
    if hour is not None:
        if hour > "23" or minute > "59" or (second is not None and second > "59"):
            return None
        seconds += int(hour) * 3_600 + int(minute) * 60 + int(second or 0)
    if sign is not None:
        if offset_hours > "23" or offset_minutes > "59":
            return None
        offset = int(offset_hours) * 3_600 + int(offset_minutes) * 60
        seconds += offset if sign == "-" else -offset
    return _checked(seconds * SECOND + (int(fraction.ljust(9, "0")) if fraction else 0))


@lru_cache(maxsize=4_096)  # events come in bursts
def _second(text: str) -> int | None:
    """The instant of a text of date and time in whole seconds."""
    found = _ISO.fullmatch(text)
    return None if found is None else _from_iso(found)


@lru_cache(maxsize=1_024)
def _day(text: str) -> int | None:
    """Seconds from the epoch to the start of a day."""
    try:
        return (date.fromisoformat(text).toordinal() - _EPOCH_DAY) * 86_400
    except ValueError:
        return None


def _from_text(text: str) -> int | None:
    found = _DECIMAL.fullmatch(text)
    if found is None:
        return None
    sign, whole, fraction = found.groups()
    if fraction is None:
        return _from_count(-int(whole) if sign else int(whole))
    instant = int(whole) * SECOND + int(fraction[:9].ljust(9, "0"))
    return _checked(-instant if sign else instant)


def _from_count(count: int) -> int | None:
    size = abs(count)
    for limit, unit in _UNITS:
        if size < limit:
            return _checked(count * unit)
    return _checked(count)


def _from_seconds(seconds: float) -> int | None:
    if not -1e12 < seconds < 1e12:  # also stops infinities and NaN
        return None
    # A double has no more than microseconds of a present time; the digits after them are noise
    return _checked(round(seconds * 1_000_000) * 1_000)


def _checked(instant: int) -> int | None:
    return instant if _FIRST <= instant <= _LAST else None

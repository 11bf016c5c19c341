"""Dates: what a date field holds and a date literal means, as Elasticsearch's default format reads it.

That format is `strict_date_optional_time||epoch_millis`: ISO 8601 from the year on, or milliseconds since the
epoch, a number or a text of digits, with a fraction if need be. A text of four digits is a year. Beyond it we
read a space for the `T`, an offset without a colon, and a day that is written first (`17-12-2022`), for which
a mapping needs a format of its own. Everything else, date math included, is no date.

An instant is nanoseconds since the epoch; no digit of a text is lost, because it is never taken through a
float. It lies in the years 1 to 9999.
"""

from __future__ import annotations

import re
from datetime import date
from functools import lru_cache

SECOND = 1_000_000_000
MILLISECOND = 1_000_000

_ISO = re.compile(
    r"(?P<year>[0-9]{4})(?:-(?P<month>[0-9]{2})(?:-(?P<day>[0-9]{2})"
    r"(?:[T ](?P<hour>[0-9]{2})(?::(?P<minute>[0-9]{2})(?::(?P<second>[0-9]{2})"
    r"(?:[.,](?P<fraction>[0-9]{1,9}))?)?)?)?"
    r"(?:Z|(?P<sign>[+-])(?P<hours>[0-9]{2}):?(?P<minutes>[0-9]{2}))?)?)?"
)
_DAY_FIRST = re.compile(r"([0-9]{2})-([0-9]{2})-([0-9]{4})")
_MILLISECONDS = re.compile(r"(-?)([0-9]{1,20})(?:\.([0-9]{1,20}))?")

_EPOCH_DAY = date(1970, 1, 1).toordinal()
_FIRST = (date.min.toordinal() - _EPOCH_DAY) * 86_400 * SECOND
_LAST = (date.max.toordinal() - _EPOCH_DAY + 1) * 86_400 * SECOND - 1


def parse_date(value: object) -> int | None:
    """The instant that a value of a date field, or a literal compared with it, stands for; None if none."""
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        instant = parse_iso(_DAY_FIRST.sub(r"\3-\2-\1", value) if _DAY_FIRST.fullmatch(value) else value)
        return _milliseconds(value) if instant is None else instant
    if isinstance(value, int):
        return in_range(value * MILLISECOND)
    if isinstance(value, float):
        return _milliseconds(f"{value:.6f}")
    return None


def parse_iso(text: str) -> int | None:
    """The instant of an ISO 8601 text: the time of day, its seconds, the day and the month may be left out;
    without an offset it is UTC."""
    found = _ISO.fullmatch(text)
    if found is None:
        return None
    year, month, day, hour, minute, second, fraction, sign, hours, minutes = found.groups()
    seconds = _day(f"{year}-{month or '01'}-{day or '01'}")
    if seconds is None or (hour or "") > "23" or (minute or "") > "59" or (second or "") > "59":
        return None
    seconds += int(hour or 0) * 3_600 + int(minute or 0) * 60 + int(second or 0)
    if sign is not None:
        if hours > "23" or minutes > "59":
            return None
        offset = int(hours) * 3_600 + int(minutes) * 60
        seconds += offset if sign == "-" else -offset
    return in_range(seconds * SECOND + (int(fraction.ljust(9, "0")) if fraction else 0))


def in_range(instant: int) -> int | None:
    """The instant, None if it lies in no year from 1 to 9999."""
    return instant if _FIRST <= instant <= _LAST else None


@lru_cache(maxsize=1_024)
def _day(text: str) -> int | None:
    """Seconds from the epoch to the start of a day."""
    try:
        return (date.fromisoformat(text).toordinal() - _EPOCH_DAY) * 86_400
    except ValueError:
        return None


def _milliseconds(text: str) -> int | None:
    found = _MILLISECONDS.fullmatch(text)
    if found is None:
        return None
    sign, whole, fraction = found.groups()
    instant = int(whole) * MILLISECOND + int((fraction or "")[:6].ljust(6, "0"))
    return in_range(-instant if sign else instant)

"""Lengths of time as rules write them: `5m`, and the look-back `now-9m`."""

from __future__ import annotations

import re

LOOK_BACK = re.compile(r"now-0*([1-9][0-9]{0,8})(ms|s|m|h|d|w)(?:/[smhdwMy])?")
INTERVAL = re.compile(r"0*([1-9][0-9]{0,8})(s|m|h|d|w)")
_NANOSECONDS = {
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "h": 3600 * 10**9,
    "d": 86400 * 10**9,
    "w": 7 * 86400 * 10**9,
}
_UNITS = (("d", 86400 * 10**9), ("h", 3600 * 10**9), ("m", 60 * 10**9), ("s", 10**9), ("ms", 10**6))

DEFAULT_LOOK_BACK = "now-6m"
DEFAULT_INTERVAL = "5m"


def look_back_of(written: str) -> int:
    """The span of a look-back in nanoseconds; that of the default for what is none."""
    found = LOOK_BACK.fullmatch(written) or LOOK_BACK.fullmatch(DEFAULT_LOOK_BACK)
    assert found is not None
    return int(found[1]) * _NANOSECONDS[found[2]]


def interval_of(written: str) -> int:
    """The nanoseconds of an interval that has passed its check."""
    found = INTERVAL.fullmatch(written)
    assert found is not None
    return int(found[1]) * _NANOSECONDS[found[2]]


def spelled_span(nanoseconds: int) -> str:
    """A span in its largest whole unit: 540 s is "9m"."""
    for unit, size in _UNITS:
        if nanoseconds % size == 0:
            return f"{nanoseconds // size}{unit}"
    return f"{nanoseconds}ns"

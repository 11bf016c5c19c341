"""Times as alerts write them. A producer's clock may claim any instant; one that no calendar has is None."""

from __future__ import annotations

from detectord.events.time import MILLISECOND, SECOND, format_instant, format_milliseconds


def at_millisecond(milliseconds: int) -> str | None:
    """`2025-10-11T08:00:01.007Z` for milliseconds since the epoch."""
    try:
        return format_milliseconds(milliseconds * MILLISECOND)
    except OverflowError:
        return None


def at_instant(nanoseconds: int) -> str | None:
    """The same for nanoseconds, with all the digits of fraction that they need."""
    try:
        return format_instant(nanoseconds)
    except OverflowError:
        return None


def seconds(nanoseconds: int) -> float:
    """A span for people, to the millisecond."""
    return round(nanoseconds / SECOND, 3)

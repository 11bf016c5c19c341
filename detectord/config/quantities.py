"""Values with a unit: durations, sizes, and where reading starts.

Each is its plain type (nanoseconds, bytes, text) that knows how a configuration spells it.
"""

from __future__ import annotations

import re
import typing
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Final, Self


class _Quantity(int):
    """A number written with its unit. `units` goes from the largest to the smallest."""

    units: typing.ClassVar[Mapping[str, int]]
    what: typing.ClassVar[str]
    _pattern: Final = re.compile(r"([0-9]{1,19})(?:\.([0-9]{1,9}))? ?([A-Za-z]+)")

    @classmethod
    def parse(cls, text: object) -> Self:
        """The quantity that a configuration says.

        Raises:
            ValueError: `text` is not one, with what was expected.
        """
        if isinstance(text, int) and not isinstance(text, bool) and cls._bare(text):
            return cls(text)
        if isinstance(text, str):
            if text.isascii() and text.isdigit() and len(text) < 19 and cls._bare(int(text)):
                return cls(int(text))
            found = cls._pattern.fullmatch(text)
            if found and found[3] in cls.units:
                unit = cls.units[found[3]]
                fraction = found[2] or "0"
                value = int(found[1]) * unit + int(fraction) * unit // 10 ** len(fraction)
                if value < 1 << 63:
                    return cls(value)
        raise ValueError(f"expected {cls.what}, found {text!r}")

    @classmethod
    def _bare(cls, number: int) -> bool:
        """True if `number` may stand without a unit."""
        raise NotImplementedError

    def __str__(self) -> str:
        for name, unit in self.units.items():
            if self and not self % unit:
                return f"{int(self) // unit}{name}"
        return "0"

    __repr__ = __str__


class Duration(_Quantity):
    """A span of time in nanoseconds: `500ms`, `10s`, `5m`, `1h`, or 0."""

    units = {  # noqa: RUF012 - a ClassVar already, in the class above
        "d": 86_400_000_000_000,
        "h": 3_600_000_000_000,
        "m": 60_000_000_000,
        "s": 1_000_000_000,
        "ms": 1_000_000,
        "us": 1_000,
        "ns": 1,
    }
    what = "a duration such as 500ms, 10s, 5m or 1h"

    @classmethod
    def _bare(cls, number: int) -> bool:
        return number == 0  # any other number without a unit would be read wrongly by someone

    @property
    def seconds(self) -> float:
        """The span in seconds."""
        return int(self) / 1_000_000_000


class Size(_Quantity):
    """A number of bytes: `256KiB`, `1GiB`, or a plain number."""

    units = {  # noqa: RUF012 - as above
        "TiB": 1 << 40,
        "GiB": 1 << 30,
        "MiB": 1 << 20,
        "KiB": 1 << 10,
        "GB": 10**9,
        "MB": 10**6,
        "kB": 10**3,
        "B": 1,
    }
    what = "a size such as 256KiB or 1GiB"

    @classmethod
    def _bare(cls, number: int) -> bool:
        return 0 <= number < 1 << 63


class Start(str):
    """Where reading begins without a committed position: `latest`, `earliest`, `now-15m`, or a time."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: object) -> Self:
        """The start that a configuration says, in one spelling.

        Raises:
            ValueError: it says none.
        """
        if isinstance(text, datetime):
            text = text.isoformat()
        if isinstance(text, str):
            if text in {"latest", "earliest"}:
                return cls(text)
            try:
                if text.startswith("now-"):
                    return cls(f"now-{Duration.parse(text[4:])}")
                moment = datetime.fromisoformat(text)
            except ValueError:
                pass
            else:
                moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
                return cls(moment.astimezone(UTC).isoformat().replace("+00:00", "Z"))
        raise ValueError(
            f"expected latest, earliest, now-15m or a time such as 2026-02-01T09:00:00Z, found {text!r}"
        )

    def fixed(self, now: datetime) -> str:
        """The start as it is at `now`: `latest`, `earliest`, or a time in UTC."""
        if self in {"latest", "earliest"}:
            return str(self)
        try:
            if self.startswith("now-"):
                moment = now - timedelta(seconds=Duration.parse(self[4:]).seconds)
            else:
                moment = datetime.fromisoformat(self)
        except OverflowError:
            return "earliest"
        before_all = moment < datetime(1970, 1, 1, tzinfo=UTC)
        return "earliest" if before_all else moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


_UNITS: Final[dict[type, Callable[[object], object]]] = {
    Duration: Duration.parse,
    Size: Size.parse,
    Start: Start.parse,
}


def decode(kind: type, value: object) -> object:
    """The hook for msgspec: a plain value as one of our kinds."""
    return _UNITS[kind](value)

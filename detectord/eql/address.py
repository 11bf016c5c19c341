"""Internet addresses: one number for every address, blocks as ranges of such numbers.

An address is its 128-bit number; IPv4 addresses are the v4-mapped ones (`::ffff:0:0/96`). So an
address equals its v4-mapped form, order is numeric with IPv4 in its place among IPv6, and a block is
a range. A block wider than the mapped addresses leaves these out: IPv4 is never in `::/0`.
"""

from __future__ import annotations

import ipaddress
from bisect import bisect_right
from collections.abc import Iterable
from functools import lru_cache

Range = tuple[int, int]
"""First and last address, both inside."""

_MAPPED = 0xFFFF << 32
_MAPPED_LAST = _MAPPED | 0xFFFFFFFF
_LONGEST = len("ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255")


def parse_address(text: str) -> int | None:
    """The number of the address `text` stands for, None if it is none.

    Zones (`fe80::1%eth0`), brackets, ports, spaces and leading zeros make it no address.
    """
    return _parse(text) if len(text) <= _LONGEST else None  # the cache keeps no long text


@lru_cache(maxsize=16_384)
def _parse(text: str) -> int | None:
    if "%" in text:
        return None
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return int(address) | _MAPPED if address.version == 4 else int(address)


def canonical_text(address: int) -> str:
    """The usual text of an address: dotted for IPv4 and v4-mapped ones, else compressed IPv6."""
    if _MAPPED <= address <= _MAPPED_LAST:
        return str(ipaddress.IPv4Address(address - _MAPPED))
    return str(ipaddress.IPv6Address(address))


def parse_block(text: str) -> Range:
    """The addresses of a block: `10.0.0.0/8`, `fe80::/10`; host bits are ignored, and an address
    without a slash is a block of one. ValueError, with a sentence for the author, if it is none."""
    place, slash, length = text.partition("/")
    address = parse_address(place)
    if address is None:
        raise ValueError(f"`{place}` is not an IP address")
    if not slash:
        return address, address
    width = 128 if ":" in place else 32
    # Two digits more than needed are let through to int(): leading zeros do no harm
    if not (length.isascii() and length.isdigit() and len(length) <= 5) or int(length) > width:
        raise ValueError(f"`/{length}` is not a prefix length from 0 to {width}")
    hosts = (1 << (width - int(length))) - 1
    return address & ~hosts, address | hosts


class Blocks:
    """A list of blocks, to ask whether an address is in any: one binary search, however long."""

    __slots__ = ("_firsts", "_lasts")

    def __init__(self, blocks: Iterable[str]) -> None:
        """Blocks as `parse_block` takes them, with its ValueError for the first bad one."""
        self._firsts: list[int] = []
        self._lasts: list[int] = []
        for first, last in sorted(part for block in blocks for part in _without_mapped(parse_block(block))):
            if self._lasts and first <= self._lasts[-1]:
                self._lasts[-1] = max(last, self._lasts[-1])
            else:
                self._firsts.append(first)
                self._lasts.append(last)

    def contains(self, address: int) -> bool:
        """True if `address`, a number from `parse_address`, is in one of the blocks."""
        place = bisect_right(self._firsts, address) - 1
        return place >= 0 and address <= self._lasts[place]


def _without_mapped(block: Range) -> list[Range]:
    first, last = block
    if first < _MAPPED and last > _MAPPED_LAST:
        return [(first, _MAPPED - 1), (_MAPPED_LAST + 1, last)]
    return [block]

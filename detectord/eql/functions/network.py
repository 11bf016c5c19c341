"""Functions of internet addresses."""

from __future__ import annotations

from functools import lru_cache

from detectord.eql.address import Blocks, parse_address
from detectord.eql.functions.function import Param, function
from detectord.eql.types import Type


@function(
    Param("address", Type.IP),
    Param("block", Type.STRING, many=True, literal=True),
    returns=Type.BOOLEAN,
    examples={
        'cidrMatch("10.20.30.40", "10.0.0.0/8")': True,
        'cidrMatch("10.20.30.40", "192.168.0.0/16", "10.99.0.1/8")': True,
        'cidrMatch("10.20.30.40", "192.168.0.0/16")': False,
        'cidrMatch("::1", "::1", "fe80::/10")': True,
        'cidrMatch("::ffff:10.20.30.40", "10.0.0.0/8")': True,
        'cidrMatch("10.20.30.40", "::/0")': False,
        'cidrMatch("localhost", "127.0.0.0/8")': None,
        'cidrMatch(null, "127.0.0.0/8")': None,
    },
)
def cidr_match(address: str, *blocks: str) -> bool | None:
    """True if the address is in any of the blocks; a block without `/` is one address."""
    number = parse_address(address)
    parsed = _blocks(blocks)
    return None if number is None or parsed is None else parsed.contains(number)


@lru_cache(maxsize=1_024)  # blocks are literals of rules
def _blocks(texts: tuple[str, ...]) -> Blocks | None:
    try:
        return Blocks(texts)
    except ValueError:  # refused when the rule is loaded; a call only must not raise
        return None

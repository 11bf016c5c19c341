"""EQL's functions: one decorated function each, with its signature and examples beside it.

Null arguments, the wrong kind of value and `~` are handled once, by `Function.call`. A new function
is a decorated function in the module of its family; it is found from here.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from detectord.eql.functions import network, numbers, strings
from detectord.eql.functions.function import Function, Param, function

__all__ = ["FUNCTIONS", "Function", "Param", "function"]

FUNCTIONS: Mapping[str, Function] = MappingProxyType(
    {
        member.name.lower(): member
        for family in (network, numbers, strings)
        for member in vars(family).values()
        if isinstance(member, Function)
    }
)
"""Every function by its lower-cased name: names are case-insensitive in a query."""

"""Join keys: the key tuples with which an event takes part in a step (eql.md 5.3).

An array takes part with each of its distinct elements, several keys with every combination. A value is
brought into one form, so that what joins is equal and what is equal joins: as the field's type has it where
that is known; else 1 and 1.0 are the integer, and `"1"`, 1 and `true` are three different keys.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice, product
from math import prod

from detectord.compiler.compiled import CompiledStep, JoinKey, KeyField, KeyValue
from detectord.eql.address import canonical_text
from detectord.eql.text import INT64_MAX, INT64_MIN
from detectord.eql.types import Type, field_type
from detectord.events.event import Event
from detectord.events.time import format_instant


def join_keys(step: CompiledStep, event: Event, *, limit: int) -> tuple[list[JoinKey], bool]:
    """The distinct key tuples of `event` for `step`, sorted position by position: null, booleans, numbers,
    texts. At most `limit` of them, and whether there were more. None if a mandatory key has no value."""
    columns: list[list[KeyValue]] = []
    for key in step.keys:
        column = key_values(key, event)
        if not column:
            return [], False
        columns.append(column)
    capped = prod(map(len, columns)) > limit
    return list(islice(product(*columns), limit)), capped


def key_values(key: KeyField, event: Event) -> list[KeyValue]:
    """What the event has for one position of a key: [None] for an optional key without value."""
    values = list(_values(key, event))
    if len(values) == 1 and values[0] != "":
        return values
    distinct = {_rank(value): value for value in values if value != "" or not key.single}
    if key.single and len(distinct) > 1:
        distinct = {}
    if not distinct and key.optional:
        return [None]
    return [distinct[rank] for rank in sorted(distinct)]


def _values(key: KeyField, event: Event) -> Iterable[KeyValue]:
    match field_type(key.type):
        case Type.IP:
            return map(canonical_text, event.addresses(key.path))
        case Type.DATE:
            return map(format_instant, event.dates(key.path))
        case Type.NUMBER:
            return map(_number, event.numbers(key.path))
        case Type.BOOLEAN:
            return event.booleans(key.path)
        case Type.STRING | Type.VERSION:
            return event.text(key.path)
    return (value if isinstance(value, (str, bool)) else _number(value) for value in event.values(key.path))


def _number(value: int | float) -> int | float:
    """A 64-bit integer if it is a whole number that fits one, else a double."""
    if isinstance(value, float):
        return int(value) if value.is_integer() and INT64_MIN <= value <= INT64_MAX else value
    if INT64_MIN <= value <= INT64_MAX:
        return value
    try:
        return float(value)
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")


def _rank(value: KeyValue) -> tuple[int, KeyValue]:
    """Equal for equal keys only (1 is no `true`), and ordered across types."""
    kind = 0 if isinstance(value, bool) else 2 if isinstance(value, str) else 1
    return kind, value

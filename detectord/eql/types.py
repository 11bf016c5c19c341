"""The types that expressions and fields have, as far as the language cares."""

from __future__ import annotations

import enum


class Type(enum.Enum):
    """ANY is what is not known before an event is seen: a field without an entry in the field table."""

    STRING = "string"
    NUMBER = "number"
    BOOLEAN = "boolean"
    DATE = "date"
    IP = "ip"
    VERSION = "version"
    NULL = "null"
    ANY = "any"

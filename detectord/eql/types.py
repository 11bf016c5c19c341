"""The types that expressions and fields have, as far as the language cares."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from types import MappingProxyType


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

    @property
    def noun(self) -> str:
        """A value of this type, in a sentence: `a string`."""
        return _NOUNS.get(self, f"a {self.value}")


_NOUNS = {Type.IP: "an address", Type.NULL: "null", Type.ANY: "any value"}


_FIELD_TYPES: Mapping[str, Type] = MappingProxyType(
    {
        **dict.fromkeys(("keyword", "constant_keyword", "wildcard", "text", "match_only_text"), Type.STRING),
        "flattened": Type.STRING,
        **dict.fromkeys(("long", "integer", "short", "byte", "unsigned_long"), Type.NUMBER),
        **dict.fromkeys(("double", "float", "half_float", "scaled_float"), Type.NUMBER),
        **dict.fromkeys(("date", "date_nanos"), Type.DATE),
        "boolean": Type.BOOLEAN,
        "ip": Type.IP,
        "version": Type.VERSION,
    }
)


OTHER_TYPES = frozenset(
    (
        "aggregate_metric_double", "alias", "annotated_text", "binary", "completion", "counted_keyword",
        "date_range", "dense_vector", "double_range", "float_range", "geo_point", "geo_shape", "histogram",
        "integer_range", "ip_range", "join", "long_range", "nested", "object", "passthrough", "percolator",
        "point", "rank_feature", "rank_features", "search_as_you_type", "semantic_text", "shape",
        "sparse_vector", "token_count",
    )
)  # fmt: skip
"""Elasticsearch types that the language has no rules for."""

MAPPING_TYPES = frozenset(_FIELD_TYPES) | OTHER_TYPES
"""The names of Elasticsearch's field types."""

NOT_QUERYABLE = OTHER_TYPES - {"binary", "completion", "counted_keyword", "join", "object", "passthrough"}
"""Types of fields that Elasticsearch's EQL refuses."""


def field_type(mapping_type: str | None) -> Type:
    """What the language sees in a field with this Elasticsearch mapping type: `long` is a number.

    ANY for None (a field without an entry) and for types the language has no rules for.
    """
    return Type.ANY if mapping_type is None else _FIELD_TYPES.get(mapping_type, Type.ANY)

"""Reading parts of an event: what a Part says is what the event in full says, or it refuses."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from detectord.events.event import Event, scalars_under
from detectord.events.parts import Part
from detectord.events.record import Record

KEYS = ("a", "b", "Ext", "a.b", "b.a", "a.b.a", "Ext.a", "a.Ext", "b.b")
PATHS = ("a", "b", "a.b", "b.a", "a.b.a", "a.b.b", "Ext", "Ext.a", "a.Ext.b", "b.b.a")

scalars = st.one_of(st.none(), st.booleans(), st.integers(-2, 2), st.sampled_from(["x", "", "y"]))
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=2), st.dictionaries(st.sampled_from(KEYS), inner, max_size=3)
    ),
    max_leaves=8,
)
objects = st.dictionaries(st.sampled_from(KEYS), values, max_size=3)


def said(part: Part, path: str, root: Any) -> tuple[Any, ...]:
    """What a Part's struct has at the path."""
    place = part.places[path]
    found = root
    for attribute in place.attributes:
        found = getattr(found, attribute)
    if place.rest is not None:
        return tuple(scalars_under(found, place.rest or None))
    return tuple(v for v in found if v is not None) if isinstance(found, tuple) else (found,)


@settings(deadline=None, max_examples=400, suppress_health_check=list(HealthCheck))
@given(objects, st.lists(st.sampled_from(PATHS), min_size=1, max_size=3, unique=True))
def test_a_part_says_what_the_event_says_or_refuses(document: dict[str, Any], paths: list[str]) -> None:
    part = Part(paths)
    event = Event(document, Record("t", 0, 0, None, None, b""), None)
    for read, given_ in ((part.decode, json.dumps(document).encode()), (part.convert, document)):
        try:
            root = read(given_)
        except msgspec.MsgspecError:
            continue
        for path in paths:
            assert repr([v for v in said(part, path, root) if v is not None]) == repr(
                list(event.values(path))
            )


PLAIN = {"a": {"b": "x", "c": {}, "d.e": 1}, "c": [{}], "e": {"a.b": 1}, "b": [1, None, "y"]}


def test_plain_objects_are_not_refused() -> None:
    part = Part(["a.b", "b", "z.y.x"])
    for root in (part.decode(json.dumps(PLAIN).encode()), part.convert(PLAIN)):
        assert said(part, "a.b", root) == ("x",)
        assert said(part, "b", root) == (1, "y")
        assert said(part, "z.y.x", root) == said(part, "a.b", part.empty) == (None,)


@pytest.mark.parametrize("value", ["", "x", None, 1, [], {}])
@pytest.mark.parametrize("key", ["a.b", "a.b.c", "Ext.d"])
def test_a_dotted_key_of_a_path_is_refused_whatever_it_has(key: str, value: Any) -> None:
    part = Part(["a.b.c", "Ext.d"])
    for read, given_ in ((part.decode, json.dumps({key: value}).encode()), (part.convert, {key: value})):
        with pytest.raises(msgspec.MsgspecError):
            read(given_)
    assert part.convert({f"{key}x": value}) == part.empty

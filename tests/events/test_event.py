"""Paths to values, and the views of values as types have them."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from detectord.eql.address import parse_address
from detectord.events.event import Event
from detectord.events.record import Record

RECORD = Record("topic", 3, 17, None, None, b"")


def event(document: dict[str, Any]) -> Event:
    return Event(document, RECORD, None)


@pytest.mark.parametrize(
    ("document", "path", "values"),
    [
        ({"a": 1}, "a", (1,)),
        ({"a": {"b": {"c": 1}}}, "a.b.c", (1,)),
        ({"a": {"b.c": 1}}, "a.b.c", (1,)),
        ({"a.b": {"c": 1}}, "a.b.c", (1,)),
        ({"a.b.c": 1}, "a.b.c", (1,)),
        ({"a.b.c": 3, "a.b": {"c": 2}, "a": {"b": {"c": 1}, "b.c": 4}}, "a.b.c", (1, 4, 2, 3)),
        ({"a": [{"b": 1}, {"b": [2, 3]}]}, "a.b", (1, 2, 3)),
        ({"a": [[{"b": [[1]]}], {"b": [[2], 3]}]}, "a.b", (1, 2, 3)),
        ({"a": [1, [2, [3]], None, [[], [None]]]}, "a", (1, 2, 3)),
        ({"a": ["x", "x"]}, "a", ("x", "x")),
        ({"a": ["", 0, False]}, "a", ("", 0, False)),
        ({"a": {"b": 1}}, "a", ()),
        ({"a": [5, {"b": 1}]}, "a", (5,)),
        ({"a": [5, {"b": 1}]}, "a.b", (1,)),
        ({"a": 5}, "a.b", ()),
        ({"ab": 5}, "a", ()),
        ({"a": {"": 5}}, "a", ()),
        ({"a": None}, "a", ()),
        ({"a": []}, "a", ()),
        ({"a": [None]}, "a", ()),
        ({"a": [[], None]}, "a", ()),
        ({}, "a", ()),
    ],
)
def test_values(document: dict[str, Any], path: str, values: tuple[Any, ...]) -> None:
    found = event(document).values(path)
    assert found == values
    assert list(map(type, found)) == list(map(type, values))


@pytest.mark.parametrize("length", [3, 16, 17, 40])
def test_values_of_long_paths_in_any_spelling(length: int) -> None:
    names = [f"n{number}" for number in range(length)]
    for cut in (0, 1, length // 2, length - 1):
        inner: Any = 7
        for name in reversed(names[cut:]):
            inner = {name: inner}
        document = {".".join(names[:cut]): [inner]} if cut else inner
        assert event(document).values(".".join(names)) == (7,)


def test_deep_and_wide_documents_are_walked_without_recursion() -> None:
    deep: Any = "x"
    for _ in range(20_000):
        deep = [deep]
    assert event({"a": deep}).values("a") == ("x",)
    assert len(event({"a": [{"b": n} for n in range(10_000)]}).values("a.b")) == 10_000


MIXED = {"a": ["Az", 4624, 1.5, True, "true", "22", "1e3", "x1", "10.0.0.1", "2025-10-11", "ΣΣ"]}


@pytest.mark.parametrize(
    ("view", "values"),
    [
        ("text", ("Az", "4624", "1.5", "true", "true", "22", "1e3", "x1", "10.0.0.1", "2025-10-11", "ΣΣ")),
        ("folded", ("az", "4624", "1.5", "true", "true", "22", "1e3", "x1", "10.0.0.1", "2025-10-11", "σσ")),
        ("numbers", (4624, 1.5, 22, 1000.0)),
        ("booleans", (True, True)),
        ("addresses", (parse_address("10.0.0.1"),)),
        ("instants", (4624 * 10**9, 1_500_000_000, 22 * 10**9, 1_760_140_800 * 10**9)),
    ],
)  # fmt: skip
def test_views(view: str, values: tuple[Any, ...]) -> None:
    found = getattr(event(MIXED), view)("a")
    assert found == values
    assert list(map(type, found)) == list(map(type, values))


@pytest.mark.parametrize("text", ["1e999", "-1e999", "nan", "Infinity", "", " 1", "1_0", "0x10", "٣"])
def test_texts_that_are_no_number(text: str) -> None:
    assert event({"a": text}).numbers("a") == ()


def test_a_view_is_computed_once() -> None:
    one = event(MIXED)
    for view in ("values", "text", "folded", "numbers", "booleans", "addresses", "instants"):
        assert getattr(one, view)("a") is getattr(one, view)("a")


def test_pickling_leaves_the_views_behind() -> None:
    one = Event({"a": ["x"]}, RECORD, 5, bad_timestamp=True, element=2)
    size = len(pickle.dumps(one))
    one.folded("a")
    again = pickle.loads(pickle.dumps(one))
    assert len(pickle.dumps(one)) == size
    assert (again.document, again.record, again.time) == (one.document, RECORD, 5)
    assert (again.bad_timestamp, again.element) == (True, 2)

"""Join keys of events."""

from __future__ import annotations

from typing import Any

import pytest

from detectord.compiler.compiled import CompiledStep, KeyField
from detectord.compiler.keys import join_keys
from detectord.events.event import Event
from detectord.events.record import Record


def keys(fields: tuple[KeyField, ...], document: dict[str, Any], limit: int = 100) -> tuple[list[Any], bool]:
    step = CompiledStep(None, lambda _: True, fields, "")
    return join_keys(step, Event(document, Record("", 0, 0, None, None, b""), None), limit=limit)


X, Y, OPTIONAL = KeyField("x"), KeyField("y"), KeyField("y", optional=True)


@pytest.mark.parametrize(
    ("fields", "document", "expected"),
    [
        ((), {}, [()]),
        ((X,), {"x": "a"}, [("a",)]),
        ((X,), {}, []),
        ((X,), {"x": [None, []]}, []),
        ((X, Y), {"x": "a"}, []),
        ((X, OPTIONAL), {"x": "a"}, [("a", None)]),
        ((X, OPTIONAL), {"x": "a", "y": [None, 5]}, [("a", 5)]),
        ((X,), {"x": ["b", "a", None, "b"]}, [("a",), ("b",)]),
        ((X, Y), {"x": ["b", "a"], "y": [2, 1]}, [("a", 1), ("a", 2), ("b", 1), ("b", 2)]),
        ((X,), {"x": ["1", 1, 1.0, True, "true", -0.5]}, [(True,), (-0.5,), (1,), ("1",), ("true",)]),
        ((X,), {"x": ["A", "a"]}, [("A",), ("a",)]),
        ((KeyField("x", type="long"),), {"x": ["22", 22, "x"]}, [(22,)]),
        ((KeyField("x", type="keyword"),), {"x": ["22", 22, True]}, [("22",), ("true",)]),
        ((KeyField("x", type="boolean"),), {"x": ["true", True, "x"]}, [(True,)]),
        ((KeyField("x", type="ip"),), {"x": ["::ffff:10.0.0.1", "10.0.0.1"]}, [("10.0.0.1",)]),
        ((KeyField("x", type="ip"),), {"x": ["0:0::1"]}, [("::1",)]),
        ((KeyField("x", type="date"),), {"x": ["2025-10-11", "2025-10-11T02:00:00+02:00"]},
         [("2025-10-11T00:00:00.000Z",)]),
        ((KeyField("x", type="ip"),), {"x": "nowhere"}, []),
        ((X,), {"x": [10**30, 1e30]}, [(1e30,)]),
    ],
)  # fmt: skip
def test_key_tuples(fields: tuple[KeyField, ...], document: dict[str, Any], expected: list[Any]) -> None:
    found, capped = keys(fields, document)
    assert found == expected
    assert [list(map(type, key)) for key in found] == [list(map(type, key)) for key in expected]
    assert not capped


def test_the_product_is_capped() -> None:
    document = {"x": list(range(100)), "y": list(range(100))}
    found, capped = keys((X, Y), document, limit=150)
    assert capped
    assert found == [(n // 100, n % 100) for n in range(150)]
    assert keys((X, Y), document, limit=10_000)[1] is False

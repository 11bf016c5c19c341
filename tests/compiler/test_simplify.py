"""Simplified and ordered predicates hold of the same events."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectord.compiler.order import order_predicate
from detectord.compiler.predicates import (
    FALSE,
    TRUE,
    And,
    Constant,
    Exists,
    InBlocks,
    Member,
    Not,
    Or,
    Predicate,
    Regex,
    Wildcards,
)
from detectord.compiler.simplify import simplify_predicate


def is_in(path: str, *values: Any) -> Member:
    return Member(path, "text", frozenset(values))


A, B, X = is_in("a", "1"), is_in("b", "1"), Exists("x", "values")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (And((A, And((B, TRUE)))), And((A, B))),
        (And((A, FALSE)), FALSE),
        (Or((A, TRUE)), TRUE),
        (And(()), TRUE),
        (Or(()), FALSE),
        (Not(Not(A)), A),
        (Not(And((A, Not(X)))), Or((Not(A), X))),
        (And((A, A)), A),
        (And((A, B, Not(A))), FALSE),
        (Or((A, B, Not(A))), TRUE),
        (Or((A, B, is_in("a", "2"))), Or((is_in("a", "1", "2"), B))),
        (And((A, is_in("a", "2"))), And((A, is_in("a", "2")))),
        (And((Not(A), Not(is_in("a", "2")))), Not(is_in("a", "1", "2"))),
        (Not(Or((A, is_in("a", "2")))), Not(is_in("a", "1", "2"))),
        (Or((Not(A), Not(is_in("a", "2")))), Or((Not(A), Not(is_in("a", "2"))))),
        (Or((A, Member("a", "folded", frozenset("2")))), Or((A, Member("a", "folded", frozenset("2"))))),
        (
            Or((Wildcards("a", "text", frozenset(["x*"])), Wildcards("a", "text", frozenset(["y*"])))),
            Wildcards("a", "text", frozenset(["x*", "y*"])),
        ),
        (Or((InBlocks("a", frozenset("1")), InBlocks("a", frozenset("2")))), InBlocks("a", frozenset("12"))),
        (Or((Regex("a", ("x",), False), Regex("a", ("y",), False))), Regex("a", ("x", "y"), False)),
    ],
)
def test_rewriting(before: Predicate, after: Predicate) -> None:
    assert simplify_predicate(before) == after


leaves: st.SearchStrategy[Predicate] = st.one_of(
    st.booleans().map(Constant),
    st.builds(is_in, st.sampled_from("ab"), st.sampled_from("12")),
    st.builds(Exists, st.sampled_from("ab"), st.just("values")),
)
predicates = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda parts: And(tuple(parts))),
        st.lists(inner, max_size=3).map(lambda parts: Or(tuple(parts))),
        inner.map(Not),
    ),
    max_leaves=12,
)
EVENTS = [
    {"a": a, "b": b} for a in ((), ("1",), ("2",), ("1", "2")) for b in ((), ("1",), ("2",), ("1", "2"))
]


def holds(predicate: Predicate, event: dict[str, tuple[str, ...]]) -> bool:
    match predicate:
        case Constant(value=value):
            return value
        case And(operands=operands):
            return all(holds(operand, event) for operand in operands)
        case Or(operands=operands):
            return any(holds(operand, event) for operand in operands)
        case Not(operand=operand):
            return not holds(operand, event)
        case Member(path=path, values=values):
            return any(value in values for value in event[path])
        case Exists(path=path):
            return event[path] != ()
    raise AssertionError(predicate)


@given(predicates)
def test_the_same_truth(predicate: Predicate) -> None:
    simpler = simplify_predicate(predicate)
    ordered = order_predicate(simpler)
    inverse = simplify_predicate(Not(predicate))
    for event in EVENTS:
        expected = holds(predicate, event)
        assert holds(simpler, event) is holds(ordered, event) is expected
        assert holds(inverse, event) is not expected

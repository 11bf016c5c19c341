"""An index of lists of patterns finds those that a test of each list for itself finds."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectord.eql.wildcard import compile_wildcards
from detectord.eql.wildcard_index import WildcardIndex

patterns = st.text(st.sampled_from("ab*?\\.é🙂\n\ud800"), max_size=7)
values = st.text(st.sampled_from("ab\\.é🙂\n\ud800"), max_size=9)
MANY = [frozenset([f"?:\\dir {n}\\*", f"*\\name {n}", f"*part {n}*", f"a{n}*z?"]) for n in range(30)]


def expected(lists: list[frozenset[str]], value: str) -> set[int]:
    return {number for number, own in enumerate(lists) if compile_wildcards(own)(value)}


@given(st.lists(st.frozensets(patterns, max_size=4), max_size=8), values)
def test_a_few_lists(lists: list[frozenset[str]], value: str) -> None:
    assert set(WildcardIndex(enumerate(lists)).find(value)) == expected(lists, value)


@given(
    st.lists(st.frozensets(patterns, max_size=4), max_size=8),
    st.one_of(
        values,
        st.builds(
            "{}{}{}".format,
            st.sampled_from(["", "c:", "\ud800:", "a3"]),
            st.sampled_from(["\\dir 1\\", "\\name 2", "part 12", "zz"]),
            values,
        ),
    ),
)
def test_a_few_lists_among_many(more: list[frozenset[str]], value: str) -> None:
    lists = [*MANY, *more]
    assert set(WildcardIndex(enumerate(lists)).find(value)) == expected(lists, value)


@pytest.mark.parametrize(
    ("pattern", "value", "matches"),
    [
        ("a*", "a", True),
        ("a*?", "a", False),
        ("*?a", "a", False),
        ("*?a*", "xa", True),
        ("a*a", "a", False),
        ("?a?", "xay", True),
        ("?a?", "xayz", False),
        ("?" * 100 + "a*", "x" * 100 + "a", True),
        ("?" * 101 + "a*", "x" * 100 + "a", False),
        ("*a" + "?" * 1_001, "a" + "x" * 1_001, True),
        ("**", "", True),
        ("?*", "", False),
        ("??", "🙂a", True),
        ("", "", True),
    ],
)
@pytest.mark.parametrize("others", [[], MANY])
def test_shapes(pattern: str, value: str, matches: bool, others: list[frozenset[str]]) -> None:
    lists = [frozenset([pattern]), *others]
    assert (0 in WildcardIndex(enumerate(lists)).find(value)) is matches


def test_the_number_of_lists_costs_little() -> None:
    value = "\\users\\public\\desktop\\" * 20_000
    few = WildcardIndex(enumerate(MANY))
    many = WildcardIndex((n, [f"?:\\dir {n}\\*", f"*\\name {n}", f"*part {n}*"]) for n in range(1_000))
    seconds = []
    for index in (few, many):
        index.find(value)
        began = time.process_time()
        assert not index.find(value)
        seconds.append(time.process_time() - began)
    assert seconds[1] < 20 * seconds[0] + 0.02

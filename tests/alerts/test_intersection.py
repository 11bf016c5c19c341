"""What a shell keeps of its events."""

import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectord.alerts.intersection import intersection

TABLE = [
    pytest.param([{"a": 1, "b": 2}, {"a": 1, "c": 2}], {"a": 1}, id="only what both have"),
    pytest.param([{"a": 1}, {"a": 2}], {}, id="unequal scalars go"),
    pytest.param([{"a": None}, {"a": None}], {"a": None}, id="null is equal to null"),
    pytest.param([{"a": 1}, {"a": True}], {}, id="true is not 1"),
    pytest.param([{"a": 0}, {"a": False}], {}, id="false is not 0"),
    pytest.param([{"a": 1}, {"a": 1.0}], {"a": 1}, id="one number, two spellings"),
    pytest.param([{"a": "1"}, {"a": 1}], {}, id="a text is not a number"),
    pytest.param(
        [{"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "c": 3}}], {"a": {"b": 1}}, id="objects are entered"
    ),
    pytest.param([{"a": {"b": 1}}, {"a": {"b": 2}}], {}, id="an object with nothing left goes"),
    pytest.param([{"a": [3, 1, 2]}, {"a": [2, 3]}], {"a": [3, 2]}, id="order of the first"),
    pytest.param([{"a": [1]}, {"a": [2]}], {}, id="an empty array goes"),
    pytest.param([{"a": []}, {"a": []}], {}, id="an array that was empty goes, too"),
    pytest.param([{"a": [1, 2]}, {"a": 2}], {"a": [2]}, id="array and scalar"),
    pytest.param([{"a": 2}, {"a": [1, 2]}], {"a": [2]}, id="scalar and array"),
    pytest.param([{"a": [1]}, {"a": [True]}], {}, id="true is not 1 in arrays either"),
    pytest.param([{"a": {"b": 1}}, {"a": 1}], {}, id="object and scalar"),
    pytest.param([{"a": {"b": 1}}, {"a": [{"b": 1}]}], {}, id="object and array"),
    pytest.param(
        [{"a": [{"b": 1, "c": 2}, {"b": 3}]}, {"a": [{"c": 2, "b": 1}]}],
        {"a": [{"b": 1, "c": 2}]},
        id="equal objects in arrays, whatever their order of keys",
    ),
    pytest.param([{"a": {"b": [1]}}], {"a": {"b": [1]}}, id="one event is copied whole"),
    pytest.param([{"a": [1, 2, 3]}, {"a": [3, 2]}, {"a": [2, 9]}], {"a": [2]}, id="a fold over three"),
]


@pytest.mark.parametrize(("documents", "expected"), TABLE)
def test_table(documents, expected):
    before = copy.deepcopy(documents)
    result = intersection(documents)
    assert result == expected
    assert repr(result) == repr(expected), "the types are those of the first event"
    assert documents == before


scalars = st.none() | st.booleans() | st.integers(0, 2) | st.sampled_from(["", "x"])
trees = st.recursive(
    scalars, lambda t: st.lists(t, max_size=3) | st.dictionaries(st.sampled_from("ab"), t), max_leaves=8
)
documents = st.dictionaries(st.sampled_from("abc"), trees, max_size=3)


@given(documents, documents)
def test_nothing_is_there_that_both_do_not_have(left, right):
    common = intersection([left, right])
    assert set(common) <= set(left) & set(right)
    assert intersection([common, left]) == common

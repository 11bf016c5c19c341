"""The copy of an event that an alert carries."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectord.alerts.conflicts import remove_conflicts
from detectord.alerts.fields import MAX_DEPTH, Copier, flatten, plain, values

TABLE = [
    pytest.param({"a": {"b": 1}}, {"a": {"b": 1}}, id="nested"),
    pytest.param({"a.b": 1}, {"a": {"b": 1}}, id="dotted"),
    pytest.param({"a": {"b.c": 1}, "a.b": {"d": 2}}, {"a": {"b": {"c": 1, "d": 2}}}, id="mixed"),
    pytest.param({"a.b": 1, "a": {"b": 2}}, {"a": {"b": [1, 2]}}, id="two values of one field"),
    pytest.param({"a.b": [1], "a": {"b": [2]}}, {"a": {"b": [1, 2]}}, id="two arrays of one field"),
    pytest.param({"a.b": 1, "a": {"b": 1}}, {"a": {"b": 1}}, id="the same value twice"),
    pytest.param({"a.b": None, "a": {"b": 1}}, {"a": {"b": 1}}, id="null is no value"),
    pytest.param({"a": 1, "a.b": 2}, {"a": {"b": 2}}, id="object wins over scalar"),
    pytest.param({"a.b": 2, "a": 1}, {"a": {"b": 2}}, id="in either order"),
    pytest.param({"a": [{"b": 1}], "a.c": 2}, {"a": [{"b": 1}, {"c": 2}]}, id="array of objects takes it in"),
    pytest.param({"a.c": 2, "a": [{"b": 1}]}, {"a": [{"b": 1}, {"c": 2}]}, id="here, too"),
    pytest.param({"x": [{"a.b": 1}]}, {"x": [{"a": {"b": 1}}]}, id="inside arrays"),
    pytest.param({"a..b": 1, ".c": 2}, {"a": {"b": 1}, "c": 2}, id="empty segments"),
    pytest.param({"a": "\ud83d\ude00\ud800"}, {"a": "\U0001f600\ufffd"}, id="surrogates"),
    pytest.param({"\udc00": 1}, {"\ufffd": 1}, id="surrogates in names"),
    pytest.param({"a": float("nan"), "b": float("-inf")}, {"a": None, "b": None}, id="no finite numbers"),
    pytest.param(
        {"a": 2**64, "b": 10**400, "c": 2**63}, {"a": float(2**64), "b": None, "c": 2**63}, id="huge integers"
    ),
]


@pytest.mark.parametrize(("document", "expected"), TABLE)
def test_table(document, expected):
    assert Copier().document(document) == expected


def test_depth_is_bounded_however_it_is_spelt():
    nested = {}
    for _ in range(5_000):
        nested = {"a": [nested]}
    for document in (nested, {".".join("a" * 5_000): 1}, {"a": {".".join("b" * MAX_DEPTH): 1}}):
        copier = Copier()
        copy = copier.document(document)
        assert copier.cut
        assert _depth(copy) <= MAX_DEPTH + 1


def _depth(value):
    if isinstance(value, dict):
        return 1 + max(map(_depth, value.values()), default=0)
    if isinstance(value, list):
        return 1 + max(map(_depth, value), default=0)
    return 0


def test_a_plain_document_is_not_cut():
    copier = Copier()
    copier.document({"a": [{"b.c": [1, "x"]}]})
    assert not copier.cut


def test_a_field_in_each_of_its_spellings_is_one_array():
    segments = list("abcdefghijklm")

    def spelt(rest):
        keys = {".".join(rest[:n]): spelt(rest[n:]) for n in range(1, len(rest))}
        return {**keys, ".".join(rest): ["x", "y"]}

    fields = Copier().document(spelt(segments))
    assert list(values(fields, ".".join(segments))) == ["x", "y"] * 2 ** (len(segments) - 1)


names = st.sampled_from(
    ["a", "b", "a.b", ".", "", "b.a.", "\ud800", "process", "name", "event.kind"]
) | st.text(max_size=3)
scalars = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None), max_size=5)
)
trees = st.recursive(
    scalars, lambda t: st.lists(t, max_size=4) | st.dictionaries(names, t, max_size=4), max_leaves=30
)


@given(st.dictionaries(names, trees))
def test_any_document_can_be_copied_and_encoded_and_a_copy_is_its_own_copy(document):
    copy = Copier().document(document)
    again = Copier()
    assert msgspec.json.encode(again.document(copy)) == msgspec.json.encode(copy)
    assert not again.cut


def test_values_are_in_document_order():
    fields = {"a": [{"b": [1, None, [2]]}, "x", {"b": {"c": 9}}, {"b": False}]}
    assert list(values(fields, "a.b")) == [1, 2, False]
    assert list(values(fields, "a.b.c")) == [9]
    assert list(values(fields, "b")) == []


def test_flatten_stops_at_its_budget_of_key_characters():
    wide = {"k" * 1_000: {str(i): i for i in range(1_000)}}
    into = {}
    assert not flatten(wide, "p.", into, 10_000)
    assert len(into) == 9
    assert flatten({"a": {"b": [{"c": 1}], "d": {}}}, "p.", into := {}, 10_000)
    assert into == {"p.a.b": [{"c": 1}]}


def test_plain_takes_what_toml_can_say():
    import datetime

    assert plain({"a": (1, {"b": datetime.date(2026, 3, 1)}), "t": "\ud800"}) == {
        "a": [1, {"b": "2026-03-01"}],
        "t": "\ufffd",
    }


CONFLICTS = [
    ({"process": {"name": {"x": 1}, "pid": 1}}, {"process": {"pid": 1}}, 1),
    ({"process": {"name": ["a", {"x": 1}, "b"]}}, {"process": {"name": ["a", "b"]}}, 1),
    ({"process": {"name": [{"x": 1}]}}, {}, 1),
    ({"process": {"parent": "sshd", "name": "sh"}}, {"process": {"name": "sh"}}, 1),
    ({"process": {"parent": {"parent": {"name": {}}}}}, {}, 1),
    ({"process": {"previous": [{"args": ["a"]}, "b"]}}, {"process": {"previous": [{"args": ["a"]}]}}, 1),
    (
        {"process": {"Ext": {"name": {"x": 1}}, "odd": 1}},
        {"process": {"Ext": {"name": {"x": 1}}, "odd": 1}},
        0,
    ),
    ({"host": "h", "user": 5, "file": ["f"], "source": True}, {}, 4),
    ({"host": None, "event": {}}, {"host": None, "event": {}}, 0),
    ({"host": {"ip": [], "os": {}}}, {"host": {"ip": [], "os": {}}}, 0),
    ({"network": {"name": {"x": 1}}}, {"network": {"name": {"x": 1}}}, 0),
    (
        {"source": {"geo": {"location": {"lat": 1.0, "lon": 2.0}}}},
        {"source": {"geo": {"location": {"lat": 1.0, "lon": 2.0}}}},
        0,
    ),
    ({"event": {"category": {"x": 1}, "code": 5}}, {"event": {"code": 5}}, 1),
]


@pytest.mark.parametrize(("fields", "expected", "count"), CONFLICTS)
def test_conflicts_with_ecs_are_taken_out_and_counted(fields, expected, count):
    assert remove_conflicts(fields) == count
    assert fields == expected

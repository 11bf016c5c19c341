"""Comparing a field of each Elasticsearch type, and joining by it, is answered as the oracle does.

Values are those a producer sends, right or careless; literals are those that the check lets stand.
"""

from __future__ import annotations

import json
import os
from typing import Any

import pytest
from engines import ENGINES, comparable, match, oracle
from hypothesis import given, settings
from hypothesis import strategies as st

_EACH = int(os.environ.get("DETECTORD_PROPERTY_CASES", "1500")) // 25

TEXTS = ["", "a", "A", "ab", "abc", "ß", "Σ", "10", "9", "true", "4.5", "*", "a*"]
NUMBERS = [0, 1, -1, 4, 4.5, 10, 9, 22, 22.0, 2**53 + 1, 2**63 - 1, 2**64 - 1, -(2**63), 1e300]
NUMBER_TEXTS = ["22", "4.50", "-1", "1e1", "10", "9007199254740993"]
DATES = [
    *(
        "2020-03-06T11:03:05.123456789Z",
        "2020-03-06T11:03:05.123Z",
        "2020-03-06 12:03:05+01:00",
        "2020-03-06",
    ),
    *(
        "2020",
        "2020-03",
        "1583492585123",
        "1583492585123.456789",
        "5",
        1583492585123,
        1583492585000,
        0,
        -1,
        12.5,
    ),
]
VERSIONS = [
    "1.0",
    "1.0.0",
    "1.11.3",
    "1.5.0",
    "1.5.0-rc.1",
    "1.5.0-2",
    "1.5.0+b",
    "2",
    "10",
    "bad",
    "",
    "01.2",
]
HOSTS = ["10.0.0.1", "10.0.0.200", "9.0.0.0", "::1", "0:0:0:0:0:0:0:1", "::ffff:10.0.0.1", "2001:db8::7"]
BLOCKS = ["10.0.0.0/8", "10.0.0.77/31", "2001:db8::/32", "::/0"]
WRONG = [True, False, "x", "", None, [], [None], {"deep": 1}, [[1], "a"], "10.0.0.300", "2020-13-01", 1.5]

STRINGS = ("keyword", "wildcard", "constant_keyword", "text", "match_only_text", "flattened")
WHOLE = ("long", "integer", "short", "byte", "unsigned_long")
FRACTIONS = ("double", "float", "half_float", "scaled_float")

KINDS: dict[str, tuple[list[Any], list[Any]]] = {
    # Elasticsearch type: values, literals
    **dict.fromkeys(STRINGS, (TEXTS + NUMBERS[:9], [*TEXTS, 10, 4.5, True])),
    **dict.fromkeys(WHOLE + FRACTIONS, (NUMBERS + NUMBER_TEXTS, NUMBERS[:11] + NUMBER_TEXTS)),
    **dict.fromkeys(("date", "date_nanos"), (DATES, DATES)),
    "boolean": ([True, False, "true", "false", "True", 1], [True, False, "true", "false"]),
    "ip": (HOSTS, HOSTS),
    "version": (VERSIONS, VERSIONS),
}
ORDER = ("<", "<=", ">", ">=")


def written(value: Any) -> str:
    """A literal as a query has it."""
    return json.dumps(value, ensure_ascii=False)


@st.composite
def conditions(draw: st.DrawFn, kind: str) -> str:
    literals = KINDS[kind][1]
    literal = written(draw(st.sampled_from(literals)))
    op = draw(st.sampled_from(["==", "!=", *ORDER]))
    several = draw(
        st.lists(st.sampled_from(literals), min_size=1, max_size=3).filter(lambda each: unmixed(each))
    )
    pattern_op = draw(st.sampled_from([":", "like", "like~"]))
    choices = [
        f"f {op} {literal}",
        f"{literal} {op} f",
        f"not f {op} {literal}",
        f"{draw(st.sampled_from(['', 'not ']))}f in ({', '.join(map(written, several))})",
        f"f not in~ ({', '.join(map(written, several))})",
        f"null {draw(st.sampled_from(['==', '!=']))} (f {op} {literal})",
        "f == null",
        f"f {op} g",
        f'string(f) {pattern_op} ({written(draw(st.sampled_from(TEXTS)))}, "1*")',
    ]
    if kind == "ip":
        block = written(draw(st.sampled_from(BLOCKS)))
        choices += [f"f == {block}", f"f != {block}", f"f in ({literal}, {block})"]
    return draw(st.sampled_from(choices))


def unmixed(literals: list[Any]) -> bool:
    return (
        len({str if isinstance(each, str) else bool if isinstance(each, bool) else int for each in literals})
        == 1
    )


@st.composite
def documents(draw: st.DrawFn, kind: str) -> list[dict[str, Any]]:
    value = st.one_of(
        st.sampled_from(KINDS[kind][0]), st.sampled_from(KINDS[kind][0]), st.sampled_from(WRONG)
    )
    contents = st.one_of(value, value, st.lists(value, max_size=3))
    event = st.fixed_dictionaries({"step": st.sampled_from([1, 2])}, optional={"f": contents, "g": contents})
    found = draw(st.lists(event, min_size=1, max_size=6))
    return [{**each, "@timestamp": 1_000 * number} for number, each in enumerate(found)]


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=_EACH, deadline=None, derandomize=True, database=None)
@given(data=st.data())
def test_a_comparison(kind: str, data: st.DataObject) -> None:
    condition, events = data.draw(conditions(kind)), data.draw(documents(kind))
    types = {"f": kind, "g": kind}
    query = f"any where {condition}"
    assert match(query, events, types=types) == oracle(query, events, types=types)


@pytest.mark.parametrize("engine", ["match", "stream"])
@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=_EACH // 2, deadline=None, derandomize=True, database=None)
@given(data=st.data())
def test_a_join(kind: str, engine: str, data: st.DataObject) -> None:
    events = data.draw(documents(kind))
    query = "sequence by f [any where step == 1] [any where step == 2]"
    found = [results(query, events, types={"f": kind}) for results in (ENGINES[engine], oracle)]
    assert comparable(found[0]) == comparable(found[1])

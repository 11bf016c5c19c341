"""Wildcards against a plain dynamic-programming matcher, and against hostile values."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectord.eql.wildcard import Segment, compile_wildcards


def matches_plainly(pattern: str, value: str) -> bool:
    """reached[i] is true if the pattern so far matches value[:i]."""
    reached = [True] + [False] * len(value)
    for character in pattern:
        if character == "*":
            first = reached.index(True) if True in reached else len(reached)
            reached = [i >= first for i in range(len(reached))]
        else:
            reached = [False] + [
                before and character in ("?", value[i]) for i, before in enumerate(reached[:-1])
            ]
    return reached[-1]


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        ("", [""], ["a"]),
        ("abc", ["abc"], ["ab", "abcd", "ABC", ""]),
        ("*", ["", "a", "a\nb"], []),
        ("?*", ["a", "ab"], [""]),
        ("*??", ["ab", "abc"], ["", "a"]),
        ("??", ["ab", "\U0001f680\n"], ["", "a", "abc"]),
        ("a*", ["a", "abc"], ["", "ba"]),
        ("*a", ["a", "ba"], ["", "ab"]),
        ("*a*", ["a", "bab"], ["", "b"]),
        ("**a**", ["a", "bab"], ["b"]),
        ("ab*ba", ["abba", "abxba"], ["aba", "ab", "abb"]),
        ("?:\\x\\*", ["c:\\x\\", "d:\\x\\y"], [":\\x\\y", "cc:\\x\\y"]),
        ("*.ex?", ["a.exe", ".ex_"], [".ex", "a.exec"]),
        ("*?a", ["ba", "aa"], ["a"]),
        ("a?*", ["ab", "abc"], ["a"]),
        ("a?c*e?g", ["abcefg", "abcdefg"], ["abceg", "abcefgh"]),
        ("*a?b*c??", ["aab_c12", "x a-b cc12"], ["ab c12", "a-b c1"]),
        ("*ab*ab*", ["abab", "ab-ab"], ["aba", "aab"]),
        ("c:\\*\\", ["c:\\\\", "c:\\a\\"], ["c:\\"]),
        ("a[b]*", ["a[b]c"], ["ab", "abc"]),
        ("\\*", ["\\", "\\a"], ["*", "a"]),
    ],
)
def test_one_pattern(pattern: str, yes: list[str], no: list[str]) -> None:
    test = compile_wildcards([pattern])
    assert [value for value in yes + no if test(value)] == yes
    assert [value for value in yes + no if matches_plainly(pattern, value)] == yes


def test_no_pattern_matches_nothing() -> None:
    assert not compile_wildcards([])("")


PATTERNS = st.text("ab?*", max_size=9) | st.text("abc\u00e9\U0001f680?*", max_size=14)
VALUES = st.text("ab", max_size=12) | st.text("abc?*\u00e9\U0001f680\n", max_size=20)


@settings(max_examples=400)
@given(PATTERNS, st.lists(VALUES, min_size=1, max_size=8))
def test_one_pattern_is_the_plain_matcher(pattern: str, values: list[str]) -> None:
    test = compile_wildcards([pattern])
    for value in values:
        assert test(value) is matches_plainly(pattern, value), value


@given(st.lists(PATTERNS, max_size=40), st.lists(VALUES, min_size=1, max_size=8))
def test_a_list_is_any_of_its_patterns(patterns: list[str], values: list[str]) -> None:
    test = compile_wildcards(patterns)
    for value in values:
        assert test(value) is any(matches_plainly(pattern, value) for pattern in patterns), value


@given(st.text("ab?*", max_size=30), st.text("ab", max_size=30), st.data())
def test_a_value_made_from_a_pattern_matches(pattern: str, filling: str, data: st.DataObject) -> None:
    fill = {"*": st.sampled_from([filling, ""]), "?": st.sampled_from("ab")}
    value = "".join(data.draw(fill[c]) if c in fill else c for c in pattern)
    assert compile_wildcards([pattern])(value)


SHAPES = ["{}", "{}*", "?:{}*", "*{}", "*{}?", "*{}*", "x*{}", "{}*x", "x?{}*x", "*{}*x?", "*{}?{}*", "?{}"]


@pytest.mark.parametrize("shape", SHAPES)
def test_long_lists(shape: str) -> None:
    words = [f"{i:04d}-{'w' * (i % 40)}" for i in range(2_600)]
    test = compile_wildcards(shape.replace("{}", word) for word in words)
    for word in (words[0], words[1_311], words[-1]):
        value = shape.replace("{}", word).replace("*", "..").replace("?", "!")
        assert test(value)
        assert not test("!" + value[1:].replace("-", "+"))
        assert not test("")


HOSTILE = [
    ("*a*a*a*a*a*a*a*a*b", "a" * 1_000_000),
    ("a*a*a*a*b*a*a*a*a", "a" * 1_000_000),
    ("*a?b*", "ab" * 500_000),
    ("*a?a?b*", "ab" * 500_000),
    ("*" + "a?" * 50 + "b*", "a" * 1_000_000),
    ("*" + "a" * 300 + "b" + "a" * 300 + "*", "a" * 1_000_000),
    ("*" + "?" * 500 + "x*", "y" * 1_000_000),
    ("?" * 500 + "*" + "?" * 500 + "b", "a" * 1_000_000),
]


@pytest.mark.parametrize(("pattern", "value"), HOSTILE, ids=[pattern[:20] for pattern, _ in HOSTILE])
def test_hostile_values(pattern: str, value: str) -> None:
    assert not compile_wildcards([pattern])(value)


class CountingText(str):
    """Counts the searches made in it, and the characters they pass over."""

    searches = 0
    passed = 0

    def find(self, part: str, start: Any = 0, end: Any = None) -> int:
        found = super().find(part, start, end)
        self.searches += 1
        self.passed += (found if found >= 0 else len(self)) - start + len(part)
        return found


@given(
    st.text("ab?", min_size=1, max_size=8),
    st.text("ab", max_size=6).map(lambda unit: unit * (200 // len(unit) if unit else 0)),
)
def test_a_segment_is_found_in_one_pass(text: str, value: str) -> None:
    segment = Segment.of(text)
    counted = CountingText(value)
    place = segment.find(counted, 0, len(value))
    places = [i for i in range(len(value) - len(text) + 1) if matches_plainly(text, value[i : i + len(text)])]
    assert place == (places[0] if places else -1)
    runs = len(segment.runs)
    assert counted.searches <= runs * (len(value) + 1)
    assert counted.passed <= runs * (len(value) + 1) * (len(text) + 1)

"""Searching for many texts at once is searching for each of them."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectord.eql.search import LONG, Needle, compile_search

MANY = [f"text {number}" for number in range(100, 3_000)]
texts = st.text(st.sampled_from("ab\\.*?é\x00\n🙂\ud800"), min_size=1, max_size=4)


@given(st.lists(texts, unique=True), st.lists(texts, max_size=20))
def test_finds_what_is_there(wanted: list[str], pieces: list[str]) -> None:
    value = "".join(pieces)
    assert sorted(compile_search(list(map(Needle, wanted)))(value)) == [
        n for n, text in enumerate(wanted) if text in value
    ]


@given(st.lists(texts, unique=True, max_size=5), st.lists(st.sampled_from([*MANY[::500], "é", "\ud800"])))
def test_finds_what_is_there_among_many(more: list[str], pieces: list[str]) -> None:
    wanted, value = [*MANY, *more], "-".join(pieces)
    assert sorted(compile_search(list(map(Needle, wanted)))(value)) == [
        n for n, text in enumerate(wanted) if text in value
    ]


@pytest.mark.parametrize("count", [0, 1, 16, 17])
def test_every_number_of_texts(count: int) -> None:
    search = compile_search(list(map(Needle, MANY[:count])))
    assert search("") == []
    assert [search(f"a{text}b") for text in MANY[:count]] == [[number] for number in range(count)]


def test_the_number_of_texts_costs_little() -> None:
    value = "abcdefghij" * 100_000
    few, many = compile_search(list(map(Needle, MANY[:17]))), compile_search(list(map(Needle, MANY * 2)))
    many(value)
    seconds = []
    for search in (few, many):
        began = time.process_time()
        assert search(value) == []
        seconds.append(time.process_time() - began)
    assert seconds[1] < 20 * seconds[0] + 0.02


places = st.none() | st.integers(0, 3)


@given(st.lists(st.builds(Needle, texts, places, places)), st.lists(texts, max_size=4), st.booleans())
def test_finds_what_is_in_its_place(needles: list[Needle], pieces: list[str], among_many: bool) -> None:
    def stands(needle: Needle) -> bool:
        return any(
            value.startswith(needle.text, place)
            and needle.before in (None, place)
            and needle.behind in (None, len(value) - place - len(needle.text))
            for place in range(len(value))
        )

    value = "".join(pieces)
    wanted = [*needles, *(map(Needle, MANY[:20]) if among_many else ())]
    found = sorted(compile_search(wanted)(value))
    assert found == [number for number, needle in enumerate(wanted) if stands(needle)]


@pytest.mark.parametrize("size", [LONG - 20, LONG - 19, LONG, 100 * LONG])
def test_long_values_are_searched_as_others_are(size: int) -> None:
    wanted = [Needle("needle"), Needle("start", before=0), Needle("end!", behind=0), Needle("nedle")]
    search = compile_search([*wanted, *map(Needle, MANY[:20])])
    value = "start" + "é" * size + "needle" + "end!"
    assert sorted(search(value)) == [0, 1, 2]
    assert sorted(search(f" {value} ")) == [0]


def test_a_value_full_of_texts_takes_linear_time() -> None:
    search = compile_search([Needle("a" * size) for size in range(1, 25)])
    search("a" * (LONG + 1))
    began = time.process_time()
    assert sorted(search("a" * 1_000_000)) == list(range(24))
    assert time.process_time() - began < 2

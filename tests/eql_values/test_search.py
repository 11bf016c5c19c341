"""Searching for many texts at once is searching for each of them."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectord.eql.search import compile_search

MANY = [f"text {number}" for number in range(100, 3_000)]
texts = st.text(st.sampled_from("ab\\.*?é\x00\n🙂\ud800"), min_size=1, max_size=4)


@given(st.lists(texts, unique=True), st.lists(texts, max_size=20))
def test_finds_what_is_there(wanted: list[str], pieces: list[str]) -> None:
    value = "".join(pieces)
    assert sorted(compile_search(wanted)(value)) == [n for n, text in enumerate(wanted) if text in value]


@given(st.lists(texts, unique=True, max_size=5), st.lists(st.sampled_from([*MANY[::500], "é", "\ud800"])))
def test_finds_what_is_there_among_many(more: list[str], pieces: list[str]) -> None:
    wanted, value = [*MANY, *more], "-".join(pieces)
    assert sorted(compile_search(wanted)(value)) == [n for n, text in enumerate(wanted) if text in value]


@pytest.mark.parametrize("count", [0, 1, 16, 17])
def test_every_number_of_texts(count: int) -> None:
    search = compile_search(MANY[:count])
    assert search("") == []
    assert [search(f"a{text}b") for text in MANY[:count]] == [[number] for number in range(count)]


def test_the_number_of_texts_costs_little() -> None:
    value = "abcdefghij" * 100_000
    few, many = compile_search(MANY[:17]), compile_search(MANY * 2)
    many(value)
    seconds = []
    for search in (few, many):
        began = time.process_time()
        assert search(value) == []
        seconds.append(time.process_time() - began)
    assert seconds[1] < 20 * seconds[0] + 0.02

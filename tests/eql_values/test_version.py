"""The order of versions."""

from __future__ import annotations

import itertools
import time

import oracle
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectord.eql.version import version_key

IN_ORDER = (
    "0", "0.0", "0.1-a", "0.1", "1.2.4-0", "1.2.4-1", "1.2.4-2", "1.2.4-10", "1.2.4-10.a", "1.2.4--",
    "1.2.4-1a", "1.2.4-SNAPSHOT", "1.2.4-alpha", "1.2.4-alpha.1", "1.2.4-alpha.beta", "1.2.4-b", "1.2.4",
    "1.2.4+a", "1.2.4+b.1", "1.2.4.0", "1.2.5-x+y", "1.5.0", "1.11.3", "2", "10.0", "9" * 127,
    "", "-1", "01.2", "1.", "1..2", "1.0+", "1.0+a_b", "1.0-", "1.0-01", "1.2 ", "9" * 128, "bad",
    "v1.0", "١",
)  # fmt: skip


@pytest.mark.parametrize(("lower", "higher"), list(itertools.pairwise(IN_ORDER)))
def test_order(lower: str, higher: str) -> None:
    assert version_key(lower) < version_key(higher)
    assert oracle.version_rank(lower) < oracle.version_rank(higher)


PARTS = st.one_of(
    st.sampled_from(["", "0", "1", "10", "01", "a", "-", "a1", "rc", "x_", "1" * 128]),
    st.text("01a-.+", max_size=4),
)
VERSIONS = st.builds(
    lambda parts, marks: "".join(f"{part}{mark}" for part, mark in zip(parts, [*marks, ""], strict=False)),
    st.lists(PARTS, min_size=1, max_size=6),
    st.lists(st.sampled_from([".", ".", "-", "+"]), min_size=6, max_size=6),
)


@given(VERSIONS, VERSIONS)
def test_the_order_is_the_oracles(one: str, other: str) -> None:
    ranks = oracle.version_rank(one), oracle.version_rank(other)
    keys = version_key(one), version_key(other)
    assert (keys[0] < keys[1]) == (ranks[0] < ranks[1])
    assert (keys[0] == keys[1]) == (one == other)


@pytest.mark.parametrize(
    "text", ["1." * 100_000, "1-" * 100_000, "9" * 200_000, "1+" + "a." * 100_000, "0" * 200_000]
)
def test_long_texts_are_read_soon(text: str) -> None:
    started = time.process_time()
    version_key(text)
    assert time.process_time() - started < 0.5

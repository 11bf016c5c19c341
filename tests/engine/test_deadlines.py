"""The queue of deadlines, held against a sorted list."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from detectord.engine.deadlines import AT_ONCE, NEVER, Deadlines, Time, packed

SECOND = 1_000_000_000

times = st.one_of(
    st.integers(-3, 3),
    st.integers(0, 200).map(lambda seconds: seconds * SECOND),
    st.integers(-(2**65), 2**65),
)


@given(st.lists(times))
def test_packed_times_stand_in_the_order_of_times(given_: list[int]) -> None:
    assert sorted(map(packed, given_)) == [packed(time) for time in sorted(given_)]
    assert all(AT_ONCE <= packed(time) < NEVER for time in given_)


steps = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.sampled_from([b"a", b"b", b"c", b"d"]), times),
        st.tuples(st.just("gone"), st.sampled_from([b"a", b"b", b"c", b"d"]), st.just(0)),
        st.tuples(st.sampled_from(["take", "first", "refill"]), st.just(b""), times),
    ),
    max_size=60,
)


@given(steps)
def test_what_comes_back_is_the_earliest_that_still_holds(made: list[tuple[str, bytes, int]]) -> None:
    scheduled: dict[bytes, Time] = {}
    deadlines = Deadlines(scheduled.get)
    for what, name, time in made:
        earliest = min(scheduled.values(), default=None)
        if what == "put":
            scheduled[name] = packed(time)
            deadlines.put(packed(time), name)
        elif what == "gone":
            scheduled.pop(name, None)
        elif what == "first":
            assert deadlines.first() == earliest
        elif what == "refill":
            deadlines.refill(list(scheduled))
            assert len(deadlines) == len(scheduled)
        else:
            taken = deadlines.take(time)
            assert (taken is not None) == (earliest is not None and earliest < packed(time))
            if taken is not None:
                assert scheduled.pop(taken) == earliest
    while (taken := deadlines.take()) is not None:
        earliest = min(scheduled.values())
        assert scheduled.pop(taken) == earliest
    assert not scheduled
    assert not len(deadlines)

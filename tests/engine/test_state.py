"""A state partition: what is written down is what is there, and nothing is kept for ever."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectord.engine.hits import EventHits, RuleHit, StepKeys
from detectord.engine.sequences import new_row, walk
from detectord.engine.state import MAX_REMEMBERED, Member, StateError, StatePartition

SPAN = 10
SPANS: dict[str, int | None] = {"r1": SPAN, "r2": SPAN}


def event(number: int, time: int, *hits: RuleHit) -> EventHits:
    return EventHits(0, f"e:a:{number}", "t", 0, number, None, number, b"x" * 10, hits)


def hit(rule: str, time: int, number: int, *steps: tuple[int, str]) -> RuleHit:
    own = tuple(StepKeys(step, False, ((key,),)) for step, key in steps)
    return RuleHit(rule, own, time, (time, (2, "", 0), "e", number))


def work(state: StatePartition, watermark: int) -> None:
    """What the detector does with due hits, in small."""
    for sid, due in state.due(watermark):
        for step_keys in due.steps:
            for key in step_keys.keys:
                slots = state.slots(due.match_hash, key)
                if slots is None:
                    if step_keys.step:
                        continue
                    slots = new_row(3)
                walk(slots, [step_keys.step], due.time, Member(sid, False), SPAN)
                state.put(due.match_hash, key, slots, SPAN)
    state.set_watermark(watermark)
    list(state.expire(watermark, SPANS))
    state.forget_before(watermark)


def contents(state: StatePartition) -> object:
    return (
        state.watermark,
        {name: (row.match_hash, row.key, row.slots) for name, row in state._rows.items()},
        state._held,
        sorted(state._queue),
        state._events,
        state._recent,
        state.size,
    )


operations = st.lists(
    st.tuples(
        st.integers(0, 30),
        st.sampled_from(["r1", "r2"]),
        st.integers(0, 2),
        st.sampled_from(["k1", "k2"]),
        st.booleans(),
    ),
    max_size=40,
)


@settings(max_examples=300, deadline=None)
@given(operations)
def test_restoring_what_was_written_down_is_as_if_nothing_happened(
    made: list[tuple[int, str, int, str, bool]],
) -> None:
    state = StatePartition(0, remember=20)
    entries: dict[bytes, bytes] = {}
    watermark = 0
    for number, (time, rule, step, key, is_barrier) in enumerate(made):
        coming = event(number // 2, time, hit(rule, time, number, (step, key)))
        if time >= watermark and not state.is_repeated(coming):
            state.hold(coming, coming.hits[0])
        watermark = max(watermark, time - 5)
        work(state, watermark)
        if is_barrier:
            for change in state.take_changes():
                if change.value is None:
                    entries.pop(change.key, None)
                else:
                    entries[change.key] = change.value
            restored = StatePartition(0, remember=20)
            restored.restore(entries.items(), SPANS)
            assert contents(restored) == contents(state)
            assert restored.take_changes() == []
            state = restored
    work(state, 10_000)
    for change in state.take_changes():
        entries.pop(change.key, None) if change.value is None else entries.update({change.key: change.value})
    assert {key[:1] for key in entries} <= {b"m"}, "everything is removed in the end"
    assert state.size == 0


def test_a_repeated_event_is_told() -> None:
    state = StatePartition(0, remember=20)
    first = event(1, 5, hit("r1", 5, 1, (0, "k")))
    assert not state.is_repeated(first)
    assert state.is_repeated(first)


def test_the_memory_for_repeats_is_bounded() -> None:
    state = StatePartition(0, remember=10**9)
    for number in range(MAX_REMEMBERED + 10):
        state.is_repeated(event(number, 5, hit("r1", 5, number, (0, "k"))))
    assert len(state._recent) == MAX_REMEMBERED


def test_restarting_a_sequence_for_ever_costs_no_memory() -> None:
    """An attacker repeats the first step of a sequence with a long span, or start and end in turn."""
    state = StatePartition(0, remember=0)
    for number in range(20_000):
        slots = new_row(2)
        coming = event(number, 0, hit("r1", 0, number, (0, "k")))
        state.hold(coming, coming.hits[0])
        for sid, _ in state.due(None):
            walk(slots, [0], 0, Member(sid, False), 10**15)
            state.put("r1", ("k",), slots, 10**15)
            if number % 2:
                state.put("r1", ("k",), [None], 10**15)
    assert len(state._deadlines) < 2_000
    assert len(state._events) <= 1


def test_eviction_takes_what_would_expire_first() -> None:
    state = StatePartition(0, remember=0)
    for number, (time, key) in enumerate([(7, "late"), (3, "early"), (5, "middle")]):
        coming = event(number, time, hit("r1", time, number, (0, key)))
        state.hold(coming, coming.hits[0])
    work(state, 8)
    assert state.evict_oldest() == ("r1", 1)
    assert state.slots("r1", ("early",)) is None
    assert state.slots("r1", ("middle",)) is not None


@pytest.mark.parametrize(
    ("key", "value"),
    [(b"m", b"\x92\x63\xc0"), (b"m", b"junk"), (b"z1", b"\xc0"), (b"pr1:[]", b"\x90"), (b"e1", b"\x01")],
)
def test_foreign_or_broken_state_is_refused(key: bytes, value: bytes) -> None:
    with pytest.raises(StateError):
        StatePartition(0, remember=0).restore([(key, value)], SPANS)

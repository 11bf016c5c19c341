"""A state partition: what is written down is what is there, and nothing is kept for ever."""

from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectord.engine.hits import EventHits, RuleHit, StepKeys
from detectord.engine.lineage import Identity
from detectord.engine.samples import SampleMachine, SampleRow
from detectord.engine.sequences import Machine, Row, Shape
from detectord.engine.state import (
    LARGE,
    MAX_REMEMBERED,
    KeyedRow,
    Member,
    StateError,
    StatePartition,
    Undecided,
    Use,
    by_digest,
)

SPAN = 10
SHAPES = {
    "r1": Shape((1, 1, 1), SPAN),
    "r2": Shape((1, 3, 1), SPAN, leading=True, trailing=True),
    "r3": Shape((2, 1), SPAN, trailing=True),
    "long": Shape((1, 1), 10**15),
}


def make_machine(name: str, keep: Use, drop: Use) -> Machine[Member] | SampleMachine[Member] | None:
    if name == "s1":
        return SampleMachine(3, SPAN, keep, drop)
    return Machine(SHAPES[name], keep, drop) if name in SHAPES else None


def partition(remember: int = 20) -> StatePartition:
    return StatePartition(0, remember, 3, make_machine, by_digest([*SHAPES, "s1"]))


def event(number: int, time: int, *hits: RuleHit, agent: str = "a") -> EventHits:
    return EventHits(0, f"e:{agent}:{number}", "t", 0, number, None, number, b"x" * 10, hits)


def hit(rule: str, time: int, number: int, *steps: tuple[int, str]) -> RuleHit:
    own = tuple(StepKeys(step, False, ((key,),)) for step, key in steps)
    return RuleHit(rule, own, time, (time, (2, "", 0), "e", number))


def work(state: StatePartition, watermark: int | None) -> None:
    """What the detector does with due hits, in small. Stage 3 of a hit stands for missing steps."""
    for sid, due in state.due(watermark):
        for step_keys in due.steps:
            for key in step_keys.keys:
                take(state, due, sid, step_keys.step, key)
    if watermark is not None:
        state.set_watermark(watermark)
        list(state.decided(watermark))
        list(state.expire(watermark))
        state.forget_before(watermark)


def take(state: StatePartition, due: RuleHit, sid: str, stage: int, key: tuple[object, ...]) -> None:
    name, member = due.match_hash, Member(sid, False)
    machine = state.machine(name)
    if isinstance(machine, SampleMachine):
        keyed = state.row("s", name, key) or state.new_row("s", name, key, machine.new_row())
        assert isinstance(keyed.row, SampleRow)
        found = machine.offer(keyed.row, [stage % 3], due.time, member)
        state.settle(keyed)
        for each in found or ():
            state.drop(each)
        return
    assert isinstance(machine, Machine)
    keyed = state.row("p", name, key) or state.new_row("p", name, key, machine.new_row())
    assert isinstance(keyed.row, Row)
    if stage >= len(machine.shape.runs):
        state.rule_out(name, key, due.time, in_order=False)
        machine.missed(keyed.row, stage % len(machine.shape.runs), due.time)
    else:
        _, complete = machine.offer(keyed.row, stage, due.time, member)
        deadline = None if complete is None else machine.shape.deadline(complete)
        if complete is not None and deadline is not None:
            state.hold_undecided(Undecided(name, key, deadline, due.order, complete))
        elif complete is not None:
            for each in complete.events:
                state.drop(each)
    state.settle(keyed)


def contents(state: StatePartition) -> object:
    return (
        state.watermark,
        {name: KeyedRow.of(name, value).row for name, value in state._rows.items()},
        state._undecided,
        {row: sorted(names) for row, names in state._undecided_of.items()},
        state._held,
        sorted(state._queue),
        state._events,
        state._shared,
        state._recent,
        state.partials(),
        state.lineage._hosts,
        state.size,
    )


operations = st.lists(
    st.tuples(
        st.integers(0, 30),
        st.sampled_from(["r1", "r2", "r3", "s1"]),
        st.integers(0, 3),
        st.sampled_from(["k1", "k2"]),
        st.booleans(),
    ),
    max_size=40,
)


@pytest.mark.parametrize("agent", ["a", "a" * LARGE], ids=["small", "large"])
@settings(max_examples=300, deadline=None)
@given(operations)
def test_restoring_what_was_written_down_is_as_if_nothing_happened(
    agent: str, made: list[tuple[int, str, int, str, bool]]
) -> None:
    state = partition()
    entries: dict[bytes, bytes] = {}
    watermark = 0
    for number, (time, rule, step, key, is_barrier) in enumerate(made):
        coming = event(number // 2, time, hit(rule, time, number, (step, key)), agent=agent)
        if time >= watermark and not state.is_repeated(coming):
            state.hold(coming, coming.hits[0])
        watermark = max(watermark, time - 5)
        work(state, watermark)
        entity = key if step else None
        identity = Identity("h" + key, entity, step, "k0", time % 4, step < 2, step == 2, exec=False)
        state.lineage.mark(identity, rule)
        if step == 2:
            state.lineage.end(identity)
        if is_barrier:
            for change in state.take_changes():
                if change.value is None:
                    entries.pop(change.key, None)
                else:
                    entries[change.key] = change.value
            restored = partition()
            restored.restore(entries.items())
            assert contents(restored) == contents(state)
            assert restored.take_changes() == []
            state = restored
    work(state, 10_000)
    while state.lineage.forget_oldest():
        pass
    for change in state.take_changes():
        entries.pop(change.key, None) if change.value is None else entries.update({change.key: change.value})
    assert {key[:1] for key in entries} <= {b"m"}, "everything is removed in the end"
    assert state.size == 0


def test_a_repeated_event_is_told() -> None:
    state = partition()
    first = event(1, 5, hit("r1", 5, 1, (0, "k")))
    assert not state.is_repeated(first)
    assert state.is_repeated(first)


def test_the_memory_for_repeats_is_bounded() -> None:
    state = partition(10**9)
    for number in range(MAX_REMEMBERED + 10):
        state.is_repeated(event(number, 5, hit("r1", 5, number, (0, "k"))))
    assert len(state._recent) == MAX_REMEMBERED


def test_restarting_a_sequence_for_ever_costs_no_memory() -> None:
    """An attacker repeats the first step of a sequence with a long span, or start and end in turn."""
    state = partition(0)
    for number in range(20_000):
        coming = event(number, number, hit("long", number, number, (number % 2, "k")))
        state.hold(coming, coming.hits[0])
        work(state, None)
    assert len(state._deadlines) < 2_000
    assert len(state._events) <= 1


def test_a_partial_costs_little_beyond_its_event() -> None:
    """A million are to fit 500 MB."""
    count, state = 5_000, partition(0)
    tracemalloc.start()
    try:
        for number in range(count):
            coming = event(number, number, hit("long", number, number, (0, f"{number:080}")), agent="a" * 36)
            state.hold(coming, coming.hits[0])
            work(state, None)
            state.take_changes()
        assert state.partials() == {"long": count}
        assert tracemalloc.get_traced_memory()[0] / count < 500
    finally:
        tracemalloc.stop()
    assert 300 < state.size / count < 600, "the bound on memory goes by about the same"


def test_keys_of_other_types_are_other_keys() -> None:
    state = partition(0)
    machine = state.machine("r1")
    assert isinstance(machine, Machine)
    keys: list[tuple[object, ...]] = [("1",), (1,), (1.0,), (True,), (None,), ("\ud800",), (), ("1", "1")]
    for key in keys:
        row = machine.new_row()
        machine.missed(row, 0, 5)
        assert state.row("p", "r1", key) is None
        state.settle(state.new_row("p", "r1", key, row))
    assert len(state._rows) == len(keys)


def test_times_beyond_64_bits_are_kept() -> None:
    """The daemon leaves such events out, the batch door does not."""
    state, time = partition(0), 10**21
    for number, stage in enumerate((0, 1)):
        coming = event(number, time, hit("r1", time, number, (stage, "k")))
        state.hold(coming, coming.hits[0])
        work(state, None)
    keyed = state.row("p", "r1", ("k",))
    assert keyed is not None
    assert isinstance(keyed.row, Row)
    assert keyed.row.slots == [
        None,
        (time, time, (Member("e:a:0", False), Member("e:a:1", False)), None, None, False),
    ]


def test_eviction_takes_what_would_expire_first() -> None:
    state = partition(0)
    for number, (time, key) in enumerate([(7, "late"), (3, "early"), (5, "middle")]):
        coming = event(number, time, hit("r1", time, number, (0, key)))
        state.hold(coming, coming.hits[0])
    work(state, 8)
    assert state.evict_oldest() == ("r1", 1)
    assert state.row("p", "r1", ("early",)) is None
    assert state.row("p", "r1", ("middle",)) is not None


def test_everything_can_be_evicted() -> None:
    state = partition(0)
    for number, (rule, stage) in enumerate([("r1", 0), ("r3", 0), ("r3", 0), ("r3", 1), ("s1", 0)]):
        coming = event(number, 5, hit(rule, 5, number, (stage, "k")))
        state.hold(coming, coming.hits[0])
    work(state, 6)
    held = event(9, 9, hit("r1", 9, 9, (0, "k")))
    state.hold(held, held.hits[0])
    state.lineage.tell(Identity("h", "a", 1, "b", 2, starts=True, ends=False, exec=False))
    lost = []
    while (evicted := state.evict_oldest()) is not None:
        lost.append(evicted)
    assert sorted(lost) == [("", 1), ("", 1), ("r1", 1), ("r1", 1), ("r3", 1), ("r3", 1), ("s1", 1)]
    assert state.size == 0
    assert not state._events


def test_rows_of_rules_that_are_no_more_are_dropped_and_told() -> None:
    state = partition(0)
    coming = event(1, 5, hit("r1", 5, 1, (0, "k")))
    state.hold(coming, coming.hits[0])
    work(state, 6)
    entries = [(change.key, change.value) for change in state.take_changes() if change.value is not None]
    without = StatePartition(0, 0, 3, lambda name, keep, drop: None, by_digest([]))
    without.restore(entries)
    assert without.partials().total() == 1
    assert [count for _, count in without.expire(6)] == [1]
    assert not without.partials()
    assert not without._events


@pytest.mark.parametrize(("before", "after"), [(SPAN, 3), (SPAN, SPAN), (3, SPAN)])
def test_a_row_that_is_read_back_ends_by_the_span_of_now(before: int, after: int) -> None:
    def of_span(span: int) -> StatePartition:
        shape = Shape((1, 1, 1), span)
        return StatePartition(0, 0, 3, lambda _, keep, drop: Machine(shape, keep, drop), by_digest(["r1"]))

    state = of_span(before)
    coming = event(1, 5, hit("r1", 5, 1, (0, "k")))
    state.hold(coming, coming.hits[0])
    work(state, 6)
    again = of_span(after)
    again.restore([(change.key, change.value) for change in state.take_changes() if change.value is not None])
    assert not list(again.expire(5 + after))
    assert again.partials().total() == 1
    assert sum(count for _, count in again.expire(5 + after + 1)) == 1
    assert not again._events


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (b"m", b"\x92\x63\xc0"),
        (b"m", b"\x92\x01\xc0"),  # of format 1
        (b"m", b"junk"),
        (b"z1", b"\xc0"),
        (b"pr1:[]", b"\x90"),
        (b"p" + bytes(24), b"\x90"),
        (b"p" + bytes(24), bytes(8) + b"\x93\x91\x93\x01\x01\x91\x92\xa3e:1\xc2\x80\xc0"),  # of no event
        (b"e1", b"\x01"),
        (b"e\xff", b"\x96\xa1t\x00\x00\xc0\x00\xc4\x00"),
    ],
)
def test_foreign_or_broken_state_is_refused(key: bytes, value: bytes) -> None:
    with pytest.raises(StateError):
        partition().restore([(key, value)])

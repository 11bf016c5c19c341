"""Accounts of losses: nothing gets lost in them, whatever the order, however many causes there are."""

from __future__ import annotations

import pickle
from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectord.engine.losses import OF_TALLY, REASONS, Cause, Extent, Losses, cause_of
from detectord.metrics import TALLIES
from detectord.runtime.reporter import COSTLY

TIMES = st.integers(0, 50)


@st.composite
def extents(draw: st.DrawFn) -> Extent:
    times = sorted(draw(st.lists(TIMES, max_size=2)))
    number = draw(st.integers(1, 5))
    return Extent(number, times[0], times[-1]) if times else Extent(number)


def causes(rules: int = 6) -> st.SearchStrategy[Cause]:
    places = st.none() | st.tuples(st.sampled_from("ab"), st.integers(0, 3))
    return st.builds(
        lambda reason, rule, place: Cause(reason, rule, *(place or (None, None))),
        st.sampled_from(["late", "evicted", "gap"]),
        st.none() | st.integers(0, rules).map(str),
        places,
    )


ADDED = st.lists(st.tuples(causes(), extents()), max_size=40)


def account(added: Sequence[tuple[Cause, Extent]], most: int = 500) -> Losses:
    losses = Losses(most)
    for cause, extent in added:
        losses.add(cause, extent)
    return losses


def joined(*accounts: Losses, most: int = 500) -> Losses:
    losses = Losses(most)
    for each in accounts:
        losses.join(each)
    return losses


def by_reason(losses: Losses) -> Counter[str]:
    totals: Counter[str] = Counter()
    for cause, extent in losses:
        totals[cause.reason] += extent.number
    return totals


def span(losses: Losses, reason: str) -> tuple[int | None, int | None]:
    of_reason = [extent for cause, extent in losses if cause.reason == reason]
    firsts = [extent.first for extent in of_reason if extent.first is not None]
    lasts = [extent.last for extent in of_reason if extent.last is not None]
    return min(firsts, default=None), max(lasts, default=None)


@given(extents(), extents(), extents())
def test_joining_extents_is_free_of_order(a: Extent, b: Extent, c: Extent) -> None:
    assert a.joined(b) == b.joined(a)
    assert a.joined(b).joined(c) == a.joined(b.joined(c))


@given(ADDED, ADDED, ADDED, st.randoms())
def test_joining_accounts_is_free_of_order(
    a: list[tuple[Cause, Extent]], b: list[tuple[Cause, Extent]], c: list[tuple[Cause, Extent]], rng: object
) -> None:
    one, two, three = account(a), account(b), account(c)
    everything = dict(account([*c, *a, *b]))
    assert dict(joined(joined(one, two), three)) == everything
    assert dict(joined(one, joined(two, three))) == everything
    assert dict(joined(three, two, one)) == everything


@given(ADDED, st.integers(0, 6))
def test_a_full_account_is_wider_and_never_wrong(added: list[tuple[Cause, Extent]], most: int) -> None:
    bounded, free = account(added, most), account(added)
    assert by_reason(bounded) == by_reason(free)
    assert len(dict(bounded)) <= 2 * most + len(REASONS)
    for reason in by_reason(free):
        assert span(bounded, reason) == span(free, reason)
    for cause, extent in free:
        # Somewhere it is covered: under its own cause, or under a wider one, with all of its times.
        wider = [
            other
            for own, other in bounded
            if own in (cause, cause._replace(topic=None, partition=None), Cause(cause.reason))
        ]
        assert sum(other.number for other in wider) >= extent.number
    exact = sum(extent.number for cause, extent in bounded if cause in dict(free))
    assert bounded.widened <= sum(by_reason(free).values())
    assert exact + bounded.widened >= sum(by_reason(free).values())


def test_who_is_told_last_is_told_under_a_wider_cause() -> None:
    losses = Losses(most=2)
    for number in range(6):
        losses.add(Cause("late", f"r{number}", "t", number), Extent(1, number, number))
        losses.add(Cause("late", f"r{number}", "t", number), Extent(1, 9, 9))
    assert dict(losses) == {
        Cause("late", "r0", "t", 0): Extent(2, 0, 9),
        Cause("late", "r1", "t", 1): Extent(2, 1, 9),
        Cause("late", "r2"): Extent(2, 2, 9),
        Cause("late", "r3"): Extent(2, 3, 9),
        Cause("late"): Extent(4, 4, 9),
    }
    assert losses.widened == 8


@pytest.mark.parametrize(
    ("tally", "cause"),
    [
        (("rule_late", "r"), Cause("late", "r", "t", 1)),
        (("rule_error", "r", "KeyError"), Cause("error", "r", "t", 1)),
        (("state_removed", "r", "capacity"), Cause("evicted", "r", "t", 1)),
        (("state_removed", "r", "expired"), None),
        (("future", "t"), Cause("future", None, "t", 1)),
        (("lineage_forgotten",), Cause("lineage", None, "t", 1)),
        (("rule_match", "r", "0"), None),
    ],
)
def test_the_cause_of_a_tally(tally: tuple[str, ...], cause: Cause | None) -> None:
    assert cause_of(tally, ("t", 1)) == cause


def test_what_is_logged_as_a_possible_miss_is_in_the_ledger() -> None:
    """Two lists of the same thing; the third is that of all tallies."""
    assert OF_TALLY.keys() == COSTLY.keys() | {"state_removed"}
    assert OF_TALLY.keys() <= TALLIES.keys()
    assert {reason for reason, _ in OF_TALLY.values()} <= REASONS.keys()


def test_an_account_travels_between_processes() -> None:
    losses = account([(Cause("late", "r", "t", 1), Extent(2, 3, 4))], most=7)
    losses.widened = 5
    again = pickle.loads(pickle.dumps(losses))
    assert dict(again) == dict(losses)
    assert again.widened == 5


def test_times_are_noted_in_either_order() -> None:
    losses = Losses()
    losses.note(("rule_late", "r"), 1, None, 9, 4)
    losses.note(("rule_late", "r"), 1, None, None, 12)
    assert dict(losses) == {Cause("late", "r"): Extent(2, 4, 12)}

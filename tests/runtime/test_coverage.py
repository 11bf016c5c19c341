"""The coverage ledger: intervals open, grow and close, and everything that was lost stands in one of them."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectord.engine.losses import MOST, REASONS, Cause, Extent, Losses
from detectord.events.record import DeadLetter, Record
from detectord.runtime.coverage import FORMAT, LONGEST, QUIET, RECENT, SHOWN, Idle, Ledger
from detectord.sinks import LedgerRecord
from detectord.sources import Gap

SECOND = 1_000_000_000
NOW = 1_760_000_000 * SECOND
AT = "2025-10-09T08:53:20.000Z"
LATE = Cause("late", "r", "t", 1)
NOTHING = Losses()


def lost(*entries: tuple[Cause, Extent]) -> Losses:
    losses = Losses()
    for cause, extent in entries:
        losses.add(cause, extent)
    return losses


def told(records: list[LedgerRecord]) -> dict[str, dict[str, Any]]:
    found = {record.name: json.loads(record.value) for record in records}
    assert len(found) == len(records), "an interval is told once a commit"
    return found


def test_a_record() -> None:
    ledger = Ledger("i0", NOW)
    ledger, records = ledger.after(lost((LATE, Extent(2, NOW - SECOND, NOW))), NOW + SECOND)
    assert told(records) == {
        "i0-1760000000000-1": {
            "format": 1,
            "instance": "i0",
            "began": AT,
            "at": "2025-10-09T08:53:21.000Z",
            "id": "i0-1760000000000-1",
            "state": "open",
            "reason": "late",
            "rule_id": "r",
            "topic": "t",
            "partition": 1,
            "count": 2,
            "first": "2025-10-09T08:53:19.000Z",
            "last": AT,
            "offsets": None,
            "detail": "",
            "opened": "2025-10-09T08:53:21.000Z",
            "changed": "2025-10-09T08:53:21.000Z",
        }
    }


def test_an_interval_grows_while_it_goes_on_and_closes_when_it_is_quiet() -> None:
    ledger, first = Ledger().after(lost((LATE, Extent(1, NOW, NOW))), NOW)
    ledger, second = ledger.after(lost((LATE, Extent(2, NOW - 5, NOW - 5))), NOW + QUIET - 1)
    (before,), (after,) = told(first).values(), told(second).values()
    assert after["id"] == before["id"]
    assert (after["count"], after["state"]) == (3, "open")
    assert not ledger.is_due(NOW + 2 * QUIET - 2)
    assert ledger.after(NOTHING, NOW + 2 * QUIET - 2) == (ledger, [])
    assert ledger.is_due(NOW + 2 * QUIET - 1)
    ledger, third = ledger.after(NOTHING, NOW + 2 * QUIET - 1)
    (closed,) = told(third).values()
    assert (closed["id"], closed["count"], closed["state"]) == (before["id"], 3, "closed")
    assert not ledger.is_open
    assert not ledger.is_due(NOW + 9 * QUIET)
    _, fourth = ledger.after(lost((LATE, Extent(1))), NOW + 3 * QUIET)
    (again,) = told(fourth).values()
    assert (again["count"], again["first"]) == (1, None)
    assert again["id"] != before["id"]


def test_an_interval_that_never_gets_quiet_is_cut() -> None:
    ledger, names, counts = Ledger(), set(), Counter[str]()
    for now in range(NOW, NOW + 3 * LONGEST, QUIET // 2):
        ledger, records = ledger.after(lost((LATE, Extent(1, now, now))), now)
        for name, each in told(records).items():
            names.add(name)
            counts[name] = each["count"]
    assert len(names) == 3
    assert sum(counts.values()) == 3 * LONGEST // (QUIET // 2)


def test_a_dead_letter_is_a_loss_of_its_partition() -> None:
    letters = [
        DeadLetter(Record("t", 1, offset, time, None, b"x"), reason, "")
        for offset, (time, reason) in enumerate([(5, "not_json"), (None, "too_large"), (9, "poison")])
    ]
    ledger, records = Ledger().after(NOTHING, NOW, dead_letters=letters)
    found = {each["reason"]: each for each in told(records).values()}
    assert found["dead_lettered"]["count"] == 2
    assert found["dead_lettered"]["first"] == found["dead_lettered"]["last"] == "1970-01-01T00:00:00.005Z"
    assert (found["poison"]["count"], found["poison"]["topic"], found["poison"]["partition"]) == (1, "t", 1)
    assert ledger.totals == {("dead_lettered", ""): 2, ("poison", ""): 1}


# Gaps.


def test_a_gap_has_offsets_and_is_closed_at_once() -> None:
    ledger, records = Ledger("i0", NOW).after(NOTHING, NOW, gaps=[Gap(("t", 3), 2, 7)])
    (found,) = told(records).values()
    assert found["id"] == "gap-t-3-2", "the same after a start that finds it again"
    assert (found["reason"], found["topic"], found["partition"]) == ("gap", "t", 3)
    assert found["offsets"] == {"from": 2, "to": 7}
    assert (found["count"], found["state"]) == (5, "closed")
    assert not ledger.is_open


@pytest.mark.parametrize("again", [(2, 7), (2, 9), (1, 7), (3, 12)])
def test_a_gap_that_is_found_again_is_not_counted_again(again: tuple[int, int]) -> None:
    """After the way back to the last commit; by then more may be gone."""
    ledger, _ = Ledger().after(NOTHING, NOW, gaps=[Gap(("t", 3), 2, 7)])
    ledger, records = ledger.after(NOTHING, NOW + 1, gaps=[Gap(("t", 3), *again)])
    (found,) = told(records).values()
    start, end = min(2, again[0]), max(7, again[1])
    assert found["id"] == "gap-t-3-2"
    assert found["offsets"] == {"from": start, "to": end}
    assert found["count"] == end - start
    assert ledger.totals == {("gap", ""): end - start}
    assert len(ledger.recent) == 1


def test_other_gaps_are_other_gaps() -> None:
    gaps = [Gap(("t", 3), 2, 7), Gap(("t", 3), 7, 8), Gap(("t", 4), 2, 7), Gap(("u", 3), 2, 7)]
    ledger, records = Ledger().after(NOTHING, NOW, gaps=gaps)
    assert len(told(records)) == 4
    assert ledger.totals == {("gap", ""): 16}


def test_offsets_that_went_back_are_told_though_nobody_knows_how_many_records_that_is() -> None:
    _, records = Ledger().after(NOTHING, NOW, gaps=[Gap(("t", 0), 3_000_000_000, 0)])
    (found,) = told(records).values()
    assert (found["count"], found["offsets"]) == (0, {"from": 3_000_000_000, "to": 0})


# Rules that do not run.


def test_rules_that_do_not_run_are_told_once_and_closed_when_they_run() -> None:
    one, two = Idle("refused", "r1", "a.toml: parse_error"), Idle("refused", "", "b.toml: schema_error")
    ledger = Ledger("i0", NOW).with_idle([one, two], NOW)
    assert ledger.is_due(NOW)
    ledger, records = ledger.after(NOTHING, NOW + SECOND)
    found = {each["detail"]: each for each in told(records).values()}
    assert found["a.toml: parse_error"]["rule_id"] == "r1"
    assert found["b.toml: schema_error"]["rule_id"] is None
    assert all((each["first"], each["last"], each["state"]) == (AT, None, "open") for each in found.values())
    assert not ledger.is_due(NOW + 9 * LONGEST), "it is not told again, and does not close by itself"
    ledger = ledger.with_idle([two, Idle("quarantined", "r3", "")], NOW + 2 * SECOND)
    ledger, records = ledger.after(NOTHING, NOW + 3 * SECOND)
    after = {(each["reason"], each["rule_id"]): each for each in told(records).values()}
    assert after.keys() == {("refused", "r1"), ("quarantined", "r3")}
    assert (after["refused", "r1"]["state"], after["refused", "r1"]["last"]) == (
        "closed",
        "2025-10-09T08:53:22.000Z",
    )
    assert after["refused", "r1"]["id"] == found["a.toml: parse_error"]["id"]


def test_at_the_end_everything_closes() -> None:
    ledger = Ledger().with_idle([Idle("refused", "r1", "")], NOW)
    ledger, _ = ledger.after(lost((LATE, Extent(1))), NOW)
    ledger, records = ledger.after(NOTHING, NOW + 1, ending=True)
    assert [each["state"] for each in told(records).values()] == ["closed", "closed"]
    assert not ledger.is_open
    assert ledger.after(NOTHING, NOW + 2, ending=True) == (ledger, [])


def test_names_that_nobody_has_checked_are_cut() -> None:
    ledger = Ledger().with_idle([Idle("refused", "x" * 2_000_000, "y" * 2_000_000)], NOW)
    _, records = ledger.after(NOTHING, NOW)
    assert len(records[0].value) < 2_000


# What its page says.

PAGE = Path(__file__).parents[2] / "docs/coverage.md"


def test_the_page_has_every_reason_and_every_field() -> None:
    page = PAGE.read_text(encoding="utf-8")
    rows = [row for row in page.partition("## Reasons")[2].splitlines() if row.startswith("| `")]
    assert rows == [f"| `{reason}` | {meaning} |" for reason, meaning in REASONS.items()]
    _, records = Ledger().after(lost((LATE, Extent(1))), NOW)
    (record,) = told(records).values()
    first_cells = [row.split("|")[1] for row in page.splitlines() if row.startswith("| `")][: -len(REASONS)]
    assert sorted(re.findall("`(.+?)`", " ".join(first_cells))) == sorted(record)


def test_the_page_has_the_numbers() -> None:
    page = " ".join(PAGE.read_text(encoding="utf-8").split())
    for said in (
        f"nothing was added for {QUIET // SECOND} s, after {LONGEST // SECOND // 60} minutes in any case",
        f"At most {MOST} intervals are open",
        f"at most {2 * MOST + len(REASONS):,} records",
        f"shows the {SHOWN} intervals that changed last and the {RECENT} that closed last",
        f"| `format` | {FORMAT};",
    ):
        assert said in page


# What holds whatever happens.


@st.composite
def histories(draw: st.DrawFn) -> list[tuple[int, Losses, bool]]:
    """Barriers: how long after the last one, what was lost, whether it is committed."""
    causes = st.builds(
        Cause,
        st.sampled_from(["late", "evicted", "future"]),
        st.none() | st.integers(0, 9).map(str),
        st.just("t"),
        st.integers(0, 3),
    )
    times = st.integers(NOW - 1_000 * SECOND, NOW)
    losses = st.lists(st.tuples(causes, st.builds(lambda n, t: Extent(n, t, t), st.integers(1, 3), times)))
    steps = st.tuples(
        st.integers(0, 2 * QUIET), losses.map(lambda each: lost(*each)), st.sampled_from([True, True, False])
    )
    return draw(st.lists(steps, max_size=12))


@given(histories(), st.integers(0, 5))
def test_what_is_told_adds_up_to_what_was_lost(history: list[tuple[int, Losses, bool]], most: int) -> None:
    """A reader keeps of each interval what was told last. A barrier that is not committed leaves nothing."""
    ledger, now = Ledger(most=most), NOW
    read: dict[str, dict[str, Any]] = {}
    expected: Counter[str] = Counter()
    for waited, losses, is_committed in history:
        now += waited
        after, records = ledger.after(losses, now)
        assert len(after.open) <= 2 * most + len(REASONS)
        if is_committed:
            assert sum(after.counted_since(ledger).values()) == sum(extent.number for _, extent in losses)
            ledger = after
            read |= told(records)
            for cause, extent in losses:
                expected[cause.reason] += extent.number
    found: Counter[str] = Counter()
    for each in read.values():
        found[each["reason"]] += each["count"]
    assert found == expected
    totals: Counter[str] = Counter()
    for (reason, _), number in ledger.totals.items():
        totals[reason] += number
    assert totals == expected
    lasting = {each.name for each in ledger.open.values()}
    assert lasting == {name for name, each in read.items() if each["state"] == "open"}


@given(histories())
def test_a_ledger_is_not_changed_by_what_comes_after(history: list[tuple[int, Losses, bool]]) -> None:
    ledger, now = Ledger(), NOW
    for waited, losses, _ in history:
        before = json.dumps(ledger.status())
        now += waited
        following, _ = ledger.after(losses, now, gaps=[Gap(("t", 0), 1, 2)])
        assert json.dumps(ledger.status()) == before
        ledger = following


def test_who_makes_ever_new_causes_makes_no_new_intervals() -> None:
    ledger = Ledger(most=10)
    for barrier in range(20):
        causes = [Cause("late", f"r{barrier}-{n}", "t", n) for n in range(50)]
        ledger, records = ledger.after(lost(*((cause, Extent(1)) for cause in causes)), NOW)
        assert len(records) <= 21
        assert len(ledger.open) <= 21
    assert sum(ledger.totals.values()) == 1_000
    assert ledger.widened == 990
    assert ledger.totals["late", ""] == 980


def test_what_is_shown_and_remembered_is_bounded() -> None:
    many = [(Cause("late", f"r{n}", "t", 0), Extent(1)) for n in range(3 * SHOWN)]
    ledger, _ = Ledger().after(lost(*many), NOW)
    status: Any = ledger.status()
    assert (len(status["open"]), status["open_not_shown"]) == (SHOWN, 2 * SHOWN)
    ledger, _ = ledger.after(lost((LATE, Extent(7))), NOW + QUIET)
    status = ledger.status()
    assert (len(status["open"]), len(status["recent"])) == (1, RECENT)
    assert status["open"][0]["count"] == 7
    assert status["losses"] == {"late": 3 * SHOWN + 7}

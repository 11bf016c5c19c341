"""One worker, message by message: what counts when, and what survives what."""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterable
from typing import Any

import pytest
from simulation import naming_alert, rules

from detectord.compiler import Overflow
from detectord.engine.detector import EngineSettings
from detectord.engine.losses import Cause, Extent
from detectord.engine.watermark import END_OF_TIME
from detectord.events.event import Event
from detectord.runtime.protocol import (
    Advance,
    Barrier,
    Batch,
    Chunk,
    Covered,
    Outcome,
    RankedAlert,
    Restore,
    Stop,
    Unreadable,
    pack_entries,
)
from detectord.runtime.worker import Worker, WorkerSettings, _capped

BASE = 1_760_000_000


def at(second: float) -> int:
    """An instant (ns), in seconds from where the events of this file begin."""
    return int((BASE + second) * 1_000_000_000)


def worker(number: int = 0, workers: int = 1, **engine: Any) -> Worker:
    settings = WorkerSettings(number, workers, EngineSettings(**engine), max_event_bytes=2_000_000)
    return Worker(rules(), settings, naming_alert)


def event(number: int, name: str, time: int, *, host: str = "h", **more: object) -> bytes:
    document = {
        "@timestamp": (BASE + time) * 1000,
        "event": {"id": f"n{number}", "category": ["process"]},
        "agent": {"id": "a"},
        "host": {"id": host},
        "process": {"name": name},
        **more,
    }
    return json.dumps(document).encode()


def batch(number: int, *values: bytes, epoch: int = 0, timestamp: int | None = None) -> Batch:
    count = len(values)
    offsets = array("q", range(number * 100, number * 100 + count))
    times = array("q", [-1 if timestamp is None else timestamp] * count)
    chunk = Chunk("t", 0, offsets, times, offsets, [None] * count, list(values))
    return Batch(epoch, number, 0, (chunk,))


def outcome(of: Worker, message: Batch) -> Outcome:
    reply = of.handle(message)
    assert isinstance(reply, Outcome)
    return reply


def covered(of: Worker, number: int = 1, epoch: int = 0) -> Covered:
    reply = of.handle(Barrier(epoch, number))
    assert isinstance(reply, Covered)
    return reply


def names(alerts: Iterable[RankedAlert]) -> list[str]:
    return [record.key for alert in alerts for record in alert.records]


HOST_ALERT = '["host", ["e:a:n1", "e:a:n2"], ["h"]]'


def test_an_event_rule_fires_with_the_batch() -> None:
    assert names(outcome(worker(), batch(1, event(1, "a", 1))).alerts) == ['["event", ["e:a:n1"], []]']


def test_a_barrier_covers_the_batches_that_count_and_no_later_one() -> None:
    one = worker()
    outcome(one, batch(1, event(1, "a", 1)))
    outcome(one, batch(2, event(2, "b", 2)))  # evaluated ahead, does not count yet
    one.handle(Advance(0, 1, 0, at(1.5)))
    first = covered(one)
    assert names(first.alerts) == []
    assert not any(b"n2" in change.key for change in first.changes)
    assert any(b"n1" in change.key for change in first.changes)
    one.handle(Advance(0, 2, 0, END_OF_TIME))
    assert HOST_ALERT in names(covered(one, 2).alerts)


def test_hits_wait_for_the_watermark_and_late_ones_are_counted() -> None:
    one = worker()
    outcome(one, batch(1, event(2, "b", 20), event(1, "a", 15)))
    one.handle(Advance(0, 1, 0, at(20)))
    assert names(covered(one).alerts) == []  # b is at the watermark, not before it
    outcome(one, batch(2, event(3, "a", 19)))
    one.handle(Advance(0, 2, 0, at(21)))
    answer = covered(one, 2)
    assert HOST_ALERT in names(answer.alerts)
    assert answer.tallies["rule_late", "host"] == 1
    assert answer.tallies["late", "t", "dropped"] >= 1
    assert answer.losses is not None
    assert dict(answer.losses)[Cause("late", "host", "t", 0)] == Extent(1, at(19), at(19))
    assert covered(one, 3).losses is None, "they are told once"


def test_by_arrival_nothing_waits_and_nothing_is_late() -> None:
    one = worker(by_arrival=True)
    outcome(one, batch(1, event(1, "a", 20)))
    one.handle(Advance(0, 1, 0, None))
    outcome(one, batch(2, event(2, "b", 15)))
    one.handle(Advance(0, 2, 0, at(20)))
    assert HOST_ALERT in names(covered(one).alerts)


def test_an_older_epoch_is_not_heard() -> None:
    one = worker()
    one.handle(Restore(3, None, {}))
    assert one.handle(batch(1, event(1, "a", 1), epoch=2)) is None
    assert one.handle(Barrier(2, 1)) is None
    assert one.handle(Stop()) is None


def test_restoring_forgets_what_was_not_covered_and_goes_on_from_what_was() -> None:
    one = worker()
    outcome(one, batch(1, event(1, "a", 1)))
    one.handle(Advance(0, 1, 0, at(5)))
    entries: dict[int, dict[bytes, bytes]] = {}
    for change in covered(one).changes:
        if change.value is not None:
            entries.setdefault(change.partition, {})[change.key] = change.value
    outcome(one, batch(2, event(9, "a", 6)))
    outcome(one, batch(3, event(8, "a", 7)))
    one.handle(Advance(0, 2, 0, at(8)))  # n9 took the place of n1, and is to be undone
    for again in (one, worker()):
        packed = {number: pack_entries(own) for number, own in entries.items()}
        again.handle(Restore(1, at(5), packed))
        outcome(again, batch(3, event(2, "b", 6), epoch=1))
        again.handle(Advance(1, 3, 0, END_OF_TIME))
        assert HOST_ALERT in names(covered(again, 2, epoch=1).alerts)


def test_hits_for_others_travel_and_complete_there() -> None:
    """The user rule's state lies anywhere; whoever evaluates, the owner completes."""
    workers = [worker(number, 4) for number in range(4)]
    values = [
        event(number, name, number, host=f"h{number}", user={"name": "u"})
        for number, name in enumerate(["a", "b", "c"], start=1)
    ]
    sent: dict[int, list[bytes]] = {}
    for number, value in enumerate(values):
        for owner, packed in outcome(workers[number], batch(1, value)).hits.items():
            sent.setdefault(owner, []).append(packed)
    found = []
    for number, one in enumerate(workers):
        one.handle(Advance(0, 1, 0, END_OF_TIME, tuple(sent.get(number, ()))))
        found += names(covered(one).alerts)
    assert '["user", ["e:a:n1", "e:a:n2", "e:a:n3"], ["u"]]' in found


def test_progress_is_the_newest_time_but_no_clock_runs_ahead_of_its_record() -> None:
    given = batch(1, event(1, "x", 50), event(2, "x", 900), timestamp=at(100) // 10**6)
    assert outcome(worker(), given).progress == {("t", 0): at(100)}


def test_an_event_from_the_far_future_is_taken_at_its_records_time() -> None:
    one = worker()
    answer = outcome(one, batch(1, event(1, "a", 10_000), timestamp=at(100) // 10**6))
    assert answer.tallies["future", "t"] >= 1
    outcome(one, batch(2, event(2, "b", 101), timestamp=at(101) // 10**6))
    for number in (1, 2):
        one.handle(Advance(0, number, 0, END_OF_TIME if number == 2 else None))
    assert HOST_ALERT in names(covered(one).alerts)


def test_a_repeated_event_fills_no_second_step() -> None:
    one = worker()
    both = event(1, "ab", 1, user={"name": "u"})
    outcome(one, batch(1, both, both, event(2, "c", 2, user={"name": "u"})))
    one.handle(Advance(0, 1, 0, END_OF_TIME))
    answer = covered(one)
    assert names(answer.alerts) == []
    assert answer.tallies["dropped", "duplicate"] >= 1  # once in each state partition it concerns


GARBAGE = [
    b"",
    b"no json",
    b"[]",
    b"3",
    b"null",
    b"\xff\xfe",
    b"[" * 100_000,
    b'{"a":' * 5_000 + b"1" + b"}" * 5_000,
    b'{"process":' + b'"' + b"x" * 3_000_000 + b'"}',
]


@pytest.mark.parametrize("value", GARBAGE, ids=range(len(GARBAGE)))
def test_garbage_is_a_dead_letter_and_the_next_event_is_matched(value: bytes) -> None:
    reply = outcome(worker(), batch(1, value, event(1, "a", 1)))
    assert len(reply.dead_letters) == 1
    assert reply.dead_letters[0].record.value == value
    assert names(reply.alerts) == ['["event", ["e:a:n1"], []]']


NESTED = {"x": {"y": [1, {"z": 2}]}}
ODD = [None, True, 7, -1.5, 10**30, "", "a\u0000", [], [[]], [None], {}, NESTED, ["a", 1, {"b": 2}]]
PATHS = [
    *("@timestamp", "agent.id", "data_stream", "data_stream.dataset", "event", "event.category"),
    *("event.id", "event.sequence", "host", "host.id", "process", "process.args", "process.name"),
    *("tags", "user.name"),
]


@pytest.mark.parametrize("path", PATHS)
def test_wrong_types_anywhere_stop_nothing(path: str) -> None:
    one = worker()
    values = [event(number, "a", 1, **{path: odd}) for number, odd in enumerate(ODD)]
    reply = outcome(one, batch(1, *values, event(99, "a", 2)))
    assert not reply.dead_letters
    assert '["event", ["e:a:n99"], []]' in names(reply.alerts)
    assert not [tally for tally in reply.tallies if tally[0] == "rule_error"]
    one.handle(Advance(0, 1, 0, END_OF_TIME))
    answer = covered(one)
    assert not [tally for tally in answer.tallies if tally[0] == "rule_error"]


def test_a_huge_event_is_trimmed_before_it_is_held() -> None:
    one = worker()
    huge = {"event": {"id": "n1", "category": ["process"], "original": "x" * 400_000}}
    outcome(one, batch(1, event(1, "a", 1, **huge)))
    one.handle(Advance(0, 1, 0, None))
    answer = covered(one)
    assert 0 < answer.gauges.state_bytes < 10_000
    outcome(one, batch(2, event(2, "b", 2)))
    one.handle(Advance(0, 2, 0, END_OF_TIME))
    assert HOST_ALERT in names(covered(one, 2).alerts)


def test_state_beyond_its_bound_is_evicted_oldest_first_and_counted() -> None:
    one = worker(max_bytes=60_000)
    values = [event(number, "a", number, host=f"h{number}") for number in range(100)]
    outcome(one, batch(1, *values))
    one.handle(Advance(0, 1, 0, at(150)))
    outcome(one, batch(2, *(event(200 + n, "a", 2_000 + n, host=f"h{n}") for n in range(100))))
    one.handle(Advance(0, 2, 0, at(2_005)))
    answer = covered(one)
    assert 30_000 < answer.gauges.state_bytes <= 60_000
    evicted = answer.tallies["state_removed", "host", "capacity"]
    assert evicted > 0
    assert answer.losses is not None
    lost = dict(answer.losses)[Cause("evicted", "host")]
    assert lost.number == evicted
    # From when they were given up until the last of them might have been completed
    assert lost.first == at(2_005)
    assert lost.last is not None
    assert lost.last > at(2_005)


def test_held_hits_that_are_given_up_are_told_with_their_times() -> None:
    one = worker(max_bytes=20_000, partitions=1)
    outcome(one, batch(1, *(event(n, "a", 100 + n, host=f"h{n}") for n in range(40))))
    one.handle(Advance(0, 1, 0, at(50)))
    answer = covered(one)
    assert 0 < answer.gauges.held < 80
    assert answer.losses is not None
    lost = dict(answer.losses)[Cause("evicted", "host")]
    assert lost.number == answer.tallies["state_removed", "host", "capacity"]
    assert lost.first == at(50)
    assert lost.last in {at(100 + n) for n in range(39)}


def test_an_error_of_ours_costs_one_record_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """The detector is made to fail on one host: a bug that nobody knows yet."""
    one = worker()
    whole = one._detector._evaluated

    def failing(given: Event, *more: Any) -> object:
        if given.text("host.id") == ("bad",):
            raise ZeroDivisionError("oops")
        return whole(given, *more)

    monkeypatch.setattr(one._detector, "_evaluated", failing)
    reply = outcome(one, batch(1, event(1, "a", 1, host="bad"), event(2, "a", 1)))
    assert [(letter.reason, letter.error) for letter in reply.dead_letters] == [
        ("poison", "ZeroDivisionError: oops")
    ]
    assert names(reply.alerts) == ['["event", ["e:a:n2"], []]']


def test_conditions_given_up_are_counted() -> None:
    counting = Overflow()
    counting.count = 3
    settings = WorkerSettings(0, 1, EngineSettings())
    one = Worker(rules(), settings, naming_alert, {"event": counting})
    first = outcome(one, batch(1, event(1, "a", 1), timestamp=at(3) // 10**6))
    assert first.tallies["combinations_capped", "event"] == 3
    assert first.losses is not None
    assert dict(first.losses) == {Cause("capped", "event", "t", 0): Extent(3, at(3), at(3))}
    assert outcome(one, batch(2, event(1, "a", 1))).tallies["combinations_capped", "event"] == 0


def test_a_repeat_long_after_is_a_repeat_while_the_event_is_still_held() -> None:
    """The memory for sids is bounded, but what waits is never taken twice."""
    one = worker(partitions=1)
    both = event(1, "ab", 1, user={"name": "u"})
    others = [event(10 + n, "a", 2, host=f"h{n}", user={"name": f"u{n}"}) for n in range(4_200)]
    outcome(one, batch(1, both, *others, both, event(2, "c", 3, user={"name": "u"})))
    one.handle(Advance(0, 1, 0, END_OF_TIME))
    answer = covered(one)
    assert not [name for name in names(answer.alerts) if '"e:a:n1", "e:a:n1"' in name]
    assert answer.tallies["dropped", "duplicate"] == 1


def test_long_keys_and_ids_are_held_short_and_meet_all_the_same() -> None:
    one = worker()
    long_host, long_id = "h" * 100_000, "i" * 100_000
    first = event(1, "a", 1, host=long_host, event={"id": long_id, "category": "process"})
    outcome(one, batch(1, first, event(2, "b", 2, host=long_host), event(3, "b", 2, host=long_host + "x")))
    one.handle(Advance(0, 1, 0, at(1.5)))
    answer = covered(one)
    assert all(len(change.key) < 2_000 for change in answer.changes)
    one.handle(Advance(0, None, 0, END_OF_TIME))
    found = [name for name in names(covered(one, 2).alerts) if name.startswith('["host"')]
    assert len(found) == 1
    assert f"e:a:{long_id}" in found[0], "an alert names its events in full"


def test_an_event_that_reaches_many_state_partitions_is_trimmed_once() -> None:
    """Hundreds of hosts in one large event: its bytes are made once and shared."""
    one = worker()
    hosts = [f"h{number}" for number in range(300)]
    document = {**json.loads(event(1, "a", 1)), "host": {"id": hosts}, "message": "x" * 300_000}
    outcome(one, batch(1, json.dumps(document).encode()))
    held = [hits.value for hits in one._parked[1]]
    assert len(held) > 30
    assert len({id(value) for value in held}) == 1


def test_sequences_completed_by_one_event_are_bounded_and_the_rest_counted() -> None:
    one = worker(partitions=1)
    users = [f"u{number}" for number in range(300)]
    makers = [event(n, "ab", n, user={"name": users}) for n in (1, 2)]
    outcome(one, batch(1, *makers, event(3, "c", 3, user={"name": users})))
    one.handle(Advance(0, 1, 0, END_OF_TIME))
    answer = covered(one)
    assert len([name for name in names(answer.alerts) if name.startswith('["user"')]) == 100
    assert answer.tallies["key_tuples_capped", "user"] == 200
    assert answer.losses is not None
    assert dict(answer.losses)[Cause("capped", "user", "t", 0)] == Extent(200, at(3), at(3))


WIDE = {"process.name": "a"}
"""A dotted key beside the object of that name: an event that has to be decoded in full."""


@pytest.mark.parametrize("more", [{}, WIDE])
def test_what_an_event_loses_is_told_with_its_place_and_time(more: dict[str, object]) -> None:
    """More join keys than are tried; the same of an event that is read in full."""
    one = worker(max_key_tuples=2)
    keys = {"user": {"name": ["u1", "u2", "u3"]}, **more}
    reply = outcome(one, batch(1, event(1, "a", 5, **keys), event(2, "a", 6), event(3, "ab", 9, **keys)))
    capped = reply.tallies["key_tuples_capped", "user"]
    assert capped >= 2
    assert reply.losses is not None
    assert dict(reply.losses)[Cause("capped", "user", "t", 0)] == Extent(capped, at(5), at(9))
    assert outcome(one, batch(2, event(4, "a", 7))).losses is None


@pytest.mark.parametrize("timestamp", [-(10**15), -1, 10**16])
def test_a_record_time_outside_all_reason_is_none(timestamp: int) -> None:
    one = worker()
    without_time = event(2, "b", 1, **{"@timestamp": None})
    answer = outcome(one, batch(1, event(1, "a", 1), without_time, timestamp=timestamp))
    assert not answer.dead_letters
    assert answer.progress == {("t", 0): at(1)}
    one.handle(Advance(0, 1, 0, END_OF_TIME))
    covered(one)


def test_garbage_tells_no_event_time() -> None:
    """Nobody knows how far behind their records the events around it are."""
    answer = outcome(worker(), batch(1, b"garbage", timestamp=at(7) // 10**6))
    assert answer.progress == {}


def test_a_number_too_large_for_a_double_decides_ties_and_stops_nothing() -> None:
    one = worker()
    huge = event(1, "a", 1, event={"id": "n1", "category": "process", "sequence": 10**400})
    answer = outcome(one, batch(1, huge, event(2, "b", 2)))
    assert not answer.dead_letters
    one.handle(Advance(0, 1, 0, END_OF_TIME))
    assert HOST_ALERT in names(covered(one).alerts)


def test_what_is_counted_of_the_state_leaves_with_the_barrier_that_covers_it() -> None:
    one = worker()
    outcome(one, batch(1, event(1, "a", 20)))
    one.handle(Advance(0, 1, 0, at(30)))
    outcome(one, batch(2, event(2, "a", 5)))
    one.handle(Advance(0, 2, 0, at(31)))
    ahead = outcome(one, batch(3, event(3, "x", 32)))
    assert not any(tally[0] == "rule_late" for tally in ahead.tallies)
    assert covered(one).tallies["rule_late", "host"] == 1


def test_an_event_out_of_an_envelope_is_held_as_itself() -> None:
    """Written again because it is large; read again it must not be opened a second time."""
    inner = json.loads(event(1, "a", 1))
    inner["message"] = json.dumps({"process": {"name": "decoy"}})
    hit = {"_id": "x", "_source": {**inner, "pad": "x" * 300_000}}
    one = worker()
    outcome(one, batch(1, json.dumps(hit).encode(), event(2, "b", 2)))
    one.handle(Advance(0, 1, 0, END_OF_TIME))
    assert HOST_ALERT in names(covered(one).alerts)


def test_a_span_longer_than_state_may_keep_is_capped() -> None:
    rule = next(rule for rule in rules().rules if rule.rule.rule_id == "host")
    assert rule.maxspan == 10 * 10**9
    assert _capped(rule, 4 * 10**9).maxspan == 4 * 10**9
    assert _capped(rule, 10 * 10**9) is rule
    assert _capped(rule, None) is rule


def test_state_that_cannot_be_read_is_told() -> None:
    reply = worker().handle(Restore(1, None, {3: pack_entries({b"p-not-a-row": b"\xc1"})}))
    assert isinstance(reply, Unreadable)
    assert "unknown kind b'p-not-a-row'" in reply.error

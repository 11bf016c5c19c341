"""How far event time has come, told by partitions that run, rest and come back."""

from __future__ import annotations

from detectord.engine.watermark import EventTimeWatermark, FiniteWatermark

A, B = ("ecs", 0), ("ecs", 1)
BOTH = frozenset({A, B})


def running() -> EventTimeWatermark:
    watermark = EventTimeWatermark(lateness=10, idle_timeout=30)
    watermark.ticked(BOTH, (), 0)
    return watermark


def test_the_slowest_partition_decides_less_the_lateness() -> None:
    watermark = running()
    assert watermark.advanced({A: 100}) is None  # nothing is known of B yet
    assert watermark.advanced({B: 50}) == 40
    assert watermark.advanced({B: 200}) == 90


def test_it_never_goes_back() -> None:
    watermark = running()
    assert watermark.advanced({A: 100, B: 100}) == 90
    assert watermark.advanced({A: 20}) == 90


def test_a_partition_at_its_end_stops_counting_after_the_timeout() -> None:
    watermark = running()
    watermark.advanced({A: 100, B: 50})
    assert watermark.ticked(BOTH, {B}, 1) == 40
    assert watermark.ticked(BOTH, {B}, 30) == 40
    assert watermark.ticked(BOTH, {B}, 31) == 90


def test_a_partition_that_never_had_a_record_counts_until_it_is_idle() -> None:
    watermark = running()
    assert watermark.advanced({A: 100}) is None
    watermark.ticked(BOTH, {B}, 0)
    assert watermark.ticked(BOTH, {B}, 30) == 90


def test_a_partition_counts_again_with_its_next_record() -> None:
    watermark = running()
    watermark.advanced({A: 100, B: 50})
    watermark.ticked(BOTH, {B}, 0)
    assert watermark.ticked(BOTH, {B}, 30) == 90
    assert watermark.advanced({B: 150}) == 90
    assert watermark.advanced({A: 300}) == 140


def test_at_night_time_passes_with_the_clock_from_the_newest_event() -> None:
    watermark = running()
    watermark.advanced({A: 100, B: 50})
    assert watermark.ticked(BOTH, BOTH, 1_000) == 40
    assert watermark.ticked(BOTH, BOTH, 1_030) == 120
    assert watermark.ticked(BOTH, BOTH, 1_050) == 140


def test_with_nothing_ever_read_there_is_no_watermark() -> None:
    watermark = running()
    watermark.ticked(BOTH, BOTH, 0)
    assert watermark.ticked(BOTH, BOTH, 10_000) is None


def test_a_partition_taken_away_no_longer_holds_it_back() -> None:
    watermark = running()
    watermark.advanced({A: 100, B: 50})
    assert watermark.ticked({A}, (), 1) == 90


def test_a_snapshot_is_left_alone() -> None:
    watermark = running()
    watermark.advanced({A: 100, B: 50})
    copy = watermark.snapshot()
    watermark.advanced({A: 1_000, B: 1_000})
    assert copy.advanced({}) == 40


def test_a_finite_input_has_none_before_its_end() -> None:
    watermark = FiniteWatermark()
    assert watermark.advanced({A: 100}) is None
    assert watermark.ticked(BOTH, BOTH, 10**9) is None


def test_by_arrival_a_finite_input_goes_by_its_records_alone() -> None:
    watermark = FiniteWatermark(by_arrival=True)
    assert watermark.advanced({A: 100}) == 100
    assert watermark.advanced({B: 50}) == 50
    assert watermark.ticked(BOTH, BOTH, 10**9) == 50


def test_who_is_idle_is_seen_anew_after_a_loss() -> None:
    """What was read may have to be read again: a partition that was at its end is not taken for idle."""
    watermark = running()
    watermark.advanced({A: 100, B: 50})
    watermark.ticked(BOTH, BOTH, 0)
    assert watermark.ticked(BOTH, BOTH, 29) == 40
    restored = watermark.snapshot()
    assert restored.ticked(BOTH, BOTH, 31) == 40
    assert restored.ticked(BOTH, BOTH, 61) == 120

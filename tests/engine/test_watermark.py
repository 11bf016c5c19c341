"""How far event time has come, told by partitions that run, rest and come back."""

from __future__ import annotations

from detectord.engine.watermark import EventTimeWatermark, FiniteWatermark, Told

A, B = ("ecs", 0), ("ecs", 1)
BOTH = frozenset({A, B})


def running() -> EventTimeWatermark:
    watermark = EventTimeWatermark(lateness=10, idle_timeout=30)
    watermark.assign(BOTH)
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
    assert watermark.ticked({B}, 1) == 40
    assert watermark.ticked({B}, 30) == 40
    assert watermark.ticked({B}, 31) == 90


def test_a_partition_that_never_had_a_record_counts_until_it_is_idle() -> None:
    watermark = running()
    assert watermark.advanced({A: 100}) is None
    watermark.ticked({B}, 0)
    assert watermark.ticked({B}, 30) == 90


def test_a_partition_counts_again_with_its_next_record() -> None:
    watermark = running()
    watermark.advanced({A: 100, B: 50})
    watermark.ticked({B}, 0)
    assert watermark.ticked({B}, 30) == 90
    assert watermark.advanced({B: 150}) == 90
    assert watermark.advanced({A: 300}) == 140


def test_at_night_time_passes_with_the_clock_from_the_newest_event() -> None:
    watermark = running()
    watermark.advanced({A: 100, B: 50})
    assert watermark.ticked(BOTH, 1_000) == 40
    assert watermark.ticked(BOTH, 1_030) == 120
    assert watermark.ticked(BOTH, 1_050) == 140


def test_with_nothing_ever_read_there_is_no_watermark() -> None:
    watermark = running()
    watermark.ticked(BOTH, 0)
    assert watermark.ticked(BOTH, 10_000) is None


def test_a_partition_taken_away_no_longer_holds_it_back() -> None:
    watermark = running()
    watermark.advanced({A: 100, B: 50})
    watermark.assign({A})
    assert watermark.ticked((), 1) == 90


def test_a_snapshot_is_left_alone() -> None:
    watermark = running()
    watermark.advanced({A: 100, B: 50})
    copy = watermark.snapshot()
    watermark.advanced({A: 1_000, B: 1_000})
    assert copy.advanced({}) == 40


def test_a_finite_input_has_none_before_its_end() -> None:
    watermark = FiniteWatermark()
    assert watermark.advanced({A: 100}) is None
    assert watermark.ticked(BOTH, 10**9) is None


def test_by_arrival_a_finite_input_goes_by_its_records_alone() -> None:
    watermark = FiniteWatermark(by_arrival=True)
    assert watermark.advanced({A: 100}) == 100
    assert watermark.advanced({B: 50}) == 50
    assert watermark.ticked(BOTH, 10**9) == 50


def test_who_is_idle_is_seen_anew_after_a_loss() -> None:
    """What was read may have to be read again: a partition that was at its end is not taken for idle."""
    watermark = running()
    watermark.advanced({A: 100, B: 50})
    watermark.ticked(BOTH, 0)
    assert watermark.ticked(BOTH, 29) == 40
    restored = watermark.snapshot()
    assert restored.ticked(BOTH, 31) == 40
    assert restored.ticked(BOTH, 61) == 120


# --- several instances: A is read here, B elsewhere -------------------------------------------------


def sharing(told: dict[int, dict[tuple[str, int], Told]]) -> EventTimeWatermark:
    watermark = EventTimeWatermark(lateness=10, idle_timeout=30)
    watermark.keep(told, BOTH)
    watermark.assign({A})
    return watermark


def test_of_an_input_read_elsewhere_nothing_is_known_until_it_is_told() -> None:
    watermark = sharing({0: {}})
    assert watermark.advanced({A: 100}) is None
    watermark.hear(0, {B: Told(None, False)})
    assert watermark.advanced({}) is None
    watermark.hear(0, {B: Told(50, False)})
    assert watermark.advanced({}) == 40


def test_the_state_partition_that_heard_least_decides() -> None:
    watermark = sharing({0: {B: Told(50, False)}, 1: {B: Told(70, False)}})
    assert watermark.advanced({A: 100}) == 40
    watermark.hear(1, {B: Told(90, False)})
    assert watermark.advanced({}) == 40
    watermark.hear(0, {B: Told(80, False)})
    assert watermark.advanced({}) == 70


def test_an_idle_input_read_elsewhere_does_not_count_until_it_is_told_otherwise() -> None:
    watermark = sharing({0: {B: Told(50, True)}})
    assert watermark.advanced({A: 100}) == 90
    watermark.hear(0, {B: Told(95, False)})
    assert watermark.advanced({A: 200}) == 90
    watermark.hear(0, {B: Told(195, False)})
    assert watermark.advanced({}) == 185


def test_at_night_time_passes_when_all_are_idle_everywhere() -> None:
    watermark = sharing({0: {B: Told(150, False)}})
    watermark.advanced({A: 100})
    watermark.ticked({A}, 0)
    assert watermark.ticked({A}, 30) == 140  # A does not count any more
    watermark.hear(0, {B: Told(160, True)})
    assert watermark.ticked({A}, 40) == 160 - 10 + 30
    assert watermark.ticked({A}, 50) == 190


def test_who_reads_nothing_goes_by_what_is_told() -> None:
    watermark = EventTimeWatermark(lateness=10, idle_timeout=30)
    watermark.keep({0: {A: Told(100, False)}}, BOTH)
    watermark.assign(())
    assert watermark.advanced({}) is None
    watermark.hear(0, {B: Told(60, False)})
    assert watermark.advanced({}) == 50


def test_an_input_that_comes_or_goes_keeps_its_time() -> None:
    watermark = sharing({0: {B: Told(50, False)}})
    watermark.advanced({A: 100})
    watermark.assign({B})
    assert watermark.own() == {B: Told(50, False)}
    assert watermark.heard(0) == {A: Told(100, False), B: Told(50, False)}
    watermark.hear(0, {A: Told(None, False)})  # its new reader has seen nothing yet
    assert watermark.heard(0)[A] == Told(100, False)


def test_an_input_that_came_first_learns_from_a_state_partition_that_comes_later() -> None:
    watermark = sharing({})
    assert watermark.own() == {A: Told(None, False)}
    watermark.keep({0: {A: Told(70, False), B: Told(80, True)}}, BOTH)
    assert watermark.own() == {A: Told(70, False)}
    assert watermark.advanced({}) == 60


def test_event_time_that_is_held_stands_still_and_forgets_nothing() -> None:
    watermark = sharing({0: {B: Told(50, False)}})
    watermark.hold(True)
    assert watermark.advanced({A: 100}) is None
    watermark.hold(False)
    assert watermark.advanced({}) == 40


def test_a_new_share_begins_anew() -> None:
    """What comes may not have been told as much as what was here."""
    watermark = sharing({0: {B: Told(90, False)}})
    assert watermark.advanced({A: 100}) == 80
    watermark.keep({0: watermark.heard(0), 1: {A: Told(40, False), B: Told(30, False)}}, BOTH)
    assert watermark.reached is None
    assert watermark.advanced({}) == 20


def test_a_snapshot_keeps_what_was_told() -> None:
    watermark = sharing({0: {B: Told(50, False)}})
    copy = watermark.snapshot()
    watermark.hear(0, {B: Told(500, False)})
    assert copy.heard(0)[B] == Told(50, False)

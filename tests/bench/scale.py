"""How much of everything a run of the bench does."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Scale:
    """Numbers of events unless they say otherwise.

    `cold`: the first events of a stream; `steady`: those behind them; `piece`: so many are taken in turns.
    `rules`: sizes of rule sets; `only_shipped`: though there are others at hand. `rounds` of the eql package
    of `eql_events` each; `hostile_bytes` of each kind; `feed`: records through a broker.
    """

    cold: int = 10_000
    cold_rounds: int = 2
    steady: int = 20_000
    piece: int = 2_000
    rules: tuple[int, ...] = (10, 100, 500, 1_000, 5_000)
    only_shipped: bool = False
    rules_events: int = 500
    rules_rounds: int = 5
    eql_events: int = 200
    eql_rounds: int = 5
    hostile_bytes: int = 20_000_000
    partials: int = 1_000_000
    replay_events: int = 60_000
    replay_rounds: int = 2
    supervisor_records: int = 100_000
    feed: int = 20_000
    loads: int = 3


FULL = Scale()
QUICK = Scale(
    cold=1_000, cold_rounds=1, steady=2_000, piece=500,
    rules=(10, 100, 1_000), rules_events=100, rules_rounds=3,
    eql_events=20, eql_rounds=3, hostile_bytes=1_000_000, partials=20_000, replay_events=4_000,
    replay_rounds=1, supervisor_records=10_000, feed=500, loads=1,
)  # fmt: skip
TINY = Scale(
    cold=20, cold_rounds=1, steady=40, piece=20, only_shipped=True,
    rules=(2, 20), rules_events=10, rules_rounds=1,
    eql_events=10, eql_rounds=1, hostile_bytes=10_000, partials=50, replay_events=60, replay_rounds=1,
    supervisor_records=500, feed=100, loads=1,
)  # fmt: skip
"""So that tests can run the whole bench; its figures mean nothing."""

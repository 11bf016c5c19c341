"""Thousands of small histories of the loop: nothing lost, nothing false, nothing twice."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from typing import Any

import pytest
from fleet import Fleet, troubled
from simulation import QUERIES, History

from detectord.runtime import sharding
from detectord.sinks import LedgerRecord
from detectord.sinks.memory import STEPS

BLOCKS = 20
PER_BLOCK = 60
OF_SEVERAL_PER_BLOCK = 40


@pytest.mark.parametrize("block", range(BLOCKS))
def test_histories_with_deaths(block: int) -> None:
    for seed in range(block * PER_BLOCK, (block + 1) * PER_BLOCK):
        history = History(seed, crash=0.03 if seed % 3 else 0.0, rebalance=0.03 if seed % 2 else 0.0)
        assert history.run() == history.expected(), f"seed {seed}"
        assert len(history.sink.dead_letters) == history.dead, f"seed {seed}"
        assert history.sink.positions == {p: len(r) for p, r in history.log.records.items() if r}


def test_histories_in_which_every_batch_is_shared_out_evenly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which worker evaluates an event changes nothing."""
    monkeypatch.setattr(sharding, "MANY", 1)
    for seed in range(PER_BLOCK):
        history = History(seed, crash=0.02, rebalance=0.02)
        assert history.run() == history.expected(), f"seed {seed}"


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_death_at_every_step(seed: int) -> None:
    undisturbed = History(seed)
    expected = undisturbed.expected()
    assert undisturbed.run() == expected
    for step in range(1, undisturbed.pool.handled + 1):
        history = History(seed, crash_at=step)
        assert history.run() == expected, f"seed {seed}, death at message {step}"


def test_the_histories_are_worth_running() -> None:
    """They do what they are for: alerts of every rule, deaths, rebalances, sequences undone."""
    seen: set[str] = set()
    deaths = rewinds = 0
    for seed in range(60):
        history = History(seed, crash=0.03, rebalance=0.03)
        for name in history.run():
            seen.add(name.split('"')[1])
        deaths += history.pool.deaths
        rewinds += history.watcher.rewinds["rebalance"]
    assert seen == QUERIES.keys()
    assert deaths > 20
    assert rewinds > 10


@pytest.mark.parametrize("block", range(BLOCKS))
def test_histories_of_several_instances_that_die(block: int) -> None:
    """Exactly once: the same answer, the same dead letters, whatever dies, moves or is given up."""
    for seed in range(block * OF_SEVERAL_PER_BLOCK, (block + 1) * OF_SEVERAL_PER_BLOCK):
        some = troubled(seed)
        assert some.run() == some.history.expected(), f"seed {seed}"
        assert len(some.topics.dead_letters) == some.history.dead, f"seed {seed}"


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_an_instance_dies_at_every_step_of_every_transaction(seed: int) -> None:
    undisturbed = Fleet(seed, most=2)
    expected = undisturbed.history.expected()
    assert undisturbed.run() == expected
    assert undisturbed.steps >= 2 * len(STEPS)
    for step in range(1, undisturbed.steps + 1, 1 + undisturbed.steps // 60):
        some = Fleet(seed, most=2, die_at=step)
        assert some.run() == expected, f"seed {seed}, death at step {step}"
        assert some.deaths == 1
        assert len(some.topics.dead_letters) == some.history.dead


def test_the_histories_of_several_instances_are_worth_running() -> None:
    """State is there when instances die, moves, and hits pass between them; some are put out and go on."""
    totals: Counter[str] = Counter()
    restored: set[bytes] = set()
    for seed in range(40):
        some = troubled(seed)
        some.run()
        restored |= some.restored
        totals.update(deaths=some.deaths, zombies=some.zombies, heard=some.heard, refused=some.refused)
    assert restored >= {b"p", b"h", b"e", b"d", b"m"}
    assert totals["deaths"] > 40
    assert totals["zombies"] > 10
    assert totals["refused"] > 10
    assert totals["heard"] > 400


BY_TALLY = {
    ("rule_late",): "late",
    ("state_removed", "capacity"): "evicted",
    ("lineage_forgotten",): "lineage",
    ("dead_letter",): "dead_lettered",
}
"""What the ledger must hold, by the tally: its name, and its last label if that decides."""


def counted(tallies: Counter[tuple[str, ...]]) -> Counter[str]:
    """The losses that tallies tell of, by reason."""
    found: Counter[str] = Counter()
    for tally, number in tallies.items():
        for wanted, reason in BY_TALLY.items():
            if tally[0] == wanted[0] and (len(wanted) == 1 or tally[-1] == wanted[1]):
                found[reason] += number
    return found


def told(records: Iterable[LedgerRecord]) -> dict[str, dict[str, Any]]:
    """What a reader has in the end: of each interval what was told last."""
    return {record.name: json.loads(record.value) for record in records}


def test_the_ledger_has_all_that_the_tallies_have_and_closes() -> None:
    """However often workers die and everything is read again, what is not committed leaves nothing."""
    seen: Counter[str] = Counter()
    for seed in range(120):
        history = History(seed, lateness=0, max_bytes=5_000, crash=0.02, rebalance=0.02)
        history.run()
        expected = counted(history.watcher.tallies)
        found: Counter[str] = Counter()
        for each in told(history.sink.ledger).values():
            found[each["reason"]] += each["count"]
            assert each["state"] == "closed", f"seed {seed}"
        assert found == expected, f"seed {seed}"
        by_reason: Counter[str] = Counter()
        for (reason, _), number in history.watcher.lost.items():
            by_reason[reason] += number
        assert by_reason == expected, f"seed {seed}"
        seen += found
    assert min(seen[reason] for reason in ("late", "evicted", "dead_lettered")) > 50


def test_the_ledger_of_instances_that_die_is_that_of_their_commits() -> None:
    """Each dead letter stands in it once, whatever died; only the intervals of the dead stay open."""
    deaths = 0
    for seed in range(60):
        some = troubled(seed)
        some.run()
        deaths += some.deaths
        intervals = [each for each in told(some.topics.ledger).values() if each["reason"] == "dead_lettered"]
        assert sum(each["count"] for each in intervals) == some.history.dead, f"seed {seed}"
    assert deaths > 50


def test_a_fleet_of_a_thousand_partitions_says_what_the_page_says() -> None:
    """docs/scaling.md: what ten instances have to tell each other, with 64 state partitions."""
    fleet = Fleet(1, instances_at_once=10, inputs=1_000, kept=64)
    assert fleet.run() == fleet.history.expected()
    assert max(map(len, fleet.words)) <= 64
    # An input is told with 26 bytes at most; no instance reads many more than a tenth of them
    assert max(size for sizes in fleet.words for size in sizes) < 26 * 200

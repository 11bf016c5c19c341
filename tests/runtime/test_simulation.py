"""Thousands of small histories of the loop: nothing lost, nothing false, nothing twice."""

from __future__ import annotations

import pytest
from simulation import History

from detectord.runtime import sharding
from detectord.sinks.memory import STEPS

BLOCKS = 20
PER_BLOCK = 60
DYING_PER_BLOCK = 25


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
    assert seen == {"event", "host", "user", "args", "twin"}
    assert deaths > 20
    assert rewinds > 10


@pytest.mark.parametrize("block", range(BLOCKS))
def test_histories_in_which_the_instance_itself_dies(block: int) -> None:
    """Exactly once: the same answer, the same dead letters, whatever dies and whatever is given up."""
    for seed in range(block * DYING_PER_BLOCK, (block + 1) * DYING_PER_BLOCK):
        history = History(seed, crash=0.01 if seed % 3 else 0.0, rebalance=0.03 if seed % 2 else 0.0)
        found = history.run_and_die(death=0.02, failure=0.02 if seed % 5 else 0.0)
        assert found == history.expected(), f"seed {seed}"
        assert len(history.topics.dead_letters) == history.dead, f"seed {seed}"
        assert history.log.committed == {p: len(r) for p, r in history.log.records.items() if r}


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_instance_dies_at_every_step_of_every_transaction(seed: int) -> None:
    undisturbed = History(seed)
    expected = undisturbed.expected()
    assert undisturbed.run_and_die() == expected
    assert undisturbed.steps >= 2 * len(STEPS)
    for step in range(1, undisturbed.steps + 1):
        history = History(seed)
        assert history.run_and_die(die_at=step) == expected, f"seed {seed}, death at step {step}"
        assert history.instance_deaths == 1
        assert len(history.topics.dead_letters) == history.dead


def test_what_waits_for_time_survives_the_instance() -> None:
    """Deaths come while there are half-done sequences and held hits, or they would prove nothing."""
    kinds: set[bytes] = set()
    deaths = 0
    for seed in range(30):
        history = History(seed)
        history.run_and_die(death=0.05)
        deaths += history.instance_deaths
        kinds |= history.restored
    assert deaths > 30
    assert kinds >= {b"p", b"h", b"e", b"d", b"m"}

"""Thousands of small histories of the loop: nothing lost, nothing false, nothing twice."""

from __future__ import annotations

import pytest
from simulation import History

BLOCKS = 20
PER_BLOCK = 60


@pytest.mark.parametrize("block", range(BLOCKS))
def test_histories_with_deaths(block: int) -> None:
    for seed in range(block * PER_BLOCK, (block + 1) * PER_BLOCK):
        history = History(seed, crash=0.03 if seed % 3 else 0.0, rebalance=0.03 if seed % 2 else 0.0)
        assert history.run() == history.expected(), f"seed {seed}"
        assert len(history.sink.dead_letters) == history.dead, f"seed {seed}"
        assert history.sink.positions == {p: len(r) for p, r in history.log.records.items() if r}


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

"""The traffic is worth playing: seeded, in order, and an answer to every rule."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from datetime import datetime
from pathlib import Path

import pytest
from daemon import RULES

from chaos.stage import OWN_RULES
from chaos.traffic import DISORDER, Item, Traffic
from detectord.runtime.replay import ReplayOptions, replay

BEGIN = 1_790_000_000.0


def first(count: int, seed: int = 1) -> list[Item]:
    return list(itertools.islice(Traffic(seed, BEGIN, 4), count))


def test_a_seed_decides_it() -> None:
    assert [item.value for item in first(500)] == [item.value for item in first(500)]
    assert [item.value for item in first(500)] != [item.value for item in first(500, seed=2)]


def test_it_comes_in_order_and_its_times_are_a_little_behind() -> None:
    items = first(5_000)
    assert items == sorted(items)
    for item in items:
        if item.is_event:
            time = datetime.fromisoformat(json.loads(item.value)["@timestamp"]).timestamp()
            assert -0.001 <= BEGIN + item.moment - time <= DISORDER + 0.001
    assert {item.partition for item in items} == set(range(4))
    assert 0 < sum(not item.is_event for item in items) < 100


def test_the_last_items_are_one_for_each_partition() -> None:
    assert {item.partition for item in Traffic(1, BEGIN, 4).last()} == set(range(4))


@pytest.mark.slow
def test_every_rule_answers_to_it(tmp_path: Path) -> None:
    """Each rule often enough that what a fault takes from it is noticed."""
    traffic = Traffic(1, BEGIN, 4)
    items = [*itertools.takewhile(lambda item: item.moment < 120, traffic), *traffic.last()]
    file = tmp_path / "events.ndjson"
    file.write_bytes(b"".join(item.value + b"\n" for item in items))
    summary = replay(
        ReplayOptions(rules=[RULES, OWN_RULES], inputs=[str(file)], output=str(tmp_path / "alerts"))
    )
    silent = {"a1a0375f-22c2-48c0-81a4-7c2d11cc6856"}  # the shipped rule for shells that talk TCP
    loaded = {rule.rule_id for rule in summary.loaded.rules}
    assert {rule: count for rule, count in summary.alerts.items() if count >= 20}.keys() == loaded - silent
    assert summary.dead_letters == Counter(not_json=sum(not item.is_event for item in items))

"""The traffic is worth playing: seeded, in order, and an answer to every rule."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from datetime import datetime
from pathlib import Path

import pytest
from daemon import RULES

from chaos.poisoned import MARK
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
        if item.refused is None:
            time = datetime.fromisoformat(json.loads(item.value)["@timestamp"]).timestamp()
            assert -0.001 <= BEGIN + item.moment - time <= DISORDER + 0.001
    assert {item.partition for item in items} == set(range(4))
    assert 0 < sum(item.refused is not None for item in items) < 100


def test_poison_is_an_event_that_is_in_nobodys_way() -> None:
    traffic, other = Traffic(1, BEGIN, 4), Traffic(1, BEGIN, 4)
    item = traffic.poisonous(5.0, 1, 3)
    assert (item.refused, item.partition, item.moment) == ("poison", 3, 5.0)
    assert json.loads(item.value)["process"]["name"] == "beacon"
    assert MARK in item.value
    # The seed's items are the same, and none of them kills
    items = list(itertools.islice(traffic, 2_000))
    assert [each.value for each in items] == [each.value for each in itertools.islice(other, 2_000)]
    assert not any(MARK in each.value for each in items)


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
    assert summary.dead_letters == Counter(not_json=sum(item.refused is not None for item in items))

from __future__ import annotations

import random
from itertools import pairwise
from typing import Any

import msgspec
import pytest

from detectord.batch import Match, match_rule
from detectord.compiler.compiled import CompiledRule
from detectord.demo.attacks import PLANS, Attack, attacks, interleave
from detectord.demo.machines import fleet
from detectord.demo.traffic import events
from detectord.events.time import parse_instant

START = 1_767_225_600_000_000_000
SECOND = 1_000_000_000

SEEDS = (1, 77)


@pytest.fixture(params=SEEDS)
def seed(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture
def five(seed: int) -> list[Attack]:
    return attacks(fleet(seed), START + 3 * SECOND, spacing_ns=5 * SECOND)


def found(rules: dict[str, CompiledRule], documents: list[dict[str, Any]]) -> dict[str, list[Match]]:
    matches = {rule_id: match_rule(rule, documents) for rule_id, rule in rules.items()}
    return {rule_id: each for rule_id, each in matches.items() if each}


def test_one_for_each_of_the_five_rules(five: list[Attack]) -> None:
    assert {attack.expected.rule_id for attack in five} == {
        "a1a0375f-22c2-48c0-81a4-7c2d11cc6856",
        "2917d495-59bd-4250-b395-c29409b76086",
        "4b1a807a-4e7b-414e-8cea-24bf580f6fc5",
        "64cfca9e-0f6f-4048-8251-9ec56a055e9e",
        "494ebba4-ecb7-4be4-8c6f-654c686549ad",
    }


def test_each_fires_its_rule_once_and_no_other(five: list[Attack], rules: dict[str, CompiledRule]) -> None:
    for attack in five:
        matches = found(rules, list(attack.events))
        assert matches.keys() == {attack.expected.rule_id}, attack.title
        (only,) = matches[attack.expected.rule_id]
        assert len(only.events) == attack.expected.events
        matched = [attack.events[i] for i in only.events if i is not None]
        assert {document["host"]["id"] for document in matched} == {attack.expected.host_id}


def test_each_plan_on_every_machine_it_fits(rules: dict[str, CompiledRule]) -> None:
    tried = 0
    for plan in PLANS:
        for host in filter(plan.fits, fleet(4, 20)):
            attack = plan.on(host, START)
            matches = found(rules, list(attack.events))
            assert {k: len(v) for k, v in matches.items()} == {plan.rule_id: 1}, (plan.title, host)
            tried += 1
    assert tried > len(PLANS)


def test_in_the_middle_of_traffic(seed: int, five: list[Attack], rules: dict[str, CompiledRule]) -> None:
    mixed = list(interleave(events(seed, 1_500, START, rate=50), five))
    assert len(mixed) == 1_500 + sum(len(attack.events) for attack in five)
    times = [parse_instant(document["@timestamp"]) for document in mixed]
    assert times == sorted(times)
    matches = found(rules, mixed)
    assert {k: len(v) for k, v in matches.items()} == {attack.expected.rule_id: 1 for attack in five}
    for attack in five:
        (match,) = matches[attack.expected.rule_id]
        assert len(match.events) == attack.expected.events
        assert {mixed[i]["host"]["id"] for i in match.events if i is not None} == {attack.expected.host_id}


def test_mixing_gives_every_event_a_name_and_a_number_of_its_own(seed: int, five: list[Attack]) -> None:
    mixed = list(interleave(events(seed, 1_500, START, rate=50), five))
    ids = [i for document in mixed if (i := document["event"].get("id"))]
    assert len(set(ids)) == len(ids)
    numbers: dict[str, list[int]] = {}
    for document in mixed:
        if number := document["event"].get("sequence"):
            numbers.setdefault(document["agent"]["id"], []).append(number)
    assert all(a < b for counted in numbers.values() for a, b in pairwise(counted))


def test_mixing_changes_no_event_but_its_number(five: list[Attack]) -> None:
    before = msgspec.json.encode([attack.events for attack in five])
    mixed = list(interleave([], five))
    assert msgspec.json.encode([attack.events for attack in five]) == before

    def numberless(document: dict[str, Any]) -> dict[str, Any]:
        return {**document, "event": {k: v for k, v in document["event"].items() if k != "sequence"}}

    told = [numberless(document) for attack in five for document in attack.events]
    told.sort(key=lambda document: parse_instant(document["@timestamp"]) or 0)
    assert [numberless(document) for document in mixed] == told


def test_traffic_out_of_order_keeps_its_order(five: list[Attack]) -> None:
    """As recorded files are, and some of their events have no time, agent or number."""
    recorded = [{"event": {"code": str(i)}, "n": i} for i in range(50)]
    for document in recorded:
        if random.Random(document["n"]).random() < 0.8:
            second = random.Random(-document["n"]).randrange(60)
            document["@timestamp"] = f"2026-01-01T00:00:{second:02d}.000Z"
    mixed = list(interleave(recorded, five))
    assert [document for document in mixed if "n" in document] == recorded
    assert len(mixed) == 50 + sum(len(attack.events) for attack in five)


def test_events_of_an_attack_are_in_order_and_of_real_sizes(five: list[Attack]) -> None:
    for number, attack in enumerate(five):
        times = [parse_instant(document["@timestamp"]) for document in attack.events]
        begin = START + (3 + 5 * number) * SECOND
        assert times == sorted(times)
        assert begin <= times[0]
        assert times[-1] < begin + 5 * SECOND
        sizes = [len(msgspec.json.encode(document)) for document in attack.events]
        assert min(sizes) >= 1_000
        assert max(sizes) <= 4_096


def test_the_same_again(seed: int, five: list[Attack]) -> None:
    again = attacks(fleet(seed), START + 3 * SECOND, spacing_ns=5 * SECOND)
    assert msgspec.json.encode([a.events for a in again]) == msgspec.json.encode([a.events for a in five])


def test_a_machine_is_needed_for_each() -> None:
    with pytest.raises(ValueError, match="no machine fits the attack: a page in an upload folder"):
        attacks([host for host in fleet(1) if host.role != "iis"], START)

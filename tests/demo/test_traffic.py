from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectord.batch import match_rule
from detectord.compiler.compiled import CompiledRule
from detectord.demo.machines import fleet
from detectord.demo.traffic import STORIES, events
from detectord.events.time import parse_instant

START = 1_767_225_600_000_000_000  # 2026-01-01T00:00:00Z
SECOND = 1_000_000_000


def encoded(documents: Sequence[dict[str, Any]]) -> list[bytes]:
    return [msgspec.json.encode(document) for document in documents]


def values(document: dict[str, Any], *path: str) -> Any:
    """What is at the path, None if nothing is."""
    found: Any = document
    for key in path:
        found = found.get(key) if isinstance(found, dict) else None
    return found


@pytest.fixture(scope="module")
def day() -> list[dict[str, Any]]:
    return list(events(1, 3_000, START, rate=60))


def test_it_is_the_same_for_the_same_seed_and_another_for_another(day: list[dict[str, Any]]) -> None:
    assert encoded(list(events(1, 3_000, START, rate=60))) == encoded(day)
    ids = {values(document, "event", "id") for document in day} - {None}
    others = {values(document, "event", "id") for document in events(2, 500, START)}
    assert not ids & others


def test_as_many_as_asked_for_and_at_their_rate(day: list[dict[str, Any]]) -> None:
    times = [parse_instant(document["@timestamp"]) for document in day]
    assert len(times) == 3_000
    assert all(earlier <= later for earlier, later in pairwise(times))
    assert times[0] - START < SECOND
    assert times[-1] - START == pytest.approx(50 * SECOND, rel=0.02)


def test_fewer_hosts_or_given_ones() -> None:
    assert len({document["host"]["id"] for document in events(5, 300, START, 3)}) == 3
    chosen = fleet(5)[4:6]
    assert {document["host"]["id"] for document in events(5, 300, START, chosen)} == {h.id for h in chosen}


def test_many_hosts_are_as_many_machines() -> None:
    machines = fleet(1, 500)
    assert len({machine.id for machine in machines}) == len({machine.name for machine in machines}) == 500
    assert {machine.role for machine in machines} == STORIES.keys()


def test_every_event_is_named_once(day: list[dict[str, Any]]) -> None:
    by_id = Counter(i for d in day if (i := values(d, "event", "id")))
    records = [(w["computer_name"], w["channel"], w["record_id"]) for d in day if (w := d.get("winlog"))]
    assert by_id.most_common(1)[0][1] == 1
    assert len(set(records)) == len(records)
    nameless = [d for d in day if not values(d, "event", "id") and "winlog" not in d]
    assert {d["agent"]["type"] for d in nameless} == {"auditbeat"}


def test_an_agent_counts_its_events_up(day: list[dict[str, Any]]) -> None:
    numbers: dict[str, list[int]] = {}
    for document in day:
        if number := document["event"].get("sequence"):
            numbers.setdefault(document["agent"]["id"], []).append(number)
    assert len(numbers) == 9  # the Security log has record numbers only
    assert all(a < b for counted in numbers.values() for a, b in pairwise(counted))


def test_sizes_are_those_of_real_events(day: list[dict[str, Any]]) -> None:
    sizes = [len(value) for value in encoded(day)]
    assert min(sizes) >= 1_000
    assert max(sizes) <= 4_096
    assert 1_800 < sum(sizes) / len(sizes) < 2_800


def test_all_products_and_kinds_of_events_are_there(day: list[dict[str, Any]]) -> None:
    assert {values(d, "agent", "type") for d in day} == {"endpoint", "filebeat", "winlogbeat", "auditbeat"}
    assert {values(d, "host", "os", "type") for d in day} == {"linux", "windows"}
    categories = {category for d in day for category in d["event"]["category"]}
    assert categories >= {"process", "file", "network", "registry", "library", "authentication"}
    actions = {d["event"]["action"] for d in day}
    assert actions >= {"fork", "exec", "end", "start", "lookup_result", "connection_attempted", "executed"}
    for document in day:
        assert document["host"]["id"]
        assert document["agent"]["id"]
        assert document["event"]["type"]


def test_addresses_are_those_of_documentation(day: list[dict[str, Any]]) -> None:
    addresses = {values(d, end, "ip") for d in day for end in ("source", "destination")} - {None}
    known = ("192.0.2.", "198.51.100.", "203.0.113.", "127.0.0.1")
    assert [address for address in addresses if not address.startswith(known)] == []
    assert len(addresses) > 20


def test_a_program_repeats_itself(day: list[dict[str, Any]]) -> None:
    lines = Counter(line for d in day if (line := values(d, "process", "command_line")))
    assert lines.most_common(1)[0][1] > 20


def test_no_rule_fires(day: list[dict[str, Any]], rules: dict[str, CompiledRule]) -> None:
    assert len(rules) >= 5
    matches = {rule.rule.name: match_rule(rule, day) for rule in rules.values()}
    assert {name: found for name, found in matches.items() if found} == {}


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(), rate=st.floats(1, 10_000))
def test_no_rule_fires_whatever_the_seed(rules: dict[str, CompiledRule], seed: int, rate: float) -> None:
    some = list(events(seed, 400, START, rate=rate))
    assert [rule.rule.name for rule in rules.values() if match_rule(rule, some)] == []


def test_some_stories_come_close_to_a_rule(day: list[dict[str, Any]]) -> None:
    """Else not firing would prove little."""
    lines = [str(values(d, "process", "command_line")) for d in day]
    for piece in ("/dev/tcp/localhost", "usermod -u", "ld -o", "mode CON", "python3 -c", "gunicorn"):
        assert any(piece in line for line in lines), piece

"""Rows, the table made of them, and the plans of seeds."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from chaos.faults import FAULTS
from chaos.play import RUNS_PER_HISTORY, plan
from chaos.results import Row, append, load, percentile, table, write_table

ROWS = [
    Row(1, 0, "killed", "quick", 0.1, 2.0, 100),
    Row(1, 1, "killed", "quick", 0.1, 4.0, 50, lost=1),
    Row(2, 0, "away", "quick", 9.0, None, 1_000, problems=["it hung"]),
]

TABLE = """\
| fault | runs | alerts expected | lost | duplicated | altered | unexpected | other problems \
| takeover p50 | p95 |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |
| `away` | 1 | 1,000 | 0 | 0 | 0 | 0 | 1 |  |  |
| `killed` | 2 | 150 | 1 | 0 | 0 | 0 | 0 | 3.0 s | 4.0 s |
| **all** | 3 | 1,150 | 1 | 0 | 0 | 0 | 1 | 3.0 s | 4.0 s |

`never` was not played: too hard."""


def test_rows_are_read_back_also_if_the_last_line_was_cut(tmp_path: Path) -> None:
    file = tmp_path / "home" / "results.jsonl"
    assert load(file) == []
    append(file, ROWS[:1])
    append(file, ROWS[1:])
    with file.open("a") as out:
        out.write('{"seed": 3, "num')
    assert load(file) == ROWS


def test_a_row_has_failed_if_anything_is_wrong() -> None:
    assert [row.has_failed for row in ROWS] == [False, True, True]
    assert "FAILED" in ROWS[2].told()
    assert "it hung" in ROWS[2].told()


def test_the_table_has_a_row_a_kind_and_says_what_was_not_played(tmp_path: Path) -> None:
    text = table(ROWS, [("never", "too hard")])
    assert text == TABLE
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- rows: begin -->\nold\n<!-- rows: end -->\nafter\n")
    write_table(page, text)
    write_table(page, text)
    assert page.read_text() == f"before\n<!-- rows: begin -->\n{TABLE}\n<!-- rows: end -->\nafter\n"


@pytest.mark.parametrize(("count", "value"), [(1, 1), (2, 2), (10, 10), (20, 19), (100, 95), (101, 96)])
def test_percentile(count: int, value: int) -> None:
    assert percentile([float(n) for n in range(1, count + 1)], 0.95) == value


def test_there_is_no_percentile_of_nothing() -> None:
    assert percentile([], 0.95) is None


@pytest.mark.parametrize("brokers", [1, 3])
def test_seeds_that_follow_each_other_play_every_kind_alike_often(brokers: int) -> None:
    kinds = [name for name, fault in FAULTS.items() if brokers in fault.brokers]
    seeds = range(1, len(kinds) + 1)
    plans = [plan(seed, brokers=brokers) for seed in seeds]
    played = Counter(name for planned in plans for name in planned.faults)
    # The first deck began with seed 0, and the last one may not be through
    assert played.keys() == set(kinds)
    assert all(RUNS_PER_HISTORY - 1 <= count <= RUNS_PER_HISTORY + 1 for count in played.values())
    assert plan(3) == plan(3)
    assert {planned.instances for planned in plans} == {1, 2, 3}
    assert set(plan(3, only=["zombie"]).faults) == {"zombie"}


def test_every_kind_is_played_on_some_cluster_and_has_the_instances_it_needs() -> None:
    assert all(fault.brokers <= {1, 3} and fault.brokers for fault in FAULTS.values())
    for name, fault in FAULTS.items():
        size = min(fault.brokers)
        assert all(plan(seed, only=[name], brokers=size).instances >= fault.instances for seed in range(9))


def test_every_kind_of_fault_says_what_it_is() -> None:
    assert all(fault.strike.__doc__ for fault in FAULTS.values())

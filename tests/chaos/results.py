"""Rows, one a run, in a file that only grows; and the table that is made of them.

A row tells what was seen, also if the run failed. What was run before is known by its seed, so a long
campaign can be interrupted and taken up again.
"""

from __future__ import annotations

import json
import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from chaos.history import KINDS

BEGIN, END = "<!-- rows: begin -->", "<!-- rows: end -->"


@dataclass(slots=True)
class Row:
    """One run: a fault, how long it lasted, the takeover after it (seconds; None: it was not waited for),
    and how the alerts and dead letters of its part of the traffic came out."""

    seed: int
    number: int
    kind: str
    scale: str
    lasted: float = 0.0
    takeover: float | None = None
    expected: int = 0
    lost: int = 0
    duplicated: int = 0
    altered: int = 0
    unexpected: int = 0
    instances: int = 1
    brokers: int = 1
    problems: list[str] = field(default_factory=list)

    @property
    def has_failed(self) -> bool:
        """True if anything was not as it has to be."""
        return bool(self.lost or self.duplicated or self.altered or self.unexpected or self.problems)

    def told(self) -> str:
        """As a line for a terminal."""
        takeover = "" if self.takeover is None else f", takeover {self.takeover:.1f} s"
        state = "FAILED" if self.has_failed else "ok"
        wrong = ", ".join(f"{kind} {getattr(self, kind)}" for kind in KINDS)
        place = f"{self.seed}.{self.number} {self.kind}, instances {self.instances}"
        line = f"{place}: {state}, {self.expected} expected, {wrong}{takeover}"
        return "\n".join([line, *(f"    {problem}" for problem in self.problems)])


def append(file: Path, rows: Iterable[Row]) -> None:
    """Add rows to those in the file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a") as out:
        out.writelines(json.dumps(asdict(row)) + "\n" for row in rows)


def load(file: Path) -> list[Row]:
    """All rows so far. A line that was cut by an end in the middle of it is left out."""
    rows = []
    for line in file.read_text().splitlines() if file.exists() else ():
        try:
            rows.append(Row(**json.loads(line)))
        except ValueError:
            continue
    return rows


def table(rows: Sequence[Row], waiting: Sequence[tuple[str, str]]) -> str:
    """Markdown: a row a kind of fault, the sum, and what could not be played, with the reason."""
    by_kind: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by_kind[row.kind].append(row)
    head = ["fault", "runs", "alerts expected", *KINDS, "other problems", "takeover p50", "p95"]
    lines = [_line(head), _line(["---"] * len(head))]
    lines += [_line(_cells(f"`{kind}`", own)) for kind, own in sorted(by_kind.items())]
    if len(by_kind) > 1:
        lines.append(_line(_cells("**all**", rows)))
    lines += [f"\n`{kind}` was not played: {reason}." for kind, reason in waiting]
    return "\n".join(lines)


def _cells(name: str, rows: Sequence[Row]) -> list[str]:
    sums = [sum(getattr(row, each) for row in rows) for each in ("expected", *KINDS)]
    takeovers = sorted(row.takeover for row in rows if row.takeover is not None)
    return [
        name,
        f"{len(rows):,}",
        *(f"{each:,}" for each in sums),
        f"{sum(len(row.problems) for row in rows):,}",
        _seconds(statistics.median(takeovers) if takeovers else None),
        _seconds(percentile(takeovers, 0.95)),
    ]


def percentile(values: Sequence[float], share: float) -> float | None:
    """The value that so large a share of the sorted values does not exceed."""
    if not values:
        return None
    return values[max(0, -(-len(values) * round(share * 100) // 100) - 1)]


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.1f} s"


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def write_table(page: Path, text: str) -> None:
    """Put it between the marks of the page."""
    before, _, rest = page.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    page.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}")

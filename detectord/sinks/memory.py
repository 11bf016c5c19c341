"""A sink that remembers: the simulation's and the tests' end of the line.

It keeps every commit, and apart from them everything that was delivered, also by commits that
failed: a reader of the alert topic sees those too.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from detectord.alerts import AlertRecord
from detectord.events.record import DeadLetter, Positions
from detectord.sinks import DeliveryError, Outputs


class Commit(NamedTuple):
    """One commit that succeeded."""

    outputs: Outputs
    positions: dict[tuple[str, int], int]


class MemorySink:
    """Keeps what it is given.

    `commits` is the history; `alerts` and `dead_letters` are all that was ever delivered, in order,
    repeats included. `commit_positions` is called last, as a real sink does (`MemorySource.commit`).
    """

    def __init__(self, commit_positions: Callable[[Positions], None] = lambda _: None) -> None:
        self.commits: list[Commit] = []
        self.alerts: list[AlertRecord] = []
        self.dead_letters: list[DeadLetter] = []
        self.closed = False
        self._commit_positions = commit_positions
        self._failures: deque[int] = deque()

    def fail(self, *, after: int = 0) -> None:
        """Let the next commit fail after it has delivered `after` of its outputs (alerts first);
        called several times, that many commits fail, one after the other."""
        self._failures.append(after)

    def commit(self, outputs: Outputs, positions: Positions) -> None:
        """Deliver, then store `positions`; see `Sink.commit`."""
        if self._failures:
            after = self._failures.popleft()
            self.alerts += outputs.alerts[:after]
            self.dead_letters += outputs.dead_letters[: max(0, after - len(outputs.alerts))]
            raise DeliveryError("this commit was told to fail")
        self.alerts += outputs.alerts
        self.dead_letters += outputs.dead_letters
        self._commit_positions(positions)
        kept = Outputs(tuple(outputs.alerts), tuple(outputs.dead_letters))
        self.commits.append(Commit(kept, dict(positions)))

    @property
    def positions(self) -> dict[tuple[str, int], int]:
        """What all commits together have stored."""
        return {p: offset for commit in self.commits for p, offset in commit.positions.items()}

    def close(self) -> None:
        """Nothing to let go of."""
        self.closed = True

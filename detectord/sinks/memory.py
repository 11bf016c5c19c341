"""Sinks that remember: the simulation's and the tests' end of the line.

`MemorySink` keeps every commit, and apart from them everything that was delivered, also by commits that
failed: a reader of the alert topic sees those too. `TransactionalMemorySink` writes to `MemoryTopics`, which
outlive it as a cluster outlives instances; a reader of committed records sees whole commits only.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from typing import NamedTuple

from detectord.alerts import AlertRecord
from detectord.events.record import DeadLetter, Positions
from detectord.hits_topic import AwayRecord
from detectord.sinks import DeliveryError, EndedError, LedgerRecord, Outputs


class Commit(NamedTuple):
    """One commit that succeeded."""

    outputs: Outputs
    positions: dict[tuple[str, int], int]


class MemorySink:
    """Keeps what it is given.

    `commits` is the history; `alerts`, `dead_letters` and `ledger` are all that was ever delivered, in order,
    repeats included. `commit_positions` is called last, as a real sink does (`MemorySource.commit`).
    """

    def __init__(self, commit_positions: Callable[[Positions], None] = lambda _: None) -> None:
        self.commits: list[Commit] = []
        self.alerts: list[AlertRecord] = []
        self.dead_letters: list[DeadLetter] = []
        self.ledger: list[LedgerRecord] = []
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
        self.ledger += outputs.ledger
        self._commit_positions(positions)
        kept = Outputs(tuple(outputs.alerts), tuple(outputs.dead_letters), ledger=tuple(outputs.ledger))
        self.commits.append(Commit(kept, dict(positions)))

    @property
    def positions(self) -> dict[tuple[str, int], int]:
        """What all commits together have stored."""
        return {p: offset for commit in self.commits for p, offset in commit.positions.items()}

    def close(self) -> None:
        """Nothing to let go of."""
        self.closed = True


STEPS = ("begin", "produce", "send positions", "commit", "hear of it")
"""What a transaction goes through. What is committed is committed before it is heard of."""


class MemoryTopics:
    """What is committed: alerts, dead letters, the ledger, the state entries by state partition, and what
    instances told each other."""

    def __init__(self) -> None:
        self.alerts: list[AlertRecord] = []
        self.dead_letters: list[DeadLetter] = []
        self.ledger: list[LedgerRecord] = []
        self.state: dict[int, dict[bytes, bytes]] = {}
        self.away: list[AwayRecord] = []
        self.generation: Counter[str] = Counter()
        """Of the sinks of a name; only the newest may commit."""


class TransactionalMemorySink:
    """Commits everything or nothing, in the name of an instance. `reached` is told each of STEPS as it is
    begun, and may raise what happens there: the end of the process, or an error of a sink.
    """

    def __init__(
        self,
        topics: MemoryTopics,
        commit_positions: Callable[[Positions], None] = lambda _: None,
        reached: Callable[[str], None] = lambda _: None,
        name: str = "",
    ) -> None:
        topics.generation[name] += 1
        self._name = name
        self._generation = topics.generation[name]
        self._topics = topics
        self._commit_positions = commit_positions
        self._reached = reached

    def commit(self, outputs: Outputs, positions: Positions) -> None:
        """One transaction; see `Sink.commit`."""
        for step in STEPS[:-1]:
            self._reached(step)
        if self._generation != self._topics.generation[self._name]:
            raise EndedError("another sink has taken the place of this one")
        self._commit_positions(positions)
        self._topics.alerts += outputs.alerts
        self._topics.dead_letters += outputs.dead_letters
        self._topics.ledger += outputs.ledger
        for partition, key, value in outputs.changes:
            entries = self._topics.state.setdefault(partition, {})
            if value is None:
                entries.pop(key, None)
            else:
                entries[key] = value
        self._topics.away += outputs.away
        self._reached(STEPS[-1])

    def close(self) -> None:
        """Nothing to let go of."""

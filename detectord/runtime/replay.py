"""Replay: the daemon's own loop over files. A finite input, answered as a batch.

With `order="time"` every step hit waits for the end of the input, so the answer is that of a search over
all of it, whatever order the lines have. With `order="arrival"` the lines are taken as they come. Commits
are made by size, never by the clock, so the output is a function of the input: the same alerts in the
same order with any number of workers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from detectord import __version__
from detectord.alerts.settings import AlertSettings
from detectord.engine.detector import EngineSettings
from detectord.engine.watermark import FiniteWatermark
from detectord.events.fields import FIELD_TYPES
from detectord.events.record import DeadLetter, Partition
from detectord.rules.ledger import Loaded
from detectord.rules.load import load
from detectord.rules.policy import NO_POLICY, Policy
from detectord.runtime.clock import SystemClock
from detectord.runtime.pool import ProcessPool
from detectord.runtime.profile import Profile
from detectord.runtime.reporter import COSTLY
from detectord.runtime.seams import Commit
from detectord.runtime.sharding import Router
from detectord.runtime.supervisor import Settings, Supervisor
from detectord.runtime.worker import WorkerSettings, WorkerStart, serve
from detectord.sinks import Outputs
from detectord.sinks.ndjson import NdjsonSink
from detectord.sources.ndjson import NdjsonSource

Progress = Callable[[int, int | None], None]
"""Told (bytes read, bytes in all or None) after every turn."""


def silent(read: int, total: int | None) -> None:
    """No progress is shown."""
    del read, total


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayOptions:
    """What to replay, and how. `output` None: standard output. `cache`: a directory, see rules/cache.py.
    `profile_every`: of so many events one is looked at for a profile; 0: there is none."""

    rules: Sequence[Path]
    inputs: Sequence[str]
    workers: int = 1
    order: Literal["time", "arrival"] = "time"
    output: str | None = None
    maturity: Sequence[str] = ("production",)
    policy: Policy = NO_POLICY
    instance: str = "replay"
    cache: Path | None = None
    profile_every: int = 0


@dataclass(slots=True)
class Summary:
    """What a replay did. Seconds are wall clock, from the first line read to the last alert written."""

    loaded: Loaded
    records: int = 0
    bytes: int = 0
    alerts: Counter[str] = field(default_factory=Counter)
    """Event alerts and shells, by rule_id."""
    dead_letters: Counter[str] = field(default_factory=Counter)
    """By reason."""
    bad_records: dict[str, DeadLetter] = field(default_factory=dict)
    """By reason the first one."""
    tallies: Counter[tuple[str, ...]] = field(default_factory=Counter)
    restarts: int = 0
    seconds: float = 0.0
    on_turn: Callable[[], None] = field(default=lambda: None, repr=False)

    @property
    def profile(self) -> Profile:
        """What the rules cost; of nothing, unless the replay was asked for a profile."""
        return Profile.of(self.loaded.rules, self.tallies)

    @property
    def records_per_second(self) -> float:
        """Records over seconds."""
        return self.records / self.seconds if self.seconds else 0.0

    def losses(self) -> dict[tuple[str, str], int]:
        """What may have cost an alert: by the name of the tally and what it is of, a rule or an input."""
        found: Counter[tuple[str, str]] = Counter()
        for (name, *labels), count in self.tallies.items():
            if name in COSTLY or (name == "state_removed" and "capacity" in labels):
                found[name, "".join(labels[:1])] += count
        return dict(found)

    def committed(self, commit: Commit) -> None:
        """See `Observer`."""
        for count, size in commit.records.values():
            self.records += count
            self.bytes += size
        self.alerts.update(alert.rule_id for alert in commit.outputs.alerts if alert.kind != "block")
        for letter in commit.outputs.dead_letters:
            self.dead_letters[letter.reason] += 1
            self.bad_records.setdefault(letter.reason, letter)
        self.tallies.update(commit.tallies)

    def restarted(self, worker: int, reason: str, detail: str) -> None:
        """See `Observer`."""
        del worker, reason, detail
        self.restarts += 1

    def rewound(self, reason: str, positions: Mapping[Partition, int]) -> None:
        """See `Observer`."""

    def delivery_failed(self, outputs: Outputs, error: str, attempt: int) -> None:
        """See `Observer`."""

    def turned(self) -> None:
        """See `Observer`."""
        self.on_turn()


class NoRulesError(Exception):
    """Not one rule could be loaded: exit 65."""


def replay(options: ReplayOptions, progress: Progress = silent) -> Summary:
    """Read the inputs, write the alerts, tell what happened.

    Raises:
        NoRulesError: no rule was loaded.
        SourceError: an input cannot be read.
        DeliveryError: the output cannot be written.
        CrashLoopError: workers keep dying.
    """
    loaded = load(
        options.rules,
        maturity=tuple(options.maturity),
        types=FIELD_TYPES,
        policy=options.policy,
        now=datetime.now(UTC),
        cache=options.cache,
    )
    if not loaded.rules:
        refused, skipped = len(loaded.refused), loaded.skipped + loaded.unselected
        raise NoRulesError(
            f"no rule was loaded: {refused} refused, {skipped} left out; `detectord check` says why"
        )
    summary = Summary(loaded)
    by_arrival = options.order == "arrival"
    engine = EngineSettings(by_arrival=by_arrival)

    def start(worker: int) -> tuple[WorkerStart]:
        settings = WorkerSettings(worker, options.workers, engine)
        alerts = AlertSettings(instance=options.instance, version=__version__)
        return (WorkerStart(loaded.rules, settings, "elastic", alerts, options.profile_every),)

    clock = SystemClock()
    source = NdjsonSource(options.inputs)
    sink = NdjsonSink(options.output)
    pool = ProcessPool(options.workers, serve, start)
    began = clock.monotonic()
    try:
        supervisor = Supervisor(
            source,
            sink,
            pool,
            Router(options.workers, engine.partitions),
            FiniteWatermark(by_arrival),
            clock,
            summary,
            Settings(partitions=engine.partitions, commit_interval=None),
        )
        summary.on_turn = lambda: progress(*source.progress())
        supervisor.run()
    finally:
        pool.close()
        sink.close()
        source.close()
    summary.seconds = (clock.monotonic() - began) / 1e9
    return summary

"""The coverage ledger: every reason why a detection may be missing, as intervals that are counted.

An *interval* is one cause (reason, rule, input partition) while it goes on. It opens with the first loss,
grows with every further one, and closes when there has been none for a while, or when it has grown old, so
that its times stay a statement. Its times are those that the losses touch, in event time. A gap has offsets
instead, and is closed at once. Rules that do not run have intervals, too, by the clock: from the start until
they run.

Rule 1: a ledger never changes; `after` gives the next one, and what to tell of it. So what a barrier adds is
taken over when the barrier is committed and forgotten with it, and other threads may look at any time.
Rule 2: everything new is told at once, in the commit that it happened in: an interval as it is now, under its
name, which replaces what was told of it before.
Rule 3: the intervals that are open at a time are bounded, as in an account of losses (`fitting`); those of
rules that do not run by the number of rules. The clock is handed in.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple

import msgspec

from detectord.engine.losses import MOST, Cause, Extent, Losses, fitting
from detectord.events.record import DeadLetter
from detectord.events.time import MILLISECOND, SECOND, format_instant, format_milliseconds
from detectord.sinks import LedgerRecord
from detectord.sources import Gap

FORMAT: Final = 1
QUIET: Final = 60 * SECOND
"""An interval closes when nothing was added to it for so long."""
LONGEST: Final = 3_600 * SECOND
"""An interval closes when it is open for so long; what is lost later opens the next."""
RECENT: Final = 100
"""Closed intervals that are remembered, to be shown and to know a gap that is found again."""
SHOWN: Final = 100
"""Open intervals that are shown: the last to change."""
LONGEST_TEXT: Final = 512
"""Characters of a name that are told. Of a rule that did not load nobody has checked them."""


class Idle(NamedTuple):
    """A rule that does not run, and why: `refused` or `quarantined`. `rule_id` "": its file does not tell.
    `detail` tells more, such as the file."""

    reason: str
    rule_id: str
    detail: str


class Interval(NamedTuple):
    """One cause while it went on. `opened` and `changed` (ns) are times of the clock; `offsets` of a gap: the
    first that is missing, and the first that is there again."""

    name: str
    cause: Cause
    extent: Extent
    opened: int
    changed: int
    is_closed: bool = False
    offsets: tuple[int, int] | None = None
    detail: str = ""

    def shown(self) -> dict[str, object]:
        """As plain values."""
        reason, rule_id, topic, partition = self.cause
        return {
            "id": self.name,
            "state": "closed" if self.is_closed else "open",
            "reason": reason,
            "rule_id": None if rule_id is None else rule_id[:LONGEST_TEXT],
            "topic": topic,
            "partition": partition,
            "count": self.extent.number,
            "first": _instant(self.extent.first),
            "last": _instant(self.extent.last),
            "offsets": None if self.offsets is None else {"from": self.offsets[0], "to": self.offsets[1]},
            "detail": self.detail[:LONGEST_TEXT],
            "opened": format_milliseconds(self.opened),
            "changed": format_milliseconds(self.changed),
        }


@dataclass(frozen=True, slots=True)
class Ledger:
    """All intervals as of a barrier. `instance` and `began` (ns), which tell this run from others, make the
    intervals' names.

    `totals`: losses by reason and rule ("": any) since the start. `widened`: those that stand under a wider
    cause than their own. `untold` are to be told with the next commit.
    """

    instance: str = ""
    began: int = 0
    most: int = MOST
    open: Mapping[Cause, Interval] = field(default_factory=dict)
    idle: Mapping[Idle, Interval] = field(default_factory=dict)
    recent: tuple[Interval, ...] = ()
    untold: tuple[Interval, ...] = ()
    totals: Mapping[tuple[str, str], int] = field(default_factory=dict)
    widened: int = 0
    number: int = 0
    closes: int | None = None
    """When the next interval closes, if nothing is added to it."""

    def is_due(self, now: int) -> bool:
        """True if there is something to tell though nothing was lost."""
        return bool(self.untold) or (self.closes is not None and now >= self.closes)

    @property
    def is_open(self) -> bool:
        """True if there are open intervals."""
        return bool(self.open or self.idle)

    def with_idle(self, rules: Iterable[Idle], now: int) -> Ledger:
        """These rules, and no others, do not run from now on."""
        draft = _Draft(self, now)
        draft.set_idle(dict.fromkeys(rules))
        return replace(draft.ledger(), untold=(*self.untold, *draft.told.values()))

    def after(
        self,
        lost: Losses,
        now: int,
        *,
        dead_letters: Sequence[DeadLetter] = (),
        gaps: Sequence[Gap] = (),
        ending: bool = False,
    ) -> tuple[Ledger, list[LedgerRecord]]:
        """The ledger behind a barrier that covers these, and the records that tell of it. `ending`: nothing
        is evaluated any more, so everything closes."""
        if not (lost or dead_letters or gaps or self.is_due(now) or (ending and self.is_open)):
            return self, []
        draft = _Draft(self, now)
        for interval in self.untold:
            draft.tell(interval)
        for cause, extent in lost:
            draft.add(cause, extent)
        for letter in dead_letters:
            draft.add(*_of_letter(letter))
        for gap in gaps:
            draft.add_gap(gap)
        draft.widened += lost.widened
        draft.close(ending=ending)
        records = [self._record(each, now) for each in draft.told.values()]
        return replace(draft.ledger(), untold=()), records

    def counted_since(self, earlier: Ledger) -> dict[tuple[str, str], int]:
        """What was added to the totals since an earlier ledger."""
        known = earlier.totals
        return {key: n - known.get(key, 0) for key, n in self.totals.items() if n != known.get(key, 0)}

    def status(self) -> dict[str, object]:
        """As plain values, for a person: the last to change first."""
        lasting = sorted((*self.open.values(), *self.idle.values()), key=lambda i: i.changed, reverse=True)
        losses: Counter[str] = Counter()
        for (reason, _), number in self.totals.items():
            losses[reason] += number
        return {
            "losses": dict(losses),
            "widened": self.widened,
            "open": [interval.shown() for interval in lasting[:SHOWN]],
            "open_not_shown": max(0, len(lasting) - SHOWN),
            "recent": [interval.shown() for interval in reversed(self.recent)],
        }

    def _record(self, interval: Interval, now: int) -> LedgerRecord:
        told = {
            "format": FORMAT,
            "instance": self.instance,
            "began": format_milliseconds(self.began),
            "at": format_milliseconds(now),
            **interval.shown(),
        }
        return LedgerRecord(interval.name, msgspec.json.encode(told))


class _Draft:
    """The next ledger while it is being made. `told` has by name what is to be told."""

    def __init__(self, ledger: Ledger, now: int) -> None:
        self.told: dict[str, Interval] = {}
        self.widened = ledger.widened
        self._ledger = ledger
        self._now = now
        self._open = dict(ledger.open)
        self._idle = dict(ledger.idle)
        self._recent = list(ledger.recent)
        self._totals = dict(ledger.totals)
        self._number = ledger.number

    def add(self, cause: Cause, extent: Extent) -> None:
        """Something was lost."""
        own = fitting(cause, self._open, self._ledger.most)
        if own != cause:
            self.widened += extent.number
        self._count(own, extent.number)
        known = self._open.get(own)
        if known is None:
            known = Interval(self._name(), own, extent, self._now, self._now)
        else:
            known = known._replace(extent=known.extent.joined(extent), changed=self._now)
        self._open[own] = self.told[known.name] = known

    def add_gap(self, gap: Gap) -> None:
        """Records are missing. What overlaps with a gap that is known is the same one, found again after
        the way back to the last commit, and maybe larger by now."""
        (topic, partition), start, end = gap
        cause = Cause("gap", None, topic, partition)
        counted, name, opened = 0, f"gap-{topic}-{partition}-{start}", self._now
        for known in self._recent:
            if known.cause == cause and known.offsets is not None and _overlap(known.offsets, (start, end)):
                counted, name, opened = known.extent.number, known.name, known.opened
                start, end = min(start, known.offsets[0]), max(end, known.offsets[1])
                self._recent.remove(known)
                break
        number = max(0, end - start)
        self._count(cause, number - counted)
        self._remember(Interval(name, cause, Extent(number), opened, self._now, True, (start, end)))

    def tell(self, interval: Interval) -> None:
        """What was not told yet, of a rule that does not run."""
        self.told[interval.name] = interval
        if not interval.is_closed:
            self._count(interval.cause, interval.extent.number)

    def set_idle(self, rules: Mapping[Idle, None]) -> None:
        """Open an interval for each of these that has none, close those of all others."""
        for rule in [each for each in self._idle if each not in rules]:
            known = self._idle.pop(rule)
            extent = known.extent._replace(last=self._now)
            self._remember(known._replace(extent=extent, changed=self._now, is_closed=True))
        for rule in rules:
            if rule not in self._idle:
                cause = Cause(rule.reason, rule.rule_id or None)
                interval = Interval(
                    self._name(), cause, Extent(1, self._now), self._now, self._now, detail=rule.detail
                )
                self._idle[rule] = self.told[interval.name] = interval

    def close(self, *, ending: bool) -> None:
        """Close what is quiet or old; `ending`: everything."""
        for cause, interval in list(self._open.items()):
            if ending or self._now >= _closes(interval):
                del self._open[cause]
                self._remember(interval._replace(is_closed=True))
        if ending:
            self.set_idle({})

    def ledger(self) -> Ledger:
        """As it is now."""
        return replace(
            self._ledger,
            open=self._open,
            idle=self._idle,
            recent=tuple(self._recent[-RECENT:]),
            totals=self._totals,
            widened=self.widened,
            number=self._number,
            closes=min(map(_closes, self._open.values()), default=None),
        )

    def _count(self, cause: Cause, number: int) -> None:
        key = cause.reason, cause.rule_id or ""
        self._totals[key] = self._totals.get(key, 0) + number

    def _remember(self, interval: Interval) -> None:
        """A closed interval."""
        self.told[interval.name] = interval
        self._recent.append(interval)

    def _name(self) -> str:
        self._number += 1
        return f"{self._ledger.instance}-{self._ledger.began // MILLISECOND}-{self._number}"


def _closes(interval: Interval) -> int:
    """When an interval closes if nothing is added to it."""
    return min(interval.changed + QUIET, interval.opened + LONGEST)


def _overlap(known: tuple[int, int], found: tuple[int, int]) -> bool:
    """Whether two gaps have a missing record in common, or begin at the same one."""
    return known[0] == found[0] or (found[0] < known[1] and known[0] < found[1])


def _of_letter(letter: DeadLetter) -> tuple[Cause, Extent]:
    """The loss of a dead letter. It has no event time that we know; its record's has to do."""
    record = letter.record
    time = None if record.timestamp is None else record.timestamp * MILLISECOND
    reason = "poison" if letter.reason == "poison" else "dead_lettered"
    return Cause(reason, None, record.topic, record.partition), Extent(1, time, time)


def _instant(time: int | None) -> str | None:
    """A time as text; one that no calendar has is told as its number."""
    if time is None:
        return None
    try:
        return format_instant(time)
    except OverflowError:
        return str(time)

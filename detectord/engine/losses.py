"""What may have cost a detection: why, which rule, from which input partition, and when in event time.

Rule 1: whoever counts such a thing into the tallies notes it here in the same breath, so the two have the
same totals. `OF_TALLY` says which tallies are meant, and nothing else does.
Rule 2: joining is free of order: counts add up, times widen. So it does not matter who noted what first, or
which worker's account was joined to which.
Rule 3: an account is bounded, because who sends events decides how many causes there are. When it is full, a
new cause goes under a wider one: of the rule wherever it came from, at last the reason alone. Wider is never
wrong, as a cause without a rule may concern any; it is only less exact, and counted (`widened`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Final, NamedTuple

from detectord.events.record import Partition

REASONS: Final[Mapping[str, str]] = {
    "late": "a step of a sequence came behind the watermark and was left out",
    "no_time": "a step was left out, as its event lacks the time that the rule orders by",
    "future": "a step was put at its record's time, as its event claims to be from too far ahead",
    "evicted": "half-done sequences were given up to keep `state.max_bytes`",
    "capped": "an event had more join keys, combinations of values or completed sequences than are tried",
    "error": "evaluating the rule failed, which is a bug of detectord",
    "lineage": "processes were forgotten to keep the bounds; rules with `child of` and its like ask for them",
    "undelivered": "a step could not be handed to the instance that keeps its sequences",
    "dead_lettered": "a record was no event, and stands in the dead-letter topic",
    "poison": "a record could not be evaluated, and stands in the dead-letter topic",
    "gap": "records were gone from the broker before they were read",
    "refused": "the rule did not load",
    "quarantined": "the rule was taken out of service",
}
"""Every reason, with its meaning."""

OF_TALLY: Final[Mapping[str, tuple[str, bool]]] = {
    "rule_late": ("late", True),
    "no_time": ("no_time", True),
    "future": ("future", False),
    "state_removed": ("evicted", True),
    "key_tuples_capped": ("capped", True),
    "combinations_capped": ("capped", True),
    "rule_error": ("error", True),
    "lineage_forgotten": ("lineage", False),
    "hits_dropped": ("undelivered", False),
}
"""The reason of each tally that may be a missed detection, and whether its first label is the rule. Of
`state_removed` only what was given up for want of room (`capacity`) is one."""

MOST: Final = 500
"""Causes that an account holds as they are; as many again hold rules without a place."""


class Cause(NamedTuple):
    """Why a detection may be missing. `rule_id` None: any rule may be concerned; `topic` and `partition`
    None: not one input partition, or it is not known which."""

    reason: str
    rule_id: str | None = None
    topic: str | None = None
    partition: int | None = None


class Extent(NamedTuple):
    """How often, and from when to when (ns of event time, None: not known)."""

    number: int
    first: int | None = None
    last: int | None = None

    def joined(self, other: Extent) -> Extent:
        """Both together."""
        number = self.number + other.number
        if self.first is None or self.last is None:
            return other._replace(number=number)
        if other.first is None or other.last is None:
            return self._replace(number=number)
        return Extent(number, min(self.first, other.first), max(self.last, other.last))


def cause_of(tally: tuple[str, ...], place: Partition | None = None) -> Cause | None:
    """The cause that a tally tells of; None if nothing was lost."""
    found = OF_TALLY.get(tally[0])
    if found is None or (tally[0] == "state_removed" and tally[2] != "capacity"):
        return None
    reason, is_of_rule = found
    return Cause(reason, tally[1] if is_of_rule else None, *(place or (None, None)))


def fitting(cause: Cause, known: Collection[Cause], most: int) -> Cause:
    """`cause`, or the narrowest wider one for which there is room beside `known`. There is always room for a
    reason alone: `known` never grows beyond twice `most` and the number of reasons."""
    if cause in known or len(known) < most:
        return cause
    of_rule = cause._replace(topic=None, partition=None)
    if of_rule in known or len(known) < 2 * most:
        return of_rule
    return Cause(cause.reason)


class Losses:
    """An account of losses: an extent for each cause. Made by one owner and then handed on; it is not changed
    by who is handed it."""

    __slots__ = ("_extents", "_most", "widened")

    def __init__(self, most: int = MOST) -> None:
        self._extents: dict[Cause, Extent] = {}
        self._most = most
        self.widened = 0
        """How many losses stand under a wider cause than their own."""

    def __bool__(self) -> bool:
        """True if anything was lost."""
        return bool(self._extents)

    def __iter__(self) -> Iterator[tuple[Cause, Extent]]:
        """Cause and extent of each."""
        return iter(self._extents.items())

    def note(
        self,
        tally: tuple[str, ...],
        count: int,
        place: Partition | None = None,
        first: int | None = None,
        last: int | None = None,
    ) -> None:
        """Take note of what a tally counted, if it may be a missed detection. Of two times the later may
        stand first; one alone stands for both."""
        cause = cause_of(tally, place)
        if cause is not None:
            times = [time for time in (first, last) if time is not None]
            self.add(cause, Extent(count, min(times), max(times)) if times else Extent(count))

    def add(self, cause: Cause, extent: Extent) -> None:
        """Add one loss, or several of one cause."""
        own = fitting(cause, self._extents, self._most)
        if own != cause:
            self.widened += extent.number
        known = self._extents.get(own)
        self._extents[own] = extent if known is None else known.joined(extent)

    def join(self, other: Losses) -> None:
        """Add all of another account."""
        self.widened += other.widened
        for cause, extent in other:
            self.add(cause, extent)

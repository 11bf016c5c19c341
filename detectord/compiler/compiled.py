"""What the compiler makes: frozen, read-only, the same in every worker."""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from detectord.compiler.predicates import TRUE, Predicate
from detectord.events.event import Event
from detectord.rules.rule import Rule

KeyValue = str | int | float | bool | None
JoinKey = tuple[KeyValue, ...]

Matcher = Callable[[Event], bool]
"""True if the event satisfies a step: its category and its condition."""

JointMatcher = Callable[[Event, Mapping[str, Any]], bool]
"""As Matcher, of an event in company: by name the events of earlier steps, and for each relation (`child of`)
a function that says of an inner query's number whether the event's process is so related to a match of it."""


class Role(enum.Enum):
    """What a step is for. INNER is the query of a `child of […]` or its like."""

    POSITIVE = "positive"
    MISSING = "missing"
    UNTIL = "until"
    INNER = "inner"


class KeyField(NamedTuple):
    """One position of a step's join key."""

    path: str
    optional: bool = False
    type: str | None = None
    """The Elasticsearch type of the field, None if it is not known: values are compared as it has them."""
    single: bool = False
    """A field with several values is as one without: it names nothing."""


@dataclass(frozen=True, slots=True)
class CompiledStep:
    """One step. `category` is what the event-category field must hold (None: anything), which
    `matcher` tests as well; it stands apart so that steps can be grouped by it.

    `stage` counts the positive steps; a missing step has the number of the stage that it stands before, an
    inner query its own number. `number` is the step's as written, `place` that once `runs` are written out,
    missing steps counted. `joint`, if any, is to be asked as well, when the event's turn has come; `matcher`
    then says only whether it may say yes. `reads`: the aliases it names, each with the number of that event
    in a partial.
    `predicate` is what `matcher` was emitted from, the category apart.
    """

    category: str | None
    matcher: Matcher
    keys: tuple[KeyField, ...]
    source: str
    """The emitted Python text, for `detectord explain`."""
    role: Role = Role.POSITIVE
    stage: int = 0
    runs: int = 1
    number: int = 0
    place: int = 0
    joint: JointMatcher | None = None
    reads: tuple[tuple[str, int], ...] = ()
    predicate: Predicate = TRUE


@dataclass(frozen=True, slots=True)
class CompiledRule:
    """A rule with its matchers.

    `steps` are the positive and missing ones as written, then `until`, then inner queries of `child of […]`
    and its like. An event rule has one positive step. `maxspan` is in nanoseconds (None only in the batch
    door); of a sample it is the time within which its events must lie. `match_hash` names everything that
    decides which events match: query, keys, span, index gate, time fields; state is filed under it.
    `host_position` is the position of the join key that is host.id in every step, None for a rule that is not
    host-bound. `hidden_keys`: so many join keys at the beginning are ours, not the author's, and not shown.
    """

    rule: Rule
    kind: Literal["event", "sequence", "sample"]
    steps: tuple[CompiledStep, ...]
    maxspan: int | None
    match_hash: str
    host_position: int | None
    category_field: str
    timestamp_field: str
    tiebreaker_field: str
    hidden_keys: int = 0

    @property
    def is_sequence(self) -> bool:
        """True if a match is of several events: a sequence or a sample."""
        return self.kind != "event"

    @property
    def asks_for_relatives(self) -> bool:
        """True if the rule has a `child of […]` or its like."""
        return self.steps[-1].role is Role.INNER  # they stand last

    @property
    def waits(self) -> bool:
        """True if events are not answered one by one: they wait for their turn, and there is state."""
        return self.is_sequence or self.asks_for_relatives

    @property
    def stages(self) -> tuple[CompiledStep, ...]:
        """The positive steps."""
        return tuple(step for step in self.steps if step.role is Role.POSITIVE)

    @property
    def places(self) -> tuple[int, ...]:
        """For each event of a match, the number of its step once `runs` are written out."""
        return tuple(place for step in self.stages for place in range(step.place, step.place + step.runs))

    @property
    def length(self) -> int:
        """The number of steps once `runs` are written out, missing ones counted."""
        return sum(step.runs for step in self.steps if step.role in (Role.POSITIVE, Role.MISSING))


@dataclass(frozen=True, slots=True)
class RuleSet:
    """All rules of one load, in a fixed order: by rule_id."""

    rules: tuple[CompiledRule, ...]
    digest: str
    """sha256 over the rules' content hashes: alerts and state say which set they come from."""

    @classmethod
    def of(cls, rules: Sequence[CompiledRule]) -> RuleSet:
        """The set of `rules`, ordered."""
        ordered = tuple(sorted(rules, key=lambda compiled: (compiled.rule.rule_id, compiled.match_hash)))
        digest = hashlib.sha256()
        for compiled in ordered:
            # A rule that came from no file has no content hash
            content = compiled.rule.content_hash or compiled.match_hash
            digest.update(f"{compiled.rule.rule_id}\x1f{content}\x1e".encode())
        return cls(ordered, digest.hexdigest())

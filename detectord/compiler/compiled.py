"""What the compiler makes: frozen, read-only, the same in every worker."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from detectord.events.event import Event
from detectord.rules.rule import Rule

KeyValue = str | int | float | bool | None
JoinKey = tuple[KeyValue, ...]

Matcher = Callable[[Event], bool]
"""True if the event satisfies a step: its category and its condition."""


@dataclass(frozen=True, slots=True)
class KeyField:
    """One position of a step's join key."""

    path: str
    optional: bool = False
    type: str | None = None
    """The Elasticsearch type of the field, None if it is not known: values are compared as it has them."""


@dataclass(frozen=True, slots=True)
class CompiledStep:
    """One step. `category` is what the event-category field must hold (None: anything), which
    `matcher` tests as well; it stands apart so that steps can be grouped by it."""

    category: str | None
    matcher: Matcher
    keys: tuple[KeyField, ...]
    source: str
    """The emitted Python text, for `detectord explain`."""


@dataclass(frozen=True, slots=True)
class CompiledRule:
    """A rule with its matchers.

    An event rule has one step and `is_sequence` False. `maxspan` is in nanoseconds (None only in
    the batch door). `match_hash` names everything that decides which events match: query, keys,
    span, index gate, time fields; state is filed under it. `host_position` is the position of the
    join key that is host.id in every step, None for a rule that is not host-bound.
    """

    rule: Rule
    is_sequence: bool
    steps: tuple[CompiledStep, ...]
    maxspan: int | None
    match_hash: str
    host_position: int | None
    category_field: str
    timestamp_field: str
    tiebreaker_field: str


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

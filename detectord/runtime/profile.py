"""A profile for a person: which rules, predicates and fields cost most, why, and what would help.

It is made of the tallies that profilers (profiler.py) have counted in the workers. Costs are of an event:
microseconds that it costs on average, also where it is not asked. A predicate that several rules ask stands
once, with the sum; a predicate of several fields is shared out among them in equal parts.
"""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from detectord.compiler.predicates import (
    And,
    AnyElement,
    Combination,
    Exists,
    InBlocks,
    Member,
    Not,
    Of,
    Or,
    Predicate,
    Range,
    Regex,
    Wildcards,
    render,
)
from detectord.compiler.values import Load
from detectord.engine.tallies import Tallies
from detectord.rules.rule import Rule
from detectord.runtime.profiler import operands


class Reason(enum.Enum):
    """Why a step is expensive, and what would help. `{}` is the field it is about."""

    ANY_CATEGORY = "any where: asked of every event", "name the category it is about"
    NO_LITERAL = (
        "no literal to index: no field of few values is compared with a text",
        "compare process.name, event.action, file.extension or the like with == or in",
    )
    REGEX = (
        "regular expression on {}, which is long",
        "like with wildcards where that says the same, or a cheaper test beside it that most events fail",
    )
    LEADING_STAR = (
        "wildcards that begin with * on {}, which is long",
        "begin with the text where it stands at the beginning, or compare whole values with == or in",
    )
    COMBINATIONS = (
        "computes with {} together: every combination of their values is tried",
        "compare each field by itself first, so that most events do not come so far",
    )
    ELEMENTS = "searches the elements of {}", "a test of another field first"

    @property
    def why(self) -> str:
        """The reason, with a place for the field."""
        return self.value[0]

    @property
    def advice(self) -> str:
        """What would help."""
        return self.value[1]


@dataclass(frozen=True, slots=True)
class Because:
    """A reason that holds of a step. `field` is "" where it is about none."""

    reason: Reason
    field: str = ""

    def __str__(self) -> str:
        """The reason as a sentence's beginning."""
        return self.reason.why.format(self.field)


@dataclass(frozen=True, slots=True)
class StepCost:
    """What a step costs an event: microseconds, calls; `true` of its calls said yes."""

    rule_id: str
    name: str
    step: int
    micros: float
    calls: float
    true: float
    because: tuple[Because, ...]


@dataclass(frozen=True, slots=True)
class PartCost:
    """What a predicate, or a field, costs an event: microseconds, calls. `rules` ask it."""

    text: str
    micros: float
    calls: float
    rules: int


@dataclass(frozen=True, slots=True)
class Profile:
    """Costs, the highest first.

    `events` were timed as a whole; one of them took `micros`, of which `matching` were spent in matchers; the
    rest is decoding, finding the rules to ask, and alerts. `steps` are of those events, `predicates` and
    `fields` of the `parted` ones.
    """

    events: int
    parted: int
    micros: float
    matching: float
    steps: tuple[StepCost, ...]
    predicates: tuple[PartCost, ...]
    fields: tuple[PartCost, ...]

    @classmethod
    def of(cls, rules: Iterable[Rule], tallies: Tallies) -> Profile:
        """What profilers have counted about the rules."""
        events, parted = tallies["profile_events", "whole"], tallies["profile_events", "parts"]
        whole, parts = _costs(tallies)
        known = {rule.rule_id: rule for rule in rules}
        tests = {rule_id: operands(known[rule_id]) for rule_id in {key[0] for key in (*whole, *parts)}}
        steps = [
            StepCost(
                rule_id,
                known[rule_id].name,
                step,
                _micros(cost["ns"], events),
                cost["calls"] / max(events, 1),
                cost["true"] / max(cost["calls"], 1),
                tuple(because(tests[rule_id][step], known[rule_id].category_field)),
            )
            for (rule_id, step, _), cost in whole.items()
        ]
        predicates, fields = _by_part(parts, tests, max(parted, 1))
        return cls(
            events,
            parted,
            _micros(tallies["profile_ns",], events),
            sum(step.micros for step in steps),
            tuple(sorted(steps, key=lambda step: (-step.micros, step.rule_id, step.step))),
            predicates,
            fields,
        )


_Place = tuple[str, int, int]
"""rule_id, step, operand."""
_Costs = dict[_Place, Counter[str]]


def _costs(tallies: Tallies) -> tuple[_Costs, _Costs]:
    """The counts of steps, and of their operands."""
    whole: _Costs = {}
    parts: _Costs = {}
    for key, count in tallies.items():
        if key[0] == "profile":
            _, rule_id, step, part, what = key
            costs, place = (parts, int(part)) if part else (whole, 0)
            costs.setdefault((rule_id, int(step), place), Counter())[what] += count
    return whole, parts


def _by_part(
    parts: _Costs, tests: Mapping[str, Sequence[Sequence[Predicate]]], events: int
) -> tuple[tuple[PartCost, ...], tuple[PartCost, ...]]:
    predicates: dict[str, _Sum] = {}
    fields: dict[str, _Sum] = {}
    for (rule_id, step, part), cost in parts.items():
        predicate = tests[rule_id][step][part]
        predicates.setdefault(_text(predicate), _Sum()).add(rule_id, cost, 1)
        paths = sorted(set(_paths(predicate)))
        for path in paths:
            fields.setdefault(path, _Sum()).add(rule_id, cost, len(paths))
    return _ranked(predicates, events), _ranked(fields, events)


class _Sum:
    """What the same predicate, or field, costs in all rules."""

    def __init__(self) -> None:
        self.nanos = 0.0
        self.calls = 0
        self.rules: set[str] = set()

    def add(self, rule_id: str, cost: Counter[str], shares: int) -> None:
        self.nanos += cost["ns"] / shares
        self.calls += cost["calls"]
        self.rules.add(rule_id)


def _ranked(sums: Mapping[str, _Sum], events: int) -> tuple[PartCost, ...]:
    costs = [
        PartCost(text, _micros(each.nanos, events), each.calls / events, len(each.rules))
        for text, each in sums.items()
    ]
    return tuple(sorted(costs, key=lambda cost: (-cost.micros, cost.text)))


def _micros(nanos: float, events: int) -> float:
    """Microseconds an event. What cannot be told from the cost of measuring is nothing."""
    return max(nanos / 1_000 / max(events, 1), 0.0)


def _text(predicate: Predicate) -> str:
    """A predicate on one line."""
    return " ".join(render(predicate).split())


# --- why -------------------------------------------------------------------------------------

_LONG = frozenset(
    ["args", "command_line", "env_vars", "executable", "full", "message", "original", "path",
     "script_block_text", "strings", "text", "working_directory"]
)  # fmt: skip
"""Last names of fields whose values are long and seldom the same."""

_FEW = frozenset(
    ["code", "event_id", "extension", "original_file_name", "provider", "action", "channel", "status"]
)
"""Last names of fields with few values, few enough that one of them tells most events apart from a rule's."""

_MANY = frozenset(["dns.question.name", "file.name", "user.name", "host.name", "agent.name", "url.name"])
"""Names that are no names of programs."""


def because(tests: Sequence[Predicate], category_field: str) -> list[Because]:
    """What makes a step expensive, if anything does. `tests` are its operands (profiler.operands)."""
    found: list[Because] = []
    if not any(isinstance(test, Member) and test.path == category_field for test in tests):
        found.append(Because(Reason.ANY_CATEGORY))
    if not any(map(_is_selective, tests)):
        found.append(Because(Reason.NO_LITERAL))
    found += dict.fromkeys(reason for test in tests for reason in _of_leaves(test))
    return found


def _is_selective(predicate: Predicate) -> bool:
    """Whether it holds only of events with one of a few literals in a field of few values."""
    match predicate:
        case And(operands=operands):
            return any(map(_is_selective, operands))
        case Or(operands=operands):
            return bool(operands) and all(map(_is_selective, operands))
        case Member(path=path):
            return _has_few_values(path)
    return False


def _has_few_values(path: str) -> bool:
    last = path.rpartition(".")[2]
    return path not in _MANY and (last in _FEW or (last == "name" and not path.startswith("host.")))


def _of_leaves(predicate: Predicate) -> Iterator[Because]:
    for leaf in _leaves(predicate):
        match leaf:
            case Regex(path=path) if _is_long(path):
                yield Because(Reason.REGEX, path)
            case Wildcards(path=path, patterns=patterns) if _is_long(path):
                if any(pattern.startswith("*") for pattern in patterns):
                    yield Because(Reason.LEADING_STAR, path)
            case Combination(program=program):
                loads = [each.path for each in program.instructions if isinstance(each, Load)]
                if len(loads) > 1:
                    yield Because(Reason.COMBINATIONS, ", ".join(dict.fromkeys(loads)))
            case AnyElement(path=path):
                yield Because(Reason.ELEMENTS, path)


def _is_long(path: str) -> bool:
    return path.rpartition(".")[2] in _LONG


def _leaves(predicate: Predicate) -> Iterator[Predicate]:
    pending = [predicate]
    while pending:
        match pending.pop():
            case And(operands=operands) | Or(operands=operands):
                pending.extend(reversed(operands))
            case Not(operand=operand) | Of(leaf=operand):
                pending.append(operand)
            case AnyElement(condition=condition) as search:
                yield search
                pending.append(condition)
            case leaf:
                yield leaf


def _paths(predicate: Predicate) -> Iterator[str]:
    for leaf in _leaves(predicate):
        match leaf:
            case Combination(program=program):
                yield from (each.path for each in program.instructions if isinstance(each, Load))
            case Exists() | Member() | Range() | InBlocks() | Wildcards() | Regex() | AnyElement():
                yield leaf.path

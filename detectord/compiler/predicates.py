"""Predicates: what a step asks of an event, as a tree between the query's syntax and the emitted code.

Rule 1: between leaves logic is two-valued: a predicate is true or false of an event. Null exists only inside
a leaf.
Rule 2: a leaf is true if *some* value, or combination of values, makes it true; so `Not` over a leaf is true
if none does, also of an event without the field. No stage may move a `Not` into a leaf.
Rule 3: frozen and hashable; equal predicates hold of the same events.

A leaf reads a field through a *view*, the name of a method of `Event`: the values as the field's type has
them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from detectord.compiler.values import Program
from detectord.eql.text import Scalar

View = Literal["values", "text", "folded", "numbers", "booleans", "addresses", "dates", "versions"]


@dataclass(frozen=True, slots=True)
class Constant:
    """True, or false, of every event."""

    value: bool


@dataclass(frozen=True, slots=True)
class And:
    """Every operand holds."""

    operands: tuple[Predicate, ...]


@dataclass(frozen=True, slots=True)
class Or:
    """Some operand holds."""

    operands: tuple[Predicate, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """The operand does not hold."""

    operand: Predicate


@dataclass(frozen=True, slots=True)
class Exists:
    """The field has a value."""

    path: str
    view: View


@dataclass(frozen=True, slots=True)
class Member:
    """Some value is one of `values`, all of the view's type."""

    path: str
    view: View
    values: frozenset[Scalar]


@dataclass(frozen=True, slots=True)
class Range:
    """Some value is `op` (one of `< <= > >=`) the bound."""

    path: str
    view: View
    op: str
    bound: Scalar


@dataclass(frozen=True, slots=True)
class InBlocks:
    """Some address is in one of the address blocks."""

    path: str
    blocks: frozenset[str]


@dataclass(frozen=True, slots=True)
class Wildcards:
    """Some text matches one of the patterns, which are folded if the view is."""

    path: str
    view: View
    patterns: frozenset[str]


@dataclass(frozen=True, slots=True)
class Regex:
    """Some text matches one of the regular expressions."""

    path: str
    patterns: tuple[str, ...]
    insensitive: bool


@dataclass(frozen=True, slots=True)
class Combination:
    """Some combination of values of the fields that `program` loads makes its result `wanted`.

    Every load varies by itself, also where two name the same field, and a field without values
    contributes null.
    """

    program: Program
    wanted: Literal[True] | None


@dataclass(frozen=True, slots=True)
class Common:
    """Two fields, each of what its scope says, have a value in common in the view."""

    path: str
    scope: str
    other: str
    other_scope: str
    view: View


@dataclass(frozen=True, slots=True)
class Of:
    """The leaf, asked of something else than the event at hand: of the event of an earlier step, or of an
    element that stands for a variable."""

    scope: str
    leaf: Exists | Member | Range | InBlocks | Wildcards | Regex


@dataclass(frozen=True, slots=True)
class AnyElement:
    """Some element of the array at `path` of `scope`, as `variable`, satisfies `condition`."""

    scope: str
    path: str
    variable: str
    condition: Predicate


@dataclass(frozen=True, slots=True)
class Related:
    """The event's process is a `relation` of one that matched inner query number `inner` before."""

    relation: str
    inner: int


FieldLeaf = Exists | Member | Range | InBlocks | Wildcards | Regex
Leaf = FieldLeaf | Combination | Common | Of | AnyElement | Related
Predicate = Constant | And | Or | Not | Leaf

TRUE = Constant(True)
FALSE = Constant(False)


def needs_company(predicate: Predicate) -> bool:
    """True if the event alone does not answer the predicate: it asks for events of earlier steps, or for the
    process's relatives."""
    return bool(aliases(predicate)) or _asks_for_relatives(predicate)


def _asks_for_relatives(predicate: Predicate) -> bool:
    match predicate:
        case And(operands=operands) | Or(operands=operands):
            return any(map(_asks_for_relatives, operands))
        case Not(operand=operand) | AnyElement(condition=operand):
            return _asks_for_relatives(operand)
    return isinstance(predicate, Related)


def possible(predicate: Predicate) -> Predicate:
    """What is left of a simplified predicate if every leaf that needs company may be true or false: whatever
    satisfies the predicate, in whatever company, satisfies this."""
    match predicate:
        case And(operands=operands):
            return And(tuple(map(possible, operands)))
        case Or(operands=operands):
            return Or(tuple(map(possible, operands)))
    return TRUE if needs_company(predicate) else predicate


def in_company(predicate: Predicate) -> Predicate:
    """What is left to ask of an event that satisfies `possible(predicate)`. An event may have been trimmed
    until it is asked, so whatever can be is asked before."""
    if not isinstance(predicate, And):
        return predicate
    return And(tuple(operand for operand in predicate.operands if needs_company(operand)))


def aliases(predicate: Predicate) -> set[str]:
    """The aliases a predicate reads."""
    match predicate:
        case And(operands=operands) | Or(operands=operands):
            return set().union(*map(aliases, operands))
        case Not(operand=operand):
            return aliases(operand)
        case Of(scope=scope):
            found = {scope}
        case AnyElement(scope=scope, condition=condition):
            found = {scope} | aliases(condition)
        case Combination(program=program):
            found = program.scopes()
        case Common(scope=scope, other_scope=other):
            found = {scope, other}
        case _:
            found = set()
    return {scope for scope in found if scope and not scope.startswith("$")}


def fields(predicate: Predicate) -> set[str]:
    """The paths of the event at hand whose values a predicate reads; what it searches for elements apart."""
    match predicate:
        case And(operands=operands) | Or(operands=operands):
            return set().union(*map(fields, operands))
        case Not(operand=operand):
            return fields(operand)
        case Exists() | Member() | Range() | InBlocks() | Wildcards() | Regex():
            return {predicate.path}
        case Combination(program=program):
            return program.paths()
    return set()


def render(predicate: Predicate) -> str:
    """The tree as text, an operand a line, for people and for golden files."""
    return "\n".join(_lines(predicate))


def _lines(predicate: Predicate) -> list[str]:
    match predicate:
        case And(operands=operands) | Or(operands=operands):
            inner = [line for operand in operands for line in _lines(operand)]
            return [type(predicate).__name__.lower(), *("  " + line for line in inner)]
        case Not(operand=operand):
            return ["not", *("  " + line for line in _lines(operand))]
        case Combination(program=program, wanted=wanted):
            return [f"combination {'is null' if wanted is None else 'is true'}"] + [
                f"  {line}" for line in program.lines()
            ]
        case Constant(value=value):
            return ["true" if value else "false"]
        case AnyElement(scope=scope, path=path, variable=variable, condition=condition):
            head = f"any element {variable} of {scope or 'event'} {path}"
            return [head, *("  " + line for line in _lines(condition))]
    return [_leaf_line(predicate)]


def _leaf_line(leaf: Leaf) -> str:
    match leaf:
        case Of(scope=scope, leaf=inner):
            return f"of {scope}: {_leaf_line(inner)}"
        case Common(path=path, scope=scope, other=other, other_scope=other_scope, view=view):
            return f"common {view} {path} of {scope or 'event'}, {other} of {other_scope or 'event'}"
        case Related(relation=relation, inner=number):
            return f"{relation} of inner query {number}"
        case Exists(path=path, view=view):
            return f"exists {view} {path}"
        case Member(path=path, view=view, values=values):
            return f"member {view} {path} {{{_listed(values)}}}"
        case Range(path=path, view=view, op=op, bound=bound):
            return f"range {view} {path} {op} {bound!r}"
        case InBlocks(path=path, blocks=blocks):
            return f"in_blocks {path} {{{_listed(blocks)}}}"
        case Wildcards(path=path, view=view, patterns=patterns):
            return f"wildcards {view} {path} {{{_listed(patterns)}}}"
        case Regex(path=path, patterns=patterns, insensitive=insensitive):
            return f"regex{'~' if insensitive else ''} {path} {', '.join(map(repr, patterns))}"
    raise AssertionError(leaf)


def _listed(values: frozenset[Scalar] | frozenset[str]) -> str:
    return ", ".join(sorted(map(repr, values)))

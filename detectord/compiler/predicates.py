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


Leaf = Exists | Member | Range | InBlocks | Wildcards | Regex | Combination
Predicate = Constant | And | Or | Not | Leaf

TRUE = Constant(True)
FALSE = Constant(False)


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
    return [_leaf_line(predicate)]


def _leaf_line(leaf: Leaf) -> str:
    match leaf:
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

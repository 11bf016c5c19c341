"""Simplify: the same truth with fewer parts.

Constants are folded away, `not` is pushed down to the leaves, `and` in `and` and `or` in `or` are made flat,
what is said twice is said once, and leaves that ask the same field for one of several things become one:
`f == "a" or f in ("b", "c")` is one set. The same holds of negated leaves under `and`. Positive leaves under
`and` are left apart, because different values of the field may satisfy them.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import replace

from detectord.compiler.predicates import (
    FALSE,
    And,
    AnyElement,
    Constant,
    InBlocks,
    Member,
    Not,
    Or,
    Predicate,
    Regex,
    Wildcards,
)


def simplify_predicate(predicate: Predicate, *, negated: bool = False) -> Predicate:
    """A predicate equal to `predicate`, or, if `negated`, to its complement."""
    match predicate:
        case Constant(value=value):
            return Constant(value is not negated)
        case Not(operand=operand):
            return simplify_predicate(operand, negated=not negated)
        case And(operands=operands) | Or(operands=operands):
            simpler: list[Predicate] = []
            for operand in operands:
                simpler.append(simplify_predicate(operand, negated=negated))  # noqa: PERF401  # one frame a level
            return _junction(simpler, conjunctive=isinstance(predicate, And) is not negated)
    if isinstance(predicate, AnyElement):
        predicate = replace(predicate, condition=simplify_predicate(predicate.condition))
        if predicate.condition == FALSE:
            return Constant(negated)
    return Not(predicate) if negated else predicate


def _junction(operands: Iterable[Predicate], *, conjunctive: bool) -> Predicate:
    kind = And if conjunctive else Or
    parts: dict[Predicate, None] = {}
    for operand in operands:
        for part in operand.operands if isinstance(operand, kind) else (operand,):
            if isinstance(part, Constant):
                if part.value is not conjunctive:
                    return part
            else:
                parts[part] = None
    if any(isinstance(part, Not) and part.operand in parts for part in parts):
        return Constant(not conjunctive)
    merged = _merged(parts, negated=conjunctive)
    if not merged:
        return Constant(conjunctive)
    return merged[0] if len(merged) == 1 else kind(tuple(merged))


def _merged(parts: Iterable[Predicate], *, negated: bool) -> list[Predicate]:
    """The parts, leaves that can be joined (negated ones, if `negated`) standing where the first stood."""
    groups: dict[Predicate | _Asked, list[Predicate]] = {}
    for part in parts:
        leaf = part.operand if isinstance(part, Not) else part
        asked = _what_is_asked(leaf) if isinstance(part, Not) is negated else None
        if asked is None:
            groups[part] = [part]
        else:
            groups.setdefault(asked, []).append(leaf)
    merged: list[Predicate] = []
    for what, group in groups.items():
        if not isinstance(what, tuple):
            merged += group
        else:
            merged.append(Not(_union(group)) if negated else _union(group))
    return merged


_Asked = tuple[Hashable, ...]


def _what_is_asked(predicate: Predicate) -> _Asked | None:
    """Equal for leaves that can be joined into one; None for those that cannot be joined with any."""
    match predicate:
        case Member(path=path, view=view):
            return Member, path, view
        case Wildcards(path=path, view=view):
            return Wildcards, path, view
        case InBlocks(path=path):
            return InBlocks, path
        case Regex(path=path, insensitive=insensitive):
            return Regex, path, insensitive
    return None


def _union(leaves: list[Predicate]) -> Predicate:
    """One leaf that asks for anything that any of the leaves, which are alike, asks for."""
    match leaves[0]:
        case Member(path=path, view=view):
            members = (value for leaf in leaves if isinstance(leaf, Member) for value in leaf.values)
            return Member(path, view, frozenset(members))
        case Wildcards(path=path, view=view):
            wild = (pattern for leaf in leaves if isinstance(leaf, Wildcards) for pattern in leaf.patterns)
            return Wildcards(path, view, frozenset(wild))
        case InBlocks(path=path):
            blocks = (block for leaf in leaves if isinstance(leaf, InBlocks) for block in leaf.blocks)
            return InBlocks(path, frozenset(blocks))
        case Regex(path=path, insensitive=insensitive):
            regexes = (pattern for leaf in leaves if isinstance(leaf, Regex) for pattern in leaf.patterns)
            return Regex(path, tuple(dict.fromkeys(regexes)), insensitive)
    raise AssertionError(leaves[0])

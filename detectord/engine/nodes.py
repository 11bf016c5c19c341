"""Predicates of leaves by number: what of a step's condition plans work with.

Every different test of one field, a leaf, gets a number, so that what is known of an event is a bit a leaf,
and two steps that ask the same ask the same number. What is no leaf of a field (a computation, an array
search) is open here: it may hold or not.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from detectord.compiler.predicates import (
    And,
    Constant,
    Exists,
    FieldLeaf,
    InBlocks,
    Member,
    Not,
    Or,
    Predicate,
    Range,
    Regex,
    Wildcards,
)


class Fixed(enum.Enum):
    """What is no question of leaves. OPEN: of what cannot be asked here, either may be."""

    TRUE = 1
    FALSE = 2
    OPEN = 3


@dataclass(frozen=True, slots=True)
class Junction:
    """`and` (if conjunctive) or `or` of the parts."""

    conjunctive: bool
    parts: tuple[Node, ...]


Node = int | Fixed | Junction
"""A predicate of leaves by number: n holds if leaf n does, ~n if leaf n does not."""


def reduced(node: Node, known: int, truth: int) -> Node:
    """The node with the leaves in `known` replaced by what `truth` says of them."""
    if isinstance(node, int):
        leaf = node if node >= 0 else ~node
        if not known >> leaf & 1:
            return node
        return Fixed.TRUE if (truth >> leaf & 1) == (node >= 0) else Fixed.FALSE
    if isinstance(node, Fixed):
        return node
    decisive, neutral = (Fixed.FALSE, Fixed.TRUE) if node.conjunctive else (Fixed.TRUE, Fixed.FALSE)
    parts: list[Node] = []
    for part in node.parts:
        folded = reduced(part, known, truth)
        if folded is decisive:
            return decisive
        if isinstance(folded, Junction) and folded.conjunctive is node.conjunctive:
            parts += folded.parts
        elif folded is not neutral:
            parts.append(folded)
    if not parts:
        return neutral
    return parts[0] if len(parts) == 1 else Junction(node.conjunctive, tuple(parts))


class Numbering:
    """Gives leaves their numbers, those on discriminators first."""

    def __init__(self, discriminators: Iterable[str]) -> None:
        self.leaves: list[FieldLeaf] = []
        self._discriminators = frozenset(discriminators)
        self._numbers: dict[FieldLeaf, int] = {}

    def number(self, leaf: FieldLeaf) -> int:
        """The leaf's number, a new one if it has none."""
        number = self._numbers.get(leaf)
        if number is None:
            number = self._numbers[leaf] = len(self.leaves)
            self.leaves.append(leaf)
        return number

    def note_discriminators(self, predicate: Predicate) -> None:
        """Numbers the leaves on discriminators that are in the predicate."""
        match predicate:
            case And(operands=operands) | Or(operands=operands):
                for operand in operands:
                    self.note_discriminators(operand)
            case Not(operand=operand):
                self.note_discriminators(operand)
            case Exists() | Member() | Range() | InBlocks() | Wildcards() | Regex():
                if predicate.path in self._discriminators:
                    self.number(predicate)

    def node(self, predicate: Predicate) -> Node:
        """The predicate with leaves by number; one that is nested too deep for that may be anything."""
        try:
            return self._node(predicate, negated=False)
        except RecursionError:
            return Fixed.OPEN

    def _node(self, predicate: Predicate, *, negated: bool) -> Node:
        """The predicate, or its complement."""
        match predicate:
            case And(operands=operands) | Or(operands=operands):
                parts: list[Node] = []
                for operand in operands:
                    parts.append(self._node(operand, negated=negated))  # noqa: PERF401  # one frame a level
                return Junction(isinstance(predicate, And) is not negated, tuple(parts))
            case Not(operand=operand):
                return self._node(operand, negated=not negated)
            case Constant(value=value):
                return Fixed.TRUE if value is not negated else Fixed.FALSE
            case Exists() | Member() | Range() | InBlocks() | Wildcards() | Regex():
                number = self.number(predicate)
                return ~number if negated else number
        return Fixed.OPEN

    def by_path(self) -> Mapping[str, Sequence[tuple[int, FieldLeaf]]]:
        """The leaves with their numbers, by the field that they ask for."""
        found: dict[str, list[tuple[int, FieldLeaf]]] = {}
        for number, leaf in enumerate(self.leaves):
            found.setdefault(leaf.path, []).append((number, leaf))
        return found


def leaves_in(node: Node, among: int) -> int:
    """The leaves in a node that are `among` those, a bit each."""
    if isinstance(node, Junction):
        found = 0
        for part in node.parts:
            found |= leaves_in(part, among)
        return found
    return 0 if isinstance(node, Fixed) else among & 1 << (node if node >= 0 else ~node)

"""Clauses: what must hold of an event if a step is satisfied, as lists of leaves of which one holds.

For a kind of events, whose leaves on discriminators are known, a step's condition is reduced with them.
What is left of it gives the step's clauses, the most selective first, and the leaves that rule the step
out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from detectord.compiler.compiled import CompiledRule, Matcher
from detectord.compiler.predicates import Exists, FieldLeaf, InBlocks, Member, Range, Regex, Wildcards
from detectord.engine.nodes import Fixed, Junction, Node, reduced

ROUNDS = 4
"""Clauses of a step that are asked before the step is tested exactly."""

_MAX_VARIANTS = 64
"""Variants of a step that are kept, by what its discriminators say."""


class Entry(NamedTuple):
    """One step of a rule, with the function that tests it exactly."""

    rule: CompiledRule
    step: int
    matcher: Matcher


class Variant(NamedTuple):
    """A step in one kind of events: its clauses, the selective first, and the leaves that rule it out."""

    clauses: tuple[tuple[int, ...], ...]
    excludes: tuple[int, ...]


class Step:
    """A step as plans see it."""

    __slots__ = ("_costs", "_node", "_variants", "entry", "leaves", "rule_bit")

    def __init__(self, entry: Entry, rule_bit: int, node: Node, leaves: int, costs: Sequence[int]) -> None:
        self.entry = entry
        self.rule_bit = rule_bit
        self.leaves = leaves
        self._node = node
        self._costs = costs
        self._variants: dict[tuple[int, int], Variant | None] = {}

    def variant(self, known: int, truth: int) -> Variant | None:
        """The step where of the leaves `known` just those in `truth` hold; None if it cannot be satisfied."""
        key = known & self.leaves, truth & known & self.leaves
        if key not in self._variants:
            if len(self._variants) >= _MAX_VARIANTS:
                self._variants.clear()
            try:
                self._variants[key] = self._made(*key)
            except RecursionError:
                self._variants[key] = Variant((), ())
        return self._variants[key]

    def _made(self, known: int, truth: int) -> Variant | None:
        node = reduced(self._node, known, truth)
        if node is Fixed.FALSE:
            return None
        parts = node.parts if isinstance(node, Junction) and node.conjunctive else (node,)
        ranked: list[tuple[int, tuple[int, ...]]] = []
        for part in parts:
            ranked += filter(None, [self._clause(part)])
        ranked.sort(key=lambda pair: pair[0])
        excludes = tuple(~part for part in parts if isinstance(part, int) and part < 0)
        return Variant(tuple(leaves for _, leaves in ranked[:ROUNDS]), excludes)

    def _clause(self, node: Node) -> tuple[int, tuple[int, ...]] | None:
        """Leaves of which one holds if the node does, and how often one may; None if there are none."""
        if isinstance(node, int):
            return (self._costs[node], (node,)) if node >= 0 else None
        if isinstance(node, Fixed):
            return None
        clauses: list[tuple[int, tuple[int, ...]]] = []
        for part in node.parts:
            clause = self._clause(part)
            if clause is not None:
                clauses.append(clause)
        if node.conjunctive:
            return min(clauses, key=lambda clause: clause[0], default=None)
        if len(clauses) < len(node.parts):
            return None
        cost = sum(cost for cost, _ in clauses)
        return cost, tuple(dict.fromkeys(leaf for _, leaves in clauses for leaf in leaves))


def cost_of(leaf: FieldLeaf, is_discriminator: bool) -> int:
    """About how often a leaf holds; only comparisons of such figures mean anything."""
    if is_discriminator:
        return 5_000
    match leaf:
        case Member(view=view, values=values):
            return 20 + 2 * len(values) if view in ("text", "folded") else 400
        case Wildcards(patterns=patterns):
            return sum(10 + 800 // (1 + _literal_length(pattern)) for pattern in patterns)
        case Regex(patterns=patterns):
            return 200 * len(patterns)
        case InBlocks():
            return 300
        case Range():
            return 1_000
        case Exists():
            return 3_000


def size(leaf: FieldLeaf) -> int:
    """The number of literals or patterns of a leaf."""
    return len(leaf.values) if isinstance(leaf, Member) else len(getattr(leaf, "patterns", ()))


def _literal_length(pattern: str) -> int:
    return sum(character not in "*?" for character in pattern)

"""Order: cheap tests first.

Under `and` and `or` the operands may stand in any order; the first that decides ends the matter. A set
costs a look-up, patterns a walk over the value, a combination many steps. Equal costs keep the author's
order, who tends to put the selective test first.
"""

from __future__ import annotations

from dataclasses import replace

from detectord.compiler.predicates import (
    And,
    AnyElement,
    Combination,
    Common,
    Constant,
    Exists,
    InBlocks,
    Member,
    Not,
    Of,
    Or,
    Predicate,
    Range,
    Regex,
    Related,
    Wildcards,
)


def order_predicate(predicate: Predicate) -> Predicate:
    """The predicate with the operands of every `and` and `or` in order."""
    return _ordered(predicate)[1]


def _ordered(predicate: Predicate) -> tuple[int, Predicate]:
    """The cost and the ordered predicate."""
    match predicate:
        case Not(operand=operand):
            cost, inner = _ordered(operand)
            return cost, Not(inner)
        case And(operands=operands) | Or(operands=operands):
            ranked: list[tuple[int, Predicate]] = []
            for operand in operands:
                ranked.append(_ordered(operand))  # noqa: PERF401  # one stack frame a level
            ranked.sort(key=lambda pair: pair[0])
            parts = tuple(part for _, part in ranked)
            total = sum(cost for cost, _ in ranked)
            return total, And(parts) if isinstance(predicate, And) else Or(parts)
        case AnyElement(condition=condition):
            cost, inner = _ordered(condition)
            return 100 + 5 * cost, replace(predicate, condition=inner)
    return _cost(predicate), predicate


def _cost(leaf: Predicate) -> int:
    """About how long a leaf takes, in hundreds of nanoseconds."""
    match leaf:
        case Constant():
            return 0
        case Exists():
            return 1
        case Member(view=view):
            return 2 if view == "text" else 4
        case Range():
            return 10
        case InBlocks():
            return 12
        case Wildcards(patterns=patterns):
            return 8 + len(patterns) // 4
        case Regex(patterns=patterns):
            return 30 + 10 * len(patterns)
        case Of(leaf=inner):
            return 1 + _cost(inner)
        case Common():
            return 10
        case Related():
            return 1_000
        case Combination(program=program):
            return 20 + 6 * len(program.instructions)
    raise AssertionError(leaf)

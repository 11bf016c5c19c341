"""Emit: predicates to Python.

The source of one step is a module: tests prepared once (sets, patterns, operations), functions for what is
nested or has to be computed, and last `matcher`. It is the text that people read in `detectord explain` and
the very text that runs. Everything from a query goes into it through `repr`, nothing as code.

Python's parser limits how deep parentheses nest, so what is nested deeper than a few levels becomes a
function of its own; lists may be as long as they like.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import product
from typing import Any

from detectord.compiler.compiled import Matcher
from detectord.compiler.predicates import (
    And,
    Combination,
    Constant,
    Exists,
    InBlocks,
    Leaf,
    Member,
    Not,
    Or,
    Predicate,
    Range,
    Regex,
    Wildcards,
)
from detectord.compiler.values import OPERATIONS, Apply, Fixed, Load, Operand, source_of
from detectord.eql.address import Blocks
from detectord.eql.regex import compile_regex
from detectord.eql.wildcard import compile_wildcards

MAX_COMBINATIONS = 10_000

_DEEPEST = 8
"""Levels of parentheses in one expression."""

_INDENT = "    "


class Overflow:
    """Counts the leaves that were given up because their fields had too many combinations of values; such a
    leaf is false."""

    __slots__ = ("count",)

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> bool:
        """One more; false, for the leaf."""
        self.count += 1
        return False


def emit_source(predicate: Predicate, category: str | None, category_field: str) -> str:
    """The Python source of a step's matcher: its category, if any, then its predicate."""
    if category is not None:
        is_category = Member(category_field, "text", frozenset([category]))
        rest = predicate.operands if isinstance(predicate, And) else (predicate,)
        predicate = (
            predicate
            if isinstance(predicate, Constant) and not predicate.value
            else And((is_category, *(part for part in rest if not isinstance(part, Constant))))
        )
    return _Emitter().module(predicate)


def load_matcher(source: str, name: str, *, combinations: int, overflow: Callable[[], bool]) -> Matcher:
    """The function that the source of a step defines. `name` stands for a file name in tracebacks."""
    namespace: dict[str, Any] = {
        **_NAMES,
        "MAX_COMBINATIONS": combinations,
        "overflow": overflow,
    }
    exec(compile(source, name, "exec"), namespace)  # noqa: S102  # our own text, see above
    matcher: Matcher = namespace["matcher"]
    return matcher


_NAMES: Mapping[str, object] = {
    **OPERATIONS,
    "Blocks": Blocks,
    "NULL": (None,),
    "compile_regex": compile_regex,
    "compile_wildcards": compile_wildcards,
    "product": product,
}


@dataclass
class _Emitter:
    """Writes one module."""

    prepared: dict[str, str] = field(default_factory=dict)
    """Name by the expression it stands for."""
    functions: list[str] = field(default_factory=list)
    named: int = 0

    def module(self, predicate: Predicate) -> str:
        matcher = self._function("matcher", predicate)
        prepared = "".join(f"{name} = {expression}\n" for expression, name in self.prepared.items())
        return "\n\n".join(part.rstrip("\n") for part in (prepared, *self.functions, matcher) if part) + "\n"

    def _function(self, name: str, predicate: Predicate) -> str:
        first, *rest = self._expression(predicate, 0)
        lines = [f"return {first}", *rest]
        return f"def {name}(event):\n" + "".join(f"{_INDENT}{line}\n" for line in lines)

    def _new_name(self, kind: str) -> str:
        self.named += 1
        return f"{kind}_{self.named}"

    def _prepare(self, kind: str, expression: str) -> str:
        if expression not in self.prepared:
            self.prepared[expression] = self._new_name(kind)
        return self.prepared[expression]

    # --- expressions ---------------------------------------------------------------------------

    def _expression(self, predicate: Predicate, depth: int) -> list[str]:
        """The lines of a boolean expression."""
        if isinstance(predicate, (And, Or)):
            if not predicate.operands:
                return [str(isinstance(predicate, And))]
            if depth >= _DEEPEST:
                return [self._outsourced(predicate)]
            word = "and" if isinstance(predicate, And) else "or"
            lines = ["("]
            for operand in predicate.operands:
                first, *rest = self._expression(operand, depth + 1)
                lines.append(f"{_INDENT}{word + ' ' if len(lines) > 1 else ''}{first}")
                lines.extend(_INDENT + line for line in rest)
            return [*lines, ")"]
        if isinstance(predicate, Not) and isinstance(predicate.operand, (And, Or, Not)):
            if depth >= _DEEPEST:
                return [self._outsourced(predicate)]
            first, *rest = self._expression(predicate.operand, depth + 1)
            return [f"(not {first}", *rest[:-1], f"{rest[-1]})"] if rest else [f"(not {first})"]
        return [self._simple(predicate)]

    def _outsourced(self, predicate: Predicate) -> str:
        """A call of a new function that tests the predicate."""
        name = self._new_name("part")
        self.functions.append(self._function(name, predicate))
        return f"{name}(event)"

    def _simple(self, predicate: Predicate) -> str:
        match predicate:
            case Constant(value=value):
                return str(value)
            case Not(operand=Member() as member):
                return self._member(member, negated=True)
            case Not(operand=Exists(path=path, view=view)):
                return f"event.{view}({path!r}) == ()"
            case Not(operand=operand):
                return f"not {self._simple(operand)}"
            case Member():
                return self._member(predicate, negated=False)
        assert not isinstance(predicate, (And, Or))
        return self._leaf(predicate)

    def _member(self, member: Member, *, negated: bool) -> str:
        values = f"event.{member.view}({member.path!r})"
        if len(member.values) == 1:
            (value,) = member.values
            return f"{source_of(value)} {'not in' if negated else 'in'} {values}"
        test = f"{self._prepare('set', source_of(member.values))}.isdisjoint({values})"
        return test if negated else f"not {test}"

    def _leaf(self, leaf: Leaf) -> str:
        match leaf:
            case Exists(path=path, view=view):
                return f"event.{view}({path!r}) != ()"
            case Range(path=path, view=view, op=op, bound=bound):
                return f"any(value {op} {source_of(bound)} for value in event.{view}({path!r}))"
            case InBlocks(path=path, blocks=blocks):
                test = self._prepare("blocks", f"Blocks({source_of(blocks)}).contains")
                return f"any(map({test}, event.addresses({path!r})))"
            case Wildcards(path=path, view=view, patterns=patterns):
                test = self._prepare("wildcards", f"compile_wildcards({source_of(patterns)})")
                return f"any(map({test}, event.{view}({path!r})))"
            case Regex(path=path, patterns=patterns, insensitive=insensitive):
                test = self._prepare("regex", f"compile_regex({source_of(patterns)}, {insensitive})")
                return f"any(map({test}, event.text({path!r})))"
            case Combination():
                return self._combination(leaf)
        raise AssertionError(leaf)

    # --- combinations --------------------------------------------------------------------------

    def _combination(self, leaf: Combination) -> str:
        """A call of a new function that tries the combinations."""
        name = self._new_name("combination")
        lines = [f"def {name}(event):"]
        loads: list[str] = []
        steps: list[str] = []
        for number, instruction in enumerate(leaf.program.instructions):
            if isinstance(instruction, Load):
                lines.append(f"all{number} = event.{instruction.view}({instruction.path!r}) or NULL")
                loads.append(str(number))
            else:
                steps.append(f"v{number} = {self._application(instruction)}")
        if len(loads) == 1:
            lines.append(f"for v{loads[0]} in all{loads[0]}:")
        else:
            count = " * ".join(f"len(all{load})" for load in loads)
            lines += [f"if {count} > MAX_COMBINATIONS:", f"{_INDENT}return overflow()"]
            names = ", ".join(f"v{load}" for load in loads)
            lines.append(f"for {names} in product({', '.join(f'all{load}' for load in loads)}):")
        wanted = f"if {_operand(leaf.program.result)} is {leaf.wanted}:"
        lines += [_INDENT + line for line in (*steps, wanted, f"{_INDENT}return True")]
        lines.append("return False")
        self.functions.append("\n".join([lines[0], *(_INDENT + line for line in lines[1:])]))
        return f"{name}(event)"

    def _application(self, instruction: Apply) -> str:
        details = ", ".join(map(source_of, instruction.details))
        operation = self._prepare(instruction.operation, f"{instruction.operation}({details})")
        return f"{operation}({', '.join(map(_operand, instruction.operands))})"


def _operand(operand: Operand) -> str:
    return source_of(operand.value) if isinstance(operand, Fixed) else f"v{operand}"

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
    AnyElement,
    Combination,
    Common,
    Constant,
    Exists,
    FieldLeaf,
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
from detectord.compiler.values import OPERATIONS, Apply, Fixed, Load, Operand, source_of
from detectord.eql.address import Blocks
from detectord.eql.regex import compile_regex
from detectord.eql.wildcard import compile_wildcards
from detectord.events.event import Event

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
    """The Python source of a step's matcher: its category, if any, then its predicate.

    `matcher(event, named)` answers; `named` has what the predicate asks for beside the event: the events of
    earlier steps by alias, and for each relation (`child of`) a function that is given the number of an inner
    query. It may be left out where `needs_company` is false.
    """
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
        "any_element": _array_search(_SEARCH_FACTOR * combinations, overflow),
    }
    exec(compile(source, name, "exec"), namespace)  # noqa: S102  # our own text, see above
    matcher: Matcher = namespace["matcher"]
    return matcher


def in_common(values: tuple[Any, ...], others: tuple[Any, ...]) -> bool:
    """Whether two fields of one type have a value in common."""
    return bool(values) and not set(values).isdisjoint(others)


def in_common_as_json(values: tuple[Any, ...], others: tuple[Any, ...]) -> bool:
    """The same of fields without a type: `true` is not 1, a text no number."""
    if not values or not others:
        return False
    return not {(isinstance(v, bool), v) for v in values}.isdisjoint((isinstance(v, bool), v) for v in others)


class _SpentError(Exception):
    """The searches through the arrays of one event have done as much work as they may."""


def _array_search(limit: int, overflow: Callable[[], bool]) -> Callable[..., bool]:
    """The search through an array's elements. Searches within a search multiply, and so do the values that
    each element is compared with; so all searches of a leaf together may look at `limit` values."""

    def any_element(
        test: Callable[..., bool],
        event: Event,
        named: Mapping[str, Any],
        array: Event,
        path: str,
        variable: str,
    ) -> bool:
        if _BUDGET in named:
            return searched(test, event, dict(named), array, path, variable)
        try:
            return searched(test, event, {**named, _BUDGET: [limit]}, array, path, variable)
        except _SpentError:
            return overflow()

    def searched(
        test: Callable[..., bool],
        event: Event,
        inside: dict[str, Any],
        array: Event,
        path: str,
        variable: str,
    ) -> bool:
        for element in spent(inside, array.elements(path)):
            inside[variable] = element
            if test(event, inside):
                return True
        return False

    return any_element


def spent(named: Mapping[str, Any], values: tuple[Any, ...], count: int | None = None) -> tuple[Any, ...]:
    """The values, taken off what a search may still look at."""
    budget = named[_BUDGET]
    budget[0] -= 1 + len(values) if count is None else count
    if budget[0] < 0:
        raise _SpentError
    return values


_BUDGET = "values left"
_SEARCH_FACTOR = 20
"""So many times the combinations of a leaf are the values that its array searches may look at."""

_NAMES: Mapping[str, object] = {
    **OPERATIONS,
    "Blocks": Blocks,
    "NULL": (None,),
    "NOTHING": {},
    "compile_regex": compile_regex,
    "compile_wildcards": compile_wildcards,
    "product": product,
    "spent": spent,
    "in_common": in_common,
    "in_common_as_json": in_common_as_json,
}


@dataclass
class _Emitter:
    """Writes one module."""

    prepared: dict[str, str] = field(default_factory=dict)
    """Name by the expression it stands for."""
    functions: list[str] = field(default_factory=list)
    named: int = 0
    searching: int = 0
    """How many array searches what is written now stands in."""

    def module(self, predicate: Predicate) -> str:
        matcher = self._function("matcher", predicate)
        prepared = "".join(f"{name} = {expression}\n" for expression, name in self.prepared.items())
        return "\n\n".join(part.rstrip("\n") for part in (prepared, *self.functions, matcher) if part) + "\n"

    def _function(self, name: str, predicate: Predicate) -> str:
        first, *rest = self._expression(predicate, 0)
        lines = [f"return {first}", *rest]
        named = "named=NOTHING" if name == "matcher" else "named"
        return f"def {name}(event, {named}):\n" + "".join(f"{_INDENT}{line}\n" for line in lines)

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
        return f"{name}(event, named)"

    def _simple(self, predicate: Predicate) -> str:
        match predicate:
            case Constant(value=value):
                return str(value)
            case Not(operand=Of(scope=scope, leaf=leaf)):
                return self._field_leaf(leaf, _source_of_scope(scope), negated=True)
            case Not(operand=operand):
                if isinstance(operand, FieldLeaf):
                    return self._field_leaf(operand, "event", negated=True)
                return f"not {self._simple(operand)}"
            case Of(scope=scope, leaf=leaf):
                return self._field_leaf(leaf, _source_of_scope(scope), negated=False)
            case Combination():
                return self._combination(predicate)
            case AnyElement():
                return self._search(predicate)
            case Common():
                one, other = _source_of_scope(predicate.scope), _source_of_scope(predicate.other_scope)
                values = self._values(one, predicate.view, predicate.path)
                others = self._values(other, predicate.view, predicate.other)
                test = "in_common" if predicate.view != "values" else "in_common_as_json"
                return f"{test}({values}, {others})"
            case Related(relation=relation, inner=inner):
                return f"named[{relation + ' of'!r}]({inner})"
        assert not isinstance(predicate, (And, Or))
        return self._field_leaf(predicate, "event", negated=False)

    def _search(self, search: AnyElement) -> str:
        name = self._new_name("element")
        self.searching += 1
        self.functions.append(self._function(name, search.condition))
        self.searching -= 1
        array = _source_of_scope(search.scope)
        return f"any_element({name}, event, named, {array}, {search.path!r}, {search.variable!r})"

    def _field_leaf(self, leaf: FieldLeaf, source: str, *, negated: bool) -> str:
        """The test of a field of `source`."""
        match leaf:
            case Member():
                return self._member(leaf, source, negated=negated)
            case Exists(path=path, view=view):
                return f"{self._values(source, view, path)} {'==' if negated else '!='} ()"
        test = self._any_value(leaf, source)
        return f"not {test}" if negated else test

    def _member(self, member: Member, source: str, *, negated: bool) -> str:
        values = self._values(source, member.view, member.path)
        if len(member.values) == 1:
            (value,) = member.values
            return f"{source_of(value)} {'not in' if negated else 'in'} {values}"
        test = f"{self._prepare('set', source_of(member.values))}.isdisjoint({values})"
        return test if negated else f"not {test}"

    def _any_value(self, leaf: Range | InBlocks | Wildcards | Regex, source: str) -> str:
        match leaf:
            case Range(path=path, view=view, op=op, bound=bound):
                return f"any(value {op} {source_of(bound)} for value in {self._values(source, view, path)})"
            case InBlocks(path=path, blocks=blocks):
                test = self._prepare("blocks", f"Blocks({source_of(blocks)}).contains")
                return f"any(map({test}, {self._values(source, 'addresses', path)}))"
            case Wildcards(path=path, view=view, patterns=patterns):
                test = self._prepare("wildcards", f"compile_wildcards({source_of(patterns)})")
                return f"any(map({test}, {self._values(source, view, path)}))"
            case Regex(path=path, patterns=patterns, insensitive=insensitive):
                test = self._prepare("regex", f"compile_regex({source_of(patterns)}, {insensitive})")
                return f"any(map({test}, {self._values(source, 'text', path)}))"

    def _values(self, source: str, view: str, path: str) -> str:
        """The values of a field; in an array search they are counted."""
        values = f"{source}.{view}({path!r})"
        return f"spent(named, {values})" if self.searching else values

    # --- combinations --------------------------------------------------------------------------

    def _combination(self, leaf: Combination) -> str:
        """A call of a new function that tries the combinations."""
        name = self._new_name("combination")
        lines = [f"def {name}(event, named):"]
        loads: list[str] = []
        steps: list[str] = []
        for number, instruction in enumerate(leaf.program.instructions):
            if isinstance(instruction, Load):
                source = _source_of_scope(instruction.scope)
                values = self._values(source, instruction.view, instruction.path)
                lines.append(f"all{number} = {values} or NULL")
                loads.append(str(number))
            else:
                steps.append(f"v{number} = {self._application(instruction)}")
        if len(loads) == 1:
            lines.append(f"for v{loads[0]} in all{loads[0]}:")
        else:
            count = " * ".join(f"len(all{load})" for load in loads)
            lines += [f"if {count} > MAX_COMBINATIONS:", f"{_INDENT}return overflow()"]
            if self.searching:
                lines.append(f"spent(named, (), {count})")
            names = ", ".join(f"v{load}" for load in loads)
            lines.append(f"for {names} in product({', '.join(f'all{load}' for load in loads)}):")
        wanted = f"if {_operand(leaf.program.result)} is {leaf.wanted}:"
        lines += [_INDENT + line for line in (*steps, wanted, f"{_INDENT}return True")]
        lines.append("return False")
        self.functions.append("\n".join([lines[0], *(_INDENT + line for line in lines[1:])]))
        return f"{name}(event, named)"

    def _application(self, instruction: Apply) -> str:
        details = ", ".join(map(source_of, instruction.details))
        operation = self._prepare(instruction.operation, f"{instruction.operation}({details})")
        return f"{operation}({', '.join(map(_operand, instruction.operands))})"


def _source_of_scope(scope: str) -> str:
    return f"named[{scope!r}]" if scope else "event"


def _operand(operand: Operand) -> str:
    return source_of(operand.value) if isinstance(operand, Fixed) else f"v{operand}"

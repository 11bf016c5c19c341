"""Value expressions: what is computed inside a leaf, where null is a value, as a flat list of instructions.

Rule 1: an instruction is an operation on the results of earlier ones, on fixed values, or a load: one value
of a field, of which each load takes its own. So neither running nor emitting a program recurses, however
deep the expression was.
Rule 2: an operation that is given fixed values only is carried out while the program is built.
Rule 3: no operation raises, whatever values it is given; what cannot be computed is null (None).

An operation is named with its fixed details (`comparison` with `<=`, `function` with `length`); `OPERATIONS`
makes the Python function for it. The emitted code calls the same functions by the same names.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from detectord.eql.address import Blocks, canonical_text, parse_address
from detectord.eql.arithmetic import OPERATIONS as ARITHMETIC
from detectord.eql.arithmetic import negate
from detectord.eql.compare import compare
from detectord.eql.dates import parse_date
from detectord.eql.functions import FUNCTIONS
from detectord.eql.regex import compile_regex
from detectord.eql.text import Scalar, fold, string_of
from detectord.eql.version import version_key
from detectord.eql.wildcard import compile_wildcards
from detectord.events.event import boolean_of, number_of
from detectord.events.time import format_milliseconds

Value = Scalar | None
Function = Callable[..., Value]


# --- programs --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Load:
    """One of the values that the field has in the view (a method of Event), null if it has none. `scope`: of
    what, as in `ast.Field`."""

    path: str
    view: str
    scope: str = ""


@dataclass(frozen=True, slots=True)
class Fixed:
    """A value known when the rule is compiled."""

    value: Value


Operand = int | Fixed
"""The number of the instruction whose result is meant, or a fixed value."""


@dataclass(frozen=True, slots=True)
class Apply:
    """An operation of OPERATIONS, its details, and what it is applied to."""

    operation: str
    details: tuple[Any, ...]
    operands: tuple[Operand, ...]


@dataclass(frozen=True, slots=True)
class Program:
    """Instructions in order; `result` is what the whole comes to."""

    instructions: tuple[Load | Apply, ...]
    result: Operand

    def scopes(self) -> set[str]:
        """Of what it loads fields."""
        return {each.scope for each in self.instructions if isinstance(each, Load)}

    def paths(self) -> set[str]:
        """The fields that it loads of the event at hand."""
        return {each.path for each in self.instructions if isinstance(each, Load) and not each.scope}

    def lines(self) -> list[str]:
        """The program as text."""
        lines: list[str] = []
        for number, instruction in enumerate(self.instructions):
            if isinstance(instruction, Load):
                what = f"{instruction.view} {instruction.path}"
                what += f" of {instruction.scope}" if instruction.scope else ""
            else:
                details = ", ".join(map(source_of, instruction.details))
                what = f"{instruction.operation}({details}) {', '.join(map(_shown, instruction.operands))}"
            lines.append(f"v{number} = {what}")
        return [*lines, _shown(self.result)]


def _shown(operand: Operand) -> str:
    return source_of(operand.value) if isinstance(operand, Fixed) else f"v{operand}"


def source_of(value: Any) -> str:
    """Python source of a literal, a tuple or a frozenset of literals; the same for equal ones."""
    if isinstance(value, frozenset):
        return f"frozenset([{', '.join(sorted(map(source_of, value)))}])"
    if isinstance(value, tuple):
        return f"({''.join(source_of(item) + ', ' for item in value)})"
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return f"float({str(value)!r})"
    return repr(value)


@dataclass
class Builder:
    """Collects the instructions of one program."""

    instructions: list[Load | Apply] = field(default_factory=list)

    def load(self, path: str, view: str, scope: str = "") -> Operand:
        """Load a value of a field."""
        return self._add(Load(path, view, scope))

    def apply(self, operation: str, *operands: Operand, details: tuple[Any, ...] = ()) -> Operand:
        """Apply an operation, now if nothing has to be loaded for it."""
        fixed = [operand.value for operand in operands if isinstance(operand, Fixed)]
        if len(fixed) == len(operands):
            return Fixed(OPERATIONS[operation](*details)(*fixed))
        return self._add(Apply(operation, details, operands))

    def program(self, result: Operand) -> Program:
        """The program that comes to `result`."""
        return Program(tuple(self.instructions), result)

    def _add(self, instruction: Load | Apply) -> int:
        self.instructions.append(instruction)
        return len(self.instructions) - 1


# --- operations ------------------------------------------------------------------------------


def comparison(op: str) -> Function:
    """`a op b`; null if either is null or they are of different kinds."""

    def compared(a: Value, b: Value) -> bool | None:
        return compare(op, a, b)

    return compared


def is_null() -> Function:
    """Whether a value is null; never null itself."""
    return lambda value: value is None


def arithmetic(op: str) -> Function:
    """`a op b` of numbers."""
    return ARITHMETIC[op]


def negative() -> Function:
    """`-a`."""
    return negate


def function(name: str, insensitive: bool) -> Function:
    """A call of the EQL function with this lower-case name."""
    called = FUNCTIONS[name]

    def call(*args: Value) -> Value:
        return called.call(args, insensitive)

    return call


def _unless_null(convert: Callable[[Any], Value]) -> Function:
    def converted(value: Value) -> Value:
        return None if value is None else convert(value)

    return converted


def as_text() -> Function:
    """The text of a string, number or boolean."""
    return _unless_null(string_of)


def as_number() -> Function:
    """A number, also one spelt by a string."""
    return _unless_null(number_of)


def as_boolean() -> Function:
    """A boolean, also one spelt by a string."""
    return _unless_null(boolean_of)


def as_address() -> Function:
    """The number of the address that a string spells."""
    return _unless_null(lambda value: parse_address(value) if isinstance(value, str) else None)


def as_instant() -> Function:
    """The instant (ns) that a string or number spells."""
    return parse_date


def as_version() -> Function:
    """What orders the version that a string is."""
    return _unless_null(version_key)


def text_of_address() -> Function:
    """The text of an address that is a number."""
    return _unless_null(canonical_text)


def text_of_instant() -> Function:
    """The text of an instant that is a number."""
    return _unless_null(format_milliseconds)


def folded() -> Function:
    """A string without case; anything else as it is."""
    return lambda value: fold(value) if isinstance(value, str) else value


def member(values: frozenset[Scalar]) -> Function:
    """Whether a value is one of those, all of its type."""
    return _unless_null(values.__contains__)


def in_blocks(blocks: frozenset[str]) -> Function:
    """Whether an address that is a number is in one of the blocks."""
    return _unless_null(Blocks(sorted(blocks)).contains)


def wildcards(patterns: frozenset[str]) -> Function:
    """Whether a text matches one of the patterns."""
    return _unless_null(compile_wildcards(sorted(patterns)))


def regex(patterns: tuple[str, ...], insensitive: bool) -> Function:
    """Whether a text matches one of the regular expressions."""
    return _unless_null(compile_regex(patterns, insensitive=insensitive))


def inverse() -> Function:
    """Kleene's `not`."""
    return _unless_null(lambda value: not value)


def conjunction() -> Function:
    """Kleene's `and`: false if any operand is, else null if any is."""

    def all_true(*values: Value) -> bool | None:
        return False if False in values else None if None in values else True

    return all_true


def disjunction() -> Function:
    """Kleene's `or`: true if any operand is, else null if any is."""

    def some_true(*values: Value) -> bool | None:
        return True if True in values else None if None in values else False

    return some_true


def found() -> Function:
    """`in`: null if the value is, else whether any of the tests of its members is true."""

    def some_member(value: Value, *tests: Value) -> bool | None:
        return None if value is None else True in tests

    return some_member


OPERATIONS: Mapping[str, Callable[..., Function]] = MappingProxyType(
    {
        operation.__name__: operation
        for operation in (
            comparison, is_null, arithmetic, negative, function, as_text, as_number, as_boolean, as_address,
            as_instant, as_version, text_of_address, text_of_instant, folded, member, in_blocks, wildcards,
            regex, inverse, conjunction, disjunction, found,
        )
    }
)  # fmt: skip
"""The maker of each operation, by name: it is given the details, and its result the operands."""

"""The syntax tree of a query: frozen, with spans, without behaviour.

Rule 1: a node says what was written, not what it means; `a != b` stays `!=`, `not in` stays
`negated=True`. Meaning is the compiler's (`compiler/lower.py`) and the oracle's (`tests/oracle.py`).
Rule 2: spans take no part in equality, so that printing and parsing again gives an equal tree.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from detectord.eql.source import Span

Value = str | int | float | bool | None

_NOWHERE = Span(0, 0)


@dataclass(frozen=True, slots=True)
class Node:
    """Anything with a place in the text."""

    span: Span = field(default=_NOWHERE, kw_only=True, compare=False, repr=False)


# --- expressions -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Literal(Node):
    """A string, number, `true`, `false` or `null`, escapes resolved."""

    value: Value


@dataclass(frozen=True, slots=True)
class Field(Node):
    """A field by its dotted path, `?` and backquotes taken off: `process.parent.name`.

    `scope` says of what: "" the event at hand, else the alias of an earlier step (`event0.file.path` is
    `file.path` of `event0`) or the variable of an `_arraysearch` (`$v.name` is `name` of `$v`; `$v` alone has
    the path "").
    """

    path: str
    optional: bool = False
    scope: str = ""


@dataclass(frozen=True, slots=True)
class Call(Node):
    """A function call. `name` is as written without `~`; `insensitive` is true for `name~`."""

    name: str
    args: tuple[Expr, ...]
    insensitive: bool = False
    name_span: Span = field(default=_NOWHERE, kw_only=True, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Comparison(Node):
    """`left op right`; op is one of `== != < <= > >=`."""

    op: str
    left: Expr
    right: Expr


@dataclass(frozen=True, slots=True)
class Arithmetic(Node):
    """`left op right`; op is one of `+ - * / %`."""

    op: str
    left: Expr
    right: Expr


@dataclass(frozen=True, slots=True)
class Negative(Node):
    """Unary minus. A minus before a number literal is kept as this node, too."""

    operand: Expr


@dataclass(frozen=True, slots=True)
class Not(Node):
    """`not operand`."""

    operand: Expr


@dataclass(frozen=True, slots=True)
class And(Node):
    """Two or more operands joined by `and`; nested ones (in parentheses) are kept nested."""

    operands: tuple[Expr, ...]


@dataclass(frozen=True, slots=True)
class Or(Node):
    """Two or more operands joined by `or`."""

    operands: tuple[Expr, ...]


@dataclass(frozen=True, slots=True)
class In(Node):
    """`value [not] in[~] (items)`."""

    value: Expr
    items: tuple[Expr, ...]
    insensitive: bool = False
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Pattern(Node):
    """`value op patterns`; op is one of `: like like~ regex regex~`."""

    op: str
    value: Expr
    patterns: tuple[Literal, ...]


@dataclass(frozen=True, slots=True)
class Lineage(Node):
    """`relation of [event]`; relation is `child`, `descendant` or `event`."""

    relation: str
    event: EventQuery


@dataclass(frozen=True, slots=True)
class ArraySearch(Node):
    """`_arraysearch(array, variable, condition)`; `variable` with its `$`, which `condition` may read."""

    array: Field
    variable: str
    condition: Expr


Expr = (
    Literal
    | Field
    | Call
    | Comparison
    | Arithmetic
    | Negative
    | Not
    | And
    | Or
    | In
    | Pattern
    | Lineage
    | ArraySearch
)


def children(expr: Expr) -> tuple[Expr, ...]:
    """The expressions right below one, in the order they are written."""
    match expr:
        case Literal() | Field():
            return ()
        case And(operands) | Or(operands):
            return operands
        case Call(args=args):
            return args
        case Comparison(left=left, right=right) | Arithmetic(left=left, right=right):
            return (left, right)
        case Not(operand) | Negative(operand):
            return (operand,)
        case In(value=value, items=items):
            return (value, *items)
        case Pattern(value=value, patterns=patterns):
            return (value, *patterns)
        case Lineage(event=event):
            return (event.condition,)
        case ArraySearch(array=array, condition=condition):
            return (array, condition)


# --- statements ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class EventQuery(Node):
    """`category where condition`; category is None for `any`."""

    category: str | None
    condition: Expr


@dataclass(frozen=True, slots=True)
class Step(Node):
    """One bracket of a sequence or sample: `[event] by keys with runs=N as alias`, `![event]` if missing."""

    event: EventQuery
    keys: tuple[Expr, ...] = ()
    runs: int = 1
    missing: bool = False
    alias: str = ""
    alias_span: Span = field(default=_NOWHERE, kw_only=True, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Sequence(Node):
    """`sequence by keys with maxspan=… steps until`. `maxspan` is in nanoseconds."""

    steps: tuple[Step, ...]
    keys: tuple[Expr, ...] = ()
    maxspan: int | None = None
    until: Step | None = None


@dataclass(frozen=True, slots=True)
class Sample(Node):
    """`sample by keys steps`."""

    steps: tuple[Step, ...]
    keys: tuple[Expr, ...] = ()


@dataclass(frozen=True, slots=True)
class Join(Node):
    """`join by keys steps until`: parsed only to be refused by name."""

    steps: tuple[Step, ...]
    keys: tuple[Expr, ...] = ()
    until: Step | None = None


@dataclass(frozen=True, slots=True)
class Pipe(Node):
    """`| name args`."""

    name: str
    args: tuple[Expr, ...] = ()


@dataclass(frozen=True, slots=True)
class Query(Node):
    """A whole statement."""

    body: EventQuery | Sequence | Sample | Join
    pipes: tuple[Pipe, ...] = ()

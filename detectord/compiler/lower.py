"""From syntax to predicates: what a condition means.

Two modes (eql.md 3.2). In *filter mode* a condition is true or false: `and`, `or` and `not` are plain
boolean, `!=` is not `==`, `x == null` asks whether x has no value, and everything else is a leaf. In *value
mode*, inside a leaf, null is a value and logic is Kleene's; it is built as a program (values.py).

Most leaves compare a field with constants. These become leaves of their own kind, which read the field
through the view of its type; any other leaf is a Combination.

How two operands of different origin meet: a field whose type is known holds what its values convert to, and
a constant opposite it is read as that type. A field of unknown type takes the type of what it is compared
with. Two fields of unknown type are compared as JSON has them. Types that still differ do not compare.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

from detectord.compiler.predicates import (
    FALSE,
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
    View,
    Wildcards,
)
from detectord.compiler.values import Builder, Fixed, Operand, Value
from detectord.eql import ast
from detectord.eql.address import parse_block
from detectord.eql.constants import settled
from detectord.eql.functions import FUNCTIONS
from detectord.eql.text import Scalar, fold
from detectord.eql.types import Type, field_type
from detectord.eql.version import version_key

_VIEWS: Mapping[Type, View] = {
    Type.ANY: "values",
    Type.STRING: "text",
    Type.NUMBER: "numbers",
    Type.BOOLEAN: "booleans",
    Type.IP: "addresses",
    Type.DATE: "dates",
    Type.VERSION: "text",
}
_CONVERSIONS: Mapping[Type, str] = {
    Type.STRING: "as_text",
    Type.NUMBER: "as_number",
    Type.BOOLEAN: "as_boolean",
    Type.IP: "as_address",
    Type.DATE: "as_instant",
    Type.VERSION: "as_text",
}
_TEXT_CONVERSIONS: Mapping[Type, str] = {Type.IP: "text_of_address", Type.DATE: "text_of_instant"}

_TEXTUAL = frozenset((Type.ANY, Type.STRING, Type.VERSION))
"""What a pattern reads as text. A version is text to all but the operators of order."""
_ORDER = frozenset(("<", "<=", ">", ">="))
_FLIPPED = {"==": "==", "!=": "!=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}
_INSENSITIVE_PATTERNS = frozenset([":", "like~", "regex~"])


def lower_condition(
    condition: ast.Expr, types: Mapping[str, str], inner: list[ast.EventQuery] | None = None
) -> Predicate:
    """The predicate that a checked condition stands for. `types`: Elasticsearch type by path. The inner
    queries of `child of […]` and its like are added to `inner`, unless an equal one is there.

    Raises:
        ValueError: the condition is one that the check refuses.
    """
    return _Lowering(types, [] if inner is None else inner).filter(settled(condition))


class _Typed(NamedTuple):
    """An operand in value mode with its static type; `constant` if no field takes part in it."""

    operand: Operand
    type: Type
    constant: bool


class _Lowering:
    def __init__(self, types: Mapping[str, str], inner: list[ast.EventQuery]) -> None:
        self._types = types
        self._inner = inner
        self._variables: dict[str, str] = {}
        """The path, in its document, of the array whose elements each variable stands for."""

    def _type(self, field: ast.Field) -> Type:
        return field_type(self._types.get(self._whole_path(field)))

    def _whole_path(self, field: ast.Field) -> str:
        """The path of a field in its document, the variable before it written out."""
        if not _is_variable(field.scope):
            return field.path
        return f"{self._variables[field.scope]}.{field.path}".rstrip(".")

    # --- filter mode ---------------------------------------------------------------------------

    def filter(self, expr: ast.Expr) -> Predicate:
        match expr:
            case ast.And(operands=operands):
                return And(self._filter_all(operands))
            case ast.Or(operands=operands):
                return Or(self._filter_all(operands))
            case ast.Not(operand=operand):
                return Not(self.filter(operand))
            case ast.Literal(value=bool() | None as value):
                return Constant(value is True)
            case ast.Field():
                return _of(expr, Member(_path(expr), "booleans", frozenset([True])))
            case ast.Comparison(op=op, left=left, right=right):
                return self._comparison(op, left, right)
            case ast.In(negated=negated):
                return Not(self._membership(expr)) if negated else self._membership(expr)
            case ast.Pattern():
                return self._pattern(expr)
            case ast.Call() if _is_boolean(expr):
                return self._call(expr)
            case ast.ArraySearch():
                return self._array_search(expr)
            case ast.Lineage():
                return self._lineage(expr)
        raise ValueError(f"{type(expr).__name__} is not a condition")

    def _filter_all(self, operands: Iterable[ast.Expr]) -> tuple[Predicate, ...]:
        lowered: list[Predicate] = []
        for operand in operands:
            lowered.append(self.filter(operand))  # noqa: PERF401  # a comprehension is one more stack frame
        return tuple(lowered)

    def _array_search(self, expr: ast.ArraySearch) -> Predicate:
        path = self._whole_path(expr.array)
        outer, self._variables = self._variables, {**self._variables, expr.variable: path}
        condition = self.filter(expr.condition)
        self._variables = outer
        return AnyElement(expr.array.scope, _path(expr.array), expr.variable, condition)

    def _lineage(self, expr: ast.Lineage) -> Predicate:
        if expr.event not in self._inner:
            self._inner.append(expr.event)
        return Related(expr.relation, self._inner.index(expr.event))

    def _comparison(self, op: str, left: ast.Expr, right: ast.Expr) -> Predicate:
        if op == "!=":
            return Not(self._comparison("==", left, right))
        if isinstance(left, ast.Literal) and not isinstance(right, ast.Literal):
            op, left, right = _FLIPPED[op], right, left
        if op == "==" and isinstance(right, ast.Literal):
            if right.value is None:
                return self._is_null(left)
            if isinstance(right.value, bool) and _is_boolean(left):
                return self.filter(left) if right.value else Not(self.filter(left))
        if isinstance(right, ast.Field) and not isinstance(left, ast.Field):
            op, left, right = _FLIPPED[op], right, left
        if isinstance(left, ast.Field):
            constant = self._constant(right)
            if constant is not None:
                return self._field_comparison(op, left, constant)
            if op == "==" and isinstance(right, ast.Field):
                return self._fields_in_common(left, right)
        return self._combination(ast.Comparison(op, left, right))

    def _is_null(self, expr: ast.Expr) -> Predicate:
        if isinstance(expr, ast.Field):
            return Not(_of(expr, Exists(_path(expr), _VIEWS[self._type(expr)])))
        return self._combination(expr, wanted=None)

    def _field_comparison(self, op: str, field: ast.Field, constant: _Typed) -> Predicate:
        if op == "==":
            return self._field_in(field, [constant], insensitive=False)
        kind = self._type(field)
        kind = constant.type if kind is Type.ANY else kind
        bound = _constant_as(constant, kind)
        if bound is None:
            return FALSE
        if kind is Type.VERSION:
            return _of(field, Range(_path(field), "versions", op, version_key(str(bound))))
        return _of(field, Range(_path(field), _VIEWS[kind], op, bound))

    def _fields_in_common(self, left: ast.Field, right: ast.Field) -> Predicate:
        """Two fields that are equal have a value in common: no pairs need to be tried."""
        builder = Builder()
        kind = _common_type(self._value(left, builder), self._value(right, builder))
        if kind is None or _VIEWS[kind] not in (_VIEWS[self._type(left)], _VIEWS[self._type(right)]):
            return self._combination(ast.Comparison("==", left, right))
        return Common(_path(left), left.scope, _path(right), right.scope, _VIEWS[kind])

    def _membership(self, expr: ast.In) -> Predicate:
        if isinstance(expr.value, ast.Field):
            constants = [constant for item in expr.items if (constant := self._constant(item)) is not None]
            if len(constants) == len(expr.items):
                return self._field_in(expr.value, constants, insensitive=expr.insensitive)
        return self._combination(ast.In(expr.value, expr.items, expr.insensitive))

    def _field_in(self, field: ast.Field, constants: Iterable[_Typed], *, insensitive: bool) -> Predicate:
        members = _Members.of(self._value(field, Builder()), constants)
        path = _path(field)
        leaves: list[FieldLeaf] = []
        for kind, values in members.by_type.items():
            if insensitive and kind is Type.STRING:
                leaves.append(Member(path, "folded", _folded_all(values)))
            else:
                leaves.append(Member(path, _VIEWS[kind], frozenset(values)))
        if members.blocks:
            leaves.append(InBlocks(path, frozenset(members.blocks)))
        return _any_of(field, leaves)

    def _pattern(self, expr: ast.Pattern) -> Predicate:
        patterns = [str(pattern.value) for pattern in expr.patterns]
        field, insensitive = expr.value, expr.op in _INSENSITIVE_PATTERNS
        if not isinstance(field, ast.Field) or self._type(field) not in _TEXTUAL:
            return self._combination(expr)
        if expr.op.startswith("regex"):
            return _of(field, Regex(_path(field), tuple(dict.fromkeys(patterns)), insensitive))
        return _wildcard_leaves(field, patterns, insensitive=insensitive)

    def _call(self, call: ast.Call) -> Predicate:
        """A boolean function; two of them are patterns and blocks by another name."""
        name, (value, *rest) = call.name.lower(), call.args
        texts = [arg.value for arg in rest if isinstance(arg, ast.Literal) and isinstance(arg.value, str)]
        if isinstance(value, ast.Field) and len(texts) == len(rest):
            kind = self._type(value)
            if name == "wildcard" and kind in _TEXTUAL:
                return _wildcard_leaves(value, texts, insensitive=call.insensitive)
            if name == "cidrmatch" and kind in (Type.ANY, Type.IP) and all(map(_is_block, texts)):
                return _of(value, InBlocks(_path(value), frozenset(texts)))
        return self._combination(call)

    def _combination(self, expr: ast.Expr, wanted: Literal[True] | None = True) -> Predicate:
        builder = Builder()
        result = self._value(expr, builder).operand
        if isinstance(result, Fixed):
            return Constant(result.value is wanted)
        return Combination(builder.program(result), wanted)

    # --- value mode ----------------------------------------------------------------------------

    def _constant(self, expr: ast.Expr) -> _Typed | None:
        """What an expression without fields comes to; None if fields take part in it."""
        if isinstance(expr, ast.Field):
            return None
        typed = self._value(expr, Builder())
        return typed if typed.constant else None

    def _value(self, expr: ast.Expr, builder: Builder) -> _Typed:
        match expr:
            case ast.Literal(value=value):
                return _Typed(Fixed(value), _literal_type(value), constant=True)
            case ast.Field(scope=scope):
                kind = self._type(expr)
                return _Typed(builder.load(_path(expr), _VIEWS[kind], scope), kind, constant=False)
            case ast.Negative(operand=operand):
                inner = self._value(operand, builder)
                number = _convert(builder, inner, Type.NUMBER)
                return _Typed(builder.apply("negative", number), Type.NUMBER, inner.constant)
            case ast.Arithmetic(op=op, left=left, right=right):
                a, b = self._value(left, builder), self._value(right, builder)
                numbers = _convert(builder, a, Type.NUMBER), _convert(builder, b, Type.NUMBER)
                result = builder.apply("arithmetic", *numbers, details=(op,))
                return _Typed(result, Type.NUMBER, a.constant and b.constant)
            case ast.Call():
                return self._value_of_call(expr, builder)
            case ast.And(operands=operands):
                return self._junction("conjunction", operands, builder)
            case ast.Or(operands=operands):
                return self._junction("disjunction", operands, builder)
            case ast.Not(operand=operand):
                inner = self._value(operand, builder)
                boolean = _convert(builder, inner, Type.BOOLEAN)
                return _Typed(builder.apply("inverse", boolean), Type.BOOLEAN, inner.constant)
            case ast.Comparison(op=op, left=left, right=right):
                a, b = self._value(left, builder), self._value(right, builder)
                return _null_test(builder, op, a, b) or _Typed(
                    _compare(builder, op, a, b), Type.BOOLEAN, a.constant and b.constant
                )
            case ast.In():
                return self._value_of_in(expr, builder)
            case ast.Pattern():
                return self._value_of_pattern(expr, builder)
        raise ValueError(f"{type(expr).__name__} has no value")

    def _values(self, exprs: Iterable[ast.Expr], builder: Builder) -> list[_Typed]:
        values: list[_Typed] = []
        for expr in exprs:
            values.append(self._value(expr, builder))  # noqa: PERF401  # as in _filter_all
        return values

    def _value_of_call(self, call: ast.Call, builder: Builder) -> _Typed:
        name = call.name.lower()
        args = self._values(call.args, builder)
        # An address or a date is a number only to us
        operands = [
            _convert(builder, arg, Type.STRING) if arg.type in _TEXT_CONVERSIONS else arg.operand
            for arg in args
        ]
        result = builder.apply("function", *operands, details=(name, call.insensitive))
        return _Typed(result, FUNCTIONS[name].returns, all(arg.constant for arg in args))

    def _junction(self, operation: str, operands: Sequence[ast.Expr], builder: Builder) -> _Typed:
        values = self._values(operands, builder)
        booleans = [_convert(builder, value, Type.BOOLEAN) for value in values]
        result = builder.apply(operation, *booleans)
        return _Typed(result, Type.BOOLEAN, all(value.constant for value in values))

    def _value_of_in(self, expr: ast.In, builder: Builder) -> _Typed:
        value = self._value(expr.value, builder)
        items = self._values(expr.items, builder)
        members = _Members.of(value, (item for item in items if item.constant))
        tests: list[Operand] = []
        for kind, values in members.by_type.items():
            converted = _convert(builder, value, kind)
            if expr.insensitive and kind is Type.STRING:
                converted, values = builder.apply("folded", converted), set(_folded_all(values))
            tests.append(builder.apply("member", converted, details=(frozenset(values),)))
        if members.blocks:
            address = _convert(builder, value, Type.IP)
            tests.append(builder.apply("in_blocks", address, details=(frozenset(members.blocks),)))
        tests += [
            _compare(builder, "==", value, item, insensitive=expr.insensitive)
            for item in items
            if not item.constant
        ]
        result = builder.apply("found", value.operand, *tests)
        if expr.negated:
            result = builder.apply("inverse", result)
        return _Typed(result, Type.BOOLEAN, value.constant and all(item.constant for item in items))

    def _value_of_pattern(self, expr: ast.Pattern, builder: Builder) -> _Typed:
        value = self._value(expr.value, builder)
        text = _convert(builder, value, Type.STRING)
        patterns = [str(pattern.value) for pattern in expr.patterns]
        insensitive = expr.op in _INSENSITIVE_PATTERNS
        if expr.op.startswith("regex"):
            result = builder.apply("regex", text, details=(tuple(patterns), insensitive))
        else:
            if insensitive:
                text, patterns = builder.apply("folded", text), list(map(fold, patterns))
            result = builder.apply("wildcards", text, details=(frozenset(patterns),))
        return _Typed(result, Type.BOOLEAN, value.constant)


# --- leaves ----------------------------------------------------------------------------------


def _is_variable(scope: str) -> bool:
    return scope.startswith("$")


def _path(field: ast.Field) -> str:
    """The path at which a field stands in what it is a field of; an element stands at `$`."""
    return f"$.{field.path}".rstrip(".") if _is_variable(field.scope) else field.path


def _of(field: ast.Field, leaf: FieldLeaf) -> Predicate:
    """The leaf about the field, asked of what the field is a field of."""
    return Of(field.scope, leaf) if field.scope else leaf


def _any_of(field: ast.Field, leaves: Sequence[FieldLeaf]) -> Predicate:
    asked = tuple(_of(field, leaf) for leaf in leaves)
    return asked[0] if len(asked) == 1 else Or(asked)


def _wildcard_leaves(field: ast.Field, patterns: Iterable[str], *, insensitive: bool) -> Predicate:
    """A set for what has no wildcard, existence for what is nothing but stars, patterns for the rest."""
    path = _path(field)
    folded = {fold(pattern) if insensitive else pattern for pattern in patterns}
    if any(pattern and not pattern.strip("*") for pattern in folded):
        return _of(field, Exists(path, "values"))
    wild = {pattern for pattern in folded if "*" in pattern or "?" in pattern}
    view: View = "folded" if insensitive else "text"
    leaves: list[FieldLeaf] = []
    if folded - wild:
        leaves.append(Member(path, view, frozenset(folded - wild)))
    if wild:
        leaves.append(Wildcards(path, view, frozenset(wild)))
    return _any_of(field, leaves)


def _is_block(text: str) -> bool:
    try:
        parse_block(text)
    except ValueError:
        return False
    return True


def _is_boolean(expr: ast.Expr) -> bool:
    """Whether the expression has a truth of its own (a field has one only as a last resort)."""
    if isinstance(expr, ast.Call):
        return FUNCTIONS[expr.name.lower()].returns is Type.BOOLEAN
    return isinstance(
        expr,
        (
            ast.And,
            ast.Or,
            ast.Not,
            ast.Comparison,
            ast.In,
            ast.Pattern,
            ast.ArraySearch,
            ast.Lineage,
        ),
    )


def _folded_all(values: Iterable[Scalar]) -> frozenset[Scalar]:
    return frozenset(fold(value) if isinstance(value, str) else value for value in values)


# --- how operands meet -----------------------------------------------------------------------


def _null_test(builder: Builder, op: str, left: _Typed, right: _Typed) -> _Typed | None:
    """What `… == null` or `… != null` comes to, which is never null itself; None for any other comparison."""
    if op not in ("==", "!="):
        return None
    for side, tested in ((right, left), (left, right)):
        if isinstance(side.operand, Fixed) and side.operand.value is None:
            result = builder.apply("is_null", tested.operand)
            result = result if op == "==" else builder.apply("inverse", result)
            return _Typed(result, Type.BOOLEAN, tested.constant)
    return None


class _Members(NamedTuple):
    """The constants of a list by the type in which they are compared with the value."""

    by_type: dict[Type, set[Scalar]]
    blocks: set[str]

    @classmethod
    def of(cls, value: _Typed, constants: Iterable[_Typed]) -> _Members:
        """Sort the constants for `value`; those that it cannot equal are left out."""
        members = cls({}, set())
        for constant in constants:
            met = _common_type(value, constant)
            met = Type.STRING if met is Type.VERSION else met  # equal is what is spelt alike
            block = _block(constant) if met is Type.IP else None
            if block is not None:
                members.blocks.add(block)
            elif met is not None and (member := _constant_as(constant, met)) is not None:
                members.by_type.setdefault(met, set()).add(member)
        return members


def _literal_type(value: Value) -> Type:
    if value is None:
        return Type.NULL
    if isinstance(value, bool):
        return Type.BOOLEAN
    return Type.STRING if isinstance(value, str) else Type.NUMBER


def _common_type(left: _Typed, right: _Typed) -> Type | None:
    """The type in which two operands are compared; ANY: as JSON has them; None: they are not."""
    a, b = left.type, right.type
    if Type.NULL in (a, b):
        return None
    if a is b or b is Type.ANY:
        return a
    if a is Type.ANY:
        return b
    if left.constant != right.constant:
        return b if left.constant else a
    read_from_text = (Type.IP, Type.DATE, Type.VERSION)
    return next((kind for kind in read_from_text if {a, b} == {kind, Type.STRING}), None)


def _convert(builder: Builder, typed: _Typed, kind: Type) -> Operand:
    """The operand as a value of `kind`, null where it is none."""
    if kind in (typed.type, Type.ANY) or {kind, typed.type} == {Type.STRING, Type.VERSION}:
        return typed.operand
    if typed.type in _TEXT_CONVERSIONS:
        return (
            builder.apply(_TEXT_CONVERSIONS[typed.type], typed.operand)
            if kind is Type.STRING
            else Fixed(None)
        )
    return builder.apply(_CONVERSIONS[kind], typed.operand)


def _constant_as(constant: _Typed, kind: Type) -> Value:
    operand = _convert(Builder(), constant, kind)
    assert isinstance(operand, Fixed)
    return operand.value


def _block(typed: _Typed) -> str | None:
    """A constant that is an address block with a prefix length."""
    if not isinstance(typed.operand, Fixed) or not isinstance(typed.operand.value, str):
        return None
    text = typed.operand.value
    return text if "/" in text and _is_block(text) else None


def _compare(builder: Builder, op: str, left: _Typed, right: _Typed, *, insensitive: bool = False) -> Operand:
    """`left op right`, in value mode."""
    kind = _common_type(left, right)
    if kind is None:
        return Fixed(None)
    if kind is Type.IP:
        for constant, other in ((left, right), (right, left)):
            block = _block(constant)
            if block is not None:
                return _in_block(builder, op, other, block)
    sides = [_convert(builder, side, kind) for side in (left, right)]
    if kind is Type.VERSION and op in _ORDER:
        sides = [builder.apply("as_version", side) for side in sides]
    if insensitive:
        sides = [builder.apply("folded", side) for side in sides]
    return builder.apply("comparison", *sides, details=(op,))


def _in_block(builder: Builder, op: str, value: _Typed, block: str) -> Operand:
    if op not in ("==", "!="):
        return Fixed(None)
    inside = builder.apply("in_blocks", _convert(builder, value, Type.IP), details=(frozenset([block]),))
    return inside if op == "==" else builder.apply("inverse", inside)

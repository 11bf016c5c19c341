"""Checks expressions: what type each has, and whether it may stand where it stands.

Rule 1: a type is certain or ANY. A field's type is certain only if the field table has it; what is
ANY is never an error here.
Rule 2: an error is what Elasticsearch refuses or what can never be right; what is merely never true
is a warning.
Rule 3: a list is reported once, at its first bad item.

The walk recurses: the parser bounds the depth of a tree.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Literal

from detectord.eql import ast, constants
from detectord.eql.address import parse_address, parse_block
from detectord.eql.dates import parse_date
from detectord.eql.diagnostics import Code, Diagnostic
from detectord.eql.functions import FUNCTIONS, Function, Param
from detectord.eql.regex import (
    LONGEST_PATTERN,
    MOST_INSTRUCTIONS,
    RegexError,
    Translated,
    instructions,
    translate,
)
from detectord.eql.source import Span
from detectord.eql.text import parse_number
from detectord.eql.types import NOT_QUERYABLE, Type, field_type

Report = Callable[[Diagnostic], None]

UnknownFields = Literal["pass", "warn", "refuse"]
"""What becomes of a field that no schema knows."""

_PLURALS = {Type.STRING: "strings", Type.NUMBER: "numbers", Type.BOOLEAN: "booleans"}
# Values of two of these never compare; the other types are compared by what their text stands for
_KINDS = frozenset((Type.STRING, Type.NUMBER, Type.BOOLEAN))
# What a pattern or a string function can look into
_TEXTUAL = frozenset((Type.STRING, Type.VERSION, Type.NULL, Type.ANY))
_SMALLER = "repetitions with large numbers are costly"
# Looking for a close name takes time
_LONGEST_NAME = 40
_MOST_HINTS = 20
_LONGEST_PATH = 80
_MOST_FIELD_HINTS = 5
_FOREIGN = {
    "match": "use `regex~`, with `.*` at the end of the pattern",
    "matchlite": "use `regex~`, with `.*` at the end of the pattern",
    "arraycontains": "a comparison holds if it holds for any element: `field : value`",
    "arraysearch": "elements of an array cannot be tested one by one",
    "arraycount": "elements of an array cannot be counted",
    "safe": "it is not needed: what cannot be computed is null",
}


RELATIONS = ("child", "descendant", "event")
"""What an event's process can be to one that matched."""


class Conditions:
    """Checks the conditions of one query; `types` has the Elasticsearch types of fields by path."""

    def __init__(
        self, types: Mapping[str, str], report: Report, unknown_fields: UnknownFields = "pass"
    ) -> None:
        self._types = types
        self._report = report
        self._unknown_fields = unknown_fields
        self._unknown: set[str] = set()  # the paths that were reported
        self._errors = 0
        self._instructions = 0  # of all regular expressions
        self._fields: list[ast.Field] = []  # all that were checked, in the order of the text
        self._variables: dict[str, str] = {}  # the path of the array that each variable in sight is of

    def check(self, condition: ast.Expr, *, must_hold: bool = True) -> None:
        """Check a whole condition. `must_hold`: there is no match without it."""
        before = self._errors
        self._condition(condition)
        # What is wrong in itself has no truth worth a warning
        if must_hold and self._errors == before and self._never_holds(condition):
            self._find(Code.ALWAYS_FALSE, condition.span, "no event satisfies it, so the rule never alerts")

    @staticmethod
    def _never_holds(condition: ast.Expr) -> bool:
        settled = constants.settled(condition)
        return constants.truth(settled) is False

    def type_of(self, field: ast.Field) -> Type:
        """The type of a field."""
        return field_type(self._mapping_type(field))

    def _mapping_type(self, field: ast.Field) -> str | None:
        """The Elasticsearch type of a field; that of a variable's is found under the path of its array."""
        return self._types.get(self._whole_path(field))

    def _whole_path(self, field: ast.Field) -> str:
        """The path of a field in its document, the variable before it written out."""
        if not field.scope.startswith("$"):
            return field.path
        return f"{self._variables.get(field.scope, field.scope)}.{field.path}".rstrip(".")

    def _find(self, code: Code, span: Span, hint: str = "", /, **args: object) -> None:
        self._errors += code.is_error
        self._report(Diagnostic(code, span, args, hint))

    # -- types

    def _condition(self, expr: ast.Expr) -> None:
        match expr:
            case ast.And(operands) | ast.Or(operands):
                for operand in operands:
                    self._condition(operand)
            case ast.Not(operand):
                self._condition(operand)
            case ast.Lineage():
                self._lineage(expr)
            case ast.ArraySearch():
                self._array_search(expr)
            case _:
                found = self._value(expr)
                if found not in (Type.BOOLEAN, Type.NULL, Type.ANY):
                    self._find(Code.NOT_A_CONDITION, expr.span, actual=self._described(expr, found))

    def _value(self, expr: ast.Expr) -> Type:
        """The type of an expression, after checking it."""
        match expr:
            case ast.Literal(value):
                return _literal_type(value)
            case ast.Field():
                self._field(expr)
                return self.type_of(expr)
            case ast.Call():
                return self._call(expr)
            case ast.Arithmetic(op, left, right):
                self._number(f"each side of `{op}`", left)
                self._number(f"each side of `{op}`", right)
                return Type.NUMBER
            case ast.Negative(operand):
                self._number("what follows `-`", operand)
                return Type.NUMBER
            case ast.Comparison():
                self._comparison(expr)
            case ast.In():
                self._membership(expr)
            case ast.Pattern():
                self._pattern(expr)
            case ast.Lineage():
                self._find(Code.NOT_A_VALUE, expr.span, construct=f"`{expr.relation} of`")
            case ast.ArraySearch():
                self._find(Code.NOT_A_VALUE, expr.span, construct="`_arraysearch`")
            case ast.And() | ast.Or() | ast.Not():
                self._condition(expr)
        return Type.BOOLEAN

    def _field(self, field: ast.Field) -> None:
        self._fields.append(field)
        if field.scope.startswith("$") and field.scope not in self._variables:
            close = _close(field.scope, self._variables) if self._errors < _MOST_HINTS else ""
            hint = (
                f"did you mean `{close}`?"
                if close
                else "a variable is named in `_arraysearch(field, $name, …)`"
            )
            self._find(Code.UNKNOWN_VARIABLE, field.span, hint, name=field.scope)
        else:
            self.field(field)

    def field(self, field: ast.Field) -> None:
        """Check that a field can be asked for, and that it is known."""
        path = self._whole_path(field)
        found = self._types.get(path)
        around = path
        while "." in around:
            around = around.rpartition(".")[0]
            if self._types.get(around) == "nested":
                why = f"`{around}` around it is of type nested"
                self._find(Code.NOT_QUERYABLE, field.span, field=field.path, why=why)
                return
        if found in NOT_QUERYABLE:
            self._find(Code.NOT_QUERYABLE, field.span, field=field.path, why=f"it is of type {found}")
        if found is not None or field.optional or self._unknown_fields == "pass" or path in self._unknown:
            return
        self._unknown.add(path)
        hint = _close_field(path, self._types) if len(self._unknown) <= _MOST_FIELD_HINTS else ""
        refused = self._unknown_fields == "refuse"
        code = Code.UNKNOWN_FIELD_REFUSED if refused else Code.UNKNOWN_FIELD
        self._find(code, field.span, hint or "if it is a field of your own, write `?` before it", field=path)

    def _number(self, place: str, expr: ast.Expr) -> None:
        found = self._value(expr)
        if found not in (Type.NUMBER, Type.NULL, Type.ANY):
            actual = self._described(expr, found)
            self._find(Code.WRONG_TYPE, expr.span, place=place, expected="a number", actual=actual)

    def _described(self, expr: ast.Expr, found: Type) -> str:
        return f"`{expr.path}`, {found.noun}" if isinstance(expr, ast.Field) else found.noun

    # -- operators

    def _comparison(self, expr: ast.Comparison) -> None:
        left, right = self._value(expr.left), self._value(expr.right)
        for field, other in ((expr.left, expr.right), (expr.right, expr.left)):
            if isinstance(field, ast.Field) and _is_literal(other):
                self._fits(field, [other], blocks=expr.op in ("==", "!="))
                if expr.op in ("==", "!="):
                    self._wildcard(expr.op, [other])
                return
        if left is not right and {left, right} <= _KINDS:
            hint = "the comparison never holds, its negation always does"
            args = {"left": self._described(expr.left, left), "right": self._described(expr.right, right)}
            self._find(Code.NOT_COMPARABLE, expr.span, hint, **args)
        if expr.op in ("==", "!="):
            self._wildcard(expr.op, [expr.left, expr.right])

    def _membership(self, expr: ast.In) -> None:
        operator = "in~" if expr.insensitive else "in"
        self._value(expr.value)
        before = len(self._fields)
        types = {self._value(item): None for item in expr.items}  # in order, for the message
        if len(self._fields) > before:
            hint = "compare fields with `==`"
            self._find(Code.FIELD_IN_LIST, self._fields[before].span, hint, operator=operator)
        kinds = [_PLURALS[kind] for kind in types if kind in _PLURALS]
        if len(kinds) > 1 and expr.items:
            span = expr.items[0].span.to(expr.items[-1].span)
            self._find(Code.MIXED_LIST, span, types=" and ".join(kinds))
        elif isinstance(expr.value, ast.Field):
            self._fits(expr.value, [item for item in expr.items if _is_literal(item)], blocks=True)
        self._wildcard(operator, expr.items)

    def _fits(self, field: ast.Field, literals: Sequence[ast.Expr], *, blocks: bool) -> None:
        """Report the first literal that no value of the field can equal."""
        found = self.type_of(field)
        for literal in literals:
            value = constants.constant(literal)
            if value is None or value is constants.UNKNOWN or _fits(found, value, blocks=blocks):
                continue
            mapping_type = self._mapping_type(field)
            text = f'"{value}"' if isinstance(value, str) else str(value).lower()
            args = {"field": field.path, "type": mapping_type, "literal": text}
            is_math = found is Type.DATE and isinstance(value, str) and value.startswith("now")
            hint = "dates are not computed: write one out" if is_math else ""
            self._find(Code.NOT_OF_FIELD_TYPE, literal.span, hint, **args)
            return

    def _wildcard(self, operator: str, exprs: Sequence[ast.Expr]) -> None:
        for expr in exprs:
            if isinstance(expr, ast.Literal) and isinstance(expr.value, str):
                for character in "*?":
                    if character in expr.value:
                        hint = "`:` and `like` take wildcards"
                        args = {"character": character, "operator": operator}
                        self._find(Code.WILDCARD_IS_LITERAL, expr.span, hint, **args)
                        return

    def _pattern(self, expr: ast.Pattern) -> None:
        found = self._value(expr.value)
        if found not in _TEXTUAL:
            hint = "compare with `==`"
            if found in (Type.IP, Type.DATE) and isinstance(expr.value, ast.Field):
                hint = f"its text is `string({expr.value.path})`"
            actual = self._described(expr.value, found)
            self._find(Code.PATTERN_ON_TYPE, expr.value.span, hint, operator=expr.op, actual=actual)
        for literal in expr.patterns:
            if not isinstance(literal.value, str):
                hint = "use `==`" + (", as in `field == null`" if literal.value is None else "")
                actual = _literal_type(literal.value).noun
                self._find(Code.PATTERN_NOT_STRING, literal.span, hint, operator=expr.op, actual=actual)
                return
        if expr.op in ("regex", "regex~"):
            self._regex(expr)

    def _regex(self, expr: ast.Pattern) -> None:
        """Check each expression, until those of the query are too complex together."""
        for literal in expr.patterns:
            if self._instructions > MOST_INSTRUCTIONS:
                return
            text = literal.value
            assert isinstance(text, str)
            if len(text) > LONGEST_PATTERN:
                limits = {"actual": len(text), "limit": LONGEST_PATTERN}
                self._find(Code.REGEX_TOO_LONG, literal.span, **limits)
                continue
            try:
                translated = translate(text, expr.op == "regex~")
                self._instructions += instructions(translated.tree)
            except RegexError as error:
                self._bad_regex(literal, error)
                continue
            if self._instructions > MOST_INSTRUCTIONS:
                self._find(Code.REGEXES_TOO_COMPLEX, literal.span, _SMALLER, limit=MOST_INSTRUCTIONS)
            self._anchors(literal, text)
            self._ordinary(literal, translated)

    def _bad_regex(self, literal: ast.Literal, error: RegexError) -> None:
        hint = f"at character {error.offset + 1} of the expression"
        self._find(Code.BAD_REGEX, literal.span, hint, reason=error.message)

    def _anchors(self, literal: ast.Literal, text: str) -> None:
        backslashes = len(text) - 1 - len(text[:-1].rstrip("\\"))
        anchor = "^" if text.startswith("^") else "$" if text.endswith("$") and backslashes % 2 == 0 else ""
        if anchor:
            hint = "the expression always matches the whole value"
            self._find(Code.ANCHOR_IS_LITERAL, literal.span, hint, anchor=anchor)

    def _ordinary(self, literal: ast.Literal, translated: Translated) -> None:
        if translated.ordinary:
            offset = translated.ordinary[0]
            assert isinstance(literal.value, str)
            character = literal.value[offset]
            hint = f"at character {offset + 1} nothing stands before it; `\\{character}` says so"
            self._find(Code.OPERATOR_IS_LITERAL, literal.span, hint, operator=character)

    def _lineage(self, expr: ast.Lineage) -> None:
        if expr.relation not in RELATIONS:
            span = Span(expr.span.start, expr.span.start + len(expr.relation))
            hint = "it is `child of`, `descendant of` or `event of`"
            self._find(Code.UNKNOWN_RELATION, span, hint, relation=expr.relation)
        variables, self._variables = self._variables, {}  # the inner event is another one
        self._condition(expr.event.condition)
        self._variables = variables

    def _array_search(self, expr: ast.ArraySearch) -> None:
        self._field(expr.array)
        if expr.variable in self._variables:
            self._find(Code.VARIABLE_TWICE, expr.span, "give it another name", name=expr.variable)
        before = dict(self._variables)
        self._variables[expr.variable] = self._whole_path(expr.array)
        self._condition(expr.condition)
        self._variables = before

    # -- functions

    def _call(self, call: ast.Call) -> Type:
        types = [self._value(arg) for arg in call.args]
        function = FUNCTIONS.get(call.name.lower())
        if function is None:
            hint = _unknown_hint(call.name) if self._errors < _MOST_HINTS else ""
            self._find(Code.UNKNOWN_FUNCTION, call.name_span, hint, name=call.name)
            return Type.ANY
        if call.insensitive and not function.foldable:
            hint = f"write `{call.name}`"
            self._find(Code.NO_INSENSITIVE_VARIANT, call.name_span, hint, name=call.name)
        count = len(call.args)
        if count < function.least or (function.most is not None and count > function.most):
            expected = _arity(function)
            self._find(
                Code.WRONG_ARGUMENT_COUNT, call.name_span, name=call.name, expected=expected, actual=count
            )
            return function.returns
        for position, (arg, found) in enumerate(zip(call.args, types, strict=True)):
            if self._argument(call, position, function.param(position), arg, found):
                break  # one finding a call
        return function.returns

    def _argument(self, call: ast.Call, position: int, param: Param, arg: ast.Expr, found: Type) -> bool:
        """Report what is wrong with an argument; True if something is."""
        if param.literal and not isinstance(arg, ast.Literal):
            args = {"position": position + 1, "name": call.name}
            self._find(Code.ARGUMENT_NOT_LITERAL, arg.span, **args)
            return True
        expected = _mismatch(param, arg, found)
        if expected:
            place = f"argument {position + 1} of `{call.name}`"
            actual = self._described(arg, found)
            if isinstance(arg, ast.Literal) and isinstance(arg.value, (str, float)):
                actual = repr(arg.value) if isinstance(arg.value, float) else f'"{arg.value}"'
            self._find(Code.WRONG_TYPE, arg.span, place=place, expected=expected, actual=actual)
            return True
        if call.name.lower() == "cidrmatch" and position and isinstance(arg, ast.Literal):
            return self._bad_block(arg)
        return False

    def _bad_block(self, arg: ast.Literal) -> bool:
        try:
            if isinstance(arg.value, str):
                parse_block(arg.value)
        except ValueError as error:
            self._find(Code.BAD_CIDR, arg.span, str(error), block=arg.value)
            return True
        return False


def _literal_type(value: ast.Value) -> Type:
    if value is None:
        return Type.NULL
    if isinstance(value, bool):
        return Type.BOOLEAN
    return Type.STRING if isinstance(value, str) else Type.NUMBER


def _is_literal(expr: ast.Expr) -> bool:
    """True for a literal, and for a number with a minus before it."""
    return isinstance(expr.operand if isinstance(expr, ast.Negative) else expr, ast.Literal)


def _fits(field: Type, value: str | int | float | bool, *, blocks: bool) -> bool:
    """True if a field of that type could hold the value; `blocks`: a block stands for its addresses."""
    match field:
        case Type.NUMBER:
            return parse_number(value) is not None if isinstance(value, str) else not isinstance(value, bool)
        case Type.BOOLEAN:
            return isinstance(value, bool) or value in ("true", "false")
        case Type.IP:
            return isinstance(value, str) and (
                parse_address(value) is not None or (blocks and _is_block(value))
            )
        case Type.DATE:
            return parse_date(value) is not None
        case Type.VERSION:
            return isinstance(value, str)
        case _:
            return True


def _is_block(text: str) -> bool:
    try:
        parse_block(text)
    except ValueError:
        return False
    return True


def _mismatch(param: Param, arg: ast.Expr, found: Type) -> str:
    """What the parameter takes, if it cannot take the argument; else ""."""
    if found in (Type.NULL, Type.ANY) or param.type is Type.ANY:
        return ""
    if param.type is Type.STRING:
        fits = found in _TEXTUAL
    elif param.type is Type.IP:
        # A text may spell an address, but no index has one in a field of text
        fits = found is Type.IP or (found is Type.STRING and not isinstance(arg, ast.Field))
    else:
        fits = found is param.type
    if param.whole and isinstance(arg, ast.Literal) and isinstance(arg.value, float):
        fits = False  # also 1.0, as in Elasticsearch
    if fits:
        return ""
    return "a whole number" if param.whole else param.type.noun


def _arity(function: Function) -> str:
    least, most = function.least, function.most
    if most is None:
        return f"{least} or more arguments"
    if most == least:
        return f"{least} argument{'s' if least != 1 else ''}"
    return f"{least} to {most} arguments"


def _close_field(path: str, types: Mapping[str, str]) -> str:
    """A known field with a name like that: one that begins alike, or one with another beginning."""
    if len(path) > _LONGEST_PATH:
        return ""
    head, dot, rest = path.partition(".")
    alike = [name for name in types if name.partition(".")[0] == head and abs(len(name) - len(path)) < 4]
    close = get_close_matches(path, alike, n=1, cutoff=0.8)
    if not close and not alike:
        heads = get_close_matches(head, {name.partition(".")[0] for name in types}, n=1)
        close = [f"{other}{dot}{rest}" for other in heads if f"{other}{dot}{rest}" in types]
    return f"did you mean `{close[0]}`?" if close else ""


def _unknown_hint(name: str) -> str:
    lower = name.lower()
    if lower in _FOREIGN:
        return _FOREIGN[lower]
    close = _close(lower, FUNCTIONS)
    return f"did you mean `{FUNCTIONS[close].name}`?" if close else ""


def _close(name: str, known: Iterable[str]) -> str:
    """The known name that is most like a name, "" if none is."""
    if len(name) > _LONGEST_NAME:
        return ""
    found = get_close_matches(name, (each for each in known if len(each) <= _LONGEST_NAME), n=1)
    return found[0] if found else ""

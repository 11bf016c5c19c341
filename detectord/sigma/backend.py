"""pySigma's EQL backend, with leaves that mean in EQL what they mean in Sigma.

pySigma resolves a rule to a tree of conditions, and its EQL backend joins the leaves with `and`, `or` and
`not`. The leaves are written here, as nodes of our own syntax tree, so that quoting is the printer's.

| Sigma | EQL |
| --- | --- |
| a text, with or without wildcards | `:`, without regard to case |
| a text with a literal `*` or `?`, which no EQL pattern can hold | `regex~` |
| `cased` | `==`, `like`, `regex` |
| `re` | `regex`, or `regex~` with the flag `i` (`regex.py`) |
| a number; a text under a field that is a number, an address, true or false | `==` |
| a pattern under such a field | `string(field) : …` |
| `fieldref` | `==`, or for text (which Sigma compares without case) each ends with the other |
| null, `exists` | `?field == null`, `?field != null` |

A Sigma field may be one of several paths (`fields.py`): a test of it is true if it is true for any, that
it is missing only if all are.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from sigma.backends.elasticsearch.elasticsearch_eql import EqlBackend
from sigma.conditions import (
    ConditionAND,
    ConditionFieldEqualsValueExpression,
    ConditionNOT,
    ConditionOR,
    ConditionValueExpression,
)
from sigma.conversion.base import TextQueryBackend
from sigma.conversion.state import ConversionState
from sigma.correlations import SigmaCorrelationRule
from sigma.rule import SigmaDetection, SigmaRule
from sigma.types import (
    SigmaBool,
    SigmaCasedString,
    SigmaCIDRExpression,
    SigmaCompareExpression,
    SigmaExists,
    SigmaExpansion,
    SigmaFieldReference,
    SigmaNull,
    SigmaNumber,
    SigmaRegularExpression,
    SigmaRegularExpressionFlag,
    SigmaString,
    SigmaType,
    SpecialChars,
)

from detectord.eql import ast
from detectord.eql.printer import expression_text
from detectord.eql.types import Type, field_type
from detectord.events.fields import FIELD_TYPES
from detectord.sigma import fields, regex
from detectord.sigma.ledger import RefusedError
from detectord.sigma.logsources import LogSource
from detectord.sigma.pipelines import MARK, pipeline_for

_MULTI_FIELD = ".caseless"
_ESCAPED = str.maketrans({"\\": "\\\\", "*": "\\*", "?": "\\?"})
_WILDCARDS = {SpecialChars.WILDCARD_MULTI: "*", SpecialChars.WILDCARD_SINGLE: "?"}
_REGEX = {"*": ".*", "?": "."}
_BOOLEANS = {"true": True, "false": False}


class Backend(EqlBackend):
    """Converts the rules of one log source to conditions in EQL. `unmapped` collects the fields that no
    table knows, in the rule converted last."""

    def __init__(self, source: LogSource) -> None:
        super().__init__(pipeline_for(source))
        self.source = source
        self.unmapped: dict[str, None] = {}

    def condition(self, rule: SigmaRule) -> str:
        """The rule's condition; several of them are one with `or`.

        Raises:
            RefusedError: something in it cannot be said in EQL.
            SigmaError: pySigma finds something wrong with it.
        """
        self.unmapped = {}
        conditions: list[str] = self.convert_rule(rule)
        if not conditions:
            raise RefusedError("bad_rule", "nothing is left of its condition")
        return conditions[0] if len(conditions) == 1 else " or ".join(f"({each})" for each in conditions)

    def first_path(self, probe: SigmaRule) -> str:
        """The first path of the one field in a rule's one detection item."""
        self.last_processing_pipeline.apply(probe)
        item = next(iter(probe.detection.detections.values())).detection_items[0]
        while isinstance(item, SigmaDetection):
            item = item.detection_items[0]
        return self.paths(item.field or "")[0]

    def finalize_query(
        self,
        rule: SigmaRule | SigmaCorrelationRule,
        query: Any,
        index: int,
        state: ConversionState,
        output_format: str,
    ) -> str:
        """The condition alone: what stands before `where` is the log source's."""
        del rule, index, state, output_format
        return str(query)

    # --- how conditions are joined -------------------------------------------------------------

    def convert_condition_not(self, cond: ConditionNOT, state: ConversionState) -> Any:
        """`not`, without the special case for null that pySigma's EQL backend makes."""
        return TextQueryBackend.convert_condition_not(self, cond, state)

    def convert_condition_as_in_expression(
        self, cond: ConditionOR | ConditionAND, state: ConversionState
    ) -> str:
        """Several values of one field joined by `or`."""
        del state
        leaves = [leaf for leaf in cond.args if isinstance(leaf, ConditionFieldEqualsValueExpression)]
        return _text(self.any_of(leaves[0].field, [leaf.value for leaf in leaves]))

    def convert_condition_field_eq_val(
        self, cond: ConditionFieldEqualsValueExpression, state: ConversionState
    ) -> str:
        """One value of one field."""
        del state
        values = cond.value.values if isinstance(cond.value, SigmaExpansion) else [cond.value]
        return _text(self.any_of(cond.field, values))

    def convert_condition_val(self, cond: ConditionValueExpression, state: ConversionState) -> Any:
        """A value without a field: EQL cannot search the whole event."""
        del state
        raise RefusedError("keywords", f"`{_shown(cond.value)}` is searched in the whole event")

    # --- leaves --------------------------------------------------------------------------------

    def any_of(self, name: str, values: Iterable[SigmaType]) -> ast.Expr:
        """The test that the field `name` has one of the values."""
        plain: dict[tuple[str, ...], list[SigmaString]] = {}
        parts: list[ast.Expr] = []
        for value in values:
            spread = self.spread(name, value)
            if spread is not None:
                parts.append(_or([_and([_pattern(p, SigmaString(v)) for p, v in each]) for each in spread]))
            elif isinstance(value, SigmaString):
                plain.setdefault(self.paths(name), []).append(value)
            else:
                parts.append(self.other(name, value))
        texts = [_texts(path, group) for paths, group in plain.items() for path in paths]
        return _or([*texts, *parts])

    def spread(self, name: str, value: SigmaType) -> fields.Spread | None:
        """What this value of this field comes to, if it has a form of its own."""
        if isinstance(value, SigmaBool):
            pattern = "true" if value.boolean else "false"
        elif isinstance(value, SigmaString) and not isinstance(value, SigmaCasedString):
            pattern = _spelled(value)
        else:
            return None
        return fields.spread(self.source.fields, name.removeprefix(MARK), pattern, self.source.bearer)

    def paths(self, name: str) -> tuple[str, ...]:
        """Where the field `name`, as the pipeline left it, may be found."""
        own = name.removeprefix(MARK)
        shipped = self.source.fields in ("windows", "channel", "zeek", "kubernetes")
        if own != name or not shipped:
            found = fields.paths(self.source.fields, own, self.source.bearer)
            if found is not None:
                return found
        path = own.removesuffix(_MULTI_FIELD).partition(" ")[0] if shipped else own
        if path not in FIELD_TYPES and not (shipped and "." in path and "*" not in path):
            self.unmapped[path] = None
        return (path,)

    def other(self, name: str, value: SigmaType) -> ast.Expr:
        """The test of one value that is no text."""
        paths = self.paths(name)
        match value:
            case SigmaNull() | SigmaExists():
                missing = isinstance(value, SigmaNull) or not value.exists
                tests: list[ast.Expr] = [
                    ast.Comparison("==" if missing else "!=", ast.Field(path, True), ast.Literal(None))
                    for path in paths
                ]
                return _and(tests) if missing else _or(tests)
            case SigmaFieldReference():
                others = self.paths(value.field)
                return _or([_reference(path, other, value) for path in paths for other in others])
            case _:
                leaf = _LEAVES.get(type(value))
                if leaf is None:
                    raise RefusedError("unsupported", f"a value of the kind {type(value).__name__}")
                return _or([leaf(path, value) for path in paths])


def _text(expr: ast.Expr) -> str:
    """A leaf as text that may stand anywhere: pySigma does not know of the `or`s inside it."""
    text = expression_text(expr)
    return f"({text})" if isinstance(expr, (ast.And, ast.Or, ast.Not)) else text


def _or(parts: Sequence[ast.Expr]) -> ast.Expr:
    return parts[0] if len(parts) == 1 else ast.Or(tuple(parts))


def _and(parts: Sequence[ast.Expr]) -> ast.Expr:
    return parts[0] if len(parts) == 1 else ast.And(tuple(parts))


# --- text ------------------------------------------------------------------------------------


def _spelled(value: SigmaString) -> str:
    """A text as `fields.spread` reads it; what the parts of it mean is not lost."""
    return "".join(
        part.translate(_ESCAPED) if isinstance(part, str) else _WILDCARDS[part] for part in _parts(value)
    )


def _parts(value: SigmaString) -> list[str | SpecialChars]:
    """The pieces of a text: characters that mean themselves, and wildcards."""
    parts: list[str | SpecialChars] = []
    for part in value.s:
        if not isinstance(part, (str, SpecialChars)):
            raise RefusedError("placeholder", f"nothing says what stands for `%{part.name}%`")
        parts.append(part)
    return parts


def _texts(path: str, values: Sequence[SigmaString]) -> ast.Expr:
    """The test that the field at `path` has one of the texts: one operator for those that it can hold."""
    patterns: dict[str, list[str]] = {}
    alone: list[ast.Expr] = []
    for value in values:
        operator, text = _operator(path, value)
        if operator:
            patterns.setdefault(operator, []).append(text)
        else:
            alone.append(_pattern(path, value))
    return _or([*(_listed(operator, path, texts) for operator, texts in patterns.items()), *alone])


def _operator(path: str, value: SigmaString) -> tuple[str, str]:
    """The operator that takes this text in a list, and the text for it; "" if it must be tested alone."""
    if field_type(FIELD_TYPES.get(path)) not in (Type.STRING, Type.ANY):
        return "", ""
    parts = _parts(value)
    wild = any(not isinstance(part, str) for part in parts)
    literal = any(isinstance(part, str) and ("*" in part or "?" in part) for part in parts)
    cased = isinstance(value, SigmaCasedString)
    if literal:
        text = "".join(
            regex.escape(part) if isinstance(part, str) else _REGEX[_WILDCARDS[part]] for part in parts
        )
        return ("regex" if cased else "regex~"), text
    text = "".join(part if isinstance(part, str) else _WILDCARDS[part] for part in parts)
    if cased:
        return ("like" if wild else "in"), text
    return ":", text


def _listed(operator: str, path: str, texts: Sequence[str]) -> ast.Expr:
    literals = tuple(map(ast.Literal, dict.fromkeys(texts)))
    if operator == "in" and len(literals) == 1:
        return ast.Comparison("==", ast.Field(path), literals[0])
    if operator == "in":
        return ast.In(ast.Field(path), literals)
    return ast.Pattern(operator, ast.Field(path), literals)


def _pattern(path: str, value: SigmaString) -> ast.Expr:
    """The test of one text, whatever the type of its field."""
    kind = field_type(FIELD_TYPES.get(path))
    operator, text = _operator(path, value)
    if operator:
        return _listed(operator, path, [text])
    plain = _spelled(value)
    number = _number(plain)
    if kind is Type.NUMBER and number is not None:
        return ast.Comparison("==", ast.Field(path), _literal(number))
    if kind is Type.BOOLEAN and plain.lower() in _BOOLEANS:
        return ast.Comparison("==", ast.Field(path), ast.Literal(_BOOLEANS[plain.lower()]))
    if kind is Type.IP and _is_address(plain):
        return ast.Comparison("==", ast.Field(path), ast.Literal(plain))
    text = "".join(part if isinstance(part, str) else _WILDCARDS[part] for part in _parts(value))
    return ast.Pattern(":", ast.Call("string", (ast.Field(path),)), (ast.Literal(text),))


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


# --- everything else -------------------------------------------------------------------------


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else None


def _literal(number: int | float) -> ast.Expr:
    """A number as the parser reads it: a minus is a sign before one."""
    return ast.Negative(ast.Literal(-number)) if number < 0 else ast.Literal(number)


def _numeric(path: str, value: SigmaNumber) -> ast.Expr:
    kind = field_type(FIELD_TYPES.get(path))
    literal = ast.Literal(str(value.number)) if kind is Type.STRING else _literal(value.number)
    return ast.Comparison("==", ast.Field(path), literal)


def _boolean(path: str, value: SigmaBool) -> ast.Expr:
    if field_type(FIELD_TYPES.get(path)) is Type.BOOLEAN:
        return ast.Comparison("==", ast.Field(path), ast.Literal(value.boolean))
    # Events have true as well as "true" and "True"; the text of each is the same but for its case
    return ast.Pattern(":", ast.Field(path), (ast.Literal("true" if value.boolean else "false"),))


def _regular(path: str, value: SigmaRegularExpression) -> ast.Expr:
    if value.contains_placeholder():
        raise RefusedError("placeholder", f"nothing says what stands in `{_shown(value.regexp)}`")
    if SigmaRegularExpressionFlag.MULTILINE in value.flags:
        raise RefusedError("regex", "the flag `m`")
    try:
        found = regex.translate(
            str(value.regexp),
            insensitive=SigmaRegularExpressionFlag.IGNORECASE in value.flags,
            dot_all=SigmaRegularExpressionFlag.DOTALL in value.flags,
        )
    except regex.RegexError as error:
        raise RefusedError("regex", f"{error}: `{_shown(value.regexp)}`") from error
    operator = "regex~" if found.insensitive else "regex"
    of: ast.Expr = ast.Field(path)
    if field_type(FIELD_TYPES.get(path)) not in (Type.STRING, Type.ANY):
        of = ast.Call("string", (of,))
    return ast.Pattern(operator, of, (ast.Literal(found.pattern),))


def _network(path: str, value: SigmaCIDRExpression) -> ast.Expr:
    return ast.Call("cidrMatch", (ast.Field(path), ast.Literal(str(value.network))))


def _compared(path: str, value: SigmaCompareExpression) -> ast.Expr:
    operator = EqlBackend.compare_operators.get(value.op, "!=")
    return ast.Comparison(operator, ast.Field(path), _literal(value.number.number))


def _reference(path: str, other: str, value: SigmaFieldReference) -> ast.Expr:
    kinds = {field_type(FIELD_TYPES.get(each)) for each in (path, other)}
    left, right = ast.Field(path), ast.Field(other)
    if not kinds <= {Type.STRING, Type.ANY}:
        return ast.Comparison("==", left, right)
    if value.starts_with and value.ends_with:
        return ast.Call("stringContains", (left, right), insensitive=True)
    if value.starts_with or value.ends_with:
        return ast.Call("startsWith" if value.starts_with else "endsWith", (left, right), insensitive=True)
    return ast.And(
        tuple(ast.Call("endsWith", pair, insensitive=True) for pair in ((left, right), (right, left)))
    )


_LEAVES: dict[type[SigmaType], Callable[[str, Any], ast.Expr]] = {
    SigmaNumber: _numeric,
    SigmaBool: _boolean,
    SigmaRegularExpression: _regular,
    SigmaCIDRExpression: _network,
    SigmaCompareExpression: _compared,
}


def _shown(value: object) -> str:
    text = str(value)
    return text if len(text) <= 80 else f"{text[:79]}…"

"""Names of steps: `[…] as event0`, and `event0.file.path` in a later step.

The grammar sees `event0.file.path` as a field like any other; here the fields of a sequence whose steps have
names get the scope that is meant. Only an earlier step that is no `![…]` can be read, and only by a step.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from difflib import get_close_matches

from detectord.eql import ast
from detectord.eql.diagnostics import Code

Find = Callable[..., None]
"""Reports a code at a span, with a hint and the arguments of its sentence."""

# No schema has fields that begin like this; rules name their events so
_NAME_OF_AN_EVENT = re.compile(r"_?event[0-9]+")


def resolve_aliases(query: ast.Query, find: Find) -> ast.Query:
    """The query, in which fields of named steps have their scope. The walk recurses over conditions; the
    parser has bounded how deep they are nested."""
    body = query.body
    if not isinstance(body, ast.Sequence):
        return query
    steps, until = _resolved(body.steps, body.until, find)
    return replace(query, body=replace(body, steps=tuple(steps), until=until))


def _resolved(
    steps: Sequence[ast.Step], until: ast.Step | None, find: Find
) -> tuple[list[ast.Step], ast.Step | None]:
    names: list[str] = []
    for step in (*steps, *([until] if until else [])):
        if step.alias:
            _check_name(step, step is until, names, find)
            names.append(step.alias)
    resolved: list[ast.Step] = []
    earlier: list[str] = []
    for step in steps:
        place = "in a missing step" if step.missing else ""
        reader = _Reader(names, [] if step.missing else earlier, place, find)
        resolved.append(reader.step(step))
        if step.alias and not step.missing:
            earlier.append(step.alias)
    if until is not None:
        until = _Reader(names, [], "in `until`", find).step(until)
    return resolved, until


def _check_name(step: ast.Step, is_until: bool, names: Collection[str], find: Find) -> None:
    place = (
        "`until`"
        if is_until
        else "a missing step"
        if step.missing
        else "a step with `runs`"
        if step.runs > 1
        else ""
    )
    if place:
        find(Code.ALIAS_MISPLACED, step.alias_span, place=place)
    elif step.alias in names:
        find(Code.ALIAS_TWICE, step.alias_span, name=step.alias)


class _Reader:
    """Gives the fields of one step their scopes."""

    def __init__(self, names: Sequence[str], readable: Iterable[str], place: str, find: Find) -> None:
        self._names = names
        self._readable = tuple(readable)
        self._place = place
        self._find = find

    def step(self, step: ast.Step) -> ast.Step:
        """The step with its fields resolved. Join keys are fields of its own event."""
        condition = self._expr(step.event.condition)
        if condition is step.event.condition:
            return step
        return replace(step, event=replace(step.event, condition=condition))

    def _expr(self, expr: ast.Expr) -> ast.Expr:
        match expr:
            case ast.Field():
                return self._field(expr)
            case ast.And(operands) | ast.Or(operands):
                return self._with(expr, operands=self._all(operands))
            case ast.Not(operand) | ast.Negative(operand):
                return self._with(expr, operand=self._expr(operand))
            case ast.Comparison(left=left, right=right) | ast.Arithmetic(left=left, right=right):
                return self._with(expr, left=self._expr(left), right=self._expr(right))
            case ast.In(value=value, items=items):
                return self._with(expr, value=self._expr(value), items=self._all(items))
            case ast.Pattern(value=value):
                return self._with(expr, value=self._expr(value))
            case ast.Call(args=args):
                return self._with(expr, args=self._all(args))
            case ast.ArraySearch(array=array, condition=condition):
                return self._with(expr, array=self._field(array), condition=self._expr(condition))
            case ast.Lineage(event=event):
                inner = _Reader(self._names, (), "in a `… of`", self._find)
                return self._with(expr, event=replace(event, condition=inner._expr(event.condition)))
            case ast.Literal():
                return expr

    def _all(self, exprs: Iterable[ast.Expr]) -> tuple[ast.Expr, ...]:
        return tuple(map(self._expr, exprs))

    def _with(self, expr: ast.Expr, **parts: object) -> ast.Expr:
        """The expression with these parts, itself if they are what it has."""
        if all(getattr(expr, name) == part for name, part in parts.items()):
            return expr
        return replace(expr, **parts)  # type: ignore[arg-type]  # the parts of its own class

    def _field(self, field: ast.Field) -> ast.Field:
        name, _, path = field.path.partition(".")
        if field.scope:
            return field
        if name in self._names:
            if name not in self._readable or not path:
                place = self._place or ("here: it is not an earlier step" if path else "by itself")
                hint = "" if path else f"name a field of it: `{name}.file.path`"
                self._find(Code.ALIAS_NOT_READABLE, field.span, hint, name=name, place=place)
            return replace(field, path=path or name, scope=name)
        if _NAME_OF_AN_EVENT.fullmatch(name) and path:
            close = get_close_matches(name, self._names, n=1)
            hint = f"did you mean `{close[0]}`?" if close else ""
            self._find(Code.UNKNOWN_ALIAS, field.span, hint, name=name)
        return field

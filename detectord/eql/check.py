"""Checks a query for what its grammar cannot see: keys, steps, pipes here; expressions in conditions.py.

Everything is checked that needs only the query, and what needs the types of fields where these are
given. A finding never hides the next; only their number is bounded.
"""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from types import MappingProxyType

from detectord.eql import ast
from detectord.eql.conditions import Conditions, UnknownFields
from detectord.eql.constants import constant
from detectord.eql.diagnostics import Code, Diagnostic
from detectord.eql.source import Span
from detectord.eql.types import Type

__all__ = ["MAX_FINDINGS", "MAX_STEPS", "UnknownFields", "check"]

MAX_FINDINGS = 100
MAX_STEPS = 1_000
"""Most steps of a sequence, after `runs` has repeated them."""

MAX_SAMPLE_STEPS = 20
"""Most steps of a sample: all its events are weighed against each other."""

_MAX_COUNT = 2**31 - 1
_LONGEST_NAME = 40
_LIMITS = ("head", "tail")
_FOREIGN_PIPES = ("count", "filter", "sort", "unique", "unique_count")
_NO_TYPES: Mapping[str, str] = MappingProxyType({})


def check(
    query: ast.Query,
    *,
    types: Mapping[str, str] = _NO_TYPES,
    stream: bool = True,
    unknown_fields: UnknownFields = "pass",
) -> tuple[Diagnostic, ...]:
    """The findings in a query, in the order of the text.

    `types` has the Elasticsearch types of fields by path (`{"process.pid": "long"}`). `stream` says
    that the query is to run over an endless stream, where no pipe has a meaning. `unknown_fields` says
    what becomes of a field that `types` does not have and that is not marked with `?`.
    """
    checker = _Checker(types, stream, unknown_fields)
    checker.query(query)
    return tuple(sorted(checker.found, key=lambda diagnostic: diagnostic.span.start))


class _Checker:
    """One run over one query."""

    def __init__(self, types: Mapping[str, str], stream: bool, unknown_fields: UnknownFields) -> None:
        self.found: list[Diagnostic] = []
        self.stream = stream
        self.conditions = Conditions(types, self.report, unknown_fields)

    def report(self, diagnostic: Diagnostic) -> None:
        if len(self.found) < MAX_FINDINGS:
            self.found.append(diagnostic)

    def find(self, code: Code, span: Span, hint: str = "", /, **args: object) -> None:
        self.report(Diagnostic(code, span, args, hint))

    def query(self, query: ast.Query) -> None:
        body = query.body
        if isinstance(body, ast.EventQuery):
            self.conditions.check(body.condition)
        else:
            self.steps(body)
            if isinstance(body, ast.Sequence):
                self.sequence(body)
            else:
                self.unordered(body)
        for pipe in query.pipes[:MAX_FINDINGS]:  # more say nothing new
            self.pipe(pipe)

    # -- steps and keys

    def steps(self, body: ast.Sequence | ast.Sample | ast.Join) -> None:
        """What holds for all three."""
        until = None if isinstance(body, ast.Sample) else body.until
        kind = type(body).__name__.lower()
        count = sum(step.runs for step in body.steps)
        if count < 2:
            self.find(Code.TOO_FEW_STEPS, _word(body, kind), kind=kind)
        limit = MAX_STEPS if isinstance(body, ast.Sequence) else MAX_SAMPLE_STEPS
        if count > limit:
            self.find(Code.TOO_MANY_STEPS, _word(body, kind), actual=count, limit=limit)
        for key in body.keys:
            self.key(key)
        for step in (*body.steps, *([until] if until else [])):
            self.conditions.check(step.event.condition, must_hold=not step.missing and step is not until)
            for key in step.keys:
                self.key(key)
        self.matching_keys(body, until)
        if until is not None:
            if until.missing:
                self.find(Code.MISSING_STEP_MISPLACED, _bracket(until), place="`until`")
            if until.runs != 1:
                self.find(Code.RUNS_MISPLACED, _runs(until), place="`until`")

    def key(self, key: ast.Expr) -> None:
        if not isinstance(key, ast.Field):
            self.find(Code.KEY_NOT_A_FIELD, key.span)
        else:
            self.conditions.field(key)

    def matching_keys(self, body: ast.Sequence | ast.Sample | ast.Join, until: ast.Step | None) -> None:
        """Every step must have as many keys as the first one, of the same types by position."""
        first, *others = body.steps
        for step in (*others, *([until] if until else [])):
            if len(step.keys) != len(first.keys):
                place = step.keys[0].span.to(step.keys[-1].span) if step.keys else _bracket(step)
                common = len(body.keys)
                actual = _count(common + len(step.keys), "join key")
                expected = str(common + len(first.keys))
                self.find(Code.KEY_COUNT, place, actual=actual, expected=expected)
                continue
            for ours, theirs in zip(step.keys, first.keys, strict=True):
                self.same_type(ours, theirs)

    def same_type(self, ours: ast.Expr, theirs: ast.Expr) -> None:
        if not isinstance(ours, ast.Field) or not isinstance(theirs, ast.Field):
            return
        actual, expected = self.conditions.type_of(ours), self.conditions.type_of(theirs)
        if Type.ANY not in (actual, expected) and actual is not expected:
            args = {"name": ours.path, "other": theirs.path}
            self.find(Code.KEY_TYPES, ours.span, actual=actual.noun, expected=expected.noun, **args)

    def sequence(self, body: ast.Sequence) -> None:
        missing = [step for step in body.steps if step.missing]
        if len(missing) == len(body.steps):
            self.find(Code.NO_POSITIVE_STEP, _bracket(missing[0]))
        if body.maxspan is None:
            if missing:
                self.find(Code.MISSING_STEP_WITHOUT_MAXSPAN, _bracket(missing[0]))
            elif self.stream:
                hint = "it gets the time its rule looks back"
                self.find(Code.NO_MAXSPAN, _word(body, "sequence"), hint)

    def unordered(self, body: ast.Sample | ast.Join) -> None:
        kind = type(body).__name__.lower()
        for step in body.steps:
            if step.missing:
                self.find(Code.MISSING_STEP_MISPLACED, _bracket(step), place=f"a {kind}")
            if step.runs != 1:
                self.find(Code.RUNS_MISPLACED, _runs(step), place=f"a {kind}")
            if step.alias:
                self.find(Code.ALIAS_MISPLACED, step.alias_span, place=f"a step of a {kind}")
        if isinstance(body, ast.Sample) and not body.keys and not any(step.keys for step in body.steps):
            self.find(Code.SAMPLE_WITHOUT_KEYS, _word(body, kind), "write `sample by field …`")
        if isinstance(body, ast.Join):
            self.find(Code.JOIN_NOT_SUPPORTED, _word(body, kind))

    # -- pipes

    def pipe(self, pipe: ast.Pipe) -> None:
        if pipe.name in _LIMITS:
            if self.stream:
                hint = "a stream has no first or last result"
                self.find(Code.PIPE_IN_STREAM, pipe.span, hint, name=pipe.name)
            elif len(pipe.args) != 1 or not _is_count(pipe.args[0]):
                self.find(Code.BAD_PIPE_ARGUMENT, pipe.span, name=pipe.name)
        elif pipe.name in _FOREIGN_PIPES:
            self.find(Code.PIPE_NOT_SUPPORTED, pipe.span, name=pipe.name)
        else:
            close = get_close_matches(pipe.name, _LIMITS, n=1) if len(pipe.name) < _LONGEST_NAME else []
            hint = f"did you mean `{close[0]}`?" if close else ""
            self.find(Code.UNKNOWN_PIPE, pipe.span, hint, name=pipe.name)


def _is_count(expr: ast.Expr) -> bool:
    """True for what is a whole number without any event: a literal, or arithmetic with literals."""
    value = constant(expr)
    return type(value) is int and 0 <= value <= _MAX_COUNT


def _word(body: ast.Node, word: str) -> Span:
    """The place of the word a statement begins with."""
    return Span(body.span.start, body.span.start + len(word))


def _bracket(step: ast.Step) -> Span:
    """The place of a step's opening bracket."""
    return Span(step.span.start, step.span.start + (2 if step.missing else 1))


def _runs(step: ast.Step) -> Span:
    """The place of the number of runs, which ends a step."""
    return Span(max(step.span.start, step.span.end - len(str(step.runs))), step.span.end)


def _count(number: int, noun: str) -> str:
    return f"{number or 'no'} {noun}{'' if number == 1 else 's'}"

"""From a rule to its matchers: the stages in order, each a function from draft to draft.

A stage looks at one draft and returns another; it can be run, timed and tested alone, and `render` of the
drafts between is what golden files hold. The timer is handed in: the compiler reads no clock.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace

from detectord.compiler.compiled import CompiledRule, CompiledStep, KeyField, Matcher
from detectord.compiler.emit import MAX_COMBINATIONS, Overflow, emit_source, load_matcher
from detectord.compiler.fingerprint import fingerprint
from detectord.compiler.lower import lower_condition
from detectord.compiler.order import order_predicate
from detectord.compiler.predicates import TRUE, Predicate, render
from detectord.compiler.simplify import simplify_predicate
from detectord.eql import ast
from detectord.events.fields import FIELD_TYPES
from detectord.rules.rule import Rule

Timer = Callable[[str], AbstractContextManager[object]]
"""Given the name of a stage, a context that measures it."""


def untimed(stage: str) -> AbstractContextManager[object]:  # noqa: ARG001  # the shape of a Timer
    """Measures nothing."""
    return nullcontext()


@dataclass(frozen=True, slots=True)
class StepDraft:
    """A step on its way: what was written, and what the stages have made of it so far."""

    query: ast.EventQuery
    keys: tuple[KeyField, ...]
    predicate: Predicate = TRUE
    source: str = ""
    matcher: Matcher | None = None

    def text(self) -> str:
        """The step as it stands, for people and golden files."""
        category = "any" if self.query.category is None else self.query.category
        return self.source or f"{category} where\n{render(self.predicate)}\n"


@dataclass(frozen=True, slots=True)
class Draft:
    """A rule on its way through the stages."""

    rule: Rule
    types: Mapping[str, str]
    steps: tuple[StepDraft, ...]
    combinations: int
    overflow: Callable[[], bool]

    @classmethod
    def of(
        cls,
        rule: Rule,
        types: Mapping[str, str] = FIELD_TYPES,
        combinations: int = MAX_COMBINATIONS,
        overflow: Callable[[], bool] | None = None,
    ) -> Draft:
        """The rule with its steps taken apart.

        Raises:
            ValueError: the query has a form that is not supported yet.
        """
        overflow = Overflow() if overflow is None else overflow
        return cls(rule, types, _steps(rule.query.body, types), combinations, overflow)

    def freeze(self) -> CompiledRule:
        """The result, after the last stage."""
        rule, body = self.rule, self.rule.query.body
        maxspan = None
        if isinstance(body, ast.Sequence):
            maxspan = rule.look_back if body.maxspan is None else body.maxspan
        return CompiledRule(
            rule=rule,
            is_sequence=isinstance(body, ast.Sequence),
            steps=tuple(map(_frozen, self.steps)),
            maxspan=maxspan,
            match_hash=self._match_hash(maxspan),
            host_position=_host_position(self.steps),
            category_field=rule.category_field,
            timestamp_field=rule.timestamp_field,
            tiebreaker_field=rule.tiebreaker_field,
        )

    def _match_hash(self, maxspan: int | None) -> str:
        rule = self.rule
        keys = tuple(step.keys for step in self.steps)
        fields = (rule.category_field, rule.timestamp_field, rule.tiebreaker_field)
        return fingerprint((rule.query, keys, maxspan, rule.index, fields))

    def map(self, change: Callable[[StepDraft], StepDraft]) -> Draft:
        """The draft with every step changed."""
        return replace(self, steps=tuple(map(change, self.steps)))


Stage = Callable[[Draft], Draft]


def lower(draft: Draft) -> Draft:
    """Syntax tree → predicates: `in`, `:` and `like` become sets and patterns."""
    return draft.map(lambda step: replace(step, predicate=lower_condition(step.query.condition, draft.types)))


def simplify(draft: Draft) -> Draft:
    """Fold constants, flatten and/or, push `not` inwards, join leaves."""
    return draft.map(lambda step: replace(step, predicate=simplify_predicate(step.predicate)))


def order(draft: Draft) -> Draft:
    """Cheap tests first."""
    return draft.map(lambda step: replace(step, predicate=order_predicate(step.predicate)))


def emit(draft: Draft) -> Draft:
    """Predicates → one Python function a step."""
    rule = draft.rule

    def emitted(step: StepDraft) -> StepDraft:
        source = emit_source(step.predicate, step.query.category, rule.category_field)
        name = f"<matcher of {rule.rule_id}>"
        matcher = load_matcher(source, name, combinations=draft.combinations, overflow=draft.overflow)
        return replace(step, source=source, matcher=matcher)

    return draft.map(emitted)


STAGES: tuple[Stage, ...] = (
    lower,
    simplify,
    order,
    emit,
)


def compile_rule(
    rule: Rule,
    *,
    types: Mapping[str, str] = FIELD_TYPES,
    timed: Timer = untimed,
    combinations: int = MAX_COMBINATIONS,
    overflow: Callable[[], bool] | None = None,
) -> CompiledRule:
    """Compile a rule whose query has been checked.

    `types` is the Elasticsearch type by path of the fields whose type is known. `combinations` is how many
    combinations of field values one leaf may try on an event; of one with more, `overflow` is called
    and the leaf is what it returns: an `Overflow` counts and says false. Pipes are the caller's.

    Raises:
        ValueError: the query has a form that is not supported yet, or is nested too deep to be compiled.
    """
    draft = Draft.of(rule, types, combinations, overflow)
    for stage in STAGES:
        with timed(stage.__name__):
            try:
                draft = stage(draft)
            except RecursionError:
                raise ValueError("the query is nested too deep") from None
    return draft.freeze()


# --- steps -----------------------------------------------------------------------------------


def _steps(body: object, types: Mapping[str, str]) -> tuple[StepDraft, ...]:
    if isinstance(body, ast.EventQuery):
        return (StepDraft(body, ()),)
    if not isinstance(body, ast.Sequence):
        raise ValueError(f"a {type(body).__name__.lower()} is not supported yet")  # noqa: TRY004  # see compile_rule
    if body.until is not None or any(step.missing or step.runs != 1 for step in body.steps):
        raise ValueError("`until`, missing steps and `runs` are not supported yet")
    return tuple(
        StepDraft(step.event, tuple(_key(key, types) for key in (*body.keys, *step.keys)))
        for step in body.steps
    )


def _key(key: ast.Expr, types: Mapping[str, str]) -> KeyField:
    if not isinstance(key, ast.Field):
        raise ValueError("a join key is a field")  # noqa: TRY004  # a value of our own types
    return KeyField(key.path, key.optional, types.get(key.path))


def _host_position(steps: tuple[StepDraft, ...]) -> int | None:
    """The first key position that is host.id in every step, mandatory: its value tells the host."""
    host = ("host.id", False)
    columns = zip(*(step.keys for step in steps), strict=True)
    return next(
        (place for place, column in enumerate(columns) if all((k.path, k.optional) == host for k in column)),
        None,
    )


def _frozen(step: StepDraft) -> CompiledStep:
    assert step.matcher is not None
    return CompiledStep(step.query.category, step.matcher, step.keys, step.source)

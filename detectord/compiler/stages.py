"""From a rule to its matchers: the stages in order, each a function from draft to draft.

A stage looks at one draft and returns another; it can be run, timed and tested alone, and `render` of the
drafts between is what golden files hold. The timer is handed in: the compiler reads no clock.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any, Literal

from detectord.compiler.compiled import (
    CompiledRule,
    CompiledStep,
    JointMatcher,
    KeyField,
    Matcher,
    Role,
)
from detectord.compiler.emit import MAX_COMBINATIONS, Overflow, emit_source, load_matcher
from detectord.compiler.fingerprint import fingerprint
from detectord.compiler.lower import lower_condition
from detectord.compiler.order import order_predicate
from detectord.compiler.predicates import (
    TRUE,
    Predicate,
    aliases,
    in_company,
    needs_company,
    possible,
    render,
)
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
    role: Role = Role.POSITIVE
    stage: int = 0
    runs: int = 1
    number: int = 0
    place: int = 0
    alias: str = ""
    predicate: Predicate = TRUE
    joint: Predicate | None = None
    source: str = ""
    matcher: Matcher | None = None
    joint_matcher: JointMatcher | None = None

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
        return cls(rule, types, _steps(rule.query.body, types, rule.filter), combinations, overflow)

    def freeze(self) -> CompiledRule:
        """The result, after the last stage."""
        rule, body = self.rule, self.rule.query.body
        maxspan = None
        if not isinstance(body, ast.EventQuery):
            written = body.maxspan if isinstance(body, ast.Sequence) else None
            maxspan = rule.look_back if written is None else written
        events = {
            step.alias: sum(before.runs for before in self.steps[:number] if before.role is Role.POSITIVE)
            for number, step in enumerate(self.steps)
            if step.alias
        }
        return CompiledRule(
            rule=rule,
            kind=_kind(body),
            steps=tuple(_frozen(step, events) for step in self.steps),
            maxspan=maxspan,
            match_hash=self._match_hash(maxspan),
            host_position=_host_position(self.steps),
            category_field=rule.category_field,
            timestamp_field=rule.timestamp_field,
            tiebreaker_field=rule.tiebreaker_field,
            hidden_keys=self.hidden_keys,
        )

    def _match_hash(self, maxspan: int | None) -> str:
        rule = self.rule
        keys = tuple(step.keys for step in self.steps if step.role is not Role.INNER)
        fields = (rule.category_field, rule.timestamp_field, rule.tiebreaker_field)
        return fingerprint((rule.query, rule.filter, keys, maxspan, rule.index, rule.ignore_index, fields))

    @property
    def hidden_keys(self) -> int:
        """1 if the steps have a key before those that the author wrote."""
        return int(bool(self.steps[0].keys) and self.steps[0].keys[0] is HOST)

    def map(self, change: Callable[[StepDraft], StepDraft]) -> Draft:
        """The draft with every step changed."""
        return replace(self, steps=tuple(map(change, self.steps)))


Stage = Callable[[Draft], Draft]


def lower(draft: Draft) -> Draft:
    """Syntax tree → predicates: `in`, `:` and `like` become sets and patterns; inner queries become steps."""
    inner: list[ast.EventQuery] = []
    steps: list[StepDraft] = []
    pending = list(draft.steps)
    while pending:
        step = pending.pop(0)
        known = len(inner)
        steps.append(replace(step, predicate=lower_condition(step.query.condition, draft.types, inner)))
        pending += [
            StepDraft(_filtered(query, draft.rule.filter), (), Role.INNER, number)
            for number, query in enumerate(inner[known:], start=known)
        ]
    lowered = replace(draft, steps=tuple(steps))
    is_on_a_host = draft.rule.dialect == "endpoint" and not isinstance(draft.rule.query.body, ast.EventQuery)
    return _by_host(lowered) if inner or is_on_a_host else lowered


def _by_host(draft: Draft) -> Draft:
    """A process has relatives on its own host only, so whatever asks for them is kept by host. So is a
    sequence of an endpoint rule: on the endpoint it saw one host, and joins files by path, processes by
    pid."""
    return draft.map(lambda step: replace(step, keys=(HOST, *step.keys)))


def simplify(draft: Draft) -> Draft:
    """Fold constants, flatten and/or, push `not` inwards, join leaves."""
    return draft.map(lambda step: replace(step, predicate=simplify_predicate(step.predicate)))


def separate(draft: Draft) -> Draft:
    """What an event must have in any company apart from what it needs company for."""

    def separated(step: StepDraft) -> StepDraft:
        if not needs_company(step.predicate):
            return step
        at_once = simplify_predicate(possible(step.predicate))
        return replace(step, predicate=at_once, joint=in_company(step.predicate))

    return draft.map(separated)


def order(draft: Draft) -> Draft:
    """Cheap tests first."""

    def ordered(step: StepDraft) -> StepDraft:
        joint = None if step.joint is None else order_predicate(step.joint)
        return replace(step, predicate=order_predicate(step.predicate), joint=joint)

    return draft.map(ordered)


def emit(draft: Draft) -> Draft:
    """Predicates → one Python function a step."""
    rule = draft.rule

    name = f"<matcher of {rule.rule_id}>"

    def load(source: str) -> Any:
        return load_matcher(source, name, combinations=draft.combinations, overflow=draft.overflow)

    def emitted(step: StepDraft) -> StepDraft:
        source = emit_source(step.predicate, step.query.category, rule.category_field)
        step = replace(step, source=source, matcher=load(source))
        if step.joint is None:
            return step
        joint = emit_source(step.joint, step.query.category, rule.category_field)
        return replace(step, source=f"{source}\n\n# in company:\n{joint}", joint_matcher=load(joint))

    return draft.map(emitted)


STAGES: tuple[Stage, ...] = (
    lower,
    simplify,
    separate,
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


def _steps(
    body: ast.EventQuery | ast.Sequence | ast.Sample | ast.Join,
    types: Mapping[str, str],
    required: ast.Expr | None,
) -> tuple[StepDraft, ...]:
    if isinstance(body, ast.EventQuery):
        return (StepDraft(_filtered(body, required), ()),)
    if isinstance(body, ast.Join):
        raise ValueError("a join is not supported")  # noqa: TRY004  # see compile_rule
    drafts: list[StepDraft] = []
    stage = place = 0
    for number, step in enumerate(body.steps):
        draft = StepDraft(
            _filtered(step.event, required),
            tuple(_key(key, types) for key in (*body.keys, *step.keys)),
            Role.MISSING if step.missing else Role.POSITIVE,
            stage,
            step.runs,
            number,
            place,
            step.alias,
        )
        # Each of the steps that runs stand for has a partial of its own to ask
        apart = step.runs if not step.missing and _reads_aliases(step) else 1
        for run in range(apart):
            drafts.append(replace(draft, stage=stage, runs=step.runs // apart, place=place + run))
            stage += not step.missing
        place += step.runs
    until = body.until if isinstance(body, ast.Sequence) else None
    if until is not None:
        keys = tuple(_key(key, types) for key in (*body.keys, *until.keys))
        drafts.append(StepDraft(_filtered(until.event, required), keys, Role.UNTIL))
    return tuple(drafts)


def _reads_aliases(step: ast.Step) -> bool:
    pending: list[ast.Expr] = [step.event.condition]
    while pending:
        expr = pending.pop()
        if isinstance(expr, ast.Field) and expr.scope and not expr.scope.startswith("$"):
            return True
        pending += ast.children(expr)
    return False


def _kind(body: object) -> Literal["event", "sequence", "sample"]:
    if isinstance(body, ast.EventQuery):
        return "event"
    return "sample" if isinstance(body, ast.Sample) else "sequence"


HOST = KeyField("host.id", optional=True, type="keyword", single=True)
"""The key before all others of a rule that is kept by host."""


def _filtered(event: ast.EventQuery, required: ast.Expr | None) -> ast.EventQuery:
    """A step that looks only at events which satisfy the rule's filter."""
    if required is None:
        return event
    return replace(event, condition=ast.And((event.condition, required)))


def _key(key: ast.Expr, types: Mapping[str, str]) -> KeyField:
    if not isinstance(key, ast.Field):
        raise ValueError("a join key is a field")  # noqa: TRY004  # a value of our own types
    return KeyField(key.path, key.optional, types.get(key.path))


def _host_position(steps: tuple[StepDraft, ...]) -> int | None:
    """The first key position that is host.id in every step: its value tells the host."""
    columns = zip(*(step.keys for step in steps), strict=True)
    return next(
        (place for place, column in enumerate(columns) if all(k.path == HOST.path for k in column)),
        None,
    )


def _frozen(step: StepDraft, events: Mapping[str, int]) -> CompiledStep:
    assert step.matcher is not None
    reads = () if step.joint is None else tuple((name, events[name]) for name in sorted(aliases(step.joint)))
    return CompiledStep(
        step.query.category,
        step.matcher,
        step.keys,
        step.source,
        step.role,
        step.stage,
        step.runs,
        step.number,
        step.place,
        step.joint_matcher,
        reads,
        step.predicate,
    )

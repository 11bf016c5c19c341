"""What a load gave, for the operator: how many rules of which kind, and how each sequence is bounded and
where it runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from detectord.eql import ast
from detectord.rules.rule import Rule
from detectord.rules.schema import spelled_span

HOST = "host.id"


def kind_of_rule(rule: Rule) -> str:
    """`event`, `sequence` or `sample`."""
    body = rule.query.body
    return "event" if isinstance(body, ast.EventQuery) else type(body).__name__.lower()


def routing(rule: Rule) -> str:
    """Where a sequence or sample is put together: `host` if all its steps are joined by host.id, else
    `global`; empty for an event rule."""
    body = rule.query.body
    if isinstance(body, ast.EventQuery):
        return ""
    columns = zip(*((*body.keys, *step.keys) for step in body.steps), strict=False)
    return "host" if any(all(map(_is_host, column)) for column in columns) else "global"


def _is_host(key: ast.Expr) -> bool:
    return isinstance(key, ast.Field) and key.path == HOST and not key.optional


def has_implicit_maxspan(rule: Rule) -> bool:
    """True for a sequence whose span is the rule's look-back because it has none of its own."""
    return isinstance(rule.query.body, ast.Sequence) and rule.query.body.maxspan is None


def span_of(rule: Rule) -> int:
    """The span of a sequence, or of the window of a sample, in nanoseconds."""
    body = rule.query.body
    written = body.maxspan if isinstance(body, ast.Sequence) else None
    return rule.look_back if written is None else written


def report(rules: Sequence[Rule]) -> dict[str, object]:
    """The rules in numbers, and every sequence and sample, as plain values for JSON."""
    counts = Counter(kind_of_rule(rule) for rule in rules)
    return {
        "kinds": {kind: counts[kind] for kind in ("event", "sequence", "sample")},
        "endpoint": _count(rule.dialect == "endpoint" for rule in rules),
        "building_blocks": _count(bool(rule.building_block_type) for rule in rules),
        "disabled": _count(not rule.enabled for rule in rules),
        "sequences": [_sequence(rule) for rule in rules if kind_of_rule(rule) != "event"],
    }


def _count(verdicts: Iterable[bool]) -> int:
    return sum(verdicts)


def _sequence(rule: Rule) -> dict[str, object]:
    return {
        "rule_id": rule.rule_id,
        "name": rule.name,
        "file": rule.path,
        "kind": kind_of_rule(rule),
        "maxspan": spelled_span(span_of(rule)),
        "implicit_maxspan": has_implicit_maxspan(rule),
        "routing": routing(rule),
    }

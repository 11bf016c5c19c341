"""What a load gave, for the operator: how many rules of which kind, and how each sequence is bounded and
where it runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from detectord.eql import ast
from detectord.rules.rule import Rule
from detectord.rules.spans import spelled_span

HOST = "host.id"


def kind_of_rule(rule: Rule) -> str:
    """`event`, `sequence` or `sample`."""
    body = rule.query.body
    return "event" if isinstance(body, ast.EventQuery) else type(body).__name__.lower()


def routing(rule: Rule) -> str:
    """Where the state of a rule is kept: `host` if all steps are joined by host.id, the rule asks for a
    process's relatives, or comes from an endpoint; else `global`; empty for a rule without state."""
    body = rule.query.body
    if isinstance(body, ast.EventQuery):
        return "host" if asks_for_relatives(rule) else ""
    if rule.dialect == "endpoint" or asks_for_relatives(rule):
        return "host"
    until = body.until if isinstance(body, ast.Sequence) else None
    steps = (*body.steps, *([until] if until is not None else []))
    columns = zip(*((*body.keys, *step.keys) for step in steps), strict=False)
    by_host = any(all(map(_is_host, column)) for column in columns)
    return "host" if by_host else "global"


def asks_for_relatives(rule: Rule) -> bool:
    """True for a rule with `child of […]` or its like."""
    body = rule.query.body
    if isinstance(body, ast.EventQuery):
        pending = [body.condition]
    else:
        until = None if isinstance(body, ast.Sample) else body.until
        pending = [step.event.condition for step in (*body.steps, *([until] if until else []))]
    while pending:
        expr = pending.pop()
        if isinstance(expr, ast.Lineage):
            return True
        pending += ast.children(expr)
    return False


def _is_host(key: ast.Expr) -> bool:
    return isinstance(key, ast.Field) and key.path == HOST


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

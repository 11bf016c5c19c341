"""What the engine counts: plain numbers under names, which the supervisor adds to the metrics."""

from __future__ import annotations

from collections import Counter

from detectord.compiler.compiled import CompiledRule, CompiledStep, Role

Tallies = Counter[tuple[str, ...]]
"""Plain counts by (name, label values …)."""


def step_label(rule: CompiledRule, step: CompiledStep) -> str:
    """A step as metrics name it: its number as written, or `until`, `inner`, `event`."""
    if step.role in (Role.UNTIL, Role.INNER):
        return str(step.role.value)
    return "event" if rule.kind == "event" else str(step.number)

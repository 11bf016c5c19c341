"""A profile as tables, for `detectord replay --profile`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.table import Table

from detectord.runtime.profile import PartCost, Profile, StepCost

TOP = 15
"""So many lines of each table."""
WIDTH = 120
"""Columns where there is no terminal."""


def show(profile: Profile, console: Console) -> None:
    """Print the profile."""
    if not console.is_terminal:
        console = Console(file=console.file, width=WIDTH)
    console.print(Group(*_parts(profile)))


def _parts(profile: Profile) -> Iterator[RenderableType]:
    if not profile.events:
        yield "profile: too few events; --profile-every 1 looks at every one, as a whole or in parts"
        return
    yield (
        f"profile of {profile.events + profile.parted:,} events: {profile.micros:,.1f} µs an event, of which"
        f" {profile.matching:,.1f} in {len(profile.steps):,} matchers that were asked"
    )
    if not profile.steps:
        return
    yield _steps(profile)
    for title, costs in (("predicates by cost", profile.predicates), ("fields by cost", profile.fields)):
        yield _costs(title, costs) if costs else f"{title}: none was timed in these events"
    yield from _advice(profile.steps[:TOP])


def _steps(profile: Profile) -> Table:
    table = Table(title="rules by cost", title_justify="left")
    for heading in ("µs/event", "share", "asked", "true"):
        table.add_column(heading, justify="right", no_wrap=True, min_width=len(heading))
    table.add_column("rule")
    table.add_column("why")
    for step in profile.steps[:TOP]:
        share = step.micros / profile.matching if profile.matching else 0.0
        table.add_row(
            f"{step.micros:,.2f}",
            f"{share:.1%}",
            f"{step.calls:.1%}",
            f"{step.true:.1%}",
            escape(f"{step.name}, step {step.step}" if step.step else step.name),
            escape("; ".join(map(str, step.because))),
        )
    return table


def _costs(title: str, costs: Sequence[PartCost]) -> Table:
    table = Table(title=title, title_justify="left")
    for heading in ("µs/event", "asked/event", "rules"):
        table.add_column(heading, justify="right", no_wrap=True, min_width=len(heading))
    table.add_column("", no_wrap=True, overflow="ellipsis")
    for cost in costs[:TOP]:
        table.add_row(f"{cost.micros:,.2f}", f"{cost.calls:,.2f}", f"{cost.rules:,}", escape(cost.text))
    return table


def _advice(steps: Sequence[StepCost]) -> Iterator[str]:
    reasons = dict.fromkeys(because.reason for step in steps for because in step.because)
    if reasons:
        yield "what would help:"
    for reason in reasons:
        yield escape(f"- {reason.why.format('a field')}: {reason.advice}")

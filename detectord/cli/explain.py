"""`detectord explain`: what a rule was compiled to."""

from __future__ import annotations

from pathlib import Path

import click

from detectord.cli.exits import ExitCode, Failure
from detectord.cli.output import say
from detectord.compiler import compile_rule
from detectord.compiler.compiled import CompiledRule, CompiledStep, Role
from detectord.config import Duration
from detectord.rules.keys import MATURITIES
from detectord.rules.load import read_contents
from detectord.rules.schema import Reading, ReadOptions


@click.command()
@click.argument("file", metavar="RULE", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def command(file: Path) -> None:
    """Show the matchers that the rules in the file RULE were compiled to. Exceptions are not part of them."""
    contents = read_contents(file, ReadOptions(maturity=MATURITIES))
    readings = [each for each in contents if isinstance(each, Reading) and each.is_rule]
    for reading in readings:
        if reading.rule is None:
            if not reading.findings:
                raise Failure(f"{file}: the rule is deprecated, it never runs", ExitCode.RULES)
            for each in reading.findings:
                say(each.text, err=True)
            raise Failure(f"{file}: the rule is refused", ExitCode.RULES)
        _show(compile_rule(reading.rule))
    if not readings:
        raise Failure(f"{file}: there is no rule in it", ExitCode.RULES)


def _show(compiled: CompiledRule) -> None:
    say(_heading(compiled))
    for number, step in enumerate(compiled.steps):
        say(_step(number, step, compiled))


def _heading(compiled: CompiledRule) -> str:
    rule = compiled.rule
    lines = [f"{rule.name} ({rule.rule_id}, version {rule.version})"]
    lines.append(f"severity {rule.severity}, risk score {rule.risk_score}")
    lines.append(f"index: {', '.join(rule.index) or 'any'}")
    if compiled.is_sequence:
        span = f"maxspan {Duration(compiled.maxspan)}" if compiled.maxspan is not None else "no span"
        bound = "host-bound" if compiled.host_position is not None else "global"
        lines.append(f"{compiled.kind} of {compiled.length} steps, {span}, {bound}")
    lines.append(f"match hash: {compiled.match_hash}")
    return "\n".join(lines)


def _step(number: int, step: CompiledStep, compiled: CompiledRule) -> str:
    keys = ", ".join(key.path + ("?" if key.optional else "") for key in step.keys)
    title = {
        Role.POSITIVE: f"step {number}" if compiled.is_sequence else "event",
        Role.MISSING: f"step {number}, missing",
        Role.UNTIL: "until",
        Role.INNER: f"inner query {step.stage}",
    }[step.role]
    runs = f", {step.runs} times" if step.runs > 1 else ""
    by = f", by {keys}" if keys else ""
    return f"\n# {title}: {step.category or 'any'}{runs}{by}\n{step.source.rstrip()}"

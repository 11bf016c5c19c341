"""`detectord check`: the ledger of a folder of rules."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import click

from detectord.cli.exits import ExitCode
from detectord.cli.options import cached, ruled
from detectord.cli.output import say
from detectord.cli.sarif import sarif
from detectord.events.fields import FIELD_TYPES
from detectord.rules.ledger import Loaded
from detectord.rules.load import load
from detectord.rules.policy import Policy
from detectord.rules.report import has_implicit_maxspan, kind_of_rule, routing, span_of
from detectord.rules.rule import Rule
from detectord.rules.spans import spelled_span


@click.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option(
    "--format", "form", type=click.Choice(["text", "json", "sarif"]), default="text", show_default=True
)
@click.option(
    "--maturity",
    multiple=True,
    default=("production",),
    show_default=True,
    help="Maturities that are loaded. May be repeated.",
)
@click.option("--strict", is_flag=True, help="Refuse a rule that asks for a field no schema knows.")
@click.option("--verbose", "-v", is_flag=True, help="Also a line for each sequence and sample.")
@ruled
@cached
@click.pass_context
def command(
    ctx: click.Context,
    paths: tuple[Path, ...],
    form: str,
    maturity: tuple[str, ...],
    strict: bool,
    verbose: bool,
    policy: Policy,
    cache: Path | None,
) -> None:
    """Load the rules in PATHS and say which are refused, and why.

    Exits 65 if a rule is refused for another reason than its type.
    """
    loaded = load(
        paths,
        maturity=maturity,
        types=FIELD_TYPES,
        strict_fields=strict,
        policy=policy,
        now=datetime.now(UTC),
        cache=cache,
    )
    if form != "text":
        log = loaded.ledger() if form == "json" else sarif(loaded)
        click.echo(json.dumps(log, indent=2, ensure_ascii=False))
    else:
        _print(loaded, verbose=verbose)
    ctx.exit(ExitCode.RULES if loaded.failed else ExitCode.OK)


def _print(loaded: Loaded, *, verbose: bool) -> None:
    failed = set(map(id, loaded.failed))
    for refusal in loaded.refused:
        if id(refusal) in failed:
            say(refusal.message)
        else:
            say(f"{refusal.file}: left out: {refusal.reason}")
    for warning in loaded.warnings:
        say(warning.message)
    if verbose:
        for rule in loaded.rules:
            _print_sequence(rule)
    _print_kinds(loaded)
    reasons = Counter(refusal.reason for refusal in loaded.refused)
    why = ", ".join(f"{number} {reason}" for reason, number in sorted(reasons.items()))
    parts = [f"{len(loaded.rules)} loaded", f"{len(loaded.refused)} refused" + (f" ({why})" if why else "")]
    if loaded.warnings:
        parts.append(f"{len(loaded.warnings)} warnings")
    if loaded.skipped:
        parts.append(f"{loaded.skipped} of another maturity")
    if loaded.unselected:
        parts.append(f"{loaded.unselected} not selected")
    say(", ".join(parts))


def _print_sequence(rule: Rule) -> None:
    """How a sequence or sample is bounded, and where it is put together."""
    if kind_of_rule(rule) == "event":
        return
    span = spelled_span(span_of(rule)) + (" (implicit_maxspan)" if has_implicit_maxspan(rule) else "")
    bound = "host-bound" if routing(rule) == "host" else "global"
    say(f"{rule.path}: {kind_of_rule(rule)}, maxspan {span}, {bound}: {rule.name}")


def _print_kinds(loaded: Loaded) -> None:
    """The rules in numbers."""
    kinds = Counter(kind_of_rule(rule) for rule in loaded.rules)
    parts = [f"{number} {kind} rule{'s' if number != 1 else ''}" for kind, number in sorted(kinds.items())]
    several = [rule for rule in loaded.rules if kind_of_rule(rule) != "event"]
    for what, number in (
        ("host-bound", sum(routing(rule) == "host" for rule in several)),
        ("global", sum(routing(rule) == "global" for rule in several)),
        ("with implicit_maxspan", sum(map(has_implicit_maxspan, loaded.rules))),
        ("building blocks", sum(bool(rule.building_block_type) for rule in loaded.rules)),
        ("disabled", sum(not rule.enabled for rule in loaded.rules)),
    ):
        if number:
            parts.append(f"{number} {what}")
    if parts:
        say(", ".join(parts))

"""`detectord check`: the ledger of a folder of rules."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import click

from detectord.cli.exits import ExitCode
from detectord.cli.options import cached
from detectord.cli.sarif import sarif
from detectord.events.fields import FIELD_TYPES
from detectord.rules.load import Loaded, load


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
@cached
@click.pass_context
def command(
    ctx: click.Context,
    paths: tuple[Path, ...],
    form: str,
    maturity: tuple[str, ...],
    strict: bool,
    cache: Path | None,
) -> None:
    """Load the rules in PATHS and say which are refused, and why.

    Exits 65 if a rule is refused for another reason than its type.
    """
    loaded = load(paths, maturity=maturity, types=FIELD_TYPES, strict_fields=strict, cache=cache)
    if form != "text":
        log = loaded.ledger() if form == "json" else sarif(loaded)
        click.echo(json.dumps(log, indent=2, ensure_ascii=False))
    else:
        _print(loaded)
    ctx.exit(ExitCode.RULES if loaded.failed else ExitCode.OK)


def _print(loaded: Loaded) -> None:
    failed = set(map(id, loaded.failed))
    for refusal in loaded.refused:
        if id(refusal) in failed:
            click.echo(refusal.message)
        else:
            click.echo(f"{refusal.file}: left out: {refusal.reason}")
    for warning in loaded.warnings:
        click.echo(warning.message)
    reasons = Counter(refusal.reason for refusal in loaded.refused)
    why = ", ".join(f"{number} {reason}" for reason, number in sorted(reasons.items()))
    parts = [f"{len(loaded.rules)} loaded", f"{len(loaded.refused)} refused" + (f" ({why})" if why else "")]
    if loaded.warnings:
        parts.append(f"{len(loaded.warnings)} warnings")
    if loaded.skipped:
        parts.append(f"{loaded.skipped} of another maturity")
    click.echo(", ".join(parts))

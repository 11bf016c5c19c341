"""`detectord import`: rules in the forms of others become rule files.

`import sigma` needs the extra `sigma` of the package; it is imported when the command runs.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from detectord.cli.exits import ExitCode, Failure, explained
from detectord.cli.output import say
from detectord.rules.files import LEDGER
from detectord.sigma.documents import read
from detectord.sigma.ledger import Ledger

if TYPE_CHECKING:
    from detectord.sigma.convert import Converted

_EXTRA = ("sigma", "tomlkit")
_SHOWN = 20


@click.group()
def command() -> None:
    """Turn the rules of others into rule files."""


@command.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option(
    "--output",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Where the rule files and the ledger go.",
)
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.pass_context
def sigma(ctx: click.Context, paths: tuple[Path, ...], output: Path, form: str) -> None:
    """Convert the Sigma rules in PATHS.

    These are files, or directories with .yml and .yaml files in them.

    Writes a rule file for each rule that can be said in EQL, and import-ledger.json with what became of
    every rule. Exits 65 if none was converted.
    """
    results = _converted(paths)
    ledger = Ledger(tuple(result.entry for result in results))
    with explained((OSError, ExitCode.FAILED)):
        stale = _write(results, ledger, output)
    if form == "json":
        click.echo(json.dumps({**ledger.as_json(), "stale": stale}, indent=2, ensure_ascii=False))
    else:
        _print(ledger, stale, output)
    ctx.exit(ExitCode.OK if ledger.converted else ExitCode.RULES)


def _converted(paths: Sequence[Path]) -> list[Converted]:
    try:
        from detectord.sigma.convert import convert
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _EXTRA:
            raise
        raise Failure(
            "importing Sigma rules needs pySigma, which is not installed: pip install 'detectord[sigma]'",
            ExitCode.FAILED,
        ) from error
    return list(convert(read(paths)))


def _write(results: Sequence[Converted], ledger: Ledger, output: Path) -> list[str]:
    """Write the rule files and the ledger; gives the files that only an earlier import wrote."""
    output.mkdir(parents=True, exist_ok=True)
    earlier = _files_of(output / LEDGER)
    for result in results:
        if result.entry.file:
            (output / result.entry.file).write_text(result.text, encoding="utf-8")
    written = {entry.file for entry in ledger.converted}
    stale = sorted(name for name in earlier - written if (output / name).is_file())
    text = json.dumps({**ledger.as_json(), "stale": stale}, indent=2, ensure_ascii=False)
    (output / LEDGER).write_text(text + "\n", encoding="utf-8")
    return stale


def _files_of(path: Path) -> set[str]:
    """The files that an earlier ledger names, or calls stale; none if there is no such ledger."""
    try:
        earlier: Any = json.loads(path.read_text(encoding="utf-8"))
        names = [row.get("file") for row in earlier["rules"]] + earlier["stale"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return set()
    return {name for name in names if isinstance(name, str) and "/" not in name and name.endswith(".toml")}


def _print(ledger: Ledger, stale: Sequence[str], output: Path) -> None:
    refused = [entry for entry in ledger.entries if entry.reason is not None]
    for entry in refused[:_SHOWN]:
        place = f"{entry.source}, document {entry.document}" if entry.document > 1 else entry.source
        say(f"{place}: left out: {entry.reason}: {entry.detail}")
    if len(refused) > _SHOWN:
        say(f"and {len(refused) - _SHOWN} more")
    warnings = sum(len(entry.warnings) for entry in ledger.entries)
    reasons = ", ".join(f"{number} {reason}" for reason, number in ledger.reasons.items())
    say(
        f"{len(ledger.converted)} converted, {len(refused)} left out"
        + (f" ({reasons})" if reasons else "")
        + (f", {warnings} warnings" if warnings else "")
        + f"; see {output / LEDGER}"
    )
    if stale:
        names = ", ".join(stale)
        say(f"left from an earlier import, and not written by this one: {names}")

"""`detectord replay`: the daemon's loop over files of events."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import click
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TimeElapsedColumn, TransferSpeedColumn

from detectord import log
from detectord.cli.exits import ExitCode, explained
from detectord.cli.options import cached, ruled
from detectord.cli.output import say
from detectord.cli.profile import show
from detectord.metrics import TALLIES
from detectord.rules.policy import Policy
from detectord.runtime.profiler import EVERY
from detectord.runtime.replay import NoRulesError, ReplayOptions, Summary, replay
from detectord.runtime.supervisor import CrashLoopError
from detectord.sinks import DeliveryError
from detectord.sources import SourceError

Told = Callable[[int, int | None], None]


class _SeveralValues(click.Command):
    """A command without arguments whose options may take several values: `--rules a b --input c`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        several = {name for p in self.params if p.multiple for name in p.opts}
        spread: list[str] = []
        option, first = "", False
        for arg in args:
            if arg.startswith("-") and arg != "-":
                option, first = arg, True
            elif option in several and not first:
                spread.append(option)
            else:
                first = False
            spread.append(arg)
        return super().parse_args(ctx, spread)


@click.command(cls=_SeveralValues)
@click.option(
    "--rules",
    required=True,
    multiple=True,
    type=click.Path(exists=True, path_type=Path),
    help="Rule files or folders of them; one or several.",
)
@click.option(
    "--input",
    "inputs",
    required=True,
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, allow_dash=True),
    help="Files with one event a line, plain or .gz, or - for standard input; one or several.",
)
@click.option("--workers", type=click.IntRange(1, 256), default=1, show_default=True)
@click.option(
    "--order",
    type=click.Choice(["time", "arrival"]),
    default="time",
    show_default=True,
    help="Answer as a search over all events in order of time, or take the lines as they come.",
)
@click.option(
    "--output",
    type=click.Path(dir_okay=False, allow_dash=True),
    help="Where alerts go, one document a line. Default: standard output.",
)
@click.option("--maturity", multiple=True, default=("production",), show_default=True)
@click.option("--profile", is_flag=True, help="Tell which rules, predicates and fields cost most, and why.")
@click.option(
    "--profile-every",
    type=click.IntRange(1),
    default=EVERY,
    show_default=True,
    help="Of so many events one is looked at for the profile.",
)
@ruled
@cached
def command(
    rules: tuple[Path, ...],
    inputs: tuple[str, ...],
    workers: int,
    order: Literal["time", "arrival"],
    output: str | None,
    maturity: tuple[str, ...],
    profile: bool,
    profile_every: int,
    policy: Policy,
    cache: Path | None,
) -> None:
    """Run the rules over files of events, with the engine that runs in the daemon."""
    options = ReplayOptions(
        rules=rules,
        inputs=inputs,
        workers=workers,
        order=order,
        output=None if output == "-" else output,
        maturity=maturity,
        policy=policy,
        cache=cache,
        profile_every=profile_every if profile else 0,
    )
    log.setup(stream=sys.stderr, level="warning")
    with (
        explained(
            (NoRulesError, ExitCode.RULES),
            (SourceError, ExitCode.FAILED),
            (DeliveryError, ExitCode.FAILED),
            (CrashLoopError, ExitCode.INTERNAL),
        ),
        _progress() as told,
    ):
        summary = replay(options, told)
    _print(summary)
    if profile:
        show(summary.profile, Console(stderr=True))


@contextmanager
def _progress() -> Iterator[Told]:
    """A progress bar where standard error is a terminal, else nothing."""
    console = Console(stderr=True)
    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:
        task = progress.add_task("replay", total=None)
        yield lambda read, total: progress.update(task, completed=read, total=total)


def _print(summary: Summary) -> None:
    """The summary, on standard error: standard output may be the alerts."""
    loaded = summary.loaded
    names = {rule.rule_id: rule.name for rule in loaded.rules}
    rate = f"{summary.records_per_second:,.0f} records/s"
    lines = [
        f"{summary.records:,} records in {summary.seconds:.1f} s, {rate}",
        f"{len(loaded.rules)} rules loaded, {len(loaded.refused)} refused",
        f"{summary.alerts.total():,} alerts",
        *(f"  {number:>7,}  {names.get(rule, rule)}" for rule, number in _most_first(summary.alerts)),
    ]
    if summary.dead_letters:
        lines.append(f"records that were no events: {summary.dead_letters.total():,}")
        for reason, number in _most_first(summary.dead_letters):
            first = summary.bad_records[reason]
            place = f"{first.record.topic}:{first.record.offset}"
            lines.append(f"  {number:>7,}  {reason}, the first at {place}: {first.error}")
    if losses := summary.losses():
        lines.append("what may have cost an alert:")
        for (name, of), number in sorted(losses.items()):
            about = f"{names.get(of, of)}: " if of else ""
            lines.append(f"  {number:>7,}  {about}{TALLIES[name].help}")
    if summary.restarts:
        lines.append(f"{summary.restarts} workers died and were replaced")
    say("\n".join(lines), err=True)


def _most_first(counts: Counter[str]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))

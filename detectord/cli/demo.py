"""`detectord demo`: attacks become alerts, on a broker inside this program."""

from __future__ import annotations

import signal
import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from types import FrameType

import click
import msgspec
from confluent_kafka import KafkaException
from rich.console import Console
from rich.status import Status
from rich.table import Table
from rich.text import Text

from detectord.cli.exits import ExitCode, explained
from detectord.demo.daemon import DaemonError
from detectord.demo.inbox import Alert
from detectord.demo.machines import Document
from detectord.demo.play import SPAN, Outcome, PlayError, Script, Stage, play, stage
from detectord.demo.shipped import shipped_rules

_COLOURS = {"low": "cyan", "medium": "yellow", "high": "red", "critical": "bold red"}


@click.command()
@click.option("--seed", default=1, show_default=True, help="Another seed, other machines and events.")
@click.option("--events", default=20_000, show_default=True, type=click.IntRange(min=1), help="Quiet events.")
@click.option("--workers", default=2, show_default=True, type=click.IntRange(1, 16))
@click.option("--keep", is_flag=True, help="Keep the daemon running afterwards, until Ctrl-C.")
@click.option(
    "--write",
    "output",
    type=click.Path(dir_okay=False, allow_dash=True, writable=True),
    help="Run nothing; write the events to a file for `detectord replay`.",
)
@click.option("--only-attacks", is_flag=True, help="With --write: leave the quiet events out.")
@click.pass_context
def command(
    ctx: click.Context,
    seed: int,
    events: int,
    workers: int,
    keep: bool,
    output: str | None,
    only_attacks: bool,
) -> None:
    """See attacks become alerts, on a broker inside this program.

    Starts the real daemon with the shipped rules, feeds it a minute of invented traffic with an attack
    for each rule in it, and shows every alert as it arrives. Ends with 0 if exactly the expected
    alerts came.
    """
    script = Script.of(seed, events, time.time_ns())
    if output is not None:
        _write(script, output, only_attacks)
        return
    if only_attacks:
        raise click.UsageError("--only-attacks needs --write")
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)  # as Ctrl-C: nothing that we started is left behind
    with explained(
        (DaemonError, ExitCode.FAILED),
        (PlayError, ExitCode.FAILED),
        (KafkaException, ExitCode.FAILED),
        (FileNotFoundError, ExitCode.FAILED),
    ):
        ctx.exit(ExitCode.OK if _perform(script, workers, keep) else ExitCode.FAILED)


def _interrupt(number: int, frame: FrameType | None) -> None:
    del number, frame
    raise KeyboardInterrupt


def _perform(script: Script, workers: int, keep: bool) -> bool:
    screen = _Screen()
    rules = shipped_rules()
    with (
        tempfile.TemporaryDirectory(prefix="detectord-demo-") as directory,
        screen,
        stage(rules, workers, Path(directory), screen) as ready,
    ):
        screen.say("broker", f"{ready.bootstrap_servers}, inside this program")
        screen.say("daemon", f"ready after {ready.seconds:.1f} s, --workers {workers}, rules of {rules}")
        screen.say("metrics", f"{ready.metrics_url} while it runs; --keep keeps it running")
        screen.begin(script)
        outcome = play(script, ready, screen)
        screen.end(outcome)
        if not outcome.as_expected:
            screen.note(f"The daemon's last words:\n{ready.daemon.last_lines()}")
        if keep:
            _keep(screen, ready)
        code = ready.daemon.stop()
        if code != 0:
            raise DaemonError(f"the daemon ended with exit code {code}\n{ready.daemon.last_lines()}")
    return outcome.as_expected


def _keep(screen: _Screen, ready: Stage) -> None:
    screen.note(f"The daemon still runs: {ready.metrics_url}. Ctrl-C ends it.")
    try:
        while True:
            ready.daemon.check()
            time.sleep(0.5)
    except KeyboardInterrupt:
        screen.note("ending")


def _write(script: Script, output: str, only_attacks: bool) -> None:
    documents: Iterable[Document] = script.events()
    if only_attacks:
        documents = (event for attack in script.attacks for event in attack.events)
    with click.open_file(output, "wb") as file:
        for document in documents:
            file.write(msgspec.json.encode(document) + b"\n")


class _Screen:
    """What is shown: rows and a line that moves on a terminal, plain lines anywhere else."""

    def __init__(self) -> None:
        self._console = Console(highlight=False)
        self._status = Status("", console=self._console)

    def __enter__(self) -> None:
        if self._console.is_terminal:
            self._status.start()

    def __exit__(self, *_: object) -> None:
        self._status.stop()

    def waited(self, what: str) -> None:
        """See `Audience`."""
        self._status.update(what)

    def alerted(self, alert: Alert) -> None:
        """See `Audience`."""
        cells = (
            _clock(alert.time),
            alert.severity,
            f"{alert.risk_score:g}",
            alert.rule_name,
            alert.host_name,
            alert.story,
        )
        self._row(cells, ("dim", _COLOURS.get(alert.severity, ""), "", "bold", "", ""))

    def say(self, what: str, how: str) -> None:
        """A line of what there is."""
        self._line(Text.assemble((f"{what:<9}", "bold"), how))

    def note(self, words: str) -> None:
        """A sentence."""
        self._line(Text(words))

    def begin(self, script: Script) -> None:
        """What will be fed, and the heading of the alerts."""
        self.say(
            "traffic", f"{script.size:,} events of {len(script.hosts)} machines over {SPAN:.0f} s; in them:"
        )
        for attack in script.attacks:
            self._line(Text(f"           {attack.host.name:<12}{attack.title}"))
        self._line(Text())
        self._row(("time", "severity", "risk", "rule", "host", "what happened"), ("dim",) * 6)

    def end(self, outcome: Outcome) -> None:
        """The summary."""
        script = outcome.script
        rate = script.size / outcome.seconds if outcome.seconds else 0.0
        self._line(Text())
        self.say("events", f"{script.size:,} in {outcome.seconds:.1f} s, {rate:,.0f} events/s")
        first = outcome.first_alert
        after = "" if first is None else f"; the first {first:.1f} s after the start of the daemon"
        self.say("alerts", f"{len(outcome.alerts)}, expected {len(script.attacks)}{after}")
        counts = Counter((alert.rule_name, alert.rule_id) for alert in outcome.alerts)
        for (name, rule_id), count in sorted(counts.items()):
            self._line(Text(f"  {count:>5}    {name} ({rule_id[:8]})"))
        for attack in outcome.missing:
            where = f"{attack.title} on {attack.host.name} (rule {attack.expected.rule_id})"
            self._line(Text.assemble(("  missing  ", "bold red"), where))
        for alert in outcome.unexpected:
            words = f"{alert.rule_name} on {alert.host_name}, of {alert.events} events"
            self._line(Text.assemble(("  extra    ", "bold red"), words))
        if outcome.as_expected:
            self._line(Text("Every attack was found, and nothing else.", "green"))

    def _line(self, text: Text) -> None:
        self._console.print(text, soft_wrap=True)

    def _row(self, cells: tuple[str, ...], styles: tuple[str, ...]) -> None:
        if not self._console.is_terminal:
            self._line(Text("  ".join(cells)))
            return
        table = Table.grid(padding=(0, 2, 0, 0), expand=True)
        for width, ratio in ((8, None), (8, None), (4, None), (None, 2), (10, None), (None, 3)):
            table.add_column(width=width, ratio=ratio, overflow="fold")
        table.add_row(*(Text(cell, style) for cell, style in zip(cells, styles, strict=True)))
        self._console.print(table)


def _clock(time_: str) -> str:
    """The time of day here of an instant in an event."""
    return datetime.fromisoformat(time_).astimezone().strftime("%H:%M:%S")

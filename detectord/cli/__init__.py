"""The command line: one module a command, each exporting a click command named `command`.

A command's module is imported when the command is called, so `detectord check` does not load a
Kafka client. Data goes to standard output, everything else to standard error.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Final

import click

from detectord import __version__
from detectord.cli.exits import ExitCode

COMMANDS: Final[Mapping[str, str]] = {
    "run": "Run the daemon.",
    "check": "Load rules and say which are refused, and why.",
    "test": "Run the tests beside the rules.",
    "replay": "Run the rules over files of events.",
    "explain": "Show what a rule was compiled to.",
    "import": "Turn Sigma rules into rule files.",
    "demo": "See attacks become alerts, on a broker inside this program.",
    "topics": "Create or check the topics.",
    "config": "Show or check the configuration.",
    "healthcheck": "Ask a running daemon whether it is well.",
}

_MODULES: Final[Mapping[str, str]] = {"import": "importing"}
"""The modules of commands whose names are words of Python."""


class _Commands(click.Group):
    """The commands above, imported when called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        if cmd_name not in COMMANDS:
            return None
        module = _MODULES.get(cmd_name, cmd_name)
        command: click.Command = importlib.import_module(f"detectord.cli.{module}").command
        command.name = cmd_name
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="detectord")
def group() -> None:
    """Streaming EQL detection: ECS events in, scored alerts out."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line and give its exit code."""
    try:
        outcome = group.main(
            None if arguments is None else list(arguments), prog_name="detectord", standalone_mode=False
        )
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:
        click.echo("interrupted", err=True)
        return 130
    except BrokenPipeError:
        # Whoever read our output has gone; the interpreter must not try to flush it once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.FAILED
    return outcome if isinstance(outcome, int) else ExitCode.OK

"""`detectord run`: the daemon."""

from __future__ import annotations

from collections.abc import Mapping

import click

from detectord.cli.exits import ExitCode, explained
from detectord.cli.options import configuration, configured
from detectord.config import ConfigError
from detectord.runtime import daemon


@click.command()
@configured
@click.option("--workers", type=click.IntRange(min=1), help="Worker processes (workers).")
@click.option("--log-level", type=click.Choice(["debug", "info", "warning", "error"]), help="log.level")
@click.option("--log-format", type=click.Choice(["auto", "json", "console"]), help="log.format")
@click.pass_context
def command(
    ctx: click.Context,
    config_path: str | None,
    settings: Mapping[str, str],
    workers: int | None,
    log_level: str | None,
    log_format: str | None,
) -> None:
    """Read events, match rules, publish alerts, until told to stop."""
    flags = {"workers": workers, "log.level": log_level, "log.format": log_format}
    given = {key: value for key, value in flags.items() if value is not None}
    config = configuration(config_path, {**settings, **given})
    # What the daemon cannot do yet, it refuses itself.
    with explained((ConfigError, ExitCode.CONFIG)):
        code = daemon.run(config)
    ctx.exit(code)

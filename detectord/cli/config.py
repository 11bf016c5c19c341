"""`detectord config`: the configuration in effect."""

from __future__ import annotations

import json
from collections.abc import Mapping

import click

from detectord.cli.options import configuration, configured
from detectord.config import masked
from detectord.config import show as as_yaml


@click.group()
def command() -> None:
    """Show or check the configuration in effect: file, environment, flags."""


@command.command()
@configured
@click.option("--format", "form", type=click.Choice(["yaml", "json"]), default="yaml", show_default=True)
def show(config_path: str | None, settings: Mapping[str, str], form: str) -> None:
    """Print every setting with its value; secrets as ***."""
    config = configuration(config_path, settings)
    click.echo(json.dumps(masked(config), indent=2) if form == "json" else as_yaml(config), nl=form == "json")


@command.command()
@configured
def check(config_path: str | None, settings: Mapping[str, str]) -> None:
    """Say whether the configuration can be used.

    Exits 78, with the reasons, if not.
    """
    config = configuration(config_path, settings)
    for sentence in config.not_yet():
        click.echo(f"warning: {sentence}", err=True)
    click.echo("the configuration is good")

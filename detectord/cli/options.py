"""Options that several commands share: where the configuration is, and what the flags change in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click

from detectord.cli.exits import ExitCode, explained
from detectord.config import Config, ConfigError, load_config

Command = TypeVar("Command", bound=Callable[..., Any])


def configured(command: Command) -> Command:
    """Add `--config` and `--set`, given to the command as `config_path` and `settings`."""
    path = click.option(
        "--config",
        "config_path",
        metavar="FILE",
        help="YAML or TOML. Default: $DETECTORD_CONFIG, then /etc/detectord/detectord.yml.",
    )
    change = click.option(
        "--set",
        "settings",
        metavar="KEY=VALUE",
        multiple=True,
        callback=_settings,
        help="A setting by its path, as in `--set log.level=debug`. May be repeated.",
    )
    return path(change(command))


def cached(command: Command) -> Command:
    """Add `--cache`, given to the command as `cache`."""
    option = click.option(
        "--cache",
        metavar="DIR",
        envvar="DETECTORD_RULES__CACHE",
        type=click.Path(file_okay=False, path_type=Path),
        help="Keep what was read from rule files there, so that the next time is faster.",
    )
    return option(command)


def _settings(_: click.Context, parameter: click.Parameter, given: tuple[str, ...]) -> dict[str, str]:
    settings = {}
    for each in given:
        key, equals, value = each.partition("=")
        if not equals or not key:
            raise click.BadParameter(f"{each!r} is not KEY=VALUE", param=parameter)
        settings[key] = value
    return settings


def configuration(path: str | None, settings: Mapping[str, object]) -> Config:
    """The configuration in effect; one that cannot be used ends the command with 78."""
    with explained((ConfigError, ExitCode.CONFIG)):
        return load_config(path, overrides=settings)

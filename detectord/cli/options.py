"""Options that several commands share: where the configuration is, and what the flags change in it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar, cast

import click

from detectord.cli.exits import ExitCode, explained
from detectord.config import Config, ConfigError, load_config
from detectord.rules.policy import PolicyError, Selector, read_policy
from detectord.rules.rule import SEVERITIES

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_SELECTORS = {"rule_id": "rule_ids", "tag": "tags", "path": "paths", "integration": "integrations"}
_INCLUDE = "Only rules with this rule_id, tag (a glob), path (a glob) or integration. May be repeated."
_EXCLUDE = "No rules with this rule_id, tag, path or integration. May be repeated."

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


def ruled(command: Command) -> Command:
    """Add the options that say which rules run, and how, given to the command as `policy`."""
    command = _with_policy(command)
    for option in reversed(
        (
            click.option("--include", "include", multiple=True, metavar="KEY=VALUE", help=_INCLUDE),
            click.option("--exclude", "exclude", multiple=True, metavar="KEY=VALUE", help=_EXCLUDE),
            click.option("--min-severity", type=click.Choice(SEVERITIES), default="low", show_default=True),
            click.option(
                "--overlay", multiple=True, type=_FILE, help="Changes to single rules. May be repeated."
            ),
            click.option("--version-lock", type=_FILE, help="The versions of rules without one."),
            click.option("--attack-version", default="", help="Which of a rule's threats alerts show."),
            click.option("--ignore-index", is_flag=True, help="Every rule sees every event."),
        )
    ):
        command = option(command)
    return command


def _with_policy(command: Command) -> Command:
    @functools.wraps(command)
    def called(
        *args: Any,
        include: tuple[str, ...],
        exclude: tuple[str, ...],
        min_severity: str,
        overlay: tuple[Path, ...],
        version_lock: Path | None,
        attack_version: str,
        ignore_index: bool,
        **others: Any,
    ) -> Any:
        with explained((PolicyError, ExitCode.CONFIG)):
            policy = read_policy(
                include=_selector("--include", include),
                exclude=_selector("--exclude", exclude),
                min_severity=min_severity,
                overlay=overlay,
                version_lock=version_lock,
                attack_version=attack_version,
                ignore_index=ignore_index,
            )
        return command(*args, policy=policy, **others)

    return cast("Command", called)


def _selector(option: str, given: tuple[str, ...]) -> Selector:
    """The selector that `KEY=VALUE`s make."""
    parts: dict[str, list[str]] = {key: [] for key in _SELECTORS.values()}
    for each in given:
        key, equals, value = each.partition("=")
        if key not in _SELECTORS or not equals or not value:
            known = ", ".join(_SELECTORS)
            raise click.BadParameter(f"{each!r} is not KEY=VALUE with a KEY of {known}", param_hint=option)
        parts[_SELECTORS[key]].append(value)
    return Selector(**{key: tuple(values) for key, values in parts.items()})


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

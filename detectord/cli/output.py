"""What commands print of the texts of others: rules, events and brokers do not get to rule the terminal."""

from __future__ import annotations

import click

from detectord.eql.diagnostics import visible


def shown(text: str) -> str:
    """The lines, with a sign for every character that a terminal would obey."""
    return "\n".join(map(visible, text.split("\n")))


def say(text: str, *, err: bool = False) -> None:
    """Print it, as `shown`."""
    click.echo(shown(text), err=err)

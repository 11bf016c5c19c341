"""How a command ends: the exit codes, and which of our errors means which."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from contextlib import contextmanager

import click

from detectord.cli.output import shown


class ExitCode(enum.IntEnum):
    """Exit codes, after sysexits.h. Anything else that is not 0 is 1: an unexpected exception."""

    OK = 0
    FAILED = 1
    USAGE = 2
    RULES = 65
    """Rules cannot be used: refused (`check`), or fewer than `rules.min_loaded`."""
    UNAVAILABLE = 69
    """The brokers could not be reached, or do not let us."""
    INTERNAL = 70
    """Workers die again and again, or something that cannot be has happened."""
    RETRY = 75
    """A drain took too long, or another instance took over: starting again is right."""
    CONFIG = 78
    """The configuration cannot be used."""


class Failure(click.ClickException):
    """A command that ends with a sentence and a code instead of a result."""

    def __init__(self, message: str, code: ExitCode) -> None:
        super().__init__(shown(message))
        self.exit_code = code  # type: ignore[misc]  # a class variable to click, which reads the instance


@contextmanager
def explained(*known: tuple[type[Exception], ExitCode]) -> Iterator[None]:
    """Turn the errors listed into an end with their code; others go on as the bugs they are."""
    try:
        yield
    except tuple(kind for kind, _ in known) as error:
        code = next(code for kind, code in known if isinstance(error, kind))
        raise Failure(str(error) or type(error).__name__, code) from error

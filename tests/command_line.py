"""Command lines as a user types them, run in this process."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from detectord import cli


@dataclass
class Outcome:
    """How a command line ended."""

    code: int
    out: str
    err: str


def command_line(capfd: pytest.CaptureFixture[str], *arguments: object) -> Outcome:
    """Run `detectord` with these arguments; nothing that was printed before counts."""
    capfd.readouterr()
    code = cli.main([str(each) for each in arguments])
    return Outcome(code, *capfd.readouterr())

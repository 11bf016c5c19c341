"""Expected outputs kept in files. `make golden` writes them again; then read the diff."""

from __future__ import annotations

from pathlib import Path


def check(expected: Path, actual: str, *, update: bool) -> None:
    """Hold `actual` against the file, or make it the file if `update` (the fixture `update_goldens`)."""
    if update:
        expected.write_text(actual, encoding="utf-8")
    assert actual == expected.read_text(encoding="utf-8"), f"{expected.name}: `make golden` writes it again"

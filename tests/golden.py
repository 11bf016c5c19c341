"""Expected outputs kept in files. `make golden` writes them again; then read the diff."""

from __future__ import annotations

import os
from pathlib import Path


def check(expected: Path, actual: str) -> None:
    """Hold `actual` against the file, or with DETECTORD_GOLDEN=write make it the file."""
    if os.environ.get("DETECTORD_GOLDEN") == "write":
        expected.write_text(actual, encoding="utf-8")
    assert actual == expected.read_text(encoding="utf-8"), f"{expected.name}: `make golden` writes it again"

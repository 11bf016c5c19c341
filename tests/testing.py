"""Where tests find what is not in the repository."""

from __future__ import annotations

from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]


def shared_data(part: str = "") -> Path:
    """The folder `part` of the data beside the repository; skips the test, with the reason, without it."""
    path = REPOSITORY.parent / "shared" / "data" / part
    if not path.exists():
        pytest.skip(f"needs ../shared/data/{part}, which is not on this machine")
    return path

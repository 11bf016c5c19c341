"""docs/importing-sigma.md names every reason and every log source there is."""

from __future__ import annotations

from pathlib import Path

import pytest

from detectord.sigma import logsources
from detectord.sigma.ledger import REASONS

PAGE = (Path(__file__).parents[2] / "docs" / "importing-sigma.md").read_text()


@pytest.mark.parametrize("reason", REASONS)
def test_reason_has_a_row(reason: str) -> None:
    assert any(f"`{reason}`" in line for line in PAGE.split("\n") if line.startswith("| `"))


def test_every_category_of_the_page_is_mapped_and_the_other_way_round() -> None:
    rows = [
        line.split(" | ") for line in PAGE.split("\n") if line.startswith(("| windows |", "| linux, macos |"))
    ]
    listed = {
        product: {category.strip() for category in row[1].split(",")}
        for row in rows
        for product in row[0].strip("| ").split(", ")
    }
    known = {"windows": logsources.WINDOWS_CATEGORIES, **logsources.UNIX_CATEGORIES}
    assert {product: set(sources) for product, sources in known.items()} == listed
    for product, categories in listed.items():
        assert all(logsources.find(product, "", category) for category in categories)

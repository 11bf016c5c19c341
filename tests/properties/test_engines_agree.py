"""Every engine answers generated cases as the oracle does. `tests/fuzz.py` runs the same on demand."""

from __future__ import annotations

import os
from collections import Counter

import pytest
from agreement import check
from generated import KINDS
from hypothesis import HealthCheck, given, settings
from strategies import Case

_EACH = int(os.environ.get("DETECTORD_PROPERTY_CASES", "300"))

_SETTINGS = settings(
    max_examples=_EACH,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)


@pytest.mark.parametrize("kind", KINDS)
def test_engines_agree_with_the_oracle(kind: str) -> None:
    seen: Counter[bool] = Counter()

    @_SETTINGS
    @given(case=KINDS[kind]())
    def agree(case: Case) -> None:
        seen[bool(check(case))] += 1

    agree()
    assert seen[True] > _EACH // 5, "matches are too rare to test anything"

"""Every engine answers generated cases as the oracle does. `tests/fuzz.py` runs the same on demand."""

from __future__ import annotations

import os

import pytest
import strategies
from agreement import check
from engines import ENGINES
from hypothesis import HealthCheck, given, settings

_EACH = int(os.environ.get("DETECTORD_PROPERTY_CASES", "1500"))

_SETTINGS = settings(
    max_examples=_EACH,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)


@pytest.mark.parametrize("engine", ENGINES)
@_SETTINGS
@given(case=strategies.event_cases())
def test_event_query(engine: str, case: strategies.Case) -> None:
    check(case, engine)


@pytest.mark.parametrize("engine", ENGINES)
@_SETTINGS
@given(case=strategies.sequence_cases())
def test_sequence(engine: str, case: strategies.Case) -> None:
    check(case, engine)

from __future__ import annotations

import pytest

from detectord.compiler import compile_rule
from detectord.compiler.compiled import CompiledRule
from detectord.demo.shipped import shipped_rules
from detectord.rules.load import load


@pytest.fixture(scope="session")
def rules() -> dict[str, CompiledRule]:
    """The shipped rules, compiled, by id."""
    return {rule.rule_id: compile_rule(rule) for rule in load([shipped_rules()]).rules}

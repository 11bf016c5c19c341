"""Sigma rules become rule files that find what the Sigma rule means.

The cases beside this file are Sigma rules with events. Each goes the whole way: YAML, pySigma, TOML, the
loader of rule files; then its query is asked through `detectord.match`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("sigma.backends.elasticsearch", reason="needs the extra `sigma` of the package")
pytest.importorskip("tomlkit", reason="needs the extra `sigma` of the package")

from detectord import match
from detectord.events.fields import FIELD_TYPES
from detectord.rules.keys import MATURITIES
from detectord.rules.load import read_bytes
from detectord.rules.schema import ReadOptions
from detectord.sigma.convert import Converted, convert
from detectord.sigma.documents import read

HERE = Path(__file__).parent


def cases(*names: str) -> list[Any]:
    return [
        pytest.param(case, id=f"{name.removesuffix('.toml')}: {case['name']}")
        for name in names
        for case in tomllib.loads((HERE / name).read_text())["case"]
    ]


def imported(text: str, folder: Path) -> list[Converted]:
    file = folder / "rules.yml"
    file.write_text(text)
    return list(convert(read([file])))


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    both = dict(below)
    for key, value in above.items():
        old = both.get(key)
        both[key] = merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return both


@pytest.mark.parametrize("case", cases("windows.toml", "other-sources.toml"))
def test_rule(case: Mapping[str, Any], tmp_path: Path) -> None:
    result = imported(case["sigma"], tmp_path)[case.get("document", 0)]
    assert result.entry.reason is None, result.entry.detail
    assert list(result.entry.warnings) == case.get("warnings", list(result.entry.warnings))
    query = tomllib.loads(result.text)["rule"]["query"]
    for fires in (True, False):
        for given in case["fires" if fires else "quiet"]:
            parts = given if isinstance(given, list) else [given]
            events = [merged(case["event"], part) for part in parts]
            whole = tuple(range(len(events)))
            found = [each.events for each in match(query, events)]
            assert found == ([whole] if fires else []), f"{query}\n{events}"


@pytest.mark.parametrize("case", cases("windows.toml", "other-sources.toml"))
def test_rule_file_loads(case: Mapping[str, Any], tmp_path: Path) -> None:
    result = imported(case["sigma"], tmp_path)[case.get("document", 0)]
    reading = read_bytes(
        result.text.encode(), "rule.toml", ReadOptions(maturity=MATURITIES, types=FIELD_TYPES)
    )
    assert reading.rule is not None
    # A field of the author's own, which no schema has, may be asked for
    assert [finding.text for finding in reading.findings if finding.code != "W110"] == []
    assert reading.unknown_keys == ()


@pytest.mark.parametrize("case", cases("refused.toml"))
def test_refused(case: Mapping[str, Any], tmp_path: Path) -> None:
    entries = [result.entry for result in imported(case["sigma"], tmp_path)]
    assert [entry.reason or "" for entry in entries] == [
        expected[0] if expected else "" for expected in case["refused"]
    ], entries
    for entry, expected in zip(entries, case["refused"], strict=True):
        assert not expected or expected[1] in entry.detail
        assert len(entry.detail) < 400

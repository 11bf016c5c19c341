"""Whatever a document holds, it becomes a row of the ledger, and a rule file only if that loads."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("sigma.backends.elasticsearch", reason="needs the extra `sigma` of the package")
pytest.importorskip("tomlkit", reason="needs the extra `sigma` of the package")

from detectord.events.fields import FIELD_TYPES
from detectord.rules.keys import MATURITIES
from detectord.rules.load import read_bytes
from detectord.rules.schema import ReadOptions
from detectord.sigma.convert import convert
from detectord.sigma.documents import Document
from detectord.sigma.ledger import REASONS

RULE: dict[str, Any] = {
    "title": "a title",
    "id": "3f1c9a52-0000-4000-8000-00000000000a",
    "name": "base",
    "level": "high",
    "status": "test",
    "author": "someone",
    "date": "2024-01-01",
    "tags": ["attack.execution", "attack.t1059"],
    "references": ["https://example.org"],
    "falsepositives": ["none"],
    "logsource": {"product": "windows", "category": "process_creation"},
    "detection": {
        "sel": {"CommandLine|contains": ["a", "b"], "Image|endswith": "x"},
        "list": [{"User": "a\\b"}, {"ProcessId": 4}],
        "condition": "sel and not 1 of list",
    },
}
CORRELATION: dict[str, Any] = {
    "title": "both",
    "correlation": {
        "type": "temporal_ordered",
        "rules": ["base", "3f1c9a52-0000-4000-8000-00000000000b"],
        "group-by": ["User", "who"],
        "timespan": "5m",
        "generate": True,
        "aliases": {"who": {"base": "Image"}},
    },
}
SECOND = RULE | {"id": "3f1c9a52-0000-4000-8000-00000000000b", "name": "second"}
MODIFIERS = (
    "contains startswith endswith all re cidr base64 base64offset windash wide utf16 cased exists fieldref"
    " expand gt lte neq i m s hour nonsense"
)

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.dates(),
    st.binary(max_size=3),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    st.sampled_from(["*", "\\*", "?", "(a|b", "a{2,1}", "(?i)x", "%x%", "10.0.0.0/8", "-a /b -c", "1 of *"]),
)
junk = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [*([path] if path else []), *(each for key, part in inner for each in places(part, (*path, key)))]


@st.composite
def spoiled(draw: st.DrawFn) -> list[dict[str, Any]]:
    """A rule, another and a correlation of both, one of them with a few values or keys changed."""
    documents = [copy.deepcopy(RULE), copy.deepcopy(SECOND), copy.deepcopy(CORRELATION)]
    document = documents[draw(st.sampled_from([0, 2]))]
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(places(document)))
        parent = document
        for key in path[:-1]:
            parent = parent[key]
        action = draw(st.sampled_from(["replace", "drop", "modify"]))
        if action == "drop" and len(document) > 1:
            del parent[path[-1]]
        elif action == "modify" and isinstance(path[-1], str):
            parent[f"{path[-1]}|{draw(st.sampled_from(MODIFIERS.split()))}"] = parent.pop(path[-1])
        else:
            parent[path[-1]] = draw(junk)
    return documents


@given(spoiled())
@settings(max_examples=150)
def test_every_document_is_a_row(documents: list[dict[str, Any]]) -> None:
    results = list(convert(Document("file", "file", n, content) for n, content in enumerate(documents, 1)))
    assert [result.entry.document for result in results] == [1, 2, 3]
    for result in results:
        if result.entry.reason is None:
            reading = read_bytes(
                result.text.encode(), "rule", ReadOptions(maturity=MATURITIES, types=FIELD_TYPES)
            )
            assert all(finding.reason is None for finding in reading.findings)
            assert result.entry.file
        else:
            assert result.entry.reason in REASONS
            assert result.entry.detail
            assert (result.text, result.entry.file) == ("", "")

"""Which values are replaced, and what stays of the shape around them."""

import copy

import pytest

from detectord.alerts.redaction import REDACTED, Redaction

DOCUMENT = {
    "process": {
        "env_vars": ["A=1", "B=2"],
        "name": "sh",
        "parent": {"env_vars": "C=3"},
        "io": {"text": "x", "n": 5},
    },
    "user": [{"name": "a", "tags": []}, {"name": "b", "id": None}],
    "message": "m",
}

TABLE = [
    ("process.env_vars", "process", {**DOCUMENT["process"], "env_vars": REDACTED}),
    ("process.parent", "process", {**DOCUMENT["process"], "parent": {"env_vars": REDACTED}}),
    ("process.io.*", "process", {**DOCUMENT["process"], "io": {"text": REDACTED, "n": REDACTED}}),
    ("user.name", "user", [{"name": REDACTED, "tags": []}, {"name": REDACTED, "id": None}]),
    ("user.*", "user", [{"name": REDACTED, "tags": []}, {"name": REDACTED, "id": None}]),
    ("message", "message", REDACTED),
    ("message.*", "message", "m"),
    ("process.name.x", "process", DOCUMENT["process"]),
    ("nowhere.at.all", "message", "m"),
]


@pytest.mark.parametrize(("pattern", "root", "expected"), TABLE)
def test_table(pattern, root, expected):
    before = copy.deepcopy(DOCUMENT)
    assert Redaction([pattern])(DOCUMENT) == {**DOCUMENT, root: expected}
    assert before == DOCUMENT


@pytest.mark.parametrize(
    ("patterns", "path", "covered"),
    [
        (["a.b"], "a.b", True),
        (["a.b"], "a.b.c", True),
        (["a.b"], "a", False),
        (["a.b"], "a.bc", False),
        (["a.*"], "a", False),
        (["a.*"], "a.b.c", True),
        (["a.b.c", "a"], "a.x", True),
        (["a", "a.b.c"], "a.x", True),
        (["a.*", "a.b.c"], "a.b.x", True),
        ([], "a", False),
    ],
)
def test_covers(patterns, path, covered):
    assert Redaction(patterns).covers(path) is covered

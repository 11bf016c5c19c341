"""The sentence of an alert."""

import pytest

from detectord.alerts.reason import MAX_VALUE, reason

NAMED = "created low alert R."

TABLE = [
    ({}, f"event {NAMED}"),
    ({"event": {"category": "file"}}, f"file event {NAMED}"),
    ({"event": {"category": ["file", "process"]}}, f"file, process event {NAMED}"),
    ({"user": {"name": "kim"}}, f"event by kim {NAMED}"),
    ({"user": {"name": "-"}, "host": {"name": ""}}, f"event {NAMED}"),
    ({"process": {"name": "sh"}}, f"event with process sh, {NAMED}"),
    ({"process": {"parent": {"name": "sshd"}}}, f"event with parent process sshd, {NAMED}"),
    ({"file": {"name": "a.txt"}, "host": {"name": "h"}}, f"event with file a.txt, on h {NAMED}"),
    ({"source": {"ip": "192.0.2.1", "port": 22}}, f"event with source 192.0.2.1:22, {NAMED}"),
    ({"source": {"ip": "192.0.2.1"}}, f"event with source 192.0.2.1 {NAMED}"),
    ({"source": {"port": 22}}, f"event {NAMED}"),
    (
        {"destination": {"ip": ["192.0.2.1", "::1"], "port": "53"}},
        f"event with destination 192.0.2.1, ::1:53, {NAMED}",
    ),
    (
        {"process": {"name": {"weird": "sh"}}, "user": "root", "host": [1, {"name": "h"}]},
        f"event on h {NAMED}",
    ),
    (
        {
            "event": {"category": ["network"]},
            "process": {"name": "nc", "parent": {"name": "sh"}},
            "file": {"name": "f"},
            "source": {"ip": "192.0.2.1", "port": 1},
            "destination": {"ip": "192.0.2.2", "port": 2},
            "user": {"name": "u"},
            "host": {"name": "h"},
        },
        "network event with process nc, parent process sh, file f, source 192.0.2.1:1,"
        f" destination 192.0.2.2:2, by u on h {NAMED}",
    ),
]


@pytest.mark.parametrize(("fields", "expected"), TABLE)
def test_table(fields, expected):
    assert reason(fields, "low", "R") == expected


def test_a_value_is_cut_where_it_still_names_the_thing():
    text = reason({"process": {"name": ["x" * 400] * 5_000}}, "low", "R")
    assert len(text) < MAX_VALUE + 60
    assert "…, created" in text

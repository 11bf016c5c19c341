"""Loading folders: which files are read, what stands in the ledger."""

import json
import os
from pathlib import Path

import pytest

from detectord.rules.ledger import Loaded
from detectord.rules.load import load


def rule_text(rule_id: str, **keys: object) -> str:
    values = {
        "rule_id": rule_id,
        "name": f"Rule {rule_id}",
        "type": "eql",
        "language": "eql",
        "severity": "medium",
        "risk_score": 47,
        "author": ["A"],
        "description": "D",
        "index": ["logs-*"],
        "query": "process where true",
        **keys,
    }
    lines = [f"{key} = {json.dumps(value)}" for key, value in values.items()]
    return "\n".join(["[metadata]", 'maturity = "production"', "[rule]", *lines, ""])


def write(root: Path, **files: str) -> Path:
    """Files by name without its suffix; `__` stands for a slash."""
    for name, text in files.items():
        file = root / (name.replace("__", "/") + ".toml")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return root


def ids(loaded: Loaded) -> list[str]:
    return [rule.rule_id for rule in loaded.rules]


def test_a_folder_is_walked_in_the_order_of_names(tmp_path: Path) -> None:
    write(tmp_path, c=rule_text("c"), a=rule_text("a"), b__z=rule_text("z"), b__d__y=rule_text("y"))
    loaded = load([tmp_path])
    assert ids(loaded) == ["a", "c", "z", "y"]
    assert {rule.ruleset for rule in loaded.rules} == {tmp_path.name}
    assert loaded.rules[2].path == str(tmp_path / "b" / "z.toml")


def test_fields_no_schema_knows(tmp_path: Path) -> None:
    write(tmp_path, a=rule_text("a", query='process where process.nmae == "x" and ?own == 1'))
    warned = load([tmp_path], types={"process.name": "keyword"})
    assert (ids(warned), [each.code for each in warned.warnings]) == (["a"], ["W110"])
    refused = load([tmp_path], types={"process.name": "keyword"}, strict_fields=True)
    assert (ids(refused), [(each.code, each.reason) for each in refused.refused]) == (
        [],
        [("E131", "parse_error")],
    )
    unasked = load([tmp_path], strict_fields=True)
    assert (ids(unasked), unasked.refused, unasked.warnings) == (["a"], (), ())


def test_what_is_never_a_rule(tmp_path: Path) -> None:
    write(tmp_path, a=rule_text("a"))
    write(tmp_path / ".hidden", h=rule_text("h"))
    (tmp_path / ".b.toml").write_text("nonsense")
    (tmp_path / "a.test.toml").write_text("nonsense")
    (tmp_path / "README.md").write_text("nonsense")
    loaded = load([tmp_path, tmp_path / "a.test.toml"])
    assert (ids(loaded), loaded.refused, loaded.warnings, loaded.skipped) == (["a"], (), (), 0)


def test_one_bad_file_stops_nothing(tmp_path: Path) -> None:
    write(
        tmp_path,
        a="not toml",
        b=rule_text("b", type="esql"),
        c=rule_text("c", query="process where"),
        d=rule_text("d", query="join by x [a where true] [b where true]"),
        e=rule_text("e", severity="x"),
        f=rule_text("f") + "filters = [{}]\n",
        g=rule_text("g"),
        h=rule_text("h").replace("production", "beta"),
    )
    loaded = load([tmp_path])
    assert ids(loaded) == ["g"]
    assert [(Path(each.file).stem, each.rule_id, each.reason, each.code) for each in loaded.refused] == [
        ("a", "", "parse_error", "E403"),
        ("b", "b", "unsupported_type", "E420"),
        ("c", "c", "parse_error", "E011"),
        ("d", "d", "unsupported_syntax", "E305"),
        ("e", "e", "schema_error", "E411"),
        ("f", "f", "unsupported_filter", "E422"),
    ]
    assert [each.rule_id for each in loaded.failed] == ["", "c", "d", "e", "f"]
    assert loaded.skipped == 1


def test_the_ledger(tmp_path: Path) -> None:
    write(tmp_path, a=rule_text("a", severity="x"), b=rule_text("b", risk_score=99), c=rule_text("c"))
    ledger = json.loads(json.dumps(load([tmp_path]).ledger()))
    assert ledger["loaded"] == 2
    (refused,) = ledger["refused"]
    assert refused == {
        "file": str(tmp_path / "a.toml"),
        "rule_id": "a",
        "name": "Rule a",
        "reason": "schema_error",
        "code": "E411",
        "line": 8,
        "column": 12,
    }
    (warning,) = ledger["warnings"]
    assert (warning["rule_id"], warning["code"], warning["line"]) == ("b", "W402", 9)
    assert set(ledger) >= {"loaded", "refused", "warnings"}
    assert (ledger["skipped"], ledger["unselected"], ledger["sequences"]) == (0, 0, [])
    assert ledger["kinds"] == {"event": 2, "sequence": 0, "sample": 0}


def test_all_findings_of_a_rule_are_in_its_message(tmp_path: Path) -> None:
    (refusal,) = load([write(tmp_path, a=rule_text("a", severity="x", query="process where foo("))]).refused
    assert "`rule.severity`" in refusal.message
    assert "[E011]" in refusal.message


def test_the_later_of_two_wins(tmp_path: Path) -> None:
    write(
        tmp_path, a=rule_text("same", risk_score=47), b=rule_text("same", risk_score=30), c=rule_text("other")
    )
    loaded = load([tmp_path])
    assert [(rule.rule_id, rule.risk_score) for rule in loaded.rules] == [("same", 30), ("other", 47)]
    (refusal,) = loaded.refused
    assert (refusal.reason, refusal.code, Path(refusal.file).name) == ("duplicate", "E430", "a.toml")
    assert str(tmp_path / "b.toml") in refusal.message
    loaded = load([tmp_path / "b.toml", tmp_path / "a.toml"])
    assert [rule.risk_score for rule in loaded.rules] == [47]


def test_twice_the_same_is_no_finding(tmp_path: Path) -> None:
    write(tmp_path, a=rule_text("same"), b="# a note\n" + rule_text("same"))
    loaded = load([tmp_path])
    assert (ids(loaded), loaded.refused, loaded.warnings) == (["same"], (), ())


def test_a_file_is_read_once_by_whatever_path(tmp_path: Path) -> None:
    write(tmp_path, x__a=rule_text("a", risk_score=99))
    (tmp_path / "link.toml").symlink_to(tmp_path / "x" / "a.toml")
    (tmp_path / "y").symlink_to(tmp_path / "x")
    loaded = load([tmp_path, tmp_path / "x" / "a.toml", tmp_path / "x"])
    assert (ids(loaded), len(loaded.warnings)) == (["a"], 1)


def test_rules_mounted_by_links_as_kubernetes_does(tmp_path: Path) -> None:
    write(tmp_path / "..2026_01", a=rule_text("a"))
    (tmp_path / "..data").symlink_to("..2026_01")
    (tmp_path / "a.toml").symlink_to("..data/a.toml")
    loaded = load([tmp_path])
    assert (ids(loaded), loaded.refused) == (["a"], ())


def test_loops_and_dead_links_are_findings(tmp_path: Path) -> None:
    write(tmp_path, a=rule_text("a"), x__b=rule_text("b"))
    (tmp_path / "x" / "up").symlink_to(tmp_path)
    (tmp_path / "dead.toml").symlink_to(tmp_path / "nowhere")
    (tmp_path / "self.toml").symlink_to(tmp_path / "self.toml")
    loaded = load([tmp_path])
    assert ids(loaded) == ["a", "b"]
    found = {Path(each.file).name: each for each in loaded.refused}
    assert set(found) == {"up", "dead.toml", "self.toml"}
    assert {(each.reason, each.code) for each in loaded.refused} == {("parse_error", "E401")}
    assert "link to a directory above" in found["up"].message


def test_what_is_not_a_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.toml")
    (tmp_path / "folder.toml").mkdir()
    (refusal,) = load([tmp_path]).refused
    assert (Path(refusal.file).name, refusal.code) == ("pipe.toml", "E401")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_what_may_not_be_read_is_a_finding(tmp_path: Path) -> None:
    write(tmp_path, a=rule_text("a"), x__b=rule_text("b"))
    (tmp_path / "a.toml").chmod(0)
    (tmp_path / "x").chmod(0)
    try:
        loaded = load([tmp_path])
    finally:
        (tmp_path / "x").chmod(0o700)
    assert [(Path(each.file).name, each.code) for each in loaded.refused] == [
        ("a.toml", "E401"),
        ("x", "E401"),
    ]


def test_a_path_that_is_not_there(tmp_path: Path) -> None:
    (refusal,) = load([tmp_path / "none.toml"]).refused
    assert (refusal.code, refusal.line, refusal.column) == ("E401", 1, 1)


def test_every_format_is_read_and_no_other(tmp_path: Path) -> None:
    for name in ("a.ndjson", "b.jsonl", "c.json", "d.yml", "e.yaml", "f.txt"):
        (tmp_path / name).write_text("{}")
    loaded = load([tmp_path, tmp_path / "f.txt"])
    assert [(Path(each.file).suffix, each.code) for each in loaded.refused] == [
        *((suffix, "E445") for suffix in (".ndjson", ".jsonl", ".json", ".yml", ".yaml")),
        (".txt", "E406"),
    ]


def test_a_name_that_is_not_utf8(tmp_path: Path) -> None:
    name = os.fsencode(tmp_path) + b"/\xff.toml"
    Path(os.fsdecode(name)).write_text(rule_text("a", severity="x"))
    (refusal,) = load([tmp_path]).refused
    assert refusal.file.encode().endswith("/\ufffd.toml".encode())


def test_an_unknown_key_is_told_once(tmp_path: Path) -> None:
    write(tmp_path, a=rule_text("a", odd=1), b=rule_text("b", odd=1, strange=2))
    assert [(each.rule_id, each.code, each.line) for each in load([tmp_path]).warnings] == [
        ("a", "W401", 14),
        ("b", "W401", 15),
    ]


def test_order_of_paths_and_repetition_give_the_same(tmp_path: Path) -> None:
    write(tmp_path, x__a=rule_text("a"), y__b=rule_text("b"))
    assert load([tmp_path]) == load([tmp_path])
    assert ids(load([tmp_path / "y", tmp_path / "x"])) == ["b", "a"]


def test_no_paths_no_rules() -> None:
    ledger = load([]).ledger()
    assert (ledger["loaded"], ledger["refused"], ledger["warnings"]) == (0, [], [])

"""What the operator changes: selectors, overlays, the version lock, the version of ATT&CK."""

import json
from pathlib import Path
from typing import Any

import pytest

from detectord.eql.printer import expression_text
from detectord.rules.ledger import Loaded
from detectord.rules.load import load
from detectord.rules.policy import NO_POLICY, Policy, PolicyError, Selector, read_policy
from detectord.rules.rule import Suppression

RULE: dict[str, Any] = {
    "rule_id": "a",
    "name": "Crane",
    "type": "eql",
    "query": "process where true",
    "severity": "medium",
    "risk_score": 47,
    "description": "D",
    "index": ["logs-*"],
    "tags": ["OS: Linux", "Domain: Endpoint"],
    "related_integrations": [{"package": "endpoint"}, {"package": "auditd"}],
}
THREAT: dict[str, Any] = {
    "framework": "MITRE ATT&CK",
    "tactic": {"id": "TA0002", "name": "Execution", "reference": "https://attack.mitre.org/tactics/TA0002/"},
}


def write(root: Path, *rules: dict[str, Any], name: str = "r.ndjson") -> Path:
    file = root / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n".join(json.dumps({**RULE, **rule}) for rule in rules))
    return root


def ids(loaded: Loaded) -> list[str]:
    return [rule.rule_id for rule in loaded.rules]


# --- selectors -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("policy", "selected"),
    [
        (NO_POLICY, ["a", "b", "c"]),
        (Policy(include=Selector(rule_ids=("a", "c"))), ["a", "c"]),
        (Policy(exclude=Selector(rule_ids=("a",))), ["b", "c"]),
        (Policy(include=Selector(tags=("OS: *",))), ["a", "b"]),
        (Policy(include=Selector(tags=("OS: *",), rule_ids=("b", "c"))), ["b"]),
        (Policy(include=Selector(tags=("os: *",))), []),
        (Policy(exclude=Selector(tags=("OS: Windows",), rule_ids=("c",))), ["a"]),
        (Policy(include=Selector(integrations=("auditd", "x"))), ["a", "b"]),
        (Policy(exclude=Selector(integrations=("aws",))), ["a", "b"]),
        (Policy(min_severity="medium"), ["a", "c"]),
        (Policy(min_severity="critical"), []),
        (Policy(include=Selector(paths=("linux/*",))), ["a", "b"]),
        (Policy(exclude=Selector(paths=("*.json",))), ["a", "b"]),
        (Policy(exclude=Selector(paths=("nux/*",))), ["a", "b", "c"]),
    ],
)
def test_which_rules_run(tmp_path: Path, policy: Policy, selected: list[str]) -> None:
    windows = {"rule_id": "b", "tags": ["OS: Windows"], "severity": "low", "risk_score": 21}
    write(tmp_path, {}, windows, name="linux/r.ndjson")
    write(
        tmp_path,
        {"rule_id": "c", "tags": [], "related_integrations": [{"package": "aws"}]},
        name="other/c.json",
    )
    loaded = load([tmp_path], policy=policy)
    assert ids(loaded) == selected
    assert loaded.refused == ()
    left_out = 3 - len(selected) - (policy.exclude.paths == ("*.json",))  # that file is not read
    assert loaded.unselected == left_out


def test_an_excluded_rule_is_not_refused(tmp_path: Path) -> None:
    write(tmp_path, {"severity": "x"}, {"rule_id": "b"})
    loaded = load([tmp_path], policy=Policy(exclude=Selector(rule_ids=("a",))))
    assert (ids(loaded), loaded.refused, loaded.unselected) == (["b"], (), 1)
    assert len(load([tmp_path]).refused) == 1


# --- overlays --------------------------------------------------------------------------------

OVERLAY = {
    "a": {
        "severity": "critical",
        "risk_score": 90,
        "index": ["auditbeat-*"],
        "tags": ["Team: Night"],
        "exceptions": ["clerks"],
        "suppression": {"group_by": ["host.id"], "duration": {"value": 2, "unit": "h"}},
    },
    "b": {"enabled": False},
}
OVERLAY_TOML = 'a.severity = "critical"\n[b]\nenabled = false\n'
ITEM = {
    "item_id": "i",
    "list_id": "clerks",
    "entries": [{"field": "x", "type": "exists", "operator": "included"}],
}


def overlaid(root: Path, *files: tuple[str, str]) -> Policy:
    paths = []
    for name, text in files:
        (root / name).write_text(text)
        paths.append(root / name)
    return read_policy(overlay=paths)


def test_an_overlay(tmp_path: Path) -> None:
    write(tmp_path, {}, {"rule_id": "b"}, {"rule_id": "c"})
    (tmp_path / "list.ndjson").write_text(json.dumps(ITEM))
    plain = load([tmp_path])
    loaded = load([tmp_path], policy=overlaid(tmp_path, ("overlay.json", json.dumps(OVERLAY))))
    assert (ids(loaded), loaded.refused, loaded.warnings) == (["a", "b", "c"], (), ())
    one, two, three = loaded.rules
    assert (one.severity, one.risk_score, one.index, one.tags) == (
        "critical",
        90,
        ("auditbeat-*",),
        ("Team: Night",),
    )
    assert one.suppression == Suppression(("host.id",), 7_200 * 10**9)
    assert one.filter is not None
    assert expression_text(one.filter) == "not x != null"
    assert (two.enabled, two.severity) == (False, "medium")
    hashes = [rule.content_hash for rule in plain.rules]
    assert three.content_hash == hashes[2]
    assert one.content_hash != hashes[0]
    assert two.content_hash != hashes[1]


def test_the_same_overlay_in_every_form(tmp_path: Path) -> None:
    write(tmp_path, {}, {"rule_id": "b"})
    yml = "---\na:\n  severity: critical\n---\nb: {enabled: false}\n"
    for name, text in (
        ("o.yml", yml),
        ("o.toml", OVERLAY_TOML),
        ("o.json", json.dumps({"a": {"severity": "critical"}, "b": {"enabled": False}})),
    ):
        loaded = load([tmp_path], policy=overlaid(tmp_path, (name, text)))
        assert [(rule.severity, rule.enabled) for rule in loaded.rules] == [
            ("critical", True),
            ("medium", False),
        ]
        (tmp_path / name).unlink()


def test_of_two_overlays_the_later_wins_key_by_key(tmp_path: Path) -> None:
    write(tmp_path, {})
    first = ("1.yml", "a: {severity: low, enabled: false}\n")
    loaded = load([tmp_path], policy=overlaid(tmp_path, first, ("2.yml", "a: {severity: high}\n")))
    (rule,) = loaded.rules
    assert (rule.severity, rule.enabled) == ("high", False)


def test_an_overlay_for_rules_and_lists_that_are_not_there(tmp_path: Path) -> None:
    write(tmp_path, {})
    policy = overlaid(tmp_path, ("o.yml", "a: {exceptions: [none]}\nzork: {enabled: false}\n"))
    loaded = load([tmp_path], policy=policy)
    assert [(each.code, each.rule_id, each.line) for each in loaded.warnings] == [
        ("W421", "a", 1),
        ("W429", "zork", 2),
    ]


@pytest.mark.parametrize(
    ("name", "text", "finding"),
    [
        ("o.yml", "a: {severity: urgent}", "o.yml:1:15: error[E411]: `a.severity` must be"),
        ("o.yml", "a:\n  colour: red", "o.yml:2:11: error[E411]: `a key of a` must be one of enabled, "),
        ("o.yml", "a: 5", "o.yml:1:4: error[E411]: `a` must be a table, not 5"),
        ("o.yml", "a: {suppression: {group_by: []}}", "`a.suppression.group_by` must be a list of 1 to 5"),
        ("o.yml", "- a", "o.yml:1:3: error[E444]: a rule is an object"),
        ("o.yml", "a: {", "o.yml:1:5: error[E441]"),
        ("o.json", "{", "o.json:1:2: error[E440]"),
        ("o.toml", "x", "error[E403]"),
        ("o.txt", "", "ends in .yml, .yaml, .json or .toml"),
    ],
)
def test_a_bad_overlay_stops_everything(tmp_path: Path, name: str, text: str, finding: str) -> None:
    with pytest.raises(PolicyError) as raised:
        overlaid(tmp_path, (name, text))
    assert finding in str(raised.value)


def test_all_of_what_is_wrong_in_overlays_is_told(tmp_path: Path) -> None:
    with pytest.raises(PolicyError) as raised:
        overlaid(tmp_path, ("1.yml", "a: {severity: x, tags: 5}"), ("2.yml", "b: {enabled: 5}"))
    assert str(raised.value).count("error[E411]") == 3


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    cases: tuple[dict[str, Any], ...] = (
        {"overlay": [tmp_path / "none.yml"]},
        {"version_lock": tmp_path / "none.json"},
    )
    for options in cases:
        with pytest.raises(PolicyError, match="cannot be read"):
            read_policy(**options)


# --- versions --------------------------------------------------------------------------------


def test_the_version_lock_numbers_rules_without_a_version(tmp_path: Path) -> None:
    write(tmp_path, {}, {"rule_id": "b", "version": 7}, {"rule_id": "c"})
    lock = tmp_path / "version.lock.json"
    lock.write_text(json.dumps({"a": {"version": 5, "sha256": "x"}, "b": {"version": 9}, "x": 5}))
    loaded = load([tmp_path], policy=read_policy(version_lock=lock))
    assert [(rule.rule_id, rule.version) for rule in loaded.rules] == [("a", 5), ("b", 7), ("c", 1)]
    assert loaded.refused == ()  # the lock, too, lies there, and holds no rules


@pytest.mark.parametrize("text", ["[]", "{", "[" * 100_000])
def test_a_bad_version_lock(tmp_path: Path, text: str) -> None:
    (tmp_path / "lock.json").write_text(text)
    with pytest.raises(PolicyError, match=r"lock\.json"):
        read_policy(version_lock=tmp_path / "lock.json")


def test_the_version_of_attack(tmp_path: Path) -> None:
    newer = {**THREAT, "tactic": {**THREAT["tactic"], "id": "TA0099"}}
    atlas = {**THREAT, "framework": "MITRE ATLAS"}
    mapping = {"framework": "MITRE ATT&CK", "version": "v19", "threat": [newer, {"bad": 1}]}
    write(tmp_path, {"threat": [THREAT, atlas], "threat_mappings": [mapping]})
    for version, tactics in (
        ("", ["TA0002", "TA0002"]),
        ("19", ["TA0099", "TA0002"]),
        ("v18", ["TA0002", "TA0002"]),
    ):
        (rule,) = load([tmp_path], policy=Policy(attack_version=version)).rules
        assert [threat["tactic"]["id"] for threat in rule.threat] == tactics


def test_the_index_gate_can_be_opened(tmp_path: Path) -> None:
    (rule,) = load([write(tmp_path, {})], policy=Policy(ignore_index=True)).rules
    assert (rule.ignore_index, rule.index) == (True, ("logs-*",))

"""What the operator changes in rules without editing them: which run, and how.

A policy is applied to rules when all of them have been read: an overlay changes single ones by rule_id,
selectors leave rules out, the version lock numbers those whose files do not.

Rule 1: a mistake in a policy's files stops the load. A policy that is half applied would run rules that
somebody meant to turn off.
Rule 2: a rule's content hash covers what was changed in it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path as FilePath
from typing import Any, cast

from detectord.eql.source import Source
from detectord.rules import keys
from detectord.rules.contents import DOCUMENTS, MAX_DOCUMENT_BYTES, objects_of
from detectord.rules.findings import Finding, RuleCode, finding, kind_of
from detectord.rules.keys import OVERLAY, THREAT
from detectord.rules.objects import Object
from detectord.rules.places import Path
from detectord.rules.rule import SEVERITIES, Rule
from detectord.rules.schema import suppression_of
from detectord.rules.spans import DEFAULT_INTERVAL
from detectord.rules.tomltext import toml_document


class PolicyError(Exception):
    """A file of the policy cannot be used. One line a finding."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selector:
    """Which rules are meant: by rule_id, by globs of their tags and paths, by integrations.

    An empty part says nothing. A path's glob is held against the path as it was reached and every end of it:
    `windows/*` means whatever stands below any folder of that name.
    """

    rule_ids: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    integrations: tuple[str, ...] = ()

    def verdicts(self, rule: Rule) -> tuple[bool, ...]:
        """For each part that says something whether it means the rule."""
        parts = (
            (self.rule_ids, rule.rule_id in self.rule_ids),
            (self.tags, any(fnmatchcase(tag, glob) for tag in rule.tags for glob in self.tags)),
            (self.paths, self.means_path(rule.path)),
            (self.integrations, any(each in self.integrations for each in rule.integrations)),
        )
        return tuple(verdict for said, verdict in parts if said)

    def means_path(self, path: str) -> bool:
        """True if one of the globs fits the path or an end of it."""
        return any(fnmatchcase(path, glob) or fnmatchcase(path, f"*/{glob}") for glob in self.paths)


@dataclass(frozen=True, slots=True)
class Change:
    """What overlays say of one rule, and where the last of them says it."""

    said: Mapping[str, Any]
    source: Source
    offset: int

    def finding(self, code: RuleCode, args: Mapping[str, object]) -> Finding:
        """A finding there."""
        return finding(code, args, self.source, self.offset)


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What is done to rules after they are read.

    A rule runs if every part of `include` and no part of `exclude` means it, and if it is at least as severe
    as `min_severity`. `overlay` has the changes by rule_id, `versions` the numbers by rule_id;
    `attack_version` chooses among the threats that a rule names for several versions of ATT&CK;
    `ignore_index` opens the index gates.
    """

    include: Selector = Selector()
    exclude: Selector = Selector()
    min_severity: str = "low"
    overlay: Mapping[str, Change] = field(default_factory=dict)
    versions: Mapping[str, int] = field(default_factory=dict)
    attack_version: str = ""
    ignore_index: bool = False
    files: tuple[str, ...] = ()
    """The files the policy was read from: they hold no rules."""

    def admits(self, rule: Rule) -> bool:
        """True if the rule is to run."""
        return (
            all(self.include.verdicts(rule))
            and not any(self.exclude.verdicts(rule))
            and SEVERITIES.index(rule.severity) >= SEVERITIES.index(cast("Any", self.min_severity))
        )

    def excludes(self, rule_id: str, path: str) -> bool:
        """True if a rule is left out whatever is wrong with it."""
        return rule_id in self.exclude.rule_ids or self.exclude.means_path(path)

    def applied(self, rule: Rule, *, has_version: bool) -> Rule:
        """The rule as the policy wants it."""
        changed = replace(rule, ignore_index=self.ignore_index, threat=_threat(rule, self.attack_version))
        if not has_version:
            changed = replace(changed, version=self.versions.get(rule.rule_id, rule.version))
        change = self.overlay.get(rule.rule_id)
        return _overlaid(changed, change.said) if change is not None else changed

    def exceptions_of(self, rule_id: str) -> tuple[str, ...]:
        """The exception lists that the overlay adds to a rule."""
        change = self.overlay.get(rule_id)
        return () if change is None else tuple(change.said.get("exceptions", ()))


NO_POLICY = Policy()


def rehashed(rule: Rule, *parts: object) -> Rule:
    """The rule with a content hash that covers `parts` as well."""
    text = json.dumps([rule.content_hash, *parts], sort_keys=True, default=repr)
    return replace(rule, content_hash=hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest())


def _overlaid(rule: Rule, changes: Mapping[str, Any]) -> Rule:
    """The rule with what an overlay says of it instead of what its file says."""
    changed = replace(
        rule,
        enabled=changes.get("enabled", rule.enabled),
        severity=changes.get("severity", rule.severity),
        risk_score=changes.get("risk_score", rule.risk_score),
        index=tuple(changes.get("index", rule.index)),
        tags=tuple(changes.get("tags", rule.tags)),
    )
    if "suppression" in changes:
        said = changes["suppression"]
        interval = str(rule.extra.get("interval", DEFAULT_INTERVAL))
        changed = replace(changed, suppression=suppression_of(said, interval) if said else None)
    return rehashed(changed, {key: value for key, value in changes.items() if key != "exceptions"})


def _threat(rule: Rule, version: str) -> tuple[Mapping[str, Any], ...]:
    """The rule's threats, those of the given version of a framework instead of the others of it."""
    wanted = version.lower().removeprefix("v")
    chosen = [
        each for each in rule.threat_mappings if str(each["version"]).lower().removeprefix("v") == wanted
    ]
    if not wanted or not chosen:
        return rule.threat
    frameworks = {each["framework"] for each in chosen}
    threats = [{"framework": each["framework"], **threat} for each in chosen for threat in each["threat"]]
    kept = [each for each in rule.threat if each.get("framework") not in frameworks]
    return (*(each for each in threats if not any(THREAT(each))), *kept)


# --- reading ---------------------------------------------------------------------------------


def read_policy(
    *,
    include: Selector = Selector(),
    exclude: Selector = Selector(),
    min_severity: str = "low",
    overlay: Sequence[FilePath] = (),
    version_lock: FilePath | None = None,
    attack_version: str = "",
    ignore_index: bool = False,
) -> Policy:
    """The policy with the content of its files.

    Raises:
        PolicyError: a file cannot be read, or says what it may not.
    """
    changes: dict[str, Change] = {}
    problems: list[str] = []
    for file in overlay:
        for rule_id, change in _overlay(file, problems):
            earlier = changes[rule_id].said if rule_id in changes else {}
            changes[rule_id] = replace(change, said={**earlier, **change.said})
    if problems:
        raise PolicyError("\n".join(problems))
    return Policy(
        include=include,
        exclude=exclude,
        min_severity=min_severity,
        overlay=changes,
        versions=_versions(version_lock) if version_lock is not None else {},
        attack_version=attack_version,
        ignore_index=ignore_index,
        files=tuple(str(file) for file in (*overlay, *([version_lock] if version_lock else []))),
    )


def _bytes(file: FilePath) -> bytes:
    try:
        with file.open("rb") as stream:
            data = stream.read(MAX_DOCUMENT_BYTES + 1)
    except OSError as error:
        raise PolicyError(f"{file}: cannot be read: {error.strerror or error}") from None
    if len(data) > MAX_DOCUMENT_BYTES:
        raise PolicyError(f"{file}: larger than {MAX_DOCUMENT_BYTES} bytes")
    return data


def _overlay(file: FilePath, problems: list[str]) -> Iterable[tuple[str, Change]]:
    """The changes in one file by rule_id."""
    for document in _documents(file, problems):
        source = Source(document.places.text, str(file), origin=document.origin)
        if not isinstance(document.value, dict):
            actual = kind_of(document.value)
            problems.append(finding(RuleCode.NOT_AN_OBJECT, {"actual": actual}, source).text)
            continue
        for rule_id, said in document.value.items():
            wrong = list(_wrong(rule_id, said))
            for path, args in wrong:
                place = document.places.of(path)
                problems.append(finding(RuleCode.WRONG_VALUE, args, source, place).text)
            if not wrong:
                yield rule_id, Change(said, source, document.places.of((rule_id,)))


def _wrong(rule_id: str, said: Any) -> Iterable[tuple[Path, dict[str, object]]]:
    """What is wrong with the changes to one rule, and where."""
    for inner, expected in OVERLAY(said):
        path = (rule_id, *inner)
        yield path, {"key": keys.spelled(path), "expected": expected, "actual": kind_of(_at(said, inner))}
    for key in said if isinstance(said, dict) else ():
        if key not in keys.OVERLAY_KEYS:
            expected = f"one of {', '.join(keys.OVERLAY_KEYS)}"
            yield (rule_id, key), {"key": f"a key of {rule_id}", "expected": expected, "actual": f"`{key}`"}


def _documents(file: FilePath, problems: list[str]) -> Iterable[Object]:
    """The objects of an overlay file: one, or several YAML documents."""
    data = _bytes(file)
    if file.suffix == ".toml":
        parsed = toml_document(data, str(file))
        if isinstance(parsed, Finding):
            problems.append(parsed.text)
        else:
            yield Object(parsed[0], parsed[1], (1, 1))
    elif file.suffix in DOCUMENTS:
        for each in objects_of(data, str(file), file.suffix):
            if isinstance(each, Finding):
                problems.append(each.text)
            else:
                yield each
    else:
        problems.append(f"{file}: an overlay is a file that ends in .yml, .yaml, .json or .toml")


def _at(value: Any, path: Path) -> Any:
    for part in path:
        value = value[part]
    return value


def _versions(file: FilePath) -> dict[str, int]:
    """The version of each rule in a version lock: `{rule_id: {"version": n, …}}`."""
    try:
        locked = json.loads(_bytes(file))
    except (ValueError, RecursionError) as error:
        raise PolicyError(f"{file}: not JSON: {error}") from None
    if not isinstance(locked, dict):
        raise PolicyError(f"{file}: a version lock is an object by rule_id")
    entries = (
        (rule_id, entry.get("version")) for rule_id, entry in locked.items() if isinstance(entry, dict)
    )
    return {rule_id: number for rule_id, number in entries if isinstance(number, int) and number >= 1}

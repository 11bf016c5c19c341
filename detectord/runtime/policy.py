"""What the configuration says about which rules run, and how, with the content of the files it names."""

from __future__ import annotations

from pathlib import Path

from detectord.config import ConfigError, Problem, RulesConfig, SelectorConfig
from detectord.rules.policy import Policy, PolicyError, Selector, read_policy


def policy_of(rules: RulesConfig) -> Policy:
    """What the configuration says about which rules run, and how.

    Raises:
        ConfigError: a file it names cannot be used.
    """
    try:
        return read_policy(
            include=_selector(rules.include),
            exclude=_selector(rules.exclude),
            min_severity=rules.min_severity,
            overlay=[Path(file) for file in rules.overlay],
            version_lock=Path(rules.version_lock) if rules.version_lock is not None else None,
            attack_version=rules.attack_version or "",
            ignore_index=rules.ignore_index,
        )
    except PolicyError as error:
        raise ConfigError([Problem("", str(error), "rules")]) from None


def _selector(selected: SelectorConfig) -> Selector:
    return Selector(
        rule_ids=selected.rule_ids,
        tags=selected.tags,
        paths=selected.paths,
        integrations=selected.integrations,
    )

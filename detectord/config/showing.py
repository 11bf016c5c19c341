"""The configuration in effect, for people: secrets masked."""

from __future__ import annotations

import re
from typing import Any, Final

import yaml

from detectord.config.quantities import Duration, Size, Start
from detectord.config.tree import Config, Section, keys_of

_SECRET: Final = re.compile(r"password|secret|token|key[._]pem|jaas", re.IGNORECASE)
MASK: Final = "***"


def masked(config: Section) -> dict[str, Any]:
    """The configuration as plain values in the file's own spelling, each secret as `***`."""
    return {key: _plain(key, getattr(config, key)) for key in keys_of(type(config))}


def _plain(key: str, value: object) -> object:
    if isinstance(value, Section):
        return masked(value)
    if isinstance(value, tuple):
        return [_plain(key, each) for each in value]
    if isinstance(value, dict):
        return {name: _plain(name, each) for name, each in value.items()}
    if _SECRET.search(key) and value is not None:
        return MASK
    return str(value) if isinstance(value, (Duration, Size, Start)) else value


def show(config: Config) -> str:
    """The configuration as YAML, each secret as `***`."""
    return yaml.safe_dump(masked(config), sort_keys=False, allow_unicode=True, width=100)

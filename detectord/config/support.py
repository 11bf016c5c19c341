"""Settings that mean something, but not in this version yet.

They load and show, so that a configuration can be written for the next version; whoever acts on the
configuration asks `require_supported` first, because silently doing less would be a lie.
"""

from __future__ import annotations

from detectord.config.reading import ConfigError, Problem
from detectord.config.tree import Config


def require_supported(config: Config) -> None:
    """Refuse a configuration that asks for what does not exist yet.

    Raises:
        ConfigError: it does.
    """
    if config.delivery.mode == "exactly_once":
        problem = Problem(
            "delivery.mode", "exactly_once is not supported yet", "configuration", "set it to at_least_once"
        )
        raise ConfigError([problem])

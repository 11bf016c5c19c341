"""detectord: ECS events in, scored alerts out.

`detectord.match` evaluates one query over a list of events, for tests and notebooks; the daemon is
started with the `detectord` command. The door is opened on first use, so that a worker process or
`detectord --version` does not load what it does not need.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from detectord.batch import Match, QueryError, match

__all__ = ["Match", "QueryError", "__version__", "match"]
__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    if name in ("Match", "QueryError", "match"):
        from detectord import batch

        return getattr(batch, name)
    raise AttributeError(f"module 'detectord' has no attribute {name!r}")

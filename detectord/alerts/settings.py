"""What an operator may choose about alert documents. Built from the configuration, read by every format."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from detectord.events.index import SourceIndex

MIN_MAX_BYTES = 16_384
"""No document is cut below this: the identifying fields of an alert must always fit."""

EventKind = Literal["signal", "alert"]
KeyStyle = Literal["elastic", "nested", "flat"]
RuleDetail = Literal["minimal", "standard", "full"]
BuildingBlocks = Literal["separate", "none"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertSettings:
    """The choices for one output.

    `instance` and `version` name the daemon in each document. `max_bytes` bounds the value of every
    record. `redact` lists field paths (`process.env_vars`) and paths with a trailing `.*`.
    `source_index` says by topic which index its events belong to.

    Raises:
        ValueError: a pattern of `redact` is neither of the two forms, or `max_bytes` is too small.
    """

    instance: str
    version: str
    space: str = "default"
    event_kind: EventKind = "signal"
    key_style: KeyStyle = "elastic"
    rule_detail: RuleDetail = "standard"
    building_blocks: BuildingBlocks = "separate"
    max_bytes: int = 900_000
    redact: tuple[str, ...] = ()
    source_index: Mapping[str, SourceIndex] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.max_bytes < MIN_MAX_BYTES:
            raise ValueError(f"max_bytes is {self.max_bytes}, at least {MIN_MAX_BYTES} are needed")
        for pattern in self.redact:
            path = pattern.removesuffix(".*")
            if "*" in path or not all(path.split(".")):
                raise ValueError(
                    f"redact: `{pattern}` is neither a field path nor a path with a trailing `.*`"
                )

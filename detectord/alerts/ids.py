"""Alert ids: the same match always gets the same id.

Rule 1: only what makes a match this match is hashed: the rule's uuid and the identities of its
events (for a fanned-out sequence also its join key). Times, versions and instances are not, so that
replay, failover and a new release of a rule write the same document again.
Rule 2: parts are joined by a byte that ends a part; the leading words keep the families apart.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

from detectord.compiler.compiled import KeyValue

_SEPARATOR = b"\x1f"
_SCHEME = "1"
"""Changed only together with what is hashed, which would give every alert a new id."""


def H(*parts: str) -> str:  # noqa: N802 - the name that the specification of the ids uses
    """Lower-case hex sha256 of the parts in UTF-8 with 0x1F between them.

    Half of a surrogate pair, which UTF-8 has no bytes for, counts as the three bytes it would have.
    """
    encoded = _SEPARATOR.join(part.encode("utf-8", "surrogatepass") for part in parts)
    return hashlib.sha256(encoded).hexdigest()


def event_alert_id(rule_uuid: str, sid: str) -> str:
    """The id of an event rule's alert on the event with source identity `sid`."""
    return H("detectord", "event", _SCHEME, rule_uuid, sid)


def shell_id(
    rule_uuid: str, sids: Sequence[str], join: Sequence[KeyValue] | None = None, *, sample: bool = False
) -> str:
    """The id of a sequence's (or sample's) shell alert over the events `sids`, in step order.

    `join` is the key, given only if an event took part under several keys: then the events alone do
    not tell two matches apart.
    """
    family = "sample" if sample else "sequence"
    key = () if join is None else (_canonical(join),)
    return H("detectord", family, _SCHEME, rule_uuid, *sids, *key)


def block_id(shell_uuid: str, stage: int) -> str:
    """The id of the building block for step number `stage` of the sequence alert `shell_uuid`."""
    return H("detectord", "block", _SCHEME, shell_uuid, str(stage))


def _canonical(join: Sequence[KeyValue]) -> str:
    return json.dumps(list(join), ensure_ascii=False, separators=(",", ":"))

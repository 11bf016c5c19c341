"""Bounds on what of an event goes into state: an attacker chooses its texts, not their length there."""

from __future__ import annotations

import hashlib

from detectord.compiler.compiled import JoinKey

MAX_KEY_LENGTH = 512
"""Characters of a join key's value, or of a name, that go into state as they are."""


def bounded(key: JoinKey) -> JoinKey:
    """The key with every long text shortened: keys meet as before, and state has a bound."""
    if all(not isinstance(part, str) or len(part) <= MAX_KEY_LENGTH for part in key):
        return key
    return tuple(shortened(part) if isinstance(part, str) else part for part in key)


def shortened(text: str) -> str:
    """`text`; if it is long, its beginning and a digest of it, MAX_KEY_LENGTH characters at most."""
    if len(text) <= MAX_KEY_LENGTH:
        return text
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{text[: MAX_KEY_LENGTH - 80]}…sha256:{digest}"

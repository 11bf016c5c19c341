"""Hits: what names them is the same whoever makes it."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from detectord.compiler.compiled import JoinKey
from detectord.engine.hits import canonical_key

texts = st.text(st.characters(codec=None, categories=None), max_size=5)
values = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), texts)


@given(st.lists(values, max_size=4).map(tuple))
def test_a_canonical_key_is_json_as_the_encoder_writes_it(key: JoinKey) -> None:
    assert canonical_key(key) == json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode(key)

"""Alert ids against the published vectors, and what does and does not change them."""

import hashlib

import pytest

from detectord.alerts.ids import H, block_id, event_alert_id, shell_id

RID = "5d1c0e52-8f0b-4c37-9a52-2c1f6a0b7e11"
SEQUENCE_RID = "a7e0b6c4-3d52-4c19-8f6e-90b1d2c3e4f5"
FIRST = "e:0f3c9b7e-51d4-4a86-9c2f-7e1b6d08a4c5:NaK3xR7bQe2LwT5v++++1hZc"
SECOND = "e:0f3c9b7e-51d4-4a86-9c2f-7e1b6d08a4c5:NaK3xR7bQe2LwT5v++++1hZk"
SHELL = "e2fab171982ec7463dcf7cbb0a07d46192892945117a1078546bd96822ce5ae8"


@pytest.mark.parametrize(
    ("sid", "expected"),
    [
        (FIRST, "793295ac835bf534c932da10d4c195276a70ac034a77f86c3899f47cb9b74aa6"),
        (
            "w:wks-17.example.com:Security:2817345",
            "b11e58ff2c57defa3a305a6268a3dc6b98c19eb03a0c156b43251b4653798ed3",
        ),
        ("k:ecs.endpoint:5:8812345", "d059e9da498d00233ec1172d95d4591beeecae5c6df4ed6d4c55792495ec0bf1"),
    ],
)
def test_event_vectors(sid, expected):
    assert event_alert_id(RID, sid) == expected


def test_sequence_vectors():
    assert shell_id(SEQUENCE_RID, [FIRST, SECOND]) == SHELL
    assert block_id(SHELL, 0) == "69a626b2b2f9efcefe3e23be89b3ccec31d0debf4ebc628ea52ec90b1c80a5f5"
    assert block_id(SHELL, 1) == "70b313777d7d61e3ea8647b68fda39db0f4cb2bea8d5139c267f3b59abd42c93"


def test_parts_are_separated_by_one_byte():
    assert H("a", "é") == hashlib.sha256(b"a\x1f\xc3\xa9").hexdigest()
    assert H("ab", "c") != H("a", "bc")


def test_half_a_surrogate_pair_is_a_part_like_any_other():
    assert H("\ud800") != H("\ud801") != H("?")


def test_a_join_key_is_the_last_part_in_canonical_json():
    key = ["pier-9", 5, True, None, 'ä"']
    assert shell_id(RID, ["s"], key) == H(
        "detectord", "sequence", "1", RID, "s", '["pier-9",5,true,null,"ä\\""]'
    )
    assert shell_id(RID, ["s"], key) != shell_id(RID, ["s"])


def test_families_never_meet():
    ids = {
        event_alert_id(RID, "s"),
        shell_id(RID, ["s"]),
        shell_id(RID, ["s"], sample=True),
        block_id(RID, 0),
    }
    assert len(ids) == 4

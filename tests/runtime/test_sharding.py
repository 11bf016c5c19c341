"""Which worker a record goes to: a glance at its bytes says what decoding it says, or nothing for long."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from time import process_time

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectord.demo.traffic import events
from detectord.events.record import Record
from detectord.runtime import sharding
from detectord.runtime.sharding import MANY, Router, glance, level

WORKERS = 5


def record(value: bytes, key: bytes | None = None, topic: str = "t") -> Record:
    return Record(topic, 0, 0, None, key, value)


def router(workers: int = WORKERS) -> Router:
    return Router(workers, 64, ["keyed"])


def decoded(records: Sequence[Record]) -> list[int]:
    """The slow twin: every record is decoded, by a router that knows nothing yet."""
    return [router().workers([each])[0] for each in records]


def compact(document: object) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()


@pytest.mark.parametrize(
    ("value", "seen"),
    [
        (b'{"host":{"id":"h1","name":"n"}}', b"h1"),
        (b'{"a":1,"host":{"name":"n","os":{"name":"w","Ext":{"v":"x"}},"ip":["::1"],"id":"h1"}}', b"h1"),
        (b'{"host":{"os":{"id":"x"},"id":"h1"}}', b"h1"),
        (b'{"host":{"os":{"a":1,"id":"x"},"id":"h1"}}', b""),
        (b'{"host":{"os":[' + b"{}," * 99 + b'{}],"id":"h1"}}', b""),
        (b'{"host":{"name":"n"},"user":{"name":"u","id":"S-1"}}', b""),
        (b'{"host":{"id":"a\\"b"}}', b""),
        (b'{"host":{"id":"' + b"x" * 1_000 + b'"}}', b""),
        (b'{"host":{"id":"h1', b""),
        (b'{"host":{"id":["h1"]}}', b""),
        (b'{"host": {"id": "h1"}}', b""),
        (b'{"host.id":"h1"}', b""),
        (b"no json", b""),
        (b"", b""),
    ],
)
def test_what_a_glance_sees(value: bytes, seen: bytes) -> None:
    assert glance(value) == seen


@pytest.mark.parametrize("encode", [msgspec.json.encode, compact, lambda d: json.dumps(d).encode()])
def test_a_glance_sees_what_decoding_finds_in_the_traffic_of_shippers(
    encode: Callable[[object], bytes],
) -> None:
    records = [record(encode(document)) for document in events(1, MANY - 1, 1_790_000_000 * 10**9, 20)]
    spread = router().workers(records)
    assert spread == decoded(records)
    assert len(set(spread)) == WORKERS
    seen = [glance(each.value).decode() for each in records]
    if b": " not in records[0].value:
        assert seen == [router().routing_key(each) for each in records]


texts = st.text(st.sampled_from('ab"\\{}:,\u00e9\ud800'), max_size=4)
scalars = texts | st.integers(-2, 2) | st.booleans() | st.none()
inner = st.dictionaries(
    st.sampled_from(["id", "name", "os", "host", '"id":"']), scalars | st.lists(scalars, max_size=2)
)
hosts = st.dictionaries(st.sampled_from(["id", "name", "os", "host"]), scalars | inner)
documents = st.dictionaries(
    st.sampled_from(["host", "agent", "winlog", "user", "host.id", "tags", "observer"]),
    hosts | scalars,
    max_size=4,
)


@given(st.lists(documents, min_size=1, max_size=8))
def test_any_document_has_a_worker_and_the_last_of_a_batch_the_right_one_from_then_on(
    made: list[dict[str, object]],
) -> None:
    """Whatever was believed before: repeated, the last record of a batch goes where decoding says."""
    records = [record(compact(document)) for document in made]
    believing = router()
    assert all(0 <= worker < WORKERS for worker in believing.workers(records))
    assert believing.workers(records)[-1] == decoded(records)[-1]


@given(st.binary(max_size=40), st.binary(max_size=20))
def test_bytes_that_are_no_document_have_a_worker(start: bytes, end: bytes) -> None:
    values = [start + end, b'{"host":{' + start, b'{"host":{' + start + b',"id":"' + end + b'"}}']
    assert all(0 <= worker < WORKERS for worker in router().workers([record(value) for value in values]))


def test_a_host_that_forwards_events_of_others_loses_trust_and_they_are_spread() -> None:
    """Its own events come first, so that it is trusted; then those that it collects."""
    own = [record(compact({"host": {"id": "collector"}, "n": number})) for number in range(10)]
    forwarded = [
        record(
            compact(
                {"host": {"id": "collector"}, "tags": ["forwarded"], "winlog": {"computer_name": f"c{n}"}}
            )
        )
        for n in range(50)
    ]
    spreading = router()
    spreading.workers(own)
    assert len(set(spreading.workers(forwarded))) == 1
    assert spreading.workers(forwarded) == decoded(forwarded)
    assert spreading.workers(own) == decoded(own)


def test_the_record_key_counts_only_where_it_is_said_to_be_the_host() -> None:
    value = compact({"host": {"id": "h1"}})
    by_key = router().workers([record(value, b"h%d" % n, "keyed") for n in range(50)])
    assert len(set(by_key)) == WORKERS
    assert by_key[1] == router().workers([record(value)])[0]
    assert len(set(router().workers([record(value, b"h%d" % n) for n in range(50)]))) == 1


@given(
    st.integers(1, 9).flatmap(lambda n: st.tuples(st.just(n), st.lists(st.integers(0, n - 1), min_size=1)))
)
def test_no_worker_gets_more_than_an_eighth_above_its_share(made: tuple[int, list[int]]) -> None:
    workers, before = made
    after = list(before)
    level(after, workers)
    share = -(-len(before) // workers)
    for worker in range(workers):
        had, has = before.count(worker), after.count(worker)
        assert has <= share + share // 8
        assert has >= had or has == share + share // 8, "only what is too much is given away"
        assert has <= had or has <= share, "and only to those below their share"


def test_a_batch_of_one_host_is_shared_out_if_it_is_large() -> None:
    records = [record(compact({"host": {"id": "h"}, "n": number})) for number in range(MANY)]
    assert len(set(router().workers(records))) == WORKERS
    assert len(set(router().workers(records[1:]))) == 1


def test_one_worker_gets_everything_unseen() -> None:
    assert router(1).workers([record(b"no json"), record(b"{}")]) == [0, 0]


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharding, "MAX_KEYS", 10)
    rng = random.Random(1)
    forgetful = router()
    for _ in range(20):
        names = [f"h{rng.randrange(1_000)}" for _ in range(30)]
        records = [record(compact({"host": {"id": name}})) for name in names]
        records += [record(b"{}", name.encode(), "keyed") for name in names]
        assert forgetful.workers(records) == decoded(records)
        assert len(forgetful._by_glance) <= 10
        assert len(forgetful._by_key) <= 10


@pytest.mark.parametrize(
    "value",
    [
        b'{"host":{' * 100_000,
        b'{"host":{"a":"' + b"{" * 1_000_000 + b'","id":"h"}}',
        b'{"host":' * 100_000 + b'{"hos' * 100_000,
        b'{"host":{"id":"' + b"x" * 1_000_000,
        b'"' * 1_000_000,
    ],
)
def test_a_hostile_megabyte_costs_a_few_passes_over_its_bytes(value: bytes) -> None:
    """Against the plainest pass there is, so that a slow machine fails no test."""
    began = process_time()
    for _ in range(20):
        sum(value[:50_000])
    plain = process_time() - began
    began = process_time()
    glance(value)
    assert process_time() - began < plain

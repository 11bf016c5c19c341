"""What files have that other sources and sinks have not: lines, names, damage, pipes."""

from __future__ import annotations

import gzip
import os
import threading
from pathlib import Path

import pytest
from contracts.sink import alert, letter
from contracts.source import read_to_end, values
from hypothesis import given, settings
from hypothesis import strategies as st

from detectord.events.record import Record
from detectord.sinks import DeliveryError, Outputs
from detectord.sinks.ndjson import KEPT_DEAD_LETTERS, NdjsonSink
from detectord.sources import SourceError
from detectord.sources.ndjson import CHUNK, NdjsonSource

LINES = [
    ("empty", b"", []),
    ("only blank", b"\n \n\t\r\n\n", []),
    ("no newline at the end", b"a\nb", [(1, b"a"), (2, b"b")]),
    ("newline at the end", b"a\nb\n", [(1, b"a"), (2, b"b")]),
    ("blank lines count", b"\na\n\n  \nb\n\n", [(2, b"a"), (5, b"b")]),
    ("carriage returns", b"a\r\n\r\nb\r", [(1, b"a"), (3, b"b")]),
    ("only a newline ends a line", "a\u2028b\x0cc\rd\n".encode(), [(1, "a\u2028b\x0cc\rd".encode())]),
    ("any bytes", b"\x00\xff\n\xfe", [(1, b"\x00\xff"), (2, b"\xfe")]),
    (
        "too long: one byte more is kept",
        b"12345678\n123456789\n1",
        [(1, b"12345678"), (2, b"123456789"), (3, b"1")],
    ),
    ("much too long", b"x" * (3 * CHUNK) + b"\nb", [(1, b"x" * 9), (2, b"b")]),
    ("more than a chunk", b"\n".join([b"ab"] * CHUNK), [(n + 1, b"ab") for n in range(CHUNK)]),
]


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize(("data", "expected"), [pytest.param(*case, id=name) for name, *case in LINES])
def test_lines(tmp_path: Path, data: bytes, expected: list[tuple[int, bytes]], zipped: bool) -> None:
    path = tmp_path / ("in.gz" if zipped else "in")
    path.write_bytes(gzip.compress(data) if zipped else data)
    source = NdjsonSource([path], max_event_bytes=8)
    records = read_to_end(source, limit=10_000)
    assert [(record.offset, record.value) for record in records] == expected
    assert {record[:2] for record in records} <= {(path.name, 0)}
    assert source.progress() == (path.stat().st_size, path.stat().st_size)
    assert source.poll(1, 0.0).finished
    source.close()


@settings(max_examples=60)
@given(
    lines=st.lists(st.sampled_from([b"", b" ", b"{}", b'{"a":1}', b"x" * 40]), max_size=30),
    limit=st.integers(1, 5),
    back=st.integers(1, 31),
)
def test_going_back_to_a_line(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], limit: int, back: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "lines"
    path.write_bytes(b"\n".join(lines))
    expected = [(n, line) for n, line in enumerate(lines, 1) if line.strip()]
    source = NdjsonSource([path])
    whole = [(r.offset, r.value) for r in read_to_end(source, limit)]
    assert whole == expected
    source.seek({(path.name, 0): back})
    again = [(r.offset, r.value) for r in read_to_end(source, limit)]
    assert again == [each for each in expected if each[0] >= back]
    source.close()


def test_the_last_record_says_that_it_is_the_last(tmp_path: Path) -> None:
    for name, data in (("a", b"1\n2\n\n"), ("b", b""), ("c", b"3\n")):
        (tmp_path / name).write_bytes(data)
    source = NdjsonSource([tmp_path / name for name in "abc"])
    polls = [source.poll(1, 0.0) for _ in range(3)]
    assert [values(poll.records) for poll in polls] == [[b"1"], [b"2"], [b"3"]]
    assert [sorted(topic for topic, _ in poll.at_end) for poll in polls] == [[], ["a", "b"], ["a", "b", "c"]]
    assert [poll.finished for poll in polls] == [False, False, True]
    source.seek({("a", 0): 2, ("c", 0): 2})
    assert values(read_to_end(source)) == [b"2"]
    source.close()


def test_names(tmp_path: Path) -> None:
    paths = [tmp_path / "x" / "same", tmp_path / "y" / "same", tmp_path / "y" / "other"]
    for path in paths:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"1")
    source = NdjsonSource(paths)
    assert source.assignment() == {(str(paths[0]), 0), (str(paths[1]), 0), ("other", 0)}
    with pytest.raises(SourceError, match="is given twice"):
        NdjsonSource([paths[0], str(paths[0])])


def test_no_input_at_all() -> None:
    poll = NdjsonSource([]).poll(1, 0.0)
    assert (poll.records, poll.finished) == ([], True)


def test_what_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="nowhere: No such file"):
        NdjsonSource([tmp_path / "nowhere"])
    with pytest.raises(SourceError, match="is a directory"):
        NdjsonSource([tmp_path])
    with pytest.raises(SourceError, match="null"):
        NdjsonSource(["a\0b.null"])


ZIPPED = gzip.compress(b"".join(b'{"n":%d}\n' % n for n in range(20_000)))


@pytest.mark.parametrize(
    "damaged",
    [
        pytest.param(b"no gzip", id="no gzip"),
        pytest.param(ZIPPED[:-20], id="cut off"),
        pytest.param(ZIPPED[:9_000] + bytes(50) + ZIPPED[9_050:], id="bytes changed"),
        pytest.param(ZIPPED[:-6] + b"\0\0" + ZIPPED[-4:], id="checksum"),
        pytest.param(ZIPPED + b"behind", id="something behind"),
    ],
)
def test_a_damaged_file(tmp_path: Path, damaged: bytes) -> None:
    path = tmp_path / "in.ndjson.gz"
    path.write_bytes(damaged)
    source = NdjsonSource([path])
    records: list[Record] = []

    def read_on() -> None:
        while True:
            poll = source.poll(1_000, 0.0)
            assert not poll.finished
            records.extend(poll.records)

    for _ in range(2):  # it stays damaged
        with pytest.raises(SourceError, match=r"in\.ndjson\.gz: .*(amaged|gzip)"):
            read_on()
    assert [r.offset for r in records] == list(range(1, len(records) + 1))
    if records:
        source.seek({("in.ndjson.gz", 0): 3})
        assert source.poll(1, 0.0).records[0].offset == 3
    source.close()


def test_a_pipe(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    write_on = threading.Event()

    def write() -> None:
        with open(path, "wb", buffering=0) as pipe:
            pipe.write(b"1\n2\n")
            write_on.wait(20)
            pipe.write(b"3")

    writer = threading.Thread(target=write)
    writer.start()
    source = NdjsonSource([path])
    first = source.poll(1, 20.0)
    assert (values(first.records), first.finished) == ([b"1"], False)
    assert source.progress()[1] is None
    second = source.poll(5, 20.0)
    assert (values(second.records), second.finished) == ([b"2"], False)
    assert source.poll(5, 0.01).records == []
    source.seek({("pipe", 0): 3})
    write_on.set()
    assert values(read_to_end(source)) == [b"3"]
    with pytest.raises(SourceError, match="cannot be read again"):
        source.seek({("pipe", 0): 2})
    writer.join()
    source.close()


def test_standard_input(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "in"
    path.write_bytes(b"1\n2\n")
    with open(path) as stand_in:
        monkeypatch.setattr("sys.stdin", stand_in)
        source = NdjsonSource(["-"])
        assert [record[:3] + record[5:6] for record in read_to_end(source)] == [
            ("-", 0, 1, b"1"),
            ("-", 0, 2, b"2"),
        ]
        assert source.progress() == (4, None)
        source.close()


def test_a_sink_on_standard_output(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    sink = NdjsonSink("-")
    sink.commit(Outputs([alert(1), alert(2)], []), {})
    assert capsysbinary.readouterr().out == alert(1).value + b"\n" + alert(2).value + b"\n"
    assert sink.alerts == 2
    sink.close()


def test_a_sink_keeps_the_first_dead_letters(tmp_path: Path) -> None:
    sink = NdjsonSink(tmp_path / "out")
    sink.commit(Outputs([], [letter(n) for n in range(30)]), {})
    sink.commit(Outputs([], [letter(31, "too_large")]), {})
    assert sink.dead_letters == {"not_json": 30, "too_large": 1}
    assert sink.first_dead_letters == [letter(n) for n in range(KEPT_DEAD_LETTERS)]
    sink.close()


def test_a_sink_that_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(DeliveryError, match="Is a directory"):
        NdjsonSink(tmp_path)

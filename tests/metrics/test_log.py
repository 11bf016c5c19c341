"""Logs: their form, their fields, and the bound on what records can make us write."""

from __future__ import annotations

import io
import json
import logging
from collections import Counter
from collections.abc import Iterator

import pytest
import structlog

from detectord import __version__, log


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    before = logging.getLogger().handlers[:], logging.getLogger().level
    yield
    structlog.reset_defaults()
    logging.getLogger().handlers[:] = before[0]
    logging.getLogger().setLevel(before[1])


@pytest.fixture
def out() -> io.StringIO:
    return io.StringIO()


def lines(out: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_a_line_is_an_ecs_document(out: io.StringIO) -> None:
    log.setup(stream=out, instance="node-1")
    log.get("detectord.test").warning("rule.refused", rule="r1", code="E104", topic="t", offset=7, why=3)
    (line,) = lines(out)
    assert list(line)[:4] == ["@timestamp", "log.level", "message", "ecs.version"]
    assert str(line.pop("@timestamp")).endswith("Z")
    assert line == {
        "log.level": "warning",
        "message": "rule.refused",
        "ecs.version": line["ecs.version"],
        "log": {"logger": "detectord.test"},
        "event": {"dataset": "detectord.log"},
        "service": {"name": "detectord", "version": __version__, "node": {"name": "node-1"}},
        "rule": {"id": "r1"},
        "error": {"code": "E104"},
        "kafka": {"topic": "t", "offset": 7},
        "labels": {"why": "3"},
    }


def test_an_exception_has_its_fields(out: io.StringIO) -> None:
    log.setup(stream=out)
    try:
        int("much")
    except ValueError:
        log.get("x").exception("batch.failed")
    (line,) = lines(out)
    error = line["error"]
    assert isinstance(error, dict)
    assert error["type"] == "ValueError"
    assert error["message"] == "invalid literal for int() with base 10: 'much'"
    assert "Traceback" in error["stack_trace"]


def test_hostile_text_stays_in_its_line(out: io.StringIO) -> None:
    log.setup(stream=out)
    log.get("x").warning("a.b", **{"ho*st\\": 'x\n{"log.level":"error"}\u2028\x1b[31m'})
    (line,) = lines(out)
    assert line["labels"] == {"ho_st_": 'x\n{"log.level":"error"}\u2028\x1b[31m'}


def test_levels_and_counts(out: io.StringIO) -> None:
    counts: Counter[str] = Counter()

    def count(level: str) -> None:
        counts[level] += 1

    log.setup(stream=out, level="warning", count=count)
    logger = log.get("x")
    logger.info("no")
    logger.warning("yes")
    logger.error("yes")
    logging.getLogger("library").warning("from %s", "outside")
    logging.getLogger("library").info("no")
    assert counts == {"warning": 2, "error": 1}
    assert [line["message"] for line in lines(out)] == ["yes", "yes", "from outside"]


def test_a_logger_made_before_the_set_up_obeys_it(out: io.StringIO) -> None:
    early = log.get("early")
    log.setup(stream=out)
    early.info("here")
    assert lines(out)[0]["log"] == {"logger": "early"}


def test_console(out: io.StringIO) -> None:
    log.setup(stream=out, form="console")
    log.get("x").info("rule.loaded", count=3)
    assert "rule.loaded" in out.getvalue()
    assert "count=3" in out.getvalue()
    assert "log.logger" not in out.getvalue()


def test_a_terminal_is_not_told_what_to_do(out: io.StringIO) -> None:
    log.setup(stream=out, form="console")
    log.get("x").info("record.bad", reason="a\x1b[2Jb\nc", error="\ud800")
    assert out.getvalue().count("\n") == 1
    assert out.getvalue().isascii()
    assert "\x1b[2J" not in out.getvalue()


def test_a_traceback_shows_no_locals(out: io.StringIO) -> None:
    log.setup(stream=out, form="console")
    password = "hunter" + str(2)
    try:
        int("x" + password[:0])
    except ValueError:
        log.get("x").exception("it.failed")
    assert "ValueError" in out.getvalue()
    assert "hunter2" not in out.getvalue()


class Said:
    """A logger that keeps what is said."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, dict[str, object]]] = []

    def warning(self, event: str, **fields: object) -> None:
        self.lines.append((event, fields))


def test_problems_are_said_once_and_then_summed_up() -> None:
    now, said = [0.0], Said()
    problems = log.Problems(said, lambda: now[0])
    for _ in range(1000):
        problems.report("record.bad", "not_json", topic="t")
    problems.report("record.bad", "too_large", topic="t")
    assert [fields["reason"] for _, fields in said.lines] == ["not_json", "too_large"]
    now[0] = 59.0
    problems.tick()
    assert len(said.lines) == 2
    now[0] = 60.0
    problems.tick()
    problems.tick()
    assert said.lines[2:] == [("problems.repeated", {"count": 999, "kinds": "record.bad/not_json=999"})]
    now[0] = 130.0
    problems.tick()
    assert len(said.lines) == 3  # nothing new happened


def test_problems_are_bounded() -> None:
    now, said = [0.0], Said()
    problems = log.Problems(said, lambda: now[0])
    for i in range(10_000):
        problems.report("record.bad", f"reason {i}")
    assert len(said.lines) == problems.MOST_KINDS
    now[0] = 61.0
    problems.tick()
    assert said.lines[-1][1]["count"] == 10_000 - problems.MOST_KINDS

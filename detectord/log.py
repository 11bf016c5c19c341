"""Logs: structlog set up once, ECS documents for machines and coloured lines for people.

Rule 1: an event is a dotted name, `rule.refused`, and what it is about are keyword arguments with
our own short words. `_ECS` says once which ECS field each word is; any other word becomes a label.
Rule 2: no event body above debug, no secret anywhere, and per record never more than `Problems`
lets through: an attacker who writes bad records must not be able to fill a disk.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, MutableMapping
from typing import Any, Final, Literal, Protocol, TextIO

import ecs_logging
import structlog

from detectord import __version__

Level = Literal["debug", "info", "warning", "error"]
Form = Literal["auto", "json", "console"]

_ECS: Final = {
    "rule": "rule.id",
    "topic": "kafka.topic",
    "partition": "kafka.partition",
    "offset": "kafka.offset",
    "worker": "detectord.worker",
    "epoch": "detectord.epoch",
    "pid": "process.pid",
    "exit_code": "process.exit_code",
    "file": "file.path",
    "code": "error.code",
    "url": "url.full",
    "error": "error.message",
    "seconds": "detectord.seconds",
    "count": "detectord.count",
}
_STRUCTURAL: Final = frozenset(
    {"event", "message", "timestamp", "level", "exc_info", "exception", "stack_info", "stack"}
)


def get(name: str) -> structlog.typing.FilteringBoundLogger:
    """The logger of a module; `name` is the module's `__name__`."""
    logger: structlog.typing.FilteringBoundLogger = structlog.get_logger(**{"log.logger": name})
    return logger


def setup(
    *,
    level: Level = "info",
    form: Form = "auto",
    stream: TextIO | None = None,
    instance: str = "",
    count: Callable[[str], None] = lambda _: None,
) -> None:
    """Send all logs from here on to `stream` (default: standard output).

    `instance` is the service's node name. `count` is called with the level of each message that is
    written. Logs of libraries that use `logging` come out in the same form.
    """
    out = sys.stdout if stream is None else stream
    console = form == "console" or (form == "auto" and out.isatty())
    shape = _console(out) if console else _json(instance)
    structlog.configure(
        processors=[structlog.contextvars.merge_contextvars, _counting(count), *shape],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(file=out),
        cache_logger_on_first_use=False,  # the modules' loggers exist before this is called
    )
    logging.basicConfig(handlers=[_Bridge()], level=level.upper(), force=True)


def _console(out: TextIO) -> list[Any]:
    return [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="%H:%M:%S", utc=False),
        _printable,
        structlog.dev.ConsoleRenderer(
            colors=out.isatty(),
            pad_event_to=28,
            exception_formatter=structlog.dev.plain_traceback,  # the rich one shows locals: secrets
        ),
    ]


def _json(instance: str) -> list[Any]:
    return [
        _error_fields,
        structlog.processors.format_exc_info,
        _ecs_names,
        _service(instance),
        ecs_logging.StructlogFormatter(),
    ]


def _counting(count: Callable[[str], None]) -> Callable[..., MutableMapping[str, Any]]:
    def counted(_: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        count({"exception": "error", "warn": "warning"}.get(method, method))
        return event

    return counted


def _printable(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Without the logger's name, and with no character that a terminal would obey or not encode."""
    event.pop("log.logger", None)
    for key, value in event.items():
        if isinstance(value, str) and not value.isprintable():
            event[key] = ascii(value)
    return event


def _error_fields(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    info = event.get("exc_info")
    error = info if isinstance(info, BaseException) else sys.exc_info()[1] if info else None
    if error is not None:
        event["error.type"] = type(error).__name__
        event.setdefault("error", str(error))
    return event


def _ecs_names(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    named: dict[str, Any] = {}
    for key, value in event.items():
        if key in _STRUCTURAL or "." in key:
            named[key] = value
        elif key in _ECS:
            named[_ECS[key]] = value
        elif value is not None:
            clean = key.translate({ord("*"): "_", ord("\\"): "_"})
            named[f"labels.{clean}"] = value if isinstance(value, str) else str(value)
    return named


def _service(instance: str) -> Callable[..., MutableMapping[str, Any]]:
    def bound(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        event["service.name"] = "detectord"
        event["service.version"] = __version__
        if instance:
            event["service.node.name"] = instance
        event["event.dataset"] = "detectord.log"
        return event

    return bound


class _Bridge(logging.Handler):
    """What libraries say through `logging`, said through structlog."""

    def emit(self, record: logging.LogRecord) -> None:
        level = "error" if record.levelno >= logging.ERROR else record.levelname.lower()
        say = getattr(get(record.name), level, None)
        if say is not None:
            say(record.getMessage(), exc_info=record.exc_info)


class Warns(Protocol):
    """What problems are told to: a logger."""

    def warning(self, event: str, **fields: Any) -> Any:
        """Say it."""
        ...


class Problems:
    """Problems of single records: the first of each kind at once, then one summary a minute.

    The number of kinds is bounded; those beyond the bound share one.
    """

    MOST_KINDS: Final = 256

    def __init__(
        self,
        log: Warns,
        clock: Callable[[], float],
        every: float = 60.0,
    ) -> None:
        self._log = log
        self._clock = clock
        self._every = every
        self._repeated: dict[str, int] = {}
        self._due = clock() + every

    def report(self, event: str, reason: str, **fields: object) -> None:
        """Say or count one problem. `event` and `reason` make its kind."""
        kind = f"{event}/{reason}"
        if kind in self._repeated:
            self._repeated[kind] += 1
        elif len(self._repeated) < self.MOST_KINDS:
            self._repeated[kind] = 0
            self._log.warning(event, reason=reason, **fields)
        else:
            self._repeated["other"] = self._repeated.get("other", 0) + 1
        self.tick()

    def tick(self) -> None:
        """Write the summary if it is due and there is something to sum up."""
        if self._clock() < self._due:
            return
        self._due = self._clock() + self._every
        again = {kind: n for kind, n in self._repeated.items() if n}
        if again:
            kinds = ", ".join(f"{kind}={n}" for kind, n in sorted(again.items()))
            self._log.warning("problems.repeated", count=sum(again.values()), kinds=kinds)
            self._repeated.update(dict.fromkeys(again, 0))

"""Writes the pages of docs/ that are made from the code: `make docs`. With `--check` it only compares.

A page belongs here if it lists things that the code, or a file of cases, declares in one place. `PAGES`
names each page and the function that makes its text.
"""

from __future__ import annotations

import ast
import functools
import inspect
import itertools
import sys
import tomllib
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import msgspec

from detectord import metrics
from detectord.config import Duration, Section, Size, tree
from detectord.config.tree import Config, keys_of
from detectord.eql.diagnostics import Code
from detectord.rules.findings import RuleCode

HERE: Final = Path(__file__).parent
GOLDENS: Final = HERE.parent / "tests" / "diagnostics"
MADE: Final = "<!-- Made by `make docs`; do not edit. -->\n"


def _row(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


# --- docs/config.md ----------------------------------------------------------------------------


CONFIG_INTRODUCTION: Final = """\
{made}
# Configuration

One YAML or TOML file: `--config FILE`, else `$DETECTORD_CONFIG`, else
`/etc/detectord/detectord.yml`. It is read strictly: an unknown key, a key twice or a value of
another type ends the start with exit code 78 and every finding. `detectord config check` says
whether a configuration is good, `detectord config show` prints all of it, with secrets masked.

A flag on the command line wins over the environment, that over the file, that over the default.
`--set KEY=VALUE` sets any key. The environment variable of a key is its path in capitals with `__`
between the parts: `kafka.group` is `DETECTORD_KAFKA__GROUP`. The same name with `_FILE` behind it
names a file with the value, for secrets; one line break at its end is not part of it. Lists are
separated by commas or written as JSON, mappings and lists of sections are JSON.

A duration has a unit ({durations}) unless it is 0; a size may have one
({sizes}), without one it counts bytes.

Keys marked * must be set."""


def config_page() -> str:
    """Every setting with its type, default and meaning."""
    units = ", ".join(reversed(Duration.units)), ", ".join(reversed(Size.units))
    lines = [CONFIG_INTRODUCTION.format(made=MADE, durations=units[0], sizes=units[1])]
    for title, kind in _sections(Config, ""):
        rows = list(_settings(kind, title))
        if rows:
            lines += ["", f"## {title or 'Top level'}", "", inspect.getdoc(kind) or "", ""]
            lines += [_row("key", "type", "default", "meaning"), _row("---", "---", "---", "---"), *rows]
    return "\n".join(lines) + "\n"


def _inner(kind: Any) -> type[Section] | None:
    """The section that a key holds, itself or in a list."""
    arms = [arm for each in typing.get_args(kind) for arm in (each, *typing.get_args(each))]
    for each in (kind, *arms):
        if isinstance(each, type) and issubclass(each, Section):
            return each
    return None


def _sections(kind: type[Section], path: str) -> Iterator[tuple[str, type[Section]]]:
    yield path, kind
    for key, inner in keys_of(kind).items():
        section = _inner(inner)
        if section is not None:
            listed = "" if section is inner else "[]"
            yield from _sections(section, f"{path}.{key}{listed}".lstrip("."))


def _settings(kind: type[Section], path: str) -> Iterator[str]:
    meanings = _meanings(kind)
    for setting in msgspec.structs.fields(kind):
        if _inner(keys_of(kind)[setting.name]) is None:
            name = f"{path}.{setting.name}".lstrip(".") + (" *" if setting.required else "")
            shape = _shape(keys_of(kind)[setting.name])
            yield _row(f"`{name}`", shape, _default(setting), meanings[setting.name])


@functools.cache
def _definitions() -> dict[str, ast.ClassDef]:
    module = ast.parse(inspect.getsource(tree))
    return {each.name: each for each in module.body if isinstance(each, ast.ClassDef)}


def _meanings(kind: type[Section]) -> dict[str, str]:
    """The sentence under each field of a section or of one it is made from, in one line."""
    bases = [_definitions()[base.__name__] for base in kind.__mro__ if base.__name__ in _definitions()]
    body = [statement for definition in bases for statement in definition.body]
    found = {}
    for statement, below in itertools.pairwise(body):
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            match below:
                case ast.Expr(value=ast.Constant(value=str(text))):
                    found[statement.target.id] = " ".join(text.split())
    return found


def _shape(kind: Any) -> str:
    """A type as a reader of the page knows it."""
    origin, arms = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Annotated:
        return _shape(arms[0])
    if origin is typing.Literal:
        return ", ".join(f"`{arm}`" for arm in arms)
    if origin is tuple:
        return f"list of {_shape(arms[0])}"
    if origin is dict:
        return "mapping"
    if arms:
        return ", ".join(_shape(arm) for arm in arms if arm is not type(None))
    names = {str: "text", int: "number", float: "number", bool: "`true`, `false`"}
    return names.get(kind) or str(kind.__name__).lower()


def _default(setting: msgspec.structs.FieldInfo) -> str:
    if setting.default_factory is not msgspec.NODEFAULT:
        return f"`{setting.default_factory()}`"
    match setting.default:
        case msgspec.NODEFAULT | None:
            return ""
        case bool(value):
            return f"`{str(value).lower()}`"
        case tuple(values):
            return f"`[{', '.join(values)}]`"
        case value:
            return f"`{value}`"


# --- docs/metrics.md ---------------------------------------------------------------------------


METRICS_INTRODUCTION: Final = """\
{made}
# Metrics

`GET /metrics` answers in Prometheus' text format, or as OpenMetrics if asked to by `Accept`. All
are counted in the supervisor process; workers send it what they counted. Labels whose values are
listed start at 0. `rule_id` is empty when `metrics.per_rule` is off. The standard `process_*` and
`python_gc_*` metrics are those of the supervisor.

Histogram buckets in seconds: {buckets};
for latencies {latencies}.
"""


def metrics_page() -> str:
    """Every metric with its type, labels and meaning."""
    buckets, latencies = _buckets(metrics.BUCKETS), _buckets(metrics.LATENCY_BUCKETS)
    lines = [
        METRICS_INTRODUCTION.format(made=MADE, buckets=buckets, latencies=latencies),
        _row("metric", "type", "labels", "meaning"),
        _row("---", "---", "---", "---"),
        *(_row(f"`{m.name}`", m.kind, _labels(m), m.help) for m in metrics.DECLARED),
    ]
    return "\n".join(lines) + "\n"


def _buckets(buckets: tuple[float, ...]) -> str:
    return " ".join(f"{bucket:g}" for bucket in buckets)


def _labels(metric: metrics.Metric) -> str:
    known = (f"{label}: {', '.join(values)}" for label, values in metric.known.items())
    return "; ".join([*metric.open_labels, *known])


# --- docs/diagnostics.md -----------------------------------------------------------------------


DIAGNOSTICS_INTRODUCTION: Final = """\
{made}
# Diagnostics

What `detectord check` and the start of the daemon say about rules. An E refuses the rule, a W lets it
run; a number never changes its meaning. In the sentences, what stands in braces is filled in. The
examples are the ones that the tests hold, cut to one line; the way out is what is shown below it.
"""

EXAMPLE_LENGTH: Final = 90


def diagnostics_page() -> str:
    """Every code of a query with an example, and every code of a rule file."""
    queries = sorted(Code, key=lambda code: code.number)
    files = sorted(RuleCode, key=lambda code: code.number)
    return (
        "\n".join(
            (
                DIAGNOSTICS_INTRODUCTION.format(made=MADE),
                "## Queries\n",
                _row("code", "sentence", "example", "way out"),
                _row("---", "---", "---", "---"),
                *(_row(code.number, code.template, *_example(code)) for code in queries),
                "\n## Rule files\n",
                _row("code", "sentence", "reason of the refusal"),
                _row("---", "---", "---"),
                *(_row(code.number, code.template, _reason(code)) for code in files),
            )
        )
        + "\n"
    )


def _reason(code: RuleCode) -> str:
    return f"`{code.reason}`" if code.reason else ""


def _example(code: Code) -> tuple[str, str]:
    """The line of a code's golden that it is shown at, and the hint below it."""
    lines = (GOLDENS / f"{code.name.lower()}.out").read_text(encoding="utf-8").splitlines()
    place = next(number for number, line in enumerate(lines) if f"[{code.number}]" in line)
    shown, below = lines[place + 1], lines[place + 2]
    start = max(0, below.index("^") - EXAMPLE_LENGTH // 2) if len(shown) > EXAMPLE_LENGTH else 0
    cut = shown[start : start + EXAMPLE_LENGTH].strip()
    hint = below.rpartition("^")[2].strip()
    return (f"`` {cut} ``" if cut else ""), hint


# --- docs/endpoint-examples.md ----------------------------------------------------------------


ENDPOINT_CASES: Final = HERE.parent / "tests/cases/endpoint.toml"

ENDPOINT_INTRODUCTION: Final = """\
{made}
# The endpoint dialect, in examples

What [the endpoint dialect](endpoint-dialect.md) says, case by case. These are the cases of
`tests/cases/endpoint.toml`: every one is run as a test, as a batch and as a stream. Events are numbered
from 0, in the order of the list; `@timestamp` is in milliseconds."""


def endpoint_page() -> str:
    """Every case of the endpoint dialect: query, events, results."""
    lines = [ENDPOINT_INTRODUCTION.format(made=MADE)]
    part = ""
    for case in tomllib.loads(ENDPOINT_CASES.read_text(encoding="utf-8"))["case"]:
        if case["part"] != part:
            part = case["part"]
            lines += ["", f"## {part}"]
        events = [line for line in case["events"].splitlines() if line]
        lines += ["", f"### {case['name'][0].upper()}{case['name'][1:]}", "", case["about"]]
        lines += ["", "```", case["query"].strip(), "```"]
        lines += ["", "```", *(f"{number}  {event}" for number, event in enumerate(events)), "```"]
        lines += ["", f"Result: {_result(case)}"]
    return "\n".join(lines) + "\n"


def _result(case: dict[str, Any]) -> str:
    if "match" in case:
        return ", ".join(f"event {index}" for index in case["match"]) or "none"
    sequences = [
        ", ".join("no event" if index < 0 else str(index) for index in sequence)
        for sequence in case["sequences"]
    ]
    keys = case.get("join_keys", [()] * len(sequences))
    shown = [
        f"({sequence})" + (f" for {', '.join(map(str, key))}" if key else "")
        for sequence, key in zip(sequences, keys, strict=True)
    ]
    return "; ".join(shown) or "none"


PAGES: Final[dict[str, Callable[[], str]]] = {
    "config.md": config_page,
    "diagnostics.md": diagnostics_page,
    "endpoint-examples.md": endpoint_page,
    "metrics.md": metrics_page,
}


def stale() -> list[str]:
    """The pages whose text is not what the code says."""
    return [
        name
        for name, make in PAGES.items()
        if not (HERE / name).exists() or (HERE / name).read_text(encoding="utf-8") != make()
    ]


def main(arguments: list[str]) -> int:
    """Write the pages, or with `--check` name the stale ones and give 1."""
    if arguments == ["--check"]:
        for name in stale():
            print(f"docs/{name} is not what the code says: run `make docs`", file=sys.stderr)
        return bool(stale())
    for name, make in PAGES.items():
        (HERE / name).write_text(make(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""`detectord test`: run the tests beside the rules with the engine that runs them in production.

A path may be a test file, a rule file or a directory. Every test file found is run; what a case must
bring is in `rules/testing.py`, what it brings comes from `batch.match_rule`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from detectord.batch import match_rule
from detectord.cli.exits import ExitCode
from detectord.cli.output import say
from detectord.compiler import compile_rule
from detectord.events.fields import FIELD_TYPES
from detectord.rules.files import is_rule_file
from detectord.rules.keys import MATURITIES
from detectord.rules.load import read_file
from detectord.rules.rule import Rule
from detectord.rules.schema import ReadOptions
from detectord.rules.testing import SUFFIX, Case, CaseError, read_cases, rule_of

_SHOWN = 20


@dataclass(frozen=True)
class Failure:
    """A case that came out differently: the positions of the events of each match."""

    case: Case
    expected: tuple[tuple[int, ...], ...]
    actual: tuple[tuple[int | None, ...], ...]


@dataclass(frozen=True)
class Report:
    """What came of one test file. `trouble` is set, and nothing else, if it could not be run."""

    file: Path
    rule: Rule | None = None
    cases: int = 0
    failures: tuple[Failure, ...] = ()
    trouble: str = ""

    @property
    def passed(self) -> bool:
        """True if every case came out as it must."""
        return not self.trouble and not self.failures


def run(test_file: Path) -> Report:
    """Run one test file."""
    reading = read_file(rule_of(test_file), ReadOptions(maturity=MATURITIES, types=FIELD_TYPES))
    if reading.rule is None:
        trouble = "\n".join(each.text for each in reading.findings) or "the rule is deprecated: it never runs"
        return Report(test_file, trouble=trouble)
    try:
        cases = read_cases(test_file)
    except CaseError as error:
        return Report(test_file, reading.rule, trouble=str(error))
    if {case.kind for case in cases} != {"fire", "quiet"}:
        return Report(
            test_file, reading.rule, trouble=f"{test_file}: needs a [[fire]] and a [[quiet]] at least"
        )
    return Report(test_file, reading.rule, len(cases), tuple(_failures(reading.rule, cases)))


def _failures(rule: Rule, cases: Sequence[Case]) -> Iterator[Failure]:
    compiled = compile_rule(rule)
    for case in cases:
        expected = case.expected(is_sequence=compiled.is_sequence)
        found = match_rule(compiled, case.events)
        # The step of an event that is missing has no position
        actual = tuple(tuple(each for each in match.events if each is not None) for match in found)
        if actual != expected:
            yield Failure(case, expected, actual)


def find(paths: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    """The test files at or below `paths`, and the rule files that have none."""
    tests: dict[Path, None] = {}
    bare: dict[Path, None] = {}
    for file in (file for path in paths for file in _below(path)):
        if file.name.endswith(SUFFIX):
            tests[file] = None
        elif is_rule_file(file.name):
            beside = file.with_name(file.name.removesuffix(".toml") + SUFFIX)
            (tests if beside.is_file() else bare)[beside if beside.is_file() else file] = None
    return list(tests), list(bare)


def _below(path: Path) -> Iterator[Path]:
    if path.is_file():
        yield path
        return
    for folder, folders, names in os.walk(path):
        folders[:] = sorted(each for each in folders if each != "exceptions" and not each.startswith("."))
        yield from (Path(folder, name) for name in sorted(names))


def describe(failure: Failure) -> str:
    """A failed case as its author needs to see it."""
    lines = [f"  FAILED  [[{failure.case.kind}]] {failure.case.name}"]
    lines.append(f"    expected {_spelled(failure.expected)}, found {_spelled(failure.actual)}")
    lines.extend(f"    event {n}: {_compact(event)}" for n, event in enumerate(failure.case.events))
    return "\n".join(lines)


def _spelled(matches: Sequence[Sequence[int | None]]) -> str:
    return " and ".join(f"a match of events {list(match)}" for match in matches) or "no match"


def _compact(event: Mapping[str, Any]) -> str:
    return json.dumps(event, ensure_ascii=False, default=str)


@click.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.pass_context
def command(ctx: click.Context, paths: tuple[Path, ...]) -> None:
    """Run the tests beside the rules in PATHS: every NAME.test.toml at or below them.

    Exits 1 if a case came out differently, or if there was none.
    """
    files, bare = find(paths)
    reports = [run(file) for file in files]
    for report in reports:
        _print(report)
    for file in bare:
        say(f"none    {file}: no test file beside it")
    failed = sum(len(report.failures) for report in reports)
    broken = sum(1 for report in reports if report.trouble)
    total = sum(report.cases for report in reports)
    say(
        f"{len(reports) - broken} rules tested, {total} cases: {total - failed} passed, {failed} failed"
        + (f"; {broken} test files could not be run" if broken else "")
        + (f"; {len(bare)} rules without tests" if bare else "")
    )
    passed = bool(reports) and all(report.passed for report in reports)
    ctx.exit(ExitCode.OK if passed else ExitCode.FAILED)


def _print(report: Report) -> None:
    if report.trouble:
        say(f"BROKEN  {report.file}\n{report.trouble}")
        return
    word = "ok    " if report.passed else "FAILED"
    say(f"{word}  {report.file}: {report.cases} cases")
    for failure in report.failures[:_SHOWN]:
        say(describe(failure))
    if len(report.failures) > _SHOWN:
        say(f"  and {len(report.failures) - _SHOWN} more")

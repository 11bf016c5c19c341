"""Rule files to rules: which files, which of their rules, and a ledger of what did not load.

Paths are files or directories; a directory is walked to its bottom, in the order of names. Names
that begin with a dot and files that end in `.test.toml` hold no rules. A file that is reached twice, by
whatever path, is read once. Directories called `exceptions` hold exception lists instead of rules.

Rule 1: nothing a file holds, and nothing that is wrong with it, stops the others. Whatever does not
become a rule is in the ledger: refused with a reason, or counted as skipped for its maturity or because
the policy leaves it out.
Rule 2: the same files give the same result in the same order; the time is handed in.

A rule may refer to exception lists that are read later, and a policy may change it; so a rule is complete
only when every file has been read.
"""

from __future__ import annotations

import contextlib
import datetime
import gc
import os
import stat
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from detectord.eql.source import Source
from detectord.rules import prefilter
from detectord.rules.cache import Cache, open_cache
from detectord.rules.contents import (
    DOCUMENTS,
    LINES,
    MAX_DOCUMENT_BYTES,
    MAX_LINES_BYTES,
    Content,
    ExceptionItem,
    ExceptionList,
    contents,
    toml_exceptions,
)
from detectord.rules.exceptions import ExceptionItemError, ExceptionLists, item_condition
from detectord.rules.findings import Finding, Reason, RuleCode, finding
from detectord.rules.policy import NO_POLICY, Policy, rehashed
from detectord.rules.report import report
from detectord.rules.rule import Rule
from detectord.rules.schema import NO_TYPES, FieldTypes, Reading, read
from detectord.rules.tomltext import MAX_BYTES, toml_document

FORMATS = frozenset((".toml", *LINES, *DOCUMENTS))
"""The endings of rule files."""
LEDGER = "import-ledger.json"
"""What `detectord import` leaves beside the rules it writes; it holds none."""
MAX_ERRORS = 10_000
"""So many errors are told of one file; the rest of it is not read."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the ledger: what was found in a file. `rule_id` and `name` are empty where the file
    does not tell them; `message` is the whole text for a person, of all `findings` that refuse a rule."""

    file: str
    rule_id: str
    name: str
    code: str
    line: int
    column: int
    message: str
    findings: tuple[Finding, ...] = field(kw_only=True)


@dataclass(frozen=True, slots=True)
class Refusal(Entry):
    """A rule, or a file, that did not load, and the first of the reasons."""

    reason: Reason


@dataclass(frozen=True)
class Loaded:
    """What came of loading: the rules in the order of their files, and the ledger of the rest.

    `skipped` counts the rules left out because of their maturity, `unselected` those that the policy
    leaves out.
    """

    rules: tuple[Rule, ...]
    refused: tuple[Refusal, ...]
    warnings: tuple[Entry, ...]
    skipped: int
    unselected: int = 0

    @property
    def failed(self) -> tuple[Refusal, ...]:
        """The refusals that somebody should mend: all but those for being of another rule type."""
        return tuple(each for each in self.refused if each.reason != "unsupported_type")

    def ledger(self) -> dict[str, object]:
        """The outcome as plain values for JSON."""
        return {
            "loaded": len(self.rules),
            "refused": [
                {
                    "file": each.file,
                    "rule_id": each.rule_id,
                    "name": each.name,
                    "reason": each.reason,
                    "code": each.code,
                    "line": each.line,
                    "column": each.column,
                }
                for each in self.refused
            ],
            "warnings": [
                {
                    "file": each.file,
                    "rule_id": each.rule_id,
                    "name": each.name,
                    "code": each.code,
                    "line": each.line,
                    "column": each.column,
                    "message": each.message,
                }
                for each in self.warnings
            ],
            "skipped": self.skipped,
            "unselected": self.unselected,
            **report(self.rules),
        }


def load(
    paths: Sequence[Path],
    *,
    maturity: Collection[str] = ("production",),
    types: FieldTypes = NO_TYPES,
    strict_fields: bool = False,
    policy: Policy = NO_POLICY,
    now: datetime.datetime | None = None,
    cache: Path | None = None,
) -> Loaded:
    """Load every rule in `paths` whose maturity is one of `maturity` (`deprecated` never is).

    `types` says what is known of fields, path to Elasticsearch mapping type; queries are checked by it, and
    `strict_fields` refuses a rule that asks for a field it does not have.
    `cache` is a directory in which the readings of files are kept for the next load: see cache.py.
    Of two rules with one rule_id the later wins; if their content is the same, that is no finding.
    Exceptions that have expired at `now` are left out; without it none has. `policy` says what is
    changed in the rules.
    """
    with _without_collections():
        kept = open_cache(cache, paths, maturity, types, strict_fields) if cache is not None else None
        loading = _Loading(maturity, types, strict_fields, policy, now, kept)
        for path in paths:
            real = os.path.realpath(path)
            ruleset = os.path.basename(real if os.path.isdir(real) else os.path.dirname(real))
            for file in _files(path):
                if isinstance(file, Path):
                    loading.add(file, ruleset, in_exceptions=_is_in_exceptions(path, file))
                else:
                    loading.keep(*file)
        loading.save_cache()
        return loading.result()


@contextlib.contextmanager
def _without_collections() -> Iterator[None]:
    """No cyclic garbage is looked for: a load makes a hundred thousand objects that stay, and looking
    through them again and again takes a third of its time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def read_file(
    file: Path,
    *,
    maturity: Collection[str] = ("production",),
    types: FieldTypes = NO_TYPES,
    strict_fields: bool = False,
    ruleset: str = "",
) -> Reading:
    """The one rule of a TOML file; whatever keeps the file from being read is a finding."""
    data = _bytes(file, MAX_BYTES)
    if isinstance(data, Finding):
        return Reading("", "", (data,))
    return read_bytes(
        data, _shown(file), maturity=maturity, types=types, strict_fields=strict_fields, ruleset=ruleset
    )


def read_bytes(
    data: bytes,
    file: str,
    *,
    maturity: Collection[str] = ("production",),
    types: FieldTypes = NO_TYPES,
    strict_fields: bool = False,
    ruleset: str = "",
) -> Reading:
    """The one rule in the bytes of a TOML file named `file`."""
    parsed = toml_document(data, file)
    if isinstance(parsed, Finding):
        return Reading("", "", (parsed,))
    document, places = parsed
    return read(
        document, places, file, maturity=maturity, types=types, strict_fields=strict_fields, ruleset=ruleset
    )


def read_contents(
    file: Path,
    *,
    maturity: Collection[str] = ("production",),
    types: FieldTypes = NO_TYPES,
    strict_fields: bool = False,
    ruleset: str = "",
    in_exceptions: bool = False,
) -> Iterator[Content]:
    """Everything in a file of any format; whatever keeps it from being read is a finding. A file that is
    `in_exceptions` holds exception lists only."""
    name = _shown(file)
    if file.suffix not in FORMATS:
        yield _unread(name, RuleCode.UNKNOWN_FORMAT, suffix=file.suffix or file.name)
        return
    if file.suffix == ".toml" and not in_exceptions:
        yield read_file(file, maturity=maturity, types=types, strict_fields=strict_fields, ruleset=ruleset)
        return
    limit = MAX_LINES_BYTES if file.suffix in LINES else MAX_DOCUMENT_BYTES
    data = _bytes(file, limit)
    if isinstance(data, Finding):
        yield Reading("", "", (data,))
    elif file.suffix == ".toml":
        yield from toml_exceptions(data, name)
    else:
        yield from contents(
            data,
            name,
            file.suffix,
            maturity=maturity,
            types=types,
            strict_fields=strict_fields,
            ruleset=ruleset,
            only_exceptions=in_exceptions,
        )


def _bytes(file: Path, limit: int) -> bytes | Finding:
    """The file's bytes, one more than `limit` at most; or why it cannot be read."""
    try:
        with open(file, "rb", opener=_open_regular) as stream:
            return stream.read(limit + 1)
    except OSError as error:
        args = {"error": error.strerror or str(error)}
        return finding(RuleCode.UNREADABLE, args, Source("", _shown(file)))


def _shown(path: Path) -> str:
    """A path as text; bytes of it that are not UTF-8 are replaced."""
    return os.fsencode(path).decode("utf-8", "replace")


def _open_regular(path: str, flags: int) -> int:
    """Open a regular file only: reading a pipe or a device could wait for ever."""
    descriptor = os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(0, "not a regular file")
    return descriptor


def _unread(file: str, code: RuleCode, **args: object) -> Reading:
    """A reading of a file that tells no more than why it could not be read."""
    return Reading("", "", (finding(code, args, Source("", file)),))


# --- which files -----------------------------------------------------------------------------


def is_rule_file(name: str) -> bool:
    """True for a file name under which a directory may hold a rule."""
    return name.endswith(".toml") and not name.endswith(".test.toml") and not name.startswith(".")


def _files(path: Path) -> Iterator[Path | tuple[str, Reading]]:
    """The files to read below `path`, and what is in the way of finding them: its name and a reading."""
    if not path.is_dir():
        yield from () if path.name.endswith(".test.toml") else (path,)
        return
    waiting: list[tuple[Path, tuple[str, ...]]] = [(path, ())]
    while waiting:
        directory, above = waiting.pop()
        here = os.path.realpath(directory)
        names, error = (
            _listed(directory) if here not in above else ([], "a symbolic link to a directory above it")
        )
        if error:
            shown = _shown(directory)
            yield shown, _unread(shown, RuleCode.UNREADABLE, error=error)
        below = [directory / name for name in names if not name.startswith(".")]
        yield from (file for file in below if _holds_rules(file))
        waiting.extend((each, (*above, here)) for each in reversed(below) if each.is_dir())


def _is_in_exceptions(root: Path, file: Path) -> bool:
    """True for a file in a directory called `exceptions`, at or below the path that was given."""
    parts = (root.name if root != file else file.parent.name, *file.relative_to(root).parent.parts)
    return "exceptions" in parts


def _listed(directory: Path) -> tuple[list[str], str]:
    """The names in a directory, in order; or why it cannot be read."""
    try:
        return sorted(os.listdir(directory)), ""
    except OSError as error:
        return [], error.strerror or str(error)


def _holds_rules(file: Path) -> bool:
    known = is_rule_file(file.name) or (file.suffix in LINES | DOCUMENTS and file.name != LEDGER)
    return known and not file.is_dir()


# --- the ledger ------------------------------------------------------------------------------


class _Options(NamedTuple):
    """How the rules of a file are read: keyword arguments of `read_bytes`."""

    maturity: Collection[str]
    types: FieldTypes
    strict_fields: bool
    ruleset: str


@dataclass
class _Loading:
    """A load under way."""

    maturity: Collection[str]
    types: FieldTypes
    strict_fields: bool
    policy: Policy
    now: datetime.datetime | None
    cache: Cache | None
    readings: dict[str, Reading] = field(default_factory=dict)
    lists: ExceptionLists = field(default_factory=ExceptionLists)
    refused: list[Refusal] = field(default_factory=list)
    warnings: list[Entry] = field(default_factory=list)
    skipped: int = 0
    unselected: int = 0
    errors: int = 0
    """What is wrong in files and their rules; bounded for each file."""
    seen: set[str] = field(default_factory=set)
    unknown: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.seen.update(os.path.realpath(file) for file in self.policy.files)

    def add(self, file: Path, ruleset: str, *, in_exceptions: bool) -> None:
        """Read one file and keep what comes of it, unless it has been read before."""
        identity = os.path.realpath(file)
        name = _shown(file)
        if identity in self.seen or self.policy.exclude.means_path(name):
            return
        self.seen.add(identity)
        before = self.errors
        for content in self.contents(file, name, ruleset, in_exceptions=in_exceptions):
            match content:
                case ExceptionList():
                    self.lists.add_list(content.list_id)
                case ExceptionItem():
                    self.keep_item(name, content)
                case Reading():
                    self.keep(name, content)
            if self.errors - before >= MAX_ERRORS:
                self.keep(name, _unread(name, RuleCode.TOO_MANY_ERRORS, limit=MAX_ERRORS))
                break

    def contents(self, file: Path, name: str, ruleset: str, *, in_exceptions: bool) -> Iterable[Content]:
        """What is in a file; the rule of a TOML file comes from the cache if it is there."""
        options = _Options(self.maturity, self.types, self.strict_fields, ruleset)
        if self.cache is None or file.suffix != ".toml" or in_exceptions:
            return read_contents(file, **options._asdict(), in_exceptions=in_exceptions)
        data = _bytes(file, MAX_BYTES)
        if isinstance(data, Finding):
            return (Reading("", "", (data,)),)
        key = self.cache.key(data, name, ruleset)
        reading = self.cache.get(key)
        if reading is None:
            reading = read_bytes(data, name, **options._asdict())
            self.cache.put(key, reading)
        return (reading,)

    def save_cache(self) -> None:
        """Keep the readings for the next load; say so if that cannot be done."""
        if self.cache is None:
            return
        self.cache.save()
        if self.cache.error:
            name = _shown(self.cache.directory)
            self.keep_warnings(name, _unread(name, RuleCode.NO_CACHE, error=self.cache.error))

    def keep_item(self, file: str, item: ExceptionItem) -> None:
        """Take in an item of an exception list, or say why not."""
        try:
            self.lists.add_item(item.list_id, item_condition(item.value, self.types, self.now))
        except ExceptionItemError as error:
            self.lists.add_list(item.list_id)
            self.warn(file, Reading("", "", ()), item.left_out(str(error)))

    def keep(self, file: str, reading: Reading) -> None:
        """Put a reading where it belongs: a rule, a refusal, or neither; and its warnings."""
        refusing = [each for each in reading.findings if each.reason is not None]
        if refusing and self.policy.excludes(reading.rule_id, file):
            self.unselected += 1
            return
        if reading.rule is not None:
            self.keep_rule(reading, reading.rule)
        elif refusing:
            self.refuse(file, reading, refusing)
        elif reading.is_rule:
            self.skipped += 1
        self.keep_warnings(file, reading)

    def keep_warnings(self, file: str, reading: Reading) -> None:
        """Put the warnings of a reading into the ledger."""
        for each in reading.findings:
            if each.reason is None:
                self.warn(file, reading, each)
        for key, each in reading.unknown_keys:
            if key not in self.unknown:
                self.unknown.add(key)
                self.warn(file, reading, each)

    def keep_rule(self, reading: Reading, rule: Rule) -> None:
        """Take in a rule; an earlier one with its id goes."""
        earlier = self.readings.pop(rule.rule_id, None)
        self.readings[rule.rule_id] = reading
        other = earlier.rule if earlier is not None else None
        if other is not None and other.content_hash != rule.content_hash:
            loser = _unread(other.path, RuleCode.DUPLICATE, other=rule.path).findings
            self.refuse(other.path, Reading(other.rule_id, other.name, loser), loser)

    def refuse(self, file: str, reading: Reading, findings: Sequence[Finding]) -> None:
        """Put a refusal into the ledger: the first finding, with the text of all."""
        first = findings[0]
        assert first.reason is not None
        self.errors += first.reason != "unsupported_type"
        self.refused.append(
            Refusal(
                file=file,
                rule_id=reading.rule_id,
                name=reading.name,
                code=first.code,
                line=first.line,
                column=first.column,
                message="\n".join(each.text for each in findings),
                reason=first.reason,
                findings=tuple(findings),
            )
        )

    def warn(self, file: str, reading: Reading, found: Finding) -> None:
        """Put a warning into the ledger."""
        self.errors += not reading.rule_id
        self.warnings.append(
            Entry(
                file,
                reading.rule_id,
                reading.name,
                found.code,
                found.line,
                found.column,
                found.text,
                findings=(found,),
            )
        )

    def warn_of_overlay(self, rule_id: str, code: RuleCode, args: Mapping[str, object]) -> None:
        """Put a warning about the overlay's change of a rule into the ledger."""
        change = self.policy.overlay[rule_id]
        self.warn(change.source.name, Reading(rule_id, "", ()), change.finding(code, args))

    def complete(self, reading: Reading, rule: Rule) -> Rule:
        """The rule with its exceptions, as the policy wants it."""
        changed = self.policy.applied(rule, has_version=reading.has_version)
        named = []
        for reference in reading.lists:
            if reference.list_id in self.lists.known:
                named.append(reference.list_id)
            else:
                self.warn(rule.path, reading, reference.unresolved)
        for list_id in self.policy.exceptions_of(rule.rule_id):
            if list_id in self.lists.known:
                named.append(list_id)
            else:
                self.warn_of_overlay(rule.rule_id, RuleCode.LIST_NOT_FOUND, {"list_id": list_id})
        excluding = self.lists.excluding(named)
        if excluding is None:
            return changed
        changed = replace(changed, filter=prefilter.joined([rule.filter, excluding]))
        return rehashed(changed, repr(excluding))

    def result(self) -> Loaded:
        """What came of it all."""
        rules = []
        for reading in self.readings.values():
            assert reading.rule is not None
            rule = self.complete(reading, reading.rule)
            if self.policy.admits(rule):
                rules.append(rule)
            else:
                self.unselected += 1
        for rule_id in self.policy.overlay:
            if rule_id not in self.readings:
                self.warn_of_overlay(rule_id, RuleCode.NO_SUCH_RULE, {"rule_id": rule_id})
        return Loaded(tuple(rules), tuple(self.refused), tuple(self.warnings), self.skipped, self.unselected)

"""Rule files to rules: which files, which of their rules, and a ledger of what did not load.

Paths are files or directories; a directory is walked to its bottom, in the order of names. Names
that begin with a dot, directories called `exceptions` and files that end in `.test.toml` hold no
rules. A file that is reached twice, by whatever path, is read once.

Rule 1: nothing a file holds, and nothing that is wrong with it, stops the others. Whatever does not
become a rule is in the ledger: refused with a reason, or counted as skipped for its maturity.
Rule 2: the same files give the same result in the same order.

Elastic's TOML is the one format so far; files that end like another known format are named in the
ledger, so that nobody believes them loaded.
"""

from __future__ import annotations

import codecs
import contextlib
import gc
import os
import re
import stat
import tomllib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from detectord.eql.source import Source
from detectord.rules.cache import Cache, open_cache
from detectord.rules.findings import Finding, Reason, RuleCode, finding
from detectord.rules.places import MAX_DEPTH, MAX_VALUES, TooDeepError, TooManyError, scan
from detectord.rules.rule import Rule
from detectord.rules.schema import NO_TYPES, FieldTypes, Reading, read

MAX_BYTES = 512 * 1024
"""A rule file may be this long, and takes at most half a second, whatever is in it. The longest query known
has 47 KB; 100 KB is designed for."""

OTHER_FORMATS = frozenset((".ndjson", ".jsonl", ".json", ".yml", ".yaml"))
LEDGER = "import-ledger.json"
"""What `detectord import` leaves beside the rules it writes; it holds none."""

_TOML_PLACE = re.compile(r"\(at (?:line (\d+), column (\d+)|end of document)\)$")


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

    `skipped` counts the rules left out because of their maturity.
    """

    rules: tuple[Rule, ...]
    refused: tuple[Refusal, ...]
    warnings: tuple[Entry, ...]
    skipped: int

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
        }


def load(
    paths: Sequence[Path],
    *,
    maturity: Collection[str] = ("production",),
    types: FieldTypes = NO_TYPES,
    strict_fields: bool = False,
    cache: Path | None = None,
) -> Loaded:
    """Load every rule in `paths` whose maturity is one of `maturity` (`deprecated` never is).

    `types` says what is known of fields, path to Elasticsearch mapping type; queries are checked by it, and
    `strict_fields` refuses a rule that asks for a field it does not have.
    `cache` is a directory in which the readings of files are kept for the next load: see cache.py.
    Of two rules with one rule_id the later wins; if their content is the same, that is no finding.
    """
    with _without_collections():
        kept = open_cache(cache, paths, maturity, types, strict_fields) if cache is not None else None
        loading = _Loading(maturity, types, strict_fields, kept)
        for path in paths:
            real = os.path.realpath(path)
            ruleset = os.path.basename(real if os.path.isdir(real) else os.path.dirname(real))
            for file in _files(path):
                if isinstance(file, Path):
                    loading.add(file, ruleset)
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
    data = _bytes_of(file)
    if isinstance(data, Reading):
        return data
    return read_bytes(
        data, _shown(file), maturity=maturity, types=types, strict_fields=strict_fields, ruleset=ruleset
    )


def _bytes_of(file: Path) -> bytes | Reading:
    """What is in a file, up to one byte too many; or why it cannot be read."""
    try:
        with open(file, "rb", opener=_open_regular) as stream:
            return stream.read(MAX_BYTES + 1)
    except OSError as error:
        return _unread(_shown(file), "", RuleCode.UNREADABLE, error=error.strerror or str(error))


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
    if len(data) > MAX_BYTES:
        return _unread(file, "", RuleCode.TOO_LARGE, limit=MAX_BYTES)
    try:
        text = data.removeprefix(codecs.BOM_UTF8).decode().replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        before = error.object[: error.start].decode()
        return _unread(file, before, RuleCode.NOT_UTF8, -1, byte=f"{error.object[error.start]:#04x}")
    try:
        places = scan(text)
        document = tomllib.loads(text)
    except TooDeepError as error:
        return _unread(file, text, RuleCode.TOO_DEEP, error.offset, limit=MAX_DEPTH)
    except TooManyError:
        return _unread(file, text, RuleCode.TOO_MANY_VALUES, limit=MAX_VALUES)
    except ValueError as error:  # tomllib's own error is one; so is an integer with too many digits
        return _not_toml(file, text, str(error))
    return read(
        document, places, file, maturity=maturity, types=types, strict_fields=strict_fields, ruleset=ruleset
    )


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


def _unread(file: str, text: str, code: RuleCode, offset: int = 0, **args: object) -> Reading:
    """A reading of a file that tells no more than why it could not be read."""
    place = offset if offset >= 0 else len(text)
    return Reading("", "", (finding(code, args, Source(text, file), place),))


def _not_toml(file: str, text: str, error: str) -> Reading:
    """A reading of a text that is not TOML; the parser's sentence ends in a place."""
    place = _TOML_PLACE.search(error)
    if place is None:
        return _unread(file, text, RuleCode.NOT_TOML, error=error)
    sentence = error[: place.start()].strip()
    if place[1] is None:
        return _unread(file, text, RuleCode.NOT_TOML, -1, error=sentence)
    lines = text.split("\n")[: int(place[1]) - 1]
    offset = sum(len(line) + 1 for line in lines) + int(place[2]) - 1
    return _unread(file, text, RuleCode.NOT_TOML, offset, error=sentence)


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
            yield shown, _unread(shown, "", RuleCode.UNREADABLE, error=error)
        below = [directory / name for name in names if not name.startswith(".")]
        yield from (file for file in below if _holds_rules(file))
        folders = [each for each in below if each.name != "exceptions" and each.is_dir()]
        waiting.extend((each, (*above, here)) for each in reversed(folders))


def _listed(directory: Path) -> tuple[list[str], str]:
    """The names in a directory, in order; or why it cannot be read."""
    try:
        return sorted(os.listdir(directory)), ""
    except OSError as error:
        return [], error.strerror or str(error)


def _holds_rules(file: Path) -> bool:
    known = is_rule_file(file.name) or (file.suffix in OTHER_FORMATS and file.name != LEDGER)
    return known and not file.is_dir()


# --- the ledger ------------------------------------------------------------------------------


@dataclass
class _Loading:
    """A load under way."""

    maturity: Collection[str]
    types: FieldTypes
    strict_fields: bool
    cache: Cache | None
    rules: dict[str, Rule] = field(default_factory=dict)
    refused: list[Refusal] = field(default_factory=list)
    warnings: list[Entry] = field(default_factory=list)
    skipped: int = 0
    seen: set[str] = field(default_factory=set)
    unknown: set[str] = field(default_factory=set)

    def add(self, file: Path, ruleset: str) -> None:
        """Read one file and keep what comes of it, unless it has been read before."""
        identity = os.path.realpath(file)
        if identity in self.seen:
            return
        self.seen.add(identity)
        name = _shown(file)
        if file.suffix != ".toml":
            self.keep(name, _unread(name, "", RuleCode.UNKNOWN_FORMAT, suffix=file.suffix))
        else:
            self.keep(name, self.read(file, name, ruleset))

    def read(self, file: Path, name: str, ruleset: str) -> Reading:
        """The reading of a TOML file, from the cache if it is there."""
        data = _bytes_of(file)
        if isinstance(data, Reading):
            return data
        key = self.cache.key(data, name, ruleset) if self.cache else b""
        reading = self.cache.get(key) if self.cache else None
        if reading is None:
            reading = read_bytes(
                data,
                name,
                maturity=self.maturity,
                types=self.types,
                strict_fields=self.strict_fields,
                ruleset=ruleset,
            )
            if self.cache:
                self.cache.put(key, reading)
        return reading

    def save_cache(self) -> None:
        """Keep the readings for the next load; say so if that cannot be done."""
        if self.cache is None:
            return
        self.cache.save()
        if self.cache.error:
            name = _shown(self.cache.directory)
            self.keep_warnings(name, _unread(name, "", RuleCode.NO_CACHE, error=self.cache.error))

    def keep(self, file: str, reading: Reading) -> None:
        """Put a reading where it belongs: a rule, a refusal, or neither; and its warnings."""
        refusing = [each for each in reading.findings if each.reason is not None]
        if reading.rule is not None:
            self.keep_rule(reading.rule)
        elif refusing:
            self.refuse(file, reading, refusing)
        else:
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

    def keep_rule(self, rule: Rule) -> None:
        """Take in a rule; an earlier one with its id goes."""
        earlier = self.rules.pop(rule.rule_id, None)
        self.rules[rule.rule_id] = rule
        if earlier is not None and earlier.content_hash != rule.content_hash:
            loser = _unread(earlier.path, "", RuleCode.DUPLICATE, other=rule.path).findings
            self.refuse(earlier.path, Reading(earlier.rule_id, earlier.name, loser), loser)

    def refuse(self, file: str, reading: Reading, findings: Sequence[Finding]) -> None:
        """Put a refusal into the ledger: the first finding, with the text of all."""
        first = findings[0]
        assert first.reason is not None
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

    def result(self) -> Loaded:
        """What came of it all."""
        return Loaded(tuple(self.rules.values()), tuple(self.refused), tuple(self.warnings), self.skipped)

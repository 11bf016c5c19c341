"""Rule files to rules: what is in them, which of it is taken, and a ledger of what did not load.

Paths are files or directories (`files.py`). A file that is reached twice, by whatever path, is read once.
Directories called `exceptions` hold exception lists instead of rules.

Rule 1: nothing a file holds, and nothing that is wrong with it, stops the others. Whatever does not
become a rule is in the ledger: refused with a reason, or counted as skipped for its maturity or because
the policy leaves it out.
Rule 2: the same files give the same result in the same order; the time is handed in.

A rule may refer to exception lists that are read later, and a policy may change it; so a rule is complete
only when every file has been read.
"""

from __future__ import annotations

import datetime
import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from detectord.eql.source import Source
from detectord.rules import prefilter
from detectord.rules.cache import Cache, open_cache
from detectord.rules.contents import (
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
from detectord.rules.files import FORMATS, bytes_of, is_in_exceptions, rule_files, shown
from detectord.rules.findings import Finding, RuleCode, finding
from detectord.rules.garbage import uncollected
from detectord.rules.ledger import Entry, Loaded, Refusal
from detectord.rules.policy import NO_POLICY, Policy, rehashed
from detectord.rules.rule import Rule
from detectord.rules.schema import NO_OPTIONS, NO_TYPES, FieldTypes, Reading, ReadOptions, read
from detectord.rules.tomltext import MAX_BYTES, toml_document

MAX_ERRORS = 10_000
"""So many errors are told of one file; the rest of it is not read."""


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
    with uncollected():  # the many objects made here stay, and looking through them takes a third of the time
        kept = open_cache(cache, paths, maturity, types, strict_fields) if cache is not None else None
        options = ReadOptions(maturity=maturity, types=types, strict_fields=strict_fields)
        loading = _Loading(options, policy, now, kept)
        for path in paths:
            real = os.path.realpath(path)
            ruleset = os.path.basename(real if os.path.isdir(real) else os.path.dirname(real))
            for file in rule_files(path):
                if isinstance(file, Path):
                    loading.add(file, ruleset, in_exceptions=is_in_exceptions(path, file))
                else:
                    name, found = file
                    loading.keep(name, Reading("", "", (found,)))
        loading.save_cache()
        return loading.result()


def read_file(
    file: Path,
    options: ReadOptions = NO_OPTIONS,
) -> Reading:
    """The one rule of a TOML file; whatever keeps the file from being read is a finding."""
    data = bytes_of(file, MAX_BYTES)
    if isinstance(data, Finding):
        return Reading("", "", (data,))
    return read_bytes(data, shown(file), options)


def read_bytes(
    data: bytes,
    file: str,
    options: ReadOptions = NO_OPTIONS,
) -> Reading:
    """The one rule in the bytes of a TOML file named `file`."""
    parsed = toml_document(data, file)
    if isinstance(parsed, Finding):
        return Reading("", "", (parsed,))
    document, places = parsed
    return read(document, places, file, options)


def read_contents(
    file: Path,
    options: ReadOptions = NO_OPTIONS,
    *,
    in_exceptions: bool = False,
) -> Iterator[Content]:
    """Everything in a file of any format; whatever keeps it from being read is a finding. A file that is
    `in_exceptions` holds exception lists only."""
    name = shown(file)
    if file.suffix not in FORMATS:
        yield _unread(name, RuleCode.UNKNOWN_FORMAT, suffix=file.suffix or file.name)
        return
    if file.suffix == ".toml" and not in_exceptions:
        yield read_file(file, options)
        return
    limit = MAX_LINES_BYTES if file.suffix in LINES else MAX_DOCUMENT_BYTES
    data = bytes_of(file, limit)
    if isinstance(data, Finding):
        yield Reading("", "", (data,))
    elif file.suffix == ".toml":
        yield from toml_exceptions(data, name)
    else:
        yield from contents(
            data,
            name,
            file.suffix,
            options,
            only_exceptions=in_exceptions,
        )


def _unread(file: str, code: RuleCode, **args: object) -> Reading:
    """A reading of a file that tells no more than why it could not be read."""
    return Reading("", "", (finding(code, args, Source("", file)),))


@dataclass
class _Loading:
    """A load under way."""

    options: ReadOptions
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
        name = shown(file)
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
        options = replace(self.options, ruleset=ruleset)
        if self.cache is None or file.suffix != ".toml" or in_exceptions:
            return read_contents(file, options, in_exceptions=in_exceptions)
        data = bytes_of(file, MAX_BYTES)
        if isinstance(data, Finding):
            return (Reading("", "", (data,)),)
        key = self.cache.key(data, name, ruleset)
        reading = self.cache.get(key)
        if reading is None:
            reading = read_bytes(data, name, options)
            self.cache.put(key, reading)
        return (reading,)

    def save_cache(self) -> None:
        """Keep the readings for the next load; say so if that cannot be done."""
        if self.cache is None:
            return
        self.cache.save()
        if self.cache.error:
            name = shown(self.cache.directory)
            self.keep_warnings(name, _unread(name, RuleCode.NO_CACHE, error=self.cache.error))

    def keep_item(self, file: str, item: ExceptionItem) -> None:
        """Take in an item of an exception list, or say why not."""
        try:
            self.lists.add_item(item.list_id, item_condition(item.value, self.options.types, self.now))
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

"""Sigma documents to rule files: the order of work, and the ledger's reasons.

First every document is looked at, because a correlation may name rules that stand in other files. A rule
that is only a part of a correlation makes no rule file of its own: alone it is too common to alert on.

pySigma is given nothing that it would take very long for (`_guarded`). What it raises is a refusal: its own
errors say what is wrong with a rule, any other is its way to meet something it does not expect.
"""

from __future__ import annotations

import copy
import json
import re
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sigma.correlations import SigmaCorrelationRule, SigmaCorrelationType
from sigma.exceptions import SigmaError
from sigma.rule import SigmaRule

from detectord.eql import analyse, ast
from detectord.eql.source import Source
from detectord.events.fields import FIELD_TYPES
from detectord.rules.keys import MATURITIES
from detectord.rules.load import read_bytes
from detectord.rules.schema import ReadOptions
from detectord.sigma import layout, logsources, rule_file
from detectord.sigma.backend import Backend
from detectord.sigma.documents import Document
from detectord.sigma.ledger import Entry, RefusedError
from detectord.sigma.logsources import LogSource

_IDS = uuid.UUID("6d0f5a0e-9b5a-5c77-8d43-0f3a6a1c2b9e")
"""The namespace of ids made for rules that have none."""
_LONGEST_CONDITION = 2_000
_DEEPEST_CONDITION = 12
_NO_PLACE = re.compile(r" \(while [a-z ]+ rule None\)")
_DASH = re.compile(r"\B[-/]\b")
_MOST_COMBINATIONS = 10_000
"""Each dash of a `windash` value is one of five signs, in all combinations."""
_PARTS_OF_TIME = frozenset(("minute", "hour", "day", "week", "month", "year"))


@dataclass(frozen=True)
class Converted:
    """What came of one document: its row in the ledger, and the text of its rule file if it has one."""

    entry: Entry
    text: str = field(default="", repr=False)


@dataclass(frozen=True)
class _Condition:
    """A Sigma rule as EQL: the condition, constraints of its log source included, and what to warn of."""

    rule: SigmaRule
    source: LogSource
    condition: ast.Expr
    warnings: tuple[str, ...]


def convert(documents: Iterable[Document | Entry]) -> Iterator[Converted]:
    """What becomes of each document, in their order; entries of what could not be read pass through."""
    found = list(documents)
    yield from _Import([each for each in found if isinstance(each, Document)]).run(found)


class _Import:
    """One import: its documents by the names that correlations call them."""

    def __init__(self, documents: Sequence[Document]) -> None:
        self.named: dict[str, Document] = {}
        self.parts: dict[int, str] = {}
        self.ids: dict[str, str] = {}
        self.backends: dict[LogSource, Backend] = {}
        for document in documents:
            for key in ("id", "name"):
                if isinstance(document.content.get(key), str):
                    self.named.setdefault(document.content[key], document)
        for document in documents:
            self.note_parts(document)

    def note_parts(self, document: Document) -> None:
        """Remember the rules that a correlation is made of, unless it wants them to alert as well."""
        correlation = document.content.get("correlation")
        if not isinstance(correlation, dict) or correlation.get("generate") is True:
            return
        names = correlation.get("rules")
        for name in names if isinstance(names, list) else [names]:
            part = self.named.get(name) if isinstance(name, str) else None
            if part is not None:
                self.parts[id(part)] = document.entry().title or "a correlation"

    def run(self, found: Iterable[Document | Entry]) -> Iterator[Converted]:
        """Convert one after another."""
        for each in found:
            if isinstance(each, Entry):
                yield Converted(each)
                continue
            try:
                yield self.one(each)
            except RefusedError as error:
                yield Converted(each.entry(reason=error.reason, detail=error.detail))

    def one(self, document: Document) -> Converted:
        """Convert one document."""
        if id(document) in self.parts:
            raise RefusedError("correlation", f"only a part of `{self.parts[id(document)]}`")
        if "filter" in document.content:
            raise RefusedError("filter", "a filter changes rules of others and is none itself")
        if "correlation" in document.content:
            return self.correlation(document)
        result = self.condition(document)
        query = layout.event_query(result.source.category, result.condition)
        return self.written(
            document,
            result.rule,
            query,
            result.source.index,
            [result.rule.logsource.product or ""],
            result.warnings,
        )

    # --- a rule --------------------------------------------------------------------------------

    def condition(self, document: Document) -> _Condition:
        """The condition of a document that is a plain rule."""
        _guarded(document.content)
        rule = _parsed(SigmaRule, document)
        said = rule.logsource
        product, service, category = (
            (each or "").lower() for each in (said.product, said.service, said.category)
        )
        source = logsources.find(product, service, category)
        if source is None:
            told = {"product": product, "service": service, "category": category}
            raise RefusedError(
                "logsource", ", ".join(f"{key} {value}" for key, value in told.items() if value)
            )
        backend = self.backend(source)
        text = _of_pysigma(lambda: backend.condition(rule))
        asked = " and ".join(source.conditions)
        condition = _tree(f"{asked} and ({text})" if asked else text)
        warnings = tuple(
            f"nothing maps the field `{name}`; it is asked for as it is" for name in backend.unmapped
        )
        return _Condition(rule, source, condition, warnings)

    def backend(self, source: LogSource) -> Backend:
        """The backend for a log source; making one takes longer than most rules."""
        if source not in self.backends:
            self.backends[source] = Backend(source)
        return self.backends[source]

    # --- a correlation -------------------------------------------------------------------------

    def correlation(self, document: Document) -> Converted:
        """A sequence, if the correlation is one of rules in their order."""
        rule = _parsed(SigmaCorrelationRule, document)
        if rule.type is not SigmaCorrelationType.TEMPORAL_ORDERED:
            raise RefusedError("correlation", f"the type {str(rule.type.name).lower()}")
        references = [each.reference for each in rule.rules or () if isinstance(each.reference, str)]
        if (
            len(references) < len(rule.rules or ())
            or not 2 <= len(references) <= 20
            or len(set(references)) < len(references)
        ):
            raise RefusedError("correlation", "not between 2 and 20 different rules")
        if document.content["correlation"].get("condition") not in (None, {"gte": len(references)}):
            raise RefusedError("correlation", "a condition on which or how many of the rules match")
        steps: list[tuple[_Condition, list[str]]] = []
        for reference in references:
            part = self.named.get(reference)
            if part is None or "correlation" in part.content or "filter" in part.content:
                raise RefusedError("correlation", f"no rule is called `{reference}`")
            step = self.condition(part)
            names = [_called(name, reference, rule) for name in rule.group_by or ()]
            steps.append((step, [self.key(name, part, step.source) for name in names]))
        query = layout.sequence(
            [(step.source.category, step.condition, keys) for step, keys in steps],
            f"{rule.timespan.seconds}s",
        )
        return self.written(
            document,
            rule,
            query,
            [pattern for step, _ in steps for pattern in step.source.index],
            [step.rule.logsource.product or "" for step, _ in steps],
            tuple(dict.fromkeys(warning for step, _ in steps for warning in step.warnings)),
        )

    def key(self, name: object, part: Document, source: LogSource) -> str:
        """The path of a grouping field in the events of one rule: the first that the field may be under."""
        if not isinstance(name, str) or not name or "|" in name:
            raise RefusedError("correlation", f"grouping by `{str(name)[:80]}`")
        probe = {
            "title": "key",
            "logsource": copy.deepcopy(part.content["logsource"]),
            "detection": {"key": {name: None}, "condition": "key"},
        }
        backend = self.backend(source)
        path: str = _of_pysigma(lambda: backend.first_path(SigmaRule.from_dict(probe)))
        return path

    # --- the file ------------------------------------------------------------------------------

    def written(
        self,
        document: Document,
        rule: SigmaRule | SigmaCorrelationRule,
        query: str,
        index: Sequence[str],
        products: Sequence[str],
        warnings: tuple[str, ...],
    ) -> Converted:
        """The rule file, held against everything that a rule file must be."""
        if rule.status is not None and str(rule.status) not in rule_file.MATURITIES:
            raise RefusedError("unsupported_status", f"status {rule.status}")
        rule_id = str(rule.id) if rule.id is not None else _made_id(document.content)
        place = f"{document.source}, document {document.number}"
        if rule_id in self.ids:
            raise RefusedError("duplicate", f"{self.ids[rule_id]} has the same id")
        warnings += _checked(query)
        if rule.level is None:
            warnings += ("no level; taken for medium",)
        text = rule_file.text_of(
            rule, rule_id=rule_id, query=query, index=index, products=products, source=document.name
        )
        file = rule_file.file_name(rule.title, rule_id)
        reading = read_bytes(text.encode(), file, ReadOptions(maturity=MATURITIES, types=FIELD_TYPES))
        refusing = [finding for finding in reading.findings if finding.reason is not None]
        if refusing:
            raise RefusedError("query", refusing[0].message)
        self.ids[rule_id] = place
        return Converted(document.entry(id=rule_id, file=file, warnings=warnings), text)


def _called(name: str, reference: str, rule: SigmaCorrelationRule) -> object:
    """What a grouping field is called in the rule with this name or id: a correlation may have aliases."""
    alias = rule.aliases.aliases.get(name)
    mapping = alias.mapping if alias is not None else {}
    return next((field_name for rule, field_name in mapping.items() if rule.reference == reference), name)


def _parsed(kind: Any, document: Document) -> Any:
    content = copy.deepcopy(document.content)
    return _of_pysigma(lambda: kind.from_dict(content))


def _of_pysigma(call: Any) -> Any:
    """What a call of pySigma gives; whatever it raises refuses the rule."""
    try:
        return call()
    except (RefusedError, MemoryError):
        raise
    except SigmaError as error:
        raise RefusedError("bad_rule", _sentence(error)) from error
    except NotImplementedError as error:
        raise RefusedError("unsupported", _sentence(error)) from error
    except Exception as error:
        raise RefusedError("bad_rule", f"pySigma fails on it: {_sentence(error)}") from error


def _sentence(error: Exception) -> str:
    """What the error says on one line, without the place that pySigma adds and does not know."""
    return _NO_PLACE.sub("", " ".join(str(error).split()))[:300]


def _made_id(content: Mapping[str, Any]) -> str:
    """An id for a rule without one: the same as long as the rule says the same."""
    return str(uuid.uuid5(_IDS, json.dumps(content, sort_keys=True, default=str)))


def _tree(condition: str) -> ast.Expr:
    """The condition as a tree without needless parentheses."""
    source = Source(f"any where {condition}")
    parsed = analyse(source, types=FIELD_TYPES)
    if parsed.query is None:
        errors = [each for each in parsed.diagnostics if each.code.is_error]
        raise RefusedError("query", f"{errors[0].message}: `{source.text[errors[0].span.start :][:80]}`")
    body = parsed.query.body
    assert isinstance(body, ast.EventQuery)
    return layout.flat(body.condition)


def _checked(query: str) -> tuple[str, ...]:
    """The language's warnings about a finished query.

    Raises:
        RefusedError: it is not one that is answered.
    """
    parsed = analyse(Source(query), types=FIELD_TYPES)
    errors = [each for each in parsed.diagnostics if each.code.is_error]
    if errors:
        raise RefusedError("query", errors[0].message)
    return tuple(dict.fromkeys(each.message for each in parsed.diagnostics))


# --- what pySigma must not be given ----------------------------------------------------------


def _guarded(content: Mapping[str, Any]) -> None:
    """Refuse what pySigma would take very long for, or would give another meaning."""
    detection = content.get("detection")
    if not isinstance(detection, dict):
        raise RefusedError("bad_rule", "no detection")
    conditions = detection.get("condition")
    for condition in conditions if isinstance(conditions, list) else [conditions]:
        if isinstance(condition, str):
            _guarded_condition(condition)
    combinations = 0
    for key, values in _items([each for name, each in detection.items() if name != "condition"]):
        modifiers = key.split("|")[1:]
        for modifier in modifiers:
            if modifier in _PARTS_OF_TIME:  # its pipeline for Windows takes the number for a text
                raise RefusedError("unsupported", f"a part of a time (`{key}`)")
        if "windash" in modifiers:
            combinations += sum(5 ** min(len(_DASH.findall(str(value))), 9) for value in values)
    if combinations > _MOST_COMBINATIONS:
        raise RefusedError("too_large", f"the values of `windash` make {combinations} combinations")


def _items(detection: object) -> Iterator[tuple[str, list[object]]]:
    """The keys with their values in a detection, at any depth."""
    if isinstance(detection, list):
        for each in detection:
            yield from _items(each)
    elif isinstance(detection, dict):
        for key, value in detection.items():
            yield key, value if isinstance(value, list) else [value]
            yield from _items(value)


def _guarded_condition(condition: str) -> None:
    if len(condition) > _LONGEST_CONDITION:
        raise RefusedError("too_large", f"the condition has more than {_LONGEST_CONDITION} characters")
    if "|" in condition:
        raise RefusedError(
            "unsupported", "an aggregation (`|` in the condition); Sigma has correlations for it"
        )
    depth = deepest = 0
    for character in condition:
        depth += {"(": 1, ")": -1}.get(character, 0)
        deepest = max(deepest, depth)
    if deepest > _DEEPEST_CONDITION:
        raise RefusedError("too_large", f"the condition nests deeper than {_DEEPEST_CONDITION} levels")
    if any(word.count("*") > 2 for word in condition.split()):
        raise RefusedError("bad_rule", "a name in the condition with more than two `*`")

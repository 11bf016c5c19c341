"""The rules of the bench: those beside the repository, else the shipped ones, and more made of them.

A derived rule is one at hand whose literals are others: it asks for the same fields in the same way, of
values that no event has. Literals that sort events (`event.category`, `host.os.type`, …) stay as they are,
and so does what is no plain text (regular expressions, addresses, dates).
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.results import ROOT
from detectord.compiler import CompiledRule, compile_rule
from detectord.eql import ast
from detectord.events.fields import FIELD_TYPES
from detectord.rules.load import load
from detectord.rules.rule import Rule

ELASTIC = ROOT.parent / "shared" / "data" / "elastic-rules"
SHIPPED = ROOT / "rules"


def folder() -> Path:
    """Where the rules at hand are."""
    return ELASTIC if ELASTIC.is_dir() else SHIPPED


def at_hand(place: Path) -> list[Rule]:
    """The rules at hand."""
    return list(load([place], types=FIELD_TYPES).rules)


class RuleSets:
    """Rule sets of any size, each rule compiled once."""

    def __init__(self, rules: list[Rule]) -> None:
        self._rules = rules
        self._compiled: list[CompiledRule] = []
        self._source = _with_derived(rules)

    @property
    def at_hand(self) -> list[CompiledRule]:
        """The rules at hand."""
        return self.first(len(self._rules))

    def first(self, count: int) -> list[CompiledRule]:
        """So many rules: those at hand first. Fewer than there are of them are taken from all over."""
        while len(self._compiled) < max(count, len(self._rules)):
            self._compiled.append(compile_rule(next(self._source)))
        if count < len(self._rules):
            return [self._compiled[number * len(self._rules) // count] for number in range(count)]
        return self._compiled[:count]


def _with_derived(rules: list[Rule]) -> Iterator[Rule]:
    yield from rules
    number = 1
    while True:
        for rule in rules:
            yield derived(rule, number)
        number += 1


def derived(rule: Rule, number: int) -> Rule:
    """The rule with other literals, others for each number."""
    query = _changed(rule.query, _letters(number))
    return dataclasses.replace(
        rule, rule_id=f"{rule.rule_id}-{number}", uuid="", query=query, content_hash="", query_text=""
    )


_SORTED_BY = re.compile(
    r"(event|data_stream|host\.os|network|winlog|log|observer|cloud|service|o365|azure)\."
)
_WORD = re.compile(r"[A-Za-z]{3,}")


def _letters(number: int) -> str:
    """A suffix of letters: digits might turn a text into a number or an address."""
    return "q" + "".join(chr(ord("a") + int(digit)) for digit in str(number))


def _changed(node: Any, suffix: str) -> Any:
    """The tree with other texts wherever a field is compared with them."""
    match node:
        case ast.Comparison(left=ast.Field(path=path)) | ast.In(value=ast.Field(path=path)):
            return node if _SORTED_BY.match(path) else _renamed(node, suffix)
        case ast.Pattern(op=op, value=ast.Field(path=path)):
            return node if _SORTED_BY.match(path) or op.startswith("regex") else _renamed(node, suffix)
        case tuple():
            return tuple(_changed(child, suffix) for child in node)
        case ast.Node() | ast.Query():
            return _with_children(node, lambda child: _changed(child, suffix))
    return node


def _renamed(node: Any, suffix: str) -> Any:
    match node:
        case ast.Literal(value=str(text)):
            words = list(_WORD.finditer(text))
            end = max((word.end() for word in words), key=lambda end: -abs(len(text) // 2 - end), default=0)
            return dataclasses.replace(node, value=text[:end] + suffix + text[end:]) if words else node
        case tuple():
            return tuple(_renamed(child, suffix) for child in node)
        case ast.Comparison() | ast.In() | ast.Pattern():
            return _with_children(node, lambda child: _renamed(child, suffix))
    return node


def _with_children(node: Any, change: Any) -> Any:
    values = {field.name: getattr(node, field.name) for field in dataclasses.fields(node)}
    return dataclasses.replace(
        node, **{n: change(v) for n, v in values.items() if isinstance(v, (tuple, ast.Node, ast.Query))}
    )

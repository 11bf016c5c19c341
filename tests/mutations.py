"""Rules and events a little different from real ones.

A changed rule asks for what is in the events: its texts are exchanged for values that were seen, whole, in
pieces between stars, in another case; so it is near to matching, where mistakes are.
"""

from __future__ import annotations

import dataclasses
import random
import re
import string
from collections.abc import Iterator, Sequence
from typing import Any

from detectord.compiler import compile_rule
from detectord.compiler.compiled import CompiledRule
from detectord.eql.parser import parse
from detectord.eql.source import Source
from detectord.rules.rule import Rule

_TEXT = re.compile(r'"(?:[^"\\\n]|\\.)*"')
_OPERATOR = re.compile(r"(?<= )(?:and|or|==|!=|:|in|in~|like|like~)(?= )")
_INSTEAD = {
    "and": ("or", "and not"),
    "or": ("and",),
    "==": (":", "!="),
    "!=": ("==",),
    ":": ("==", "like"),
    "in": ("in~", "not in"),
    "in~": ("in", "not in~"),
    "like": ("like~", ":"),
    "like~": ("like",),
}


def texts_of(document: Any) -> Iterator[str]:
    """Every text of a document that is not too long."""
    if isinstance(document, str):
        if 0 < len(document) <= 200:
            yield document
    elif isinstance(document, dict):
        for value in document.values():
            yield from texts_of(value)
    elif isinstance(document, list):
        for value in document:
            yield from texts_of(value)


def mutated_event(document: dict[str, Any], chosen: random.Random) -> dict[str, Any]:
    """An event a little different: a value changed, lost, in an array, of another type, spelt with dots."""
    paths = [(key,) for key in document] + [
        (key, inner) for key, value in document.items() if isinstance(value, dict) for inner in value
    ]
    for path in chosen.sample(paths, min(3, len(paths))):
        node = document if len(path) == 1 else document.get(path[0])
        if not isinstance(node, dict) or path[-1] not in node:
            continue
        value = node[path[-1]]
        match chosen.randrange(7):
            case 0:
                del node[path[-1]]
            case 1:
                node[path[-1]] = [value, None]
            case 2:
                node[path[-1]] = chosen.choice([7, 1.5, True, None, "", {}, [], "\u0130"])
            case 3 if len(path) == 2:
                document[".".join(path)] = node.pop(path[-1])
            case 4 if isinstance(value, str):
                node[path[-1]] = value.swapcase()
            case 5:
                node[path[-1]] = [value, chosen.choice(["cmd.exe", 1, "x"])]
            case 6 if isinstance(value, str):
                node[path[-1]] = value[: len(value) // 2] + chosen.choice(string.printable)
    return document


def mutated_rule(rule: Rule, number: int, texts: Sequence[str], chosen: random.Random) -> CompiledRule | None:
    """A rule a little different; None if what came of it is no rule."""

    def text(found: re.Match[str]) -> str:
        return found[0] if chosen.random() < 0.6 else f'"{_near(chosen.choice(texts), chosen)}"'

    def operator(found: re.Match[str]) -> str:
        return found[0] if chosen.random() < 0.9 else chosen.choice(_INSTEAD[found[0]])

    query = _OPERATOR.sub(operator, _TEXT.sub(text, rule.query_text))
    parsed = parse(Source(query))
    if parsed.query is None:
        return None
    try:
        return compile_rule(
            dataclasses.replace(rule, rule_id=f"m{number}", query=parsed.query, query_text=query)
        )
    except ValueError:  # a text that is no address where one is needed
        return None


def _near(text: str, chosen: random.Random) -> str:
    """The text, or a pattern of a piece of it, as EQL has it between quotes."""
    match chosen.randrange(4):
        case 0:
            text = text.swapcase()
        case 1:
            text = text[: chosen.randint(1, len(text))] + "*"
        case 2:
            text = "*" + text[chosen.randrange(len(text)) :]
        case 3:
            begin = chosen.randrange(len(text))
            text = f"*{text[begin : begin + 8]}*"
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\r", "\\r")

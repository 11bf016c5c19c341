"""Makes the parsing tables from the grammar: `make grammar`. With `--check` it only compares.

lark reads detectord/eql/grammar.lark and makes LALR(1) tables; what detectord/eql/lalr.py needs of them
is written to grammar.json beside it. lark is needed here only. States are numbered in the order in
which they are reached from the start, so that equal grammars give equal files.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from lark import Lark
from lark.grammar import Rule
from lark.lexer import Lexer, PatternStr
from lark.parsers.lalr_analysis import Shift

EQL: Final = Path(__file__).parents[1] / "detectord" / "eql"
GRAMMAR: Final = EQL / "grammar.lark"
TABLES: Final = EQL / "grammar.json"


class _NoLexer(Lexer):
    """Our scanner cuts the text; only the tables are wanted."""

    def __init__(self, _: object) -> None:
        pass

    def lex(self, _state: Any, _parser_state: Any) -> Iterator[Any]:
        raise NotImplementedError


def tables(grammar: str) -> dict[str, object]:
    """The contents of grammar.json for a grammar."""
    lark = Lark(
        grammar, parser="lalr", lexer=_NoLexer, keep_all_tokens=True, maybe_placeholders=False, strict=True
    )
    table = lark.parser.parser._parse_table  # lark has no other door to it
    rules = {rule: number for number, rule in enumerate(lark.rules)}
    numbers = _numbered(table.states, table.start_states["start"])
    states = [
        {
            symbol: numbers[target] if action is Shift else -1 - rules[target]
            for symbol, (action, target) in sorted(table.states[state].items())
        }
        for state in numbers
    ]
    return {
        "literals": {
            terminal.pattern.value: terminal.name
            for terminal in lark.terminals
            if isinstance(terminal.pattern, PatternStr)
        },
        "rules": [_rule(rule) for rule in lark.rules],
        "states": states,
        "start": numbers[table.start_states["start"]],
        "end": numbers[table.end_states["start"]],
    }


def _numbered(states: Mapping[int, Mapping[str, tuple[Any, Any]]], start: int) -> dict[int, int]:
    """The number of every state that can be reached, in the order of reaching."""
    numbers = {start: 0}
    for state in (waiting := [start]):
        for _, (action, target) in sorted(states[state].items()):
            if action is Shift and target not in numbers:
                numbers[target] = len(numbers)
                waiting.append(target)
    return numbers


def _rule(rule: Rule) -> list[object]:
    """A rule as `detectord.eql.lalr.Rule` has it."""
    name = str(rule.origin.name)
    if rule.options.expand1 and not rule.alias:
        if len(rule.expansion) != 1 or _dissolved(rule.expansion[0].name):
            raise ValueError(f"{rule}: what a `?` rule makes of several children needs a name: `-> name`")
        return [name, 1, None, False]
    nested = any(not symbol.is_term and _dissolved(symbol.name) for symbol in rule.expansion)
    return [name, len(rule.expansion), "" if _dissolved(name) else rule.alias or name, nested]


def _dissolved(name: str) -> bool:
    return name.startswith("_")


def text() -> str:
    """grammar.json as it should be."""
    made = tables(GRAMMAR.read_text(encoding="utf-8"))
    lines = [
        f"{json.dumps(key)}: "
        + (
            "[\n" + ",\n".join(json.dumps(each, separators=(",", ":")) for each in value) + "\n]"
            if isinstance(value, list)
            else json.dumps(value, separators=(",", ":"))
        )
        for key, value in made.items()
    ]
    return "{\n" + ",\n".join(lines) + "\n}\n"


def main(arguments: list[str]) -> int:
    """Write the tables, or with `--check` give 1 if they are stale."""
    if arguments == ["--check"]:
        if TABLES.exists() and TABLES.read_text(encoding="utf-8") == text():
            return 0
        print("detectord/eql/grammar.json is not what the grammar says: run `make grammar`", file=sys.stderr)
        return 1
    TABLES.write_text(text(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

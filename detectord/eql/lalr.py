"""The parsing machine: LALR(1) tables, and the loop that runs tokens through them.

The tables are package data, `grammar.json`, made from grammar.lark by `make grammar`; so nothing has to be
generated when the program starts, and the generator need not be installed. The file holds

literals    the text of every keyword and operator, and the name of its terminal
rules       origin, number of children, handler, and what becomes of the children: see `Rule`
states      for each state, a number by the name of every symbol that may come next: for a terminal
            that is shifted and for a rule that has been built the state to go to, for a terminal
            that ends a rule `-1 - number of the rule`
start, end  the states before the first token and after the last rule

Rule 1: no recursion; states and values are two lists.
Rule 2: a rule whose name begins with `_` has no handler: its children become its parent's.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from importlib.resources import files
from typing import Any, NamedTuple, Protocol

END = "$END"
"""The type of the token behind the last."""


class Terminal(Protocol):
    """What the machine asks of a token."""

    @property
    def type(self) -> str:
        """The name of its terminal in the grammar."""


class UnexpectedError(Exception):
    """No rule goes on with this token. `expected` names the terminals that could have stood there."""

    def __init__(self, token: Any, expected: frozenset[str]) -> None:
        super().__init__("unexpected token")
        self.token = token
        self.expected = expected


class Rule(NamedTuple):
    """One way to make `origin` from `size` children. `handler` names what builds it, "" dissolves it into
    its parent, None says that it is its one child. `nested`: some of its children are dissolved."""

    origin: str
    size: int
    handler: str | None
    nested: bool


class Tables(NamedTuple):
    """The contents of grammar.json."""

    literals: Mapping[str, str]
    rules: Sequence[Rule]
    states: Sequence[Mapping[str, int]]
    start: int
    end: int


def load_tables() -> Tables:
    """The tables of the language."""
    data = json.loads(files("detectord.eql").joinpath("grammar.json").read_text(encoding="utf-8"))
    rules = tuple(Rule(*rule) for rule in data["rules"])
    return Tables(data["literals"], rules, data["states"], data["start"], data["end"])


class Machine:
    """Runs tokens through the tables; `builder` has a method for every handler."""

    def __init__(self, tables: Tables, builder: object) -> None:
        self._tables = tables
        self._handlers: list[Callable[[list[Any]], Any] | None] = [
            getattr(builder, rule.handler) if rule.handler else None for rule in tables.rules
        ]

    def run(self, tokens: Sequence[Terminal]) -> Any:
        """What the handlers made of the tokens, the last of which has the type END.

        Raises:
            UnexpectedError: a token is out of place.
        """
        states, rules, handlers = self._tables.states, self._tables.rules, self._handlers
        end = self._tables.end
        stack = [self._tables.start]
        values: list[Any] = []
        for token in tokens:
            terminal = token.type
            while True:
                action = states[stack[-1]].get(terminal)
                if action is None:
                    raise UnexpectedError(token, _terminals(states[stack[-1]]))
                if action >= 0:
                    stack.append(action)
                    values.append(token)
                    break
                origin, size, handler, nested = rules[~action]
                if handler is None:
                    stack[-1] = states[stack[-2]][origin]
                    continue
                children: list[Any] = []
                if size:
                    children = values[-size:]
                    del values[-size:], stack[-size:]
                if nested:
                    children = _dissolved(children)
                build = handlers[~action]
                values.append(children if build is None else build(children))
                stack.append(states[stack[-1]][origin])
                if terminal == END and stack[-1] == end:
                    return values[-1]
        raise AssertionError("END is never shifted")


def _dissolved(children: list[Any]) -> list[Any]:
    """The children, and instead of each list (which no handler makes) what is in it. A list in front, which
    nobody else holds, is lengthened, not copied: so a long list takes linear time."""
    first, *others = children
    result: list[Any] = first if type(first) is list else [first]
    for child in others:
        if type(child) is list:
            result += child
        else:
            result.append(child)
    return result


def _terminals(state: Mapping[str, int]) -> frozenset[str]:
    """The terminals that may come in a state; the names of rules are in lower case."""
    return frozenset(name for name in state if name.isupper())

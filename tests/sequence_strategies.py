"""Generated sequences and samples in which matches are common and near misses too.

Rule 1: conditions are simple here (`s == "A"`): what is tried out is which events meet, not what a condition
says of one. `strategies.py` has conditions and keys of all types.
Rule 2: a case is read off bytes, zero the simplest choice. The simplest event is the one that the query waits
for next, one time unit after the one before it, with the key of all others; a byte that is not zero disturbs
that. The span is near the time that the simplest events need.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from hypothesis import strategies as st
from strategies import Case, Choices, blob, put

from detectord.eql import ast

if TYPE_CHECKING:
    from collections.abc import Sequence

_START = 1_772_359_200 * 10**9
_MARK = ast.Field("s")
"""The letters of the steps that an event is meant for."""

_KEY_FIELDS = ("k", "user.name", "process.pid")
_OWN_FIELDS = ("o.p", "o.q")
"""Keys of single steps: they take turns, so that one step's key is another field than the next one's."""
_KEY_VALUES: dict[str, tuple[Any, ...]] = {
    "k": ("a", "b", ["a", "b"], 1, "1", True),
    "user.name": ("a", "b", ["a", "b"], 1, "1", "A"),
    "process.pid": (1, 2, [1, 2], "1", 1.0, "x"),
    "o.p": ("a", "b", ["a", "b", "c"], 1, "1", True),
    "o.q": ("a", "b", ["b", "a"], 1, "1", True),
}


@dataclass(frozen=True)
class _Keys:
    """The join keys of a case: `own` is how many keys each step has of its own."""

    shared: tuple[ast.Field, ...]
    own: int
    optional: bool

    def of_step(self, number: int) -> tuple[ast.Field, ...]:
        fields = (_OWN_FIELDS[(number + place) % 2] for place in range(self.own))
        return tuple(ast.Field(path, optional=self.optional) for path in fields)

    @property
    def paths(self) -> list[str]:
        return [field.path for field in self.shared] + list(_OWN_FIELDS if self.own else ())


def _keys(choices: Choices, *, least: int = 0) -> _Keys:
    paths = sorted({choices.pick(_KEY_FIELDS) for _ in range(choices.pick((max(least, 0), 1, 1, 2)))})
    own = choices.pick((0, 0, 0, 1, 2))
    shared = tuple(ast.Field(path, optional=choices.chance(35)) for path in paths)
    return _Keys(shared, own, choices.chance(35))


class _Block(NamedTuple):
    """A step as it is to be written: a letter, how often, whether it must be absent."""

    letter: str
    runs: int = 1
    missing: bool = False


def _blocks(choices: Choices) -> list[_Block]:
    """One to four positive blocks, of which some repeat, with missing ones anywhere between and around."""
    blocks: list[_Block] = []
    for number in range(choices.pick((2, 2, 3, 3, 1, 4))):
        letter = "ABCD"[number]
        if blocks and choices.chance(20):
            letter = choices.pick([block.letter for block in blocks])
        blocks.append(_Block(letter, choices.pick((1,) * 16 + (2, 2, 3, 3, 4, 6))))
    for _ in range(choices.pick((0,) * 5 + (1, 1, 1, 2, 3))):
        absent = _Block(choices.pick("MMMNAB"), choices.pick((1, 1, 1, 2)), missing=True)
        blocks.insert(choices.number(len(blocks) + 1), absent)
    if sum(block.runs for block in blocks) < 2:
        blocks = [_Block("A", 2)]
    return blocks


def _condition(choices: Choices, letter: str) -> ast.Expr:
    if choices.chance(6):
        return ast.Literal(True)
    return ast.Comparison("==", _MARK, ast.Literal(letter))


def _steps(choices: Choices, blocks: Sequence[_Block], keys: _Keys, *, named: bool) -> tuple[ast.Step, ...]:
    steps: list[ast.Step] = []
    names: list[str] = []
    for number, block in enumerate(blocks):
        condition, alias = _condition(choices, block.letter), ""
        if named and not block.missing:
            if names and choices.chance(85):
                condition = _reading(choices, condition, choices.pick(names))
            if block.runs == 1:
                alias = f"e{number}"
                names.append(alias)
        event = ast.EventQuery(None, condition)
        steps.append(ast.Step(event, keys.of_step(number), block.runs, block.missing, alias))
    return tuple(steps)


def _reading(choices: Choices, condition: ast.Expr, name: str) -> ast.Expr:
    """The condition, and what it asks of an earlier event."""
    own, other = ast.Field("v"), ast.Field("v", scope=name)
    element, many = ast.Field("", scope="$w"), ast.Field("w")
    equal, earlier = ast.Comparison("==", own, other), ast.Field("n", scope=name)
    asked = choices.pick(
        (
            equal,
            equal,
            ast.Comparison("==", other, own),
            ast.Comparison("!=", own, other),
            ast.Not(equal),
            ast.Comparison("==", other, ast.Literal("x")),
            ast.Comparison("==", other, ast.Literal(None)),
            ast.Comparison("<=", earlier, ast.Field("n")),
            ast.Comparison(
                ">", ast.Arithmetic("-", ast.Field("n"), ast.Field("n", scope=name)), ast.Literal(0)
            ),
            ast.Call("startsWith", (own, other)),
            ast.Pattern(":", other, (ast.Literal("X*"),)),
            ast.In(other, (ast.Literal("x"), ast.Literal("z"))),
            ast.ArraySearch(ast.Field("w", scope=name), "$w", ast.Comparison("==", element, own)),
            ast.ArraySearch(many, "$w", ast.Comparison("==", element, other)),
        )
    )
    if choices.chance(15):
        return ast.And((condition, ast.Or((asked, ast.Comparison("==", own, ast.Literal("z"))))))
    return ast.And((condition, asked))


class _Plan(NamedTuple):
    """What the events of a case are made for."""

    waited: str
    """The letters of the positive steps, in order."""
    others: str
    """Letters of what disturbs: missing steps, until, and one that nobody asks for."""
    paths: list[str]
    unit: int
    span: int | None
    time_field: str
    ranked: bool
    valued: bool


_UNITS = (10**9, 10**9, 10**9, 10**6)
_JITTERS = (0,) * 12 + (1, -1, 999_999, 500_000)


def _iso(ns: int) -> str:
    seconds, rest = divmod(ns, 10**9)
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{rest:09}Z"


def _events(parts: Sequence[bytes], plan: _Plan) -> list[dict[str, Any]]:
    """The events, in order of arrival, which is mostly that of time."""
    placed: list[tuple[int, int, dict[str, Any]]] = []
    time, taken = _START, 0
    for number, part in enumerate(parts):
        choices = Choices(part)
        waited = plan.waited[taken % len(plan.waited)]
        document: dict[str, Any] = {}
        letters = _letters(choices, waited, plan)
        if letters is not None:
            document["s"] = letters
            taken += waited in letters
        time += _advance(choices, plan) if number else 0
        document[plan.time_field] = _iso(time + choices.pick(_JITTERS))
        displaced = choices.pick((0,) * 8 + (1, 2, -1, -3))
        for path in plan.paths:
            value = _key_value(choices, path)
            if value is not None:
                put(document, path, choices.number(2), value)
        if plan.ranked and (rank := choices.pick((None, 1, 2, 3, "1"))) is not None:
            document["rank"] = rank
        if plan.valued:
            _add_values(choices, document)
        placed.append((number + displaced, number, document))
    return [document for _, _, document in sorted(placed, key=lambda each: each[:2])]


def _letters(choices: Choices, waited: str, plan: _Plan) -> Any:
    kind = choices.number(16)
    if kind < 10:
        return waited
    if kind < 12:
        return choices.pick(plan.others)
    if kind < 14:
        return choices.pick(plan.waited)
    return [waited, choices.pick(plan.waited + plan.others)] if kind == 14 else None


def _advance(choices: Choices, plan: _Plan) -> int:
    """How long after the event before: mostly a unit, now and then none, or so that a span just ends."""
    span = plan.span or 5 * plan.unit
    rest = max(0, span - (len(plan.waited) - 2) * plan.unit)
    return choices.pick((plan.unit,) * 14 + (0, 0, 0, 2 * plan.unit, span, rest, rest + 1))


def _key_value(choices: Choices, path: str) -> Any:
    first, *others = _KEY_VALUES[path]
    return choices.pick((*(first,) * 36, others[0], others[0], *others, None, [None, first], []))


def _add_values(choices: Choices, document: dict[str, Any]) -> None:
    values = (*("x",) * 8, "y", "xy", "z", ["x", "y"], None, [None, "y"])
    for path in ("v", "w"):
        if (value := choices.pick(values)) is not None:
            document[path] = value
    document["n"] = choices.pick((1, 1, 2, 3, "2", [1, 5]))


def _pipes(choices: Choices) -> tuple[ast.Pipe, ...]:
    if not choices.chance(8):
        return ()
    return (ast.Pipe(choices.pick(("head", "tail")), (ast.Literal(choices.number(4)),)),)


def _case(plan: bytes, parts: list[bytes], *, named: bool) -> Case:
    choices = Choices(plan)
    keys, blocks = _keys(choices), _blocks(choices)
    steps = _steps(choices, blocks, keys, named=named)
    waited = "".join(block.letter * block.runs for block in blocks if not block.missing)
    absent = "".join(block.letter for block in blocks if block.missing)
    unit = choices.pick(_UNITS)
    needed = len(waited) - 1
    units = choices.pick((needed, needed, needed + 1, needed + 2, 2 * needed + 1, needed - 1, None, None))
    maxspan = None if units is None and not absent else max(1, needed if units is None else units) * unit
    until = None
    if choices.chance(25):
        letter = choices.pick(f"UUUU{waited[0]}{waited[-1]}{absent}")
        until = ast.Step(ast.EventQuery(None, _condition(choices, letter)), keys.of_step(len(blocks)))
    ranked, pipes = choices.chance(25), _pipes(choices)
    options = {
        "timestamp_field": choices.pick(("@timestamp",) * 5 + ("event.ingested",)),
        "tiebreaker_field": "rank" if ranked else None,
        "size": None if pipes else choices.pick((None,) * 7 + (2,)),
    }
    others = absent * 3 + "X" + ("U" if until else "")
    made = _Plan(waited, others, keys.paths, unit, maxspan, options["timestamp_field"], ranked, named)
    body = ast.Sequence(steps, keys.shared, maxspan, until)
    return Case(ast.Query(body, pipes), _events(parts, made), options)


def shape_case(plan: bytes, parts: list[bytes]) -> Case:
    """A sequence with what sequences can have: until, runs, missing steps, keys of steps."""
    return _case(plan, parts, named=False)


def alias_case(plan: bytes, parts: list[bytes]) -> Case:
    """A sequence whose steps are named and read, with all else that sequences can have."""
    return _case(plan, parts, named=True)


def sample_case(plan: bytes, parts: list[bytes]) -> Case:
    """A sample of two to four steps."""
    choices = Choices(plan)
    keys = _keys(choices, least=1)
    if not keys.shared and not keys.own:
        keys = _Keys((ast.Field("k"),), 0, False)
    letters = "".join(
        choices.pick("ABCD"[: number + 1][::-1]) for number in range(choices.pick((2, 2, 3, 4)))
    )
    steps = tuple(
        ast.Step(ast.EventQuery(None, _condition(choices, letter)), keys.of_step(number))
        for number, letter in enumerate(letters)
    )
    options = {
        "tiebreaker_field": None,
        "size": choices.pick((None,) * 6 + (1, 2)),
        "max_samples_per_key": choices.pick((1, 1, 1, 2, 3, 5)),
    }
    made = _Plan(letters, "X", keys.paths, 10**9, None, "@timestamp", False, False)
    return Case(ast.Query(ast.Sample(steps, keys.shared)), _events(parts, made), options)


def shape_cases() -> st.SearchStrategy[Case]:
    """See `shape_case`."""
    return st.builds(shape_case, blob(64), st.lists(blob(20), min_size=8, max_size=30))


def alias_cases() -> st.SearchStrategy[Case]:
    """See `alias_case`."""
    return st.builds(alias_case, blob(80), st.lists(blob(24), min_size=8, max_size=24))


def sample_cases() -> st.SearchStrategy[Case]:
    """See `sample_case`."""
    return st.builds(sample_case, blob(40), st.lists(blob(20), min_size=4, max_size=16))

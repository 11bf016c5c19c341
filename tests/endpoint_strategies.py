"""Generated array searches and process trees, for what the endpoint dialect has beyond names of steps.

As in `strategies.py`, a case is read off bytes and zero is the simplest choice. Searches use its expressions
with some fields exchanged for those of a variable; trees have few processes, few pids and many ways to name
them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from hypothesis import strategies as st
from strategies import KEYWORDS, UNTYPED, Case, Choices, Expressions, World, blob, document_of, put, world_of

from detectord.eql import ast

if TYPE_CHECKING:
    from collections.abc import Callable

# --- searches --------------------------------------------------------------------------------

_ARRAYS = ("list", "process.thread.list", "process.args")
_PARTS = ("name", "size", "deep.on", "parts", "")
"""Fields of an element; the last is the element itself."""


class _Variable(NamedTuple):
    """A variable in sight; that of a keyword array has only itself."""

    name: str
    keyword: bool


class _Searches(Expressions):
    """Expressions in which a field may be an element's."""

    def __init__(self, choices: Choices, world: World) -> None:
        super().__init__(choices, world)
        self.variables: list[_Variable] = []

    def element(self, *, typed: bool) -> ast.Field | None:
        """A field of some variable; `typed`: a keyword will do."""
        usable = [each for each in self.variables if typed or not each.keyword]
        if not usable or self.chance(30):
            return None
        variable = self.pick(usable[::-1])
        return ast.Field("" if variable.keyword else self.pick(_PARTS), scope=variable.name)

    def field(self, *families: tuple[str, ...]) -> ast.Field | None:
        typed = any(path in KEYWORDS for family in families for path in family)
        untyped = any(path in UNTYPED for family in families for path in family)
        found = self.element(typed=typed) if typed or untyped else None
        return found or super().field(*families)

    def any_field(self) -> ast.Field:
        return self.element(typed=True) or super().any_field()

    def pair_leaf(self) -> ast.Expr:
        left = self.element(typed=False)
        if left is not None:
            right = self.element(typed=False) or super().field(self.world.untyped) or left
            return self.comparison(left, right)
        variables, self.variables = self.variables, []
        found = super().pair_leaf()
        self.variables = variables
        return found

    def leaf(self) -> ast.Expr:
        if len(self.variables) < 2 and self.chance(25 if self.variables else 80):
            return self.search()
        return super().leaf()

    def boolean_value(self, depth: int) -> ast.Expr:
        """A search is no operand: it stands between `and`, `or` and `not` only."""
        found = super().boolean_value(depth)
        while any(isinstance(part, ast.ArraySearch) for part in _parts(found)):
            found = self.null_test()
        return found

    def search(self) -> ast.Expr:
        outer = [each for each in self.variables if not each.keyword]
        if outer and self.chance(60):
            array, keyword = ast.Field("parts", scope=outer[-1].name), False
        else:
            path = self.pick(_ARRAYS)
            array, keyword = ast.Field(path), path == "process.args"
        variable = _Variable(f"$v{len(self.variables)}", keyword)
        self.variables.append(variable)
        condition = self.condition(1)
        self.variables.pop()
        return ast.ArraySearch(array, variable.name, condition)


def _parts(expr: ast.Expr) -> list[ast.Expr]:
    return [expr, *(part for child in ast.children(expr) for part in _parts(child))]


def _scalar(choices: Choices, world: World) -> Any:
    return choices.pick((*world.texts * 3, *world.amounts, True, None, [world.texts[0], world.texts[-1]]))


def _element(choices: Choices, world: World, depth: int) -> Any:
    if choices.number(6) == 5:
        return choices.pick((world.texts[0], 1, None, [], {}, [None], [[world.texts[0]]]))
    element: dict[str, Any] = {}
    for path in ("name", "size", "deep.on"):
        if choices.number(5) < 4:
            put(element, path, choices.number(2), _scalar(choices, world))
    if depth and choices.number(3) < 2:
        element["parts"] = _elements(choices, world, depth - 1)
    return element


def _elements(choices: Choices, world: World, depth: int) -> Any:
    found = choices.some(1, 2, lambda: _element(choices, world, depth))
    return choices.pick((found, found, found, found[0], [found], [*found, None]))


def search_case(plan: bytes, parts: list[bytes]) -> Case:
    """An event query with array searches."""
    choices = Choices(plan)
    world = world_of(choices)
    query = _Searches(choices, world).condition(2)
    events = []
    for part in parts:
        own = Choices(part)
        document = document_of(own, world)
        for path in ("list", "process.thread.list"):
            if own.number(6) < 5:
                put(document, path, own.number(4), _elements(own, world, 1))
        if own.number(6) == 5:  # keys that go on behind the path
            put(document, "list.name", 1, _scalar(own, world))
        events.append(document)
    return Case(ast.Query(ast.EventQuery(None, query)), events, {})


# --- lineage ---------------------------------------------------------------------------------

_MARK = ast.Field("m")


def _marked(letter: str) -> ast.Expr:
    return ast.Comparison("==", _MARK, ast.Literal(letter))


class _Questions:
    """Conditions that ask for lineage."""

    def __init__(self, choices: Choices) -> None:
        self.choices = choices

    def lineage(self, depth: int) -> ast.Expr:
        inner: ast.Expr = _marked(self.choices.pick("XXYZ"))
        if depth and self.choices.chance(20):
            inner = ast.And((inner, self.asked(depth - 1)))
        category = self.choices.pick((None, None, "process"))
        relation = self.choices.pick(("child", "descendant", "event"))
        return ast.Lineage(relation, ast.EventQuery(category, inner))

    def asked(self, depth: int) -> ast.Expr:
        lineage = self.lineage(depth)
        if self.choices.chance(20):
            lineage = ast.Not(lineage)
        if not self.choices.chance(25):
            return lineage
        join: Callable[[tuple[ast.Expr, ...]], ast.Expr] = self.choices.pick((ast.And, ast.Or))
        other = self.lineage(depth) if self.choices.chance(50) else _marked(self.choices.pick("XYZ"))
        return join((lineage, other))

    def event(self) -> ast.EventQuery:
        return ast.EventQuery(self.choices.pick((None, None, "process", "network")), self.asked(1))


_NAMINGS = ("entity", "pid", "both", "mixed")


class _Tree(NamedTuple):
    """How the events of a case name processes."""

    naming: str
    processes: int
    pids: int


def _name(choices: Choices, tree: _Tree, path: str, document: dict[str, Any], number: int) -> None:
    """Names process `number` at the path: as the tree has it, now and then otherwise."""
    naming = choices.pick(("entity", "pid", "both")) if tree.naming == "mixed" else tree.naming
    entity_id: Any = f"e{number}"
    pid: Any = 1 + number % tree.pids
    strange = choices.number(40)
    if strange == 39:
        entity_id, pid = [entity_id, "e0"], [pid, str(pid)]
    elif strange == 38:
        entity_id, pid = "", str(pid)
    elif strange == 37:
        pid = [pid, 1]
    elif strange == 36:
        return
    if naming != "pid":
        put(document, f"{path}.entity_id", choices.number(4), entity_id)
    if naming != "entity":
        put(document, f"{path}.pid", choices.number(4), pid)


def _process_event(choices: Choices, tree: _Tree, number: int) -> dict[str, Any]:
    """An event of some process: the simplest one is the start of the next, whose parent is the one before."""
    document: dict[str, Any] = {}
    kind = choices.number(12)
    own = number % tree.processes if kind < 5 else choices.number(tree.processes)
    parent = (own - 1) % tree.processes if choices.number(5) < 4 else choices.number(tree.processes)
    host = choices.pick((*("h",) * 28, "g", "g", "g", None, None, ["g", "h"]))
    if host is not None:
        put(document, "host.id", choices.number(2), host)
    category, event_type, action = _KINDS[kind]
    document["event"] = {"category": category, "type": event_type, "action": action}
    _name(choices, tree, "process", document, own)
    if choices.number(5) < (4 if own else 1):  # a circle of processes is an exception
        _name(choices, tree, "process.parent", document, parent)
    mark = choices.pick(("X", None, None, "Y", ["X", "Z"]))
    if mark is not None:
        document["m"] = mark
    return document


_KINDS: tuple[tuple[Any, Any, Any], ...] = (
    *((("process", "start", "start"),) * 3),
    ("process", ["start"], "fork"),
    (["process", "network"], ["info", "start"], None),
    *((("network", "info", None),) * 3),
    ("process", "start", ["exec"]),
    ("process", "end", "end"),
    ("process", ["start", "end"], None),
    ("file", "start", None),
)


def lineage_case(plan: bytes, parts: list[bytes]) -> Case:
    """An event query or a sequence of two steps that asks for lineage, over the events of a few processes."""
    choices = Choices(plan)
    questions = _Questions(choices)
    tree = _Tree(choices.pick(_NAMINGS), choices.pick((3, 4, 5, 6)), choices.pick((2, 3, 4)))
    body: ast.EventQuery | ast.Sequence = questions.event()
    if choices.chance(25):
        steps = (ast.Step(questions.event()), ast.Step(ast.EventQuery(None, questions.asked(0))))
        keys = choices.pick(((), (ast.Field("host.id"),), (ast.Field("process.pid", optional=True),)))
        body = ast.Sequence(steps, keys, choices.pick((None, 10**9, 5 * 10**9)))
    events = []
    for number, part in enumerate(parts):
        own = Choices(part)
        document = _process_event(own, tree, number)
        time = 1_772_359_200_000 + 1000 * (number + own.pick((0,) * 8 + (1, -1, 2, -3)))
        if own.number(20) < 19:
            document["@timestamp"] = time
        events.append(document)
    return Case(ast.Query(body), events, {})


# --- strategies ------------------------------------------------------------------------------


def search_cases() -> st.SearchStrategy[Case]:
    """See `search_case`."""
    return st.builds(search_case, blob(160), st.lists(blob(96), min_size=2, max_size=8))


def lineage_cases() -> st.SearchStrategy[Case]:
    """See `lineage_case`."""
    return st.builds(lineage_case, blob(64), st.lists(blob(24), min_size=4, max_size=16))

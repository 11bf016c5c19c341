"""Against the `eql` package's Python engine: the rules that both load, the same events, both decoded before.

The package knows no arrays: it is given the first element of each. Its answers are so not quite the same;
what is compared is the time.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Any

from bench.context import Context, Engine, decoded
from bench.timing import Rounds, settled
from bench.workload import recorded, records, synthetic
from detectord.compiler import CompiledRule
from detectord.events.event import Event
from detectord.events.record import Record


def measure(context: Context) -> None:
    """The line `eql_package`: how many times as long the package takes."""
    if find_spec("eql.engine") is None:  # tests/eql is a package of that name, too, to Python
        print("eql: left out, the package is not installed (the extra `bench`)", file=sys.stderr)
        return
    scale = context.scale
    both, theirs = loaded(context.rules.at_hand)
    ours = Engine(both)
    count = scale.eql_events * scale.eql_rounds
    # Only events of a category that the rules ask for cost the package anything; take what comes
    values = recorded(scale.cold + count) or synthetic(scale.cold + count)
    stream = records(values)
    rounds = Rounds()
    with settled():
        ours.run(stream[: scale.cold])
        for number in range(scale.eql_rounds):
            begin = scale.cold + number * scale.eql_events
            part = stream[begin : begin + scale.eql_events]
            rounds.round(ours=_ours(ours, part), theirs=_theirs(theirs, part))
    context.add("eql_package_rules", len(both), "rules")
    context.add("eql_package_detectord", rounds.cost("ours"), "µs/event")
    context.add(
        "eql_package", rounds.cost("theirs"), "µs/event", "eql_package_detectord",
        rounds.ratio("theirs", "ours"),
    )  # fmt: skip


def loaded(rules: Sequence[CompiledRule]) -> tuple[list[CompiledRule], Any]:
    """The rules that the package takes, too, and its engine with them."""
    import eql  # type: ignore[import-untyped]  # it has no types
    from eql.engine import PythonEngine  # type: ignore[import-untyped]  # it has no types

    engine = PythonEngine({"flatten": False})
    engine.add_output_hook(lambda output: None)
    both: list[CompiledRule] = []
    syntax = eql.parser.ParserConfig(
        elasticsearch_syntax=True, check_functions=False, allow_negation=True, allow_runs=True
    )
    for rule in rules:
        try:
            with syntax:
                engine.add_query(eql.parse_query(rule.rule.query_text))
        except Exception:
            continue
        both.append(rule)
    return both, engine


def _ours(engine: Engine, part: Sequence[Record]) -> Callable[[], int]:
    events = [decoded(record) for record in part]
    return lambda: engine.evaluate(events)


def _theirs(engine: Any, part: Sequence[Record]) -> Callable[[], int]:
    import eql

    events = [
        eql.Event(category, number, document)
        for number, event in enumerate(map(decoded, part))
        for document in [flattened(event.document)]
        for category in _categories(event)
    ]

    def run() -> int:
        engine.stream_events(events)
        return len(part)

    return run


def _categories(event: Event) -> Sequence[str]:
    """What the package calls the type of an event: one, of several the first."""
    return event.text("event.category")[:1] or ("generic",)


def flattened(value: Any) -> Any:
    """The value with the first element in the place of every array."""
    if isinstance(value, dict):
        return {key: flattened(child) for key, child in value.items()}
    if isinstance(value, list):
        return flattened(value[0]) if value else None
    return value

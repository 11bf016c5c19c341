"""The engine against the floor: on recorded and on synthetic events, cold, warm, after a reload, by rules."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

from bench import cold, floor
from bench.context import Context, Engine
from bench.timing import Rounds, pieces, settled
from bench.workload import recorded, records, synthetic
from detectord.compiler import CompiledRule
from detectord.events.event import Event
from detectord.events.record import Record


def measure(context: Context) -> None:
    """All lines of the engine."""
    count = context.scale.cold + context.scale.steady
    real = records(recorded(count))
    made = records(synthetic(count))
    _stream(context, real or made, "recorded" if real else "synthetic")
    if real:
        _stream(context, made, "synthetic")
    _by_rules(context, real or made)


def _stream(context: Context, stream: Sequence[Record], name: str) -> None:
    """One stream: behind its first events it is steady, each event seen for the first time. That
    is measured in turns: floor, engine with the rules at hand, engine with as many derived ones beside them.
    """
    scale, rules = context.scale, context.rules.at_hand
    suffix = "" if name == "recorded" else f"_{name}"
    doubled = context.rules.first(2 * len(rules))
    engine, twice = Engine(rules), Engine(doubled)
    floors = [_floor(rules), _floor(doubled)]
    first, steady = stream[: scale.cold], stream[scale.cold :]
    rounds, again = Rounds(), Rounds()
    with settled():
        engine.run(first)
        twice.run(first)
        for piece in pieces(len(steady), scale.piece):
            part = steady[piece]
            rounds.round(
                floor=lambda part=part: floors[0](part),
                floor_twice=lambda part=part: floors[1](part),
                engine=lambda part=part: engine.run(part),
                twice=lambda part=part: twice.run(part),
            )
        for piece in pieces(len(steady), scale.piece):
            part = steady[piece]
            again.round(floor=lambda part=part: floors[0](part), engine=lambda part=part: engine.run(part))
    context.add(f"decode_floor{suffix}", rounds.cost("floor"), "µs/event")
    context.compare(rounds, "engine", "floor", name=f"engine_{name}", against=f"decode_floor{suffix}")
    context.add(
        f"engine_{name}_doubled",
        rounds.cost("twice"),
        "µs/event",
        f"decode_floor{suffix}",
        rounds.ratio("floor_twice", "twice"),
    )
    context.compare(again, "engine", "floor", name=f"engine_{name}_again", against=f"decode_floor{suffix}")
    context.add(f"events_per_core{suffix}", 1e6 / rounds.cost("engine"), "events/s")
    cold.measure(context, name, suffix)
    context.add(f"exact_per_event{suffix}", exact_per_event(rules, steady), "evaluations/event")
    context.add(f"events_bytes{suffix}", sum(len(r.value) for r in stream) / len(stream), "bytes/event")


def _floor(rules: Sequence[CompiledRule]) -> Callable[[Sequence[Record]], int]:
    decode = floor.decoder(rules)

    def run(part: Sequence[Record]) -> int:
        for record in part:
            decode(record.value)
        return len(part)

    return run


def exact_per_event(rules: Sequence[CompiledRule], stream: Sequence[Record]) -> float:
    """How many matchers are called for an event, once everything is warm."""
    calls = 0

    def counted(matcher: Callable[..., bool]) -> Callable[..., bool]:
        def count(event: Event, *more: object) -> bool:
            nonlocal calls
            calls += 1
            return matcher(event, *more)

        return count

    engine = Engine(
        dataclasses.replace(
            rule,
            steps=tuple(dataclasses.replace(step, matcher=counted(step.matcher)) for step in rule.steps),
        )
        for rule in rules
    )
    warm = len(stream) // 2
    engine.run(stream[:warm])
    calls = 0
    engine.run(stream[warm:])
    return calls / len(stream[warm:])


def _by_rules(context: Context, stream: Sequence[Record]) -> None:
    """The same events with ever more rules, in turns."""
    scale = context.scale
    engines = {str(count): Engine(context.rules.first(count)) for count in scale.rules}
    run = _floor(context.rules.at_hand)
    rounds, each = Rounds(), scale.rules_events
    # What is warmed up with is measured again: the sizes are compared, not the warmth
    part = stream[: each * scale.rules_rounds]
    with settled():
        for engine in engines.values():
            engine.run(part)
        for piece in pieces(len(part), each):
            sides = {name: _running(engine, part[piece]) for name, engine in engines.items()}
            rounds.round(floor=lambda piece=piece: run(part[piece]), **sides)
    for name in engines:
        context.compare(rounds, name, "floor", name=f"rules_{name}", against="decode_floor")
    for more in engines:
        less = str(int(more) // 10)
        if less in engines:
            name = "rules_x10" if more == "5000" else f"rules_x10_{more}"
            context.add(name, rounds.cost(more), "µs/event", f"rules_{less}", rounds.ratio(more, less))


def _running(engine: Engine, part: Sequence[Record]) -> Callable[[], int]:
    return lambda: engine.run(part)

"""Measuring two or more things in turns."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import median
from time import process_time

Side = Callable[[], int]
"""Does a piece of work; how many units of it."""


def spent(side: Side) -> float:
    """Microseconds of CPU for each unit of one piece of work."""
    began = process_time()
    units = side()
    return (process_time() - began) * 1e6 / max(units, 1)


class Rounds:
    """Microseconds a unit, of several sides by name, round by round."""

    def __init__(self) -> None:
        self._rounds: list[dict[str, float]] = []

    def round(self, **sides: Side) -> None:
        """Do a piece of every side's work, each round in the opposite order."""
        names = list(sides) if len(self._rounds) % 2 else list(reversed(sides))
        self._rounds.append({name: spent(sides[name]) for name in names})

    def cost(self, side: str) -> float:
        """The median cost of a side."""
        return median(costs[side] for costs in self._rounds)

    def ratio(self, side: str, other: str) -> float:
        """The median over the rounds of what a side costs over what another does."""
        return median(costs[side] / max(costs[other], 1e-9) for costs in self._rounds)


def pieces(count: int, size: int) -> Iterator[slice]:
    """`count` units cut into pieces of `size`."""
    return (slice(begin, begin + size) for begin in range(0, count, size))


@contextmanager
def settled() -> Iterator[None]:
    """What has been made so far stays, and is not looked through for garbage while something is measured."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()

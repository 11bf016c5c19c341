"""Records that kill workers: which one it is, if it is one.

A worker that dies while it evaluates may have been killed by a record. The loop then goes on in smaller
steps, one batch at a time, each committed before the next is read. Records that a worker died of together
are suspects, and a suspect goes alone, before a new worker with committed state. Who kills three of three in
that place is convicted: it becomes a dead letter, and is not evaluated again. After that, and after whatever
did no harm, the steps grow again. (Steps that shrink would not do: of several partitions one never knows
whose record comes first, and others' records would let the steps grow before it is the guilty one's turn.)

Rule 1: only who was alone is convicted, and only of a death while it was evaluated. What kills workers
otherwise (too little memory, a bug in sequences) is no record's fault; that ends the instance after some
losses.
Rule 2: convictions are bounded; the oldest are forgotten, and found again if their record comes back.
"""

from __future__ import annotations

from collections.abc import Collection, Container, Iterable, Mapping

from detectord.events.record import Partition, Record

Place = tuple[str, int, int]
"""Topic, partition and offset of a record."""

DEATHS = 3
"""Deaths of workers that convict who was alone with them."""
SHRINK = 32
"""By how much steps are shortened at first; after one more death records go one by one."""
MOST_CONVICTED = 10_000
MOST_IN_A_ROW = 20
"""Records that are convicted without one between them that does no harm: then it is not the records."""


class Trial:
    """How large a step may be, and who is guilty. `usual`: records in a batch while nothing is amiss."""

    def __init__(self, usual: int) -> None:
        self._usual = usual
        self.step = usual
        self._deaths: dict[Place, int] = {}
        self._suspects: set[Place] = set()
        self._convicted: dict[Place, None] = {}
        self._in_a_row = 0

    @property
    def is_on(self) -> bool:
        """True while batches go one by one."""
        return self.step < self._usual or bool(self._suspects)

    def died(self, evaluated: Collection[Place]) -> bool:
        """A worker died that had these records to evaluate; whether that tells anything about a record."""
        self.step = 1 if self.is_on else max(1, self._usual // SHRINK)
        if len(evaluated) != 1 or self._in_a_row >= MOST_IN_A_ROW:
            self._suspects.update(evaluated)
            return False
        (place,) = evaluated
        self._deaths[place] = self._deaths.get(place, 0) + 1
        if self._deaths[place] >= DEATHS:
            self._in_a_row += 1
            self._convicted[place] = None
            if len(self._convicted) > MOST_CONVICTED:
                del self._convicted[next(iter(self._convicted))]
        return True

    def survived(self, evaluated: Iterable[Place]) -> None:
        """A worker has evaluated these records: whatever it died of before, they do not always kill."""
        for place in evaluated:
            self._deaths.pop(place, None)

    def committed(self, positions: Mapping[Partition, int], *, is_harmless: bool) -> None:
        """A step was committed, to these positions. `is_harmless`: a record was evaluated in it."""
        self._suspects = {each for each in self._suspects if positions.get(each[:2], 0) <= each[2]}
        self.step = min(self._usual, 2 * self.step)
        if is_harmless:
            self._in_a_row = 0
        if not self.is_on:
            self._deaths.clear()

    def keep(self, partitions: Container[Partition]) -> None:
        """Only these are still read here: other suspects are no concern of ours."""
        self._suspects = {each for each in self._suspects if each[:2] in partitions}

    def is_suspect(self, record: Record) -> bool:
        """True if the record has to be evaluated alone."""
        return bool(self._suspects) and (record.topic, record.partition, record.offset) in self._suspects

    def is_convicted(self, record: Record) -> bool:
        """True if the record is not to be evaluated."""
        return bool(self._convicted) and (record.topic, record.partition, record.offset) in self._convicted

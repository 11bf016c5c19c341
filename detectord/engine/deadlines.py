"""Which row is to be looked at when: a queue of names by time, made for a million of them.

Rule 1: what waits knows its time itself (`time_of`); the queue only brings names back. A name whose time is
another by now, or that is gone, is passed over.
Rule 2: a call costs what it puts in and takes out, however much lies further ahead.

Most times are far ahead, by the span of a sequence. So names lie in buckets by time, in no order: a reference
each. A bucket is put in order, into a heap, when it is the first and its time has come. An entry of the heap
is one `bytes`, time and name: smaller than a tuple, and nothing that the search for cyclic garbage looks at.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable
from functools import lru_cache

Time = bytes
"""A time in eight bytes, which stand in the order of times."""

TIME_BYTES = 8
_BIAS, _LAST = 2**63, 2**64 - 1
_WIDTH = 34
"""A bucket is 2 to the power of this nanoseconds, 17 seconds: two hundred for an hour."""


def packed(time: int) -> Time:
    """`time` (ns) in eight bytes; what does not fit is the first or the last but one there is."""
    unsigned = time + _BIAS
    if not 0 <= unsigned < _LAST:
        unsigned = 0 if unsigned < 0 else _LAST - 1
    return unsigned.to_bytes(TIME_BYTES, "big")


def unpacked(time: Time | None) -> int | None:
    """The time (ns) that was packed; None for one that says at once or never."""
    if time is None or time in (AT_ONCE, NEVER):
        return None
    return int.from_bytes(time, "big") - _BIAS


_limit = lru_cache(maxsize=1)(packed)  # of all state partitions one after the other the same is asked

NEVER: Time = b"\xff" * TIME_BYTES
"""The time of what is not scheduled."""
AT_ONCE: Time = packed(-_BIAS)
"""No time is before it."""


class Deadlines:
    """Names by time. `time_of` says for which time a name is scheduled; None: it is gone."""

    def __init__(self, time_of: Callable[[bytes], Time | None]) -> None:
        self._time_of = time_of
        self._near: list[bytes] = []  # a heap
        self._far: dict[int, list[bytes]] = {}
        self._ahead: list[int] = []  # the buckets of `_far`, a heap
        self._opened = -1
        self._size = 0

    def __len__(self) -> int:
        """How many names there are, with those that will be passed over."""
        return self._size

    def put(self, time: Time, name: bytes) -> None:
        """`name` is scheduled for `time` from now on."""
        self._size += 1
        bucket = _bucket(time)
        if bucket <= self._opened:
            heapq.heappush(self._near, time + name)
        elif bucket in self._far:
            self._far[bucket].append(name)
        else:
            self._far[bucket] = [name]
            heapq.heappush(self._ahead, bucket)

    def first(self) -> Time | None:
        """The earliest time for which something is scheduled."""
        return self._near[0][:TIME_BYTES] if self._is_near(NEVER) else None

    def take(self, before: int | None = None) -> bytes | None:
        """Take out the name with the earliest time, if that is before `before`."""
        if not self._near and not self._ahead:
            return None
        if not self._is_near(NEVER if before is None else _limit(before)):
            return None
        self._size -= 1
        return heapq.heappop(self._near)[TIME_BYTES:]

    def refill(self, names: Iterable[bytes]) -> None:
        """Forget all but these names."""
        self._near, self._far, self._ahead, self._size = [], {}, [], 0
        for name in names:
            time = self._time_of(name)
            if time is not None and time != NEVER:
                self.put(time, name)

    def _is_near(self, before: Time) -> bool:
        """Whether something is scheduled before `before`. It is the first of what is near then."""
        while True:
            while self._near:
                entry = self._near[0]
                if entry >= before:
                    return False
                if self._time_of(entry[TIME_BYTES:]) == entry[:TIME_BYTES]:
                    return True
                heapq.heappop(self._near)
                self._size -= 1
            if not self._ahead or self._ahead[0] > _bucket(before):
                return False
            self._open(heapq.heappop(self._ahead))

    def _open(self, bucket: int) -> None:
        """Put the names of a bucket, for which nothing is near any more, in order."""
        self._opened = bucket
        names = self._far.pop(bucket)
        self._size -= len(names)
        for name in names:
            time = self._time_of(name)
            if time is not None and _bucket(time) == bucket:
                self._near.append(time + name)
        self._size += len(self._near)
        heapq.heapify(self._near)


def _bucket(time: Time) -> int:
    return int.from_bytes(time, "big") >> _WIDTH

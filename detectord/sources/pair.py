"""Two sources as one: the inputs, and the hits topic that instances tell each other step hits in.

Each is a member of a group of its own, because a group shares its partitions out by their number, whatever
is in them: in one group an instance that joins may be given partitions of the hits topic alone, and evaluate
nothing. Apart, the inputs are spread evenly, and so is the state. What others say is read first: it is
little, and what has been said already may hold event time back.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from detectord.events.record import Partition, Positions
from detectord.sources import GroupSource, Poll

TOGETHER_POLLS, TOGETHER_SECONDS = 10, 0.05
"""How often the inputs are asked once more, and how long each time, when partitions of the hits topic came to
an instance that has no inputs. At a start both come at nearly the same time, and each change of what is read
begins everything anew: state that was read back would go to the workers twice. Nobody waits longer than that
moment, for where there are more instances than input partitions some have none."""


class PairedSource:
    """Reads `inputs` and `hits`, whose topic is `hits_topic`; see `GroupSource`."""

    def __init__(self, inputs: GroupSource, hits: GroupSource, hits_topic: str) -> None:
        self._inputs = inputs
        self._hits = hits
        self._topic = hits_topic

    def poll(self, limit: int, timeout: float) -> Poll:
        """See `Source.poll`; only the inputs are waited for, and longer if they are still to come."""
        heard = self._hits.poll(limit, 0.0)
        # One that asks for nothing holds its source back
        rest = max(1, limit - len(heard.records)) if limit else 0
        read = self._inputs.poll(rest, 0.0 if heard.records else timeout)
        for _ in range(TOGETHER_POLLS if heard.rebalanced else 0):
            if read.rebalanced or read.left or self._inputs.assignment():
                break
            read = self._inputs.poll(rest, TOGETHER_SECONDS)
        return Poll(
            [*heard.records, *read.records],
            heard.at_end | read.at_end,
            heard.rebalanced or read.rebalanced,
            left=heard.left | read.left,
            gaps=(*heard.gaps, *read.gaps),
        )

    def assignment(self) -> frozenset[Partition]:
        """See `Source.assignment`."""
        return self._inputs.assignment() | self._hits.assignment()

    def partitions(self) -> frozenset[Partition]:
        """See `GroupSource.partitions`."""
        return self._inputs.partitions() | self._hits.partitions()

    def position(self, partition: Partition) -> int:
        """See `GroupSource.position`."""
        return self._of(partition).position(partition)

    def membership(self, positions: Positions) -> Iterable[tuple[Positions, object]]:
        """See `GroupSource.membership`: one of each group that has positions among them."""
        for source in (self._inputs, self._hits):
            own = {p: offset for p, offset in positions.items() if self._of(p) is source}
            if own:
                yield from source.membership(own)

    def lag(self) -> Mapping[Partition, int]:
        """See `GroupSource.lag`."""
        return {**self._inputs.lag(), **self._hits.lag()}

    def seek(self, positions: Positions) -> None:
        """See `Source.seek`."""
        self._inputs.seek(positions)
        self._hits.seek(positions)

    def close(self) -> None:
        """Leave both."""
        self._inputs.close()
        self._hits.close()

    def _of(self, partition: Partition) -> GroupSource:
        return self._hits if partition[0] == self._topic else self._inputs

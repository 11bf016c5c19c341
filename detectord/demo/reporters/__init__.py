"""What watches the machines: one function a product, from an act to the documents it sends of it.

They are written as the products deliver to Kafka; what comes only later, in an Elasticsearch ingest
pipeline of the product's own, is there as operators are told to run it before Kafka.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from detectord.demo.machines import Act, Document, Machine, ReporterName
from detectord.demo.reporters.auditbeat import auditbeat
from detectord.demo.reporters.defend import defend
from detectord.demo.reporters.winlog import security, sysmon

Reporter = Callable[[Machine, Act], Iterator[Document]]
"""A document takes its time from the machine's clock when it is asked for. Of an act that the product
does not see there is none."""

REPORTERS: Mapping[ReporterName, Reporter] = {
    "auditbeat": auditbeat,
    "defend": defend,
    "security": security,
    "sysmon": sysmon,
}


def reported(machine: Machine, acts: Iterable[Act]) -> Iterator[Document]:
    """What is sent of `acts`, one after the other."""
    report = REPORTERS[machine.host.reporter]
    for act in acts:
        yield from report(machine, act)

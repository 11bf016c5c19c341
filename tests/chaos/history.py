"""What came out, against what had to come out. Pure: documents in, findings out.

A document is known by its id. An id that is expected twice has to come twice. Documents of the same id are
compared whole, but for what tells when and by whom they were published (`PUBLICATION`).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Document = Mapping[str, Any]
Interval = tuple[int, int, int]
"""A partition, the first offset and the one behind the last."""

PUBLICATION = ("@timestamp", "kibana.alert.start", "kibana.alert.last_detected")
"""Fields of an alert that differ from one publication to the next; `detectord.instance` is one, too."""

KINDS = ("lost", "duplicated", "altered", "unexpected")
Kind = Literal["lost", "duplicated", "altered", "unexpected"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One document that is not as it should be. Of an altered one, `document` is what came."""

    kind: Kind
    id: str
    document: Document
    instead_of: Document | None = None


def findings(expected: Iterable[Document], found: Iterable[Document], *, key: str) -> list[Finding]:
    """Everything in which `found` is not the multiset `expected`; documents are known by their field
    `key`."""
    wanted, came = _by_id(expected, key), _by_id(found, key)
    result: list[Finding] = []
    for name in sorted(wanted.keys() | came.keys()):
        result += _of_one(name, wanted.get(name, []), came.get(name, []))
    return result


def _of_one(name: str, wanted: Sequence[Document], came: Sequence[Document]) -> list[Finding]:
    """What is wrong with the documents of one id."""
    if not wanted:
        return [Finding("unexpected", name, document) for document in came]
    missing, surplus = list(wanted), []
    for document in came:
        if document in missing:
            missing.remove(document)
        else:
            surplus.append(document)
    result = []
    # As many as are wanted are the answer to them, if a wrong one; only what is more is a repeat.
    while missing and surplus:
        result.append(Finding("altered", name, surplus.pop(0), missing.pop(0)))
    result += [Finding("lost", name, document) for document in missing]
    result += [Finding("duplicated", name, document) for document in surplus]
    return result


def _by_id(documents: Iterable[Document], key: str) -> dict[str, list[Document]]:
    result: dict[str, list[Document]] = defaultdict(list)
    for document in documents:
        result[str(document[key])].append(document)
    return result


def published(alert: Document) -> dict[str, Any]:
    """An alert without what tells of its publication."""
    kept = {name: value for name, value in alert.items() if name not in PUBLICATION}
    kept["detectord"] = {name: value for name, value in alert["detectord"].items() if name != "instance"}
    return kept


def placed(alert: Document, records: Sequence[Document]) -> dict[str, Any]:
    """An alert of a replay as one of the stream: where it names line n, it names `records[n - 1]`."""
    own: dict[str, Any] = dict(alert["detectord"])
    own["source"] = [records[source["offset"] - 1] for source in own["source"]]
    return {**alert, "detectord": own}


def untold(lost: Iterable[Interval], told: Iterable[Interval]) -> tuple[list[Interval], list[Interval]]:
    """Which records were lost and nobody told, and which were told to be lost and were not. The same loss may
    be told more than once."""
    gone, said = _offsets(lost), _offsets(told)
    return _intervals(gone - said), _intervals(said - gone)


def miscounted(
    ledger: Iterable[Document], refused: Mapping[tuple[str, int], int], lost: Sequence[Interval]
) -> list[str]:
    """In what the ledger is not the account of these losses: dead letters by their reason and partition, and
    records that were lost. Nothing else may stand in it."""
    counted: Counter[tuple[str, int]] = Counter()
    gaps: list[Interval] = []
    wrong = []
    for each in ledger:
        if each["reason"] == "gap":
            gaps.append((each["partition"], each["offsets"]["from"], each["offsets"]["to"]))
        elif each["reason"] in ("dead_lettered", "poison"):
            counted[each["reason"], each["partition"]] += each["count"]
        else:
            wrong.append(f"the ledger tells of {dict(each)}")
    silent, vain = untold(lost, gaps)
    wrong += [f"the ledger does not tell of lost records: {interval}" for interval in silent]
    wrong += [f"the ledger tells of records that are not lost: {interval}" for interval in vain]
    if counted != dict(refused):
        wrong.append(f"the ledger counts {dict(counted)}, not {dict(refused)}")
    return wrong


def _offsets(intervals: Iterable[Interval]) -> set[tuple[int, int]]:
    return {(partition, offset) for partition, start, end in intervals for offset in range(start, end)}


def _intervals(offsets: Iterable[tuple[int, int]]) -> list[Interval]:
    result: list[Interval] = []
    for partition, offset in sorted(offsets):
        if result and result[-1][0] == partition and result[-1][2] == offset:
            result[-1] = (partition, result[-1][1], offset + 1)
        else:
            result.append((partition, offset, offset + 1))
    return result

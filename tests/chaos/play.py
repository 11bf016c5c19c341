"""Plays a history: faults at seeded moments, then quiet, then the comparison.

What is found wrong is charged to the run in whose part of the traffic the newest event of the alert was
written; parts end half-way between two faults. What cannot be placed so is charged to the last run.
"""

from __future__ import annotations

import bisect
import itertools
import json
import random
import shutil
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from daemon import RULES, wait_until
from kafkanodes import Cluster

from chaos.faults import FAULTS, MOST
from chaos.feeder import Written
from chaos.history import KINDS, Document, Finding, findings, miscounted, placed, published, untold
from chaos.instance import DETECTORD
from chaos.proxy import Proxy
from chaos.results import Row
from chaos.stage import OWN_RULES, Scale, Stage, stage, wait
from detectord.runtime.replay import ReplayOptions, replay

RUNS_PER_HISTORY = 5

POISONED = Path(__file__).parent / "poisoned.py"

REST_SECONDS = 180.0
"""How long catching up may take after the last fault, on a busy machine."""

Place = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Plan:
    """The faults of a history, by name. `waits`: whether the daemons may recover before the next one;
    `instances`: how many there are at first."""

    seed: int
    faults: tuple[str, ...]
    waits: tuple[bool, ...]
    instances: int = 1


@dataclass(slots=True)
class _Strike:
    """A fault as it was played: the times of day of its begin and end, and the takeover's seconds."""

    name: str
    began: float
    ended: float
    takeover: float | None = None


@dataclass(slots=True)
class Verdict:
    """What the comparison found. `alerts`: the answer, `expected`: and the dead letters."""

    findings: list[Finding] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    alerts: list[Document] = field(default_factory=list)
    expected: list[Document] = field(default_factory=list)
    places: dict[str, float] = field(default_factory=dict)


def plan(seed: int, *, only: Sequence[str] = (), runs: int = RUNS_PER_HISTORY, brokers: int = 1) -> Plan:
    """The history of a seed. Seeds that follow each other go through all kinds of faults, shuffled anew each
    time."""
    kinds = [
        name
        for name, fault in FAULTS.items()
        if not fault.missing() and brokers in fault.brokers and (not only or name in only)
    ]
    chosen = [_dealt(kinds, seed * runs + number) for number in range(runs)]
    rng = random.Random(f"plan {seed}")
    waits = tuple(rng.random() < 0.8 for _ in chosen)
    needed = max(FAULTS[name].instances for name in chosen)
    return Plan(seed, tuple(chosen), waits, max(needed, rng.randint(1, MOST)))


def _dealt(kinds: Sequence[str], number: int) -> str:
    """The card of this number, from one shuffled deck after the other."""
    deck, place = divmod(number, len(kinds))
    return random.Random(f"deck {deck}").sample(kinds, len(kinds))[place]


def play(
    cluster: Cluster, proxy: Proxy, planned: Plan, scale: Scale, folder: Path, **config: Any
) -> list[Row]:
    """One row a run. What is needed to look into a history that failed stays in `folder`."""
    folder.mkdir(parents=True)
    rng = random.Random(f"history {planned.seed}")
    # What is played without poison is the daemon as it is
    program = (str(POISONED),) if "poison" in planned.faults else DETECTORD
    count = planned.instances
    with stage(cluster, proxy, folder, rng, scale, instances=count, program=program, **config) as here:
        strikes, problems = _strike_all(here, planned)
        verdict = Verdict(problems=problems)
        if not problems:
            _come_to_rest(here, verdict)
        for instance in here.everyone:
            verdict.problems += instance.problems + instance.symptoms()
        rows = _rows(planned, scale, strikes, verdict, here)
        if any(row.has_failed for row in rows):
            _keep_evidence(here, planned, verdict)
        else:
            verdict_folder = here.folder
    if not any(row.has_failed for row in rows):
        shutil.rmtree(verdict_folder)
    return rows


def _strike_all(here: Stage, planned: Plan) -> tuple[list[_Strike], list[str]]:
    """Play the faults; what went wrong on the way ends the history."""
    strikes: list[_Strike] = []
    try:
        wait_until(lambda: here.reader.first_after(0.0), "the first alert")
        for name, waits in zip(planned.faults, planned.waits, strict=True):
            here.pause(*here.scale.quiet)
            strike = _Strike(name, time.time(), 0.0)
            strikes.append(strike)
            here.hit = []
            FAULTS[name].strike(here)
            strike.ended = time.time()
            if waits:
                strike.takeover = _takeover(here, strike)
    except AssertionError as error:
        return strikes, [str(error)]
    return strikes, []


def _takeover(here: Stage, strike: _Strike) -> float:
    """Seconds until each instance that was hit had published an alert after the fault was over that could be
    read; where it hit what they have in common, until all had."""
    reads = []
    for instance in here.hit or here.instances:
        after = partial(here.reader.first_after, strike.ended, instance.name)
        arrival = wait_until(after, f"an alert of {instance.name} after {strike.name}", REST_SECONDS)
        reads.append(arrival.read)
    return max(reads) - strike.ended


def _come_to_rest(here: Stage, verdict: Verdict) -> None:
    """Let everything be read, stop, and compare."""
    wait(1.0)
    try:
        here.feeder.stop()
        ends = here.ends()
        wait_until(lambda: here.committed() == ends, "the whole input is committed", REST_SECONDS)
        if len(here.everyone) > 1:
            wait_until(here.has_heard_all, "all hits have been heard", REST_SECONDS)
            _answer(here, verdict)
            # One may have heard all and not yet said what follows; what never comes is found out below
            with suppress(AssertionError):
                wait_until(lambda: len(here.reader.alerts) >= len(verdict.alerts), "all alerts", 20)
        for instance in here.instances:
            instance.stop()
        wait_until(here.reader.has_read_all, "every alert is read", REST_SECONDS)
    except AssertionError as error:
        verdict.problems.append(str(error))
    _compare(here, verdict)


def _compare(here: Stage, verdict: Verdict) -> None:
    """Hold what was read against the answer to the same input without faults."""
    if not verdict.alerts:
        _answer(here, verdict)
    came = [published(each) for each in here.reader.alerts]
    verdict.findings += findings(verdict.alerts, came, key="kibana.alert.uuid")
    bad = [
        {"place": f"{w.partition}:{w.offset}", "reason": w.item.refused, "value": w.item.value.decode()}
        for w in _there(here)
        if w.item.refused
    ]
    verdict.findings += findings(bad, here.reader.dead_letters, key="place")
    verdict.expected = [*verdict.alerts, *bad]
    reasons = {"not_json": "dead_lettered", "poison": "poison"}
    refused = Counter((reasons[w.item.refused], w.partition) for w in _there(here) if w.item.refused)
    verdict.problems += miscounted(here.reader.ledger.values(), refused, here.lost)
    told = [gap for instance in here.everyone for gap in instance.gaps()]
    silent, wrong = untold(here.lost, told)
    verdict.problems += [f"records are lost and nobody told: {interval}" for interval in silent]
    verdict.problems += [f"records are told to be lost and are not: {interval}" for interval in wrong]


def _there(here: Stage) -> list[Written]:
    """What was written and not taken away."""
    lost = {(number, offset) for number, start, end in here.lost for offset in range(start, end)}
    return [w for w in here.feeder.written if (w.partition, w.offset) not in lost]


def _answer(here: Stage, verdict: Verdict) -> None:
    """What one who is not disturbed says to the same input; what kills workers is none."""
    written = [w for w in _there(here) if w.item.refused != "poison"]
    records = [w.named(here.input) for w in written]
    events, alerts = here.folder / "input.ndjson", here.folder / "expected.ndjson"
    events.write_bytes(b"".join(w.item.value + b"\n" for w in written))
    replay(ReplayOptions(rules=[RULES, OWN_RULES], inputs=[str(events)], output=str(alerts)))
    documents = map(json.loads, alerts.read_text().splitlines())
    verdict.alerts = [published(placed(each, records)) for each in documents]


def _rows(
    planned: Plan, scale: Scale, strikes: Sequence[_Strike], verdict: Verdict, here: Stage
) -> list[Row]:
    parts = [(one.ended + two.began) / 2 for one, two in itertools.pairwise(strikes)]
    moments = {(w.partition, w.offset): w.item.moment for w in here.feeder.written}

    def run_of(document: Document) -> int:
        moment = max((moments.get(place, 0.0) for place in _places(document)), default=0.0)
        return bisect.bisect(parts, here.feeder.began + moment) if moment else len(strikes) - 1

    expected = Counter(map(run_of, verdict.expected))
    found = Counter((run_of(each.document), each.kind) for each in verdict.findings)
    rows = [
        Row(
            seed=planned.seed,
            number=number,
            kind=strike.name,
            scale=scale.name,
            lasted=round(max(0.0, strike.ended - strike.began), 3),
            takeover=None if strike.takeover is None else round(strike.takeover, 3),
            expected=expected[number],
            instances=planned.instances,
            brokers=len(here.cluster.nodes),
            **{kind: found[number, kind] for kind in KINDS},
        )
        for number, strike in enumerate(strikes)
    ]
    if rows:
        rows[-1].problems.extend(verdict.problems)
    else:
        rows.append(Row(planned.seed, 0, "none", scale.name, problems=list(verdict.problems)))
    return rows


def _places(document: Document) -> Iterable[Place]:
    """Where the records of an alert's events, or of a dead letter, are in the input."""
    if "place" in document:
        partition, offset = document["place"].split(":")
        return [(int(partition), int(offset))]
    return [(each["partition"], each["offset"]) for each in document["detectord"]["source"]]


def _keep_evidence(here: Stage, planned: Plan, verdict: Verdict) -> None:
    """Beside the logs, the input and the expected alerts: what came, and what is wrong with it."""

    def save(name: str, documents: Iterable[Mapping[str, Any]]) -> None:
        lines = [json.dumps(document) + "\n" for document in documents]
        (here.folder / name).write_text("".join(lines))

    save("alerts.ndjson", here.reader.alerts)
    save("dead-letters.ndjson", here.reader.dead_letters)
    save("ledger.ndjson", here.reader.ledger.values())
    save(
        "findings.ndjson",
        [
            {"kind": each.kind, "id": each.id, "document": each.document, "instead_of": each.instead_of}
            for each in verdict.findings
        ],
    )
    save("written.ndjson", [{"place": w[:2], "moment": w.item.moment} for w in here.feeder.written])
    (here.folder / "problems.txt").write_text("\n".join([str(planned), *verdict.problems]) + "\n")

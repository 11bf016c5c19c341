"""The fast dispatcher against the plain one; part of `make fuzz`.

First all recorded events and all rules at hand, as they are; then `--cases` events, each with some forty
rules, both a little different from real ones. Needs `../shared/data`; without it, it says so and ends.
"""

from __future__ import annotations

import argparse
import gzip
import random
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # started as a script: the package is not on the path

import msgspec
from dispatching import Pair
from mutations import mutated_event, mutated_rule, texts_of

from detectord.compiler import compile_rule
from detectord.engine.planner import HOT
from detectord.events.fields import FIELD_TYPES
from detectord.events.record import Record
from detectord.rules.load import load
from detectord.rules.rule import Rule

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT.parent / "shared" / "data"
RULES = 40
"""Rules of one round, so that many find something in common."""
EVENTS = 400
"""Events of one round: so many that plans are made and values come again."""


def main() -> int:
    """Compare, and print how much was compared."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--cases", type=int, default=100_000, help="events with changed rules")
    parser.add_argument("--seed", type=int, default=0, help="other cases")
    chosen = parser.parse_args()
    folders = [folder for folder in (ROOT / "rules", DATA / "elastic-rules") if folder.is_dir()]
    recorded = DATA / "windows-recorded.ndjson.gz"
    if not recorded.exists():
        print("differential: ../shared/data is not on this machine")
        return 0
    rules = load(folders, types=FIELD_TYPES).rules
    with gzip.open(recorded) as lines:
        values = list(lines)
    pair = Pair([compile_rule(rule) for rule in rules], HOT)
    pair.check(Record("t", 0, number, None, None, line) for number, line in enumerate(values))
    print(f"{len(rules)} rules, {pair.events} events, {pair.narrow} narrow, {pair.found} found something")
    changed(rules, values, chosen.cases, chosen.seed)
    return 0


def changed(rules: tuple[Rule, ...], values: list[bytes], cases: int, seed: int) -> None:
    """Rounds of changed rules and events. Half of the events of a round come again, and again."""
    done = narrow = found = 0
    for number in range(-(-cases // EVENTS)):
        rng = random.Random(f"{seed}/{number}")
        some = [msgspec.json.decode(value) for value in rng.sample(values, EVENTS // 2)]
        texts = [text for document in some for text in texts_of(document)]
        wanted = [mutated_rule(rng.choice(rules), n, texts, rng) for n in range(RULES)]
        pair = Pair([rule for rule in wanted if rule is not None], rng.choice([0, HOT]))
        documents = [mutated_event(document, rng) for document in some]
        documents += rng.choices(documents, k=EVENTS - len(documents))
        pair.check(
            Record("t", 0, place, None, None, msgspec.json.encode(document))
            for place, document in enumerate(documents)
        )
        done, narrow, found = done + pair.events, narrow + pair.narrow, found + pair.found
        if number % 25 == 24:
            print(f"{done:,} of {cases:,} events with changed rules, {found:,} found something", flush=True)
    print(f"{done:,} events with changed rules, {narrow:,} narrow, {found:,} found something")
    assert cases < 10_000 or found > done // 50, "matches are too rare to test anything"


if __name__ == "__main__":
    sys.exit(main())

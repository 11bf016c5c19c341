"""Hostile rules: mutated queries and rule files, and what must hold of each.

Every text ends in a rule or in findings whose places lie inside it, within `MAX_SECONDS` of CPU; a rule
that is accepted can be compiled and explained. A case is made from its number and a seed alone.
"""

from __future__ import annotations

import contextlib
import random
import re
import time
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path

from detectord import eql
from detectord.compiler import compile_rule
from detectord.eql import ast
from detectord.eql.diagnostics import render
from detectord.eql.source import Source
from detectord.events.fields import FIELD_TYPES
from detectord.rules.load import MAX_BYTES, read_bytes
from detectord.rules.rule import Rule
from detectord.rules.schema import ReadOptions

ROOT = Path(__file__).parents[1]
MAX_SECONDS = 1.0

_PIECE = re.compile(r'"""[^"]*"""|"(?:[^"\\\n]|\\.)*"|\w+|[^\w\s]|\s+')
_QUERY = re.compile(r"query = '''\n(.*?)'''", re.DOTALL)

SEEDS = (
    'process where process.name : ("a*", "b?c", "*d*") and not user.id in ("S-1-5-18", "S-1-5-19")',
    'any where length(a) > 3 or substring(b, 0, length(c) - 1) == "x" and d regex~ "[a-z]{3}|x+"',
    "sequence by host.id, user.id with maxspan=5m [process where true] by a [file where b == 1] by c",
    "sequence with maxspan=1m [any where a] with runs=3 ![any where b] until [any where c]",
    'sample by host.id [process where a.b == null] [network where cidrMatch(source.ip, "10.0.0.0/8")]',
    "sequence [file where x] as event0 [process where event0.file.path == process.executable]",
    'any where _arraysearch(process.Ext.api.stack, $entry, $entry.name like "a*" and $entry.n > 1)',
    "process where descendant of [process where child of [file where ?x.y != null]]",
    'any where -a + 2.5 * (b % 3) / 4 <= number("0x1f", 16) | head 5 - 3',
    'any where `odd name`.a == "\\u{1F600}" or x in~ ("a", null) // comment\n and /* a /* b */ c */ true',
)
"""Queries that use all of the language."""


def repeated(text: str) -> Callable[[random.Random], str]:
    """A text many times over, so many that some limit is near or passed."""
    return lambda rng: text * rng.choice((3, 30, 90, 110, 1_000, 5_000, 100_000 // len(text)))


def listed(item: str, word: str = "x in ") -> Callable[[random.Random], str]:
    """A list of many items."""

    def made(rng: random.Random) -> str:
        items = (item.replace("@", str(n)) for n in range(rng.choice((10, 1_000, 4_990, 5_010, 9_990))))
        return f" {word}({', '.join(items)}) "

    return made


HOSTILE: tuple[str | Callable[[random.Random], str], ...] = (
    *map(repeated, ("(", ")", "[", "![", "not ", "-", "a.", "a+", "a and ", "a or ", "(a or b and ", "f(")),
    *map(
        repeated,
        ("a == ", "/*", "*/", "// x\n", '"', "'", "`", '"""', "\\", '"\\d"', "?", "{", "1", "1.", "e"),
    ),
    *map(
        repeated,
        ("length(length(", "a of [b where ", "[any where a] ", "| head 1 ", "!", "\u00e9", "\x00", "$x"),
    ),
    *map(
        repeated, ("nope(1) or ", "lenght(a) and ", "_arraysearch(a, $b, ", "$nope.a == 1 or ", "x : 1 or ")
    ),
    *map(
        repeated,
        ('substring("a", ', "a.b.c.d == 1 and not ", 'a : "*x*y*" or ', "a == b or ", '"*" == a and '),
    ),
    listed('"@"'),
    listed("@"),
    listed('"*a@*b?*"', "x : "),
    listed('"@*"', "x like~ "),
    listed('"?@?x"', "x : "),
    listed('"a@.*b"', "x regex "),
    listed('"(a|b@)*c{1,9}"', "x regex~ "),
    listed("a@"),
    listed("length(@)"),
    listed('"10.0.@.0/24"', "cidrMatch(source.ip, "),
    listed('"*@"', "wildcard(x, "),
    listed("a@", "concat("),
    *(f' x regex "{"(" * n}a*{")*" * n}" ' for n in (5, 50, 300)),
    *(
        f' x regex "{"(" * n}a{f"{{{m}}}" * 1}{f"){{{m}}}" * n}" '
        for n in (1, 3, 40)
        for m in (2, 100, 1_000)
    ),
    ' x regex~ "' + "[^\u0100-\u2000]" * 150 + '" ',
    ' x regex "' + ".{0,1000}" * 60 + '" ',
    ' x regex "(((((" ',
    ' x regex "' + "a|" * 499 + 'a" ',
    ' x regex "[' + "a-z" * 300 + ']" ',
    ' x regex~ "' + "\\\\W" * 400 + '" ',
    f' x : "{"*a" * 20_000}" ',
    f' x : "{"?" * 50_000}" ',
    f' x : "{"a?" * 30_000}*" ',
    f' x like "{"*" * 90_000}" ',
    f' x == "{"y" * 99_000}" ',
    f" {'9' * 5_000} ",
    f" {'9' * 4_000}.{'9' * 4_000}e{'9' * 900} ",
    " 1e308 * 1e308 ",
    " with maxspan=" + "9" * 5_000 + "d ",
    " with runs=99999999999999999999 ",
    " with runs=100 ",
    "\ufeff",
    "\u2028",
    " \u202e ",
    " \u00a0 ",
    "“x”",
    " \U0001f600 ",
    "\ud800",
    "\r",
    "\x85",
    "\x0b",
    "~",
    " = ",
    " AND ",
    ";",
    "\t" * 99,
    " until ",
    " sequence ",
    " where ",
    " by ",
    " join ",
    "|",
    "(((((((a))))))) ",
    " ?'x' ",
    ' ?"x" ',
    " null ",
)


@cache
def queries() -> tuple[str, ...]:
    """What is mutated: the shipped rules, Elastic's where they are, and our own."""
    files = sorted((ROOT / "rules").rglob("*.toml")) + sorted(
        (ROOT.parent / "shared/data/elastic-rules").rglob("*.toml")
    )
    found = [each for file in files for each in _QUERY.findall(file.read_text(encoding="utf-8"))]
    goldens = sorted((ROOT / "tests/diagnostics").glob("*.eql"))
    return (*SEEDS, *found, *(file.read_text(encoding="utf-8") for file in goldens))


@cache
def files() -> tuple[str, ...]:
    """Rule files that are mutated as files."""
    return tuple(file.read_text(encoding="utf-8") for file in sorted((ROOT / "rules").rglob("*.toml")))


def hostile(rng: random.Random) -> str:
    """A hostile piece."""
    piece = rng.choice(HOSTILE)
    return piece if isinstance(piece, str) else piece(rng)


def mutated(rng: random.Random) -> str:
    """A query with pieces deleted, doubled, exchanged, taken from others or put in."""
    pieces = _PIECE.findall(rng.choice(queries()))
    for _ in range(rng.choice((1, 1, 2, 3, 8))):
        at = rng.randrange(len(pieces) + 1)
        match rng.randrange(7):
            case 0:
                del pieces[at : at + rng.choice((1, 1, 2, 10))]
            case 1:
                pieces[at:at] = pieces[at : at + rng.choice((1, 3, 50))]
            case 2:
                other = rng.randrange(len(pieces) + 1)
                pieces[at:at], pieces[other:other] = pieces[other : other + 1], pieces[at : at + 1]
            case 3:
                others = _PIECE.findall(rng.choice(queries()))
                place = rng.randrange(len(others) + 1)
                pieces[at:at] = others[place : place + rng.choice((1, 5, 20))]
            case 4:
                pieces[at : at + 1] = [chr(rng.choice((rng.randrange(128), rng.randrange(0x11000))))]
            case _:
                pieces.insert(at, hostile(rng))
    return "".join(pieces)


def mutated_file(rng: random.Random) -> bytes:
    """A rule file whose bytes, lines or query are not what they should be."""
    text = rng.choice(files())
    lines = text.splitlines(keepends=True)
    at = rng.randrange(len(lines))
    match rng.randrange(8):
        case 0:
            text = _QUERY.sub(lambda _: "query = '''\n" + mutated(rng).replace("'''", "") + "'''", text)
        case 1:
            lines[at:at] = lines[at : at + rng.choice((1, 5))] * rng.choice((1, 2, 3_000))
            text = "".join(lines)
        case 2:
            del lines[at]
            text = "".join(lines)
        case 3:
            text = text[: rng.randrange(len(text))] + rng.choice(_TOML_PIECES)
        case 4:
            lines.insert(at, rng.choice(_TOML_PIECES) + "\n")
            text = "".join(lines)
        case 5:
            quoted = mutated(rng).replace("\\", "\\\\").replace('"', '\\"')
            text = _QUERY.sub(lambda _: f'query = """{quoted}"""', text)
        case 6:
            lines[at] = re.sub(r"= .*", lambda _: f"= {rng.choice(_TOML_PIECES)}", lines[at])
            text = "".join(lines)
    data = text.encode("utf-8", "surrogatepass")
    if rng.random() < 0.2:
        place = rng.randrange(len(data))
        data = data[:place] + rng.randbytes(rng.choice((1, 4))) + data[place + 1 :]
    return data


_TOML_PIECES = (
    *("[" * 4_000, "a=" + "[" * 900, "a={" * 800, "x = [" + "1," * 4_900 + "]", "[" + "a." * 30 + "a]"),
    *("".join(f"k{n} = {n}\n" for n in range(4_800)), "k = 1\n" * 2_000, "[rule]", "[[rule.threat]]"),
    *("z = " + "9" * 4_000, "z = '" + "x" * 100_000 + "'", 'z = "' + "\\\\" * 100_000 + '"', "#" * 100_000),
    *("'''", '"""', "{}", "[]", "true", "1979-05-27", "inf", "nan", "''", "\x00", "é = 1", "[[metadata]]"),
    *('"a".b.c.d.e.f = 1\n' * 900, "\n" * (MAX_BYTES - 5_000), "a = '" + "\t" * (MAX_BYTES // 2) + "'"),
    "".join(f"[t{n}.a.b.c.d.e]\nx = 1\n" for n in range(600)),
)  # fmt: skip


def cases(seed: int, numbers: Sequence[int] | range) -> Iterator[tuple[int, str | bytes]]:
    """The cases of these numbers: queries as text, and each fifth one a file as bytes."""
    for number in numbers:
        rng = random.Random(seed * 1_000_003 + number)
        yield number, mutated_file(rng) if number % 5 == 4 else mutated(rng)


def check(case: str | bytes) -> float:
    """Seconds of CPU that a case takes. Raises AssertionError if it does not end as it must."""
    if isinstance(case, bytes):
        began = time.process_time()
        _check_file(case)
        return time.process_time() - began
    _check_query(case, stream=False)
    began = time.process_time()
    query = _check_query(case, stream=True)
    if query is not None:
        _compile(Rule(rule_id="r", name="n", query_text=case, query=query))
    return time.process_time() - began


def _check_query(text: str, *, stream: bool) -> ast.Query | None:
    source = Source(text)
    query, diagnostics = eql.analyse(source, types=FIELD_TYPES, stream=stream)
    assert (query is None) == any(found.code.is_error for found in diagnostics)
    for found in diagnostics:
        assert 0 <= found.span.start <= found.span.end <= len(text), found
        assert len(render(found, source)) < 2_500, found
    return query


def _check_file(data: bytes) -> None:
    reading = read_bytes(data, "rule.toml", ReadOptions(types=FIELD_TYPES))
    lines = data.decode("utf-8", "replace").replace("\r\n", "\n").count("\n") + 1
    for found in (*reading.findings, *(each for _, each in reading.unknown_keys)):
        assert 1 <= found.line <= lines, found
        assert found.column >= 1, found
        assert len(found.text) < 2_500, found
    if reading.rule is not None:
        _compile(reading.rule)


def _compile(rule: Rule) -> None:
    """Compile a rule; what the compiler refuses is a ValueError."""
    with contextlib.suppress(ValueError):
        compile_rule(rule)

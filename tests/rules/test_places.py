"""The scanner of places against tomllib: on every valid text both see the same."""

import contextlib
import tomllib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectord.rules.places import MAX_DEPTH, TooDeepError, TooManyError, scan

ROOT = Path(__file__).parents[2]
ELASTIC = ROOT.parent / "shared" / "data" / "elastic-rules"

TEXT = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\r"), max_size=12)
BARE = st.text("abz09_-", min_size=1, max_size=3)
_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\b": "\\b", "\f": "\\f", "\r": "\\r"}


def escaped(text: str, *, lines: bool) -> str:
    pieces = []
    for character in text:
        if lines and character == "\n":
            pieces.append(character)
        elif ord(character) in (*range(32), 127) and character not in _ESCAPES:
            pieces.append(f"\\u{ord(character):04X}")
        else:
            pieces.append(_ESCAPES.get(character, character))
    return "".join(pieces)


def literal(text: str) -> bool:
    return "'" not in text and all(c in "\t\n" or (ord(c) >= 32 and ord(c) != 127) for c in text)


@st.composite
def strings(draw: st.DrawFn) -> str:
    """A TOML string in one of its four forms."""
    text = draw(TEXT)
    forms = [f'"{escaped(text, lines=False)}"', f'"""\n{escaped(text, lines=True)}"""']
    forms.append(f'"""{escaped(text, lines=False)}\\\n   \n  end"""')
    if literal(text):
        forms.append(f"'''\n{text}'''")
        if "\n" not in text:
            forms.append(f"'{text}'")
    return draw(st.sampled_from(forms))


SCALARS = st.one_of(
    strings(), st.sampled_from(["1", "-2.5", "true", "2026-01-02", "1979-05-27 07:32:00", "nan"])
)
BLANKS = st.sampled_from(["", " ", "\n", " # ], } and 'more'\n\t"])


def lists(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.builds(
        lambda items, blank: "[" + blank + f"{blank},{blank}".join(items) + blank + "]",
        st.lists(inner, max_size=3),
        BLANKS,
    )


def tables(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    pairs = st.lists(st.tuples(BARE, inner), max_size=3, unique_by=lambda pair: pair[0])
    return st.builds(lambda items: "{" + ", ".join(f"{k} = {v}" for k, v in items) + "}", pairs)


VALUES = st.recursive(SCALARS, lambda inner: lists(inner) | tables(inner), max_leaves=6)


@st.composite
def documents(draw: st.DrawFn) -> str:
    lines = []
    for header in (
        "",
        *draw(st.lists(st.sampled_from(["[t]", "[[l]]", "[l.x]", "[[l.m]]", "[ 'q'.\"\\u0041\" ]"]))),
    ):
        lines.append(header)
        for key, value in draw(st.lists(st.tuples(BARE, VALUES), max_size=3)):
            lines.append(f"{key}{draw(st.sampled_from(['', ' . b']))} = {value} # note")
    return "\n".join(lines)


def leaves(value: object, path: tuple[str | int, ...] = ()):
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from leaves(inner, (*path, index))
    else:
        yield path, value


def check_agreement(text: str) -> None:
    places = scan(text)
    for path, value in leaves(tomllib.loads(text)):
        offsets = places.string(path)
        assert (offsets is not None) == isinstance(value, str), path
        if offsets is None:
            assert text[places.of(path)] not in "\"'", path
            continue
        assert len(offsets) == len(value) + 1, path
        for character, offset in zip(value, offsets, strict=False):
            assert text[offset] in (character, "\\"), path


@settings(max_examples=80)
@given(documents())
def test_agrees_with_tomllib(text: str) -> None:
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        scan(text)  # a key or table given twice: no claim but that it ends
    else:
        check_agreement(text)


@given(st.text("[]{}=.,\"'#\\\nab1 -", max_size=60))
def test_ends_on_any_text(text: str) -> None:
    with contextlib.suppress(TooDeepError):
        assert all(0 <= scan(text).of((key,)) <= len(text) for key in ("a", "b", "1"))


@pytest.mark.parametrize("file", sorted((ROOT / "rules").rglob("*.toml")), ids=lambda file: file.name)
def test_agrees_on_the_shipped_files(file: Path) -> None:
    check_agreement(file.read_text())


@pytest.mark.skipif(not ELASTIC.is_dir(), reason="no ../shared")
def test_agrees_on_elastics_rules() -> None:
    for file in sorted(ELASTIC.rglob("*.toml"))[::5]:
        check_agreement(file.read_text())


@pytest.mark.parametrize(
    "text",
    [
        "a = " + "[" * 4_000,
        "a = " + "{b=" * 2_000,
        ".".join(["a"] * 4_000) + " = 1",
        "[" + ".".join(["a"] * 4_000) + "]",
        "[[" + ".".join("a" * 13) + "]]\n[" + ".".join("a" * 13) + ".b]\n" + ".".join("c" * 13) + " = 1",
    ],
    ids=["lists", "tables", "key", "header", "sum"],
)
def test_too_deep(text: str) -> None:
    with pytest.raises(TooDeepError):
        scan(text)


@pytest.mark.parametrize("text", ["a = [" + "1," * 5_000, "[a]\n" * 5_001, ".a" * 5_001, "a=1\n" * 5_001])
def test_too_many(text: str) -> None:
    with pytest.raises(TooManyError):
        scan(text)


def test_what_stands_in_strings_and_comments_does_not_count() -> None:
    quotes = ("'", "'''", '"', '"' * 3)
    text = "".join(f"k{n} = {quote}{'[.=,' * 3_000}{quote}\n" for n, quote in enumerate(quotes))
    assert scan(text + "# " + "[.=," * 3_000 + "\nlast = 7").of(("last",)) > 48_000


def test_the_deepest_is_read() -> None:
    text = "a = " + "[" * (MAX_DEPTH - 1) + "7" + "]" * (MAX_DEPTH - 1)
    path = ("a", *(0,) * (MAX_DEPTH - 1))
    assert text[scan(text).of(path)] == "7"


def test_what_has_no_place_has_its_parents() -> None:
    text = "[rule]\ntags = ['a', 'b']\n[[rule.threat]]\nx = 1\n"
    places = scan(text)
    assert places.of(("rule", "missing")) == 0
    assert places.of(("rule", "tags", 1)) == text.index("'b'")
    assert places.of(("rule", "threat", 0, "tactic")) == text.index("[[rule.threat]]")
    assert places.of(("nothing",)) == 0

"""Lucene's regular expressions: translated, and matched against whole values."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectord.eql.regex import LONGEST_PATTERN, RegexError, compile_regex, translate
from detectord.eql.text import fold


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        ("", [""], ["a"]),
        ("abc", ["abc"], ["abcd", "xabc", "ABC", ""]),
        ("a.c", ["abc", "a\nc", "a\U0001f680c"], ["ac", "abbc"]),
        (".*", ["", "a\r\nb"], []),
        ("a?b*c+", ["c", "abbcc"], ["ab", ""]),
        ("a{3}", ["aaa"], ["aa", "aaaa"]),
        ("a{2,}", ["aa", "aaaaa"], ["a"]),
        ("a{1,2}", ["a", "aa"], ["", "aaa"]),
        ("a{0}", [""], ["a"]),
        ("a{02}", ["aa"], ["a"]),
        ("a.*?b", ["ab", "axxb"], ["a"]),  # not lazy: an optional `.*`
        ("a+?", ["", "a", "aa"], ["b"]),
        ("a{2}{2}", ["aaaa"], ["aa"]),
        ("(a|bc)+", ["a", "bca"], ["b", ""]),
        ("a|b|cd", ["a", "b", "cd"], ["ab", "d"]),
        ("()", [""], ["a"]),
        ("(a|())b", ["ab", "b"], ["a"]),
        ("[abc]", ["a", "c"], ["d", "ab"]),
        ("[a-cx]", ["b", "x"], ["-", "d"]),
        ("[^a-c]", ["d", "\n", "\U0001f680"], ["a", ""]),
        ("[a^]", ["^", "a"], ["b"]),
        ("[-a]", ["-", "a"], ["b"]),
        ("[a-]", ["-", "a"], ["b"]),
        ("[a\\-c]", ["-", "a", "c"], ["b"]),
        ("[\\w-.]", ["-", ".", "k", "_"], ["/", "é"]),
        ("[]a]", ["]", "a"], ["[", ""]),
        ("[\\]\\\\]", ["]", "\\"], ["["]),
        ('[".*+?(|~@&<>#$]', list('".*+?(|~@&<>#$'), ["a"]),
        ("[\u00e0-\u00ff]", ["\u00e9"], ["e", "\u00c9"]),
        ("\\d\\D\\s\\S\\w\\W", ["1a bz-", "1é\tb_é"], ["1a\vbz-", "٣a bz-"]),
        ("[\\d][\\D]", ["1a", "1\U0001f680"], ["11", "aa"]),
        ("[^\\d\\s]", ["a", "\v"], ["1", " "]),
        ("[^\\d\\D]*", [""], ["a"]),
        ("\\S\\S", ["\v\f"], ["\t\t"]),
        ("^a$", ["^a$"], ["a"]),
        ("a\\.b\\/c\\\\", ["a.b/c\\"], ["axb/c\\"]),
        ('\\~\\&\\<\\>\\@\\#\\"\\1\\-', ['~&<>@#"1-'], ["~"]),
        ('"a.b*"', ["a.b*"], ["axb"]),
        ('x"ab"{2}', ["xabab"], ["xabb"]),
        ('""a', ["a"], [""]),
        ('"\\d"', ["\\d"], ["1"]),
        ("a]}b", ["a]}b"], ["a"]),
        ("a-b:c,d e/f!%'=;_`", ["a-b:c,d e/f!%'=;_`"], [""]),
        ("a>b", ["a>b"], ["ab"]),
        ("a@b", ["ab", "a\nxb"], ["a", "b"]),
        ("@", ["", "x"], []),
        ("a#?b|x#", ["ab"], ["axb", "x", "x#"]),
        ("v<8-11>", ["v8", "v11", "v0011", "v09"], ["v7", "v12", "v", "v 9", "v9x"]),
        ("<11-8>|<0-5>", ["8", "008", "0"], ["", "7", "00"]),
        ("<08-11>", ["08", "11"], ["8", "008", "12"]),
        ("10.<0-255>{1}", ["10.0", "10.255"], ["10.256", "10."]),
        ("<1-2>{2}|<9-10>{2}", ["12", "0910"], ["1", "13", "9"]),
        ("<2147483647-0>", ["2147483647"], ["2147483648"]),
        (".*a.*&.*b.*&...", ["axb", "ba "], ["ab", "aaa", "abab"]),
        ("@&~(foo.*)", ["", "fo", "xfoo"], ["foo", "foobar"]),
        ("~a|aa", ["", "b", "aa"], ["a"]),
        ("~~a+", ["a", "aa"], ["b", ""]),
        ('~"ab"', ["a", "abab"], ["ab"]),
        ("~[a-c]", ["", "ab", "d"], ["b"]),
        ("((a|b|ab)&~(a|b))|x", ["ab", "x"], ["a", "b"]),
        ("a|(b|c&~b)|d", ["a", "b", "d", "c"], ["bc"]),
        ("~(a&~(a|b))", ["", "a", "b"], []),
    ],
)
def test_patterns(pattern: str, yes: list[str], no: list[str]) -> None:
    test = compile_regex([pattern])
    assert [value for value in yes + no if test(value)] == yes


@pytest.mark.parametrize(
    ("pattern", "offset", "message"),
    [
        ("ab(c", 2, "not closed"),
        ("a(b(c)", 1, "not closed"),
        ("ab)", 2, "no group is open"),
        ("[ab", 0, "not closed"),
        ("x[]", 1, "not closed"),
        ("x[^]", 1, "not closed"),
        ("[a\\", 2, "backslash"),
        ("[z-a]", 1, "range"),
        ("[\\d-\\z]", 4, "no meaning"),
        ("[a-\\d]", 1, "range"),
        ('a"b', 1, "not closed"),
        ("ab\\", 2, "backslash"),
        ("a\\bc", 1, "no meaning"),
        ("\\p{L}", 0, "no meaning"),
        ("a{", 1, "expected"),
        ("a{,2}", 1, "expected"),
        ("a{2,1}", 1, "larger"),
        ("a{1001}", 1, "at most 1000"),
        ("a{1," + "9" * 900 + "}", 1, "at most 1000"),
        ("a{" + "9" * 5000, LONGEST_PATTERN, "at most 1000"),
        ("a|", 2, "an item is missing"),
        ("a&", 2, "an item is missing"),
        ("a~", 2, "an item is missing"),
        ("(", 1, "an item is missing"),
        ("(a|)", 0, "not closed"),
        ("a~b", 1, "a complement .* only as a whole"),
        ("~ab", 0, "a complement .* only as a whole"),
        ("~(a)*", 0, "a complement .* only as a whole"),
        ("a|b~c", 3, "a complement .* only as a whole"),
        ("x(a&b)", 1, "a group with .* only as a whole"),
        ("(a&b)x", 0, "a group with .* only as a whole"),
        ("(a&b){2}", 0, "a group with .* only as a whole"),
        ("(~a|b)?", 0, "a group with .* only as a whole"),
        ("a&b" * 51, 151, "at most 50"),
        ("a<", 1, "Elasticsearch refuses it, too"),
        ("a<1-9", 1, "Elasticsearch refuses it, too"),
        ("<script>", 0, "Elasticsearch refuses it, too"),
        ("<-9>", 0, "Elasticsearch refuses it, too"),
        ("<1-2-3>", 0, "Elasticsearch refuses it, too"),
        ("<1-2147483648>", 0, "Elasticsearch refuses it, too"),
        (".*(;|\\||>|<|&&).*", 10, "Elasticsearch refuses it, too"),
        ("a\ud800", 1, "surrogate"),
        ("((a{1000}){1000}){1000}", 0, "too complex"),
        ("a" * (LONGEST_PATTERN + 1), LONGEST_PATTERN, "at most 1000 characters"),
    ],
    ids=lambda value: value[:20] if isinstance(value, str) else None,
)
def test_refused(pattern: str, offset: int, message: str) -> None:
    with pytest.raises(RegexError, match=message) as caught:
        compile_regex(["fine", pattern])
    assert caught.value.offset == offset


@pytest.mark.parametrize(
    ("pattern", "ordinary", "yes", "no"),
    [
        ("*a", [0], ["*a"], ["a", ""]),
        ("a|+b", [2], ["a", "+b"], ["b"]),
        ("(?:a)", [1], ["?:a"], ["a"]),
        ("{2}", [0], ["{2}"], [""]),
        ("**", [0], ["", "**"], ["a"]),
        ("a||b", [2], ["a", "|b"], ["", "b"]),
        ("|a", [0], ["|a"], ["", "a"]),
        ("(|a)?", [1], ["", "|a"], ["a"]),
        (")", [0], [")"], []),
        ("&|&&..&@", [0, 2], ["&"], ["|", ""]),
        ("a&&b", [2], [], ["a", "ab", "a&&b", "&b"]),
        (".*&&b", [3], ["&b"], ["b"]),
        ("~|", [1], ["", "||"], ["|"]),
    ],
)
def test_operators_without_an_item_before_them(
    pattern: str, ordinary: list[int], yes: list[str], no: list[str]
) -> None:
    assert list(translate(pattern).ordinary) == ordinary
    test = compile_regex([pattern])
    assert [value for value in yes + no if test(value)] == yes


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        ("Run[A-Z]{2}\\.EXE", ["runab.exe", "RUNZZ.exe"], ["run1b.exe"]),
        ("[a-z]", ["Q"], ["1"]),
        ("[^A-Z]", ["1", "é"], ["a", "Q"]),
        ("[@-C]", ["@", "c", "B"], ["d", "`"]),
        ("[Z-a]", ["_", "z", "Z", "a", "A"], ["b"]),
        ("\\W", ["-", "é"], ["k", "K", "\u212a"]),
        ("k", ["K", "\u212a"], ["x"]),  # the Kelvin sign folds to a plain k
        ("[j-l]", ["\u212a"], ["x"]),
        ("[\u212a]", ["k"], ["x"]),
        ("ΣΑΣ", ["σας".replace("ς", "σ"), "ΣΑΣ"], ["σας"]),
        ("[Α-Ω]+", ["αβγ", "ΩΣ"], ["abc"]),
        ("[\u0001-\U0010ffff]", ["a", "Z", "\U0010fffe"], ["\0"]),
        ('"Lit.Eral"', ["lit.eral"], ["litxeral"]),
        ("ß", ["ß", "ẞ"], ["ss", "SS"]),
        ("İ", ["İ"], ["i", "i̇", "I"]),
        ("\\d[\\D]", ["1A"], ["A1"]),
        (".*A.*&~(b.*)", ["xA", "ab"], ["ba", "BA"]),
    ],
)
def test_insensitive(pattern: str, yes: list[str], no: list[str]) -> None:
    test = compile_regex([pattern], insensitive=True)
    assert [value for value in yes + no if test(value)] == yes


def test_a_list_is_any_of_its_patterns() -> None:
    test = compile_regex(["a|b", "c+", ""])
    assert [value for value in ["a", "b", "cc", "", "ac", "d"] if test(value)] == ["a", "b", "cc", ""]
    test = compile_regex(["a|b&b", "~(.|..)&@|cc", "c+&@"])
    assert [value for value in ["a", "b", "cc", "x", ""] if test(value)] == ["a", "b", "cc", ""]


def test_a_long_list_is_one_program() -> None:
    test = compile_regex([f"{i}([^a-z]{{0,9}}){i}" for i in range(5_000)])
    assert test("7ABC7")
    assert not test("7ABC8")


def test_too_large_says_why() -> None:
    with pytest.raises(RegexError, match=r"too complex: invalid repetition size: \{900,900\}"):
        compile_regex(["(a{900}){900}"])


def test_no_pattern_matches_nothing() -> None:
    assert not compile_regex([])("")


def test_a_lone_surrogate_is_one_character() -> None:
    value = "a\udc00b"
    assert compile_regex(["a.b"])(value)
    assert compile_regex(["a\\Wb"], insensitive=True)(value)
    assert not compile_regex(["ab", "a\\wb", "a..b"])(value)


@pytest.mark.parametrize(
    "pattern",
    [
        "(a*)*b",
        "(a|a)*b",
        "(a?){40}a{40}b",
        "(.*a){12}b",
        ".*a.*a.*a.*a.*b",
        "(" * 300 + "a*" + ")*" * 300 + "b",
        "~(" * 48 + ".*b" + ")" * 48 + "&.*a.*a.*b",
    ],
)
def test_hostile_values(pattern: str) -> None:
    assert not compile_regex([pattern])("a" * 1_000_000)


@given(st.text('ab()[]{}|*+?.^$\\"-,~&<>@#019dDwWsS é\U0001f680\ud800', max_size=30))
def test_any_text_is_translated_or_refused_inside_it(pattern: str) -> None:
    outcome = trouble(pattern)
    assert outcome is None or (0 <= outcome.offset <= len(pattern) and outcome.message)


def trouble(pattern: str) -> RegexError | None:
    try:
        compile_regex([pattern])("ab")
    except RegexError as error:
        return error
    return None


ALPHABET = "abAB"


@st.composite
def expressions(draw: st.DrawFn, depth: int = 3) -> tuple[str, frozenset[str]]:
    """A pattern and all the strings of at most 4 characters that it matches."""
    kind = draw(
        st.sampled_from(["text", "class", "any"] if depth == 0 else ["or", "then", "star", "maybe", "text"])
    )
    if kind == "text":
        text = draw(st.text(ALPHABET, max_size=2))
        return f'"{text}"', frozenset([text])
    if kind == "class":
        low, high = sorted(draw(st.tuples(st.sampled_from(ALPHABET), st.sampled_from(ALPHABET))))
        negated = draw(st.booleans())
        members = frozenset(c for c in ALPHABET if (low <= c <= high) is not negated)
        return f"[{'^' if negated else ''}{low}-{high}]", members
    if kind == "any":
        return ".", frozenset(ALPHABET)
    pattern, language = draw(expressions(depth - 1))
    if kind in ("or", "then"):
        other, more = draw(expressions(depth - 1))
        if kind == "or":
            return f"({pattern}|{other})", language | more
        return pattern + other, _joined(language, more)
    if kind == "maybe":
        return f"({pattern})?", language | {""}
    closed = frozenset([""])
    while (longer := closed | _joined(closed, language)) != closed:
        closed = longer
    return f"({pattern})*", closed


UNIVERSE = frozenset(
    "".join(value) for length in range(5) for value in itertools.product(ALPHABET, repeat=length)
)


@st.composite
def junctions(draw: st.DrawFn, depth: int = 2) -> tuple[str, frozenset[str]]:
    """A pattern in which `&` and `~` stand where they can be asked of a whole value, and its strings."""
    if depth == 0:
        return draw(expressions(2))
    pattern, language = draw(junctions(depth - 1))
    kind = draw(st.sampled_from(["and", "not", "or"]))
    if kind == "not":
        return f"~({pattern})", UNIVERSE - language
    other, more = draw(junctions(depth - 1))
    if kind == "or":
        return f"{pattern}|{other}", language | more
    return f"({pattern})&({other})", language & more


def _joined(first: frozenset[str], second: frozenset[str]) -> frozenset[str]:
    return frozenset(a + b for a in first for b in second if len(a + b) <= 4)


@given(
    st.one_of(expressions(), junctions()), st.lists(st.text(ALPHABET, max_size=4), min_size=1, max_size=10)
)
def test_matches_its_language(expression: tuple[str, frozenset[str]], values: list[str]) -> None:
    pattern, language = expression
    test = compile_regex([pattern])
    for value in [*values, *sorted(language)[:5]]:
        assert test(value) is (value in language), (pattern, value)


@given(
    st.integers(0, 12_000),
    st.integers(0, 12_000),
    st.integers(0, 6),
    st.lists(st.from_regex("[0-9]{0,6}", fullmatch=True), max_size=20),
)
def test_an_interval_is_its_numbers(first: int, last: int, width: int, values: list[str]) -> None:
    written = str(first).zfill(width), str(last).zfill(width)
    test = compile_regex([f"<{written[0]}-{written[1]}>"])
    least, most = sorted((first, last))
    lengths = {len(text) for text in written}
    near = [str(n) for bound in (least, most) for n in range(max(0, bound - 2), bound + 3)]
    for value in [*values, *near, *(text.zfill(width) for text in near)]:
        inside = value != "" and least <= int(value) <= most
        assert test(value) is (inside and (len(lengths) > 1 or len(value) in lengths)), (written, value)


LETTERS = "aAkK\u212aéÉσΣςıİI1"


@given(
    st.lists(
        st.tuples(st.sampled_from(LETTERS), st.sampled_from(LETTERS)).map(sorted), min_size=1, max_size=3
    ),
    st.booleans(),
    st.sampled_from(LETTERS),
)
def test_insensitive_class_is_a_class_of_folded_characters(
    ranges: list[list[str]], negated: bool, value: str
) -> None:
    members = {fold(chr(code)) for low, high in ranges for code in range(ord(low), ord(high) + 1)}
    test = compile_regex(
        [f"[{'^' if negated else ''}{''.join(f'{low}-{high}' for low, high in ranges)}]"], insensitive=True
    )
    assert test(value) is ((fold(value) in members) is not negated)

"""Functions of text. Positions and lengths count code points, from 0."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from detectord.eql.functions.function import Param, function
from detectord.eql.text import Scalar, string_of
from detectord.eql.types import Type
from detectord.eql.wildcard import compile_wildcards

_TEXT = Param("text", Type.STRING)
_EVERYTHING = slice(None)
_NOTHING = slice(0, 0)


@function(
    _TEXT,
    Param("left", Type.STRING),
    Param("right", Type.STRING),
    Param("greedy", Type.BOOLEAN, optional=True),
    returns=Type.STRING,
    foldable=True,
    examples={
        'between("key=value; done;", "=", ";")': "value",
        'between("key=value; done;", "=", ";", true)': "value; done",
        'between("key=value", "=", ";")': "",
        'between("key=value", "", ";")': "key=value",
        'between("<A>Text</a>", "<a>", "</A>")': "",
        'between~("<A>Text</a>", "<a>", "</A>")': "Text",
        'between(null, "<", ">")': None,
        'between("<a>", null, ">")': None,
    },
)
def between(text: str, left: str, right: str, greedy: bool = False) -> slice:
    """What stands between the first `left` and the next `right` (the last one if greedy).

    Empty if there is no such place; the whole text if it or either mark is empty.
    """
    if not (text and left and right):
        return _EVERYTHING
    start = text.find(left)
    if start < 0:
        return _NOTHING
    start += len(left)
    end = text.rfind(right, start) if greedy else text.find(right, start)
    return slice(start, end) if end >= 0 else _NOTHING


@function(
    Param("value", Type.ANY, many=True),
    returns=Type.STRING,
    examples={
        'concat("port ", 443, " open: ", true)': "port 443 open: true",
        'concat("only")': "only",
        'concat("half", null)': None,
    },
)
def concat(*values: Scalar) -> str:
    """The texts of all values, as `string` gives them, one after the other."""
    return "".join(map(string_of, values))


@function(
    _TEXT,
    Param("suffix", Type.STRING),
    returns=Type.BOOLEAN,
    foldable=True,
    examples={
        'endsWith("tool.ps1", ".ps1")': True,
        'endsWith("tool.PS1", ".ps1")': False,
        'endsWith~("tool.PS1", ".ps1")': True,
        'endsWith("tool.ps1", "")': True,
        'endsWith(null, ".ps1")': None,
    },
)
def ends_with(text: str, suffix: str) -> bool:
    """True if the text ends with the suffix."""
    return text.endswith(suffix)


@function(
    _TEXT,
    Param("part", Type.STRING),
    Param("start", Type.NUMBER, optional=True, nullable=True, whole=True),
    returns=Type.NUMBER,
    foldable=True,
    examples={
        'indexOf("a-b-c", "-")': 1,
        'indexOf("a-b-c", "-", 2)': 3,
        'indexOf("a-b-c", "-", -9)': 1,
        'indexOf("a-b-c", "-", 9)': None,
        'indexOf("a-b-c", "B")': None,
        'indexOf~("a-b-c", "B")': 2,
        'indexOf("a-b-c", "", 9)': 5,
        'indexOf("a-b-c", "-", null)': 1,
        'indexOf(null, "-")': None,
    },
)
def index_of(text: str, part: str, start: int | None = None) -> int | None:
    """Where the part first stands at or after `start` (default 0), null if nowhere."""
    start = min(max(start or 0, 0), len(text))
    found = text.find(part, start)
    return found if found >= 0 else None


@function(
    _TEXT,
    returns=Type.NUMBER,
    examples={'length("four")': 4, 'length("")': 0, 'length("\\u{1f680}")': 1, "length(null)": None},
)
def length(text: str) -> int:
    """How many characters the text has."""
    return len(text)


@function(
    _TEXT,
    Param("prefix", Type.STRING),
    returns=Type.BOOLEAN,
    foldable=True,
    examples={
        'startsWith("/usr/bin/id", "/usr/")': True,
        'startsWith("/USR/bin/id", "/usr/")': False,
        'startsWith~("/USR/bin/id", "/usr/")': True,
        'startsWith("/usr", "")': True,
        'startsWith("/usr", null)': None,
    },
)
def starts_with(text: str, prefix: str) -> bool:
    """True if the text starts with the prefix."""
    return text.startswith(prefix)


@function(
    Param("value", Type.ANY),
    returns=Type.STRING,
    examples={
        "string(443)": "443",
        "string(2.0)": "2.0",
        "string(false)": "false",
        'string("text")': "text",
        "string(null)": None,
    },
)
def string(value: Scalar) -> str:
    """The text of a value; a double always shows a point or an exponent."""
    return string_of(value)


@function(
    _TEXT,
    Param("part", Type.STRING),
    returns=Type.BOOLEAN,
    foldable=True,
    examples={
        'stringContains("curl -k https://x", " -k ")': True,
        'stringContains("curl -K https://x", " -k ")': False,
        'stringContains~("curl -K https://x", " -k ")': True,
        'stringContains("curl", "")': False,
        'stringContains("", "")': False,
        'stringContains(null, "k")': None,
    },
)
def string_contains(text: str, part: str) -> bool:
    """True if the part stands anywhere in the text; an empty part stands nowhere."""
    return part != "" and part in text


@function(
    _TEXT,
    Param("start", Type.NUMBER, nullable=True, whole=True),
    Param("end", Type.NUMBER, optional=True, nullable=True, whole=True),
    returns=Type.STRING,
    examples={
        'substring("0123456789", 7)': "789",
        'substring("0123456789", 2, 4)': "23",
        'substring("0123456789", -3)': "789",
        'substring("0123456789", -3, -1)': "78",
        'substring("0123456789", -30, 2)': "01",
        'substring("0123456789", 8, 30)': "89",
        'substring("0123456789", 4, 2)': "",
        'substring("0123456789", null, 2)': "01",
        "substring(null, 2)": None,
    },
)
def substring(text: str, start: int | None, end: int | None = None) -> str:
    """The text from `start` to before `end`; negative positions count from the end."""
    return text[start:end]


@function(
    _TEXT,
    Param("pattern", Type.STRING, many=True, literal=True),
    returns=Type.BOOLEAN,
    foldable=True,
    examples={
        'wildcard("setup-1.exe", "*.msi", "setup-?.exe")': True,
        'wildcard("SETUP-1.EXE", "setup*")': False,
        'wildcard~("SETUP-1.EXE", "setup*")': True,
        'wildcard("setup-1.exe", "setup")': False,
        'wildcard("setup-1.exe", "*", null)': None,
    },
)
def wildcard(text: str, *patterns: str) -> bool:
    """True if the whole text matches any of the patterns, as `like` does."""
    return _matcher(patterns)(text)


@lru_cache(maxsize=1_024)  # patterns are literals of rules
def _matcher(patterns: tuple[str, ...]) -> Callable[[str], bool]:
    return compile_wildcards(patterns)

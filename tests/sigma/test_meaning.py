"""Sigma's own meaning of a rule, evaluated plainly, against what the converted query finds.

Hypothesis makes rules (fields, modifiers, values, a condition) and events; `holds` is Sigma's specification
as a walk over the rule. Where both are asked the same, they must agree.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("sigma.backends.elasticsearch", reason="needs the extra `sigma` of the package")
pytest.importorskip("tomlkit", reason="needs the extra `sigma` of the package")

from detectord import match
from detectord.eql.regex import compile_regex
from detectord.sigma.convert import convert
from detectord.sigma.documents import Document
from detectord.sigma.regex import RegexError, translate

FIELDS = {"CommandLine": "command_line", "Image": "executable"}
LETTERS = "aB*?\\.x"

texts = st.text(LETTERS, max_size=5)
values = st.one_of(texts, st.none())
keys = st.tuples(
    st.sampled_from(sorted(FIELDS)),
    st.sampled_from(["", "|contains", "|startswith", "|endswith", "|cased", "|contains|cased"]),
    st.sampled_from(["", "|all", "|neq"]),
).map("".join)
plain = st.dictionaries(
    keys, st.one_of(values, st.lists(values, min_size=1, max_size=3)), min_size=1, max_size=2
)
detections = st.one_of(plain, st.lists(plain, min_size=1, max_size=2))
names = st.sampled_from(["sel_a", "sel_b", "other"])
conditions = st.recursive(
    st.one_of(names, st.sampled_from(["1 of sel_*", "all of sel_*", "1 of them", "all of them"])),
    lambda inner: st.one_of(
        inner.map(lambda a: f"not {a}" if " " not in a else f"not ({a})"),
        st.tuples(inner, st.sampled_from(["and", "or"]), inner).map(lambda p: f"({p[0]}) {p[1]} ({p[2]})"),
    ),
    max_leaves=5,
)
rules = st.fixed_dictionaries(
    {"sel_a": detections, "sel_b": detections, "other": detections, "condition": conditions}
)
events = st.fixed_dictionaries({}, optional={name: st.text("aAbB*?\\.x", max_size=6) for name in FIELDS})


def tokens(value: str) -> list[str]:
    """A Sigma text as regular expressions, one a character: `*` and `?` are wildcards unless escaped."""
    found = []
    at = 0
    while at < len(value):
        following = value[at + 1 : at + 2]
        if value[at] == "\\" and following in ("*", "?", "\\") and following:
            found.append(re.escape(following))
            at += 2
        else:
            found.append({"*": ".*", "?": "."}.get(value[at], re.escape(value[at])))
            at += 1
    return found


def value_holds(value: str | None, modifiers: list[str], actual: str | None) -> bool:
    if value is None:
        return actual is None
    if actual is None:
        return False
    pattern = tokens(value)
    if "contains" in modifiers or "endswith" in modifiers:
        pattern = pattern if pattern[:1] == [".*"] else [".*", *pattern]
    if "contains" in modifiers or "startswith" in modifiers:
        pattern = pattern if pattern[-1:] == [".*"] else [*pattern, ".*"]
    flags = re.DOTALL | (0 if "cased" in modifiers else re.IGNORECASE)
    return re.fullmatch("".join(pattern), actual, flags) is not None


def item_holds(key: str, value: Any, event: Mapping[str, str]) -> bool:
    name, *modifiers = key.split("|")
    each = [
        value_holds(v, modifiers, event.get(name)) for v in (value if isinstance(value, list) else [value])
    ]
    found = all(each) if "all" in modifiers else any(each)
    return not found if "neq" in modifiers else found


def detection_holds(detection: Any, event: Mapping[str, str]) -> bool:
    if isinstance(detection, list):
        return any(detection_holds(each, event) for each in detection)
    return all(item_holds(key, value, event) for key, value in detection.items())


def holds(rule: Mapping[str, Any], event: Mapping[str, str]) -> bool:
    truth = {name: detection_holds(rule[name], event) for name in ("sel_a", "sel_b", "other")}
    selected = {"sel_*": [truth["sel_a"], truth["sel_b"]], "them": list(truth.values())}
    text = rule["condition"]
    for pattern, them in selected.items():
        text = text.replace(f"1 of {pattern}", str(any(them))).replace(f"all of {pattern}", str(all(them)))
    for name, value in truth.items():
        text = re.sub(rf"\b{name}\b", str(value), text)
    return bool(eval(text, {"__builtins__": {}}))


def unclear(rule: Mapping[str, Any]) -> bool:
    """True for what the modifiers do not define: null with a modifier that is for text only."""
    return any(
        any(v is None for v in (value if isinstance(value, list) else [value])) and "|" in key
        for name in ("sel_a", "sel_b", "other")
        for part in (rule[name] if isinstance(rule[name], list) else [rule[name]])
        for key, value in part.items()
    )


@given(rules, st.lists(events, min_size=1, max_size=4))
@settings(max_examples=100)
def test_query_means_what_the_rule_means(rule: dict[str, Any], given_events: list[dict[str, str]]) -> None:
    content = {
        "title": "made",
        "logsource": {"category": "process_creation", "product": "macos"},
        "detection": rule,
    }
    (result,) = convert([Document("made", "made", 1, content)])
    if unclear(rule) and result.entry.reason == "bad_rule":
        return
    assert result.entry.reason is None, result.entry.detail
    query = tomllib.loads(result.text)["rule"]["query"]
    for event in given_events:
        process = {FIELDS[name]: value for name, value in event.items()}
        document = {
            "host": {"os": {"type": "macos"}},
            "event": {"category": "process", "type": "start"},
            "process": process,
        }
        assert bool(match(query, [document])) == holds(rule, event), f"{query}\n{json.dumps(event)}"


PIECES = st.sampled_from(
    (
        *(r"\d", r"\.", r"\n", r"\x61", r"\s", r"\\", r"[a\-b]", r"[\w.]", "[ab]", "[^a]", "[]a]", "[a-c&]"),
        *("a", "b", ".", "^", "$", "|", "a*", "b+?", "a?", "a{2}", "a{1,2}", "{", '"', "#", "@", "~", "/"),
        *("(a|b)", "(?:^|b)", "(^|a)", "($|b)", "(a|)", "(a(b|$))", "(?P<n>a)", "<1>"),
    )
)


@given(st.lists(PIECES, max_size=6).map("".join), st.lists(st.text('ab.1\n {"#@-\\', max_size=5), max_size=8))
@settings(max_examples=600)
def test_translated_pattern_finds_the_same(pattern: str, found_in: list[str]) -> None:
    try:
        expected = re.compile(pattern, re.ASCII)
        found = translate(pattern)
    except (re.error, RegexError):
        return
    test = compile_regex([found.pattern], found.insensitive)
    for value in found_in:
        if "$" in pattern and value.endswith("\n"):
            continue  # Python's `$` is also before a line feed at the end, ours is not
        assert test(value) == (expected.search(value) is not None), f"{pattern!r} {found.pattern!r} {value!r}"

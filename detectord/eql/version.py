"""The order of versions, as Elasticsearch's `version` fields have it.

A legal version is numbers joined by dots, without leading zeros; then perhaps `-` and the identifiers of
a pre-release, and `+` and those of a build. Numbers compare by value, a pre-release comes before its
release, and in it a number before a word. Whatever else a field holds comes after all legal versions, by
code point, the empty text first. Equal is only what is spelt alike: `1.0` is not `1.0.0`.

A version is turned into a text whose code points are in that order: what ends a part is a smaller code point
than what goes on with one, and a number follows the count of its digits.
"""

from __future__ import annotations

import re

_NUMBER, _PRE_RELEASE, _RELEASE = "\x01", "\x02", "\x03"
_MOST_IDENTIFIERS = 32  # of a part
_MOST_DIGITS = 127

_MAIN = re.compile(r"(?:0|[1-9][0-9]*+)(?:\.(?:0|[1-9][0-9]*+))*+")
_IDENTIFIER = re.compile(r"[0-9A-Za-z-]++")
_LEADING_ZERO = re.compile(r"0[0-9]++")
_DIGITS = re.compile(r"[0-9]++")


def version_key(text: str) -> str:
    """A text that compares with those of other versions as the versions do."""
    front, plus, build = _cut(text, "+")
    main, dash, pre_release = _cut(front, "-")
    legal = (
        _MAIN.fullmatch(main) is not None
        and all(part.count(".") < _MOST_IDENTIFIERS for part in (main, pre_release, build))
        and (not dash or all(map(_is_pre_release, pre_release.split("."))))
        and (not plus or all(map(_IDENTIFIER.fullmatch, build.split("."))))
        and all(len(digits) <= _MOST_DIGITS for digits in _DIGITS.findall(main))
    )
    if not legal:
        return text or _RELEASE
    key = _DIGITS.sub(_counted, main)
    key += f"{_PRE_RELEASE}-{'.'.join(map(_ordered, pre_release.split('.')))}" if dash else _RELEASE
    return f"{key}{plus}{build}"


def _cut(text: str, separator: str) -> tuple[str, str, str]:
    """What stands before and behind the first separator; one at the very beginning separates nothing."""
    at = text.find(separator)
    return (text[:at], separator, text[at + 1 :]) if at > 0 else (text, "", "")


def _is_pre_release(identifier: str) -> bool:
    if len(identifier) > _MOST_DIGITS and identifier.isdigit():
        return False
    return _IDENTIFIER.fullmatch(identifier) is not None and _LEADING_ZERO.fullmatch(identifier) is None


def _ordered(identifier: str) -> str:
    """An identifier of a pre-release: a number counts its digits, a word stays as it is."""
    return _DIGITS.sub(_counted, identifier) if identifier.isdigit() else identifier


def _counted(digits: re.Match[str]) -> str:
    return f"{_NUMBER}{chr(len(digits[0]) + 0x80)}{digits[0]}"

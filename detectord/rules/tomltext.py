"""The bytes of a TOML file to its tables and their places."""

from __future__ import annotations

import codecs
import re
import tomllib
from typing import Any

from detectord.eql.source import Source
from detectord.rules.findings import Finding, RuleCode, finding
from detectord.rules.objects import TextError
from detectord.rules.places import MAX_DEPTH, MAX_VALUES, Places, TooDeepError, TooManyError, scan

MAX_BYTES = 512 * 1024
"""A TOML file may be this long, and takes at most half a second, whatever is in it. The longest query known
has 47 KB; 100 KB is designed for."""

_PLACE = re.compile(r"\(at (?:line (\d+), column (\d+)|end of document)\)$")


def decoded(data: bytes) -> str:
    """The bytes as text, without a byte-order mark.

    Raises:
        TextError: they are not UTF-8; the offset is the length of what is.
    """
    try:
        return data.removeprefix(codecs.BOM_UTF8).decode()
    except UnicodeDecodeError as error:
        byte = f"{error.object[error.start]:#04x}"
        raise TextError(RuleCode.NOT_UTF8, len(error.object[: error.start].decode()), byte=byte) from None


def readable(data: bytes) -> str:
    """The bytes as text as far as they are UTF-8."""
    try:
        return data.removeprefix(codecs.BOM_UTF8).decode()
    except UnicodeDecodeError as error:
        return error.object[: error.start].decode()


def toml_document(data: bytes, file: str) -> tuple[dict[str, Any], Places] | Finding:
    """The tables of the file named `file`, and where their values stand; or why there are none."""
    if len(data) > MAX_BYTES:
        return finding(RuleCode.TOO_LARGE, {"limit": MAX_BYTES}, Source("", file))
    try:
        text = decoded(data).replace("\r\n", "\n")
    except TextError as error:
        return error.finding(file, readable(data))
    try:
        places = scan(text)
        return tomllib.loads(text), places
    except TooDeepError as error:
        return finding(RuleCode.TOO_DEEP, {"limit": MAX_DEPTH}, Source(text, file), error.offset)
    except TooManyError:
        return finding(RuleCode.TOO_MANY_VALUES, {"limit": MAX_VALUES}, Source(text, file))
    except ValueError as error:  # tomllib's own error is one; so is an integer with too many digits
        return _not_toml(file, text, str(error))


def _not_toml(file: str, text: str, error: str) -> Finding:
    """The finding for a text that is not TOML; the parser's sentence ends in a place."""
    source = Source(text, file)
    place = _PLACE.search(error)
    if place is None:
        return finding(RuleCode.NOT_TOML, {"error": error}, source)
    sentence = {"error": error[: place.start()].strip()}
    if place[1] is None:
        return finding(RuleCode.NOT_TOML, sentence, source, len(text))
    lines = text.split("\n")[: int(place[1]) - 1]
    offset = sum(len(line) + 1 for line in lines) + int(place[2]) - 1
    return finding(RuleCode.NOT_TOML, sentence, source, offset)

"""A converted rule as the text of a rule file: TOML as Elastic writes it (docs/rules.md).

Everything but the query comes from what the Sigma rule says about itself. Texts of several lines stand in
TOML's literal strings where they can, so that a query reads as it is.
"""

from __future__ import annotations

import datetime
import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any, Final

import tomlkit
from sigma.correlations import SigmaCorrelationRule
from sigma.rule import SigmaRule
from tomlkit.items import Array, String, StringType, Trivia

from detectord.sigma import attack

LICENSE: Final = "Detection Rule License (DRL) 1.1"
"""What Sigma's own rules are under; a rule that says otherwise keeps what it says."""
MATURITIES: Final = {
    "stable": "production",
    "test": "production",
    "experimental": "experimental",
    "deprecated": "deprecated",
}
LEVELS: Final = {
    "informational": ("low", 21),
    "low": ("low", 21),
    "medium": ("medium", 47),
    "high": ("high", 73),
    "critical": ("critical", 99),
}
_SYSTEMS: Final = {"windows": "Windows", "linux": "Linux", "macos": "macOS"}
_LONGEST_NAME = 80
_WIDTH = 100


def file_name(title: str, rule_id: str) -> str:
    """A file name that tells the rule and stays the same whatever else is imported."""
    plain = unicodedata.normalize("NFKD", title).encode("ascii", "ignore").decode().lower()
    words = re.sub(r"[^a-z0-9]+", "_", plain).strip("_")[:_LONGEST_NAME].strip("_")
    return f"{words or 'rule'}_{rule_id[:8]}.toml"


def text_of(
    rule: SigmaRule | SigmaCorrelationRule,
    *,
    rule_id: str,
    query: str,
    index: Sequence[str],
    products: Iterable[str],
    source: str,
) -> str:
    """The file. `query` is laid out already; `source` is the Sigma file, for people."""
    severity, risk_score = LEVELS[str(rule.level) if rule.level is not None else "medium"]
    threat, tactics, other_tags = attack.threat([f"{tag.namespace}.{tag.name}" for tag in rule.tags])
    systems = [f"OS: {_SYSTEMS[product]}" for product in dict.fromkeys(products) if product in _SYSTEMS]
    title = _line(rule.title)
    content: dict[str, Any] = {
        "author": _authors(rule.author),
        "description": _long(_said(rule.description) or title),
        "false_positives": _lines(rule.falsepositives),
        "from": "now-9m",
        "index": _array(dict.fromkeys(index)),
        "language": "eql",
        "license": _line(rule.license) or LICENSE,
        "name": title,
        "query": _long(query),
        "references": _array(_lines(rule.references)),
        "risk_score": risk_score,
        "rule_id": rule_id,
        "severity": severity,
        "tags": _array(["Sigma", *systems, *(f"Tactic: {tactic}" for tactic in tactics), *other_tags]),
        "type": "eql",
    }
    if threat:
        content["threat"] = threat
    document = tomlkit.document()
    document.add("metadata", tomlkit.item(_metadata(rule, source)))
    document.add("rule", tomlkit.item(content))
    return tomlkit.dumps(document)


def _metadata(rule: SigmaRule | SigmaCorrelationRule, source: str) -> dict[str, Any]:
    status = str(rule.status) if rule.status is not None else "experimental"
    dates = {"creation_date": rule.date, "updated_date": rule.modified or rule.date}
    return {
        **{
            key: f"{day.year:04}/{day.month:02}/{day.day:02}"
            for key, day in dates.items()
            if isinstance(day, datetime.date)
        },
        "maturity": MATURITIES[status],
        "comments": f"Converted from the Sigma rule {source}",
    }


def _authors(author: str | None) -> list[str]:
    return [name for part in (author or "").split(",") if (name := _line(part))]


def _lines(values: Sequence[object] | None) -> list[str]:
    return [text for value in values or () if (text := _line(value))]


def _array(texts: Iterable[str]) -> Array:
    """A list, with a line for each item if it is long."""
    array = tomlkit.array()
    array.extend(texts)
    return array.multiline(len(array.as_string()) > _WIDTH)


def _line(value: object) -> str:
    """A text of the rule on one line; nothing for what is no text."""
    return " ".join(str(value).split()) if isinstance(value, (str, int, float)) else ""


def _said(value: str | None) -> str:
    return "\n".join(line.rstrip() for line in (value or "").strip().splitlines())


def _long(text: str) -> String:
    """A text with line breaks as such, everything in it as it is if TOML permits."""
    if "\n" not in text and "\\" not in text and '"' not in text:
        return tomlkit.string(text)
    text += "\n"
    if "'''" in text or not all(c.isprintable() or c in "\n\t" for c in text):
        return tomlkit.string(text, multiline=True)
    # The first line break after the quotes is none of the text; tomlkit's own function would leave it out
    return String(StringType.MLL, text, f"\n{text}", Trivia())

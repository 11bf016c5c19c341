"""An alert document in Elastic's layout, from its parts to bytes.

    which alert, which events · kibana.alert.rule.* · originals · source fields · rule, threat · detectord

`kibana.*` keys are flat and dotted at the root, everything else is nested; an operator may have all of
them nested, or all flat. `event.*` says what the alert is (kind, severity, risk); what the source said
there stands under `kibana.alert.original_event.*`. A document over the size limit loses source fields
(`size.py`) and, if that is not enough, all but what identifies the alert.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import msgspec

from detectord.alerts.fields import Fields, flatten, place
from detectord.alerts.rule_parts import SEVERITY_NUMBERS, RuleParts
from detectord.alerts.settings import AlertSettings
from detectord.alerts.size import clipped, fit
from detectord.alerts.times import at_millisecond

_CORE_RULE = ("id", "uuid", "name", "version")
_CORE_ENTRIES = (16, 2, 0)
"""How many contributing events the last resort still names: the most that fit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """What an alert says besides its source fields.

    `now` is its time of creation (ms). `alert` and `group` hold flat `kibana.*` keys, before and after
    the rule's; `times` goes into `event`, `detectord` is the block of that name.
    """

    uuid: str
    now: int
    parts: RuleParts
    alert: Fields
    detectord: Fields
    group: Fields = field(default_factory=dict)
    times: Fields = field(default_factory=dict)


class DocumentWriter:
    """Writes documents under one configuration."""

    def __init__(self, settings: AlertSettings) -> None:
        self._settings = settings

    def write(self, draft: Draft, fields: Fields, *, cut: bool) -> bytes:
        """The document over the source `fields`, within the size limit. `cut` says that something of
        the source was left out already. Neither argument is changed."""
        value = fit(fields, partial(self._whole, draft), self._settings.max_bytes, cut=cut)
        return self._core(draft) if value is None else value

    def _whole(self, draft: Draft, fields: Fields, cut: bool) -> bytes:
        event, stream = _mapping(fields.get("event")), _mapping(fields.get("data_stream"))
        budget = self._settings.max_bytes
        document = self._head(draft) | draft.alert | dict(draft.parts.alert)
        document["kibana.space_ids"] = [self._settings.space]
        complete = flatten(event, "kibana.alert.original_event.", document, budget)
        complete &= flatten(stream, "kibana.alert.original_data_stream.", document, budget)
        document |= draft.group
        document |= {name: value for name, value in fields.items() if name not in document}
        document["event"] = {**event, **self._event(draft)}
        if self._settings.event_kind == "alert":
            document["message"] = draft.parts.name
        document["rule"] = draft.parts.ecs
        if draft.parts.threat:
            document["threat"] = {**_mapping(fields.get("threat")), **draft.parts.threat}
        return self._encode(document, draft.detectord, cut or not complete)

    def _core(self, draft: Draft) -> bytes:
        """The last resort, for an event whose very host or process fields are too big: which alert this
        is, by which rule, how bad, and where its events can be read again. It always fits."""
        alert = {name: value for name, value in draft.alert.items() if name != "kibana.alert.ancestors"}
        document = self._head(draft) | alert | dict(RuleParts.of(draft.parts.rule, "minimal").alert)
        document["kibana.space_ids"] = [self._settings.space]
        document |= draft.group
        document["event"] = self._event(draft)
        document["rule"] = {name: draft.parts.ecs[name] for name in _CORE_RULE if name in draft.parts.ecs}
        document = clipped(document)
        for entries in _CORE_ENTRIES:
            value = self._encode(document, clipped(_shortened(draft.detectord, entries)), True)
            if len(value) <= self._settings.max_bytes:
                break
        return value

    def _head(self, draft: Draft) -> Fields:
        now = at_millisecond(draft.now)
        return {
            "@timestamp": now,
            "kibana.alert.uuid": draft.uuid,
            "kibana.alert.status": "active",
            "kibana.alert.workflow_status": "open",
            "kibana.alert.workflow_tags": [],
            "kibana.alert.workflow_assignee_ids": [],
            "kibana.alert.severity": draft.parts.rule.severity,
            "kibana.alert.risk_score": draft.parts.rule.risk_score,
            "kibana.alert.start": now,
            "kibana.alert.last_detected": now,
        }

    def _event(self, draft: Draft) -> Fields:
        """What the alert says in `event`, over what the source said there."""
        rule, kind = draft.parts.rule, self._settings.event_kind
        origin = {"module": "detectord", "dataset": "detectord.alert"} if kind == "alert" else {}
        score = float(rule.risk_score)
        return {
            "kind": kind,
            **origin,
            "severity": SEVERITY_NUMBERS[rule.severity],
            "risk_score": score,
            "risk_score_norm": score,
            **draft.times,
        }

    def _encode(self, document: Fields, detectord: Fields, cut: bool) -> bytes:
        """The document with its detectord block, in the operator's key style."""
        if self._settings.key_style == "flat":
            flat: Fields = {}
            cut |= not flatten(document, "", flat, self._settings.max_bytes)
            flatten(_flagged(detectord, cut), "detectord.", flat, self._settings.max_bytes)
            return msgspec.json.encode(flat)
        styled = _expanded(document) if self._settings.key_style == "nested" else document
        return msgspec.json.encode({**styled, "detectord": _flagged(detectord, cut)})


def _flagged(detectord: Fields, cut: bool) -> Fields:
    return {**detectord, "truncated": True} if cut else detectord


def _shortened(detectord: Fields, entries: int) -> Fields:
    """The detectord block with at most `entries` members in each of its lists."""
    short = {**detectord, "source": detectord["source"][:entries]}
    if "sequence" in detectord:
        sequence = detectord["sequence"]
        short["sequence"] = {**sequence, **{name: sequence[name][:entries] for name in ("join", "stages")}}
    return short


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _expanded(document: Mapping[str, Any]) -> Fields:
    """The document with its dotted `kibana.` keys as nested objects."""
    nested: Fields = {}
    for name, value in document.items():
        place(nested, name.split(".") if name.startswith("kibana.") else [name], value)
    return nested

"""The table of alert formats. A new one is a module of this package and a line here."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from detectord.alerts import AlertFormat
from detectord.alerts.elastic import elastic
from detectord.alerts.settings import AlertSettings

FORMATS: Mapping[str, Callable[[AlertSettings], AlertFormat]] = {
    "elastic": elastic,
}
"""By the name that `alert.format` has in the configuration."""

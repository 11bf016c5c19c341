"""pySigma pipelines: the ones that its Elasticsearch backend ships, kept off the fields that our tables know.

pySigma's pipeline for Windows renames every field it knows and puts `winlog.event_data.` before all others,
except before names with a dot in them. So a name of our table gets a mark with a dot first, and the
backend (`backend.py`) puts the paths of the table in its place.
"""

from __future__ import annotations

from sigma.pipelines.elasticsearch.kubernetes import ecs_kubernetes
from sigma.pipelines.elasticsearch.windows import ecs_windows
from sigma.pipelines.elasticsearch.zeek import ecs_zeek_beats
from sigma.processing.pipeline import ProcessingItem, ProcessingPipeline
from sigma.processing.transformations import FieldMappingTransformation

from detectord.sigma import fields
from detectord.sigma.logsources import LogSource

MARK = "sigma."


def pipeline_for(source: LogSource) -> ProcessingPipeline:
    """The pipeline for rules of this log source; empty where our tables do all of it."""
    match source.fields:
        case "windows" | "channel":
            names = fields.known(source.fields, source.bearer)
            marked: dict[str | None, str | list[str]] = {name: MARK + name for name in names}
            ours = ProcessingItem(FieldMappingTransformation(marked), identifier="detectord_fields")
            return ProcessingPipeline([ours]) + ecs_windows()
        case "zeek":
            return ecs_zeek_beats()
        case "kubernetes":
            return ecs_kubernetes()
        case _:
            return ProcessingPipeline()

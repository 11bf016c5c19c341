r"""Fields: Sigma's names, by table, as paths of the Elastic Common Schema and of Elastic's integrations.

A row says that a value found under a Sigma name is found under one of these paths, whichever product
recorded the event. For Windows the table holds only what pySigma's own pipeline (`ecs_windows`) leaves out
or gets wrong for events as they arrive: it asks for multi-fields (`process.executable.caseless`), which are
made when Elasticsearch stores an event and are in none before. What neither names goes to
`winlog.event_data.*`.

Where the schema keeps in several fields what Sigma has in one (`User: NT AUTHORITY\SYSTEM`, `Hashes:
SHA256=…`), or under other words (`Initiated: true` is `egress`), `spread` takes the value apart.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from detectord.sigma.logsources import Fields

Spread = tuple[tuple[tuple[str, str], ...], ...]
"""What a value comes to: any of these, each being all of its (path, pattern)s. In a pattern `*` and `?` are
wildcards, and every `*`, `?` and backslash that means itself has a backslash before it."""

_CHANNEL: Final = {
    "Application": ("process.executable",),
    "Destination": ("process.executable",),
    "Details": ("registry.data.strings", "winlog.event_data.Details"),
    "Hash": ("winlog.event_data.Hashes",),
    "Hashes": ("winlog.event_data.Hashes",),
    "Image": ("process.executable",),
    "ImageLoaded": ("file.path", "dll.path"),
    "Initiated": ("network.direction",),
    "IntegrityLevel": ("winlog.event_data.IntegrityLevel", "process.Ext.token.integrity_level_name"),
    "NewProcessName": ("process.executable",),
    "ParentImage": ("process.parent.executable",),
    "ParentProcessName": ("process.parent.executable",),
    "ProcessName": ("process.executable",),
    "SourceImage": ("process.executable",),
}
_WINDOWS: Final = {
    **_CHANNEL,
    "CommandLine": ("process.command_line",),
    "EngineVersion": ("powershell.engine.version",),
    "EventType": ("winlog.event_data.EventType",),
    "HostVersion": ("powershell.process.executable_version",),
    "User": ("user.name",),
}

_HOST: Final = {
    "CommandLine": ("process.command_line",),
    "CurrentDirectory": ("process.working_directory",),
    "DestinationHostname": ("destination.domain", "dns.question.name"),
    "DestinationIp": ("destination.ip",),
    "DestinationPort": ("destination.port",),
    "Image": ("process.executable",),
    "LogonId": ("process.session_leader.entity_id",),
    "ParentCommandLine": ("process.parent.command_line",),
    "ParentImage": ("process.parent.executable",),
    "ParentProcessId": ("process.parent.pid",),
    "ProcessId": ("process.pid",),
    "Protocol": ("network.transport",),
    "QueryName": ("dns.question.name",),
    "SourceIp": ("source.ip",),
    "SourcePort": ("source.port",),
    "TargetFilename": ("file.path",),
    "User": ("user.name",),
    # auditd, as Auditd Manager, Auditbeat and Filebeat's auditd module write it
    **{f"a{number}": (f"auditd.data.a{number}", f"auditd.log.a{number}") for number in range(16)},
    "SYSCALL": ("auditd.data.syscall", "auditd.log.syscall"),
    "auid": ("auditd.summary.actor.primary", "user.audit.id"),
    "comm": ("process.name",),
    "cwd": ("process.working_directory",),
    "euid": ("user.effective.id",),
    "exe": ("process.executable",),
    "exit": ("auditd.data.exit", "auditd.log.exit"),
    "key": ("tags", "auditd.log.key"),
    "name": ("file.path", "auditd.log.name"),
    "nametype": ("auditd.data.nametype", "auditd.log.nametype"),
    "proctitle": ("process.title", "auditd.log.proctitle"),
    "syscall": ("auditd.data.syscall", "auditd.log.syscall"),
    "type": ("auditd.message_type", "auditd.log.record_type"),
    "uid": ("user.id",),
    "unit": ("auditd.data.unit",),
}

_WEB: Final = {
    "action": ("event.action",),
    "answer": ("dns.answers.data",),
    "c-ip": ("source.ip",),
    "c-uri": ("url.original",),
    "c-uri-extension": ("url.extension",),
    "c-uri-query": ("url.query",),
    "c-uri-stem": ("url.path",),
    "c-useragent": ("user_agent.original",),
    "client_ip": ("source.ip",),
    "cs-bytes": ("http.request.body.bytes",),
    "cs-host": ("url.domain", "destination.domain"),
    "cs-method": ("http.request.method",),
    "cs-referer": ("http.request.referrer",),
    "cs-referrer": ("http.request.referrer",),
    "cs-uri": ("url.original",),
    "cs-uri-query": ("url.query", "url.original"),
    "cs-uri-stem": ("url.path", "url.original"),
    "cs-user-agent": ("user_agent.original",),
    "cs-username": ("user.name",),
    "cs-version": ("http.version",),
    "dst_ip": ("destination.ip",),
    "dst_port": ("destination.port",),
    "query": ("dns.question.name",),
    "r-dns": ("url.domain",),
    "record_type": ("dns.question.type",),
    "s-dns": ("url.domain",),
    "s-ip": ("destination.ip",),
    "s-port": ("destination.port",),
    "sc-bytes": ("http.response.body.bytes",),
    "sc-status": ("http.response.status_code",),
    "src_ip": ("source.ip",),
    "src_port": ("source.port",),
}

_CLOUDTRAIL: Final = {
    "additionalEventData": ("aws.cloudtrail.additional_eventdata",),
    "awsRegion": ("cloud.region",),
    "errorCode": ("aws.cloudtrail.error_code",),
    "errorMessage": ("aws.cloudtrail.error_message",),
    "eventName": ("event.action",),
    "eventSource": ("event.provider",),
    "eventType": ("aws.cloudtrail.event_type",),
    "recipientAccountId": ("aws.cloudtrail.recipient_account_id",),
    "requestParameters": ("aws.cloudtrail.request_parameters",),
    "responseElements": ("aws.cloudtrail.response_elements",),
    "sourceIPAddress": ("source.address",),
    "status": ("event.outcome",),
    "userAgent": ("user_agent.original",),
    "userIdentity.accessKeyId": ("aws.cloudtrail.user_identity.access_key_id",),
    "userIdentity.arn": ("aws.cloudtrail.user_identity.arn",),
    "userIdentity.principalId": ("user.id",),
    "userIdentity.sessionContext.sessionIssuer.type": (
        "aws.cloudtrail.user_identity.session_context.session_issuer.type",
    ),
    "userIdentity.type": ("aws.cloudtrail.user_identity.type",),
    "userIdentity.userName": ("user.name",),
}
_CLOUDTRAIL_PREFIXES: Final = {
    "additionalEventData.": "aws.cloudtrail.flattened.additional_eventdata.",
    "requestParameters.": "aws.cloudtrail.flattened.request_parameters.",
    "responseElements.": "aws.cloudtrail.flattened.response_elements.",
    "serviceEventDetails.": "aws.cloudtrail.flattened.service_event_details.",
}

_AZURE: Final = {
    "CategoryValue": ("azure.activitylogs.category",),
    "ResourceProviderValue": ("azure.resource.provider",),
    "ActivityStatusValue": ("event.outcome",),
    "OperationNameValue": ("azure.activitylogs.operation_name",),
    "operationName": ("azure.activitylogs.operation_name", "azure.auditlogs.operation_name"),
    "properties.message": ("azure.auditlogs.operation_name", "azure.activitylogs.operation_name"),
    "category": ("azure.auditlogs.category", "azure.activitylogs.category"),
    "Category": ("azure.auditlogs.properties.category",),
    "LoggedByService": ("azure.auditlogs.properties.logged_by_service",),
    "ActivityDisplayName": ("azure.auditlogs.properties.activity_display_name",),
    "OperationName": ("azure.auditlogs.operation_name", "azure.signinlogs.operation_name"),
    "Result": ("azure.auditlogs.properties.result", "event.outcome"),
    "ResultType": ("azure.signinlogs.result_type",),
    "ResultDescription": ("azure.signinlogs.result_description",),
    "Status": ("event.outcome",),
    "AppDisplayName": ("azure.signinlogs.properties.app_display_name",),
    "AppId": ("azure.signinlogs.properties.app_id",),
    "ClientApp": ("azure.signinlogs.properties.client_app_used",),
    "ConditionalAccessStatus": ("azure.signinlogs.properties.conditional_access_status",),
    "AuthenticationRequirement": ("azure.signinlogs.properties.authentication_requirement",),
    "ResourceDisplayName": ("azure.signinlogs.properties.resource_display_name",),
    "RiskState": ("azure.signinlogs.properties.risk_state",),
    "Username": ("azure.signinlogs.properties.user_principal_name",),
    "UserAgent": ("user_agent.original",),
    "userAgent": ("user_agent.original",),
}

_GCP: Final = {
    "gcp.audit.method_name": ("event.action",),
    "gcp.audit.service_name": ("service.name",),
    "data.protoPayload.methodName": ("event.action",),
    "data.protoPayload.serviceName": ("service.name",),
    "data.protoPayload.resourceName": ("gcp.audit.resource_name",),
    "methodName": ("event.action",),
}

_OKTA: Final = {
    "actor.alternateid": ("okta.actor.alternate_id",),
    "debugContext.debugData.behaviors": ("okta.debug_context.debug_data.flattened.behaviors",),
    "displaymessage": ("okta.display_message",),
    "displayMessage": ("okta.display_message",),
    "eventtype": ("event.action",),
    "eventType": ("event.action",),
    "outcome.reason": ("okta.outcome.reason",),
    "outcome.result": ("okta.outcome.result",),
    "securityContext.isProxy": ("okta.security_context.is_proxy",),
}

_TABLES: Final[Mapping[Fields, Mapping[str, tuple[str, ...]]]] = MappingProxyType(
    {
        "windows": _WINDOWS,
        "channel": _CHANNEL,
        "host": _HOST,
        "web": _WEB,
        "cloudtrail": _CLOUDTRAIL,
        "azure": _AZURE,
        "gcp": _GCP,
        "okta": _OKTA,
    }
)

_ON_BEARER: Final = {
    "Company": "pe.company",
    "Description": "pe.description",
    "FileVersion": "pe.file_version",
    "Imphash": "pe.imphash",
    "imphash": "pe.imphash",
    "OriginalFileName": "pe.original_file_name",
    "Product": "pe.product",
    "Signature": "code_signature.subject_name",
    "SignatureStatus": "code_signature.status",
    "md5": "hash.md5",
    "sha1": "hash.sha1",
    "sha256": "hash.sha256",
}
"""Facts of a file, below whatever the log source says bears them."""

_HASH: Final = re.compile(
    r"\*?(?:(md5|imphash)=([0-9a-f]{32})|(sha1)=([0-9a-f]{40})|(sha256)=([0-9a-f]{64}))\*?", re.IGNORECASE
)
_DWORD: Final = re.compile(r"[DQ]WORD \((0x([0-9a-f]{1,16}))\)", re.IGNORECASE)
_REGISTRY: Final = {
    "createkey": "creation",
    "deletekey": "deletion",
    "deletevalue": "deletion",
    "setvalue": "modification",
}
_DIRECTION: Final = {"true": "egress", "false": "ingress"}


def known(table: Fields, bearer: tuple[str, ...]) -> tuple[str, ...]:
    """The names that the table itself has rows for."""
    return (*_TABLES.get(table, ()), *(_ON_BEARER if table == "windows" and bearer else ()))


def paths(table: Fields, name: str, bearer: tuple[str, ...]) -> tuple[str, ...] | None:
    """The paths under which the field `name` may be found; None if the table does not know it."""
    if table == "windows" and bearer and name in _ON_BEARER:
        return tuple(f"{each}.{_ON_BEARER[name]}" for each in bearer)
    if table == "cloudtrail":
        for prefix, path in _CLOUDTRAIL_PREFIXES.items():
            if name.startswith(prefix) and name not in _CLOUDTRAIL:
                return (path + name.removeprefix(prefix),)
    return _TABLES[table].get(name) if table in _TABLES else None


def spread(table: Fields, name: str, pattern: str, bearer: tuple[str, ...]) -> Spread | None:
    """What the value `pattern` of the field `name` comes to, if that depends on the value; None if not."""
    if table not in ("windows", "channel"):
        return None
    match name:
        case "User" if table == "windows":
            return _user(pattern)
        case "Hashes" | "Hash":
            return _hash(pattern, bearer)
        case "Initiated" if pattern.lower() in _DIRECTION:
            return ((("network.direction", _DIRECTION[pattern.lower()]),),)
        case "Details":
            return _details(pattern)
        case "EventType" if pattern.lower() in _REGISTRY:
            action = _REGISTRY[pattern.lower()]
            return ((("winlog.event_data.EventType", pattern),), (("event.action", action),))
        case _:
            return None


def _user(pattern: str) -> Spread:
    r"""`DOMAIN\NAME` is two fields. What names neither may be meant for either."""
    domain, backslash, name = pattern.partition("\\\\")
    if not backslash:
        return ((("user.name", pattern),), (("user.domain", pattern),))
    both = (("user.domain", domain), ("user.name", name))
    said = tuple((path, part) for path, part in both if part.strip("*"))
    return (said or both,)


def _hash(pattern: str, bearer: tuple[str, ...]) -> Spread | None:
    found = _HASH.fullmatch(pattern)
    if found is None:
        return None
    kind, value = (part.lower() for part in found.groups() if part)
    below = "pe.imphash" if kind == "imphash" else f"hash.{kind}"
    return tuple(((f"{each}.{below}", value),) for each in bearer) or None


def _details(pattern: str) -> Spread | None:
    """Sysmon writes `DWORD (0x00000001)`; Elastic Defend and the ingest pipelines `1` or `0x00000001`."""
    found = _DWORD.fullmatch(pattern)
    if found is None:
        return None
    return (
        (("registry.data.strings", found[1]),),
        (("registry.data.strings", str(int(found[2], 16))),),
        (("winlog.event_data.Details", pattern),),
    )

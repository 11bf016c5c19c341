"""Log sources: where a Sigma rule looks, as an EQL category, index patterns and conditions of the schema.

A table, read from the particular to the general: the first row whose product, service and category all
agree (empty: whatever the rule says) is the rule's. A log source without a row is refused, because a guess
would be a rule that looks loaded and never fires.

Elastic Defend and Sysmon tell the same things differently; where they do, the conditions hold for both.
What only Sysmon tells is found by the number of its event.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

Fields = Literal[
    "windows", "channel", "zeek", "kubernetes", "host", "web", "cloudtrail", "azure", "gcp", "okta"
]
"""Which table of fields a log source goes by: `windows` for categories, `channel` for Windows' own logs."""


@dataclass(frozen=True, slots=True)
class LogSource:
    """Where rules of one kind look.

    `category` is EQL's (None: `any`), `conditions` are EQL, all to be met, `fields` names the fields'
    table, `bearer` is what the facts of a file (hashes, version, signature) stand under, if there are any.
    """

    category: str | None
    index: tuple[str, ...]
    conditions: tuple[str, ...] = ()
    fields: Fields = "windows"
    bearer: tuple[str, ...] = ()


_SYSMON: Final = ("winlogbeat-*", "logs-windows.sysmon_operational-*", "logs-windows.forwarded*")
_WINDOWS: Final = ("winlogbeat-*", "logs-windows.*", "logs-system.*", "logs-winlog.*")
_AUDIT: Final = ("auditbeat-*", "logs-auditd_manager.auditd-*")
_CREATED: Final = '(event.type == "creation" or event.action == "overwrite")'
_STARTED: Final = ('event.type == "start"', 'not event.action == "fork"')
_OPENED: Final = ('event.type == "start"',)
_POWERSHELL: Final = '(event.provider : ("Microsoft-Windows-PowerShell", "PowerShellCore", "PowerShell"))'


def _defend(kind: str) -> str:
    return f"logs-endpoint.events.{kind}-*"


def _sysmon(*codes: int) -> str:
    numbers = ", ".join(f'"{code}"' for code in codes)
    test = f"== {numbers}" if len(codes) == 1 else f"in ({numbers})"
    return f'event.code {test} and event.provider == "Microsoft-Windows-Sysmon"'


def _either(condition: str, *codes: int) -> str:
    return f"({condition} or ({_sysmon(*codes)}))"


WINDOWS_CATEGORIES: Final = {
    "process_creation": LogSource(
        "process",
        (_defend("process"), "logs-system.security*", *_SYSMON),
        ('event.type == "start"',),
        bearer=("process",),
    ),
    "process_termination": LogSource("process", (_defend("process"), *_SYSMON), ('event.type == "end"',)),
    "file_event": LogSource("file", (_defend("file"), *_SYSMON), (_CREATED,)),
    "file_change": LogSource("file", (_defend("file"), *_SYSMON), ('event.type == "change"',)),
    "file_delete": LogSource("file", (_defend("file"), *_SYSMON), ('event.type == "deletion"',)),
    "file_rename": LogSource("file", (_defend("file"),), ('event.action : "rename*"',)),
    "file_access": LogSource(
        "file", (_defend("file"), *_SYSMON), ('(event.type == "access" or event.action == "open")',)
    ),
    "network_connection": LogSource("network", (_defend("network"), *_SYSMON), _OPENED),
    "dns_query": LogSource("network", (_defend("network"), *_SYSMON), ("?dns.question.name != null",)),
    "registry_event": LogSource("registry", (_defend("registry"), *_SYSMON)),
    "registry_set": LogSource(
        "registry",
        (_defend("registry"), *_SYSMON),
        ('event.type == "change"', 'not event.code in ("12", "14")'),
    ),
    "registry_add": LogSource(
        "registry", (_defend("registry"), *_SYSMON), (_either('event.type == "creation"', 12),)
    ),
    "registry_delete": LogSource(
        "registry", (_defend("registry"), *_SYSMON), (_either('event.type == "deletion"', 12),)
    ),
    "registry_rename": LogSource("registry", _SYSMON, (_sysmon(14),)),
    "image_load": LogSource(
        None,
        (_defend("library"), *_SYSMON),
        (_either('event.category == "library"', 7),),
        bearer=("file", "dll"),
    ),
    "driver_load": LogSource(
        None,
        (_defend("library"), *_SYSMON),
        ('event.category == "driver"',),
        bearer=("file", "dll"),
    ),
    "create_remote_thread": LogSource(None, _SYSMON, (_sysmon(8),)),
    "raw_access_thread": LogSource(None, _SYSMON, (_sysmon(9),)),
    "process_access": LogSource(None, _SYSMON, (_sysmon(10),)),
    "create_stream_hash": LogSource(None, _SYSMON, (_sysmon(15),), bearer=("file",)),
    "pipe_created": LogSource(None, _SYSMON, (_sysmon(17, 18),)),
    "wmi_event": LogSource(None, _SYSMON, (_sysmon(19, 20, 21),)),
    "clipboard_capture": LogSource(None, _SYSMON, (_sysmon(24),), bearer=("process",)),
    "process_tampering": LogSource(None, _SYSMON, (_sysmon(25),), bearer=("process",)),
    "file_block_executable": LogSource(None, _SYSMON, (_sysmon(27),)),
    "file_block_shredding": LogSource(None, _SYSMON, (_sysmon(28),)),
    "file_executable_detected": LogSource(None, _SYSMON, (_sysmon(29),), bearer=("file",)),
    "sysmon_status": LogSource(None, _SYSMON, (_sysmon(4, 16),)),
    "sysmon_error": LogSource(None, _SYSMON, (_sysmon(255),)),
    "ps_script": LogSource(
        None, ("winlogbeat-*", "logs-windows.powershell*"), ('event.code == "4104"', _POWERSHELL)
    ),
    "ps_module": LogSource(
        None, ("winlogbeat-*", "logs-windows.powershell*"), ('event.code == "4103"', _POWERSHELL)
    ),
    "ps_classic_start": LogSource(
        None, ("winlogbeat-*", "logs-windows.powershell*"), ('event.code == "400"', _POWERSHELL)
    ),
    "ps_classic_provider_start": LogSource(
        None, ("winlogbeat-*", "logs-windows.powershell*"), ('event.code == "600"', _POWERSHELL)
    ),
}

_WINDOWS_SERVICES: Final = {
    "security": ("winlogbeat-*", "logs-system.security*", "logs-windows.forwarded*"),
    "system": ("winlogbeat-*", "logs-system.system*", "logs-windows.forwarded*"),
    "application": ("winlogbeat-*", "logs-system.application*", "logs-windows.forwarded*"),
    "sysmon": _SYSMON,
    "powershell": ("winlogbeat-*", "logs-windows.powershell*", "logs-windows.forwarded*"),
    "powershell-classic": ("winlogbeat-*", "logs-windows.powershell*", "logs-windows.forwarded*"),
}


def _unix(product: str) -> dict[str, LogSource]:
    processes = (*((*_AUDIT, "logs-sysmon_linux.log-*") if product == "linux" else ()),)
    files = (*(_AUDIT if product == "linux" else ()),)
    return {
        "process_creation": LogSource(
            "process", (_defend("process"), *processes), _STARTED, "host", ("process",)
        ),
        "process_termination": LogSource(
            "process", (_defend("process"), *processes), ('event.type == "end"',), "host"
        ),
        "file_event": LogSource("file", (_defend("file"), *files), (_CREATED,), "host"),
        "file_change": LogSource("file", (_defend("file"), *files), ('event.type == "change"',), "host"),
        "file_delete": LogSource("file", (_defend("file"), *files), ('event.type == "deletion"',), "host"),
        "file_rename": LogSource("file", (_defend("file"),), ('event.action : "rename*"',), "host"),
        "network_connection": LogSource("network", (_defend("network"), *processes), _OPENED, "host"),
        "dns_query": LogSource("network", (_defend("network"),), ("?dns.question.name != null",), "host"),
    }


UNIX_CATEGORIES: Final = {product: _unix(product) for product in ("linux", "macos")}

_WEB_INDEX: Final = ("filebeat-*", "logs-nginx.access-*", "logs-apache.access-*", "logs-iis.access-*")
_NETWORK_INDEX: Final = ("packetbeat-*", "filebeat-*", "logs-network_traffic.*")

# Product, service, category; empty: any
_ROWS: Final[tuple[tuple[str, str, str, LogSource], ...]] = (
    (
        "linux", "auditd", "",
        LogSource(None, (*_AUDIT, "filebeat-*", "logs-auditd.log-*"), (), "host"),
    ),
    ("zeek", "", "", LogSource(None, ("filebeat-*", "logs-zeek.*"), (), "zeek")),
    (
        "kubernetes", "audit", "",
        LogSource(None, ("filebeat-*", "logs-kubernetes.audit_logs-*"), (), "kubernetes"),
    ),
    (
        "kubernetes", "", "application",
        LogSource(None, ("filebeat-*", "logs-kubernetes.audit_logs-*"), (), "kubernetes"),
    ),
    (
        "aws", "cloudtrail", "",
        LogSource(
            None,
            ("filebeat-*", "logs-aws.cloudtrail-*"),
            ('event.dataset == "aws.cloudtrail"',),
            "cloudtrail",
        ),
    ),
    (
        "azure", "activitylogs", "",
        LogSource(
            None, ("filebeat-*", "logs-azure.*"), ('event.dataset == "azure.activitylogs"',), "azure"
        ),
    ),
    (
        "azure", "auditlogs", "",
        LogSource(None, ("filebeat-*", "logs-azure.*"), ('event.dataset == "azure.auditlogs"',), "azure"),
    ),
    (
        "azure", "signinlogs", "",
        LogSource(None, ("filebeat-*", "logs-azure.*"), ('event.dataset == "azure.signinlogs"',), "azure"),
    ),
    (
        "gcp", "gcp.audit", "",
        LogSource(None, ("filebeat-*", "logs-gcp.audit-*"), ('event.dataset == "gcp.audit"',), "gcp"),
    ),
    (
        "okta", "okta", "",
        LogSource(None, ("filebeat-*", "logs-okta.system-*"), ('event.dataset == "okta.system"',), "okta"),
    ),
    ("", "", "webserver", LogSource(None, _WEB_INDEX, ("?url.original != null",), "web")),
    ("", "", "proxy", LogSource(None, ("filebeat-*", "logs-*"), ("?url.original != null",), "web")),
    ("", "", "dns", LogSource("network", _NETWORK_INDEX, ("?dns.question.name != null",), "web")),
    ("", "", "firewall", LogSource("network", ("filebeat-*", "logs-*"), (), "web")),
)  # fmt: skip


def find(product: str, service: str, category: str) -> LogSource | None:
    """The log source of a rule, by what its `logsource` says ("" for what it does not say); None if
    there is no mapping for it."""
    return next(_found(product, service, category), None)


def _found(product: str, service: str, category: str) -> Iterator[LogSource]:
    if product == "windows" and not service:
        yield from _of_host("windows", WINDOWS_CATEGORIES, category)
    elif product == "windows" and not category:
        yield LogSource(None, _WINDOWS_SERVICES.get(service, _WINDOWS), fields="channel")
    elif product in UNIX_CATEGORIES and not service:
        yield from _of_host(product, UNIX_CATEGORIES[product], category)
    for a_product, a_service, a_category, source in _ROWS:
        if a_product in ("", product) and a_service in ("", service) and a_category in ("", category):
            yield source


def _of_host(product: str, sources: dict[str, LogSource], category: str) -> Iterator[LogSource]:
    """The row of an operating system's category; its events are those of hosts that run it."""
    source = sources.get(category)
    if source is not None:
        os_type = f'host.os.type == "{product}"'
        yield LogSource(
            source.category, source.index, (os_type, *source.conditions), source.fields, source.bearer
        )

"""The types of fields, as Elasticsearch would map them.

A JSON value does not tell its field's type: `"48211"` in `process.pid` is a number in Elasticsearch, an
address is text in JSON. `FIELD_TYPES` names fields of the Elastic Common Schema (8.x and 9.x), by hand from
its published field reference: all addresses, numbers, booleans and dates, and of the keywords those that
rules ask for or join by. Some of these look like numbers (`event.code`, `user.id`, `group.id`) and are
compared and joined as text all the same. A field that is not listed takes the type of what it is compared
with. Left out on purpose: geo points, and `nested` fields.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import chain
from types import MappingProxyType


def _under(prefixes: Iterable[str], names: str) -> list[str]:
    return [f"{prefix}.{name}" for prefix in prefixes for name in names.split()]


# Where the same object of the schema stands
_RELATIVES = ("parent", "entry_leader", "group_leader", "session_leader", "previous", "responsible")
_PROCESSES = (
    "process",
    "Target.process",
    *(f"process.{relative}" for relative in _RELATIVES),
    "process.parent.group_leader",
    "process.entry_leader.parent",
    "process.entry_leader.parent.session_leader",
    "process.session_leader.parent",
    "process.session_leader.parent.session_leader",
)
_ENDS = ("client", "destination", "server", "source")
_BINARIES = (*_PROCESSES, "dll", "file")
_SIGNATURES = ("code_signature", "Ext.code_signature")
_INDICATORS = ("threat.indicator", "threat.enrichments.indicator")
_CERTIFICATES = ("file.x509", "tls.client.x509", "tls.server.x509")
_OBJECT_FILES = ("elf", "macho", "pe")

_USERS = (
    "user",
    *(f"user.{which}" for which in ("changes", "effective", "target")),
    *(f"{prefix}.user" for prefix in (*_ENDS, *_PROCESSES)),
    *(f"{prefix}.real_user" for prefix in _PROCESSES),
    *(f"{prefix}.saved_user" for prefix in _PROCESSES),
)
_GROUPS = ("group", *(f"{prefix}.group" for prefix in (*_PROCESSES, *_USERS)))
_HASHES = "hash.md5 hash.sha1 hash.sha256 hash.sha384 hash.sha512 hash.ssdeep hash.tlsh"

_BY_TYPE: Mapping[str, Iterable[str]] = {
    "keyword": chain(
        _under(["agent"], "id name type version ephemeral_id"),
        _under(["cloud"], "account.id account.name instance.id instance.name project.id provider region"),
        _under(["container"], "id name runtime image.name image.tag"),
        _under(["data_stream"], "dataset namespace type"),
        _under(["dns"], "id op_code question.name question.type response_code type"),
        _under(["ecs"], "version"),
        _under(
            ["event"], "action agent_id_status category code dataset hash id kind module outcome provider"
        ),
        _under(["event"], "reason reference timezone type url"),
        _under(["host"], "architecture domain hostname id mac name type"),
        _under(["host.os", "observer.os"], "family full kernel name platform type version"),
        _under(["http"], "request.id request.method request.mime_type response.mime_type version"),
        _under(["log"], "level logger file.path syslog.appname"),
        _under(["network"], "application community_id direction iana_number name protocol transport type"),
        _under(["network"], "vlan.id vlan.name"),
        _under(["observer"], "hostname name product serial_number type vendor version"),
        _under(["orchestrator"], "cluster.id cluster.name namespace resource.id resource.name resource.type"),
        _under(["registry"], "data.bytes data.strings data.type hive key path value"),
        _under(["related"], "hash hosts user"),
        _under(["service"], "id name node.name type version"),
        _under(_ENDS, "address domain mac registered_domain"),
        _under(["url"], "domain extension fragment full original path query scheme username"),
        _under(_USERS, "domain email full_name id name roles"),
        _under(_GROUPS, "domain id name"),
        _under(_PROCESSES, "args command_line entity_id executable name title working_directory env_vars"),
        _under(_PROCESSES, "entry_meta.type thread.name"),
        _under(_under(_BINARIES, " ".join(_SIGNATURES)), "status subject_name signing_id team_id"),
        _under(_BINARIES, f"{_HASHES} pe.company pe.description pe.imphash pe.original_file_name pe.product"),
        _under(["dll", "file"], "name path"),
        _under(["file"], "attributes device directory drive_letter extension gid group inode mime_type mode"),
        _under(["file"], "owner target_path type uid Ext.original.name Ext.original.path"),
        _under(["winlog"], "api channel computer_name event_id provider_name record_id task opcode"),
        ["tags"],
    ),
    "ip": chain(
        ["dns.resolved_ip", "host.ip", "network.forwarded_ip", "observer.ip", "orchestrator.resource.ip"],
        ["related.ip"],
        _under(_ENDS, "ip nat.ip"),
        _under(_INDICATORS, "ip"),
        _under(_PROCESSES, "entry_meta.source.ip"),
    ),
    "long": chain(
        ["as.number", "dns.answers.ttl", "event.duration", "event.sequence", "event.severity", "file.size"],
        ["host.uptime", "log.origin.file.line", "package.size", "url.port"],
        _under(["container", "host"], "disk.read.bytes disk.write.bytes"),
        _under(["container", "host"], "network.egress.bytes network.ingress.bytes"),
        _under(["host"], "network.egress.packets network.ingress.packets"),
        _under(["http.request", "http.response"], "body.bytes bytes"),
        ["http.response.status_code"],
        _under(["log.syslog"], "facility.code priority severity.code"),
        _under(["network"], "bytes packets"),
        _under(_ENDS, "as.number bytes nat.port packets port"),
        _under(_INDICATORS, "as.number file.size port scanner_stats sightings url.port"),
        _under(_PROCESSES, "args_count exit_code pgid pid ppid thread.id uptime vpid"),
        _under(_PROCESSES, "tty.char_device.major tty.char_device.minor tty.columns tty.rows"),
        _under(["process.io"], "total_bytes_captured total_bytes_skipped"),
        _under(["process.io.bytes_skipped"], "length offset"),
        _under(_CERTIFICATES, "public_key_exponent public_key_size"),
    ),
    "float": chain(
        _under(["event"], "risk_score risk_score_norm"),
        _under(["host.risk", "user.risk"], "calculated_score calculated_score_norm"),
        _under(["host.risk", "user.risk"], "static_score static_score_norm"),
        _under(["vulnerability.score"], "base environmental temporal"),
    ),
    "scaled_float": ["container.cpu.usage", "container.memory.usage", "host.cpu.usage"],
    "boolean": chain(
        _under(_under(_BINARIES, " ".join(_SIGNATURES)), "exists trusted valid"),
        _under(_under(_BINARIES, " ".join(_OBJECT_FILES)), "go_stripped"),
        _under(_PROCESSES, "interactive same_as_process"),
        [
            "container.security_context.privileged",
            "faas.coldstart",
            "process.io.max_bytes_per_process_exceeded",
        ],
        _under(["tls"], "established resumed"),
    ),
    "date": chain(
        ["@timestamp", "package.installed"],
        _under(["email"], "delivery_timestamp origination_timestamp"),
        _under(["event"], "created end ingested start"),
        _under(["file"], "accessed created ctime elf.creation_date mtime"),
        _under(_under(_BINARIES, " ".join(_SIGNATURES)), "timestamp"),
        _under(_INDICATORS, "first_seen last_seen modified_at"),
        _under(_PROCESSES, "end start"),
        _under(["tls.client", "tls.server"], "not_after not_before"),
        _under(_CERTIFICATES, "not_after not_before"),
    ),
}

FIELD_TYPES: Mapping[str, str] = MappingProxyType(
    {path: name for name, paths in _BY_TYPE.items() for path in paths}
)
"""Elasticsearch type by path."""

"""The Windows event logs: Sysmon's, sent by Elastic Agent, and the Security log, sent by winlogbeat.

Both as they are after the products' ingest pipelines. Their events have no `event.id`; a record
number within computer and channel names them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from uuid import UUID

from detectord.demo.machines import (
    Act,
    Connected,
    Document,
    Ended,
    Host,
    Loaded,
    LoggedOn,
    Machine,
    Process,
    RegistrySet,
    Resolved,
    Started,
    User,
    Wrote,
    instant,
    sha256_of,
)

_SYSMON = "Microsoft-Windows-Sysmon"
_AUDITING = "Microsoft-Windows-Security-Auditing"


def sysmon(machine: Machine, act: Act) -> Iterator[Document]:
    """The documents of one act, in the data stream windows.sysmon_operational."""
    match act:
        case Started(process):
            yield _sysmon(
                machine,
                process,
                "1",
                "Process Create (rule: ProcessCreate)",
                ("process",),
                ("start",),
                {
                    "process": _sysmon_process(process),
                    "related": {"user": [process.user.name], "hash": [sha256_of(process.executable)]},
                },
            )
        case Ended(process):
            yield _sysmon(
                machine,
                process,
                "5",
                "Process terminated (rule: ProcessTerminate)",
                ("process",),
                ("end",),
                {},
            )
        case Connected():
            yield _sysmon_connected(machine, act)
        case Resolved(process, name, address):
            yield _sysmon(
                machine,
                process,
                "22",
                "DNSEvent (DNS query)",
                ("network",),
                ("connection", "protocol", "info"),
                {
                    "dns": {
                        "question": {"name": name, "registered_domain": ".".join(name.split(".")[-2:])},
                        "answers": [{"data": address, "type": "A"}],
                        "resolved_ip": [address],
                    },
                    "network": {"protocol": "dns"},
                    "related": {"hosts": [name], "ip": [address], "user": [process.user.name]},
                    "sysmon": {"dns": {"status": "SUCCESS"}},
                },
            )
        case Wrote(process, path):
            yield _sysmon(
                machine,
                process,
                "11",
                "File created (rule: FileCreate)",
                ("file",),
                ("creation",),
                {
                    "file": _file(path),
                },
            )
        case RegistrySet(process, path, data):
            yield _sysmon_registry(machine, process, path, data)
        case Loaded(process, path):
            yield _sysmon(
                machine,
                process,
                "7",
                "Image loaded (rule: ImageLoad)",
                ("process",),
                ("change",),
                {
                    "file": {**_file(path), "hash": {"sha256": sha256_of(path)}},
                    "dll": {"name": _file(path)["name"], "path": path},
                },
            )
        case _:
            return


def security(machine: Machine, act: Act) -> Iterator[Document]:
    """The documents of one act, as winlogbeat sends the Security log: processes and logons."""
    match act:
        case Started(process):
            yield _security(
                machine,
                "4688",
                "created-process",
                ("process",),
                ("start",),
                process.user,
                {
                    "process": _security_process(process),
                    "related": {"user": [process.user.name]},
                },
                {
                    "NewProcessId": hex(process.pid),
                    "NewProcessName": process.executable,
                    "CommandLine": process.command_line,
                    "ParentProcessName": process.parent.executable if process.parent else "",
                    "TokenElevationType": "%%1936",
                    "MandatoryLabel": "S-1-16-12288",
                },
            )
        case Ended(process, exit_code):
            yield _security(
                machine,
                "4689",
                "exited-process",
                ("process",),
                ("end",),
                process.user,
                {
                    "process": {"pid": process.pid, "name": process.name, "executable": process.executable},
                    "related": {"user": [process.user.name]},
                },
                {"ProcessId": hex(process.pid), "ProcessName": process.executable, "Status": hex(exit_code)},
            )
        case LoggedOn():
            yield _logon(machine, act)
        case _:
            return


# --- Sysmon ----------------------------------------------------------------------------------


def _sysmon(
    machine: Machine,
    process: Process,
    code: str,
    action: str,
    category: tuple[str, ...],
    types: tuple[str, ...],
    parts: Mapping[str, object],
) -> Document:
    at = instant(machine.now, 3)
    user = process.user
    record = machine.record_id()
    return {
        "@timestamp": at,
        **_agent(machine.host),
        "data_stream": {"type": "logs", "dataset": "windows.sysmon_operational", "namespace": "default"},
        "event": {
            "kind": "event",
            "module": "windows",
            "dataset": "windows.sysmon_operational",
            "provider": _SYSMON,
            "code": code,
            "category": list(category),
            "type": list(types),
            "action": action,
            "created": at,
            "sequence": machine.sequence(),
        },
        "process": {
            "entity_id": process.entity_id,
            "pid": process.pid,
            "name": process.name,
            "executable": process.executable,
        },
        "related": {"user": [user.name]},
        **parts,
        "user": {"id": user.id, "name": user.name, "domain": user.domain},
        "winlog": {
            "api": "wineventlog",
            "channel": f"{_SYSMON}/Operational",
            "computer_name": f"{machine.host.name}.example.com",
            "event_id": code,
            "opcode": "Info",
            "process": {"pid": 2744, "thread": {"id": 3908}},
            "provider_guid": "{5770385f-c22a-43e0-bf4c-06f5698ffbd9}",
            "provider_name": _SYSMON,
            "record_id": record,
            "task": action,
            "user": {
                "domain": "NT AUTHORITY",
                "identifier": "S-1-5-18",
                "name": "SYSTEM",
                "type": "User",
            },
            "version": 5,
        },
        "message": f"{action.partition(' (')[0]}:\nRuleName: -\nUtcTime: {at[:10]} {at[11:-1]}\n"
        f"ProcessGuid: {process.entity_id}\nProcessId: {process.pid}\nImage: {process.executable}\n"
        f"User: {user.domain}\\{user.name}",
    }


def _sysmon_process(process: Process) -> Document:
    parent = process.parent
    document: Document = {
        "entity_id": process.entity_id,
        "pid": process.pid,
        "name": process.name,
        "executable": process.executable,
        "args": list(process.args),
        "args_count": len(process.args),
        "command_line": process.command_line,
        "working_directory": process.directory,
        "hash": {"sha256": sha256_of(process.executable)},
        "pe": {
            "company": "Example Software Publisher",
            "description": process.name.partition(".")[0],
            "file_version": "10.0.26100.1882",
            "original_file_name": process.name,
            "product": "Example Operating System",
        },
    }
    if parent is not None:
        document["parent"] = {
            "entity_id": parent.entity_id,
            "pid": parent.pid,
            "name": parent.name,
            "executable": parent.executable,
            "args": list(parent.args),
            "args_count": len(parent.args),
            "command_line": parent.command_line,
        }
    return document


def _sysmon_connected(machine: Machine, act: Connected) -> Document:
    port = machine.random.randrange(49_152, 65_000)
    far = {"ip": act.address, "port": port if act.incoming else act.port}
    near = {
        "ip": machine.host.address,
        "port": act.port if act.incoming else port,
        "domain": f"{machine.host.name}.example.com",
    }
    return _sysmon(
        machine,
        act.process,
        "3",
        "Network connection detected (rule: NetworkConnect)",
        ("network",),
        ("start", "connection", "protocol"),
        {
            "source": far if act.incoming else near,
            "destination": near if act.incoming else far,
            "network": {
                "direction": "ingress" if act.incoming else "egress",
                "transport": "tcp",
                "type": "ipv4",
                "community_id": f"1:{sha256_of(f'{act.address}{act.port}')[:27]}=",
            },
            "related": {"ip": [machine.host.address, act.address], "user": [act.process.user.name]},
        },
    )


def _sysmon_registry(machine: Machine, process: Process, path: str, data: str) -> Document:
    hive, _, rest = path.partition("\\")
    key, _, value = rest.rpartition("\\")
    return _sysmon(
        machine,
        process,
        "13",
        "Registry value set (rule: RegistryEvent)",
        ("configuration", "registry"),
        ("change",),
        {
            "registry": {
                "hive": hive,
                "key": key,
                "value": value,
                "path": path,
                "data": {"type": "SZ", "strings": [data]},
            }
        },
    )


def _file(path: str) -> Document:
    directory, _, name = path.rpartition("\\")
    return {"path": path, "directory": directory, "name": name, "extension": name.rpartition(".")[2]}


@lru_cache(maxsize=4096)
def _agent(host: Host) -> Document:
    return {
        "agent": {"id": host.agent_id, "type": "filebeat", "name": host.name, "version": "9.1.4"},
        "ecs": {"version": "8.17.0"},
        "elastic_agent": {"id": host.agent_id, "snapshot": False, "version": "9.1.4"},
        "input": {"type": "winlog"},
        "log": {"level": "information"},
        "host": {
            "id": host.id,
            "name": host.name,
            "hostname": host.name,
            "architecture": "x86_64",
            "ip": [host.address, "::1"],
            "mac": [host.mac],
            "os": {
                "type": "windows",
                "family": "windows",
                "platform": "windows",
                "name": "Windows Server 2022 Standard",
                "version": "10.0",
                "build": "20348.2582",
                "kernel": "10.0.20348.2582",
            },
        },
    }


# --- the Security log ------------------------------------------------------------------------


def _security(
    machine: Machine,
    code: str,
    action: str,
    category: tuple[str, ...],
    types: tuple[str, ...],
    user: User,
    parts: Mapping[str, object],
    data: Mapping[str, str],
    success: bool = True,
) -> Document:
    return {
        "@timestamp": instant(machine.now, 3),
        **_beat(machine.host),
        "event": {
            "kind": "event",
            "module": "security",
            "provider": _AUDITING,
            "code": code,
            "action": action,
            "category": list(category),
            "type": list(types),
            "outcome": "success" if success else "failure",
            "created": instant(machine.now + 900_000_000, 3),
        },
        "winlog": {
            "api": "wineventlog",
            "channel": "Security",
            "computer_name": f"{machine.host.name}.example.com",
            "event_id": code,
            "record_id": machine.record_id(),
            "provider_name": _AUDITING,
            "provider_guid": "{54849625-5478-4994-a5ba-3e3b0328c30d}",
            "keywords": ["Audit Success" if success else "Audit Failure"],
            "opcode": "Info",
            "process": {"pid": 4, "thread": {"id": 8120}},
            "logon": {"id": "0x3e7"},
            "event_data": {
                "SubjectUserSid": user.id,
                "SubjectUserName": user.name,
                "SubjectDomainName": user.domain,
                "SubjectLogonId": "0x3e7",
                **data,
            },
        },
        **parts,
        "user": {"id": user.id, "name": user.name, "domain": user.domain},
        "log": {"level": "information"},
    }


def _security_process(process: Process) -> Document:
    document: Document = {
        "entity_id": process.entity_id,
        "pid": process.pid,
        "name": process.name,
        "executable": process.executable,
        "args": list(process.args),
        "args_count": len(process.args),
        "command_line": process.command_line,
    }
    if process.parent is not None:
        parent = process.parent
        document["parent"] = {"pid": parent.pid, "name": parent.name, "executable": parent.executable}
    return document


def _logon(machine: Machine, act: LoggedOn) -> Document:
    user = act.user
    return _security(
        machine,
        "4624" if act.success else "4625",
        "logged-in" if act.success else "logon-failed",
        ("authentication",),
        ("start",),
        user,
        {
            "source": {"ip": act.address, "port": machine.random.randrange(49_152, 65_000)},
            "related": {"ip": [act.address], "user": [user.name]},
        },
        {
            "TargetUserSid": user.id,
            "TargetUserName": user.name,
            "TargetDomainName": user.domain,
            "LogonType": "3",
            "LogonProcessName": "NtLmSsp",
            "AuthenticationPackageName": "NTLM",
            "IpAddress": act.address,
            "Status": "0x0" if act.success else "0xc000006d",
            "SubStatus": "0x0" if act.success else "0xc000006a",
        },
        act.success,
    )


@lru_cache(maxsize=4096)
def _beat(host: Host) -> Document:
    return {
        "@metadata": {"beat": "winlogbeat", "type": "_doc", "version": "8.19.4"},
        "agent": {
            "id": host.agent_id,
            "ephemeral_id": str(UUID(sha256_of(host.agent_id)[:32])),
            "type": "winlogbeat",
            "name": host.name.upper(),
            "version": "8.19.4",
        },
        "ecs": {"version": "8.0.0"},
        "host": {
            "id": host.id,
            "name": f"{host.name}.example.com",
            "hostname": host.name,
            "architecture": "x86_64",
            "ip": [host.address],
            "os": {
                "type": "windows",
                "family": "windows",
                "platform": "windows",
                "name": "Windows Server 2022 Datacenter",
                "version": "10.0",
                "build": "20348.2582",
            },
        },
    }

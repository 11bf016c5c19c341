"""Elastic Defend, on Linux and Windows.

It sends a document for nearly everything, complete at the source: who the host is, the process with
its parent and ancestry, on Linux also with the leaders of its group, session and entry. A program
started on Linux is two events, the fork (still with the parent's program) and the exec.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache

from detectord.demo.machines import (
    Act,
    Connected,
    Document,
    Ended,
    Forked,
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

_SIGNER = "Example Software Publisher"
_ANCESTORS = 4


def defend(machine: Machine, act: Act) -> Iterator[Document]:
    """The documents of one act."""
    match act:
        case Started(process, replaced):
            yield from _started(machine, process, replaced)
        case Forked(process):
            yield _forked(machine, process)
        case Ended(process, exit_code):
            yield _ended(machine, process, exit_code)
        case Connected():
            yield _connected(machine, act)
        case Resolved(process, name, address):
            yield from _resolved(machine, process, name, address)
        case Wrote(process, path, size):
            yield _wrote(machine, process, path, size)
        case RegistrySet(process, path, data):
            yield _registry(machine, process, path, data)
        case Loaded(process, path):
            yield _loaded(machine, process, path)
        case LoggedOn():
            yield _logged_on(machine, act)


# --- processes -------------------------------------------------------------------------------


def _started(machine: Machine, process: Process, replaced: bool) -> Iterator[Document]:
    if machine.host.system == "windows":
        yield _document(
            machine,
            "process",
            ("process",),
            ("start",),
            "start",
            process.user,
            {
                "process": _windows_process(process),
            },
        )
        return
    if not replaced and process.parent is not None:
        yield _forked(machine, _before_exec(process, process.parent))
    yield _document(
        machine,
        "process",
        ("process",),
        ("start",),
        "exec",
        process.user,
        {
            "process": _linux_process(process),
        },
    )


def _before_exec(process: Process, parent: Process) -> Process:
    """The new process while it still runs its parent's program."""
    return Process(
        process.pid,
        parent.executable,
        parent.args,
        parent.command_line,
        parent.user,
        parent.directory,
        process.start,
        process.entity_id,
        parent,
    )


def _forked(machine: Machine, process: Process) -> Document:
    return _document(
        machine,
        "process",
        ("process",),
        ("start",),
        "fork",
        process.user,
        {
            "process": {
                **_program(process),
                "parent": {
                    "entity_id": process.parent.entity_id,
                    "pid": process.parent.pid,
                    **_program(process.parent),
                }
                if process.parent
                else {},
                **{f"{kind}_leader": _short(process.leader) for kind in ("group", "session", "entry")},
                "Ext": {"ancestry": _ancestry(process)},
            },
        },
    )


def _ended(machine: Machine, process: Process, exit_code: int) -> Document:
    return _document(
        machine,
        "process",
        ("process",),
        ("end",),
        "end",
        process.user,
        {
            "process": {
                **_program(process),
                "exit_code": exit_code,
                **(
                    {"parent": {"entity_id": process.parent.entity_id, **_program(process.parent)}}
                    if process.parent
                    else {}
                ),
                "Ext": {"ancestry": _ancestry(process)},
            },
        },
    )


def _linux_process(process: Process) -> Document:
    parent = process.parent
    user = _user(process.user)
    document: Document = {
        **_program(process),
        "hash": {"sha256": sha256_of(process.executable)},
        "user": user,
        "real_user": user,
        "group": user,
        "real_group": user,
        "Ext": {"ancestry": _ancestry(process)},
        "group_leader": _leader(process.leader),
        "session_leader": _leader(process.leader),
        "entry_leader": {**_leader(process.leader), "entry_meta": {"type": "init"}},
    }
    if parent is not None:
        document["previous"] = [
            {"args": list(parent.args), "args_count": len(parent.args), "executable": parent.executable}
        ]
        document["parent"] = {**_program(parent), "user": _user(parent.user)}
    return document


def _windows_process(process: Process) -> Document:
    parent = process.parent
    document: Document = {
        **_program(process),
        "pe": {"original_file_name": process.name},
        "hash": {"sha256": sha256_of(process.executable)},
        "code_signature": _signature(),
        "Ext": {
            "ancestry": _ancestry(process),
            "code_signature": [_signature()],
            "authentication_id": "0x3e7" if process.user.id == "S-1-5-18" else "0x4f2b1",
            "token": {
                "integrity_level_name": "system" if process.user.id == "S-1-5-18" else "medium",
                "elevation_level": "default",
            },
            "session_info": {"id": 1, "logon_type": "Interactive", "authentication_package": "Negotiate"},
            "device": {"volume_device_type": "Disk File System"},
        },
    }
    if parent is not None:
        document["parent"] = {
            **_program(parent),
            "code_signature": _signature(),
            "Ext": {"code_signature": [_signature()], "real": {"pid": parent.pid}},
        }
    return document


def _program(process: Process) -> Document:
    return {
        "entity_id": process.entity_id,
        "pid": process.pid,
        "name": process.name,
        "executable": process.executable,
        "args": list(process.args),
        "args_count": len(process.args),
        "command_line": process.command_line,
        "start": instant(process.start, 3),
        "working_directory": process.directory,
    }


def _leader(process: Process) -> Document:
    user = _user(process.user)
    return {
        "entity_id": process.entity_id,
        "pid": process.pid,
        "name": process.name,
        "executable": process.executable,
        "args": list(process.args[:2]),
        "interactive": False,
        "start": instant(process.start, 3),
        "working_directory": process.directory,
        "user": user,
        "group": user,
    }


def _short(process: Process) -> Document:
    return {"entity_id": process.entity_id, "pid": process.pid, "name": process.name}


def _actor(machine: Machine, process: Process) -> Document:
    """The process in an event that is about something it did."""
    actor = {
        **_short(process),
        "executable": process.executable,
        "command_line": process.command_line,
        "Ext": {"ancestry": _ancestry(process)},
    }
    if process.parent is not None:
        actor["parent"] = {"entity_id": process.parent.entity_id}
    if machine.host.system == "windows":
        actor["code_signature"] = _signature()
    else:
        leader = {"entity_id": process.leader.entity_id}
        actor |= {"group_leader": leader, "session_leader": leader, "entry_leader": leader}
    return actor


def _ancestry(process: Process) -> list[str]:
    found: list[str] = []
    ancestor = process.parent
    while ancestor is not None and len(found) < _ANCESTORS:
        found.append(ancestor.entity_id)
        ancestor = ancestor.parent
    return found


# --- everything else -------------------------------------------------------------------------


def _connected(machine: Machine, act: Connected) -> Document:
    here, there = (machine.host.address, machine.random.randrange(32_768, 61_000)), (act.address, act.port)
    if act.incoming:
        here, there = (here[0], act.port), (there[0], here[1])
    local, remote = _end(*here), _end(*there)
    return _document(
        machine,
        "network",
        ("network",),
        ("start",),
        "connection_accepted" if act.incoming else "connection_attempted",
        act.process.user,
        {
            "process": _actor(machine, act.process),
            "source": remote if act.incoming else local,
            "destination": local if act.incoming else remote,
            "network": {
                "direction": "ingress" if act.incoming else "egress",
                "transport": "tcp",
                "type": "ipv6" if ":" in act.address else "ipv4",
            },
        },
    )


def _end(address: str, port: int) -> Document:
    return {"address": address, "ip": address, "port": port}


def _resolved(machine: Machine, process: Process, name: str, address: str) -> Iterator[Document]:
    for action, answer in (
        ("lookup_requested", {}),
        ("lookup_result", {"answers": [{"data": address, "type": "A"}], "resolved_ip": [address]}),
    ):
        yield _document(
            machine,
            "network",
            ("network",),
            ("connection", "protocol"),
            action,
            process.user,
            {
                "process": _actor(machine, process),
                "dns": {"question": {"name": name, "type": "A"}, "Ext": {"options": "1073766400"}, **answer},
                "network": {"protocol": "dns"},
                "destination": {"port": 53},
            },
        )


def _wrote(machine: Machine, process: Process, path: str, size: int) -> Document:
    name = path.replace("\\", "/").rpartition("/")[2]
    extension = name.rpartition(".")[2] if "." in name else ""
    file: Document = {"path": path, "name": name, "size": size}
    if extension:
        file["extension"] = extension
    file["Ext"] = {"entropy": round(3 + machine.random.random() * 4, 2), "header_bytes": sha256_of(path)[:32]}
    return _document(
        machine,
        "file",
        ("file",),
        ("creation",),
        "creation",
        process.user,
        {
            "process": _actor(machine, process),
            "file": file,
        },
    )


def _registry(machine: Machine, process: Process, path: str, data: str) -> Document:
    hive, _, rest = path.partition("\\")
    key, _, value = rest.rpartition("\\")
    return _document(
        machine,
        "registry",
        ("registry",),
        ("change",),
        "modification",
        process.user,
        {
            "process": _actor(machine, process),
            "registry": {
                "hive": hive,
                "key": key,
                "value": value,
                "path": path,
                "data": {"type": "REG_SZ", "strings": [data]},
            },
        },
    )


def _loaded(machine: Machine, process: Process, path: str) -> Document:
    name = path.replace("\\", "/").rpartition("/")[2]
    return _document(
        machine,
        "library",
        ("library",),
        ("start",),
        "load",
        process.user,
        {
            "process": _actor(machine, process),
            "dll": {
                "path": path,
                "name": name,
                "pe": {"original_file_name": name},
                "hash": {"sha256": sha256_of(path)},
                "code_signature": _signature(),
                "Ext": {"relative_file_creation_time": 91_234_567.1, "load_index": 1},
            },
        },
    )


def _logged_on(machine: Machine, act: LoggedOn) -> Document:
    linux = machine.host.system == "linux"
    document = _document(
        machine,
        "security",
        ("authentication", "session"),
        ("start",),
        "ssh_login" if linux else "log_on",
        act.user,
        {
            "process": _actor(machine, act.by),
            "source": {"address": act.address, "ip": act.address},
            "related": {"user": [act.user.name], "ip": [act.address]},
        },
    )
    document["event"]["outcome"] = "success" if act.success else "failure"
    return document


# --- parts -----------------------------------------------------------------------------------


def _document(
    machine: Machine,
    dataset: str,
    category: tuple[str, ...],
    types: tuple[str, ...],
    action: str,
    user: User,
    parts: Mapping[str, object],
) -> Document:
    at = instant(machine.now, 7 if machine.host.system == "windows" else 6)
    dataset = f"endpoint.events.{dataset}"
    return {
        "@timestamp": at,
        **_sender(machine.host),
        "data_stream": {"type": "logs", "dataset": dataset, "namespace": "default"},
        "event": {
            "kind": "event",
            "module": "endpoint",
            "dataset": dataset,
            "category": list(category),
            "type": list(types),
            "action": action,
            "id": machine.event_id(),
            "sequence": machine.sequence(),
            "created": at,
            "outcome": "unknown",
        },
        "message": f"Endpoint {category[0]} event",
        **parts,
        **_account(machine.host, user),
    }


@lru_cache(maxsize=4096)
def _sender(host: Host) -> Document:
    """The agent and the host, as in every event of theirs."""
    return {
        "agent": {"id": host.agent_id, "type": "endpoint", "version": "9.1.4"},
        "ecs": {"version": "8.10.0"},
        "elastic": {"agent": {"id": host.agent_id}},
        "host": {
            "id": host.id,
            "name": host.name if host.system == "windows" else f"{host.name}.example.com",
            "hostname": host.name,
            "architecture": "x86_64",
            "ip": [host.address, "127.0.0.1", "::1"],
            "mac": [host.mac],
            "os": _WINDOWS if host.system == "windows" else _LINUX,
        },
    }


_LINUX: Document = {
    "type": "linux",
    "family": "ubuntu",
    "platform": "ubuntu",
    "name": "Linux",
    "version": "24.04.3",
    "full": "Ubuntu 24.04.3",
    "kernel": "6.8.0-79-generic #79-Ubuntu SMP",
    "Ext": {"variant": "Ubuntu"},
}
_WINDOWS: Document = {
    "type": "windows",
    "family": "windows",
    "platform": "windows",
    "name": "Windows",
    "version": "24H2 (10.0.26100.4652)",
    "full": "Windows 11 Enterprise 24H2 (10.0.26100.4652)",
    "kernel": "24H2 (10.0.26100.4652)",
    "Ext": {"variant": "Windows 11 Enterprise"},
}


def _account(host: Host, user: User) -> Document:
    if host.system == "windows":
        return {"user": {"id": user.id, "name": user.name, "domain": user.domain}}
    return {"user": _user(user), "group": _user(user)}


def _user(user: User) -> Document:
    return {"id": user.id, "name": user.name}


def _signature() -> Document:
    return {"exists": True, "trusted": True, "status": "trusted", "subject_name": _SIGNER}

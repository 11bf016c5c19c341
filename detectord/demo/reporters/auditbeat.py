"""auditbeat's auditd module on Linux: system calls. One event a program started; no forks, no names
looked up, nothing that would name an event but its place in the topic."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from uuid import UUID

from detectord.demo.machines import (
    Act,
    Connected,
    Document,
    Host,
    LoggedOn,
    Machine,
    Process,
    Started,
    User,
    Wrote,
    instant,
    sha256_of,
)


def auditbeat(machine: Machine, act: Act) -> Iterator[Document]:
    """The documents of one act."""
    match act:
        case Started(process):
            yield _audited(
                machine,
                process.user,
                process,
                ("process",),
                ("start",),
                "executed",
                "execve",
                {
                    "primary": process.executable,
                    "type": "process",
                },
            )
        case Connected():
            yield _connected(machine, act)
        case Wrote(process, path):
            document = _audited(
                machine,
                process.user,
                process,
                ("file",),
                ("creation",),
                "opened-file",
                "openat",
                {
                    "primary": path,
                    "type": "file",
                },
            )
            yield {
                **document,
                "file": {"path": path, "mode": "0644", "uid": "0", "gid": "0", "owner": "root"},
            }
        case LoggedOn(user, address, by, success):
            yield _logged_on(machine, user, address, by, success)
        case _:
            return


def _connected(machine: Machine, act: Connected) -> Document:
    action, call = ("accepted-connection-from", "accept4") if act.incoming else ("connected-to", "connect")
    document = _audited(
        machine,
        act.process.user,
        act.process,
        ("network",),
        ("connection", "start"),
        action,
        call,
        {"primary": act.address, "secondary": str(act.port), "type": "socket"},
    )
    end = {"ip": act.address, "port": act.port}
    direction = "ingress" if act.incoming else "egress"
    return {
        **document,
        ("source" if act.incoming else "destination"): end,
        "network": {"direction": direction, "type": "ipv4"},
        "related": {"ip": [act.address], "user": [act.process.user.name]},
    }


def _logged_on(machine: Machine, user: User, address: str, by: Process, success: bool) -> Document:
    document = _audited(
        machine,
        user,
        by,
        ("authentication",),
        ("start", "info"),
        "logged-in",
        "sendto",
        {"primary": "ssh", "secondary": address, "type": "user-session"},
        message_type="user_login",
        success=success,
    )
    return {
        **document,
        "source": {"ip": address},
        "related": {"ip": [address], "user": [user.name]},
    }


def _audited(
    machine: Machine,
    user: User,
    process: Process,
    category: tuple[str, ...],
    types: tuple[str, ...],
    action: str,
    call: str,
    about: Mapping[str, str],
    *,
    message_type: str = "syscall",
    success: bool = True,
) -> Document:
    outcome = "success" if success else "fail"
    return {
        "@timestamp": instant(machine.now, 3),
        **_beat(machine.host),
        "event": {
            "kind": "event",
            "module": "auditd",
            "action": action,
            "category": list(category),
            "type": list(types),
            "outcome": "success" if success else "failure",
            "sequence": machine.sequence(),
        },
        "service": {"type": "auditd"},
        "process": {
            "entity_id": process.entity_id,
            "pid": process.pid,
            "name": process.name,
            "executable": process.executable,
            "args": list(process.args),
            "title": process.command_line,
            "working_directory": process.directory,
            **({"parent": {"pid": process.parent.pid}} if process.parent else {}),
        },
        "user": {
            "id": user.id,
            "name": user.name,
            "group": {"id": user.id, "name": user.name},
            "effective": {"id": process.user.id, "name": process.user.name},
            "saved": {"id": process.user.id, "name": process.user.name},
            "filesystem": {"id": process.user.id, "name": process.user.name},
        },
        "auditd": {
            "message_type": message_type,
            "result": outcome,
            "session": "unset",
            "data": {
                "syscall": call,
                "arch": "x86_64",
                "tty": "(none)",
                "a0": hex(0x558E_2516_0000 + machine.random.randrange(1 << 16)),
                "a1": hex(0x7FFC_0000_0000 + machine.random.randrange(1 << 16)),
                "a2": "0",
                "exit": "0" if success else "-13",
                "argc": str(len(process.args)),
            },
            "summary": {
                "actor": {"primary": "unset", "secondary": user.name},
                "how": process.executable,
                "object": dict(about),
            },
        },
    }


@lru_cache(maxsize=4096)
def _beat(host: Host) -> Document:
    return {
        "@metadata": {"beat": "auditbeat", "type": "_doc", "version": "8.19.4"},
        "agent": {
            "id": host.agent_id,
            "ephemeral_id": str(UUID(sha256_of(host.agent_id)[:32])),
            "type": "auditbeat",
            "name": host.name,
            "version": "8.19.4",
        },
        "ecs": {"version": "8.0.0"},
        "host": {
            "id": host.id,
            "name": host.name,
            "hostname": host.name,
            "architecture": "x86_64",
            "ip": [host.address],
            "mac": [host.mac],
            "os": {
                "type": "linux",
                "family": "debian",
                "platform": "debian",
                "name": "Debian GNU/Linux",
                "version": "12 (bookworm)",
                "kernel": "6.1.0-38-amd64",
                "codename": "bookworm",
            },
            "containerized": False,
        },
    }

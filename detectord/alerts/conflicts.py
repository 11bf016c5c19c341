"""Values that an ECS index would refuse: an object where ECS has a scalar, or a scalar for an object.

One such value would make Elasticsearch reject the whole alert, so it is taken out, arrays element by
element, and counted. Only the fields below that nearly every rule shows are looked at; a name that
ECS does not know is kept unchecked, with everything under it.
"""

from __future__ import annotations

from typing import Any

Fields = dict[str, Any]
Shape = dict[str, "Shape | None"]
"""What ECS has below a field: None for a scalar, a Shape for an object."""


def _scalars(names: str) -> Shape:
    return dict.fromkeys(names.split())


_HASH = _scalars("cdhash md5 sha1 sha256 sha384 sha512 ssdeep tlsh")
_SIGNATURE = _scalars(
    """
    digest_algorithm exists flags signing_id status subject_name team_id thumbprint_sha256 timestamp
    trusted valid
    """
)
_PE = _scalars(
    """
    architecture company description file_version go_import_hash go_imports_names_entropy imphash
    import_hash imports_names_entropy original_file_name pehash product
    """
)
_ELF: Shape = {
    **_scalars(
        """
        architecture byte_order cpu_type creation_date go_import_hash import_hash telfhash
        """
    ),
    "header": _scalars("abi_version class data entrypoint object_version os_abi type version"),
}
_MACHO = _scalars("go_import_hash go_stripped import_hash symhash")
_OS = _scalars("family full kernel name platform type version")
_GEO = _scalars(
    """
    city_name continent_code continent_name country_iso_code country_name name postal_code
    region_iso_code region_name timezone
    """
)
_GROUP = _scalars("domain id name")
_RISK = _scalars(
    """
    calculated_level calculated_score calculated_score_norm static_level static_score static_score_norm
    """
)

_ACCOUNT: Shape = {**_scalars("domain email full_name hash id name roles"), "group": _GROUP, "risk": _RISK}
_USER: Shape = {**_ACCOUNT, "changes": _ACCOUNT, "effective": _ACCOUNT, "target": _ACCOUNT}

_PROCESS: Shape = {
    **_scalars(
        """
        args args_count command_line end entity_id env_vars executable exit_code interactive name
        origin_referrer_url origin_url pgid pid ppid same_as_process start title uptime vpid
        working_directory
        """
    ),
    "code_signature": _SIGNATURE,
    "elf": _ELF,
    "entry_meta": {"type": None, "source": {**_scalars("address domain ip port"), "geo": _GEO}},
    "group": _GROUP,
    "hash": _HASH,
    "io": {
        **_scalars(
            """
        max_bytes_per_process_exceeded text total_bytes_captured total_bytes_skipped type
        """
        )
    },
    "macho": _MACHO,
    "pe": _PE,
    "real_group": _GROUP,
    "real_user": _ACCOUNT,
    "saved_group": _GROUP,
    "saved_user": _ACCOUNT,
    "supplemental_groups": _GROUP,
    "thread": {**_scalars("id name"), "capabilities": _scalars("effective permitted")},
    "tty": {"char_device": _scalars("major minor"), "columns": None, "rows": None},
    "user": _ACCOUNT,
}
# A parent, a leader or an earlier image is a process again, to any depth.
_PROCESS |= dict.fromkeys(("entry_leader", "group_leader", "parent", "previous", "session_leader"), _PROCESS)

_FILE: Shape = {
    **_scalars(
        """
        accessed attributes created ctime device directory drive_letter extension fork_name gid group
        inode mime_type mode mtime name owner path size target_path type uid
        """
    ),
    "code_signature": _SIGNATURE,
    "elf": _ELF,
    "hash": _HASH,
    "macho": _MACHO,
    "pe": _PE,
}
_HOST: Shape = {
    **_scalars("architecture domain hostname id ip mac name pid_ns_ino type uptime"),
    "boot": _scalars("id"),
    "cpu": _scalars("usage"),
    "disk": {"read": _scalars("bytes"), "write": _scalars("bytes")},
    "geo": _GEO,
    "network": {"egress": _scalars("bytes packets"), "ingress": _scalars("bytes packets")},
    "os": _OS,
    "risk": _RISK,
}
_EVENT: Shape = _scalars(
    """
    action agent_id_status category code created dataset duration end hash id ingested kind module
    original outcome provider reason reference risk_score risk_score_norm sequence severity start
    timezone type url
    """
)
_ENDPOINT: Shape = {
    **_scalars(
        """
        address bytes domain ip mac packets port registered_domain subdomain top_level_domain
        """
    ),
    "as": {"number": None, "organization": _scalars("name")},
    "geo": _GEO,
    "nat": _scalars("ip port"),
    "user": _ACCOUNT,
}
ECS: Shape = {
    "host": _HOST,
    "user": _USER,
    "process": _PROCESS,
    "file": _FILE,
    "event": _EVENT,
    "source": _ENDPOINT,
    "destination": _ENDPOINT,
}


def remove_conflicts(fields: Fields) -> int:
    """Take the values out of `fields` that contradict ECS, and what that leaves empty; return how many
    values went."""
    return _conform(fields, ECS)


def _conform(fields: Fields, shape: Shape) -> int:
    removed = 0
    for name in shape.keys() & fields.keys():
        value, below = fields[name], shape[name]
        if below is None and not isinstance(value, (dict, list)):
            continue  # nearly every field of nearly every event
        here, left = _checked(value, below)
        if here and left in (None, [], {}):
            del fields[name]
        elif here:
            fields[name] = left
        removed += here
    return removed


def _checked(value: Any, shape: Shape | None) -> tuple[int, Any]:
    """How many values went, and what is left (None: nothing)."""
    if isinstance(value, list):
        checked = [_checked(item, shape) for item in value]
        kept = [left for gone, left in checked if not gone or left not in (None, [], {})]
        return sum(gone for gone, _ in checked), kept
    if value is None or isinstance(value, dict) != (shape is not None):
        return (0 if value is None else 1), None
    if shape is None:
        return 0, value
    return _conform(value, shape), value

"""The files of a load: which ones hold rules, and what is in them.

Names that begin with a dot and files that end in `.test.toml` hold no rules. A directory is walked to its
bottom, in the order of names.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from detectord.eql.source import Source
from detectord.rules.contents import DOCUMENTS, LINES
from detectord.rules.findings import Finding, RuleCode, finding

FORMATS = frozenset((".toml", *LINES, *DOCUMENTS))
"""The endings of rule files."""
LEDGER = "import-ledger.json"
"""What `detectord import` leaves beside the rules it writes; it holds none."""


def is_rule_file(name: str) -> bool:
    """True for a file name under which a directory may hold a rule."""
    return name.endswith(".toml") and not name.endswith(".test.toml") and not name.startswith(".")


def rule_files(path: Path) -> Iterator[Path | tuple[str, Finding]]:
    """The files to read below `path`, and what is in the way of finding them: its name and a finding."""
    if not path.is_dir():
        yield from () if path.name.endswith(".test.toml") else (path,)
        return
    waiting: list[tuple[Path, tuple[str, ...]]] = [(path, ())]
    while waiting:
        directory, above = waiting.pop()
        here = os.path.realpath(directory)
        names, error = (
            _listed(directory) if here not in above else ([], "a symbolic link to a directory above it")
        )
        if error:
            yield shown(directory), _unreadable(directory, error)
        below = [directory / name for name in names if not name.startswith(".")]
        yield from (file for file in below if _holds_rules(file))
        waiting.extend((each, (*above, here)) for each in reversed(below) if each.is_dir())


def is_in_exceptions(root: Path, file: Path) -> bool:
    """True for a file in a directory called `exceptions`, at or below the path that was given."""
    parts = (root.name if root != file else file.parent.name, *file.relative_to(root).parent.parts)
    return "exceptions" in parts


def _listed(directory: Path) -> tuple[list[str], str]:
    """The names in a directory, in order; or why it cannot be read."""
    try:
        return sorted(os.listdir(directory)), ""
    except OSError as error:
        return [], error.strerror or str(error)


def _holds_rules(file: Path) -> bool:
    known = is_rule_file(file.name) or (file.suffix in LINES | DOCUMENTS and file.name != LEDGER)
    return known and not file.is_dir()


def bytes_of(file: Path, limit: int) -> bytes | Finding:
    """The file's bytes, one more than `limit` at most; or why it cannot be read."""
    try:
        with open(file, "rb", opener=_open_regular) as stream:
            return stream.read(limit + 1)
    except OSError as error:
        return _unreadable(file, error.strerror or str(error))


def shown(path: Path) -> str:
    """A path as text; bytes of it that are not UTF-8 are replaced."""
    return os.fsencode(path).decode("utf-8", "replace")


def _open_regular(path: str, flags: int) -> int:
    """Open a regular file only: reading a pipe or a device could wait for ever."""
    descriptor = os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(0, "not a regular file")
    return descriptor


def _unreadable(path: Path, error: str) -> Finding:
    return finding(RuleCode.UNREADABLE, {"error": error}, Source("", shown(path)))

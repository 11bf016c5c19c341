"""What a run of the bench found: lines with a value and, where measured against something, a ratio."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path

import msgspec
from rich.table import Table

from detectord import __version__

ROOT = Path(__file__).parents[2]
RESULTS = Path(__file__).parent / "results"


class Line(msgspec.Struct, frozen=True):
    """One figure. `ratio`: how it stands to what `against` names, more being better unless the page says
    otherwise; None where the figure stands for itself."""

    name: str
    value: float
    unit: str
    against: str | None = None
    ratio: float | None = None


class Results(msgspec.Struct, frozen=True):
    """A whole run. `machine` says on what, how busy it was, and how much was done; `versions` of what."""

    machine: dict[str, str | int]
    versions: dict[str, str]
    commit: str
    lines: list[Line]

    def save(self, file: Path) -> None:
        """Write the run as JSON."""
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n")


def results_of(lines: Iterable[Line], scale: str) -> Results:
    """The lines with what is to be known about where they come from. `scale`: its name."""
    packages = ("msgspec", "google-re2", "confluent-kafka", "eql")
    return Results(
        {
            "cpu": _cpu(),
            "cores": os.cpu_count() or 0,
            "system": platform.system(),
            "load": _load(),
            "scale": scale,
        },
        {
            "detectord": __version__,
            "python": platform.python_version(),
            **{package: found for package in packages if (found := _version(package))},
        },
        _commit(),
        [_rounded(line) for line in lines],
    )


def table_of(results: Results) -> Table:
    """The lines for a person."""
    table = Table(title=f"detectord {results.versions['detectord']} {results.commit}")
    for heading in ("line", "value", "unit", "ratio", "to"):
        table.add_column(heading, justify="right" if heading in ("value", "ratio") else "left")
    for line in results.lines:
        ratio = "" if line.ratio is None else f"{line.ratio:,.3g}"
        table.add_row(line.name, f"{line.value:,.4g}", line.unit, ratio, line.against or "")
    return table


def _rounded(line: Line) -> Line:
    """Four digits are more than such a measurement knows."""
    ratio = None if line.ratio is None else float(f"{line.ratio:.4g}")
    return msgspec.structs.replace(line, value=float(f"{line.value:.4g}"), ratio=ratio)


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _load() -> str:
    """What else the machine was doing when the run ended."""
    return ", ".join(f"{average:.1f}" for average in os.getloadavg())


def _version(package: str) -> str:
    try:
        return version(package)
    except ModuleNotFoundError:
        return ""


def _commit() -> str:
    command = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return told.stdout.strip() or "unknown"

"""Running a module of the bench in a process of its own, so that memory and CPU are its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import msgspec

from bench.results import ROOT


def run_apart(module: str, *arguments: str) -> dict[str, float]:
    """The figures that `python -m MODULE ARGUMENTS` prints as JSON.

    Raises:
        RuntimeError: it failed; the message is what it said.
    """
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    told = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    if told.returncode:
        raise RuntimeError(f"{module} ended with {told.returncode}:\n{told.stderr[-4_000:]}")
    return msgspec.json.decode(told.stdout.splitlines()[-1], type=dict[str, float])

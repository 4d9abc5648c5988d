"""Where a result comes from: the machine, the code, and the day."""

from __future__ import annotations

import platform
import subprocess
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from flwr_byzantine.kernels.compiled import choice
from flwr_byzantine.lab.kept import Record
from flwr_byzantine.lab.simulation import cores

CPUINFO = Path("/proc/cpuinfo")
REPOSITORY = Path(__file__).parents[2]


def provenance() -> Record:
    """Return the processor, its cores, the kernels chosen for it, the commit, and the date in UTC."""
    return {
        "processor": processor(),
        "cores": cores(),
        "kernels": choice().name,
        "commit": commit(),
        "date": datetime.now(UTC).date().isoformat(),
    }


def processor(cpuinfo: Path = CPUINFO) -> str:
    """Return the processor's name, or its architecture if the machine does not say the name."""
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, "") or platform.machine()


@cache
def commit(repository: Path = REPOSITORY) -> str | None:
    """Return the commit of the code, with ``-dirty`` if files were changed since; None outside Git.

    It is read once in a process, because the process does not run later commits.
    """
    asked = ["git", "describe", "--always", "--dirty", "--exclude=*", "--abbrev=12"]
    try:
        told = subprocess.run(
            asked, cwd=repository, capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return told.stdout.strip() or None

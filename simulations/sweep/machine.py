"""How many federations this machine can run at once."""

from __future__ import annotations

import sys
from pathlib import Path

from flwr_byzantine.lab.simulation import cores

MEMORY_PER_JOB = 3 * 2**30  # bytes: a process with CIFAR-10 and all clients' updates


def default_jobs() -> int:
    """Return how many federations fit this machine at once, by its cores and its memory."""
    return max(1, min(cores(), (available_memory() or sys.maxsize) // MEMORY_PER_JOB))


def available_memory(
    meminfo: Path = Path("/proc/meminfo"), cgroup: Path = Path("/sys/fs/cgroup")
) -> int | None:
    """Return how many more bytes programs may use. In a container its limit counts, too.

    None if the machine does not say (macOS).
    """
    found = []
    if meminfo.exists():
        lines = dict(line.split(":", 1) for line in meminfo.read_text().splitlines())
        found.append(1024 * int(lines["MemAvailable"].split()[0]))
    limit = cgroup / "memory.max"
    if limit.exists() and (most := limit.read_text().strip()) != "max":
        found.append(max(0, int(most) - int((cgroup / "memory.current").read_text())))
    return min(found, default=None)

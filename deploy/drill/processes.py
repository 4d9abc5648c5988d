"""Processes of the drill. Each can be ended with all that it started."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

GRACE = 15.0  # seconds from SIGTERM to SIGKILL


class DrillError(RuntimeError):
    """Something went wrong in the drill."""


class Process:
    """A program that runs until it is stopped. Its output goes to a file.

    Parameters
    ----------
    command : sequence of str
        The program and its arguments.
    env : mapping
        Its whole environment.
    log : Path
        A file to append to.
    """

    def __init__(self, command: Sequence[str], env: Mapping[str, str], log: Path) -> None:
        self.log = log
        self._started: dict[int, str] = {}
        with log.open("ab") as file:
            self._popen = subprocess.Popen(
                command,
                env=dict(env),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def running(self) -> bool:
        """Whether it still runs. The system keeps its process number until it is stopped."""
        if self._popen.returncode is not None:
            return False
        flags = os.WEXITED | os.WNOHANG | os.WNOWAIT
        return os.waitid(os.P_PID, self._popen.pid, flags) is None

    def terminate(self) -> None:
        """Ask the program to end, as an operator does. What it started has to notice this by itself."""
        self._signal_group(signal.SIGCONT)
        if self.running:
            self._started |= descendants(self._popen.pid)
            os.kill(self._popen.pid, signal.SIGTERM)

    def stop(self) -> None:
        """End it and all that it started, and use force after a while."""
        self.terminate()
        end = time.monotonic() + GRACE
        while self.running and time.monotonic() < end:
            time.sleep(0.1)
        self.kill()
        self._kill_other_groups()

    def kill(self) -> None:
        """End it and all that it started without a warning, as a power failure does."""
        self._signal_group(signal.SIGKILL)
        self._popen.wait()

    def freeze(self) -> None:
        """Freeze it and all that it started, with their connections open."""
        self._signal_group(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self._signal_group(signal.SIGCONT)

    def _signal_group(self, number: int) -> None:
        if self._popen.returncode is None:  # its number is its own until it has been waited for
            os.killpg(self._popen.pid, number)

    def _kill_other_groups(self) -> None:
        """End what it started in other groups. Flower's ServerApp never stops calling a dead SuperLink."""
        left = processes()
        for pid, since in self._started.items():
            if pid in left and left[pid][1] == since:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        self._started.clear()

    def tail(self, lines: int = 15) -> str:
        """The last lines it printed."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


def processes() -> dict[int, tuple[int, str]]:
    """All processes that run: number -> the parent's number, and when it started. Empty without /proc."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it ended meanwhile
            after_name = path.read_text(errors="replace").rpartition(")")[2].split()
            found[int(path.parent.name)] = int(after_name[1]), after_name[19]
    return found


def descendants(pid: int) -> dict[int, str]:
    """What a process started, and what these started: number -> when it started."""
    running = processes()
    found: dict[int, str] = {}
    parents = {pid}
    while parents:
        parents = {child for child, (parent, _) in running.items() if parent in parents}
        found |= {child: running[child][1] for child in parents}
    return found


def wait_until(
    condition: Callable[[], object], what: str, patience: float, pause: float = 0.3
) -> None:
    """Wait for a condition. Raise DrillError after ``patience`` seconds."""
    end = time.monotonic() + patience
    while not condition():
        if time.monotonic() > end:
            raise DrillError(f"waited {patience:.0f} s in vain until {what}")
        time.sleep(pause)

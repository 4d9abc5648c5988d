"""The records of a run: in memory, and in a file of one JSON object a line."""

import os
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from flwr_byzantine.audit.records import AuditRecord

MAX_RECORDS = 100_000


class Audit:
    """The records of a run: the newest in memory, all of them in a file where one is given.

    Parameters
    ----------
    path : str, Path or None
        A file to append to: one JSON object for each client and round, safely on disk when the
        round ends. Use one file a run; a run that is resumed goes on with its own.

    Raises
    ------
    ValueError
        If the file cannot be written.
    """

    def __init__(self, path: str | os.PathLike[str] | None = None) -> None:
        self.path = None if path is None else Path(path)
        self._rounds: deque[Sequence[AuditRecord]] = deque()
        self._count = 0
        self._lock = threading.Lock()
        try:
            self._write([])
        except OSError as error:
            raise ValueError(
                "Parameter `audit_log` should be a file that can be written. "
                f"Found `audit_log = {str(path)!r}`: {error}. Create its folder first."
            ) from error

    def __getstate__(self) -> dict[str, Any]:
        """What copies and pickles hold: all but the lock."""
        return {name: value for name, value in vars(self).items() if name != "_lock"}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        """Be as the original was; both append to the same file."""
        vars(self).update(state)
        self._lock = threading.Lock()

    @property
    def records(self) -> tuple[AuditRecord, ...]:
        """The newest records, oldest first: whole rounds, ``MAX_RECORDS`` records at most."""
        with self._lock:
            return tuple(record for records in self._rounds for record in records)

    def add(self, records: Sequence[AuditRecord]) -> None:
        """Append the records of one round; they are on disk when this returns."""
        with self._lock:
            self._rounds.append(records)
            self._count += len(records)
            while self._count > MAX_RECORDS and len(self._rounds) > 1:
                self._count -= len(self._rounds.popleft())
            self._write(records)

    def _write(self, records: Sequence[AuditRecord]) -> None:
        if self.path is None:
            return
        text = "".join(record.to_json() + "\n" for record in records)
        with self.path.open("ab+") as file:
            file.write((_torn_end(file) + text).encode())
            file.flush()
            os.fsync(file.fileno())


def _torn_end(file: Any) -> str:
    """A line break, where the file ends in the middle of a line for want of one."""
    if file.seek(0, os.SEEK_END) == 0:
        return ""
    file.seek(-1, os.SEEK_END)
    return "" if file.read(1) == b"\n" else "\n"


def read_audit(path: str | os.PathLike[str]) -> tuple[list[AuditRecord], int]:
    """Read an audit log.

    Parameters
    ----------
    path : str or Path
        A file that ``audit_log`` named.

    Returns
    -------
    tuple[list[AuditRecord], int]
        The records, and the number of lines that are none: a process killed in the middle of a line
        leaves one. Of a round that was repeated after a crash, the last records count.
    """
    records: dict[tuple[int, str], AuditRecord] = {}
    unreadable = 0
    with Path(path).open(encoding="utf-8", errors="replace") as file:
        for line in file:
            try:
                record = AuditRecord.from_json(line)
            except (ValueError, RecursionError):
                unreadable += 1
                continue
            records[record.round, record.client] = record
    return list(records.values()), unreadable

"""The records of a run, in memory and in a file with one JSON object in each line."""

import math
import os
import secrets
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import replace
from logging import ERROR
from pathlib import Path
from typing import Any

from flwr_byzantine.audit.records import AuditRecord
from flwr_byzantine.checks import require, wrong

MAX_RECORDS = 100_000
_ADVICE = "Create its folder first, or name another file."


class Audit:
    """The records of a run: the newest in memory, and all of them in a file if one is given.

    Parameters
    ----------
    path : str, Path or None
        A file to append to. It gets one JSON object for each client and round, which is safely on disk when
        the round ends. Use one file for each run. A resumed run goes on with its own file.

    Raises
    ------
    ValueError
        If the file cannot be written.
    """

    def __init__(self, path: str | os.PathLike[str] | None = None) -> None:
        text = path is None or (isinstance(path, str | os.PathLike) and "\0" not in os.fspath(path))
        require(text, "audit_log", "the name of a file", path, _ADVICE)
        self.path = None if path is None else Path(path)
        self._rounds: deque[Sequence[AuditRecord]] = deque()
        self._count = 0
        self._lock = threading.Lock()
        try:
            self._write([])
        except OSError as error:
            found = f"`audit_log = {str(path)!r}`: {error}"
            expected = "a file that can be written"
            raise wrong("audit_log", expected, path, _ADVICE, found=found) from error
        self.begin()

    def begin(self) -> None:
        """Give each start of a run a new id.

        The first round of a start replaces the same round and all later rounds of an earlier start.
        """
        self.run_id = secrets.token_hex(8)
        self._first = True

    def __getstate__(self) -> dict[str, Any]:
        """The state for copies and pickles: everything except the lock."""
        return {name: value for name, value in vars(self).items() if name != "_lock"}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        """Take over the state of the original. Both append to the same file."""
        vars(self).update(state)
        self._lock = threading.Lock()

    @property
    def records(self) -> tuple[AuditRecord, ...]:
        """The newest records, oldest first. Rounds are complete, and there are at most ``MAX_RECORDS``."""
        with self._lock:
            return tuple(record for records in self._rounds for record in records)

    def add(self, records: Sequence[AuditRecord]) -> None:
        """Append the records of one round. They are on disk when this returns.

        If the file cannot be written, such as on a full disk, the log says so with an ERROR, and the run
        goes on.
        """
        with self._lock:
            records = [replace(record, run_id=self.run_id) for record in records]
            if self._first and records:
                self._first = False
                begins = min(record.round for record in records)
                kept = [r for r in self._rounds if not r or r[0].round < begins]
                self._rounds, self._count = deque(kept), sum(map(len, kept))
            self._rounds.append(records)
            self._count += len(records)
            while self._count > MAX_RECORDS and len(self._rounds) > 1:
                self._count -= len(self._rounds.popleft())
            try:
                self._write(records)
            except OSError as error:
                from flwr.common.logger import log  # the audit log can be read without Flower

                text = "The audit log %s could not take the %s records of this round: %s. The run goes on"
                log(ERROR, text, self.path, len(records), error)

    def _write(self, records: Sequence[AuditRecord]) -> None:
        if self.path is None:
            return
        text = "".join(record.to_json() + "\n" for record in records)
        if records:  # if the file was moved away with its folder, begin a new one
            self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("ab+") as file:
            file.write((_torn_end(file) + text).encode())
            file.flush()
            os.fsync(file.fileno())


def _torn_end(file: Any) -> str:
    """A line break if the file ends in the middle of a line; else nothing."""
    if file.seek(0, os.SEEK_END) == 0:
        return ""
    file.seek(-1, os.SEEK_END)
    return "" if file.read(1) == b"\n" else "\n"


def read_audit(path: str | os.PathLike[str]) -> tuple[list[AuditRecord], int]:
    """Read an audit log.

    Parameters
    ----------
    path : str or Path
        The file that ``audit_log`` names.

    Returns
    -------
    tuple[list[AuditRecord], int]
        The records, and the number of lines that hold no record. (A process that is killed while it writes
        leaves such a line.) Each start of a run has its own ``run_id``. The first round of a start replaces
        the same round and all later rounds that were written before. So a round that was repeated after a
        crash counts once, with the replies of one start.
    """
    records, unreadable = read_lines(path)
    return without_repeated(records), unreadable


def read_lines(path: str | os.PathLike[str]) -> tuple[list[AuditRecord], int]:
    """All records of a file, also those of repeated rounds, and the number of other lines."""
    records: dict[tuple[str | None, int, str], AuditRecord] = {}
    unreadable = 0
    with Path(path).open(encoding="utf-8", errors="replace") as file:
        for line in file:
            try:
                record = AuditRecord.from_json(line)
            except (ValueError, RecursionError):
                unreadable += 1
                continue
            records[record.run_id, record.round, record.client] = record
    return list(records.values()), unreadable


def without_repeated(records: Sequence[AuditRecord]) -> list[AuditRecord]:
    """For each round, the records of the last start that made it. See :func:`read_audit`."""
    begins: dict[str | None, int] = {}  # in the order of the starts
    for record in records:
        begins.setdefault(record.run_id, record.round)
    ends: dict[str | None, float] = {}
    end = math.inf
    for run_id, begin in reversed(begins.items()):
        ends[run_id] = end
        end = min(end, begin)
    return [record for record in records if record.round < ends[record.run_id]]

"""Who was kept and who was rejected, round by round: in memory, in a file, and counted."""

import json
import math
import os
import threading
from collections import Counter, defaultdict, deque
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple

MAX_RECORDS = 100_000
REJECTED = ("trimmed", "not selected", "dropped")
VERDICTS = ("kept", *REJECTED, "skipped")


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """What became of one client's reply in one round.

    Parameters
    ----------
    round : int
        The server's round.
    client : str
        The server's own name of the client.
    verdict : str
        ``"kept"``; ``"trimmed"``: a coordinate-wise rule used the client's values in less than half
        as many coordinates as those of the average client; ``"not selected"``: a rule that selects
        whole updates left it out; ``"dropped"``: malformed, and refused before the rule saw it; or
        ``"skipped"``: the round had no result, whatever this client sent.
    score : float or None
        What a selecting rule went by, such as the Krum score: lower is better.
    share : float or None
        Weight of the client's update in the result, or for a coordinate-wise rule the fraction of a
        sample of the coordinates (``flwr_byzantine.shares.SAMPLE``) in which its value was used.
    reason : str or None
        Why the reply was dropped or the round skipped.
    """

    round: int
    client: str
    verdict: str
    score: float | None = None
    share: float | None = None
    reason: str | None = None

    def to_json(self) -> str:
        """One line of valid JSON; a number that is not finite is null."""
        values = {
            key: None if isinstance(value, float) and not math.isfinite(value) else value
            for key, value in asdict(self).items()
        }
        return json.dumps(values, allow_nan=False)

    @classmethod
    def from_json(cls, line: str) -> "AuditRecord":
        """Read what :meth:`to_json` wrote; ValueError if it is something else."""
        values: Any = json.loads(line)
        known = {field.name for field in fields(cls)}
        if not isinstance(values, dict) or set(values) != known:
            raise ValueError(f"keys other than {sorted(known)}")
        if not isinstance(values["round"], int) or not isinstance(values["client"], str):
            raise ValueError(f"round {values['round']!r}, client {values['client']!r}")
        if values["verdict"] not in VERDICTS:
            raise ValueError(f"verdict {values['verdict']!r}")
        return cls(**values)


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


class PrecisionRecall(NamedTuple):
    """How well rejections match who was Byzantine; None where there was nothing to count."""

    precision: float | None
    recall: float | None


def precision_recall(records: Iterable[AuditRecord], byzantine: Collection[str]) -> PrecisionRecall:
    """Compare the replies that were rejected with those of Byzantine clients.

    Parameters
    ----------
    records : Iterable[AuditRecord]
        Such as ``strategy.audit``.
    byzantine : Collection[str]
        Names of the clients that were Byzantine, as in the records.

    Returns
    -------
    PrecisionRecall
        The fraction of rejected replies that came from Byzantine clients, and the fraction of the
        replies of Byzantine clients that were rejected. Rounds without a result do not count.

    Examples
    --------
    >>> records = [AuditRecord(1, "7", "dropped"), AuditRecord(1, "8", "kept")]
    >>> precision_recall(records, {"7", "8"})
    PrecisionRecall(precision=1.0, recall=0.5)
    """
    counts = Counter(
        (record.verdict in REJECTED, record.client in byzantine)
        for record in records
        if record.verdict != "skipped"
    )
    hits = counts[True, True]
    rejected, attacks = hits + counts[True, False], hits + counts[False, True]
    return PrecisionRecall(
        hits / rejected if rejected else None, hits / attacks if attacks else None
    )


def table(records: Iterable[AuditRecord]) -> Iterator[str]:
    """Lines of a table of who was rejected how often, the most often rejected first."""
    verdicts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    reasons: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for record in records:
        verdicts[record.client][record.verdict] += 1
        if record.verdict == "dropped":
            reasons[record.client][str(record.reason)] += 1
    rows = []
    for client, counts in verdicts.items():
        rejected = sum(counts[verdict] for verdict in REJECTED)
        rows.append((rejected / counts.total(), client, rejected, counts))
    width = max([len("client"), *map(len, verdicts)])
    yield (
        f"{'client':{width}}  rounds  rejected         " + "  ".join(VERDICTS) + "  mostly because"
    )
    for rate, client, rejected, counts in sorted(rows, key=lambda row: (-row[0], row[1])):
        numbers = "  ".join(f"{counts[verdict]:{len(verdict)}}" for verdict in VERDICTS)
        why = reasons[client].most_common(1)[0][0] if reasons[client] else ""
        start = f"{client:{width}}  {counts.total():6}  {rejected:8} {rate:6.1%}"
        yield f"{start}  {numbers}  {why}".rstrip()

"""Counts of records: how often each client was rejected, and how many of the rejected were Byzantine."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from flwr_byzantine.audit.records import NO_RESULT, REJECTED, VERDICTS, AuditRecord

LONGEST = 80  # the longest id or name, in characters, because anybody may have written the file


class PrecisionRecall(NamedTuple):
    """How well rejections agree with who was Byzantine. A value is None if there was nothing to count.

    Parameters
    ----------
    precision : float or None
        The fraction of rejected replies that came from Byzantine clients, from 0 to 1.
    recall : float or None
        The fraction of the replies of Byzantine clients that were rejected, from 0 to 1.
    """

    precision: float | None
    recall: float | None


def precision_recall(records: Iterable[AuditRecord], byzantine: Collection[str]) -> PrecisionRecall:
    """Compare the replies that were rejected with those of Byzantine clients.

    Parameters
    ----------
    records : Iterable[AuditRecord]
        The records, such as ``strategy.audit``.
    byzantine : Collection[str]
        The Byzantine clients, under their names in the records.

    Returns
    -------
    PrecisionRecall
        The fraction of rejected replies that came from Byzantine clients, and the fraction of the
        replies of Byzantine clients that were rejected. Rounds without a result do not count,
        nor do clients that sent no reply.

    Examples
    --------
    >>> records = [AuditRecord(1, "7", "dropped"), AuditRecord(1, "8", "kept")]
    >>> precision_recall(records, {"7", "8"})
    PrecisionRecall(precision=1.0, recall=0.5)
    """
    counts = Counter(
        (record.verdict in REJECTED, record.client in byzantine)
        for record in records
        if record.verdict not in NO_RESULT
    )
    hits = counts[True, True]
    rejected, attacks = hits + counts[True, False], hits + counts[False, True]
    return PrecisionRecall(
        hits / rejected if rejected else None, hits / attacks if attacks else None
    )


@dataclass
class Client:
    """What the records of a run say about one client.

    Parameters
    ----------
    client : str
        The server's own name of the client.
    name : str or None
        What people call the client.
    suspect : bool
        Whether the client is a suspect after its last record.
    counts : Counter[str]
        Verdict -> how often the client got it.
    stood_out, last, reason
        In how many rounds the client stood out, in which round it last did, and why.
    largest : float or None
        The largest size of its updates.
    shares : float
        The sum of its parts of the results.
    """

    client: str
    name: str | None = None
    suspect: bool = False
    counts: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    stood_out: int = 0
    last: int | None = None
    reason: str = ""
    largest: float | None = None
    shares: float = 0.0

    def add(self, record: AuditRecord) -> None:
        """Count a record. Records have to come in the order of rounds."""
        self.name = record.name or self.name
        self.suspect = record.suspect
        self.counts[record.verdict] += 1
        self.shares += record.used or 0.0
        if record.verdict in ("dropped", "failed"):
            self.reasons[str(record.reason)] += 1
        if record.stands_out:
            self.stood_out += 1
            self.last, self.reason = record.round, record.stands_out
        if record.size is not None:
            self.largest = max(record.size, self.largest or 0.0)

    @property
    def called(self) -> str:
        """The client's id, with the name that people use."""
        return _short(self.client) + ("" if self.name is None else f" ({_short(self.name)})")

    @property
    def rounds(self) -> int:
        """In how many rounds the client was asked."""
        return self.counts.total()

    @property
    def used(self) -> float:
        """The client's mean part of the results."""
        return self.shares / self.rounds

    @property
    def rejected(self) -> int:
        """How many replies of the client were left out."""
        return sum(self.counts[verdict] for verdict in REJECTED)

    @property
    def verdicts(self) -> str:
        """How often each verdict was given to the client."""
        return ", ".join(f"{self.counts[v]} {v}" for v in VERDICTS if self.counts[v])

    @property
    def why(self) -> str:
        """Why the client is a suspect, or why its replies were most often refused."""
        if self.suspect:
            return f"SUSPECT: {self.reason}".removesuffix(": ")
        return self.reasons.most_common(1)[0][0] if self.reasons else ""


def _short(text: str) -> str:
    return text if len(text) <= LONGEST else text[: LONGEST - 3] + "..."


def clients(records: Iterable[AuditRecord]) -> list[Client]:
    """What the records say about each client. Suspects come first, then those that stood out most."""
    found: dict[str, Client] = {}
    for record in records:
        found.setdefault(record.client, Client(record.client)).add(record)

    def place(of: Client) -> tuple[bool, float, float, str]:
        return not of.suspect, -of.stood_out / of.rounds, -of.rejected / of.rounds, of.client

    return sorted(found.values(), key=place)


def table(records: Iterable[AuditRecord]) -> Iterator[str]:
    """Lines of a table. Suspects come first, then clients that stood out or were left out most often.

    Parameters
    ----------
    records : Iterable[AuditRecord]
        The records, in the order of rounds, such as ``strategy.audit``.

    Yields
    ------
    str
        The head of the table, and then one line for each client.
    """
    rows = clients(records)
    shown = [verdict for verdict in VERDICTS if verdict != "quarantined"]
    if any(row.counts["quarantined"] for row in rows):
        shown = [*VERDICTS]
    width = max([len("client"), *(len(row.called) for row in rows)])
    yield (
        f"{'client':{width}}  rounds  rejected         {'  '.join(shown)}  stood out  mostly because"
    )
    for row in rows:
        numbers = "  ".join(f"{row.counts[verdict]:{len(verdict)}}" for verdict in shown)
        start = f"{row.called:{width}}  {row.rounds:6}  {row.rejected:8} {row.rejected / row.rounds:6.1%}"
        yield f"{start}  {numbers}  {row.stood_out:9}  {row.why}".rstrip()

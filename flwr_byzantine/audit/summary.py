"""Records counted: who was rejected how often, and how well that matches who was Byzantine."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from flwr_byzantine.audit.records import NO_RESULT, REJECTED, VERDICTS, AuditRecord

LONGEST = 80  # characters of an id or a name: a file can be anybody's


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
    """What the records of a run say of one client.

    Parameters
    ----------
    client : str
        The server's own name of it.
    name : str or None
        What people call it.
    suspect : bool
        Whether it is a suspect after its last record.
    counts : Counter[str]
        Verdict -> how often.
    stood_out, last, reason
        In how many rounds it stood out, in which one last, and why.
    largest : float or None
        The largest of its sizes.
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
        """Count a record; later rounds come later."""
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
        """Its id, with what people call it."""
        return _short(self.client) + ("" if self.name is None else f" ({_short(self.name)})")

    @property
    def rounds(self) -> int:
        """In how many rounds it was asked."""
        return self.counts.total()

    @property
    def used(self) -> float:
        """Its part of the results, on average."""
        return self.shares / self.rounds

    @property
    def rejected(self) -> int:
        """How many of its replies were left out."""
        return sum(self.counts[verdict] for verdict in REJECTED)

    @property
    def verdicts(self) -> str:
        """How often each."""
        return ", ".join(f"{self.counts[v]} {v}" for v in VERDICTS if self.counts[v])

    @property
    def why(self) -> str:
        """Why it is a suspect, or why its replies were most often refused."""
        if self.suspect:
            return f"SUSPECT: {self.reason}".removesuffix(": ")
        return self.reasons.most_common(1)[0][0] if self.reasons else ""


def _short(text: str) -> str:
    return text if len(text) <= LONGEST else text[: LONGEST - 3] + "..."


def clients(records: Iterable[AuditRecord]) -> list[Client]:
    """What is said of each client: suspects first, then those that stood out or were left out most often."""
    found: dict[str, Client] = {}
    for record in records:
        found.setdefault(record.client, Client(record.client)).add(record)

    def place(of: Client) -> tuple[bool, float, float, str]:
        return not of.suspect, -of.stood_out / of.rounds, -of.rejected / of.rounds, of.client

    return sorted(found.values(), key=place)


def table(records: Iterable[AuditRecord]) -> Iterator[str]:
    """Lines of a table: suspects first, then who stood out or was left out most often."""
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

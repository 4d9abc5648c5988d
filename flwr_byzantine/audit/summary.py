"""Records counted: who was rejected how often, and how well that matches who was Byzantine."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator
from typing import NamedTuple

from flwr_byzantine.audit.records import NO_RESULT, REJECTED, VERDICTS, AuditRecord


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


def table(records: Iterable[AuditRecord]) -> Iterator[str]:
    """Lines of a table of who was rejected how often, the most often rejected first."""
    verdicts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    reasons: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for record in records:
        verdicts[record.client][record.verdict] += 1
        if record.verdict in ("dropped", "failed"):
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

"""The audit: what became of each reply in each round. It has records, their file, and summaries."""

from flwr_byzantine.audit.file import MAX_RECORDS, Audit, read_audit
from flwr_byzantine.audit.records import NO_RESULT, REJECTED, VERDICTS, AuditRecord
from flwr_byzantine.audit.summary import PrecisionRecall, precision_recall, table
from flwr_byzantine.audit.suspicion import Evidence, Suspicion

__all__ = [
    "MAX_RECORDS",
    "NO_RESULT",
    "REJECTED",
    "VERDICTS",
    "Audit",
    "AuditRecord",
    "Evidence",
    "PrecisionRecall",
    "Suspicion",
    "precision_recall",
    "read_audit",
    "table",
]

"""Follows a run through its audit while it goes on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from flwr_byzantine.audit import AuditRecord, read_audit


class Watch:
    """Follows a run through its audit.

    Parameters
    ----------
    audit : Path
        The file of the audit, which need not exist yet.
    ids : mapping
        Name of each node -> its id.
    say : callable
        It is called once for each round.
    """

    def __init__(self, audit: Path, ids: Mapping[str, str], say: Callable[[str], None]) -> None:
        self.audit, self.ids, self.say = audit, ids, say
        self._told = 0

    def records(self) -> list[AuditRecord]:
        """All records so far."""
        return read_audit(self.audit)[0] if self.audit.exists() else []

    def rounds(self) -> int:
        """The last finished round."""
        return max((record.round for record in self.records()), default=0)

    def tell(self) -> None:
        """Report the rounds that ended since the last call."""
        records = self.records()
        last = max((record.round for record in records), default=0)
        for server_round in range(self._told + 1, last + 1):
            self.say(f"round {server_round}: {self._round(server_round, records)}")
        self._told = last

    def _round(self, server_round: int, records: list[AuditRecord]) -> str:
        names = {node_id: name for name, node_id in self.ids.items()}
        verdicts = {
            names.get(r.client, r.client): r.verdict for r in records if r.round == server_round
        }
        rest = [
            f"{name} {verdict}" for name, verdict in sorted(verdicts.items()) if verdict != "kept"
        ]
        rest += [f"{name} absent" for name in sorted(set(self.ids) - set(verdicts))]
        return ", ".join(rest) or "all kept"

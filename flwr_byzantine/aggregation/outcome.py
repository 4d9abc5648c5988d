"""The result of a round of robust aggregation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from logging import INFO, WARNING
from typing import Self

import numpy as np
import numpy.typing as npt
from flwr.common.logger import log

from flwr_byzantine.aggregation.gate import Model, Reply
from flwr_byzantine.aggregation.npy import in_one_line
from flwr_byzantine.audit import AuditRecord
from flwr_byzantine.audit.marks import Mark
from flwr_byzantine.audit.suspicion import Judged

PREFIX = "byzantine/"  # names of our own metrics begin with it, so users' metrics keep their names


class TooFewUpdatesError(RuntimeError):
    """A round had no robust result, and the strategy has ``on_too_few="raise"``."""


@dataclass(frozen=True)
class Outcome:
    """The result of a round.

    Parameters
    ----------
    model : Model or None
        The new global model; None keeps the old one.
    reason : str or None
        Why there is no new model.
    accepted : tuple[Reply, ...]
        The replies that the rule saw, in its order.
    dropped : Mapping[str, str]
        Client -> reason, for replies that the gate refused.
    weights : Mapping[str, float] or None
        Client -> its share in the result, if the rule mixes whole updates.
    replaced : int
        How many coordinates kept the old model's value, because too few values were finite.
    kept : Mapping[str, float] or None
        Client -> the fraction of a sample of the coordinates in which its value was used, if the rule
        works by coordinate.
    scores : Mapping[str, float] or None
        Client -> the score by which the rule selected. A lower score is better.
    f_lowered_by : int
        By how much the f that the rule ran with is below the promised one, because of
        ``on_dropped="lower_f"`` or ``count_failures``.
    failed : Mapping[str, str]
        Client -> reason, for clients that were asked and sent no reply.
    seed : int or None
        The seed that the rule drew from the operating system's entropy.
    concern : str or None
        Why a threshold of the rule does not fit.
    used : Mapping[str, float] or None
        Client -> its part of the result. Clients that sent the same update share its part.
    quarantined : Mapping[str, str]
        Client -> reason, for suspects that the rule did not see.
    judged : Judged
        Which replies stood out, and which clients are suspects.
    """

    model: Model | None
    reason: str | None = None
    accepted: tuple[Reply, ...] = ()
    dropped: Mapping[str, str] = field(default_factory=dict)
    weights: Mapping[str, float] | None = None
    replaced: int = 0
    kept: Mapping[str, float] | None = field(default=None, kw_only=True)
    scores: Mapping[str, float] | None = field(default=None, kw_only=True)
    f_lowered_by: int = field(default=0, kw_only=True)
    failed: Mapping[str, str] = field(default_factory=dict, kw_only=True)
    seed: int | None = field(default=None, kw_only=True)
    concern: str | None = field(default=None, kw_only=True)
    used: Mapping[str, float] | None = field(default=None, kw_only=True)
    quarantined: Mapping[str, str] = field(default_factory=dict, kw_only=True)
    judged: Judged = field(default_factory=Judged, kw_only=True)

    @property
    def selected(self) -> tuple[Reply, ...]:
        """The replies with a share in the result: all accepted replies, unless the rule selects."""
        if self.weights is None:
            return self.accepted
        return tuple(reply for reply in self.accepted if self.weights[reply.client] != 0)

    @property
    def num_received(self) -> int:
        """The number of all replies, also of refused ones."""
        return len(self.accepted) + len(self.dropped) + len(self.quarantined)

    @property
    def refused(self) -> dict[str, str]:
        """Client -> reason, for replies that the rule did not see."""
        return {**self.dropped, **self.quarantined}

    @property
    def metrics(self) -> dict[str, int | float]:
        """The counts for Flower's metrics, under names that begin with ``PREFIX``."""
        return {PREFIX + name: count for name, count in self.counts.items()}

    @property
    def counts(self) -> dict[str, int | float]:
        """How many replies there were, and what became of them."""
        counts: dict[str, int | float] = {
            "num_received": self.num_received,
            "num_dropped": len(self.dropped),
            "num_failed": len(self.failed),
            "num_suspects": len(self.judged.suspects),
            "num_replaced": self.replaced,
            "f_lowered_by": self.f_lowered_by,
            "skipped": int(self.reason is not None),
        }
        if self.quarantined:
            counts["num_quarantined"] = len(self.quarantined)
        if self.weights is not None:
            counts["num_selected"] = sum(weight != 0 for weight in self.weights.values())
        if self.seed is not None:
            counts["seed"] = self.seed
        return counts

    def without_payload(self) -> Self:
        """The same outcome without models, to keep between rounds. Replies are as large as n models."""
        accepted = tuple(replace(reply, tensors=(), source=None) for reply in self.accepted)
        return replace(self, model=None, accepted=accepted)

    def error(self, server_round: int) -> TooFewUpdatesError:
        """The error to raise if a round without a result should end the run."""
        named = _named("Dropped", self.dropped) + _named("Failed", self.failed)
        return TooFewUpdatesError(
            f"Round {server_round} has no robust result: {self.reason}. {named}Sample more clients, "
            'assume fewer of them Byzantine, or pass `on_too_few="skip"` to keep the old model.'
        )

    def log(self, server_round: int) -> None:
        """Log the clients that failed, were dropped or stood out, with one line each, and then the result."""
        called = self._called
        failed = [f"client {called(c)} failed: {reason}" for c, reason in self.failed.items()]
        refused = [f"dropped client {called(c)}: {reason}" for c, reason in self.refused.items()]
        for line in (failed, refused, self._standing_out()):
            if line:
                log(WARNING, "Round %s: %s", server_round, in_one_line(line))
        if self.f_lowered_by:
            text = (
                "Round %s: f is lowered by %s, as you asked for. The rule survives fewer attackers"
            )
            log(WARNING, text, server_round, self.f_lowered_by)
        if self.replaced:
            text = "Round %s: %s coordinates had too few finite values, and keep the old model's values"
            log(WARNING, text, server_round, self.replaced)
        if self.reason:
            log(WARNING, "Round %s skipped, the model stays: %s", server_round, self.reason)
        else:
            log(INFO, "Round %s: %s", server_round, self.counts)

    def _called(self, client: str) -> str:
        """A client's id, with what people call it."""
        name = self.judged.names.get(client)
        return client if name is None else f"{client} ({name})"

    def _standing_out(self) -> list[str]:
        """New suspects, and others whose updates stood out."""
        known = {*self.judged.suspects}
        new = [
            f"client {self._called(client)} is a suspect now: {evidence}"
            for client, evidence in self.judged.convicted.items()
        ]
        measured = {c: mark for c, mark in self.judged.marks.items() if mark.size is not None}
        return new + [
            f"client {self._called(client)} stands out: {mark.reason}"
            for client, mark in measured.items()
            if mark.reason is not None and client not in known
        ]

    def audit(self, server_round: int) -> list[AuditRecord]:
        """What became of each client's reply; see :class:`AuditRecord` for the verdicts."""
        shares, scores = self.weights or self.kept or {}, self.scores or {}
        usual = 0.5 * sum(shares.values()) / len(shares) if self.kept and shares else 0.0
        records, used = [], self.used or self.weights or {}
        for client in (reply.client for reply in self.accepted):
            verdict, share = "kept", shares.get(client)
            if self.reason is not None:
                verdict = "skipped"
            elif self.weights is not None and share == 0:
                verdict = "not selected"
            elif self.kept is not None and share is not None and share < usual:
                verdict = "trimmed"
            score = scores.get(client)
            record = AuditRecord(server_round, client, verdict, score, share, self.reason)
            records.append(replace(record, seed=self.seed, used=used.get(client)))
        others = {"dropped": self.dropped, "quarantined": self.quarantined, "failed": self.failed}
        for verdict, reasons in others.items():
            for client, reason in reasons.items():
                records.append(AuditRecord(server_round, client, verdict, reason=reason))
        return [self._judged(record) for record in records]

    def _judged(self, record: AuditRecord) -> AuditRecord:
        """A record with what the round says about its client."""
        mark = self.judged.marks.get(record.client, Mark())
        finite = mark.size is not None and np.isfinite(mark.size)
        return replace(
            record,
            size=mark.size if finite else None,
            stands_out=mark.reason,
            suspect=record.client in self.judged.suspects,
            name=self.judged.names.get(record.client),
        )


def _named(what: str, reasons: Mapping[str, str]) -> str:
    """The first three clients and their reasons, in a sentence."""
    shown = [f"{client} ({reason})" for client, reason in list(reasons.items())[:3]]
    more = ", ..." if len(reasons) > 3 else ""
    return f"{what}: {', '.join(shown)}{more}. " if shown else ""


def by_client(
    accepted: Sequence[Reply], values: npt.NDArray[np.float64] | None
) -> dict[str, float] | None:
    """Client -> value, if there is one value for each accepted reply."""
    if values is None:
        return None
    return {reply.client: float(value) for reply, value in zip(accepted, values, strict=True)}

"""What the strategies of both Flower APIs share: an aggregator, its audit, and checkpoints."""

import os
from collections.abc import Mapping
from logging import INFO
from typing import Any

from flwr.common.logger import log

from flwr_byzantine.aggregation.aggregator import Aggregator
from flwr_byzantine.aggregation.buffers import Buffers
from flwr_byzantine.aggregation.gate import Model
from flwr_byzantine.aggregation.step_sizes import LearningRate
from flwr_byzantine.audit import AuditRecord
from flwr_byzantine.resume.checkpoint import Checkpoint, CheckpointError, Checkpoints
from flwr_byzantine.rules.base import Rule


class RobustStrategy:
    """Aggregates with a rule, and can be killed and started again; mixed into strategies.

    Parameters
    ----------
    rule : flwr_byzantine.rules.Rule
        The aggregation rule.
    payload, learning_rate, order_by, on_too_few, on_dropped, buffers, audit_log
        As for :class:`flwr_byzantine.aggregation.aggregator.Aggregator`.
    checkpoint : str, Path or None
        A file to keep the model, the round and the strategy's state in after every round. Where it is
        there already, the run goes on after its round.
    **kwargs
        For the strategy this is mixed into.
    """

    def __init__(
        self,
        *,
        rule: Rule,
        payload: str = "parameters",
        learning_rate: LearningRate = 1.0,
        order_by: str | None = None,
        on_too_few: str = "skip",
        on_dropped: str = "keep_f",
        buffers: Buffers = None,
        audit_log: str | os.PathLike[str] | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.aggregator = self._make_aggregator(
            rule,
            payload=payload,
            learning_rate=learning_rate,
            order_by=order_by,
            on_too_few=on_too_few,
            on_dropped=on_dropped,
            buffers=buffers,
            audit_log=audit_log,
        )
        self.checkpoints = None if checkpoint is None else Checkpoints(checkpoint)
        self._done = 0

    def _make_aggregator(self, rule: Rule, **settings: Any) -> Aggregator:
        return Aggregator(rule, **settings)

    @property
    def audit(self) -> tuple[AuditRecord, ...]:
        """What became of every client's reply, the newest rounds: :class:`AuditRecord`."""
        return self.aggregator.audit.records

    def _state(self) -> dict[str, Any]:
        """What later rounds depend on besides the model and the round."""
        return {"aggregator": self.aggregator.state_dict()}

    def _load_state(self, state: Mapping[str, Any]) -> None:
        self.aggregator.load_state_dict(state["aggregator"])

    def _resume(self) -> Checkpoint | None:
        """Begin a run: go back to the newest checkpoint, if there is one. Its rounds are done."""
        self.aggregator.audit.begin()
        self._done = 0
        found = None if self.checkpoints is None else self.checkpoints.load()
        if found is not None:
            self._load_state(found.state)
            self._done = found.server_round
            log(INFO, "Resuming after round %s, from a checkpoint", self._done)
        return found

    def _save(self, server_round: int, tensors: Mapping[str, bytes]) -> None:
        """Keep what is needed to go on after a round."""
        if self.checkpoints is not None:
            self.checkpoints.save(Checkpoint(server_round, tensors, self._state()))


def check_same_model(found: Checkpoint, initial: Model) -> None:
    """Raise CheckpointError where a checkpoint holds another model than the run starts with."""
    kept = Model.read(found.tensors.items()).signature
    if kept != initial.signature:
        raise CheckpointError(
            "Parameter `checkpoint` should belong to the model of this run. Found tensors "
            f"{kept[:3]}..., expected {initial.signature[:3]}.... Choose another file for this run."
        )

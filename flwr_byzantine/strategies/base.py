"""What the strategies of both Flower APIs share: an aggregator, its audit, and checkpoints."""

import os
from collections.abc import Mapping
from typing import Any

from flwr_byzantine.aggregation.aggregator import Aggregator
from flwr_byzantine.aggregation.buffers import Buffers
from flwr_byzantine.aggregation.step_sizes import LearningRate
from flwr_byzantine.audit import AuditRecord
from flwr_byzantine.checks import require_bool
from flwr_byzantine.resume.checkpoint import Checkpoints
from flwr_byzantine.rules.base import Rule
from flwr_byzantine.strategies.resuming import Resuming


class RobustStrategy(Resuming):
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
    cap_examples : bool
        Whether users' metrics functions see numbers of examples that are capped, see
        :func:`flwr_byzantine.aggregation.reports.capped`, in place of those that clients sent.
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
        cap_examples: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        require_bool("cap_examples", cap_examples)
        self.cap_examples = cap_examples
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

    def _make_aggregator(self, rule: Rule, **settings: Any) -> Aggregator:
        return Aggregator(rule, **settings)

    @property
    def audit(self) -> tuple[AuditRecord, ...]:
        """What became of every client's reply, the newest rounds: :class:`AuditRecord`."""
        return self.aggregator.audit.records

    def state_dict(self) -> dict[str, Any]:
        """What later rounds depend on besides the model and the round."""
        return self._state()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what :meth:`state_dict` gave."""
        self._load_state(state)

"""One round of robust aggregation, the same for both Flower APIs."""

import os
from collections.abc import Iterable, Mapping, Sequence, Sized
from dataclasses import replace
from logging import WARNING
from typing import Any, ClassVar

import numpy as np
from flwr.common.logger import log

from flwr_byzantine.aggregation.apply import apply_rule
from flwr_byzantine.aggregation.buffers import Buffers, find_buffers, point_out_counter
from flwr_byzantine.aggregation.gate import Gated, Model, Reply, first_of_each, gate, in_order
from flwr_byzantine.aggregation.known import Known, drawn, fits
from flwr_byzantine.aggregation.locked import Locked
from flwr_byzantine.aggregation.outcome import Outcome, TooFewUpdatesError, by_client
from flwr_byzantine.aggregation.progress import Progress
from flwr_byzantine.aggregation.promise import (
    can_take,
    for_f,
    rule_of_round,
    warn_of_round,
    warn_of_untold,
    why_broken,
    why_not,
)
from flwr_byzantine.aggregation.settings import NEEDS_MODEL, PAYLOADS, check_settings
from flwr_byzantine.aggregation.sizes import Origin
from flwr_byzantine.aggregation.step_sizes import LearningRate, step_size
from flwr_byzantine.aggregation.trusted import TrustedWeights, check_trusted
from flwr_byzantine.aggregation.watch import Watch
from flwr_byzantine.audit import Audit
from flwr_byzantine.rules.base import Rule, require_rule

__all__ = ["PAYLOADS", "Aggregator", "LearningRate", "Outcome", "TooFewUpdatesError"]


class Aggregator(Locked):
    """Applies a rule to the replies of each round, and remembers the model that clients were given last.

    Parameters
    ----------
    rule : Rule
        The aggregation rule, with the number of Byzantine clients to survive.
    payload : str
        With ``"parameters"`` clients send their models. With ``"gradients"`` they send gradients,
        and the model moves by -learning_rate times the aggregate.
    learning_rate : float or Callable[[int], float]
        gamma_t for gradients: a number, or a function of the round.
    order_by : str or None
        A metric that clients report. It sets the order in which the rule sees them, which decides
        only ties and rounding. None orders by the server's own names of the clients.
    on_too_few : str
        What happens in a round without a robust result: ``"skip"`` keeps the model, ``"raise"``
        raises :class:`TooFewUpdatesError`.
    on_dropped : str
        What happens to f if malformed replies were dropped. ``"keep_f"`` keeps it. ``"lower_f"``
        lowers it if too few replies are left, by no more than the number of the dropped ones.
    bound : str
        What happens with fewer replies than the rule's theorem needs. ``"keep"`` skips the round.
        ``"warn"`` runs the rule and warns, because the rule then promises nothing.
    count_failures : bool
        Whether clients that failed count as Byzantine. If so, f is lowered by no more than their
        number if too few replies are left, and a round with more of them than f is skipped.
    buffers : Collection[str | int], Callable[[str], bool] or None
        The tensors that are kept in the honest range: :func:`.buffers.find_buffers`.
    audit_log : str, Path or None
        A file that records what became of every reply: :class:`flwr_byzantine.audit.Audit`.
    trusted_weights : Mapping or None
        The operator's weights of the clients, for rules that average whole updates.
    **watch
        `suspicion`, `on_suspect`, `quarantine` and `node_names`: :class:`.watch.Watch`.

    Raises
    ------
    ValueError
        If a parameter is out of range.
    """

    _moves_models: ClassVar[bool] = False  # whether clients' models are moved by a learning rate

    def __init__(
        self,
        rule: Rule,
        payload: str = "parameters",
        learning_rate: LearningRate = 1.0,
        order_by: str | None = None,
        *,
        on_too_few: str = "skip",
        on_dropped: str = "keep_f",
        bound: str = "keep",
        count_failures: bool = False,
        buffers: Buffers = None,
        audit_log: str | os.PathLike[str] | None = None,
        trusted_weights: TrustedWeights = None,
        **watch: Any,
    ) -> None:
        require_rule(rule)
        told = payload, learning_rate, order_by
        check_settings(*told, on_too_few, on_dropped, bound, count_failures, buffers)
        self.watch = Watch(**watch)
        self.rule = rule
        self.payload = payload
        self.learning_rate = learning_rate
        self.order_by = order_by
        self.on_too_few = on_too_few
        self.on_dropped = on_dropped
        self.bound = bound
        self.count_failures = count_failures
        self.buffers = buffers
        self.trusted_weights = check_trusted(trusted_weights, rule)
        self.audit = Audit(audit_log)
        self.progress = Progress()
        if learning_rate != 1.0 and payload == "parameters" and not self._moves_models:
            log(WARNING, "`learning_rate` has no effect: clients send models, not gradients")
        super().__init__()
        self.model: Model | None = None
        self.last: Outcome | None = None
        self.last_update: list[Any] | None = None

    def begin(self, server_round: int, model: Model) -> None:
        """Remember the model that clients get in a round. Raise ValueError if it lacks a buffer."""
        found = find_buffers(self.buffers, model.names, strict=True)
        if self.model is None and found:
            warn_of_untold(self.rule)
        elif self.model is None and self.buffers is None:
            point_out_counter(model.arrays)
        self.model = model
        if not fits(self.last_update, model):
            self.last_update = None

    def buffers_of(self, model: Model) -> tuple[int, ...]:
        """Positions of a model's buffers."""
        return find_buffers(self.buffers, model.names)

    def aggregate(
        self, server_round: int, replies: Iterable[Reply], failed: Mapping[str, str] | None = None
    ) -> Outcome:
        """Order and gate the replies, apply the rule, and return the new model.

        Parameters
        ----------
        server_round : int
            The current round, for the learning rate and the log.
        replies : Iterable[Reply]
            The replies in any order.
        failed : Mapping[str, str] or None
            Client -> reason, for clients that were asked and sent no reply.

        Returns
        -------
        Outcome
            It has no model if too few replies are left. Otherwise nothing that clients send raises.

        Raises
        ------
        ValueError
            If clients send gradients and the model they belong to is not known.
        TooFewUpdatesError
            If the round has no result and ``on_too_few`` is ``"raise"``.
        """
        if self._needs_model and self.model is None:
            raise ValueError(NEEDS_MODEL)
        with self.lock:
            ordered, failed = in_order(first_of_each(replies), self.order_by), failed or {}
            everything = gate(ordered, self.model)
            f = self._assumed(for_f(self.rule, len(ordered), len(everything.accepted)))
            gated, suspects = self.watch.without_suspects(server_round, everything, f)
            outcome = self._aggregate(server_round, ordered, gated, failed, len(suspects))
            outcome = replace(outcome, failed=failed, quarantined=suspects)
            told = self._origin(outcome), max(0, f), self._spent(everything, failed)
            judged = self.watch.judge(server_round, ordered, everything, failed, *told)
            return self._finish(server_round, replace(outcome, judged=judged), ordered)

    def skip(
        self,
        server_round: int,
        reason: str,
        replies: Iterable[Reply] = (),
        failed: Mapping[str, str] | None = None,
    ) -> Outcome:
        """Skip a round and keep the model, for a reason that is not in the replies.

        Parameters
        ----------
        server_round : int
            Current round.
        reason : str
            Why, for the log and the audit.
        replies, failed
            The same as in :meth:`aggregate`. The audit holds them. Errors are the same too, and the outcome
            has no model.
        """
        with self.lock:
            ordered, failed = in_order(first_of_each(replies), self.order_by), failed or {}
            gated = Gated(None, dict.fromkeys((reply.client for reply in ordered), ()), {})
            judged = self.watch.judge(server_round, ordered, gated, failed)
            outcome = Outcome(None, reason, tuple(ordered), failed=failed, judged=judged)
            return self._finish(server_round, outcome, ())

    def _finish(self, server_round: int, outcome: Outcome, replies: Sequence[Reply]) -> Outcome:
        """Log, record and remember the outcome of a round."""
        outcome.log(server_round)
        self.audit.add(outcome.audit(server_round))
        self.last = outcome.without_payload()
        self.progress.add(outcome, replies, self.model, self.rule.min_updates)
        if outcome.model is None and self.on_too_few == "raise":
            raise outcome.error(server_round)
        return outcome

    def state_dict(self) -> dict[str, Any]:
        """The state on which later rounds depend, besides the model: arrays, numbers and text by name."""
        return {"last_update": self.last_update} if self.rule.remembers else {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what :meth:`state_dict` gave."""
        self.last_update = state.get("last_update")

    def _aggregate(
        self,
        server_round: int,
        replies: Sequence[Reply],
        gated: Gated,
        failed: Mapping[str, str],
        suspects: int,
    ) -> Outcome:
        """The outcome of a round, from replies that passed the gate and are not in quarantine."""
        by_name = {reply.client: reply for reply in replies}
        accepted = tuple(by_name[client] for client in gated.accepted)
        lost = len(failed) if self.count_failures else 0
        asked = len(replies) + lost
        if broken := why_broken(self.rule, self._promised(asked), lost, asked) if lost else None:
            return Outcome(None, broken, accepted, gated.dropped)
        lower_by = suspects + self._spent(gated, failed)
        rule, lowered_by = rule_of_round(self.rule, len(replies), len(accepted), lower_by)
        promised = self._promised(len(accepted)) if accepted else 0
        warn_of_round(server_round, self.rule, rule, accepted, gated.dropped, self.bound, promised)
        if gated.structure is None or not can_take(rule, len(accepted), self.bound):
            reason = why_not(rule, accepted, gated.dropped, failed)
            return Outcome(None, reason, accepted, gated.dropped)
        outcome = self._apply(server_round, rule, gated, accepted)
        return replace(outcome, f_lowered_by=lowered_by)

    def _spent(self, gated: Gated, failed: Sized) -> int:
        """How many of f have sent nothing that the rule sees, if the user counts such clients."""
        dropped = len(gated.dropped) if self.on_dropped == "lower_f" else 0
        return dropped + (len(failed) if self.count_failures else 0)

    def _promised(self, n: int) -> int:
        """The most Byzantine clients among n for which the rule is made."""
        return self.rule.at(n).tolerated(n)

    def _assumed(self, n: int) -> int:
        """How many of n replies may be Byzantine, if most of them have to be honest."""
        return self._promised(n)

    def _origin(self, outcome: Outcome) -> Origin | None:
        """The point from which updates are measured; None if it is not known."""
        if self.payload == "gradients" and self.model is not None:
            return Origin(None, self.buffers_of(self.model))
        model = self.model or self.watch.led_to or outcome.model
        if self.model is None and outcome.model is not None:
            self.watch.led_to = outcome.model
        if model is None:
            return None
        return Origin(model, self.buffers_of(model), self.model is not None)

    def _apply(
        self, server_round: int, rule: Rule, gated: Gated, accepted: tuple[Reply, ...]
    ) -> Outcome:
        """Apply the rule to replies that passed the gate, enough of them for the rule."""
        assert gated.structure is not None
        buffers = self.buffers_of(gated.structure)
        rule, seed = drawn(rule)
        known = Known.of(server_round, rule, accepted, self.trusted_weights, self.last_update)
        result = apply_rule(rule, gated, self.model, self._step(server_round), buffers, known)
        invalid = result.weights is not None and np.isnan(result.weights).any()
        if result.arrays is None or invalid:
            reason = "no robust result: too many replies hold values that are not finite"
            return Outcome(None, reason, accepted, gated.dropped)
        self.last_update = result.update
        model = Model(gated.structure.names, tuple(result.arrays))
        weights, kept, used, scores = (
            by_client(accepted, values)
            for values in (result.weights, result.kept, result.used, result.scores)
        )
        outcome = Outcome(model, None, accepted, gated.dropped, weights, result.replaced)
        outcome = replace(outcome, kept=kept, used=used, scores=scores)
        return replace(outcome, seed=seed, concern=result.concern)

    @property
    def _needs_model(self) -> bool:
        return self.payload == "gradients" or self.rule.uses_model or self._moves_models

    def _step(self, server_round: int) -> float | None:
        """The factor on the aggregate: None for parameters, minus the learning rate for gradients."""
        if self.payload == "parameters":
            return None
        return -step_size("learning_rate", self.learning_rate, server_round)

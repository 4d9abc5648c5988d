"""One round of robust aggregation, the same for both Flower APIs."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from logging import INFO, WARNING

import numpy as np
import numpy.typing as npt
from flwr.common.logger import log

from flwr_byzantine.apply import apply_rule
from flwr_byzantine.rules.base import Rule
from flwr_byzantine.updates import Gated, Model, Reply, gate, in_order

LearningRate = float | Callable[[int], float]
PAYLOADS = ("parameters", "gradients")


@dataclass(frozen=True)
class Outcome:
    """What a round came to.

    Parameters
    ----------
    model : Model or None
        The new global model; None keeps the old one.
    reason : str or None
        Why there is no new model.
    accepted : tuple[Reply, ...]
        Replies the rule saw, in its order.
    dropped : Mapping[str, str]
        Client -> reason, for replies refused by the gate.
    weights : Mapping[str, float] or None
        Client -> share in the result, where the rule mixes whole updates.
    replaced : int
        Coordinates that kept the old model's value for want of enough finite ones.
    """

    model: Model | None
    reason: str | None = None
    accepted: tuple[Reply, ...] = ()
    dropped: Mapping[str, str] = field(default_factory=dict)
    weights: Mapping[str, float] | None = None
    replaced: int = 0

    @property
    def metrics(self) -> dict[str, int | float]:
        """Counts for Flower's metrics."""
        counts: dict[str, int | float] = {
            "num_received": len(self.accepted) + len(self.dropped),
            "num_dropped": len(self.dropped),
            "num_replaced": self.replaced,
            "skipped": int(self.model is None),
        }
        if self.weights is not None:
            counts["num_selected"] = sum(weight != 0 for weight in self.weights.values())
        return counts

    def log(self, server_round: int) -> None:
        """Name every client that was dropped, and why a round left the model as it was."""
        for client, reason in self.dropped.items():
            log(WARNING, "Round %s: dropped client %s: %s", server_round, client, reason)
        if self.replaced:
            text = "Round %s: %s coordinates had too few finite values and keep the old model's"
            log(WARNING, text, server_round, self.replaced)
        if self.reason:
            log(WARNING, "Round %s skipped, the model stays: %s", server_round, self.reason)
        else:
            log(INFO, "Round %s: %s", server_round, self.metrics)


class Aggregator:
    """A rule, how to apply it to the global model, and the model clients were given last.

    Parameters
    ----------
    rule : Rule
        The aggregation rule, told the number of Byzantine clients to survive.
    payload : str
        ``"parameters"``: clients send their models. ``"gradients"``: they send gradients, and the
        model moves by -learning_rate times the aggregate.
    learning_rate : float or Callable[[int], float]
        gamma_t for gradients: a number, or a function of the round.
    order_by : str or None
        A metric clients report that fixes the order in which the rule sees them, such as a
        simulation's partition id. It decides ties and rounding, nothing else. None orders by the
        server's own names of the clients.

    Raises
    ------
    ValueError
        If a parameter is none of these.
    """

    def __init__(
        self,
        rule: Rule,
        payload: str = "parameters",
        learning_rate: LearningRate = 1.0,
        order_by: str | None = None,
    ) -> None:
        _check(rule, payload, learning_rate)
        self.rule = rule
        self.payload = payload
        self.learning_rate = learning_rate
        self.order_by = order_by
        self.model: Model | None = None
        self.last: Outcome | None = None

    def aggregate(self, server_round: int, replies: Iterable[Reply]) -> Outcome:
        """Order and gate the replies, apply the rule, and give the new model.

        Parameters
        ----------
        server_round : int
            Current round, for the learning rate and the log.
        replies : Iterable[Reply]
            In any order.

        Returns
        -------
        Outcome
            Without a model where too few replies are left. Nothing a client sent raises.

        Raises
        ------
        ValueError
            If clients send gradients and the model they belong to is not known.
        """
        if self._needs_model and self.model is None:
            raise ValueError(
                "Gradients and reputations need the global model. Call `configure_fit` (or "
                "`configure_train`) before aggregating, as Flower's server does."
            )
        outcome = self._aggregate(server_round, in_order(replies, self.order_by))
        outcome.log(server_round)
        self.last = outcome
        return outcome

    def _aggregate(self, server_round: int, replies: Sequence[Reply]) -> Outcome:
        gated = gate(replies, self.model)
        sources: dict[str, Reply] = {}
        for reply in replies:
            sources.setdefault(reply.client, reply)
        accepted = tuple(sources[client] for client in gated.accepted)
        rule = self.rule.without(len(gated.dropped))
        if gated.structure is None or len(accepted) < rule.min_updates:
            reason = f"{len(accepted)} usable replies, {rule} needs {rule.min_updates}"
            return Outcome(None, reason, accepted, gated.dropped)
        return self._apply(server_round, rule, gated, accepted)

    def _apply(
        self, server_round: int, rule: Rule, gated: Gated, accepted: tuple[Reply, ...]
    ) -> Outcome:
        """Apply the rule to replies that passed the gate, enough of them for the rule."""
        assert gated.structure is not None
        arrays, weights, replaced = apply_rule(rule, gated, self.model, self._step(server_round))
        if arrays is None or (weights is not None and np.isnan(weights).any()):
            reason = "no robust result: too many replies hold values that are not finite"
            return Outcome(None, reason, accepted, gated.dropped)
        model = Model(gated.structure.names, tuple(arrays))
        shares = _shares(accepted, weights)
        return Outcome(model, None, accepted, gated.dropped, shares, replaced)

    @property
    def _needs_model(self) -> bool:
        return self.payload == "gradients"

    def _step(self, server_round: int) -> float | None:
        """Factor on the aggregate: None for parameters, minus the learning rate for gradients."""
        if self.payload == "parameters":
            return None
        rate = self.learning_rate
        return -(rate(server_round) if callable(rate) else rate)


def _shares(
    accepted: Sequence[Reply], weights: npt.NDArray[np.float64] | None
) -> dict[str, float] | None:
    if weights is None:
        return None
    return {reply.client: float(w) for reply, w in zip(accepted, weights, strict=True)}


def _check(rule: Rule, payload: str, learning_rate: LearningRate) -> None:
    if not isinstance(rule, Rule):
        raise ValueError(
            "Parameter `rule` should be a rule such as `flwr_byzantine.rules.Median()`. "
            f"Found `rule = {rule!r}`."
        )
    if payload not in PAYLOADS:
        raise ValueError(
            f"Parameter `payload` should be one of {PAYLOADS}. Found `payload = {payload!r}`. "
            "Name what your clients send."
        )
    number = isinstance(learning_rate, int | float) and 0 < learning_rate < np.inf
    if not callable(learning_rate) and not number:
        raise ValueError(
            "Parameter `learning_rate` should be a positive number or a function of the round. "
            f"Found `learning_rate = {learning_rate!r}`."
        )

"""FLTrust: the weight of an update grows with its cosine with the server's own update.

The signs are those of ByGARS: row h_i is minus client i's update, u_i = -h_i, and h_0 is minus the server's.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from flwr_byzantine.aggregation.gate import Array, Gated, Model, Reply
from flwr_byzantine.aggregation.outcome import Outcome, by_client
from flwr_byzantine.aggregation.step_sizes import step_size
from flwr_byzantine.checks import require, require_whole
from flwr_byzantine.reputation.auxiliary import AuxiliaryLoss
from flwr_byzantine.reputation.base import AuxiliaryAggregator
from flwr_byzantine.reputation.rows import (
    SHORTEST,
    Gradient,
    GradientSize,
    PseudoGradients,
    to_length,
)
from flwr_byzantine.reputation.scores import named_scores
from flwr_byzantine.rules.base import Rule

ROUNDING = 1e-12  # a smaller cosine is 0, apart from rounding


@dataclass(frozen=True)
class TrustOutcome(Outcome):
    """The outcome of a round, with the trust in each client.

    Parameters
    ----------
    trust : Mapping[str, float]
        Client -> t_i, for the clients of the round.
    """

    trust: Mapping[str, float] = field(default_factory=dict)

    @property
    def metrics(self) -> dict[str, int | float]:
        """The counts, and ``byzantine/trust/<client>`` for every client of the round."""
        return {**super().metrics, **named_scores("trust", self.trust)}


class FLTrustAggregator(AuxiliaryAggregator):
    """Gives all updates the length of the server's own, and averages them by how well their directions agree.

    Parameters
    ----------
    auxiliary : AuxiliaryLoss
        The gradient on the server's own data. The loss itself is not used.
    server_steps : int
        The number of gradient steps that make the server's own update.
    **kwargs
        See :class:`AuxiliaryAggregator`.

    Raises
    ------
    ValueError
        If a parameter is out of range.
    """

    def __init__(self, auxiliary: AuxiliaryLoss, *, server_steps: int, **kwargs: Any) -> None:
        super().__init__(auxiliary, **kwargs)
        require_whole(
            "server_steps", server_steps, 1, "Each step costs an auxiliary gradient. Try 1."
        )
        require(
            server_steps == 1 or self.payload != "gradients",
            "server_steps",
            '1 with `payload="gradients"`, because a gradient belongs to one model',
            server_steps,
            "Leave it out, or let clients send models.",
        )
        self.server_steps = int(server_steps)

    def _descent(self, model: Model, server_round: int) -> Gradient:
        """The sum of the gradients along the server's own steps. Times the step size, it is h_0."""
        first = self._gradient(model, server_round)
        if self.server_steps == 1:
            return first
        rate = step_size("learning_rate", self.learning_rate, server_round)
        total = [None if g is None else _summand(g) for g in first]
        del first  # each is as large as the model
        for _ in range(self.server_steps - 1):
            pairs = zip(
                total, self._gradient(_moved(model, total, rate), server_round), strict=True
            )
            total = [_plus(a, b) for a, b in pairs]
            del pairs
        return total

    def _apply(
        self, server_round: int, rule: Rule, gated: Gated, accepted: tuple[Reply, ...]
    ) -> Outcome:
        assert self.model is not None
        rows = PseudoGradients(gated, self.model, self.payload)
        descent = self._gradient_here(self.model, server_round)
        size = GradientSize.of(descent)
        rate = step_size("learning_rate", self.learning_rate, server_round)
        length = rate * size.length  # of h_0
        if not (math.isfinite(length) and length > 0 and size.length > SHORTEST):
            what = "0" if math.isfinite(length) else "not finite"
            reason = f"the length of the server's own update is {what}"
            return TrustOutcome(None, reason, accepted, gated.dropped)
        norms = rows.norms(size.trained)
        factors = to_length(length, norms, rows.shortest(size.trained))
        cosines = rows.cosines(descent, norms, size.length)
        measured = (factors > 0) & np.isfinite(cosines)
        cosines = np.where(measured, np.clip(cosines, -1.0, 1.0), 0.0)
        trust = np.where(cosines > ROUNDING, cosines, 0.0)
        told: dict[str, Any] = {
            "trust": by_client(accepted, trust),
            "scores": by_client(accepted, np.where(measured, -cosines, np.inf)),
        }
        total = trust.sum()
        if not total > 0:
            reason = (
                "no client's update points in the direction of the server's own, so none is trusted"
            )
            return TrustOutcome(None, reason, accepted, gated.dropped, **told)
        shares = trust / total
        model, replaced = rows.descend(shares * factors, size.trained)
        weights = by_client(accepted, shares)
        return TrustOutcome(model, None, accepted, gated.dropped, weights, replaced, **told)


def _moved(model: Model, descent: Sequence[Array | None], rate: float) -> Model:
    """The model after steps of that size along gradients whose sum is ``descent``."""
    with np.errstate(over="ignore", invalid="ignore"):  # the caller handles a loss that diverges
        arrays = [
            old if step is None else (old - rate * np.asarray(step, np.float64)).astype(old.dtype)
            for old, step in zip(model.arrays, descent, strict=True)
        ]
    return Model(model.names, tuple(arrays))


def _summand(gradient: Array) -> Array:
    """A copy for adding up gradients, because the auxiliary loss may use its own arrays again."""
    return np.array(gradient, np.promote_types(np.asarray(gradient).dtype, np.float32))


def _plus(total: Array | None, gradient: Array | None) -> Array | None:
    """Add a gradient in place. A tensor without a gradient in one step has none in the sum."""
    if total is None or gradient is None:
        return None
    with np.errstate(over="ignore", invalid="ignore"):
        total += gradient
    return total

"""ByGARS and ByGARS++: aggregation by reputation scores, for any number of Byzantine clients.

H holds one row h_i for each client: the gradient that it sent, or w_t - w_i if it sent a model w_i. The
server has a small data set with the loss L_t. It keeps a score q_i for each client, which is any real number.
"""

import math
from typing import Any

import numpy as np

from flwr_byzantine.aggregation.gate import Model
from flwr_byzantine.checks import ParameterError, is_number, require, require_whole
from flwr_byzantine.reputation.aggregator import ReputationAggregator
from flwr_byzantine.reputation.auxiliary import AuxiliaryLoss
from flwr_byzantine.reputation.rounds import ScoredRound, Step
from flwr_byzantine.reputation.rows import Gradient, GradientSize, Vector, without_reversal
from flwr_byzantine.reputation.scores import Memory


class ByGARSAggregator(ReputationAggregator):
    """ByGARS makes k meta updates of the scores on the auxiliary loss, and then moves the model (figure 1a).

    Parameters
    ----------
    auxiliary : AuxiliaryLoss
        The loss and the gradient on the server's own data.
    meta_steps : int
        k, the number of pseudo and meta updates in each round; at least 1.
    tolerance : float or None
        If it is given, a meta update has to lower the auxiliary loss by more than this. The first update
        that does not do so is left out, and no other update follows in that round.
    **kwargs
        See :class:`ReputationAggregator`.

    Raises
    ------
    ValueError
        If a parameter is out of range.
    """

    def __init__(
        self, auxiliary: AuxiliaryLoss, *, meta_steps: int, tolerance: float | None, **kwargs: Any
    ) -> None:
        super().__init__(auxiliary, **kwargs)
        _check_meta(auxiliary, meta_steps, tolerance)
        self.meta_steps = meta_steps
        self.tolerance = tolerance

    def _scored_step(self, this_round: ScoredRound, memory: Memory) -> Step:
        rows, server_round = this_round.rows, this_round.server_round
        here = self._gradient_here(rows.model, server_round)
        newest = GradientSize.of(here)
        reference = self._reference(memory, newest)
        trained = newest.trained
        norms = rows.norms(trained)
        factors = self._factors(rows, norms, reference)

        def pseudo_update(q: Vector) -> Step:
            q = self._shares(q, factors)
            weights = this_round.gamma * factors * q
            model, replaced = rows.descend(weights, trained)
            return Step(model, q, weights, replaced)

        step = pseudo_update(this_round.q)  # equation 1
        loss = self._loss(step.model, server_round)
        for _ in range(self.meta_steps):
            gradient = self._gradient(step.model, server_round)
            length = GradientSize.of(gradient).length
            if self.normalize:
                gradient = without_reversal(gradient, here)
            products = self._products(rows, gradient, norms, factors, length)
            better = pseudo_update(
                step.q + this_round.alpha * this_round.gamma * products
            )  # equation 2
            lower = self._loss(better.model, server_round)
            if self.tolerance is not None and not lower < loss - self.tolerance:
                break
            step, loss = better, lower
        self._memory = self._next(memory, this_round, step.q, newest)
        return step

    def _loss(self, model: Model, server_round: int) -> float:
        """The auxiliary loss, if it decides when to stop."""
        if self.tolerance is None:
            return math.nan
        return float(self.auxiliary.loss(list(model.arrays), server_round))


class ByGARSPlusPlusAggregator(ReputationAggregator):
    """ByGARS++ moves the model by the last round's scores, and then updates the scores (figure 1b).

    The auxiliary gradient is computed while the clients work. The scores are updated in another thread after
    the round.

    Parameters
    ----------
    auxiliary : AuxiliaryLoss
        The gradient on the server's own data. The loss itself is not used.
    **kwargs
        See :class:`ReputationAggregator`.

    Raises
    ------
    ValueError
        If a parameter is out of range.
    """

    def _scored_step(self, this_round: ScoredRound, memory: Memory) -> Step:
        rows, size = this_round.rows, memory.size()
        gradient = self._early_gradient(rows.model, this_round.server_round)
        if gradient is None and (self.normalize or (size is None and this_round.q.any())):
            gradient = self._gradient_here(rows.model, this_round.server_round)
        if gradient is not None:
            size = self._reference(memory, GradientSize.of(gradient))
        step = Step(rows.model, this_round.q, np.zeros(len(this_round.q)), 0)
        if size is not None:
            factors = self._factors(rows, rows.norms(size.trained), size)
            weights = this_round.gamma * factors * self._shares(this_round.q, factors)
            model, replaced = rows.descend(weights, size.trained)
            step = Step(model, this_round.q, weights, replaced)
        self._learn_later(lambda: self._learn(this_round, memory, gradient))
        return step

    def _learn(self, this_round: ScoredRound, memory: Memory, gradient: Gradient | None) -> Memory:
        """Compute the second half of equation 3."""
        if gradient is None:
            gradient = self._gradient(this_round.rows.model, this_round.server_round)
        rows, size = this_round.rows, GradientSize.of(gradient)
        norms = rows.norms(size.trained)
        factors = self._factors(rows, norms, self._reference(memory, size))
        products = self._products(rows, gradient, norms, factors, size.length)
        q = (1 - this_round.alpha) * this_round.q + this_round.alpha * products
        return self._next(memory, this_round, q, size)


def _check_meta(auxiliary: object, meta_steps: int, tolerance: float | None) -> None:
    require_whole("meta_steps", meta_steps, 1, "Each step costs an auxiliary gradient. Try 3.")
    if tolerance is None:
        return
    require(
        is_number(tolerance) and tolerance >= 0,
        "tolerance",
        "None or a number of at least 0",
        tolerance,
        "Pass 0 to stop once the auxiliary loss rises.",
    )
    if not callable(getattr(auxiliary, "loss", None)):
        raise ParameterError(
            "Parameter `auxiliary` should have a method `loss(parameters, server_round)` if `tolerance` "
            f"is given. Found `auxiliary = {auxiliary!r}`. Add the method, or leave `tolerance` out."
        )

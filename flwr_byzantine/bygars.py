"""ByGARS and ByGARS++: aggregation by reputation scores, for any number of Byzantine clients.

H holds one row h_i a client: the gradient it sent, or w_t - w_i where it sent its model w_i. The server
has a small data set of its own, with loss L_t, and keeps a score q_i for every client, any real number.
"""

import math
from typing import Any

import numpy as np

from flwr_byzantine.auxiliary import AuxiliaryLoss
from flwr_byzantine.memory import Memory
from flwr_byzantine.metrics import is_number
from flwr_byzantine.pseudogradients import Gradient, Vector, Yardstick, without_reversal
from flwr_byzantine.reputation import ReputationAggregator, Step, Turn
from flwr_byzantine.updates import Model


class ByGARSAggregator(ReputationAggregator):
    """ByGARS: k meta updates of the scores on the auxiliary loss, then the model moves (figure 1a).

    Parameters
    ----------
    auxiliary : AuxiliaryLoss
        Loss and gradient on the server's own data.
    meta_steps : int
        k, pseudo and meta updates a round; at least 1.
    tolerance : float or None
        Where given, a meta update that does not lower the auxiliary loss by more than this is not
        made, and ends the round's.
    **kwargs
        As for :class:`ReputationAggregator`.

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

    def _turn(self, turn: Turn, memory: Memory) -> Step:
        rows, server_round = turn.rows, turn.server_round
        here = self._gradient_here(turn)
        newest = Yardstick.of(here)
        reference = self._reference(memory, newest)
        trained = newest.trained
        norms = rows.norms(trained)
        factors = self._factors(norms, reference.length)

        def pseudo_update(q: Vector) -> Step:
            q = self._shares(q, factors)
            weights = turn.gamma * factors * q
            model, replaced = rows.descend(weights, trained)
            return Step(model, q, weights, replaced)

        step = pseudo_update(turn.q)  # equation 1
        loss = self._loss(step.model, server_round)
        for _ in range(self.meta_steps):
            gradient = self._gradient(step.model, server_round)
            length = Yardstick.of(gradient).length
            if self.normalize:
                gradient = without_reversal(gradient, here)
            products = self._products(rows, gradient, norms, factors, length)
            better = pseudo_update(step.q + turn.alpha * turn.gamma * products)  # equation 2
            lower = self._loss(better.model, server_round)
            if self.tolerance is not None and not lower < loss - self.tolerance:
                break
            step, loss = better, lower
        self._memory = memory.updated(turn.clients, step.q, newest)
        return step

    def _loss(self, model: Model, server_round: int) -> float:
        """The auxiliary loss, where it decides when to stop."""
        if self.tolerance is None:
            return math.nan
        return float(self.auxiliary.loss(list(model.arrays), server_round))


class ByGARSPlusPlusAggregator(ReputationAggregator):
    """ByGARS++: the model moves by the last round's scores, which then learn from it (figure 1b).

    The auxiliary gradient is taken while the clients compute, and the scores learn from the round in
    another thread after it.

    Parameters
    ----------
    auxiliary : AuxiliaryLoss
        Gradient on the server's own data; its loss is not used.
    **kwargs
        As for :class:`ReputationAggregator`.

    Raises
    ------
    ValueError
        If a parameter is out of range.
    """

    def _turn(self, turn: Turn, memory: Memory) -> Step:
        rows, yardstick, gradient = turn.rows, memory.yardstick(), self._gradient_ahead(turn)
        if gradient is None and (self.normalize or (yardstick is None and turn.q.any())):
            gradient = self._gradient_here(turn)
        if gradient is not None:
            yardstick = self._reference(memory, Yardstick.of(gradient))
        step = Step(rows.model, turn.q, np.zeros(len(turn.q)), 0)
        if yardstick is not None:
            factors = self._factors(rows.norms(yardstick.trained), yardstick.length)
            weights = turn.gamma * factors * self._shares(turn.q, factors)
            model, replaced = rows.descend(weights, yardstick.trained)
            step = Step(model, turn.q, weights, replaced)
        self._learn_later(lambda: self._learn(turn, memory, gradient))
        return step

    def _learn(self, turn: Turn, memory: Memory, gradient: Gradient | None) -> Memory:
        """The second half of equation 3."""
        if gradient is None:
            gradient = self._gradient(turn.rows.model, turn.server_round)
        yardstick = Yardstick.of(gradient)
        norms = turn.rows.norms(yardstick.trained)
        reference = self._reference(memory, yardstick)
        factors = self._factors(norms, reference.length)
        products = self._products(turn.rows, gradient, norms, factors, yardstick.length)
        q = (1 - turn.alpha) * turn.q + turn.alpha * products
        return memory.updated(turn.clients, q, yardstick)


def _check_meta(auxiliary: object, meta_steps: int, tolerance: float | None) -> None:
    if isinstance(meta_steps, bool) or not isinstance(meta_steps, int) or meta_steps < 1:
        raise ValueError(
            "Parameter `meta_steps` should be a whole number of at least 1. "
            f"Found `meta_steps = {meta_steps!r}`. Each costs an auxiliary gradient; try 3."
        )
    if tolerance is not None and not (is_number(tolerance) and tolerance >= 0):
        raise ValueError(
            "Parameter `tolerance` should be None or a number of at least 0. "
            f"Found `tolerance = {tolerance!r}`. Pass 0 to stop once the auxiliary loss rises."
        )
    if tolerance is not None and not callable(getattr(auxiliary, "loss", None)):
        raise ValueError(
            "Parameter `auxiliary` should have a method `loss(parameters, server_round)` where "
            f"`tolerance` is given. Found `auxiliary = {auxiliary!r}`. Leave `tolerance` out."
        )

"""What ByGARS and ByGARS++ share: scores that last from round to round, and the scaling of a round's rows."""

import math
import threading
from abc import abstractmethod
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any

import numpy as np

from flwr_byzantine.aggregation.gate import Gated, Reply
from flwr_byzantine.aggregation.outcome import Outcome
from flwr_byzantine.aggregation.step_sizes import LearningRate, check_learning_rate, step_size
from flwr_byzantine.reputation.auxiliary import AuxiliaryLoss
from flwr_byzantine.reputation.background import IN_BACKGROUND, in_background
from flwr_byzantine.reputation.base import AuxiliaryAggregator
from flwr_byzantine.reputation.rounds import ScoredRound, Step
from flwr_byzantine.reputation.rows import (
    SHORTEST,
    Gradient,
    GradientSize,
    PseudoGradients,
    Vector,
    to_length,
)
from flwr_byzantine.reputation.scores import Memory, ReputationOutcome
from flwr_byzantine.reputation.settings import check_settings
from flwr_byzantine.rules.base import Rule


class ReputationAggregator(AuxiliaryAggregator):
    """Weighs clients by reputation scores, which it keeps under the server's own names of the clients.

    Parameters
    ----------
    auxiliary : AuxiliaryLoss
        The loss and the gradient on the server's own data.
    meta_learning_rate : float or Callable[[int], float]
        alpha_t. (gamma_t is `learning_rate`.)
    initial_reputation : float
        The score of a client in its first round.
    max_norm_ratio : float
        Without `normalize`, a row of H may be this many times as long as the usual auxiliary gradient. Longer
        rows are scaled down to that length. The usual length is the median of the newest gradients' lengths.
    normalize : bool
        Whether to make all rows of H as long as the round's auxiliary gradient at w_t, to use cosines in
        place of inner products, and to move the model by the scores' shares.
    forget_after : int or None
        A client without a usable reply in this many rounds is forgotten. None keeps all scores.
    **kwargs
        See :class:`AuxiliaryAggregator`.

    Raises
    ------
    ValueError
        If a parameter is out of range.
    """

    def __init__(
        self,
        auxiliary: AuxiliaryLoss,
        *,
        meta_learning_rate: LearningRate,
        initial_reputation: float,
        max_norm_ratio: float,
        normalize: bool,
        forget_after: int | None,
        **kwargs: Any,
    ) -> None:
        super().__init__(auxiliary, **kwargs)
        check_learning_rate("meta_learning_rate", meta_learning_rate)
        check_settings(initial_reputation, max_norm_ratio, normalize, forget_after)
        self.meta_learning_rate = meta_learning_rate
        self.initial_reputation = float(initial_reputation)
        self.max_norm_ratio = float(max_norm_ratio)
        self.normalize = normalize
        self.forget_after = forget_after
        self._memory = Memory()
        self._pending: Future[Memory] | None = None
        self._swap = threading.Lock()

    @property
    def reputations(self) -> dict[str, float]:
        """Client -> score. It waits for an update of the scores that is still running, and raises its error.

        An auxiliary loss that reads it gets the scores before that update, because the update may wait for
        the loss.
        """
        return dict(self._recall().reputations)

    def state_dict(self) -> dict[str, Any]:
        """The state that later rounds depend on besides the model and the round, in types that JSON has."""
        return self._recall().state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue, bit for bit, where :meth:`state_dict` was called.

        Raises
        ------
        ValueError
            If :meth:`state_dict` cannot have given this state.
        """
        memory = Memory.read(state)
        with self._swap:
            self._pending, self._memory = None, memory

    def __getstate__(self) -> dict[str, Any]:
        """The state for copies and pickles. It waits for a running update of the scores."""
        memory = self._recall()
        left_out = {"_memory": memory, "_pending": None}
        return {k: v for k, v in super().__getstate__().items() if k != "_swap"} | left_out

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        """Take over the state of the original."""
        super().__setstate__(state)
        self._swap = threading.Lock()

    def _going_on(self) -> list[Future[Any]]:
        pending = (
            self._pending
        )  # read only once, because another thread may end the update meanwhile
        return super()._going_on() + ([] if pending is None else [pending])

    def _apply(
        self, server_round: int, rule: Rule, gated: Gated, accepted: tuple[Reply, ...]
    ) -> Outcome:
        assert self.model is not None
        memory = self._recall()
        clients, known = tuple(gated.accepted), memory.reputations
        this_round = ScoredRound(
            server_round,
            PseudoGradients(gated, self.model, self.payload),
            clients,
            np.array([known.get(client, self.initial_reputation) for client in clients]),
            step_size("learning_rate", self.learning_rate, server_round),
            step_size("meta_learning_rate", self.meta_learning_rate, server_round),
        )
        step = self._scored_step(this_round, memory)
        scores = dict(zip(clients, step.q.tolist(), strict=True))
        weights = dict(zip(clients, step.weights.tolist(), strict=True))
        return ReputationOutcome(
            step.model, None, accepted, gated.dropped, weights, step.replaced, scores
        )

    @abstractmethod
    def _scored_step(self, this_round: ScoredRound, memory: Memory) -> Step:
        """Move the model, and prepare the new scores that the next :meth:`_recall` gives."""

    def _next(
        self, memory: Memory, this_round: ScoredRound, q: Vector, size: GradientSize
    ) -> Memory:
        """The memory after a round, with the new scores and without clients that are absent for long."""
        after = memory.updated(size).scored(this_round.server_round, this_round.clients, q)
        return after.without_unseen(this_round.server_round, self.forget_after)

    def _recall(self) -> Memory:
        """The latest memory. It waits for a running update, unless that update waits for the caller.

        An auxiliary loss may read the scores while the update waits for the loss. The server may then hold
        ``lock``. So the loss gets the memory before the update, and no thread waits while it holds a lock.
        """
        pending = self._pending
        if pending is None:
            return self._memory
        if IN_BACKGROUND.get():
            finished = pending.done() and pending.exception() is None
            return pending.result() if finished else self._memory
        try:
            memory = pending.result()
        except BaseException:
            self._forget(pending, self._memory)
            raise
        self._forget(pending, memory)
        return memory

    def _forget(self, pending: Future[Memory], memory: Memory) -> None:
        """Store the memory that an update gave, and drop the update."""
        with self._swap:
            if self._pending is pending:
                self._pending, self._memory = None, memory

    def _learn_later(self, learn: Callable[[], Memory]) -> None:
        """Compute the next memory in another thread."""
        pending = in_background(learn)
        with self._swap:
            self._pending = pending

    def _reference(self, memory: Memory, newest: GradientSize) -> GradientSize:
        """The length that rows are compared with: the usual one, or the round's own with `normalize`."""
        usual = None if self.normalize else memory.size(newest)
        return usual or newest

    def _factors(self, rows: PseudoGradients, norms: Vector, size: GradientSize) -> Vector:
        """The factor of each row of H: 1, less for a row that is too long, 0 for one that is not finite.

        With `normalize`, the factor gives a row the length of the auxiliary gradient.
        """
        if not math.isfinite(size.length):
            return np.zeros(len(norms))
        length = size.length if size.length > SHORTEST else 0.0
        if self.normalize:
            return to_length(length, norms, rows.shortest(size.trained))
        limit = self.max_norm_ratio * length
        with np.errstate(divide="ignore", invalid="ignore"):
            factors = np.where(norms > limit, limit / norms, 1.0)
        return np.where(np.isfinite(norms) & np.isfinite(factors), factors, 0.0)

    def _shares(self, q: Vector, factors: Vector) -> Vector:
        """The scores q. With `normalize`, they are divided by the sum of their sizes over rows that count."""
        total = np.abs(q[factors > 0]).sum() if self.normalize else 1.0
        return q / total if total > 0 else np.zeros(len(q))

    def _products(
        self,
        rows: PseudoGradients,
        gradient: Gradient,
        norms: Vector,
        factors: Vector,
        length: float,
    ) -> Vector:
        """H times an auxiliary gradient of that length; cosines with `normalize`; 0 for rows left out."""
        with np.errstate(invalid="ignore"):
            values = (
                rows.cosines(gradient, norms, length)
                if self.normalize
                else rows.inner_products(gradient) * factors
            )
        return np.where((factors > 0) & np.isfinite(values), values, 0.0)

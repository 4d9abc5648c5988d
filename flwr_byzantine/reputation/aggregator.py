"""What ByGARS and ByGARS++ share: scores that persist, and the rows of a round made fit for them."""

import math
import threading
from abc import abstractmethod
from collections.abc import Callable, Mapping
from concurrent.futures import Future, wait
from typing import Any

import numpy as np

from flwr_byzantine.aggregation.aggregator import Aggregator
from flwr_byzantine.aggregation.gate import Gated, Model, Reply
from flwr_byzantine.aggregation.outcome import Outcome
from flwr_byzantine.aggregation.step_sizes import LearningRate, check_learning_rate, step_size
from flwr_byzantine.reputation.auxiliary import AuxiliaryLoss
from flwr_byzantine.reputation.background import IN_BACKGROUND, in_background
from flwr_byzantine.reputation.rounds import EarlyGradient, ScoredRound, Step
from flwr_byzantine.reputation.rows import (
    Gradient,
    GradientSize,
    PseudoGradients,
    Vector,
    WeightedSum,
)
from flwr_byzantine.reputation.scores import Memory, ReputationOutcome
from flwr_byzantine.reputation.settings import check_settings
from flwr_byzantine.rules.base import Rule

SHORTEST = 1e-140  # a vector shorter than this loses digits, or vanishes, when it is squared


class ReputationAggregator(Aggregator):
    """Weighs clients by reputation scores, kept under the server's own names of the clients.

    Parameters
    ----------
    auxiliary : AuxiliaryLoss
        Loss and gradient on the server's own data.
    payload : str
        ``"parameters"``: clients send models, h_i = w_t - w_i. ``"gradients"``: they send h_i.
    learning_rate, meta_learning_rate : float or Callable[[int], float]
        gamma_t and alpha_t.
    initial_reputation : float
        Score of a client that is seen for the first time.
    max_norm_ratio : float
        Without `normalize`, rows of H longer than so many times the usual auxiliary gradient are scaled
        down to that length. The usual one has the median length of the newest.
    normalize : bool
        Whether to make all rows of H as long as the round's auxiliary gradient at w_t, take cosines in
        place of inner products, and move the model by the scores' shares.
    forget_after : int or None
        A client without a usable reply in so many rounds is forgotten. None keeps all scores.
    order_by, **kwargs
        As for :class:`flwr_byzantine.aggregation.aggregator.Aggregator`.

    Raises
    ------
    ValueError
        If a parameter is out of range.
    """

    def __init__(
        self,
        auxiliary: AuxiliaryLoss,
        *,
        payload: str,
        learning_rate: LearningRate,
        meta_learning_rate: LearningRate,
        initial_reputation: float,
        max_norm_ratio: float,
        normalize: bool,
        forget_after: int | None,
        order_by: str | None,
        **kwargs: Any,
    ) -> None:
        super().__init__(WeightedSum(), payload, learning_rate, order_by, **kwargs)
        check_learning_rate("meta_learning_rate", meta_learning_rate)
        check_settings(auxiliary, initial_reputation, max_norm_ratio, forget_after)
        self.auxiliary = auxiliary
        self.meta_learning_rate = meta_learning_rate
        self.initial_reputation = float(initial_reputation)
        self.max_norm_ratio = float(max_norm_ratio)
        self.normalize = normalize
        self.forget_after = forget_after
        self._memory = Memory()
        self._pending: Future[Memory] | None = None
        self._swap = threading.Lock()
        self._early: EarlyGradient | None = None

    @property
    def reputations(self) -> dict[str, float]:
        """Client -> score. Waits for an update that is going on, and raises what ended it.

        In the auxiliary loss, which that update may wait for, these are the scores before it.
        """
        return dict(self._recall().reputations)

    def state_dict(self) -> dict[str, Any]:
        """What the next rounds depend on besides the model and the round, in types that JSON has."""
        return self._recall().state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue, bit for bit, where :meth:`state_dict` was called.

        Raises
        ------
        ValueError
            If the state is nothing that :meth:`state_dict` gives.
        """
        memory = Memory.read(state)
        with self._swap:
            self._pending, self._memory = None, memory

    def __getstate__(self) -> dict[str, Any]:
        """What copies and pickles hold: the scores after the update that is going on."""
        memory = self._recall()
        left_out = {"_memory": memory, "_pending": None, "_early": None}
        return {k: v for k, v in super().__getstate__().items() if k != "_swap"} | left_out

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        """Be as the original was, with no gradient on its way."""
        super().__setstate__(state)
        self._swap = threading.Lock()

    def begin(self, server_round: int, model: Model) -> None:
        """Remember the model, and take its auxiliary gradient while the clients compute theirs."""
        super().begin(server_round, model)
        early, pending = (
            self._early,
            self._pending,
        )  # read once: others may end the update meanwhile
        before: list[Future[Any]] = [] if early is None else [early.gradient]
        before += [] if pending is None else [pending]

        def gradient() -> Gradient:
            wait(before)  # never two calls at a time
            return self._gradient(model, server_round)

        self._early = EarlyGradient(model, server_round, in_background(gradient))

    @property
    def _needs_model(self) -> bool:
        return True

    def _promised(self, n: int) -> int:
        return n  # any number of Byzantine clients

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
        step = self._play(this_round, memory)
        scores = dict(zip(clients, step.q.tolist(), strict=True))
        weights = dict(zip(clients, step.weights.tolist(), strict=True))
        return ReputationOutcome(
            step.model, None, accepted, gated.dropped, weights, step.replaced, scores
        )

    @abstractmethod
    def _play(self, this_round: ScoredRound, memory: Memory) -> Step:
        """Move the model, and see to it that the next :meth:`_recall` gives the new scores."""

    def _next(
        self, memory: Memory, this_round: ScoredRound, q: Vector, size: GradientSize
    ) -> Memory:
        """The memory after a round: with its new scores, and without those of clients long unseen."""
        after = memory.updated(size).scored(this_round.server_round, this_round.clients, q)
        return after.without_unseen(this_round.server_round, self.forget_after)

    def _recall(self) -> Memory:
        """The latest memory, after the update that is going on; before it where that waits for us.

        An auxiliary loss may read the scores. It holds up the update, and the server perhaps, which then
        holds ``lock``: so it gets what there is, and nobody waits with a lock.
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
        """Put a memory in the place of the update that it comes from."""
        with self._swap:
            if self._pending is pending:
                self._pending, self._memory = None, memory

    def _learn_later(self, learn: Callable[[], Memory]) -> None:
        """Give the next memory in another thread."""
        pending = in_background(learn)
        with self._swap:
            self._pending = pending

    def _early_gradient(self, this_round: ScoredRound) -> Gradient | None:
        """The auxiliary gradient at w_t that :meth:`begin` asked for; None where it was not called."""
        early = self._early
        if (
            early
            and early.model is this_round.rows.model
            and early.server_round == this_round.server_round
        ):
            return early.gradient.result()
        return None

    def _gradient_here(self, this_round: ScoredRound) -> Gradient:
        """The auxiliary gradient at w_t: the one :meth:`begin` asked for, or a new one."""
        early = self._early_gradient(this_round)
        return (
            self._gradient(this_round.rows.model, this_round.server_round)
            if early is None
            else early
        )

    def _reference(self, memory: Memory, newest: GradientSize) -> GradientSize:
        """What rows are measured by: the usual length, or with `normalize` that of the round."""
        usual = None if self.normalize else memory.size(newest)
        return usual or newest

    def _gradient(self, model: Model, server_round: int) -> Gradient:
        """The auxiliary gradient, checked."""
        gradient = self.auxiliary(list(model.arrays), server_round)
        found = [None if array is None else np.shape(array) for array in gradient]
        expected = [array.shape for array in model.arrays]
        if len(found) != len(expected) or any(
            shape not in (None, wanted) for shape, wanted in zip(found, expected, strict=True)
        ):
            raise ValueError(
                f"Parameter `auxiliary` should give arrays of the model's shapes {expected}, or None "
                f"for tensors without a gradient. Found {found}. Give one entry for each tensor."
            )
        assert self.model is not None
        buffers = self.buffers_of(self.model)
        return [None if t in buffers else array for t, array in enumerate(gradient)]

    def _factors(self, norms: Vector, length: float) -> Vector:
        """What each row of H is multiplied by: 1, less where it is too long, 0 where not finite.

        With `normalize`, what brings it to the length of the auxiliary gradient; 0 where a row is too
        short to be squared, so that its norm says nothing.
        """
        if not math.isfinite(length):
            return np.zeros(len(norms))
        ratio = 1.0 if self.normalize else self.max_norm_ratio
        limit = ratio * length if length > SHORTEST else 0.0
        with np.errstate(divide="ignore", invalid="ignore"):
            factors = limit / norms
            if not self.normalize:
                factors = np.where(norms > limit, factors, 1.0)
        counts = np.isfinite(norms) & np.isfinite(factors)
        if self.normalize:
            counts &= norms > SHORTEST
        return np.where(counts, factors, 0.0)

    def _shares(self, q: Vector, factors: Vector) -> Vector:
        """q; with `normalize`, divided by the sum of the absolute scores of the rows that count."""
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
        """H times an auxiliary gradient of that length, or the cosines; 0 for rows left out."""
        products = rows.inner_products(gradient)
        with np.errstate(divide="ignore", invalid="ignore"):
            values = products / (norms * length) if self.normalize else products * factors
        return np.where((factors > 0) & np.isfinite(values), values, 0.0)

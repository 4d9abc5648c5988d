"""ByGARS and ByGARS++: aggregation by reputation scores, for any number of Byzantine clients.

H holds one row h_i a client: the gradient it sent, or w_t - w_i where it sent its model w_i. The server
has a small data set of its own, with loss L_t, and keeps a score q_i for every client, any real number.
"""

import math
from abc import abstractmethod
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import numpy as np

from flwr_byzantine.aggregation import Aggregator
from flwr_byzantine.auxiliary import AuxiliaryLoss
from flwr_byzantine.metrics import is_number
from flwr_byzantine.outcome import Outcome
from flwr_byzantine.pseudogradients import (
    Gradient,
    PseudoGradients,
    Vector,
    WeightedSum,
    Yardstick,
)
from flwr_byzantine.reputation import Memory, ReputationOutcome
from flwr_byzantine.rules.base import Rule
from flwr_byzantine.schedules import Schedule, check_schedule, step_size
from flwr_byzantine.updates import Gated, Model, Reply

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Turn:
    """One round: H, the scores q of its clients, the step sizes, and the last round's yardstick."""

    server_round: int
    rows: PseudoGradients
    clients: tuple[str, ...]
    q: Vector
    gamma: float
    alpha: float
    yardstick: Yardstick | None


@dataclass(frozen=True, eq=False)
class Step:
    """The model's move: the new model, the scores and weights that gave it, and what overflowed."""

    model: Model
    q: Vector
    weights: Vector
    replaced: int


class Ahead(NamedTuple):
    """An auxiliary gradient that is computed before it is needed."""

    model: Model
    server_round: int
    gradient: Future[Gradient]


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
        Rows of H longer than so many times the latest auxiliary gradient are scaled down to that.
    normalize : bool
        Whether to make all rows of H as long as the round's auxiliary gradient at w_t, and take cosines
        in place of inner products.
    order_by, **kwargs
        As for :class:`flwr_byzantine.aggregation.Aggregator`.

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
        learning_rate: Schedule,
        meta_learning_rate: Schedule,
        initial_reputation: float,
        max_norm_ratio: float,
        normalize: bool,
        order_by: str | None,
        **kwargs: Any,
    ) -> None:
        super().__init__(WeightedSum(), payload, learning_rate, order_by, **kwargs)
        check_schedule("meta_learning_rate", meta_learning_rate)
        _check(auxiliary, initial_reputation, max_norm_ratio)
        self.auxiliary = auxiliary
        self.meta_learning_rate = meta_learning_rate
        self.initial_reputation = float(initial_reputation)
        self.max_norm_ratio = float(max_norm_ratio)
        self.normalize = normalize
        self._memory = Memory()
        self._pending: Future[Memory] | None = None
        self._ahead: Ahead | None = None

    @property
    def reputations(self) -> dict[str, float]:
        """Client -> score. Waits for an update that is going on, and raises what ended it."""
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
        with self.lock:
            self._pending, self._memory = None, memory

    def begin(self, server_round: int, model: Model) -> None:
        """Remember the model, and take its auxiliary gradient while the clients compute theirs."""
        super().begin(server_round, model)
        if self.normalize:
            before = self._ahead

            def gradient() -> Gradient:
                if before is not None:  # of a round that had too few replies to need it
                    wait([before.gradient])
                return self._gradient(model, server_round)

            self._ahead = Ahead(model, server_round, _in_background(gradient))

    @property
    def _needs_model(self) -> bool:
        return True

    def _apply(
        self, server_round: int, rule: Rule, gated: Gated, accepted: tuple[Reply, ...]
    ) -> Outcome:
        assert self.model is not None
        memory = self._recall()
        clients, known = tuple(gated.accepted), memory.reputations
        turn = Turn(
            server_round,
            PseudoGradients(gated, self.model, self.payload),
            clients,
            np.array([known.get(client, self.initial_reputation) for client in clients]),
            step_size("learning_rate", self.learning_rate, server_round),
            step_size("meta_learning_rate", self.meta_learning_rate, server_round),
            memory.yardstick,
        )
        step = self._turn(turn, memory)
        scores = memory.updated(clients, step.q, None).reputations
        weights = dict(zip(clients, step.weights.tolist(), strict=True))
        return ReputationOutcome(
            step.model, None, accepted, gated.dropped, weights, step.replaced, scores
        )

    @abstractmethod
    def _turn(self, turn: Turn, memory: Memory) -> Step:
        """Move the model, and see to it that the next :meth:`_recall` gives the new scores."""

    def _recall(self) -> Memory:
        """The latest memory, after the update that is going on."""
        with self.lock:
            pending, self._pending = self._pending, None
            if pending is not None:
                self._memory = pending.result()
            return self._memory

    def _gradient_here(self, turn: Turn) -> Gradient:
        """The auxiliary gradient at w_t: the one :meth:`begin` asked for, or a new one."""
        model, ahead = turn.rows.model, self._ahead
        if ahead and ahead.model is model and ahead.server_round == turn.server_round:
            return ahead.gradient.result()
        return self._gradient(model, turn.server_round)

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
        return gradient

    def _factors(self, norms: Vector, length: float) -> Vector:
        """What each row of H is multiplied by: 1, less where it is too long, 0 where not finite.

        With `normalize`, what brings it to the length of the auxiliary gradient.
        """
        if not math.isfinite(length):
            return np.zeros(len(norms))
        ratio = 1.0 if self.normalize else self.max_norm_ratio
        limit = ratio * length if length else 0.0
        with np.errstate(divide="ignore", invalid="ignore"):
            factors = limit / norms
            if not self.normalize:
                factors = np.where(norms > limit, factors, 1.0)
        return np.where(np.isfinite(norms) & np.isfinite(factors), factors, 0.0)

    def _products(
        self, rows: PseudoGradients, gradient: Gradient, norms: Vector, factors: Vector
    ) -> Vector:
        """H times an auxiliary gradient, or the cosines; 0 for rows that are left out."""
        products = rows.inner_products(gradient)
        with np.errstate(divide="ignore", invalid="ignore"):
            length = Yardstick.of(gradient).length
            values = products / (norms * length) if self.normalize else products * factors
        return np.where((factors > 0) & np.isfinite(values), values, 0.0)


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
        known = None if self.normalize else turn.yardstick
        reference = known or Yardstick.of(self._gradient_here(turn))
        yardstick, norms = reference, rows.norms(reference.trained)
        factors = self._factors(norms, reference.length)

        def pseudo_update(q: Vector) -> Step:
            weights = turn.gamma * factors * q
            model, replaced = rows.descend(weights, reference.trained)
            return Step(model, q, weights, replaced)

        step = pseudo_update(turn.q)  # equation 1
        loss = self._loss(step.model, server_round)
        for _ in range(self.meta_steps):
            gradient = self._gradient(step.model, server_round)
            yardstick = Yardstick.of(gradient)
            products = self._products(rows, gradient, norms, factors)
            better = pseudo_update(step.q + turn.alpha * turn.gamma * products)  # equation 2
            lower = self._loss(better.model, server_round)
            if self.tolerance is not None and not lower < loss - self.tolerance:
                break
            step, loss = better, lower
        self._memory = memory.updated(turn.clients, step.q, yardstick)
        return step

    def _loss(self, model: Model, server_round: int) -> float:
        """The auxiliary loss, where it decides when to stop."""
        if self.tolerance is None:
            return math.nan
        return float(self.auxiliary.loss(list(model.arrays), server_round))


class ByGARSPlusPlusAggregator(ReputationAggregator):
    """ByGARS++: the model moves by the last round's scores, which then learn from it (figure 1b).

    The scores are updated in another thread while the clients compute the next round.

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
        rows, yardstick, gradient = turn.rows, turn.yardstick, None
        if self.normalize or (yardstick is None and turn.q.any()):
            gradient = self._gradient_here(turn)
            yardstick = Yardstick.of(gradient)
        step = Step(rows.model, turn.q, np.zeros(len(turn.q)), 0)
        if yardstick is not None:
            factors = self._factors(rows.norms(yardstick.trained), yardstick.length)
            weights = turn.gamma * factors * self._shares(turn.q, factors)
            model, replaced = rows.descend(weights, yardstick.trained)
            step = Step(model, turn.q, weights, replaced)
        self._pending = _in_background(lambda: self._learn(turn, memory, gradient))
        return step

    def _shares(self, q: Vector, factors: Vector) -> Vector:
        """q; with `normalize`, divided by the sum of the absolute scores of the rows that count."""
        total = np.abs(q[factors > 0]).sum() if self.normalize else 1.0
        return q / total if total > 0 else np.zeros(len(q))

    def _learn(self, turn: Turn, memory: Memory, gradient: Gradient | None) -> Memory:
        """The second half of equation 3."""
        if gradient is None:
            gradient = self._gradient(turn.rows.model, turn.server_round)
        yardstick = Yardstick.of(gradient)
        norms = turn.rows.norms(yardstick.trained)
        reference = turn.yardstick if turn.yardstick and not self.normalize else yardstick
        factors = self._factors(norms, reference.length)
        products = self._products(turn.rows, gradient, norms, factors)
        q = (1 - turn.alpha) * turn.q + turn.alpha * products
        return memory.updated(turn.clients, q, yardstick)


def _in_background(function: Callable[[], T]) -> Future[T]:
    """Call a function in a thread of its own, which ends with it."""
    pool = ThreadPoolExecutor(1, thread_name_prefix="reputations")
    try:
        return pool.submit(function)
    finally:
        pool.shutdown(wait=False)


def _check(auxiliary: object, initial_reputation: float, max_norm_ratio: float) -> None:
    if not callable(auxiliary):
        raise ValueError(
            "Parameter `auxiliary` should be a function `auxiliary(parameters, server_round)` that gives "
            f"a gradient. Found `auxiliary = {auxiliary!r}`. Try `TorchAuxiliaryLoss`."
        )
    if not is_number(initial_reputation):
        raise ValueError(
            "Parameter `initial_reputation` should be a finite number. Found `initial_reputation = "
            f"{initial_reputation!r}`. Leave it out for the paper's 0, or try 1 / (number of clients)."
        )
    if isinstance(max_norm_ratio, bool) or not max_norm_ratio > 0:
        raise ValueError(
            "Parameter `max_norm_ratio` should be a positive number. "
            f"Found `max_norm_ratio = {max_norm_ratio!r}`. Pass `math.inf` to set no limit."
        )


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

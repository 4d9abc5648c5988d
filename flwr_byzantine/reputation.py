"""What ByGARS and ByGARS++ share: scores that persist, and the rows of a round made fit for them."""

import math
import threading
from abc import abstractmethod
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import numpy as np

from flwr_byzantine.aggregation import Aggregator
from flwr_byzantine.auxiliary import AuxiliaryLoss
from flwr_byzantine.memory import Memory, ReputationOutcome
from flwr_byzantine.metrics import is_number
from flwr_byzantine.outcome import Outcome
from flwr_byzantine.pseudogradients import (
    Gradient,
    PseudoGradients,
    Vector,
    WeightedSum,
    Yardstick,
)
from flwr_byzantine.rules.base import Rule
from flwr_byzantine.schedules import Schedule, check_schedule, step_size
from flwr_byzantine.updates import Gated, Model, Reply

SHORTEST = 1e-140  # a vector shorter than this loses digits, or vanishes, when it is squared
T = TypeVar("T")
_IN_BACKGROUND: ContextVar[bool] = ContextVar("in_background", default=False)


@dataclass(frozen=True, eq=False)
class Turn:
    """One round: H, the scores q of its clients, and its step sizes."""

    server_round: int
    rows: PseudoGradients
    clients: tuple[str, ...]
    q: Vector
    gamma: float
    alpha: float


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
        Without `normalize`, rows of H longer than so many times the usual auxiliary gradient are scaled
        down to that length. The usual one has the median length of the newest.
    normalize : bool
        Whether to make all rows of H as long as the round's auxiliary gradient at w_t, take cosines in
        place of inner products, and move the model by the scores' shares.
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
        self._swap = threading.Lock()
        self._ahead: Ahead | None = None

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

    def begin(self, server_round: int, model: Model) -> None:
        """Remember the model, and take its auxiliary gradient while the clients compute theirs."""
        super().begin(server_round, model)
        ahead, pending = (
            self._ahead,
            self._pending,
        )  # read once: others may end the update meanwhile
        before: list[Future[Any]] = [] if ahead is None else [ahead.gradient]
        before += [] if pending is None else [pending]

        def gradient() -> Gradient:
            wait(before)  # never two calls at a time
            return self._gradient(model, server_round)

        self._ahead = Ahead(model, server_round, in_background(gradient))

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
        """The latest memory, after the update that is going on; before it where that waits for us.

        An auxiliary loss may read the scores. It holds up the update, and the server perhaps, which then
        holds ``lock``: so it gets what there is, and nobody waits with a lock.
        """
        pending = self._pending
        if pending is None:
            return self._memory
        if _IN_BACKGROUND.get():
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

    def _gradient_ahead(self, turn: Turn) -> Gradient | None:
        """The auxiliary gradient at w_t that :meth:`begin` asked for; None where it was not called."""
        ahead = self._ahead
        if ahead and ahead.model is turn.rows.model and ahead.server_round == turn.server_round:
            return ahead.gradient.result()
        return None

    def _gradient_here(self, turn: Turn) -> Gradient:
        """The auxiliary gradient at w_t: the one :meth:`begin` asked for, or a new one."""
        ahead = self._gradient_ahead(turn)
        return self._gradient(turn.rows.model, turn.server_round) if ahead is None else ahead

    def _reference(self, memory: Memory, newest: Yardstick) -> Yardstick:
        """What rows are measured by: the usual length, or with `normalize` that of the round."""
        usual = None if self.normalize else memory.yardstick(newest)
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


def in_background(function: Callable[[], T]) -> Future[T]:
    """Call a function in a thread of its own, which ends with it."""

    def run() -> T:
        _IN_BACKGROUND.set(True)
        return function()

    pool = ThreadPoolExecutor(1, thread_name_prefix="reputations")
    try:
        return pool.submit(run)
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

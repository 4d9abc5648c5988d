"""What ByGARS, ByGARS++ and FLTrust share: the server's own gradient, computed while clients work."""

from concurrent.futures import Future, wait
from typing import Any, ClassVar

import numpy as np

from flwr_byzantine.aggregation.aggregator import Aggregator
from flwr_byzantine.aggregation.gate import Model
from flwr_byzantine.aggregation.step_sizes import LearningRate
from flwr_byzantine.reputation.auxiliary import AuxiliaryLoss
from flwr_byzantine.reputation.background import in_background
from flwr_byzantine.reputation.rounds import EarlyGradient
from flwr_byzantine.reputation.rows import Gradient, WeightedSum
from flwr_byzantine.reputation.settings import check_auxiliary


class AuxiliaryAggregator(Aggregator):
    """Judges clients by a loss on the server's own data, for any number of Byzantine clients.

    Parameters
    ----------
    auxiliary : AuxiliaryLoss
        The gradient on the server's own data.
    payload : str
        With ``"parameters"``, clients send models, and h_i = w_t - w_i. With ``"gradients"``, they send h_i.
    learning_rate : float or Callable[[int], float]
        gamma_t.
    order_by, **kwargs
        See :class:`flwr_byzantine.aggregation.aggregator.Aggregator`.

    Raises
    ------
    ValueError
        If a parameter is out of range.
    """

    _moves_models: ClassVar[bool] = True

    def __init__(
        self,
        auxiliary: AuxiliaryLoss,
        *,
        payload: str,
        learning_rate: LearningRate,
        order_by: str | None,
        **kwargs: Any,
    ) -> None:
        super().__init__(WeightedSum(), payload, learning_rate, order_by, **kwargs)
        check_auxiliary(auxiliary)
        self.auxiliary = auxiliary
        self._early: EarlyGradient | None = None

    def __getstate__(self) -> dict[str, Any]:
        """The state for copies and pickles, without a gradient that is still being computed."""
        return super().__getstate__() | {"_early": None}

    def begin(self, server_round: int, model: Model) -> None:
        """Remember the model, and begin to compute its auxiliary gradient while the clients work."""
        super().begin(server_round, model)
        before = self._going_on()

        def gradient() -> Gradient:
            wait(before)  # never two calls at a time
            return self._descent(model, server_round)

        self._early = EarlyGradient(model, server_round, in_background(gradient))

    def _going_on(self) -> list[Future[Any]]:
        """The work in other threads that may be calling the auxiliary loss."""
        early = self._early
        return [] if early is None else [early.gradient]

    def _promised(self, n: int) -> int:
        return n  # any number of Byzantine clients

    def _assumed(self, n: int) -> int:
        return (n - 1) // 2

    def _descent(self, model: Model, server_round: int) -> Gradient:
        """Compute the gradient on the server's own data at the round's model."""
        return self._gradient(model, server_round)

    def _early_gradient(self, model: Model, server_round: int) -> Gradient | None:
        """The work that :meth:`begin` started; None if it was not called."""
        early = self._early
        if early and early.model is model and early.server_round == server_round:
            return early.gradient.result()
        return None

    def _gradient_here(self, model: Model, server_round: int) -> Gradient:
        """The gradient that :meth:`begin` started to compute, or a new one."""
        early = self._early_gradient(model, server_round)
        return self._descent(model, server_round) if early is None else early

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
        left_out = {*self.buffers_of(self.model)}
        left_out |= {t for t, array in enumerate(model.arrays) if array.dtype.kind != "f"}
        return [None if t in left_out else array for t, array in enumerate(gradient)]

"""ByGARS and ByGARS++ as strategies: the part that is the same in both Flower APIs."""

from collections.abc import Mapping
from functools import partial
from logging import WARNING
from typing import Any

from flwr.common.logger import log

from flwr_byzantine.aggregation.step_sizes import LearningRate
from flwr_byzantine.reputation.aggregator import ReputationAggregator
from flwr_byzantine.reputation.auxiliary import AuxiliaryLoss
from flwr_byzantine.reputation.bygars import ByGARSAggregator, ByGARSPlusPlusAggregator
from flwr_byzantine.reputation.schedules import PowerDecay
from flwr_byzantine.strategies.auxiliary import AuxiliaryStrategy

RATIO = 10.0  # `max_norm_ratio`
FORGET_AFTER = 1000  # rounds
GAMMA = PowerDecay(0.1, power=1.0, offset=1000)
ALPHA = PowerDecay(0.2, power=0.9, offset=40)  # of ByGARS
ALPHA_PLUS_PLUS = PowerDecay(0.1, power=0.9, offset=20)


class ReputationStrategy(AuxiliaryStrategy):
    """A strategy that keeps a reputation score for every client. It is a mixin for FedAvg.

    Parameters
    ----------
    make, **kwargs
        See :class:`flwr_byzantine.strategies.auxiliary.AuxiliaryStrategy`.
    """

    aggregator: ReputationAggregator

    def __init__(self, make: "partial[Any]", **kwargs: Any) -> None:
        told = make.keywords
        if told["normalize"] and told["max_norm_ratio"] != RATIO:
            log(
                WARNING,
                "`max_norm_ratio` has no effect with `normalize=True`, because all rows get the same length",
            )
        super().__init__(make, **kwargs)

    @property
    def reputations(self) -> dict[str, float]:
        """Client -> score q_i, by the server's own names. It waits for an update that is still running.

        An auxiliary loss that reads it gets the scores before that update, because the update may wait for
        the loss.
        """
        return self.aggregator.reputations

    def state_dict(self) -> dict[str, Any]:
        """The scores, and all other state on which later rounds depend, without model and round."""
        return self.aggregator.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on, bit for bit, from what :meth:`state_dict` gave."""
        self.aggregator.load_state_dict(state)


class ByGARS(ReputationStrategy):
    r"""Reputation scores from a small data set on the server, for any number of Byzantine clients.

    :math:`H_t` has one row :math:`h_i` for each client (its gradient, or :math:`w_t - w_i`). The server
    repeats these two steps k times:

    .. math::

        \hat w = w_t - \gamma_t H_t^T q \quad (1), \qquad
        q \leftarrow q + \alpha_t \gamma_t H_t \nabla L_t(\hat w) \quad (2)

    Then it sets :math:`w_{t+1} = w_t - \gamma_t H_t^T q_{t+1}`. The scores q may be negative: a client
    that always sends the negated gradient becomes useful. The scores persist: a client that is
    absent from a round keeps its score until it is forgotten (`forget_after`). Scores belong to the
    server's ids of the clients. A round's metrics hold the scores of its own clients, as
    ``byzantine/reputation/<client>``.

    Parameters
    ----------
    auxiliary : flwr_byzantine.reputation.auxiliary.AuxiliaryLoss
        The gradient (and the loss) on the server's own data, such as
        :class:`flwr_byzantine.reputation.auxiliary.TorchAuxiliaryLoss`.
    learning_rate : float or Callable[[int], float]
        :math:`\gamma_t`. The default begins with 0.1 and decays. With `normalize`, the model's step is at
        most this many times as long as the auxiliary gradient, however many steps clients take. Without it,
        and with a learning rate of 1, clients that send models move the model by
        :math:`\sum_i q_i (w_i - w_t)`. That is a sum, and not an average.
    meta_learning_rate : float or Callable[[int], float]
        :math:`\alpha_t`.
    meta_steps : int
        k, at least 1. Each step costs an auxiliary gradient while the clients wait.
    tolerance : float or None
        If it is given, a meta update has to lower the auxiliary loss by more than this. The first update
        that does not do so is left out, and no other update follows in that round.
    initial_reputation : float
        The score of a client in its first round. The paper uses 0. With 1 / n, training starts like
        averaging.
    max_norm_ratio : float
        Without `normalize`, a row of :math:`H_t` may be this many times as long as the usual auxiliary
        gradient. Longer rows are scaled down to that length, which bounds :math:`\kappa` of assumption 2.
        The usual length is the median of the newest nine gradients' lengths, so that one bad step does not
        loosen the limit. A row that is not finite is left out of the round, and its inner products are 0.
    normalize : bool
        True, the default, is the normalised form, which deviates from the paper. All rows become as long as
        the auxiliary gradient at :math:`w_t`, which is computed while the clients work. Cosines replace
        inner products, because the size of inner products changes with the square of the gradients' size.
        The model moves by :math:`q / \sum_i |q_i|`, so that :math:`\gamma_t` is the step size of plain
        averaging. ByGARS keeps its scores divided in this way. It leaves out the part of
        :math:`\nabla L_t(\hat w)` opposite to :math:`\nabla L_t(w_t)`. That part only means that a pseudo
        update went too far, and it would make the scores of honest clients negative. False runs the
        paper's equations unchanged.
    forget_after : int or None
        A client that sends no usable reply in this many rounds is forgotten. If it comes back, it begins
        with `initial_reputation`, like a new client. None keeps all scores forever. If nodes get new ids,
        the number of scores then grows.
    **kwargs
        See :class:`flwr_byzantine.strategies.fit_strategies.RobustFedAvg`. There is no rule.

    Raises
    ------
    ValueError
        If a parameter is out of range.

    Notes
    -----
    Tensors without a gradient (BatchNorm's statistics, integers) do not change.

    References
    ----------
    Regatti, Chen, Gupta 2020, ByGARS, figure 1a, equations 1 and 2. The lengths of `normalize` are
    those of Cao, Fang, Liu, Gong 2021, FLTrust, section IV.
    """

    def __init__(
        self,
        *,
        auxiliary: AuxiliaryLoss,
        learning_rate: LearningRate = GAMMA,
        meta_learning_rate: LearningRate = ALPHA,
        meta_steps: int = 3,
        tolerance: float | None = None,
        initial_reputation: float = 0.0,
        max_norm_ratio: float = RATIO,
        normalize: bool = True,
        forget_after: int | None = FORGET_AFTER,
        **kwargs: Any,
    ) -> None:
        make = partial(
            ByGARSAggregator,
            auxiliary,
            meta_learning_rate=meta_learning_rate,
            meta_steps=meta_steps,
            tolerance=tolerance,
            initial_reputation=initial_reputation,
            max_norm_ratio=max_norm_ratio,
            normalize=normalize,
            forget_after=forget_after,
        )
        super().__init__(make, learning_rate=learning_rate, **kwargs)


class ByGARSPlusPlus(ReputationStrategy):
    r"""ByGARS with one auxiliary gradient in each round, which is computed while clients work.

    .. math::

        w_{t+1} = w_t - \gamma_t H_t^T q_t, \qquad
        q_{t+1} = (1 - \alpha_t) q_t + \alpha_t H_t \nabla L_t(w_t) \quad (3)

    With the paper's :math:`q_1 = 0`, the first round does not move the model. It only updates the scores.

    Parameters
    ----------
    auxiliary : Callable
        See :class:`ByGARS`. Only the gradient is used. It runs in another thread while the clients work. If
        it raises an error, the round ends with that error.
    learning_rate, meta_learning_rate, initial_reputation, max_norm_ratio, normalize, forget_after
        See :class:`ByGARS`. Theorem 2 needs three things: the sums of :math:`\alpha_t` and of
        :math:`\gamma_t` diverge, the sums of their squares do not, and :math:`\gamma_t / \alpha_t \to 0`.
        :class:`flwr_byzantine.reputation.schedules.PowerDecay` with the larger power for :math:`\gamma_t`
        meets them.
    **kwargs
        See :class:`flwr_byzantine.strategies.fit_strategies.RobustFedAvg`. There is no rule. With
        `checkpoint`, a round waits for its scores.

    Raises
    ------
    ValueError
        If a parameter is out of range.

    References
    ----------
    Regatti, Chen, Gupta 2020, ByGARS, figure 1b, equation 3, theorems 1 and 2.
    """

    def __init__(
        self,
        *,
        auxiliary: AuxiliaryLoss,
        learning_rate: LearningRate = GAMMA,
        meta_learning_rate: LearningRate = ALPHA_PLUS_PLUS,
        initial_reputation: float = 0.0,
        max_norm_ratio: float = RATIO,
        normalize: bool = True,
        forget_after: int | None = FORGET_AFTER,
        **kwargs: Any,
    ) -> None:
        make = partial(
            ByGARSPlusPlusAggregator,
            auxiliary,
            meta_learning_rate=meta_learning_rate,
            initial_reputation=initial_reputation,
            max_norm_ratio=max_norm_ratio,
            normalize=normalize,
            forget_after=forget_after,
        )
        super().__init__(make, learning_rate=learning_rate, **kwargs)

"""ByGARS and ByGARS++ as strategies, without what differs between Flower's APIs."""

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
    """A strategy that keeps a reputation score for every client; mixed into FedAvg.

    Parameters
    ----------
    make, **kwargs
        As for :class:`flwr_byzantine.strategies.auxiliary.AuxiliaryStrategy`.
    """

    aggregator: ReputationAggregator

    def __init__(self, make: "partial[Any]", **kwargs: Any) -> None:
        told = make.keywords
        if told["normalize"] and told["max_norm_ratio"] != RATIO:
            log(
                WARNING,
                "`max_norm_ratio` has no effect with `normalize=True`: all rows get one length",
            )
        super().__init__(make, **kwargs)

    @property
    def reputations(self) -> dict[str, float]:
        """Client -> score q_i, by the server's own names; waits for an update that is going on.

        In the auxiliary loss, which that update may wait for, these are the scores before it.
        """
        return self.aggregator.reputations

    def state_dict(self) -> dict[str, Any]:
        """The scores, and what else later rounds depend on besides the model and the round."""
        return self.aggregator.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on, bit for bit, from what :meth:`state_dict` gave."""
        self.aggregator.load_state_dict(state)


class ByGARS(ReputationStrategy):
    r"""Reputation scores from a small data set on the server, for any number of Byzantine clients.

    With :math:`H_t` one row :math:`h_i` a client (its gradient, or :math:`w_t - w_i`), k times

    .. math::

        \hat w = w_t - \gamma_t H_t^T q \quad (1), \qquad
        q \leftarrow q + \alpha_t \gamma_t H_t \nabla L_t(\hat w) \quad (2)

    and then :math:`w_{t+1} = w_t - \gamma_t H_t^T q_{t+1}`. The scores q may be negative: a client
    that always sends the negated gradient becomes useful. The scores persist: a client that is
    absent from a round keeps its score until it is forgotten (`forget_after`). Scores belong to the
    server's ids of the clients. A round's metrics hold the scores of its own clients, as
    ``byzantine/reputation/<client>``.

    Parameters
    ----------
    auxiliary : flwr_byzantine.reputation.auxiliary.AuxiliaryLoss
        Gradient (and loss) on the server's own data, such as
        :class:`flwr_byzantine.reputation.auxiliary.TorchAuxiliaryLoss`.
    learning_rate : float or Callable[[int], float]
        :math:`\gamma_t`, 0.1 at first by default. Normalised, the model's step is at most so many times
        as long as the auxiliary gradient, however many steps clients took that send models. To the letter,
        clients that send models move the model by :math:`\sum_i q_i (w_i - w_t)` where it is 1: a sum,
        not an average.
    meta_learning_rate : float or Callable[[int], float]
        :math:`\alpha_t`.
    meta_steps : int
        k, at least 1; each costs an auxiliary gradient while the clients wait.
    tolerance : float or None
        Where given, the round's meta updates end at the first that does not lower the auxiliary loss by
        more than this, and that one is not made.
    initial_reputation : float
        Score of a client seen for the first time. 0 is the paper's; 1 / n starts as averaging does.
    max_norm_ratio : float
        Without `normalize`, a row of :math:`H_t` longer than so many times the usual auxiliary gradient
        is scaled down to that length, which bounds :math:`\kappa` of assumption 2. The usual one has the
        median length of the newest nine, so that one bad step does not loosen the limit. A row that is
        not finite is left out of the round, and its inner products are 0. All other rows are as the
        client sent them.
    normalize : bool
        True, the default, is the normalised form, which deviates from the paper. All rows become as long
        as the auxiliary gradient at :math:`w_t`, which is computed while the clients compute theirs.
        Cosines take the place of inner products, which square how much gradients change in training. The
        model moves by :math:`q / \sum_i |q_i|`, so that :math:`\gamma_t` is the step size of plain
        averaging. ByGARS keeps its scores so divided, and leaves out the part of
        :math:`\nabla L_t(\hat w)` opposite to :math:`\nabla L_t(w_t)`: a pseudo update that goes too far
        asks for a shorter step, and would turn the scores of honest clients negative. False runs the
        paper's equations as they are.
    forget_after : int or None
        A client that sent no usable reply in so many rounds is forgotten. If it comes back, it begins
        with `initial_reputation`, as a new client does. None keeps all scores for good, which are many
        where nodes get new ids.
    **kwargs
        As for :class:`flwr_byzantine.strategies.fit_strategies.RobustFedAvg`, without its rule.

    Raises
    ------
    ValueError
        If a parameter is out of range.

    Notes
    -----
    Tensors without a gradient (BatchNorm's statistics, integers) stay as they are.

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
    r"""ByGARS with one auxiliary gradient a round, taken while clients compute the next one.

    .. math::

        w_{t+1} = w_t - \gamma_t H_t^T q_t, \qquad
        q_{t+1} = (1 - \alpha_t) q_t + \alpha_t H_t \nabla L_t(w_t) \quad (3)

    With the paper's :math:`q_1 = 0` the first round moves nothing: the scores learn from it.

    Parameters
    ----------
    auxiliary : Callable
        As for :class:`ByGARS`; only the gradient is asked for. It runs in a thread of its own while the
        clients compute; what it raises ends the round.
    learning_rate, meta_learning_rate, initial_reputation, max_norm_ratio, normalize, forget_after
        As for :class:`ByGARS`. Theorem 2 asks for sums of :math:`\alpha_t` and :math:`\gamma_t` that
        diverge, of squares that do not, and :math:`\gamma_t / \alpha_t \to 0`:
        :class:`flwr_byzantine.reputation.schedules.PowerDecay`, with the larger power for :math:`\gamma_t`.
    **kwargs
        As for :class:`flwr_byzantine.strategies.fit_strategies.RobustFedAvg`, without its rule. With
        `checkpoint` a round waits for its scores.

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

"""ByGARS and ByGARS++ as strategies, without what differs between Flower's APIs."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from flwr_byzantine.aggregation.aggregator import Aggregator
from flwr_byzantine.reputation.aggregator import ReputationAggregator
from flwr_byzantine.reputation.auxiliary import AuxiliaryLoss
from flwr_byzantine.reputation.bygars import ByGARSAggregator, ByGARSPlusPlusAggregator
from flwr_byzantine.reputation.rows import WeightedSum
from flwr_byzantine.reputation.schedules import PowerDecay, Schedule
from flwr_byzantine.rules.base import Rule
from flwr_byzantine.strategies.base import RobustStrategy

GAMMA = PowerDecay(0.1, power=1.0, offset=1000)
ALPHA = PowerDecay(0.2, power=0.9, offset=40)  # of ByGARS
ALPHA_PLUS_PLUS = PowerDecay(0.1, power=0.9, offset=20)


class Reputed(RobustStrategy):
    """A strategy that keeps a reputation score for every client; mixed into FedAvg.

    Parameters
    ----------
    make : Callable
        Builds the aggregator, given what :class:`flwr_byzantine.strategies.base.RobustStrategy` gives one.
    **kwargs
        As for :class:`flwr_byzantine.strategies.fit_strategies.RobustFedAvg`, without its rule.
    """

    aggregator: ReputationAggregator

    def __init__(self, make: "partial[Any]", **kwargs: Any) -> None:
        self._make = make
        super().__init__(rule=WeightedSum(), **kwargs)

    def __repr__(self) -> str:
        """Name of the strategy, and its settings."""
        settings = ", ".join(f"{name}={value}" for name, value in self._make.keywords.items())
        return f"{type(self).__name__}({settings})"

    def _make_aggregator(self, rule: Rule, **settings: Any) -> Aggregator:
        aggregator: ReputationAggregator = self._make(**settings)
        return aggregator

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


class ByGARS(Reputed):
    """See :class:`flwr_byzantine.ByGARS`."""

    def __init__(
        self,
        *,
        auxiliary: AuxiliaryLoss,
        learning_rate: Schedule = GAMMA,
        meta_learning_rate: Schedule = ALPHA,
        meta_steps: int = 3,
        tolerance: float | None = None,
        initial_reputation: float = 0.0,
        max_norm_ratio: float = 10.0,
        normalize: bool = True,
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
        )
        super().__init__(make, learning_rate=learning_rate, **kwargs)


class ByGARSPlusPlus(Reputed):
    """See :class:`flwr_byzantine.ByGARSPlusPlus`."""

    def __init__(
        self,
        *,
        auxiliary: AuxiliaryLoss,
        learning_rate: Schedule = GAMMA,
        meta_learning_rate: Schedule = ALPHA_PLUS_PLUS,
        initial_reputation: float = 0.0,
        max_norm_ratio: float = 10.0,
        normalize: bool = True,
        **kwargs: Any,
    ) -> None:
        make = partial(
            ByGARSPlusPlusAggregator,
            auxiliary,
            meta_learning_rate=meta_learning_rate,
            initial_reputation=initial_reputation,
            max_norm_ratio=max_norm_ratio,
            normalize=normalize,
        )
        super().__init__(make, learning_rate=learning_rate, **kwargs)

"""What strategies share if they judge clients by data that the server has."""

from functools import partial
from typing import Any

from flwr_byzantine.aggregation.aggregator import Aggregator
from flwr_byzantine.checks import wrong
from flwr_byzantine.reputation.base import AuxiliaryAggregator
from flwr_byzantine.reputation.rows import WeightedSum
from flwr_byzantine.rules.base import Rule
from flwr_byzantine.strategies.base import RobustStrategy


class AuxiliaryStrategy(RobustStrategy):
    """A strategy with an auxiliary loss in place of a rule. It is a mixin for FedAvg.

    Parameters
    ----------
    make : Callable
        Builds the aggregator from what :class:`flwr_byzantine.strategies.base.RobustStrategy` passes to it.
    **kwargs
        See :class:`flwr_byzantine.strategies.fit_strategies.RobustFedAvg`. There is no rule.
    """

    aggregator: AuxiliaryAggregator

    def __init__(self, make: "partial[Any]", **kwargs: Any) -> None:
        for name in ("rule", "pre_aggregation", "trusted_weights"):
            if (given := kwargs.pop(name, None)) is not None:
                expected = "None for a strategy that weighs every client by the server's own data"
                raise wrong(name, expected, given, "Leave it out.", owner=type(self).__name__)
        self._make = make
        super().__init__(rule=WeightedSum(), **kwargs)

    def _check_new(self, rule: Rule) -> None:
        expected, advice = "left unchanged", "To use a rule, take `RobustFedAvg`."
        raise wrong("rule", expected, rule, advice, owner=type(self).__name__)

    def __repr__(self) -> str:
        """Name of the strategy, and its settings."""
        settings = ", ".join(f"{name}={value}" for name, value in self._make.keywords.items())
        return f"{type(self).__name__}({settings})"

    def _make_aggregator(self, rule: Rule, **settings: Any) -> Aggregator:
        aggregator: AuxiliaryAggregator = self._make(**settings)
        return aggregator

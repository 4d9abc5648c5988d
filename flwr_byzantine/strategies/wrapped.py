"""What ``ByzantineRobust`` is in both APIs: a rule in front of a strategy, whose state checkpoints keep."""

from collections.abc import Mapping
from inspect import Signature
from typing import Any, ClassVar, Unpack

from flwr_byzantine.resume.snapshot import Snapshot
from flwr_byzantine.rules.base import Rule
from flwr_byzantine.strategies.base import RobustStrategy
from flwr_byzantine.strategies.options import RobustOptions, full_signature


class Wrapping(RobustStrategy):
    """Puts a robust rule in front of any strategy; mixed into each API's adapter.

    Parameters
    ----------
    strategy : flwr.server.strategy.Strategy or flwr.serverapp.strategy.Strategy
        The strategy to protect.
    rule : flwr_byzantine.rules.Rule
        The aggregation rule.
    **options
        As for :class:`flwr_byzantine.strategies.base.RobustStrategy`. Checkpoints hold the wrapped
        strategy's state too: :class:`flwr_byzantine.resume.snapshot.Snapshot`.

    Raises
    ------
    ValueError
        If a parameter is out of range.
    """

    strategy: Any
    __signature__: ClassVar[Signature]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Let signatures show all keywords."""
        super().__init_subclass__(**kwargs)
        cls.__signature__ = full_signature(cls, RobustOptions, RobustStrategy.__init__)

    def __init__(self, strategy: Any, rule: Rule, **options: Unpack[RobustOptions]) -> None:
        super().__init__(strategy=strategy, rule=rule, **options)
        self._snapshot = Snapshot(strategy)

    def __repr__(self) -> str:
        """The wrapped strategy and the rule."""
        return f"ByzantineRobust(strategy={self.strategy!r}, rule={self.aggregator.rule})"

    def _state(self) -> dict[str, Any]:
        return super()._state() | {"strategy": self._snapshot.state()}

    def _load_state(self, state: Mapping[str, Any]) -> None:
        super()._load_state(state)
        self._snapshot.restore(state["strategy"])

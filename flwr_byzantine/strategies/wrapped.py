"""The part of ``ByzantineRobust`` that both APIs share: a rule in front of a strategy, and checkpoints."""

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from inspect import Signature
from logging import WARNING
from typing import Any, ClassVar, Unpack

import numpy as np
from flwr.common.logger import log

from flwr_byzantine.aggregation.gate import Model
from flwr_byzantine.aggregation.outcome import Outcome
from flwr_byzantine.checks import is_number, is_whole
from flwr_byzantine.resume.checkpoint import Checkpoint
from flwr_byzantine.resume.snapshot import Snapshot, kind
from flwr_byzantine.rules.base import Rule
from flwr_byzantine.strategies.base import RobustStrategy
from flwr_byzantine.strategies.hosts import check_wrapped, inside
from flwr_byzantine.strategies.minimums import needed_by
from flwr_byzantine.strategies.options import RobustOptions, full_signature, refuse_other_words

METRICS_FUNCTIONS = (
    "fit_metrics_aggregation_fn",
    "evaluate_metrics_aggregation_fn",
    "train_metrics_aggr_fn",
    "evaluate_metrics_aggr_fn",
)


class Wrapping(RobustStrategy):
    """Puts a robust rule in front of any strategy. It is a mixin for each API's adapter.

    Parameters
    ----------
    strategy : flwr.server.strategy.Strategy or flwr.serverapp.strategy.Strategy
        The strategy to protect.
    rule : flwr_byzantine.rules.Rule
        The aggregation rule.
    **options
        See :class:`flwr_byzantine.strategies.base.RobustStrategy`. Checkpoints also hold the wrapped
        strategy's state. See :class:`flwr_byzantine.resume.snapshot.Snapshot`.

    Raises
    ------
    ValueError
        If a parameter is out of range.
    """

    strategy: Any
    __signature__: ClassVar[Signature]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Show all keywords in signatures of subclasses."""
        super().__init_subclass__(**kwargs)
        cls.__signature__ = full_signature(cls, RobustOptions, RobustStrategy.__init__)

    def __init__(self, strategy: Any, rule: Rule, **options: Unpack[RobustOptions]) -> None:
        refuse_other_words(type(self), options)
        check_wrapped(strategy)
        super().__init__(strategy=strategy, rule=rule, **options)
        self._warn_of_few(strategy)
        self._snapshot = None if self.checkpoints is None else Snapshot(strategy)

    def _warn_of_few(self, strategy: Any) -> None:
        """Warn if a strategy may begin rounds with fewer clients than the rule needs."""
        asked, _, available = self.words.minimums
        least, bound = needed_by(self.rule), self.aggregator.bound
        for part in inside(strategy):
            begins = self._fewest(part, least)
            if begins < least and bound != "warn":
                text = (
                    "%s begins rounds as soon as %s %s are there, but %s needs %s. Pass it `%s=%s, %s=%s`"
                    if getattr(part, self.words.fraction, 0) == 1
                    else "%s begins rounds with %s %s, but %s needs %s. Pass it `%s=%s, %s=%s`"
                )
                name, who = type(part).__name__, self.words.clients
                log(
                    WARNING,
                    text,
                    name,
                    begins,
                    who,
                    self.rule,
                    least,
                    asked,
                    least,
                    available,
                    least,
                )
                self._warned = True
                return

    def _fewest(self, part: Any, unknown: int) -> int:
        """The least number of clients with which a strategy begins a round; ``unknown`` if not given."""
        asked, _, available = self.words.minimums
        told: dict[str, Any] = {
            name: getattr(part, name, None) for name in (asked, available, self.words.fraction)
        }
        least = int(told[asked]) if is_whole(told[asked]) else unknown
        there = int(told[available]) if is_whole(told[available]) else unknown
        share = told[self.words.fraction]
        if self.words.waits:
            there = max(there, least)
        return min(there, max(least, int(share * there) if is_number(share) else 0))

    @contextmanager
    def _guarding(self) -> Iterator[Any]:
        """The wrapped strategy. Meanwhile, errors of its metrics functions are logged and not raised."""
        found = [
            (vars(part), name, function)
            for part in inside(self.strategy)
            if not isinstance(part, RobustStrategy)  # this library's strategies do that themselves
            for name in METRICS_FUNCTIONS
            if callable(function := vars(part).get(name))
        ]
        for attributes, name, function in found:
            attributes[name] = partial(self._metrics_from, function)
        try:
            yield self.strategy
        finally:
            for attributes, name, function in found:
                if isinstance(
                    attributes.get(name), partial
                ):  # the strategy has not set another one
                    attributes[name] = function

    @abstractmethod
    def _metrics_from(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """The result of a user's metrics function. If it raises, the error is logged, and there are none."""

    def _finished(self, given: Model, outcome: Outcome) -> Model:
        """The wrapped strategy's model from clean results, in a form that the next round can use.

        The average of equal models differs from them by rounding. If the wrapped strategy did nothing else,
        the result is the rule's own model, bit for bit.
        """
        assert outcome.model is not None
        clean = outcome.model
        moved = given.in_form_of(clean, self.aggregator.buffers_of(clean))
        return clean if _is_rounded(moved, clean, len(outcome.accepted)) else moved

    def _note_refusal(self, server_round: int) -> None:
        """Skip the round, because the wrapped strategy gave no model although the rule did."""
        reason = f"{type(self.strategy).__name__} gave no model, so the old one stays"
        log(WARNING, "Round %s: %s", server_round, reason)
        self.aggregator.progress.refuse(reason)
        if self.aggregator.on_too_few == "raise":
            raise Outcome(None, reason).error(server_round)

    def __repr__(self) -> str:
        """The wrapped strategy and the rule."""
        return f"ByzantineRobust(strategy={self.strategy!r}, rule={self.aggregator.rule})"

    def __getattr__(self, name: str) -> Any:
        """Look up other attributes in the wrapped strategy, such as a method that saves the model."""
        strategy = vars(self).get("strategy")
        if strategy is None or name.startswith("_"):
            raise AttributeError(
                f"{type(self).__name__!r} object has no attribute {name!r}", name=name
            )
        return getattr(strategy, name)

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute. If only the wrapped strategy has it, set it there."""
        mine = name in vars(self) or name.startswith("_") or hasattr(type(self), name)
        if "_snapshot" in vars(self) and not mine and hasattr(self.strategy, name):
            setattr(self.strategy, name, value)
        else:
            super().__setattr__(name, value)

    def _made_by(self) -> dict[str, str]:
        made_by = super()._made_by()
        return made_by | {"strategy": f"{made_by['strategy']}({kind(self.strategy)})"}

    def _resume(self, initial: Callable[[], Model] | None = None) -> Checkpoint | None:
        if self._snapshot is not None:
            self._snapshot.begin()
        return super()._resume(initial)

    def _state(self) -> dict[str, Any]:
        return super()._state() | {"strategy": (self._snapshot or Snapshot(self.strategy)).state()}

    def _load_state(self, state: Mapping[str, Any]) -> None:
        super()._load_state(state)
        (self._snapshot or Snapshot(self.strategy)).restore(state["strategy"])


Wrapping.__init__.__qualname__ = "ByzantineRobust.__init__"  # Python's errors name the users' class


def _is_rounded(moved: Model, clean: Model, n: int) -> bool:
    """Whether a model equals another one, up to the rounding of an average of n."""
    return moved.signature == clean.signature and all(
        bool((np.abs(mine - theirs) <= (n + 2) * np.finfo(theirs.dtype).eps * np.abs(theirs)).all())
        for mine, theirs in zip(moved.arrays, clean.arrays, strict=True)
        if theirs.dtype.kind == "f"
    )

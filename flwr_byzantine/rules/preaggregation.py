"""Pre-aggregations, which make k rows from n, and the operator for them: `before >> rule`."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np

from flwr_byzantine.checks import KnownKeywords, require
from flwr_byzantine.rules.base import Given, Rule, no_pre_aggregation
from flwr_byzantine.rules.composition import Composition, MixingStep, least_for, mix
from flwr_byzantine.rules.distances import Distances
from flwr_byzantine.rules.inputs import as_column, as_columns
from flwr_byzantine.rules.points import Points


class Step(ABC):
    """One pre-aggregation, or several in a row, in front of a rule."""

    @property
    @abstractmethod
    def steps(self) -> "tuple[PreAggregation, ...]":
        """The pre-aggregations in their order."""

    def __rshift__(self, after: Any) -> Any:
        """Put these in front of a rule or of other pre-aggregations. In front of a rule, they give a rule.

        Raises
        ------
        TypeError
            If the right-hand side is neither a rule nor a pre-aggregation.
        """
        if isinstance(after, Composition):
            return Composition((*self.steps, *after.before), after.rule)
        if isinstance(after, Rule):
            return Composition(self.steps, after)
        if isinstance(after, Step):
            return Chain((*self.steps, *after.steps))
        if isinstance(
            getattr(after, "rule", None), Rule
        ):  # a strategy, which has the name of its rule
            name = type(after).__name__
            raise TypeError(
                f"`>>` should put {self} in front of a rule. Found the strategy {name}. Pass "
                f"`pre_aggregation={self}` to the strategy, or take `flwr_byzantine.rules.{name}`."
            )
        raise TypeError(
            f"`>>` should put {self} in front of a rule or of another pre-aggregation. Found {after!r}. "
            "Write `NearestNeighborMixing(4) >> Phocas(4)`."
        )

    def __rrshift__(self, before: object) -> NoReturn:
        """Raise TypeError, because rules and pre-aggregations define this operator themselves."""
        raise no_pre_aggregation(before)

    def __call__(self, updates: Any, model: Any = None) -> Any:
        """Compute the mixed rows.

        Parameters
        ----------
        updates, model
            The same as in a call of a rule.

        Returns
        -------
        np.ndarray or torch.Tensor
            Shape (k, d).

        Raises
        ------
        ValueError
            If the updates are too few, or not n rows of one length.
        """
        columns, restore = as_columns(updates)
        base = None if model is None else [as_column("model", model, columns)]
        points = Points(columns, (base,))
        n = columns.num_rows
        steps = tuple(step.at(n) for step in self.steps)
        least = least_for(steps, 1)
        if n < least:
            raise ValueError(
                f"Parameter `updates` should hold at least {least} updates for {self}. Found `n = {n}`. "
                "Assume fewer Byzantine clients, or sample more clients."
            )
        squared = points.squared_distances()
        mixed = np.empty((n, columns.num_columns), columns.dtype)
        mixing, _ = mix(steps, Given(n, Distances(squared, n)))
        for row, out in zip(mixing, mixed, strict=False):
            points.combine(row[None], None, base=base, out=[out])
        return restore(mixed[: len(mixing)])


@dataclass(frozen=True)
class PreAggregation(KnownKeywords, Step, MixingStep):
    """A step in front of a rule. Its mixing matrix W makes k rows W X from the n updates.

    A new pre-aggregation overrides :meth:`mixing`, and all other methods that do not fit it.
    """

    @property
    def steps(self) -> "tuple[PreAggregation, ...]":
        """The pre-aggregation alone."""
        return (self,)


@dataclass(frozen=True, repr=False)
class Chain(Step):
    """Several pre-aggregations in a row, which `>>` makes."""

    links: tuple[PreAggregation, ...]

    @property
    def steps(self) -> tuple[PreAggregation, ...]:
        """The links."""
        return self.links

    def __repr__(self) -> str:
        """The pre-aggregations as users write them."""
        return " >> ".join(map(repr, self.links))


def _instead_of_a_step(found: object) -> str:
    """What to pass in the place of something that is no pre-aggregation."""
    if isinstance(found, type):
        return f"Pass a pre-aggregation, not its class: `{found.__name__}(...)`."
    if isinstance(found, Composition):
        return f"Pass the part in front of the rule: `{' >> '.join(map(repr, found.before))}`."
    if isinstance(found, Rule):
        return (
            "That is a rule. A rule goes behind pre-aggregations, as in `RobustFedAvg(rule=...)`."
        )
    return "Pass `NearestNeighborMixing`, `Bucketing`, `Clipping` or `AdaptiveClipping`, or leave it out."


def in_front(step: Step | None, rule: Rule) -> Rule:
    """A rule with a user's pre-aggregation in front. Raise ParameterError if it is no pre-aggregation."""
    if step is None:
        return rule
    expected = "a pre-aggregation such as `NearestNeighborMixing(4)`, or several joined by `>>`"
    require(isinstance(step, Step), "pre_aggregation", expected, step, _instead_of_a_step(step))
    composed: Rule = step >> rule
    return composed

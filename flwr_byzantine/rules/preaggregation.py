"""Pre-aggregations, which make k rows of n, and what puts them in front of a rule: `before >> rule`."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np

from flwr_byzantine.checks import require
from flwr_byzantine.rules.base import Given, Rule
from flwr_byzantine.rules.composition import Composition, MixingStep, least_for, mix
from flwr_byzantine.rules.distances import Distances
from flwr_byzantine.rules.inputs import as_column, as_columns
from flwr_byzantine.rules.points import Points


class Step(ABC):
    """What stands in front of a rule: a pre-aggregation, or several in a row."""

    @property
    @abstractmethod
    def steps(self) -> "tuple[PreAggregation, ...]":
        """The pre-aggregations, the first one first."""

    def __rshift__(self, after: Any) -> Any:
        """Put these in front of a rule, which gives a rule, or of other ones.

        Raises
        ------
        TypeError
            If there is neither on the right-hand side.
        """
        if isinstance(after, Composition):
            return Composition((*self.steps, *after.before), after.rule)
        if isinstance(after, Rule):
            return Composition(self.steps, after)
        if isinstance(after, Step):
            return Chain((*self.steps, *after.steps))
        raise TypeError(
            f"`>>` should put {self} in front of a rule or of another pre-aggregation. Found {after!r}. "
            "Write `NearestNeighborMixing(4) >> Phocas(4)`."
        )

    def __call__(self, updates: Any, model: Any = None) -> Any:
        """The mixed rows.

        Parameters
        ----------
        updates, model
            As for calling a rule.

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
class PreAggregation(Step, MixingStep):
    """A step in front of a rule: a mixing matrix W makes k rows W X of the n updates.

    A new one overrides :meth:`mixing`, and what of the rest is not so for it.
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
        """As it is written."""
        return " >> ".join(map(repr, self.links))


def in_front(step: Step | None, rule: Rule) -> Rule:
    """A rule with what a user wants in front of it; ParameterError for anything else than a step."""
    if step is None:
        return rule
    expected = "a pre-aggregation such as `NearestNeighborMixing(4)`, or several joined by `>>`"
    advice = "Leave it out, or pass one of `flwr_byzantine.rules`."
    require(isinstance(step, Step), "pre_aggregation", expected, step, advice)
    composed: Rule = step >> rule
    return composed

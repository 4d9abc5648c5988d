"""A rule with pre-aggregations in front: one mixing matrix, the product of all of them."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import ClassVar, Self

import numpy as np
import numpy.typing as npt

from flwr_byzantine.checks import ParameterError, instead_of_a_rule, require
from flwr_byzantine.kernels import Reduction
from flwr_byzantine.rules.base import Given, Matrix, Rule
from flwr_byzantine.rules.bounds import MOST
from flwr_byzantine.rules.distances import Distances, Vector


class MixingStep(ABC):
    """What a composition needs from each step in front of its rule."""

    uses_distances: ClassVar[bool] = False  # whether it needs distances between the updates
    uses_model: ClassVar[bool] = False  # whether it needs the updates' lengths
    keeps_clients: ClassVar[bool] = False  # whether row i is client i's update times a number
    order_matters: ClassVar[bool] = False  # whether the order of updates decides more than ties

    @abstractmethod
    def mixing(self, given: Given) -> Matrix:
        """W, shape (k, n), or (k, m) over all points. The model gets what is missing from a sum of 1."""

    def mixed(self, distances: Distances, mixing: Matrix) -> Distances:
        """Distances of the mixed rows."""
        return distances.of_mixed(mixing)

    @property
    def min_updates(self) -> int:
        """The smallest number of rows for which the step is defined."""
        return 1

    def rows_after(self, n: int) -> int:
        """k, the number of rows that the step makes of n rows."""
        return n

    def least_for(self, rows: int) -> int:
        """The smallest n for which at least this many rows are left."""
        return rows

    def tolerated(self, n: int) -> int:
        """How many Byzantine updates of n the step tolerates; n if it has no such parameter."""
        return n

    def at(self, received: int) -> Self:
        """The step for a round with this many replies. A fraction f becomes a number."""
        return self

    def without(self, dropped: int) -> Self:
        """The step for fewer Byzantine updates."""
        return self

    def drawn(self, seed: int) -> Self:
        """The step for a round. It gets a seed if it draws random numbers and has none."""
        return self

    def scaled(self, factor: float) -> Self:
        """The step for updates times a factor. Its own lengths are multiplied too."""
        return self


@dataclass(frozen=True, repr=False)
class Composition(Rule):
    """A rule with steps in front, such as `NearestNeighborMixing(4) >> Phocas(4)`. `>>` makes it.

    Its mixing matrix is the product of the matrices of all parts, so a client's weight is that of
    its column. A client's score is the mean of the scores of the rows that it is mixed into.

    Parameters
    ----------
    before : tuple[MixingStep, ...]
        The steps in front, in their order.
    rule : Rule
        The rule that gets the mixed rows.

    Raises
    ------
    ParameterError
        If no number of updates is enough for all of them.
    """

    before: tuple[MixingStep, ...]
    rule: Rule

    def __post_init__(self) -> None:
        """Check the rule, and that some number of updates is enough."""
        require(
            isinstance(rule := self.rule, Rule), "rule", "a rule", rule, instead_of_a_rule(rule)
        )
        if not self.min_updates:
            raise ParameterError(
                f"Some number of updates should be enough for `{self}`. Found that {MOST:,} are too few. "
                "Assume a smaller share of Byzantine clients, or smaller buckets."
            )

    def __repr__(self) -> str:
        """The composition as users write it."""
        return " >> ".join(map(repr, self._parts()))

    def _parts(self) -> Iterator[MixingStep | Rule]:
        yield from self.before
        yield self.rule

    @property
    def uses_distances(self) -> bool:  # type: ignore[override]
        """Whether any part needs distances between rows, or measures rows that a step has mixed."""
        parts = [*self._parts()]
        mixed = [i for i, step in enumerate(self.before) if not step.keeps_clients]
        measured = any(part.uses_model for i in mixed for part in parts[i + 1 :])
        return measured or any(part.uses_distances for part in parts)

    @property
    def uses_model(self) -> bool:  # type: ignore[override]
        """Whether any part needs the model."""
        return any(part.uses_model for part in self._parts())

    @property
    def uses_counts(self) -> bool:  # type: ignore[override]
        """Whether the rule uses claimed counts."""
        return self.rule.uses_counts

    @property
    def remembers(self) -> bool:  # type: ignore[override]
        """Whether the rule remembers its last result."""
        return self.rule.remembers

    @property
    def averages(self) -> bool:  # type: ignore[override]
        """Whether the rule averages whole updates of clients."""
        return self.rule.averages and all(step.keeps_clients for step in self.before)

    @property
    def order_matters(self) -> bool:  # type: ignore[override]
        """Whether the order of updates matters to any part."""
        return any(part.order_matters for part in self._parts())

    @property
    def min_updates(self) -> int:
        """The smallest number of updates that leaves enough rows for every step and for the rule."""
        if any(part.at(1) is not part for part in self._parts()):
            return _least(self.before, self.rule)
        return least_for(self.before, self.rule.min_updates)

    @property
    def max_updates(self) -> int | None:
        """The largest number of updates that leaves no more rows than the rule can handle."""
        rows = self.rule.max_updates
        if rows is None:
            return None
        for step in reversed(self.before):
            rows = step.least_for(rows + 1) - 1
        return rows

    def at(self, received: int) -> "Composition":
        """The composition with numbers in place of fractions."""
        before = tuple(step.at(received) for step in self.before)
        numbers = replace(self, before=before, rule=self.rule.at(received))
        return self if numbers == self else numbers

    def without(self, dropped: int) -> Self:
        """The composition for fewer Byzantine updates, in every part."""
        before = tuple(step.without(dropped) for step in self.before)
        return replace(self, before=before, rule=self.rule.without(dropped))

    def drawn(self, seed: int) -> "Composition":
        """The composition with a seed for each step that has none."""
        before = tuple(step.drawn(seed) for step in self.before)
        return replace(self, before=before, rule=self.rule.drawn(seed))

    def scaled(self, factor: float) -> "Composition":
        """The composition for updates times a factor, in every part."""
        before = tuple(step.scaled(factor) for step in self.before)
        return replace(self, before=before, rule=self.rule.scaled(factor))

    def tolerated(self, n: int) -> int:
        """The smallest f of all parts."""
        numbers, rows = self.at(n), n
        least = n
        for step in numbers.before:
            least = min(least, step.tolerated(rows))
            rows = step.rows_after(rows)
        return min(least, numbers.rule.tolerated(rows))

    def mixing_of(self, given: Given) -> Matrix:
        """The product of the mixing matrices, shape (k, m)."""
        numbers = self.at(given.n)
        mixing, after = mix(numbers.before, given, numbers.rule)
        own = after.checked(numbers.rule.weighed(after))
        if own is None:
            return mixing
        below = after.distances is not None
        return after.over_points(own) @ given.over_points(mixing, below=below)

    weighed = mixing_of  # each part applies the weights itself

    def scores_of(self, given: Given) -> npt.NDArray[np.float64] | None:
        """For each client, the mean score of the rows that it is mixed into, weighed by its part in them."""
        numbers = self.at(given.n)
        mixing, after = mix(numbers.before, given, numbers.rule)
        scores = numbers.rule.checked_scores(after)
        if scores is None:
            return None
        shares = np.abs(mixing[:, : given.n])
        part_of = shares > 0
        with np.errstate(invalid="ignore"):
            sums = np.where(part_of, shares * scores[:, None], 0.0).sum(axis=0)
            means: Vector = sums / shares.sum(axis=0)
        return np.where(part_of.any(axis=0), means, np.inf)

    def reduction(self, k: int) -> Reduction | None:
        """The reduction of the rule behind the steps."""
        return self.rule.reduction(k)


def innermost(rule: Rule) -> Rule:
    """The rule behind all pre-aggregations."""
    return rule.rule if isinstance(rule, Composition) else rule


def kind_of(rule: Rule) -> str:
    """The names of the classes of a rule and its steps, joined by `>>`."""
    parts = [*rule.before, rule.rule] if isinstance(rule, Composition) else [rule]
    return " >> ".join(type(part).__name__ for part in parts)


def with_innermost(rule: Rule, inner: Rule) -> Rule:
    """The same pre-aggregations with another rule behind them."""
    return replace(rule, rule=inner) if isinstance(rule, Composition) else inner


def mix(
    steps: Sequence[MixingStep], given: Given, rule: Rule | None = None
) -> tuple[Matrix, Given]:
    """The mixing matrix of several steps, and what is known about the mixed rows.

    Parameters
    ----------
    steps : Sequence[MixingStep]
        The steps, with numbers in place of fractions.
    given : Given
        What is known about the updates.
    rule : Rule or None
        The rule behind the steps. Distances of mixed rows are computed if it or a later step needs them.

    Returns
    -------
    tuple[np.ndarray, Given]
        W, shape (k, m), and what is known about the mixed rows. The claimed count of a row is the mean over
        its clients that claim a count.
    """
    total = np.eye(given.n, given.num_points)
    now = given
    for i, step in enumerate(steps):
        own = now.checked(step.mixing(now))
        assert own is not None
        later: list[MixingStep | Rule] = [*steps[i + 1 :], *([] if rule is None else [rule])]
        distances = None
        if now.distances is not None and any(p.uses_distances or p.uses_model for p in later):
            distances = step.mixed(now.distances, own)
        counts = None if now.counts is None else mean_counts(own[:, : now.n], now.counts)
        after = replace(now, n=len(own), distances=distances, counts=counts)
        total = now.over_points(own) @ given.over_points(total, below=now.distances is not None)
        now = after
    return total, now


def mean_counts(mixing: Matrix, counts: Vector) -> Vector:
    """The mean of the counts that each mixed row's clients claim, by their shares; NaN if none claims any."""
    shares = np.abs(mixing) * np.isfinite(counts)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        shares = shares / shares.sum(axis=1, keepdims=True)
        means: Vector = shares @ np.where(np.isfinite(counts), counts, 0.0)
    return means


def least_for(steps: Sequence[MixingStep], rows: int) -> int:
    """The smallest number of updates that leaves this many rows, and enough for every step."""
    for step in reversed(steps):
        rows = max(step.min_updates, step.least_for(rows))
    return rows


@lru_cache(maxsize=256)
def _least(before: tuple[MixingStep, ...], rule: Rule) -> int:
    """The number n such that n updates and any larger number are enough for fractions; 0 if none is."""

    def enough(n: int) -> bool:
        return least_for([step.at(n) for step in before], rule.at(n).min_updates) <= n

    too_few = (n for n in range(MOST, 0, -1) if not enough(n))
    last = next(too_few, 0)
    return 0 if last == MOST else last + 1

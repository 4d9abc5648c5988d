"""What every rule is: a mixing matrix computed from distances, and a reduction of the mixed rows."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from flwr_byzantine.checks import require, require_whole
from flwr_byzantine.kernels import (
    Columns,
    Reduction,
    check_mixing,
    check_reduction,
    combine,
    pairwise_distances,
)
from flwr_byzantine.rules.inputs import as_columns

Matrix = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Rule(ABC):
    """An aggregation rule: n updates of d values to one update of d values.

    A rule mixes the n rows X with a matrix W (k, n) that it computes from the rows' pairwise distances
    alone, then reduces the k mixed rows W X coordinate by coordinate. A new rule states its bound
    ``min_updates`` and overrides :meth:`mixing`, :meth:`reduction`, or both.
    """

    uses_distances: ClassVar[bool] = False

    @property
    @abstractmethod
    def min_updates(self) -> int:
        """Smallest number of updates n the rule is defined for."""

    def mixing(self, n: int, distances: Matrix | None) -> Matrix | None:
        """Mixing matrix W, shape (k, n); None is the identity.

        Parameters
        ----------
        n : int
            Number of updates, at least ``min_updates``.
        distances : np.ndarray or None
            Squared Euclidean distances, shape (n, n), infinite where an update holds a value that is
            not finite; None unless ``uses_distances``.
        """
        return None

    def scores(self, n: int, distances: Matrix | None) -> npt.NDArray[np.float64] | None:
        """Score by which the rule selects, lower is better, shape (n,); None where it has none."""
        return None

    def reduction(self, k: int) -> Reduction | None:
        """How k mixed values become one; None where W has a single row."""
        return None

    def tolerated(self, n: int) -> int:
        """f, the Byzantine values among n that the rule was told of: its field ``num_byzantine``, or 0."""
        f: int = getattr(self.at(n), "num_byzantine", 0)
        return f

    def at(self, received: int) -> "Rule":
        """The rule of a round with so many replies: where f is a fraction of them, with the number f.

        Parameters
        ----------
        received : int
            All replies, those that are refused before the rule sees them included.
        """
        return self

    def without(self, dropped: int) -> Self:
        """The rule for ``dropped`` fewer Byzantine updates, which ``on_dropped="lower_f"`` asks for."""
        return self

    def plan(self, n: int, distances: Matrix | None) -> tuple[Matrix | None, Reduction | None]:
        """Mixing matrix and reduction for n updates, as compiled code can take them.

        Raises
        ------
        ValueError
            If :meth:`mixing` or :meth:`reduction` gives what n updates cannot be aggregated by.
        """
        rule = self.at(n)
        own = None if distances is None else distances.copy()  # a rule may write to it
        mixing = check_mixing(rule.mixing(n, own), n)
        k = n if mixing is None else len(mixing)
        return mixing, check_reduction(rule.reduction(k), k, mixed=mixing is not None)

    def scores_of(self, n: int, distances: Matrix | None) -> npt.NDArray[np.float64] | None:
        """As :meth:`scores`; ValueError unless they are one real number for each update."""
        given: object = self.at(n).scores(n, distances)
        if given is None:
            return None
        found = np.asarray(given)
        if found.shape != (n,) or found.dtype.kind not in "fiub":
            raise ValueError(
                f"The scores should be {n} real numbers, one for each update. Found shape {found.shape} "
                f"and dtype {found.dtype}. Correct the rule's `scores`."
            )
        return found.astype(np.float64)

    def plan_for(self, columns: Columns) -> tuple[Matrix | None, Reduction | None]:
        """As :meth:`plan`, where there are enough updates; ValueError where there are not."""
        n = columns.num_rows
        least = self.at(n).min_updates
        if n < least:
            raise ValueError(
                f"Parameter `updates` should hold at least {least} updates for {self}. "
                f"Found `n = {n}`. Assume fewer Byzantine clients, or sample more clients."
            )
        return self.plan(n, self.distances_of([columns]))

    def distances_of(self, groups: Sequence[Columns]) -> Matrix | None:
        """Squared distances, shape (n, n), over several groups of columns; None if not needed."""
        if not self.uses_distances:
            return None
        return sum((pairwise_distances(columns) for columns in groups), np.zeros(()))

    def weights(self, updates: Any) -> npt.NDArray[np.float64]:
        """Weight of each update in the result, shape (n,); for several mixed rows, their mean share.

        Parameters
        ----------
        updates : array-like
            As for calling the rule.

        Raises
        ------
        ValueError
            If the rule takes every update coordinate by coordinate, so that none has one weight.
        """
        columns, _ = as_columns(updates)
        mixing, _ = self.plan_for(columns)
        if mixing is None:
            raise ValueError(
                f"{self} has no weight per update: it chooses anew in every coordinate. "
                "Ask a rule that selects or averages whole updates."
            )
        share: npt.NDArray[np.float64] = mixing.mean(axis=0)
        return share

    def __call__(self, updates: Any) -> Any:
        """Aggregate.

        Parameters
        ----------
        updates : np.ndarray, torch.Tensor, or a sequence of them
            Shape (n, d), or n one-dimensional arrays of d values. Never changed.

        Returns
        -------
        np.ndarray or torch.Tensor
            Shape (d,), of the updates' floating type (float64 for integers) and device. A coordinate
            is NaN where the rule has no robust answer: more values are not finite than it tolerates.

        Raises
        ------
        ValueError
            If n is below ``min_updates``, or the updates are not n rows of one length.
        """
        columns, restore = as_columns(updates)
        out = np.empty(columns.num_columns, columns.dtype)
        mixing, reduction = self.plan_for(columns)
        combine(columns, mixing, reduction, out=[out])
        return restore(out)


def check_rule(rule: object) -> None:
    """Raise ParameterError unless it is a rule that says sensible things of itself."""
    advice = "Pass a rule, not its class."
    expected = "a rule such as `flwr_byzantine.rules.Median()`"
    require(isinstance(rule, Rule), "rule", expected, rule, advice)
    assert isinstance(rule, Rule)
    least = check_bound(rule)
    advice = "Correct the rule's `num_byzantine` or `tolerated`."
    require_whole("tolerated(n)", rule.tolerated(least), 0, advice, owner=type(rule).__name__)
    if type(rule).mixing is Rule.mixing:
        rule.plan(least, None)


def check_bound(rule: Rule) -> int:
    """The bound of a rule; ParameterError if it is none."""
    least: object = rule.min_updates if isinstance(rule, Rule) else None
    advice = "Give the bound of its theorem."
    require_whole("min_updates", least, 1, advice, owner=type(rule).__name__)
    return int(rule.min_updates)

"""What rules share if they survive f of n >= 2f + 1 updates and judge updates by their distances."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from flwr_byzantine.rules.base import Matrix, Rule
from flwr_byzantine.rules.bounds import check_f, in_numbers, least_updates, lowered, number_of

Indices = npt.NDArray[np.intp]
Vector = npt.NDArray[np.float64]

FARTHEST = 1e300  # larger squared distances count as infinite, because their sums would be infinite
ROUNDING = 1e-10  # numbers with a smaller relative difference count as equal, because of rounding


def of_majority(f: int) -> int:
    """The smallest n such that f is less than half of it."""
    return 2 * f + 1


@dataclass(frozen=True)
class ToldOfMinority:
    """A mixin for rules and pre-aggregations with the parameter f, for n >= 2f + 1 updates.

    Parameters
    ----------
    num_byzantine : int or float
        f, or f as a share of the updates.
    """

    num_byzantine: float

    def __post_init__(self) -> None:
        """Check the parameter."""
        check_f(self, "num_byzantine", self.num_byzantine, of_majority)

    @property
    def min_updates(self) -> int:
        """2f + 1."""
        return least_updates(self.num_byzantine, of_majority)

    def at(self, received: int) -> Self:
        """The same with the number f."""
        return in_numbers(self, "num_byzantine", received)

    def without(self, dropped: int) -> Self:
        """The same with f - dropped."""
        return lowered(self, "num_byzantine", dropped)

    def tolerated(self, n: int) -> int:
        """The number f."""
        return number_of(self.num_byzantine, n)

    def kept(self, n: int) -> int:
        """n - f, and below the bound at least 1."""
        return max(1, n - self.tolerated(n))


@dataclass(frozen=True)
class MajorityRule(ToldOfMinority, Rule):
    """A rule with the parameter f, for n >= 2f + 1 updates."""


def within_reach(distances: Matrix) -> Indices:
    """Indices of updates that are at finite distances from each other.

    As long as there are infinite distances, the update with most of them is left out. An honest update has at
    most f infinite distances, and an update that is not finite has only infinite ones.

    Parameters
    ----------
    distances : np.ndarray
        Squared distances, shape (n, n).

    Examples
    --------
    >>> within_reach(np.array([[0, 1, np.inf], [1, 0, np.inf], [np.inf, np.inf, 0]]))
    array([0, 1])
    """
    lost = ~(distances <= FARTHEST)
    counts, there = lost.sum(axis=1), np.ones(len(distances), bool)
    while counts.any():
        worst = len(counts) - 1 - int(np.argmax(counts[::-1]))  # if there are several, the last one
        there[worst] = False
        counts -= lost[worst]
        counts[~there] = 0
    return np.flatnonzero(there)


def mean_of(chosen: Indices, n: int) -> Matrix:
    """Weights of the mean of some of n updates, shape (1, n)."""
    row = np.zeros((1, n))
    row[0, chosen] = 1 / len(chosen)
    return row


def no_result(n: int) -> Matrix:
    """The weights if too many updates are not finite, shape (1, n)."""
    return np.full((1, n), np.nan)


def lowest_but_for_rounding(scores: Vector, m: int) -> Indices:
    """Indices of the m lowest scores, in ascending order. If scores tie, the lower index is taken.

    Examples
    --------
    >>> lowest_but_for_rounding(np.array([3.0, 1.0 + 1e-15, 1.0, 2.0]), 1)
    array([1])
    """
    last = np.partition(scores, m - 1)[m - 1]
    tie = ROUNDING * np.abs(scores[np.isfinite(scores)]).max(initial=0.0)
    below, tied = scores < last - tie, np.abs(scores - last) <= tie
    tied &= np.cumsum(tied) <= m - np.count_nonzero(below)
    return np.flatnonzero(below | tied)

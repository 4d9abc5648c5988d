"""Spectral rules, which look for attackers along the direction of largest variance."""

from dataclasses import dataclass
from itertools import combinations, islice, takewhile
from math import comb
from typing import ClassVar

import numpy as np

from flwr_byzantine.checks import require
from flwr_byzantine.rules.base import Matrix
from flwr_byzantine.rules.bounds import MOST
from flwr_byzantine.rules.distances import Distances
from flwr_byzantine.rules.majority import (
    ROUNDING,
    Indices,
    MajorityRule,
    Vector,
    lowest_but_for_rounding,
    mean_of,
    no_result,
    within_reach,
)

MOST_SUBSETS = 200_000
_AT_ONCE = 1 << 20  # how many distances within subsets are held at once


@dataclass(frozen=True)
class CovarianceFilter(MajorityRule):
    r"""Weighted mean, with smaller weights for updates far out along the direction of largest variance (CAF).

    Weights c begin at 1. While their sum is above n - 2f, each step finds the direction of the largest
    variance under c. With :math:`\tau_i` the squared distance of update i from the weighted mean along this
    direction, it sets

    .. math:: c_i \leftarrow c_i \left(1 - \frac{\tau_i}{\max_{j : c_j > 0} \tau_j}\right)

    The result is the weighted mean at which that variance was least. The maximum is over updates
    that still have a weight. If it were over all updates, one far update would stop the weights
    from changing. So each step takes all weight from at least one update.

    Parameters
    ----------
    num_byzantine : int or float
        f, the number of Byzantine updates to survive, n >= 2f + 1. A fraction between 0 and 1 is that share
        of the n updates, rounded up.

    Raises
    ------
    ValueError
        If ``num_byzantine`` is neither a whole number >= 0 nor such a fraction. In a call, if n < 2f + 1.

    Examples
    --------
    >>> CovarianceFilter(num_byzantine=1)([[0.0], [1.0], [2.0], [3.0], [1e4]]).round(2)
    array([1.5])

    Notes
    -----
    Without an attacker it averages all n updates, those in the middle most. It fails under attackers inside
    the honest spread; one bad value in every update.

    References
    ----------
    Allouah, Guerraoui, Stephan 2025, Towards trustworthy federated learning with untrusted participants,
    algorithm 2.
    """

    uses_distances: ClassVar[bool] = True
    averages: ClassVar[bool] = True

    def mixing(self, n: int, distances: Matrix | None) -> Matrix:
        """One row: the weights, divided by their sum."""
        assert distances is not None
        there = within_reach(distances)
        if len(there) < self.kept(n):
            return no_result(n)
        row = np.zeros((1, n))
        points = Distances(distances[np.ix_(there, there)])
        row[0, there] = self._filtered(points, n - 2 * self.tolerated(n))
        return row

    def _filtered(self, points: Distances, least: int) -> Vector:
        weights = np.ones(points.n)
        best, found = np.inf, weights / points.n
        while weights.sum() > max(0, least) + ROUNDING * points.n:
            shares = weights / weights.sum()
            largest, projections = points.spectrum(shares)
            if largest < best:
                best, found = largest, shares
            farthest = projections[weights > 0].max()
            if farthest == 0:
                break
            kept = 1 - projections / farthest
            weights = np.where(kept > ROUNDING, weights * kept, 0.0)
        return found


@dataclass(frozen=True)
class DivideAndConquer(MajorityRule):
    r"""Mean of all updates except the f that are farthest out along the direction of largest variance (DnC).

    With v the top right singular vector of the centred updates, the scores are

    .. math:: s_i = \langle u_i - \bar u, v \rangle^2

    Updates that are not finite are left out first, and count among the f. The paper draws some of
    the coordinates, several times, because singular vectors are expensive. Here v is exact and over
    all coordinates, so one step is enough.

    Parameters
    ----------
    num_byzantine : int or float
        f, the number of updates to leave out, n >= 2f + 1. A fraction between 0 and 1 is that share of the n
        updates, rounded up.

    Raises
    ------
    ValueError
        If ``num_byzantine`` is neither a whole number >= 0 nor such a fraction. In a call, if n < 2f + 1.

    Examples
    --------
    >>> DivideAndConquer(num_byzantine=1)([[0.0], [1.0], [2.0], [1e20]])
    array([1.])

    Notes
    -----
    Without an attacker it averages n - f clients. It fails under attackers in several directions; one bad
    value in every update.

    The rule sees only one direction, that of the farthest update. So an attacker that is much
    farther away than the others hides them: attackers at 1e6 are averaged if one at 1e20 is there
    too.

    References
    ----------
    Shejwalkar, Houmansadr 2021, Manipulating the Byzantine, algorithm 2.
    """

    uses_distances: ClassVar[bool] = True
    averages: ClassVar[bool] = True

    def scores(self, n: int, distances: Matrix | None) -> Vector:
        """Squared projections. They are infinite for an update that is not finite."""
        assert distances is not None
        there, scores = within_reach(distances), np.full(n, np.inf)
        points = Distances(distances[np.ix_(there, there)])
        scores[there] = points.spectrum(np.full(points.n, 1 / points.n)).squared_projections
        return scores

    def mixing(self, n: int, distances: Matrix | None) -> Matrix:
        """One row: 1 / (n - f) for each update that is left."""
        scores = self.scores(n, distances)
        if np.isfinite(scores).sum() < self.kept(n):
            return no_result(n)
        return mean_of(lowest_but_for_rounding(scores, self.kept(n)), n)


@dataclass(frozen=True)
class SmallestMaximumEigenvalue(MajorityRule):
    r"""Mean of the n - f updates whose largest variance in any direction is least (SMEA).

    .. math:: \mathrm{SMEA}(u_1, \dots, u_n) = \frac{1}{n - f} \sum_{i \in S} u_i, \qquad
        S = \mathrm{argmin}_{|S| = n - f} \lambda_{\max}(\mathrm{Cov}(u_i : i \in S))

    If there are several such subsets, it takes the first in the order of their sorted indices. It tries all
    n! / (f! (n - f)!) subsets. More than 200,000 subsets are refused, so with f = 5, n is at most 31.

    Parameters
    ----------
    num_byzantine : int or float
        f, the number of Byzantine updates to survive, n >= 2f + 1. A fraction between 0 and 1 is that share
        of the n updates, rounded up.

    Raises
    ------
    ValueError
        If ``num_byzantine`` is neither a whole number >= 0 nor such a fraction, or has too many subsets for
        every n. In a call, if n < 2f + 1, or if there are too many subsets.

    Examples
    --------
    >>> SmallestMaximumEigenvalue(num_byzantine=1)([[0.0], [1.0], [2.0], [1e20]])
    array([1.])

    Notes
    -----
    Without an attacker it averages n - f clients. It fails under attackers inside the honest spread; one bad
    value in every update.

    References
    ----------
    Allouah, Guerraoui, Gupta, Pinot, Stephan 2023, On the privacy-robustness-utility trilemma in distributed
    learning (ICML).
    """

    uses_distances: ClassVar[bool] = True
    averages: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Check the parameter."""
        super().__post_init__()
        most = self.max_updates
        expected = f"small enough that some n has at most {MOST_SUBSETS:,} subsets of n - f updates"
        advice = (
            "Assume fewer Byzantine clients, or take `CovarianceFilter`, which tries no subsets."
        )
        holds = most is None or most >= self.min_updates
        require(
            holds, "num_byzantine", expected, self.num_byzantine, advice, owner=type(self).__name__
        )

    @property
    def max_updates(self) -> int | None:
        """The largest n with at most 200,000 subsets; None if there is no such limit."""
        few_enough = (
            comb(n, self.tolerated(n)) <= MOST_SUBSETS for n in range(self.min_updates, MOST)
        )
        counted = sum(takewhile(bool, few_enough))
        return None if counted == MOST - self.min_updates else self.min_updates + counted - 1

    def mixing(self, n: int, distances: Matrix | None) -> Matrix:
        """One row: 1 / (n - f) for each update of the subset."""
        assert distances is not None
        there, size = within_reach(distances), self.kept(n)
        if len(there) < size:
            return no_result(n)
        return mean_of(there[least_spread(distances[np.ix_(there, there)], size)], n)


def least_spread(distances: Matrix, size: int) -> Indices:
    """Indices of the subset of the given size with the least top eigenvalue; the first if there are several.

    A subset with the squared diameter t has an eigenvalue of at least t / (2 size). So once a subset without
    far updates is known, subsets with a far update need no decomposition.
    """
    subsets = combinations(range(len(distances)), size)
    best, found = np.inf, np.arange(size)
    while chunk := list(islice(subsets, max(1, _AT_ONCE // size**2))):
        chosen = np.array(chunk)
        within = distances[chosen[:, :, None], chosen[:, None, :]]
        near = within.max(axis=(1, 2)) / (2 * size) < best
        chosen, within = chosen[near], within[near]
        if not len(chosen):
            continue
        means = within.mean(axis=2)
        gram = means[:, :, None] + means[:, None, :] - within - means.mean(axis=1)[:, None, None]
        largest = np.linalg.eigvalsh(gram)[:, -1] / (2 * size)
        least = largest.min()
        if least < best * (1 - ROUNDING):
            best = least
            found = chosen[np.flatnonzero(largest <= least * (1 + ROUNDING))[0]]
    return found

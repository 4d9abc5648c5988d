"""The update nearest to all others."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from flwr_byzantine.rules.base import Matrix, Rule
from flwr_byzantine.rules.majority import Indices, Vector, mean_of, no_result, within_reach

ROUNDING = 1e-12  # rounding may change a sum of distances by this part of it
HIDES = 1e-10  # a distance below this part of a far update's distance is lost in a sum with it


def distance_sums(distances: Matrix) -> Vector:
    """Sum of each update's distances, not squared, to the others.

    Parameters
    ----------
    distances : np.ndarray
        Squared distances, shape (k, n), all of them finite.

    Examples
    --------
    >>> x = np.array([0.0, 1.0, 9.0])
    >>> distance_sums((x[:, None] - x) ** 2)
    array([10.,  9., 17.])
    """
    sums: Vector = np.sort(np.sqrt(distances), axis=1).sum(axis=1)
    return sums


def medoids(distances: Matrix) -> Indices:
    """Indices of the updates with the least sum of distances, up to rounding.

    If a far update's distance is in all sums, rounding can make them equal. Then they are computed again
    without that update. In this way far updates cannot hide an attacker that is near the honest updates.

    Parameters
    ----------
    distances : np.ndarray
        Squared distances, shape (n, n), all of them finite.

    Examples
    --------
    >>> x = np.array([1e6, 0.0, 1.0, 2.0, 3.0, 1e20])
    >>> medoids((x[:, None] - x) ** 2)
    array([3])
    """
    tied: Indices = np.arange(len(distances))
    counted = tied
    while True:
        sums = distance_sums(distances[np.ix_(tied, counted)])
        tied = tied[sums <= sums.min() * (1 + ROUNDING)]
        apart = np.sqrt(distances[np.ix_(tied, tied)].max())
        near = apart > HIDES * np.sqrt(distances[tied[0], counted])
        if apart == 0 or near.all():
            return tied
        counted = counted[near]


@dataclass(frozen=True)
class Medoid(Rule):
    r"""The update with the least sum of distances to the others.

    .. math:: \mathrm{Medoid}(u_1, \dots, u_n) = u_k, \qquad
        k = \mathrm{argmin}_i \sum_{j=1}^{n} \|u_i - u_j\|

    Distances are not squared, so it is the geometric median among the updates themselves. If there
    are several, it is the one with the lowest index. It tolerates f Byzantine updates if n >= 2f +
    1: the result stays near the honest updates, but may be an attacker's update that is near them
    too. If half of the updates or more are not finite, the result is NaN. If some updates are more
    than 1e12 times as far away as the honest ones are apart, rounding hides which honest update is
    nearest to all. Then the one nearest to the near updates is taken.

    Examples
    --------
    >>> Medoid()([[0.0], [1.0], [3.0], [4.0], [99.0]])
    array([3.])

    Notes
    -----
    Without an attacker it averages one client. It fails under IPM of small ε; one bad value in every
    update.

    An attacker in the middle of the honest updates is the medoid, as it is Krum's choice.

    References
    ----------
    Kaufman, Rousseeuw 1987, Clustering by means of medoids.
    """

    uses_distances: ClassVar[bool] = True

    @property
    def min_updates(self) -> int:
        """One."""
        return 1

    def tolerated(self, n: int) -> int:
        """The largest f with n >= 2f + 1."""
        return (n - 1) // 2

    def scores(self, n: int, distances: Matrix | None) -> Vector:
        """Sums of distances. They are infinite for an update that is not finite."""
        assert distances is not None
        scores, there = np.full(n, np.inf), within_reach(distances)
        scores[there] = distance_sums(distances[np.ix_(there, there)])
        return scores

    def mixing(self, n: int, distances: Matrix | None) -> Matrix:
        """One row: 1 on the medoid."""
        assert distances is not None
        there = within_reach(distances)
        if n - len(there) > self.tolerated(n):
            return no_result(n)
        return mean_of(there[medoids(distances[np.ix_(there, there)])[:1]], n)

"""The mean of the n - f updates that are nearest together, found without trying all subsets."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from flwr_byzantine.rules.base import Matrix
from flwr_byzantine.rules.majority import Indices, MajorityRule, mean_of, no_result, within_reach

# The limit on the steps of all searches in one graph. After it, each search ends without a result.
MOST_STEPS = 20_000


@dataclass(frozen=True)
class MinimumDiameterAveraging(MajorityRule):
    r"""Mean of the n - f updates with the least diameter (MDA).

    .. math:: \mathrm{MDA}(u_1, \dots, u_n) = \frac{1}{n - f} \sum_{i \in S} u_i, \qquad
        S = \mathrm{argmin}_{|S| = n - f} \max_{i, j \in S} \|u_i - u_j\|

    If there are several such subsets, it takes the first in the order of their sorted indices. It
    does not try all subsets. The least diameter is at most t if and only if f updates are enough to
    cover each pair that is farther apart than t, which is a vertex cover. With hundreds of clients
    the searches for one t may take more than 20,000 steps. Then the subset is the best that was
    found, and its diameter is at most twice the least.

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
    >>> MinimumDiameterAveraging(num_byzantine=1)([[0.0], [4.0], [5.0], [9.0]])
    array([3.])

    Notes
    -----
    Without an attacker it averages n - f clients. It fails under attackers inside the honest spread; one bad
    value in every update.

    Each attacker may be as far from the honest mean as the honest updates' diameter, and still be
    averaged.

    References
    ----------
    El Mhamdi, Guerraoui, Rouault 2018, The hidden vulnerability of distributed learning in Byzantium
    ("brute").
    """

    uses_distances: ClassVar[bool] = True
    averages: ClassVar[bool] = True
    order_matters: ClassVar[bool] = (
        True  # many subsets may have the same diameter, and the first one is taken
    )

    def mixing(self, n: int, distances: Matrix | None) -> Matrix:
        """One row: 1 / (n - f) for each update of the subset."""
        assert distances is not None
        there, size = within_reach(distances), self.kept(n)
        if len(there) < size:
            return no_result(n)
        return mean_of(there[nearest_together(distances[np.ix_(there, there)], size)], n)


def nearest_together(distances: Matrix, size: int) -> Indices:
    """Indices of the subset of the given size with the least diameter; the first if there are several.

    Parameters
    ----------
    distances : np.ndarray
        Squared distances, shape (n, n), all of them finite.
    size : int
        From 1 to n.
    """
    order = np.argsort(distances, axis=1, kind="stable")[:, :size]
    balls = [distances[np.ix_(ball, ball)].max() for ball in order]
    best = int(np.argmin(balls))
    found = mask(order[best])  # at most twice the least diameter
    least = np.sort(distances, axis=1)[:, size - 1].min()
    candidates = np.unique(distances[(least <= distances) & (distances <= balls[best])])
    low, high = 0, len(candidates) - 1
    while low < high:
        middle = (low + high) // 2
        subset = Apart(distances > candidates[middle]).subset(0, 0, size)
        if subset is None:
            low = middle + 1
        else:
            high, found = middle, subset
    return first_of(Apart(distances > candidates[high]), found, size)


def first_of(apart: "Apart", found: int, size: int) -> Indices:
    """Indices of the first subset of the size without two updates that are too far apart.

    Parameters
    ----------
    apart : Apart
        The pairs that are too far apart.
    found : int
        The mask of one such subset.
    size : int
        The size of the subset.
    """
    taken, left_out = 0, 0
    for i in range(apart.n):
        bit = 1 << i
        if taken.bit_count() == size:
            break
        if left_out & bit:
            continue
        if not found & bit:
            other = apart.subset(taken | bit, left_out | apart.of[i], size)
            if other is None:
                left_out |= bit
                continue
            found = other
        taken, left_out = taken | bit, left_out | apart.of[i]
    return np.array([i for i in range(apart.n) if taken >> i & 1])


def mask(indices: Indices) -> int:
    """A set of indices as the bits of a number."""
    return sum(1 << int(i) for i in indices)


class Apart:
    """The pairs of updates that are too far apart, as a graph. All its searches share one limit of steps.

    Parameters
    ----------
    pairs : np.ndarray
        Whether two updates are too far apart, shape (n, n).
    """

    def __init__(self, pairs: Matrix) -> None:
        self.n = len(pairs)
        self.of = [mask(np.flatnonzero(row)) for row in pairs]
        self._steps = 0

    def subset(self, taken: int, left_out: int, size: int) -> int | None:
        """A set of at least ``size`` updates without a pair of the graph; None if none is found.

        It contains the updates of the mask ``taken``, and none of the mask ``left_out``.
        """
        rest = (1 << self.n) - 1 & ~taken & ~left_out
        budget = rest.bit_count() + taken.bit_count() - size
        covered = self._cover(rest, budget)
        return None if covered is None else taken | (rest & ~covered)

    def _cover(self, rest: int, budget: int) -> int | None:
        """A vertex cover of the rest with at most ``budget`` updates; None if none is found."""
        self._steps += 1
        covered = 0
        while True:
            if budget < 0 or self._steps > MOST_STEPS:
                return None
            degrees = {i: (self.of[i] & rest).bit_count() for i in bits(rest)}
            most = max(degrees, key=degrees.__getitem__, default=None)
            if most is None or degrees[most] == 0:
                return covered
            single = next((i for i, degree in degrees.items() if degree == 1), None)
            if degrees[most] > budget:  # otherwise all its neighbours have to be in the cover
                forced = 1 << most
            elif single is not None:  # its neighbour covers at least as many pairs
                forced = self.of[single] & rest
            else:
                break
            covered, rest, budget = covered | forced, rest & ~forced, budget - 1
        if sum(degrees.values()) > 2 * budget * degrees[most] or self._matched(rest) > budget:
            return None
        for chosen in (1 << most, self.of[most] & rest):
            other = self._cover(rest & ~chosen, budget - chosen.bit_count())
            if other is not None:
                return covered | chosen | other
        return None

    def _matched(self, rest: int) -> int:
        """The number of pairs that share no update. A cover holds one update of each pair."""
        pairs = 0
        for i in bits(rest):
            near = self.of[i] & rest
            if rest >> i & 1 and near:
                rest &= ~(1 << i | near & -near)
                pairs += 1
        return pairs


def bits(number: int) -> list[int]:
    """The positions of the set bits of a number, from the lowest to the highest."""
    found = []
    while number:
        low = number & -number
        found.append(low.bit_length() - 1)
        number ^= low
    return found

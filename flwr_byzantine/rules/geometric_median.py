"""The point whose distances to all updates have the least sum."""

from dataclasses import dataclass, replace
from typing import ClassVar, Self

import numpy as np

from flwr_byzantine.checks import is_number, require, require_whole
from flwr_byzantine.rules.base import Matrix
from flwr_byzantine.rules.bounds import number_of
from flwr_byzantine.rules.distances import Distances
from flwr_byzantine.rules.majority import MajorityRule, Vector, mean_of, no_result, within_reach
from flwr_byzantine.rules.medoid import medoids

SMALL = 1e-9  # a distance below this part of the spread counts as this part of the spread
MOST_STEPS, MOST_HALVINGS = 100, 20
ARRIVED = 1e-16  # a step that gains less than this part of the spread is the last one


@dataclass(frozen=True)
class GeometricMedian(MajorityRule):
    r"""The point with the least sum of distances to the updates: the geometric median.

    .. math:: \mathrm{GM}(u_1, \dots, u_n) = \mathrm{argmin}_y \sum_{i=1}^{n} \|u_i - y\|

    Distances are not squared. Weiszfeld's steps and Newton's steps find the point. They start from
    the mean of the floor(n/2) + 1 updates nearest the medoid. Each of Weiszfeld's steps weighs the
    updates by 1 / max(nu, their distance from the point before). If some of the updates have the
    least sum themselves, the result is the mean of these.

    It survives any f with n >= 2f + 1, also if it is told no f. It is in the convex hull of all
    finite updates, not of the honest ones alone. So attackers move it, by a bounded distance.

    Far updates cost precision, because only distances are known. If attackers are 1e10 times as far
    away as honest updates are apart, the error is 3e-8 of the honest distance; with 1e12 it is
    5e-6. With 1e20 rounding hides the direction of the attackers, but the result is still among the
    honest updates.

    Parameters
    ----------
    num_byzantine : int or float
        f. If more than f updates are not finite, the result is NaN, and fewer than 2f + 1 updates
        are an error. A fraction between 0 and 1 is that share of the n updates, rounded up. 0
        stands for the largest f that n allows, (n - 1) / 2.
    iterations : int or None
        How many of Weiszfeld's steps to take, without any of Newton's. None takes steps until the
        point no longer changes.
    smoothing : float or None
        nu. All updates within this distance of the point have the same weight. None is 1e-9 of the
        spread, which is the smallest distance from the medoid within which floor(n/2) + 1 updates lie.
        RFA is ``iterations=3, smoothing=0.1``.

    Raises
    ------
    ValueError
        If a parameter is out of range. A call raises it if n < 2f + 1.

    Examples
    --------
    >>> corners = [[0.0, 0.0], [2.0, 0.0], [0.0, 2.0], [9.0, 9.0]]
    >>> GeometricMedian()(corners).round(9)  # of four corners, where the diagonals cross
    array([1., 1.])

    Notes
    -----
    Without an attacker it averages all n updates, those near it most. It fails under many attackers on one
    side; one bad value in every update.

    Each attacker counts the same, however far away it is. So f of them on one side move the result by a
    multiple of the honest spread. This multiple grows without bound as f approaches n / 2.

    References
    ----------
    Weiszfeld 1937; Pillutla, Kakade, Harchaoui 2022, Robust aggregation for federated learning, algorithm 2
    (RFA), which starts from the mean.
    """

    num_byzantine: float = 0
    iterations: int | None = None
    smoothing: float | None = None

    uses_distances: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Check the parameters."""
        super().__post_init__()
        name, advice = (
            type(self).__name__,
            "Leave it out to iterate until the point stays the same.",
        )
        if self.iterations is not None:
            require_whole("iterations", self.iterations, 1, advice, owner=name)
            object.__setattr__(self, "iterations", int(self.iterations))
        if self.smoothing is not None:
            given, advice = (
                self.smoothing,
                "Leave it out for the smallest value that rounding allows.",
            )
            holds = is_number(given) and not isinstance(given, bool) and given > 0
            require(holds, "smoothing", "a number above 0", given, advice, owner=name)
            object.__setattr__(self, "smoothing", float(given))

    def scaled(self, factor: float) -> Self:
        """The same with nu times the factor."""
        return replace(self, smoothing=None if self.smoothing is None else self.smoothing * factor)

    def tolerated(self, n: int) -> int:
        """The number f, or the largest f with n >= 2f + 1 if none is given."""
        return number_of(self.num_byzantine, n) or (n - 1) // 2

    def mixing(self, n: int, distances: Matrix | None) -> Matrix:
        """One row: the point's coefficients, which are not negative."""
        assert distances is not None
        there = within_reach(distances)
        if len(there) < self.kept(n):
            return no_result(n)
        row = np.zeros((1, n))
        row[0, there] = self._coefficients(Distances(distances[np.ix_(there, there)]), n)
        return row

    def _coefficients(self, points: Distances, n: int) -> Vector:
        """Coefficients over the points, for those of n updates that are finite."""
        nearest = medoids(points.rows)
        medoid = int(nearest[0])
        gram = points.inner_products(origin=medoid)
        squared = gram.diagonal()
        majority = np.argsort(squared, kind="stable")[: n // 2 + 1]
        start: Vector = mean_of(majority, points.n)[0]
        spread = float(np.sqrt(squared[majority[-1]]))
        floor = self.smoothing or max(SMALL * spread, 1e-150)
        if self.iterations is not None:
            for _ in range(self.iterations):
                start = weiszfeld(np.sqrt(squared_to(gram, start)), floor)
            return start
        if self.smoothing is None and is_median(gram, medoid):
            tied = [i for i in nearest if is_median(points.inner_products(origin=i), i)]
            start = mean_of(np.array(tied), points.n)[0]
            if not squared[tied].any() or is_stationary(gram, start, floor):
                return start
        lower = off(gram, medoid)
        if change(gram, start, lower, squared_to(gram, start), floor) < 0:
            start = lower  # its sum is less than that of every update, so no step ends in an update
        return converged(gram, start, floor, spread)


def is_median(gram: Matrix, k: int) -> bool:
    """Whether update k is a geometric median.

    It is one if the sum of the unit vectors to the others is at most as long as the number of its copies.

    Parameters
    ----------
    gram : np.ndarray
        Inner products of the updates about update k, shape (n, n).
    k : int
        The update.
    """
    squared = gram.diagonal()
    others = squared > 0
    lengths = np.sqrt(squared[others])
    part = gram[np.ix_(others, others)] / lengths[:, None] / lengths
    multiplicity = np.count_nonzero(~others)
    return bool(part.sum() <= (multiplicity * (1 + SMALL)) ** 2)


def off(gram: Matrix, k: int) -> Vector:
    """Coefficients of a point with a smaller sum of distances than update k, if update k is no median.

    Parameters
    ----------
    gram : np.ndarray
        Inner products of the updates about update k, shape (n, n).
    k : int
        The update.

    References
    ----------
    Vardi, Zhang 2000, The multivariate L1-median and associated data depth.
    """
    others = gram.diagonal() > 0
    weights = np.zeros(len(gram))
    weights[others] = 1 / np.sqrt(gram.diagonal()[others])
    pull = np.sqrt(max(0.0, float(weights @ gram @ weights)))
    stay = min(1.0, np.count_nonzero(~others) / max(pull, 1e-150))
    coefficients: Vector = (1.0 - stay) * weights / max(weights.sum(), 1e-150)
    coefficients[k] += stay
    return coefficients


def squared_to(gram: Matrix, a: Vector) -> Vector:
    """Squared distances of the updates to the combination a, from their inner products."""
    products = gram @ a
    squared: Vector = np.maximum(0.0, a @ products - 2 * products + gram.diagonal())
    return squared


def weiszfeld(distances: Vector, floor: float) -> Vector:
    """Coefficients of the point after a step from a point at these distances."""
    weights = 1 / np.maximum(floor, distances)
    coefficients: Vector = weights / weights.sum()
    return coefficients


def between(gram: Matrix, a: Vector) -> Matrix:
    """Inner products of the updates about the combination a, shape (n, n)."""
    products = gram @ a
    about: Matrix = a @ products - products[:, None] - products + gram
    return about


def is_stationary(gram: Matrix, a: Vector, floor: float) -> bool:
    """Whether the directions of the updates from the combination a cancel."""
    weights = 1 / np.maximum(floor, np.sqrt(squared_to(gram, a)))
    return bool(weights @ between(gram, a) @ weights <= (1000 * SMALL * len(a)) ** 2)


def newton(gram: Matrix, a: Vector, distances: Vector, floor: float) -> Vector:
    r"""Coefficients of the point after Newton's step from the combination a.

    With v_i = y - u_i and b_i = 1 / max(nu, \|v_i\|), the gradient is the sum of the b_i v_i. The step is a
    combination of the v_i too, with coefficients -b_i c_i that n equations give.
    """
    weights = 1 / np.maximum(floor, distances)
    curved = np.where(distances > floor, weights**2, 0.0)
    system = weights.sum() * np.eye(len(a)) - curved[:, None] * between(gram, a) * weights
    try:
        step = weights * np.linalg.solve(system, np.ones(len(a)))
    except np.linalg.LinAlgError:  # all on one line
        return weiszfeld(distances, floor)
    moved: Vector = a + step - a * step.sum()
    return moved


def converged(gram: Matrix, a: Vector, floor: float, spread: float) -> Vector:
    """The combination from which no step leads to a smaller sum of distances.

    Weiszfeld's step always leads to a smaller sum. Newton's step is halved until it leads to a still smaller
    sum, and then replaces Weiszfeld's step.
    """
    for _ in range(MOST_STEPS):
        squared = squared_to(gram, a)
        distances = np.sqrt(squared)
        safe, whole = weiszfeld(distances, floor), newton(gram, a, distances, floor)
        best, gained = safe, change(gram, a, safe, squared, floor)
        for halvings in range(MOST_HALVINGS):
            shorter = a + 0.5**halvings * (whole - a)
            other = change(gram, a, shorter, squared, floor)
            if other < gained:
                best, gained = shorter, other
                break
        if gained >= 0:
            break
        a = best
        if gained >= -ARRIVED * spread * len(a):
            break
    return weiszfeld(np.sqrt(squared_to(gram, a)), floor)


def change(gram: Matrix, a: Vector, b: Vector, squared: Vector, floor: float) -> float:
    """By how much the sum of distances is larger at b than at a, computed without cancellation."""
    step = b - a
    if not np.isfinite(step).all():
        return np.inf
    turned = gram @ step
    difference = step @ turned + 2 * (a @ turned - turned)
    before, after = np.sqrt(squared), np.sqrt(np.maximum(0.0, squared + difference))
    apart = (before > floor) & (after > floor)
    exact = difference / np.where(apart, before + after, 1.0)
    return float(np.where(apart, exact, smooth(after, floor) - smooth(before, floor)).sum())


def smooth(distances: Vector, floor: float) -> Vector:
    """Distances, smoothed below the floor. Weiszfeld's steps lower the sum of these."""
    smoothed: Vector = np.where(
        distances > floor, distances, distances**2 / (2 * floor) + floor / 2
    )
    return smoothed

"""How far f attackers move a rule if all of them send the same update on a line through the honest mean."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..kernels import pairwise_distances
from ..rules import Distances, Given, Rule
from ..rules.inputs import as_columns
from .base import Floats
from .spread import Line, Vector

Objective = Callable[[float], float]
"""From the distance of the attackers' update from the mean to that of the rule's result."""


def objective(rule: Rule, honest: Floats, num_attackers: int, known: Line) -> Objective:
    """Return the rule's distance from the honest mean, for attackers at a distance from it."""
    if (rule.uses_distances or rule.uses_model) and not (rule.uses_counts or rule.remembers):
        by_distances = ByDistances(rule, honest, num_attackers, known)
        if by_distances.serves():
            return by_distances
    return ByUpdates(rule, honest, num_attackers, known)


class ByUpdates:
    """The rule is run on the updates.

    Parameters
    ----------
    rule : Rule
        Any rule.
    honest : np.ndarray
        Shape (h, d).
    num_attackers : int
        f.
    known : Line
        The line on which the attackers' update is.
    """

    def __init__(self, rule: Rule, honest: Floats, num_attackers: int, known: Line) -> None:
        self.rule, self.honest, self.known, self.f = rule, honest, known, num_attackers

    def __call__(self, t: float) -> float:
        """How far the rule's result is from the mean, for attackers at distance t."""
        with np.errstate(over="ignore", invalid="ignore"):
            row = self.known.at(t).astype(self.honest.dtype)
            result = self.rule([*self.honest, *[row] * self.f])
            return float(np.linalg.norm(result.astype(np.float64) - self.known.mean))


class ByDistances:
    """The rule is asked for its weights, which distances alone decide; it gives one mixed row.

    The points are the honest updates, the mean mu, mu + q, and the model, which is zero.

    Parameters
    ----------
    rule, honest, num_attackers, known
        As for `ByUpdates`; the rule neither remembers nor counts examples.
    """

    def __init__(self, rule: Rule, honest: Floats, num_attackers: int, known: Line) -> None:
        self.rule, self.h, self.f, self.known = rule, len(honest), num_attackers, known
        self.n = self.h + self.f
        self.unit = known.reach  # the second point is that far from the mean
        columns, _ = as_columns(list(honest))
        self.between = pairwise_distances(columns)
        finite = known.finite
        self.from_mean = np.full(self.h, np.inf)
        self.from_mean[finite] = known.squared
        self.along = np.zeros(self.h)
        self.along[finite] = known.products
        self.lengths = np.full(self.h, np.inf)
        self.lengths[finite] = [
            row @ row for row in (each.astype(np.float64) for each in honest[finite])
        ]
        mean = known.mean
        self.mean_length, self.mean_along = float(mean @ mean), float(mean @ known.along)
        self.points = self._points()

    def serves(self) -> bool:
        """Whether the rule gives one combination of the updates."""
        if not np.isfinite(self.points[-3:, -3:]).all():
            return False
        mixing, reduction = self.rule.plan(self._given(self.unit))
        return mixing is not None and reduction is None

    def __call__(self, t: float) -> float:
        """How far the rule's result is from the mean, for attackers at distance t."""
        mixing, _ = self.rule.plan(self._given(t))
        assert mixing is not None
        weights = mixing[0]
        if not np.isfinite(weights).all():
            return np.nan
        attackers = weights[self.h : self.n].sum()
        part = t / self.unit
        combination = np.zeros(self.h + 3)
        combination[: self.h] = weights[: self.h]
        combination[self.h :] = (
            attackers * (1 - part),
            attackers * part,
            1 - weights[: self.n].sum(),
        )
        mean = np.zeros(self.h + 3)
        mean[self.h] = 1.0
        return float(np.sqrt(self.points_as_distances().between(combination, mean)))

    def points_as_distances(self) -> Distances:
        """Distances between the honest updates, mu, mu + q and the model."""
        return Distances(self.points)

    def _points(self) -> Vector:
        """Squared distances between the honest updates, the mean, a second point of the line, and zero."""
        h = self.h
        points = np.zeros((h + 3, h + 3))
        points[:h, :h] = self.between
        points[:h, h] = points[h, :h] = self.from_mean
        points[:h, h + 1] = points[h + 1, :h] = self._from_attacker(self.unit)
        points[:h, h + 2] = points[h + 2, :h] = self.lengths
        points[h, h + 1] = points[h + 1, h] = self.unit**2
        points[h, h + 2] = points[h + 2, h] = self.mean_length
        points[h + 1, h + 2] = points[h + 2, h + 1] = self._length_at(self.unit)
        return points

    def _from_attacker(self, t: float) -> Vector:
        """Squared distance of each honest update from mu + t q."""
        with np.errstate(over="ignore", invalid="ignore"):
            squared: Vector = self.from_mean + 2 * t * self.along + t * t
        return np.maximum(squared, 0.0)

    def _length_at(self, t: float) -> float:
        return max(0.0, self.mean_length + 2 * t * self.mean_along + t * t)

    def _given(self, t: float) -> Given:
        """What the rule may know of the honest updates and f attackers at distance t."""
        h, n = self.h, self.n
        m = n + 1 if self.rule.uses_model else n
        squared = np.zeros((m, m))
        squared[:h, :h] = self.between
        squared[:h, h:n] = self._from_attacker(t)[:, None]
        squared[h:n, :h] = squared[:h, h:n].T
        if self.rule.uses_model:
            squared[n, :h] = squared[:h, n] = self.lengths
            squared[n, h:n] = squared[h:n, n] = self._length_at(t)
        return Given(n, Distances(squared, n))

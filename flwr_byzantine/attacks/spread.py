"""The spread of the honest updates: their mean, and the distance of each from it. Attackers hide in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..kernels import pairwise_distances
from ..rules.inputs import as_columns
from .base import Floats

Vector = NDArray[np.float64]
"""Numbers in float64."""


@dataclass(frozen=True, eq=False)
class Line:
    r"""The updates m(t) = mu + t q on a line through the honest mean, with their place among honest updates.

    Parameters
    ----------
    mean, along : np.ndarray
        The mean mu of the finite honest updates, and the direction q of length 1 or 0, shape (d,).
    length : float
        The length of the paper's direction p. So p is q times this length.
    squared, products : np.ndarray
        For each finite honest update u, :math:`|u - \mu|^2` and :math:`\langle q, \mu - u \rangle`.
    finite : np.ndarray
        Which honest updates are finite.
    """

    mean: Vector
    along: Vector
    length: float
    squared: Vector
    products: Vector
    finite: NDArray[np.bool_]

    @property
    def reach(self) -> float:
        """The distance of the farthest honest update from the mean."""
        return float(np.sqrt(self.squared.max(initial=0.0)))

    def at(self, t: float) -> Vector:
        """The update m(t); the mean if there is no direction, or if t is no number."""
        with np.errstate(over="ignore", invalid="ignore"):
            moved: Vector = self.mean + t * self.along
        return moved if np.isfinite(t) and self.length > 0 else self.mean


def finite_rows(honest: Floats) -> NDArray[np.bool_]:
    """Which honest updates are finite, shape (h,)."""
    return np.array([bool(np.isfinite(row).all()) for row in honest], bool)


def mean_of(honest: Floats) -> Vector:
    """The mean of the rows, shape (d,); zeros if there are no rows."""
    if not len(honest):
        return np.zeros(honest.shape[1])
    with np.errstate(over="ignore", invalid="ignore"):
        mean: Vector = honest.mean(axis=0, dtype=np.float64)
        if not np.isfinite(mean).all():  # the sum is beyond float64
            mean = np.sum(honest / np.float64(len(honest)), axis=0, dtype=np.float64)
    return mean


def line(honest: Floats, direction: str) -> Line:
    """The line from the honest mean in a direction p: "unit", "sign", "std", or "mean", which is -mu."""
    finite = finite_rows(honest)
    known = honest if finite.all() else honest[finite]
    mean = mean_of(known)
    equal = bool((known == known[:1]).all())
    if equal and len(known):
        mean = known[0].astype(np.float64)  # without the rounding of a sum
    with np.errstate(all="ignore"):
        if direction == "std":
            along = np.zeros_like(mean) if equal else -known.std(axis=0, dtype=np.float64)
        else:
            along = -np.sign(mean) if direction == "sign" else -mean
        along, length = unit(along)
        length = 1.0 if direction == "unit" and length > 0 else length
        squared, products = np.zeros(len(known)), np.zeros(len(known))
        for i, row in enumerate(known):
            apart = mean - row
            squared[i], products[i] = apart @ apart, along @ apart
    return Line(mean, along, length, squared, products, finite)


def farthest_pair(honest: Floats) -> float:
    """The largest squared distance between two rows; 0 if there is one row."""
    columns, _ = as_columns(list(honest))
    return float(pairwise_distances(columns).max())


def unit(vector: Vector) -> tuple[Vector, float]:
    """The vector divided by its length, and that length; zeros if the length is 0."""
    largest = float(np.abs(vector).max(initial=0.0))
    if not 0 < largest < np.inf:
        return np.zeros_like(vector), 0.0
    scaled: Any = vector / largest
    length = float(np.sqrt(scaled @ scaled))
    return scaled / length, length * largest

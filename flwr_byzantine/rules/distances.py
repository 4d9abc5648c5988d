"""Squared distances between points, and the quantities that rules compute from them.

A point is an update, or a reference such as the global model. Every linear combination of updates
is an affine combination of the updates and the model. So distances determine its norm, its inner
products and its distance to any other combination.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.float64]
Vector = npt.NDArray[np.float64]

SAME = 1e-9  # eigenvalues with a smaller relative difference count as equal
HIDDEN = 1e-4  # a number counts as unknown if its relative rounding error may be larger than this
LOST = 1e-3  # a difference that is a smaller part of the two numbers has lost digits to rounding


def _same_rows(matrix: Matrix) -> npt.NDArray[np.bool_]:
    """Which pairs of rows are equal, shape (k, k)."""
    if not matrix.shape[1]:
        return np.ones((len(matrix), len(matrix)), bool)
    _, kinds = np.unique(matrix, axis=0, return_inverse=True)
    kinds = kinds.reshape(-1)
    same: npt.NDArray[np.bool_] = kinds[:, None] == kinds
    return same


class Spectrum(NamedTuple):
    """The largest eigenvalue of the covariance matrix, and the squared projections on its eigenvector.

    Parameters
    ----------
    largest : float
        The largest eigenvalue.
    squared_projections : np.ndarray
        Shape (n,): each update's squared distance from the mean along that direction; 0 for an update with
        the probability 0.
    """

    largest: float
    squared_projections: Vector


@dataclass(frozen=True, eq=False)
class Distances:
    r"""Squared Euclidean distances D between the n updates, and from them to reference points.

    Combinations are given by their coefficients over all points, or over the updates alone. Coefficients sum
    to one. For two combinations a and b,

    .. math:: |(a - b)^T X|^2 = -\tfrac{1}{2} (a - b)^T D (a - b)

    Parameters
    ----------
    squared : np.ndarray
        Shape (m, m), m >= n; symmetric, with zeros on the diagonal, and infinite for a point that is not
        finite. References follow the updates: first the global model, and then a rule's own center.
    num_rows : int or None
        n. None stands for m, without references.
    products : Mapping[int, np.ndarray] or None
        The position of a reference -> measured inner products of the updates relative to it, shape (n, n).
        They are measured for updates that are far longer than most, because rounding hides them in D. All
        others are NaN.

    Examples
    --------
    >>> x = np.array([0.0, 1.0, 3.0])
    >>> d = Distances((x[:, None] - x) ** 2)
    >>> float(d.between([0.5, 0.5, 0], [0, 0, 1])), d.to_affine([0.5, 0.5, 0])
    (6.25, array([0.25, 0.25, 6.25]))
    """

    squared: Matrix
    num_rows: int | None = None
    products: Mapping[int, Matrix] | None = None

    @property
    def n(self) -> int:
        """Number of updates."""
        return len(self.squared) if self.num_rows is None else self.num_rows

    @property
    def rows(self) -> Matrix:
        """D of the updates alone, shape (n, n)."""
        return self.squared[: self.n, : self.n]

    @property
    def squared_norms(self) -> Vector:
        """Squared length of each update, which is its squared distance from the model, shape (n,)."""
        return self.from_point(self.n)

    def from_point(self, position: int) -> Vector:
        """Squared distance of each update from one of the points, shape (n,)."""
        return self.squared[: self.n, position]

    def inner_products(self, origin: int | None = None) -> Matrix:
        r"""Inner products of the updates, shape (n, n).

        .. math:: \langle u_i, u_j \rangle = (|u_i|^2 + |u_j|^2 - D_{ij}) / 2

        If one update is so much longer than the other that rounding hides their inner product, the measured
        value is taken, or 0 if there is none.

        Parameters
        ----------
        origin : int or None
            The point relative to which updates are measured; None is the model.
        """
        squared = self.from_point(self.n if origin is None else origin)
        measured = self._measured(self.n if origin is None else origin)
        with np.errstate(invalid="ignore", over="ignore"):
            both = squared[:, None] + squared
            products = (both - self.rows) / 2
            lengths = np.sqrt(squared)
            known = np.finfo(float).eps * both <= HIDDEN * np.outer(lengths, lengths)
        np.fill_diagonal(products, squared)
        np.fill_diagonal(known, True)
        derived = np.where(known & np.isfinite(products), products, 0.0)
        return np.where(np.isfinite(measured), measured, derived)

    def _measured(self, origin: int) -> Matrix:
        """Inner products that were measured, shape (n, n); NaN for the others."""
        found = (self.products or {}).get(origin)
        return np.full((self.n, self.n), np.nan) if found is None else found

    def between(self, a: npt.ArrayLike, b: npt.ArrayLike) -> float:
        """Squared distance between two combinations; infinite if they differ in an infinite point."""
        difference = self._padded(a) - self._padded(b)
        return float(self._lengths(difference[None])[0])

    def to_affine(self, a: npt.ArrayLike) -> Vector:
        """Squared distance of each update to a combination, shape (n,)."""
        return self._lengths(np.eye(len(self.squared))[: self.n] - self._padded(a))

    def of_mixed(self, mixing: Matrix) -> "Distances":
        """Distances of k combinations in place of the updates. References stay the same.

        Coefficients that two combinations share cancel exactly. So equal combinations have the distance 0,
        and a far update in both does not change their distance.

        Parameters
        ----------
        mixing : np.ndarray
            Shape (k, n) or (k, m), with one combination in each row.
        """
        k, references = len(mixing), len(self.squared) - self.n
        points = np.zeros((k + references, len(self.squared)))
        points[:k] = self._padded(mixing)
        points[range(k, k + references), range(self.n, len(self.squared))] = 1.0
        infinite = ~np.isfinite(self.squared)
        finite = ~infinite[np.argmin(infinite.sum(axis=0))]  # near the most central point
        if infinite[np.ix_(finite, finite)].any():
            pairs = np.triu(np.ones((len(points), len(points)), bool), 1)
            return Distances(self._exactly(np.zeros(pairs.shape), points, pairs), k)
        # Inner products relative to the coefficients' medians, so that far updates in all combinations
        # cancel. If two combinations are much nearer to each other than to the origin, their distance is
        # computed again from their difference.
        about = points[:, finite] - np.median(points[:, finite], axis=0)
        products = -0.5 * (about @ self.squared[np.ix_(finite, finite)] @ about.T)
        lengths = products.diagonal()
        squared = lengths[:, None] + lengths - 2 * products
        rounded = squared <= LOST * (np.abs(lengths)[:, None] + np.abs(lengths))
        alike = _same_rows(points[:, ~finite])
        squared = np.where(alike, np.maximum(squared, 0.0), np.inf)
        again = np.where(alike, rounded, _same_rows(points[:, finite]))
        return Distances(self._exactly(squared, points, np.triu(again, 1)), k)

    def of_scaled(self, factors: Vector) -> "Distances":
        r"""Distances of the updates times a factor each, c >= 0; a factor of 0 gives the model.

        .. math:: |c_i u_i - c_j u_j|^2 = c_i c_j D_{ij} + (c_i - c_j)(c_i |u_i|^2 - c_j |u_j|^2)

        If rounding hides the direction of an update that was far longer than the other, the measured inner
        product is taken. If there is none, the two count as orthogonal.
        """
        scale = np.ones(len(self.squared))
        scale[: self.n] = factors
        norms = np.where(scale > 0, self.squared[self.n], 0.0)
        known = np.where(np.outer(scale, scale) > 0, self.squared, 0.0)
        with np.errstate(invalid="ignore", over="ignore"):
            product = np.outer(scale, scale) * known
            shorter = scale * norms
            squared = product + np.subtract.outer(scale, scale) * np.subtract.outer(
                shorter, shorter
            )
            orthogonal = np.add.outer(scale * shorter, scale * shorter)
            rounded = np.finfo(float).eps * product
            squared = np.where(rounded > HIDDEN * orthogonal, orthogonal, np.maximum(squared, 0.0))
            products = np.full_like(squared, np.nan)
            products[: self.n, : self.n] = self._measured(self.n)
            exact = orthogonal - 2 * np.outer(scale, scale) * products
            better = np.isfinite(exact) & (rounded > LOST**3 * orthogonal)
            squared = np.where(better, np.maximum(exact, 0.0), squared)
        untouched = (scale == 1)[:, None] & (scale == 1)
        squared = np.where(untouched, self.squared, squared)
        squared[np.isnan(squared)] = np.inf
        np.fill_diagonal(squared, 0.0)
        return Distances(squared, self.n)

    def spectrum(self, probabilities: npt.ArrayLike) -> Spectrum:
        r"""Largest eigenvalue of the covariance of the updates, and the squared projections on its direction.

        With p the probabilities and q = D p, the Gram matrix about the mean is
        B = -(D - q 1' - 1 q' + p'q) / 2; the covariance has the eigenvalues of
        diag(sqrt p) B diag(sqrt p), and with its eigenvector v the squared projections are
        (B (sqrt p * v))^2 / lambda. If several directions have that eigenvalue, up to rounding, they are the
        squared lengths of the projections on all of them.

        Parameters
        ----------
        probabilities : array-like
            Shape (n,), at least 0, with sum 1; 0 for an update that is not finite.
        """
        p = np.asarray(probabilities, np.float64)
        chosen = np.flatnonzero(p)
        root = np.sqrt(p[chosen])
        d = self.squared[np.ix_(chosen, chosen)]
        q = d @ p[chosen]
        gram = -(d - q[:, None] - q + p[chosen] @ q) / 2
        projections = np.zeros(self.n)
        if not np.isfinite(gram).all():
            return Spectrum(np.inf, projections)
        values, vectors = np.linalg.eigh(root[:, None] * gram * root)
        if values[-1] > 0:
            top = vectors[:, values >= (1 - SAME) * values[-1]]
            along = gram @ (root[:, None] * top) / np.sqrt(values[-1])
            projections[chosen] = (along**2).sum(axis=1)
        return Spectrum(max(0.0, float(values[-1])), projections)

    def _padded(self, mixing: npt.ArrayLike) -> Matrix:
        """Coefficients over all points, also if they are given over the updates alone."""
        given = np.asarray(mixing, np.float64)
        padded = np.zeros((*given.shape[:-1], len(self.squared)))
        padded[..., : given.shape[-1]] = given
        return padded

    def _exactly(self, squared: Matrix, points: Matrix, pairs: npt.NDArray[np.bool_]) -> Matrix:
        """The same matrix, with the distances of some pairs above the diagonal computed one by one."""
        for p in np.flatnonzero(pairs.any(axis=1)):
            others = np.flatnonzero(pairs[p])
            squared[p, others] = squared[others, p] = self._lengths(points[others] - points[p])
        np.fill_diagonal(squared, 0.0)
        return squared

    def _lengths(self, differences: Matrix) -> Vector:
        """Squared lengths of differences, one in each row; infinite if an infinite point is part of one."""
        infinite = ~np.isfinite(self.squared)
        if not infinite.any():
            lengths: Vector = -0.5 * ((differences @ self.squared) * differences).sum(axis=1)
            return np.maximum(lengths, 0.0)
        touched = (differences != 0).astype(np.float64)
        lost = ((touched @ infinite) * touched).any(axis=1)
        finite = np.where(infinite, 0.0, self.squared)
        with np.errstate(over="ignore", invalid="ignore"):
            squared = -0.5 * ((differences @ finite) * differences).sum(axis=1)
        return np.where(lost | ~(squared < np.inf), np.inf, np.maximum(0.0, squared))

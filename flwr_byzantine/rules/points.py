"""The points of a round, without copies: the updates as columns, and the reference points."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from flwr_byzantine.kernels import (
    Columns,
    Reduction,
    check_mixing,
    combine,
    inner_products,
    pairwise_distances,
)
from flwr_byzantine.kernels.columns import as_column_values, computed_in
from flwr_byzantine.kernels.reference import widened
from flwr_byzantine.rules.distances import Distances, Matrix, Vector

Segments = Sequence[npt.NDArray[Any]]

FAR = 1e5  # an update is far if it is longer than this multiple of the median length
ROUNDING = 1e-12  # sums of weights that differ from one by less count as one


@dataclass(frozen=True, eq=False)
class Given:
    """What a rule may know of the n updates of a round.

    Parameters
    ----------
    n : int
        Number of updates.
    distances : Distances or None
        Distances between the updates, if the rule asks for them. If the rule asks for the model, the model
        is the point at position n. If the rule remembers its last result, that is the point at n + 1.
    counts : np.ndarray or None
        The numbers of examples that clients claim, shape (n,). NaN stands for a client that claims none.
        All are NaN if the rule is called without counts. Attackers choose their own numbers. None unless
        the rule asks for them.
    server_round : int
        The server's round; 0 if there is none.
    trusted : np.ndarray or None
        Weights that the operator gives the clients, shape (n,).
    """

    n: int
    distances: Distances | None = None
    counts: Vector | None = None
    server_round: int = 0
    trusted: Vector | None = None

    @property
    def rows(self) -> Matrix | None:
        """Squared distances between the updates, shape (n, n), if they are known."""
        return None if self.distances is None else self.distances.rows

    @property
    def num_points(self) -> int:
        """m, the number of updates and of references with distances to them."""
        return self.n if self.distances is None else len(self.distances.squared)

    def checked(self, mixing: Any) -> Matrix | None:
        """A mixing matrix of shape (k, m) or (k, n). Raise ValueError if it has another shape."""
        try:
            over_all = np.shape(mixing)[-1:] == (self.num_points,)
        except ValueError:  # rows of several lengths
            over_all = False
        return check_mixing(mixing, self.num_points if over_all else self.n)

    def over_points(self, mixing: Matrix, *, below: bool = False) -> Matrix:
        """A mixing matrix with a column for every point, shape (k, m).

        Parameters
        ----------
        mixing : np.ndarray
            Shape (k, n) or (k, m). If a row of n weights sums to less than one, the model gets the rest.
        below : bool
            Whether to add a row for each reference, which gives that reference alone. The shape is then
            (k + m - n, m).
        """
        k, m = len(mixing), self.num_points
        references = m - self.n if below else 0
        extended = np.zeros((k + references, m))
        extended[:k, : mixing.shape[1]] = mixing
        if mixing.shape[1] == self.n < m:
            rest = 1.0 - mixing.sum(axis=1)
            extended[:k, self.n] = np.where(np.abs(rest) < ROUNDING, 0.0, rest)
        for i in range(references):
            extended[k + i, self.n + i] = 1.0
        return extended


@dataclass(frozen=True, eq=False)
class Points:
    """n updates as columns, and reference points with the same segments.

    Parameters
    ----------
    columns : Columns
        The updates, or the models that clients sent instead.
    references : tuple[Sequence[np.ndarray] | None, ...]
        The reference points, with one array for each segment. None is the zero vector. It stands for the
        model if clients sent updates.
    """

    columns: Columns
    references: tuple[Segments | None, ...] = ()

    def squared_distances(self, *, between_rows: bool = True) -> Matrix:
        """Squared distances between all points, shape (m, m).

        Parameters
        ----------
        between_rows : bool
            Whether to compute distances between updates. If not, they are NaN, and the other distances cost
            one pass over the updates for each reference.
        """
        n, m = self.columns.num_rows, self.columns.num_rows + len(self.references)
        found = np.full((m, m), np.nan)
        np.fill_diagonal(found, 0.0)
        if between_rows or not self.references:
            found[:n, :n] = pairwise_distances(self.columns)
        for i, reference in enumerate(self.references):
            first = next(k for k, other in enumerate(self.references) if other is reference)
            if first < i:
                found[: n + i, n + i] = found[: n + i, n + first]
            else:
                found[:n, n + i] = inner_products(self.columns, None, reference)
                for k, other in enumerate(self.references[:i]):
                    found[n + k, n + i] = self._between(reference, other)
            found[n + i, : n + i] = found[: n + i, n + i]
        to_references = found[:, n:]
        to_references[np.isnan(to_references)] = np.inf
        found[n:, :n] = to_references[:n].T
        return found

    def _between(self, a: Segments | None, b: Segments | None) -> float:
        """Squared distance between two references."""
        if a is None:
            a, b = b, a
        assert a is not None  # at most one reference is the zero vector
        columns = Columns([[array] for array in a], self.columns.dtype, 1)
        return float(inner_products(columns, None, b)[0])

    def products_with(self, row: int, origin: int) -> Vector:
        """Inner products of all updates with one of them, shape (n,), relative to a reference."""
        reference, kind = self.references[origin], computed_in(self.columns.dtype)
        values = [as_column_values(widened(rows[row]), kind) for rows in self.columns.segments]
        products = inner_products(self.columns, values, reference)
        if reference is not None:
            begin = [as_column_values(widened(array), kind) for array in reference]
            products -= inner_products(self.columns, begin, reference)
        return products

    def combine(
        self,
        mixing: Matrix | None,
        reduction: Reduction | None,
        *,
        base: Segments | None,
        out: Segments,
        **how: Any,
    ) -> int:
        """Like :func:`flwr_byzantine.kernels.combine`, for a mixing matrix over all points, (k, m) or (k, n).

        The zero vector adds nothing. If the weights of a row sum to less than one, the base gets the rest.
        """
        n = self.columns.num_rows
        if mixing is None or mixing.shape[1] == n:
            return combine(self.columns, mixing, reduction, base=base, out=out, **how)
        used = [
            i
            for i, reference in enumerate(self.references)
            if reference is not None and reference is not base and mixing[:, n + i].any()
        ]
        chosen = np.ascontiguousarray(mixing[:, [*range(n), *(n + i for i in used)]])
        return combine(self._with(used), chosen, reduction, base=base, out=out, **how)

    def _with(self, references: Sequence[int]) -> Columns:
        """The updates and some of the references as columns."""
        if not references:
            return self.columns
        segments = [list(rows) for rows in self.columns.segments]
        for i in references:
            reference = self.references[i]
            assert reference is not None
            for rows, array in zip(segments, reference, strict=True):
                rows.append(as_column_values(array, self.columns.dtype))
        return Columns(segments, self.columns.dtype, self.columns.num_rows + len(references))


def measured(distances: Distances, groups: Sequence[Points]) -> Distances:
    """Add those inner products of updates, relative to each reference, that D does not give.

    D gives the inner product of two updates up to the rounding of the longer one's square. For an update that
    is ``FAR`` times longer than most, all inner products are measured. This costs one pass over the updates.
    """
    products: dict[int, Matrix] = {}
    for i, reference in enumerate(groups[0].references):
        same = next(k for k, other in enumerate(groups[0].references) if other is reference)
        lengths = np.sqrt(distances.from_point(distances.n + i))
        finite = np.isfinite(lengths)
        if not finite.any():
            continue
        far = np.flatnonzero(finite & (lengths > FAR * np.median(lengths[finite])))
        if same < i and distances.n + same in products:
            products[distances.n + i] = products[distances.n + same]
        elif len(far):
            found = np.full((distances.n, distances.n), np.nan)
            with np.errstate(invalid="ignore", over="ignore"):
                for row in far:
                    found[row] = sum(points.products_with(int(row), i) for points in groups)
                    found[:, row] = found[row]
            products[distances.n + i] = found
    return replace(distances, products=products)

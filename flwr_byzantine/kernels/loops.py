"""The kernels as functions of numpy arrays. They check their arguments and spread columns over threads."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from flwr_byzantine.kernels.checks import (
    Reduction,
    check_base,
    check_mixing,
    check_reduction,
    check_segments,
)
from flwr_byzantine.kernels.columns import Columns, Target, computed_in
from flwr_byzantine.kernels.compiled import choice
from flwr_byzantine.kernels.threads import num_threads, spread

T = TypeVar("T")


def check_environment() -> None:
    """Raise ValueError if an environment variable asks for kernels or threads that are impossible here."""
    choice()
    num_threads()


def pairwise_distances(columns: Columns) -> npt.NDArray[np.float64]:
    """Squared Euclidean distances between the rows.

    Parameters
    ----------
    columns : Columns
        n rows of d values.

    Returns
    -------
    np.ndarray
        Shape (n, n), float64, symmetric, zero on the diagonal. Differences are taken in float64 and then
        squared. So the distances are exact for rows that are very close, and for rows scaled by 1e20. A
        distance that is not a number becomes infinite.
    """
    n = columns.num_rows
    parts = _spread(lambda kernels, lo, hi: kernels.distances(columns, lo, hi), columns)
    with np.errstate(invalid="ignore", over="ignore"):
        above: npt.NDArray[np.float64] = sum(parts, np.zeros((n, n)))
    total = above + above.T
    total[np.isnan(total)] = np.inf
    return total


def inner_products(
    columns: Columns,
    vector: Sequence[npt.NDArray[np.floating]] | None,
    base: Sequence[npt.NDArray[np.floating]] | None = None,
) -> npt.NDArray[np.float64]:
    """Inner product of each row, or of its difference from the base, with one vector.

    Parameters
    ----------
    columns : Columns
        n rows of d values.
    vector : Sequence[np.ndarray] or None
        One array for each segment, of the type that the columns are computed in. With None, the result is
        each row's inner product with itself, which is its squared Euclidean norm.
    base : Sequence[np.ndarray] or None
        It is subtracted from each row in float64, so that models 1e-4 apart lose no digits. None is zero.

    Returns
    -------
    np.ndarray
        Shape (n,), float64. An entry is not finite if its row, or its sum, is not finite.

    Raises
    ------
    ValueError
        If the vector or the base does not fit the columns.
    """
    base = None if base is None else tuple(base)  # read once: what is checked is what is used
    vector = None if vector is None else tuple(vector)
    check_base(base, columns, add_base=False)
    if vector is not None:
        check_segments("vector", vector, columns, computed_in(columns.dtype))
    parts = _spread(
        lambda kernels, lo, hi: kernels.inner_products(columns, base, vector, lo, hi), columns
    )
    with np.errstate(invalid="ignore", over="ignore"):
        return sum(parts, np.zeros(columns.num_rows))


def row_sizes(
    columns: Columns, base: Sequence[npt.NDArray[np.floating]] | None = None
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Squared Euclidean length and largest absolute value of each row, or of its difference from the base.

    Parameters
    ----------
    columns : Columns
        n rows of d values.
    base : Sequence[np.ndarray] or None
        It is subtracted from each row in the type that the columns are computed in. None is zero.

    Returns
    -------
    tuple[np.ndarray, np.ndarray]
        Squared lengths and largest absolute values, both of shape (n,), float64. Lengths are right to about
        five digits. Both are infinite for a row that holds a value which is not finite.

    Raises
    ------
    ValueError
        If the base does not fit the columns.
    """
    base = None if base is None else tuple(base)  # read once: what is checked is what is used
    check_base(base, columns, add_base=False)
    parts = _spread(lambda kernels, lo, hi: kernels.sizes(columns, base, lo, hi), columns)
    squares, largest = np.zeros((2, columns.num_rows))
    with np.errstate(over="ignore"):
        for part in parts:
            squares += part[0]
            largest = np.maximum(largest, part[1])
    unknown = np.isnan(squares)
    return np.where(unknown, np.inf, squares), np.where(unknown, np.inf, largest)


def combine(
    columns: Columns,
    weights: npt.NDArray[np.float64] | None,
    reduction: Reduction | None,
    *,
    base: Sequence[npt.NDArray[np.floating]] | None = None,
    scale: float = 1.0,
    add_base: bool = False,
    out: Sequence[npt.NDArray[np.floating]],
) -> int:
    """Mix the rows, reduce the mixed rows column by column, and apply the result to the base.

    Parameters
    ----------
    columns : Columns
        n rows of d values.
    weights : np.ndarray or None
        Mixing matrix, shape (k, n). None is the identity.
    reduction : Reduction or None
        How the k values of a column become one. With None, there has to be a single mixed row.
    base : Sequence[np.ndarray] or None
        The global model, one array for each segment. A mixed row whose weights do not sum to one is mixed
        around it: sum of w_i x_i + (1 - sum of w_i) base, which is the base plus the mix of the updates
        x_i - base.
    scale : float
        Factor on the result. For gradients it is ``-learning_rate``.
    add_base : bool
        Whether the rows are changes, such as gradients. The result is then base + scale * (mix of the rows).
    out : Sequence[np.ndarray]
        The result, one array for each segment, written in place. A value that is not finite is replaced by
        the base's value, or by NaN if there is no base.

    Returns
    -------
    int
        Number of values replaced.

    Raises
    ------
    ValueError
        If any of these does not fit the columns.
    """
    weights = check_mixing(weights, columns.num_rows)
    rows_left = columns.num_rows if weights is None else len(weights)
    reduction = check_reduction(reduction, rows_left, mixed=weights is not None)
    base, out = None if base is None else tuple(base), tuple(out)  # what is checked is what is used
    check_base(base, columns, add_base=add_base)
    check_segments("out", out, columns, columns.dtype, writable=True)
    if weights is not None:
        if reduction is not None and (chosen := _selected(weights)) is not None:
            columns, weights = columns.select(chosen), None
        elif base is not None and not add_base:
            columns, weights = _around(columns, weights, base)
        if weights is not None:
            columns, weights = _used(columns, weights)
    target = Target(base, out, 1.0 if add_base else 0.0, float(scale))

    def partial(kernels: Any, lo: int, hi: int) -> int:
        if reduction is None:
            assert weights is not None
            return int(kernels.mix(columns, weights[0], target, lo, hi))
        return int(kernels.reduce(columns, weights, reduction, target, lo, hi))

    return sum(_spread(partial, columns))


def _spread(function: Callable[[Any, int, int], T], columns: Columns) -> list[T]:
    """Call ``function(kernels, lo, hi)`` for each range of columns, on the threads that the kernels use."""
    chosen = choice()
    ranges = columns.ranges()
    return spread(lambda lo, hi: function(chosen.kernels, lo, hi), ranges, chosen.threads)


def _selected(weights: npt.NDArray[np.float64]) -> list[int] | None:
    """The rows that a mixing matrix selects, which need no copy in float64, or None if it mixes rows."""
    alone = (np.count_nonzero(weights, axis=1) == 1) & (weights == 1.0).any(axis=1)
    return weights.argmax(axis=1).tolist() if alone.all() else None


def _used(
    columns: Columns, weights: npt.NDArray[np.float64]
) -> tuple[Columns, npt.NDArray[np.float64]]:
    """The rows that have a weight in at least one mixed row. The others need not be read."""
    used = np.flatnonzero(weights.any(axis=0))
    if not 0 < len(used) < columns.num_rows:
        return columns, weights
    return columns.select(used.tolist()), np.ascontiguousarray(weights[:, used])


def _around(
    columns: Columns, weights: npt.NDArray[np.float64], base: Sequence[npt.NDArray[np.floating]]
) -> tuple[Columns, npt.NDArray[np.float64]]:
    """Add the base as one more row if the weights do not sum to one. Its weight is what they lack."""
    rest = 1.0 - weights.sum(axis=1)
    rest[np.abs(rest) < 1e-12] = 0.0
    if not rest.any():
        return columns, weights
    segments = [[*rows, model] for rows, model in zip(columns.segments, base, strict=True)]
    return Columns(segments, columns.dtype, columns.num_rows + 1), np.column_stack([weights, rest])

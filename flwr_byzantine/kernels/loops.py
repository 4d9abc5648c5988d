"""The loops as functions of numpy arrays: threads, scratch sizes and result buffers."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from flwr_byzantine.kernels.checks import (
    Reduction,
    check_base,
    check_mixing,
    check_reduction,
    check_segments,
)
from flwr_byzantine.kernels.columns import LINE, Columns, Dtype, addresses
from flwr_byzantine.kernels.networks import selection_network
from flwr_byzantine.kernels.threads import spread

_DOUBLE: Dtype = np.dtype(np.float64)
_BLOCK = 4096  # columns, where a block holds few rows
_DISTANCE_BLOCK = 192  # columns; of 64 to 512, none was better for n = 8, 20, 50 or 100


def _compiled() -> Any:
    """Import numba only when a kernel first runs: the import alone takes as long as flwr's."""
    from flwr_byzantine.kernels import compiled

    return compiled


def pairwise_distances(columns: Columns) -> npt.NDArray[np.float64]:
    """Squared Euclidean distances between the rows.

    Parameters
    ----------
    columns : Columns
        n rows of d values.

    Returns
    -------
    np.ndarray
        Shape (n, n), float64, symmetric, zero on the diagonal. Differences are taken before squaring,
        both in float64, so close rows and rows scaled by 1e20 are told apart exactly; a distance that
        is not a number is infinite.
    """
    n = columns.num_rows
    rows, offsets = columns.rows, columns.offsets
    like = np.empty(0, columns.dtype)
    tiles, pairs = _tiles(n)

    def partial(lo: int, hi: int) -> npt.NDArray[np.float64]:
        sums = np.zeros((len(tiles) + len(pairs), 8))
        x = _scratch(n, _DISTANCE_BLOCK)
        _compiled().pairwise_distances(rows, offsets, like, lo, hi, tiles, pairs, x, sums)
        return sums

    sums = np.zeros((len(tiles) + len(pairs), 8))
    with np.errstate(invalid="ignore", over="ignore"):
        for part in spread(partial, columns.ranges()):
            sums += part
    total = np.zeros((n, n))
    for one, other, values in (
        (tiles[:, [0, 0, 1, 1, 2, 2, 3, 3]], tiles[:, [4, 5] * 4], sums[: len(tiles)]),
        (pairs[:, :4], pairs[:, 4:], sums[len(tiles) :, :4]),
    ):
        total[one, other] = total[other, one] = values
    total[np.isnan(total)] = np.inf
    np.fill_diagonal(total, 0.0)
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
        One array a segment, as the columns'. None takes each row's inner product with itself, its
        squared Euclidean norm.
    base : Sequence[np.ndarray] or None
        Subtracted from each row in float64, so that models 1e-4 apart lose nothing. None is zero.

    Returns
    -------
    np.ndarray
        Shape (n,), float64; not finite where a row, or a sum, is not.

    Raises
    ------
    ValueError
        If the vector or the base does not fit the columns.
    """
    base = None if base is None else tuple(base)  # read once: what is checked is what is used
    vector = None if vector is None else tuple(vector)
    check_base(base, columns, add_base=False)
    if vector is not None:
        check_segments("vector", vector, columns)
    none = np.zeros(len(columns.segments), np.int64)
    arguments = (
        columns.rows,
        columns.offsets,
        none if base is None else addresses(base),
        none if vector is None else addresses(vector),
        np.empty(0, columns.dtype),
    )

    def partial(lo: int, hi: int) -> npt.NDArray[np.float64]:
        result = np.zeros((columns.num_rows, 1))
        scratch = _scratch(2, _BLOCK)
        _compiled().inner_products(*arguments, lo, hi, scratch, result)
        return result[:, 0]

    total = np.zeros(columns.num_rows)
    with np.errstate(invalid="ignore", over="ignore"):
        for part in spread(partial, columns.ranges()):
            total += part
    return total


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
        Mixing matrix, shape (k, n); None is the identity.
    reduction : Reduction or None
        How k values become one. None needs a single mixed row.
    base : Sequence[np.ndarray] or None
        The global model, one array a segment. A mixed row whose weights do not sum to one is mixed
        around it: sum of w_i x_i + (1 - sum of w_i) base, which is the mix of the updates x_i - base.
    scale : float
        Factor on the result, ``-learning_rate`` for gradients.
    add_base : bool
        Rows are changes (gradients): the result is base + scale * (mix of the rows).
    out : Sequence[np.ndarray]
        Result, one array a segment, written in place. A value that is not finite is replaced by the
        base's, or by NaN where there is none.

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
    check_segments("out", out, columns, writable=True)
    if weights is not None:
        if reduction is not None and (chosen := _selected(weights)) is not None:
            columns, weights = columns.select(chosen), None
        elif base is not None and not add_base:
            columns, weights = _around(columns, weights, base)
    target = (
        columns.offsets,
        addresses(base) if base is not None else np.zeros(len(columns.segments), np.int64),
        addresses(out),
        np.empty(0, columns.dtype),
    )
    factors = (1.0 if add_base else 0.0, float(scale))
    if reduction is None:
        assert weights is not None
        arguments = (columns.rows, *target, weights, _chosen(weights), *factors)
        calls = spread(
            lambda lo, hi: _compiled().combine(*arguments, lo, hi, _scratch(2, _BLOCK)),
            columns.ranges(),
        )
        return int(sum(calls))
    n, item = columns.num_rows, columns.dtype.itemsize
    k = n if weights is None else len(weights)
    pairs = _comparators(n, k, reduction.trim, reduction.keep)
    mixing = (weights, None if weights is None else _chosen(weights))
    # Where sums of float32 may leave the range of float64, mixed rows are looked at for it.
    wild = weights is not None and not (np.abs(weights).sum(axis=1) < 1e200).all()
    order = (*mixing, float(wild), pairs, reduction.trim, reduction.keep, *factors)
    rows, block = columns.rows, columns.block(item if weights is None else item + 8)

    def partial(lo: int, hi: int) -> int:
        x = mixed = _scratch(n, block, columns.dtype)
        loaded = None
        if weights is not None:
            mixed = _scratch(k, block)
            loaded = x.ctypes.data + np.arange(n).reshape(1, n) * x.strides[0]
        blocks = (x, loaded, mixed, _scratch(7, block), np.empty(k))
        return int(_compiled().reduce(rows, *target, *order, lo, hi, *blocks))

    return sum(spread(partial, columns.ranges()))


def _scratch(num_rows: int, num_columns: int, dtype: Dtype = _DOUBLE) -> npt.NDArray[np.floating]:
    """Memory for one block, its rows aligned to cache lines: a vector across two takes twice as long."""
    size = num_rows * num_columns * dtype.itemsize
    memory = np.empty(size + LINE, np.uint8)
    start = -memory.ctypes.data % LINE
    return memory[start : start + size].view(dtype).reshape(num_rows, num_columns)


@lru_cache(maxsize=256)
def _tiles(n: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Tiles of four rows and two others, and fours of pairs: every two of n rows are in one of them.

    Two rows meet all before them four at a time; only every second of these twos meets itself so.
    """
    tiles = [
        [j, j + 1, j + 2, j + 3, i, i + 1] for i in range(0, n, 2) for j in range(0, i + i % 4, 4)
    ]
    alone = list(range(0, n - 1, 4))
    alone += alone[-1:] * (-len(alone) % 4)
    ones = np.array(alone, np.int64).reshape(-1, 4)
    steps = _asking_ahead(np.array(tiles, np.int64).reshape(-1, 6).clip(max=n - 1), n)
    return steps, np.hstack([ones, ones + 1])


@lru_cache(maxsize=256)
def _comparators(n: int, k: int, trim: int, keep: int | None) -> npt.NDArray[np.int64]:
    """Selection network of k rows, made of n."""
    return _asking_ahead(selection_network(k, trim, keep), n)


def _asking_ahead(steps: npt.NDArray[np.int64], n: int) -> npt.NDArray[np.int64]:
    """The steps of the work on one block, each with the rows whose next block is asked for meanwhile."""
    asked = np.arange(len(steps) + 1) * n // max(len(steps), 1)
    return np.column_stack([steps, asked[:-1], asked[1:]])


def _chosen(weights: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """For each row of weights, how many are not zero, and which."""
    chosen = np.zeros((len(weights), weights.shape[1] + 1), np.int64)
    for row, weight in zip(chosen, weights, strict=True):
        used = np.flatnonzero(weight)
        row[0] = len(used)
        row[1 : 1 + len(used)] = used
    return chosen


def _selected(weights: npt.NDArray[np.float64]) -> list[int] | None:
    """The rows that a mixing matrix selects, which need no copy in float64, or None where it mixes."""
    alone = (np.count_nonzero(weights, axis=1) == 1) & (weights == 1.0).any(axis=1)
    return weights.argmax(axis=1).tolist() if alone.all() else None


def _around(
    columns: Columns, weights: npt.NDArray[np.float64], base: Sequence[npt.NDArray[np.floating]]
) -> tuple[Columns, npt.NDArray[np.float64]]:
    """The base as one more row, with what the weights lack of one, where they lack anything."""
    rest = 1.0 - weights.sum(axis=1)
    rest[np.abs(rest) < 1e-12] = 0.0
    if not rest.any():
        return columns, weights
    segments = [[*rows, model] for rows, model in zip(columns.segments, base, strict=True)]
    return Columns(segments, columns.dtype, columns.num_rows + 1), np.column_stack([weights, rest])

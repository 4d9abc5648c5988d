"""The kernels in numpy: their definition, which also computes if there is no compiled library.

Each function takes a range of columns, ``lo`` to ``hi``, and works on it block by block, so that a block
of all rows stays in the cache. ``kernels.c`` computes the same faster. Its mixes and reductions are equal to
the last bit. It adds sums over columns (distances, inner products, sizes) in another order.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from flwr_byzantine.kernels.checks import Reduction
from flwr_byzantine.kernels.columns import BFLOAT16, Columns, Dtype, Target, computed_in
from flwr_byzantine.kernels.networks import comparators, selection_network

Values = npt.NDArray[np.floating]
Doubles = npt.NDArray[np.float64]

_quiet = np.errstate(invalid="ignore", over="ignore")  # clients may send anything
_BLOCK_BYTES = 1 << 21  # of float64 values, which fit a second-level cache
_LONG = 1 << 18  # columns of a block in which rows are read one after the other
_EASY = 1e-20, 1e30
_WIDEST = 8192  # columns; BLAS splits longer inner products into as many parts as it has threads


@_quiet
def distances(columns: Columns, lo: int, hi: int) -> Doubles:
    """Squared Euclidean distances, shape (n, n). Only the part above the diagonal is filled."""
    result = np.zeros((columns.num_rows, columns.num_rows))
    for s, part in _blocks(columns, lo, hi):
        x = _rows(columns, s, part).astype(np.float64)
        memory = np.empty_like(x)
        for i in range(1, len(x)):
            difference = np.subtract(x[:i], x[i], out=memory[:i])
            result[:i, i] += np.vecdot(difference, difference)
    return result


@_quiet
def inner_products(
    columns: Columns, base: list[Values] | None, vector: list[Values] | None, lo: int, hi: int
) -> Doubles:
    """<row - base, vector> of each row, or <row - base, row - base> without a vector, shape (n,)."""
    result = np.zeros(columns.num_rows)
    for s, part in _blocks(columns, lo, hi):
        x = _rows(columns, s, part).astype(np.float64)
        if base is not None:
            x -= widened(base[s][part])
        result += np.vecdot(x, x if vector is None else vector[s][part].astype(np.float64))
    return result


@_quiet
def sizes(columns: Columns, base: list[Values] | None, lo: int, hi: int) -> Doubles:
    """|row - base| squared, and the largest absolute value of row - base, shape (2, n).

    A difference has the type that the columns are computed in, and so has the sum of squares of a block: a
    few right digits are enough. The largest value has no meaning if the square is not a number.
    """
    result = np.zeros((2, columns.num_rows))
    memory = np.empty(min(_LONG, hi - lo), computed_in(columns.dtype))
    for s, part in _blocks(columns, lo, hi, _LONG):
        own = np.zeros(1, memory.dtype) if base is None else widened(base[s][part])
        for i, row in enumerate(columns.segments[s]):
            x = np.subtract(widened(row[part]), own, out=memory[: part.stop - part.start])
            square = float(np.dot(x, x))
            if not _EASY[0] < square < _EASY[1]:  # squares of this type would overflow or vanish
                square = float(np.square(x, dtype=np.float64).sum())
            result[:, i] = result[0, i] + square, max(result[1, i], float(x.max()), -float(x.min()))
    return result


@_quiet
def mix(columns: Columns, weights: Doubles, target: Target, lo: int, hi: int) -> int:
    """Store the sum of the rows times their weights, shape (n,). Return how many values were replaced."""
    replaced = 0
    for s, part in _blocks(columns, lo, hi):
        mixed = _mixed(_rows(columns, s, part), weights[None])[0]
        replaced += _store(mixed, target, columns.dtype, s, part)
    return replaced


@_quiet
def reduce(
    columns: Columns,
    weights: Doubles | None,
    reduction: Reduction,
    target: Target,
    lo: int,
    hi: int,
) -> int:
    """Reduce the (mixed) rows column by column, and store the result. Return how many values were replaced.

    ``weights`` is the mixing matrix, shape (k, n). None is the identity.
    """
    replaced = 0
    for s, part in _blocks(columns, lo, hi):
        x = _without_nan(_rows(columns, s, part))
        if weights is not None:
            x = _without_nan(_mixed(x, weights))
        replaced += _store(_reduced(x, reduction), target, columns.dtype, s, part)
    return replaced


def _reduced(x: Values, reduction: Reduction) -> Doubles:
    """Trimmed mean of each column, or the mean of the values nearest to it.

    The result is NaN in a column with more values that are not finite than may be left out.
    """
    k, trim, keep = len(x), reduction.trim, reduction.keep
    finite = np.isfinite(x)
    infinite = np.zeros(x.shape[1]) if finite.all() else k - finite.sum(axis=0)
    rows = _in_order(x, reduction)
    center = _mean(rows[trim : k - trim])
    if keep is None:
        center[infinite > trim] = np.nan
        return center
    # In sorted order, the nearest values are neighbours. They form a window, which starts at the first t
    # whose value is no farther from the center than value t + keep. Exactly one value of each residue class
    # modulo `keep` lies in the window. It takes the place of the first value of its class.
    tied = np.zeros(center.shape, bool)
    for t in range(k - keep):
        before, after = center - rows[t], rows[t + keep] - center
        tied |= (before == after) & (before > 0)
        np.copyto(rows[t % keep], rows[t + keep], where=before > after)
    mean = _mean(rows[:keep])
    lost = infinite > min(trim, k - keep)
    mean[lost] = np.nan
    tied &= ~lost
    if tied.any():
        mean[tied] = _nearest(x[:, tied], center[tied], np.stack(rows[:keep])[:, tied])
    return mean


def _in_order(x: Values, reduction: Reduction) -> list[Values]:
    """A copy of the rows, with every column put in order as far as the reduction needs it."""
    rows, spare = [row.copy() for row in x], np.empty_like(x[0])
    sorters = selection_network(len(x), reduction.trim, reduction.keep)
    for i, j in comparators(sorters, len(x)):
        np.minimum(rows[i], rows[j], out=spare)
        np.maximum(rows[i], rows[j], out=rows[j])
        rows[i], spare = spare, rows[i]
    return rows


def _nearest(x: Values, center: Doubles, chosen: Values) -> Doubles:
    """Mean of the values nearest to the center. Of two at the same distance, that of the lower row counts.

    ``chosen`` holds as many nearest values, with any choice among those at the same distance.
    """
    keep = len(chosen)
    radius = np.abs(chosen - center).max(axis=0)
    distance = np.abs(x - center)
    inside, border = distance < radius, distance == radius
    border &= np.cumsum(border, axis=0) <= keep - inside.sum(axis=0)
    return _sum([*np.where(inside, x, 0), *np.where(border, x, 0)]) / keep


def _mixed(x: Values, weights: Doubles) -> Doubles:
    """The mixed rows, added one after the other. A weight of zero leaves out a row, even an infinite one."""
    mixed, exact = np.zeros((len(weights), x.shape[1])), x.astype(np.float64)
    product = np.empty(x.shape[1])
    for row, row_weights in zip(mixed, weights, strict=True):
        for i in np.flatnonzero(row_weights):
            row += np.multiply(exact[i], row_weights[i], out=product)
    return mixed


def _sum(x: Sequence[Values]) -> Doubles:
    """Sum of the rows, one after the other."""
    total = np.zeros(len(x[0]))
    for row in x:
        total += row
    return total


def _mean(x: Sequence[Values]) -> Doubles:
    return _sum(x) / len(x)


def _without_nan(x: Values) -> Values:
    """The same array, in which NaN becomes infinite, so that it is sorted last."""
    np.copyto(x, np.inf, where=np.isnan(x))
    return x


def _store(value: Doubles, target: Target, dtype: Dtype, s: int, part: slice) -> int:
    """Store out = base_weight * base + scale * value, or the base if that is not finite. Return how often."""
    result = value * target.scale
    base: Values | float = np.nan
    if target.base is not None:
        base = widened(target.base[s][part])
        result = base * np.float64(target.base_weight) + result
    stored = widened(narrowed(result.astype(computed_in(dtype)), dtype))
    finite = np.isfinite(stored)
    target.out[s][part] = narrowed(np.where(finite, stored, base).astype(stored.dtype), dtype)
    return int(np.count_nonzero(~finite))


def widened(values: npt.NDArray[np.generic]) -> Values:
    """Convert values to the type that they are computed with."""
    if values.dtype == BFLOAT16:
        return (values.view(np.uint16).astype(np.uint32) << 16).view(np.float32)
    return values.astype(computed_in(values.dtype), copy=False)


def narrowed(values: Values, dtype: Dtype) -> npt.NDArray[np.generic]:
    """Round values to the nearest value of a type, and in a tie to the even one."""
    if dtype != BFLOAT16:
        return values.astype(dtype, copy=False)
    bits = values.view(np.uint32)
    rounded = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16
    return np.where(np.isnan(values), 0x7FC0, rounded).astype(np.uint16).view(BFLOAT16)


def _rows(columns: Columns, s: int, part: slice) -> Values:
    """A copy of the values of all rows in a block, shape (n, width)."""
    return np.stack([widened(row[part]) for row in columns.segments[s]])


def _blocks(
    columns: Columns, lo: int, hi: int, size: int | None = None
) -> Iterator[tuple[int, slice]]:
    """Blocks of columns: the segment that each block is in, and its columns there."""
    size = size or min(max(256, _BLOCK_BYTES // (8 * columns.num_rows)), _WIDEST)
    for s, (first, end) in enumerate(zip(columns.offsets[:-1], columns.offsets[1:], strict=True)):
        for start in range(max(lo, first), min(hi, end), size):
            yield s, slice(start - first, min(start + size, hi, end) - first)

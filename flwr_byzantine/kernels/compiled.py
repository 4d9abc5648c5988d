"""The hot loops, compiled by numba: distances (in ``distances``), inner products, mix, reduce.

All of them read n rows where they lie, through addresses, in blocks of columns that stay in the cache;
none copies more than one block. They run without the GIL, on one range of columns a call, so the caller
spreads ranges over threads. Every sum is taken in float64 and in an order that depends on the data's
shape only, so neither the number of threads nor their timing changes a bit.

Shared arguments: ``rows`` (segments, n) addresses of the values of each row in each segment; ``offsets``
(segments + 1) first column of each segment; ``base`` (segments) addresses of the global model, 0 where it
is not known; ``out`` (segments) addresses of the result; ``like`` an empty array of the data's type;
``lo``, ``hi`` the range of columns; ``x``, ``mixed``, ``scratch`` memory for one block, as wide as a
block is. A rule's first use waits for all of this to be compiled: functions that allocate nothing and
call few others compile in half the time.
"""

import numpy as np
from numba import njit

from flwr_byzantine.kernels.distances import pairwise_distances as pairwise_distances
from flwr_byzantine.kernels.primitives import (
    _HELPER,
    _compile,
    _copy,
    _max_of_numbers,
    _min,
    _min_of_numbers,
    _prefetch,
    _segment,
    _select,
    _values,
)


def _load(rows, start, like, x, width):
    """Copy one block; NaN becomes +inf, to be sorted last. Returns whether all values are finite."""
    finite = True
    for i in range(rows.shape[0]):
        source = _values(rows[i], start, like, width)
        target = x[i]
        for c in range(width):
            value = source[c]
            finite &= abs(value) < np.inf
            target[c] = _select(value == value, value, np.inf)
    return finite


def _mix(x, weights, mixed, width):
    """mixed = weights @ x, leaving out zero weights: 0 * inf must not appear. Otherwise as ``_load``."""
    finite = True
    for k in range(weights.shape[0]):
        target = mixed[k]
        for c in range(width):
            target[c] = 0.0
        for i in range(weights.shape[1]):
            weight = weights[k, i]
            if weight != 0.0:
                source = x[i]
                for c in range(width):
                    target[c] += weight * source[c]
        for c in range(width):
            value = target[c]
            finite &= abs(value) < np.inf
            target[c] = _min(value, np.inf)
    return finite


def _sort(x, pairs, width, rows, following, like, ahead):
    """Apply the comparators; meanwhile the rows' next block is asked for, row by row, evenly spread."""
    row = due = 0
    for p in range(pairs.shape[0]):
        due += rows.shape[0]
        while due >= pairs.shape[0]:
            due -= pairs.shape[0]
            _prefetch(rows[row], following, like, ahead)
            row += 1
        low = x[pairs[p, 0]]
        high = x[pairs[p, 1]]
        for c in range(width):
            u = low[c]
            v = high[c]
            low[c] = _min_of_numbers(u, v)
            high[c] = _max_of_numbers(u, v)


def _mean_of_rows(x, first, last, mean, width):
    """Mean of rows ``first`` to ``last``, added one after the other, four at each reading of the sum."""
    for c in range(width):
        mean[c] = 0.0
    whole = first + ((last - first) & -4)
    for k in range(first, whole, 4):
        row_a, row_b, row_c, row_d = x[k], x[k + 1], x[k + 2], x[k + 3]
        for c in range(width):
            mean[c] = (((mean[c] + row_a[c]) + row_b[c]) + row_c[c]) + row_d[c]
    for k in range(whole, last):
        row = x[k]
        for c in range(width):
            mean[c] += row[c]
    divisor = float(last - first)
    for c in range(width):
        mean[c] /= divisor


def _window(x, keep, center, kept, start, tie, width):
    """Bring the ``keep`` values nearest ``center``, consecutive in sorted order, into the first rows.

    The window starts at the first s whose value is no farther from the center than value s + keep, the
    one that would replace it. Exactly one value of each residue class modulo ``keep`` lies in it; it
    takes the place of the first of its class. ``tie`` is above zero where different values are as near.
    Rows are copied before they are written to: vector code needs to tell what it reads from what it
    writes.
    """
    n = x.shape[0]
    for c in range(width):
        tie[c] = 0.0
    for s in range(n - keep):
        chosen, right = x[s % keep], x[s + keep]
        _copy_row(chosen, kept, width)
        left = kept
        if s >= keep:
            _copy_row(x[s], start, width)
            left = start
        for c in range(width):
            a, b = left[c], right[c]
            to_left, to_right = center[c] - a, b - center[c]
            chosen[c] = _select(to_left > to_right, b, kept[c])
            tie[c] += _select(to_left == to_right, to_left, 0.0)


def _copy_row(source, target, width):
    for c in range(width):
        target[c] = source[c]


def _nearest(rows, start, like, weights, keep, center, near, c, values):
    """Mean of the ``keep`` values nearest ``center``; of two as near, the one of the lower row.

    ``near`` holds, in column ``c`` of its first ``keep`` rows, values that are as near, whichever were
    chosen. The column is read again, in its original order, and mixed as ``_mix`` does.
    """
    radius = 0.0
    for k in range(keep):
        distance = abs(near[k, c] - center)
        radius = distance if distance > radius else radius
    total = 0.0
    missing = keep
    for k in range(values.shape[0]):
        if weights is None:
            values[k] = _values(rows[k], start, like, 1)[0]
        else:
            values[k] = 0.0
            for i in range(rows.shape[0]):
                if weights[k, i] != 0.0:
                    values[k] += weights[k, i] * _values(rows[i], start, like, 1)[0]
        if abs(values[k] - center) < radius:
            total += values[k]
            missing -= 1
    for k in range(values.shape[0]):
        if missing > 0 and abs(values[k] - center) == radius:
            total += values[k]
            missing -= 1
    return total / keep


def _drop_infinite(x, limit, mean, tie, count, width):
    """Columns with more than ``limit`` values that are not finite have no mean."""
    for c in range(width):
        count[c] = 0.0
    for k in range(x.shape[0]):
        row = x[k]
        for c in range(width):
            count[c] += _select(abs(row[c]) < np.inf, 0.0, 1.0)
    for c in range(width):
        mean[c] += _select(count[c] > limit, np.nan, 0.0)
        tie[c] *= _select(count[c] > limit, 0.0, 1.0)


def _store(value, base_weight, scale, base, out, start, like, width):
    """out = base_weight * base + scale * value; where that is not finite, the base. Counts those."""
    replaced = 0
    target = _values(out, start, like, width)
    if base == 0:
        for c in range(width):
            target[c] = scale * value[c]
            finite = abs(target[c]) < np.inf
            target[c] = _select(finite, target[c], np.nan)
            replaced += _select(finite, 0, 1)
        return replaced
    model = _values(base, start, like, width)
    for c in range(width):
        old = model[c]
        target[c] = base_weight * old + scale * value[c]
        finite = abs(target[c]) < np.inf
        target[c] = _select(finite, target[c], old)
        replaced += _select(finite, 0, 1)
    return replaced


def _inner_products(rows, offsets, base, vector, like, lo, hi, scratch, result):
    """Add <row_i - base, vector> over columns lo to hi; without a vector, <row_i - base, row_i - base>."""
    x, y = scratch[0], scratch[1]
    column = lo
    while column < hi:
        s = _segment(offsets, column)
        start = column - offsets[s]
        width = min(x.shape[0], hi - column, offsets[s + 1] - column)
        if vector[s] != 0:
            _copy(vector[s], start, like, y, width)
        for i in range(rows.shape[1]):
            _copy(rows[s, i], start, like, x, width)
            if base[s] != 0:
                model = _values(base[s], start, like, width)
                for c in range(width):
                    x[c] -= model[c]
            result[i] += _inner_product(x, y if vector[s] != 0 else x, width)
        column += width


def _inner_product(a, b, width):
    total = 0.0
    for c in range(width):
        total += a[c] * b[c]
    return total


def _add_weighted(rows, i, start, like, weights, total, width):
    """Add rows i to i + 3 times their weights, one after the other: a sum is read and written once."""
    row_a, row_b = _values(rows[i], start, like, width), _values(rows[i + 1], start, like, width)
    row_c, row_d = (
        _values(rows[i + 2], start, like, width),
        _values(rows[i + 3], start, like, width),
    )
    a, b, c, d = weights[i], weights[i + 1], weights[i + 2], weights[i + 3]
    for k in range(width):
        total[k] = (((total[k] + a * row_a[k]) + b * row_b[k]) + c * row_c[k]) + d * row_d[k]


def _combine(rows, offsets, base, out, like, weights, base_weight, scale, lo, hi, total):
    """out = base_weight * base + scale * sum of weights_i * row_i over columns lo to hi."""
    n = rows.shape[1]
    replaced = 0
    column = lo
    while column < hi:
        s = _segment(offsets, column)
        start = column - offsets[s]
        width = min(total.shape[0], hi - column, offsets[s + 1] - column)
        for c in range(width):
            total[c] = 0.0
        for i in range(0, n & -4, 4):
            _add_weighted(rows[s], i, start, like, weights, total, width)
        for i in range(n & -4, n):
            source = _values(rows[s, i], start, like, width)
            for c in range(width):
                total[c] += weights[i] * source[c]
        replaced += _store(total, base_weight, scale, base[s], out[s], start, like, width)
        column += width
    return replaced


def _reduce(
    rows, offsets, base, out, like, weights, pairs, trim, keep, base_weight, scale, lo, hi,
    x, mixed, scratch, values,
):  # fmt: skip
    """Reduce the rows, or the mixed rows ``weights @ rows``, column by column, over columns lo to hi.

    Without weights, ``mixed`` is ``x``. The result is the trimmed mean, or where ``keep`` is given the
    mean of the ``keep`` values nearest to it. numba leaves out the branches of an argument that is None.
    """
    k = mixed.shape[0]
    mean, center, tie, count = scratch[0], scratch[1], scratch[2], scratch[3]
    replaced = 0
    column = lo
    while column < hi:
        s = _segment(offsets, column)
        start = column - offsets[s]
        width = min(x.shape[1], hi - column, offsets[s + 1] - column)
        finite = _load(rows[s], start, like, x, width)
        if weights is not None:
            finite = _mix(x, weights, mixed, width)
        ahead = min(x.shape[1], offsets[s + 1] - column - width)
        _sort(mixed, pairs, width, rows[s], start + width, like, ahead)
        if keep is None:
            _mean_of_rows(mixed, trim, k - trim, mean, width)
        else:
            _mean_of_rows(mixed, trim, k - trim, center, width)
            _window(mixed, keep, center, scratch[4], scratch[5], tie, width)
            _mean_of_rows(mixed, np.int64(0), keep, mean, width)  # not 0: a literal compiles anew
        if not finite:
            limit = trim if keep is None else min(trim, k - keep)
            _drop_infinite(mixed, limit, mean, tie, count, width)
        if keep is not None:
            for c in range(width):
                if tie[c] > 0.0:
                    mean[c] = _nearest(
                        rows[s], start + c, like, weights, keep, center[c], mixed, c, values
                    )
        replaced += _store(mean, base_weight, scale, base[s], out[s], start, like, width)
        column += width
    return replaced


_load = njit(**_HELPER)(_load)
_mix = njit(**_HELPER)(_mix)
_sort = njit(**_HELPER)(_sort)
_mean_of_rows = njit(**_HELPER)(_mean_of_rows)
_copy_row = njit(**_HELPER)(_copy_row)
_window = njit(**_HELPER)(_window)
_nearest = njit(**_HELPER)(_nearest)
_drop_infinite = njit(**_HELPER)(_drop_infinite)
_store = njit(**_HELPER)(_store)
_inner_product = njit(**_HELPER, fastmath={"reassoc", "contract"})(_inner_product)
_add_weighted = njit(**_HELPER)(_add_weighted)
inner_products = _compile(_inner_products)
combine = _compile(_combine)
reduce = _compile(_reduce)

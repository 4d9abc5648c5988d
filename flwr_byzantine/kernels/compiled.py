"""The hot loops, compiled by numba: distances (in ``distances``), inner products, mix, reduce.

All of them read n rows where they lie, through addresses, in blocks of columns that stay in the cache;
none copies more than one block. They run without the GIL, on one range of columns a call, so the caller
spreads ranges over threads. Every sum is taken in float64 and in an order that depends on the data's
shape only, so neither the number of threads nor their timing changes a bit.

Shared arguments: ``rows`` (segments, n) addresses of the values of each row in each segment; ``offsets``
(segments + 1) first column of each segment; ``base`` (segments) addresses of the global model, 0 where it
is not known; ``out`` (segments) addresses of the result; ``like`` an empty array of the data's type;
``lo``, ``hi`` the range of columns; ``block`` columns a block.
"""

import numpy as np
from numba import njit

from flwr_byzantine.kernels.distances import pairwise_distances as pairwise_distances
from flwr_byzantine.kernels.primitives import (
    _HELPER,
    _compile,
    _copy,
    _prefetch_rows,
    _segment,
    _values,
)


def _clear(values, width):
    for c in range(width):
        values[c] = 0.0


def _load(rows, start, like, x, width):
    """Copy one block; NaN becomes +inf, to be sorted last. Returns whether all values are finite."""
    finite = True
    for i in range(rows.shape[0]):
        source = _values(rows[i], start, like, width)
        target = x[i]
        for c in range(width):
            value = source[c]
            finite &= np.abs(value) < np.inf
            target[c] = value if value == value else np.inf
    return finite


def _mix(x, weights, rest, base, start, like, mixed, width):
    """mixed = weights @ x + rest * base, leaving out zero weights: 0 * inf must not appear."""
    finite = True
    for k in range(weights.shape[0]):
        target = mixed[k]
        _clear(target, width)
        for i in range(weights.shape[1]):
            weight = weights[k, i]
            if weight != 0.0:
                source = x[i]
                for c in range(width):
                    target[c] += weight * source[c]
        if rest[k] != 0.0 and base != 0:
            model = _values(base, start, like, width)
            for c in range(width):
                target[c] += rest[k] * model[c]
        for c in range(width):
            value = target[c]
            finite &= np.abs(value) < np.inf
            target[c] = value if value == value else np.inf
    return finite


def _sort(x, pairs, width, rows, following, like, ahead):
    """Apply the comparators; meanwhile the rows' next block is asked for, a few rows at a time."""
    for p in range(pairs.shape[0]):
        _prefetch_rows(rows, following, like, ahead, p, pairs.shape[0])
        low = x[pairs[p, 0]]
        high = x[pairs[p, 1]]
        for c in range(width):
            u = low[c]
            v = high[c]
            low[c] = u if u < v else v
            high[c] = v if u < v else u


def _count_infinite(x, count, width):
    _clear(count, width)
    for k in range(x.shape[0]):
        row = x[k]
        for c in range(width):
            count[c] += 0.0 if np.abs(row[c]) < np.inf else 1.0


def _add_rows(x, first, last, total, width):
    """Add rows ``first`` to ``last``, one after the other: a sum is read and written once for four."""
    whole = first + (last - first) // 4 * 4
    for k in range(first, whole, 4):
        row_a, row_b, row_c, row_d = x[k], x[k + 1], x[k + 2], x[k + 3]
        for c in range(width):
            total[c] = (((total[c] + row_a[c]) + row_b[c]) + row_c[c]) + row_d[c]
    for k in range(whole, last):
        row = x[k]
        for c in range(width):
            total[c] += row[c]


def _trimmed_mean(x, trim, center, width):
    _clear(center, width)
    _add_rows(x, trim, x.shape[0] - trim, center, width)
    divisor = float(x.shape[0] - 2 * trim)
    for c in range(width):
        center[c] /= divisor


def _window(x, keep, center, total, tie, width):
    """Sum the ``keep`` values nearest ``center``, which are consecutive in sorted order.

    The window starts at the first s whose value is no farther from the center than value s + keep, the
    one that would replace it. Exactly one value of each residue class modulo ``keep`` lies in it; it
    takes the place of the first of its class.
    """
    n = x.shape[0]
    _clear(tie, width)
    for p in range(min(keep, n - keep)):
        chosen, right = x[p], x[p + keep]
        for c in range(width):
            a, b = chosen[c], right[c]
            to_left, to_right = center[c] - a, b - center[c]
            chosen[c] = b if to_left > to_right else a
            tie[c] += 1.0 if (to_left == to_right) & (a != b) else 0.0
        for s in range(p + keep, n - keep, keep):
            left, right = x[s], x[s + keep]
            for c in range(width):
                a, b, kept = left[c], right[c], chosen[c]
                to_left, to_right = center[c] - a, b - center[c]
                chosen[c] = b if to_left > to_right else kept
                tie[c] += 1.0 if (to_left == to_right) & (a != b) else 0.0
    _clear(total, width)
    _add_rows(x, 0, keep, total, width)


def _nearest(values, keep, center):
    """Sum of the ``keep`` values nearest ``center``; of two as near, the one of the lower index."""
    used = np.zeros(values.shape[0], np.bool_)
    total = 0.0
    for _ in range(keep):
        best = -1
        for k in range(values.shape[0]):
            if not used[k] and (
                best < 0 or abs(values[k, 0] - center) < abs(values[best, 0] - center)
            ):
                best = k
        used[best] = True
        total += values[best, 0]
    return total


def _reduce_block(x, finite, trim, keep, center, total, tie, count, width):
    """Trimmed mean, or mean of the ``keep`` values nearest to it, of each sorted column, into ``total``."""
    n = x.shape[0]
    if not finite:
        _count_infinite(x, count, width)
    _trimmed_mean(x, trim, center, width)
    limit = trim
    if keep == 0:
        for c in range(width):
            total[c] = center[c]
    else:
        limit = min(trim, n - keep)
        _window(x, keep, center, total, tie, width)
        for c in range(width):
            total[c] /= keep
    if not finite:
        for c in range(width):
            if count[c] > limit:
                total[c] = np.nan
                tie[c] = 0.0


def _store(value, base_weight, scale, base, out, start, like, width):
    """out = base_weight * base + scale * value; where that is not finite, the base. Counts those."""
    replaced = 0
    target = _values(out, start, like, width)
    if base == 0:
        for c in range(width):
            target[c] = scale * value[c]
            if not np.abs(target[c]) < np.inf:
                target[c] = np.nan
                replaced += 1
        return replaced
    model = _values(base, start, like, width)
    for c in range(width):
        old = model[c]
        target[c] = base_weight * old + scale * value[c]
        if not np.abs(target[c]) < np.inf:
            target[c] = old
            replaced += 1
    return replaced


def _inner_products(rows, offsets, base, vector, like, lo, hi, block, result):
    """Add <row_i - base, vector> over columns lo to hi; without a vector, <row_i - base, row_i - base>."""
    x = np.empty(block, np.float64)
    y = np.empty(block, np.float64)
    column = lo
    while column < hi:
        s = _segment(offsets, column)
        start = column - offsets[s]
        width = min(block, hi - column, offsets[s + 1] - column)
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


def _add_weighted(values, weights, i, total, width):
    """Add four rows times their weights, one after the other: a sum is read and written once for four."""
    row_a, row_b, row_c, row_d = values
    a, b, c, d = weights[i], weights[i + 1], weights[i + 2], weights[i + 3]
    for k in range(width):
        total[k] = (((total[k] + a * row_a[k]) + b * row_b[k]) + c * row_c[k]) + d * row_d[k]


def _combine(rows, offsets, base, out, like, weights, base_weight, scale, lo, hi, block):
    """out = base_weight * base + scale * sum of weights_i * row_i over columns lo to hi."""
    total = np.empty(block, np.float64)
    used = np.flatnonzero(weights)  # 0 * inf must not appear
    weights = weights[used]
    whole = used.shape[0] // 4 * 4
    replaced = 0
    column = lo
    while column < hi:
        s = _segment(offsets, column)
        start = column - offsets[s]
        width = min(block, hi - column, offsets[s + 1] - column)
        _clear(total, width)
        for i in range(0, whole, 4):
            four = (
                _values(rows[s, used[i]], start, like, width),
                _values(rows[s, used[i + 1]], start, like, width),
                _values(rows[s, used[i + 2]], start, like, width),
                _values(rows[s, used[i + 3]], start, like, width),
            )
            _add_weighted(four, weights, i, total, width)
        for i in range(whole, used.shape[0]):
            source = _values(rows[s, used[i]], start, like, width)
            for c in range(width):
                total[c] += weights[i] * source[c]
        replaced += _store(total, base_weight, scale, base[s], out[s], start, like, width)
        column += width
    return replaced


def _reduce(rows, offsets, base, out, like, pairs, trim, keep, base_weight, scale, lo, hi, block):
    """Reduce the rows themselves, column by column, over columns lo to hi."""
    n = rows.shape[1]
    x = np.empty((n, block), like.dtype)
    scratch = np.empty((4, block), np.float64)
    center, total, tie, count = scratch[0], scratch[1], scratch[2], scratch[3]
    one = np.empty((n, 1), like.dtype)
    single = one.shape[1]
    replaced = 0
    column = lo
    while column < hi:
        s = _segment(offsets, column)
        start = column - offsets[s]
        width = min(block, hi - column, offsets[s + 1] - column)
        finite = _load(rows[s], start, like, x, width)
        ahead = min(block, offsets[s + 1] - column - width)
        _sort(x, pairs, width, rows[s], start + width, like, ahead)
        _reduce_block(x, finite, trim, keep, center, total, tie, count, width)
        if keep:
            for c in range(width):
                if tie[c] > 0.0:
                    _load(rows[s], start + c, like, one, single)
                    total[c] = _nearest(one, keep, center[c]) / keep
        replaced += _store(total, base_weight, scale, base[s], out[s], start, like, width)
        column += width
    return replaced


def _mix_and_reduce(
    rows,
    offsets,
    base,
    out,
    like,
    weights,
    rest,
    pairs,
    trim,
    keep,
    base_weight,
    scale,
    lo,
    hi,
    block,
):
    """Reduce the mixed rows ``weights @ x + rest * base``, column by column, over columns lo to hi."""
    n, k = rows.shape[1], weights.shape[0]
    x = np.empty((n, block), like.dtype)
    mixed = np.empty((k, block), np.float64)
    scratch = np.empty((4, block), np.float64)
    center, total, tie, count = scratch[0], scratch[1], scratch[2], scratch[3]
    one, one_mixed = np.empty((n, 1), like.dtype), np.empty((k, 1), np.float64)
    single = one.shape[1]
    replaced = 0
    column = lo
    while column < hi:
        s = _segment(offsets, column)
        start = column - offsets[s]
        width = min(block, hi - column, offsets[s + 1] - column)
        _load(rows[s], start, like, x, width)
        finite = _mix(x, weights, rest, base[s], start, like, mixed, width)
        ahead = min(block, offsets[s + 1] - column - width)
        _sort(mixed, pairs, width, rows[s], start + width, like, ahead)
        _reduce_block(mixed, finite, trim, keep, center, total, tie, count, width)
        if keep:
            for c in range(width):
                if tie[c] > 0.0:
                    _load(rows[s], start + c, like, one, single)
                    _mix(one, weights, rest, base[s], start + c, like, one_mixed, single)
                    total[c] = _nearest(one_mixed, keep, center[c]) / keep
        replaced += _store(total, base_weight, scale, base[s], out[s], start, like, width)
        column += width
    return replaced


_clear = njit(error_model="numpy", inline="always")(_clear)
_load = njit(**_HELPER)(_load)
_sort = njit(**_HELPER)(_sort)
_count_infinite = njit(**_HELPER)(_count_infinite)
_add_rows = njit(**_HELPER)(_add_rows)
_trimmed_mean = njit(**_HELPER)(_trimmed_mean)
_window = njit(**_HELPER)(_window)
_nearest = njit(**_HELPER)(_nearest)
_reduce_block = njit(**_HELPER)(_reduce_block)
_store = njit(**_HELPER)(_store)
_inner_product = njit(**_HELPER, fastmath={"reassoc", "contract"})(_inner_product)
_add_weighted = njit(**_HELPER)(_add_weighted)
_mix = njit(**_HELPER)(_mix)
inner_products = _compile(_inner_products)
combine = _compile(_combine)
reduce = _compile(_reduce)
mix_and_reduce = _compile(_mix_and_reduce)

"""The hot loops, compiled by numba: distances (in ``distances``), inner products, mix, reduce.

All of them read n rows where they lie, through addresses, in blocks of columns that stay in the cache;
none copies more than one block. They run without the GIL, on one range of columns a call, so the caller
spreads ranges over threads. Every sum is taken in float64 and in an order that depends on the data's
shape only, so neither the number of threads nor their timing changes a bit.

Shared arguments: ``rows`` (segments, n) addresses of the values of each row in each segment; ``offsets``
(segments + 1) first column of each segment; ``base`` (segments) addresses of the global model, 0 where it
is not known; ``out`` (segments) addresses of the result; ``like`` an empty array of the data's type;
``lo``, ``hi`` the range of columns; ``x``, ``mixed``, ``scratch`` memory for one block, as wide as a
block is. Counts are kept in float64, in the first number of a row of ``scratch``. A rule's first use
waits for all of this to be compiled, so numba's own is only what leads from one of ``steps`` to the
next.
"""

import numpy as np
from numba import njit

from flwr_byzantine.kernels import steps
from flwr_byzantine.kernels.distances import pairwise_distances as pairwise_distances
from flwr_byzantine.kernels.primitives import _HELPER, _at, _compile, _prefetch, _row, _segment


def _mix_row(rows, s, start, like, weights, chosen, k, total, width):
    """total = sum of weights[k, i] * row i over the ``chosen[k, 0]`` rows i that follow in ``chosen[k]``.

    Weights of zero are left out: 0 * inf must not appear.
    """
    steps.clear(total, width)
    last = 1 + chosen[k, 0]
    whole = 1 + (chosen[k, 0] & -4)
    for t in range(1, whole, 4):
        a, b, c, d = chosen[k, t], chosen[k, t + 1], chosen[k, t + 2], chosen[k, t + 3]
        steps.add_four_weighted(
            _at(rows[s, a], start, like), _at(rows[s, b], start, like),
            _at(rows[s, c], start, like), _at(rows[s, d], start, like),
            weights[k, a], weights[k, b], weights[k, c], weights[k, d], total, width,
        )  # fmt: skip
    for t in range(whole, last):
        i = chosen[k, t]
        steps.add_weighted(_at(rows[s, i], start, like), weights[k, i], total, width)


def _mean_of_rows(x, first, last, mean, width):
    """Mean of rows ``first`` to ``last``, added one after the other."""
    steps.clear(mean, width)
    whole = first + ((last - first) & -4)
    for k in range(first, whole, 4):
        steps.add_four(_row(x, k), _row(x, k + 1), _row(x, k + 2), _row(x, k + 3), mean, width)
    for k in range(whole, last):
        steps.add(_row(x, k), mean, width)
    steps.divide(mean, float(last - first), width)


def _nearest(rows, s, start, like, weights, keep, center, near, c, values):
    """Mean of the ``keep`` values nearest ``center``; of two as near, the one of the lower row.

    ``near`` holds, in column ``c`` of its first ``keep`` rows, values that are as near, whichever were
    chosen. The column is read again, in its original order, and mixed as ``_mix_row`` does.
    """
    radius = 0.0
    for k in range(keep):
        distance = abs(near[k, c] - center)
        radius = distance if distance > radius else radius
    total = 0.0
    missing = keep
    for k in range(values.shape[0]):
        if weights is None:
            values[k] = _at(rows[s, k], start, like)[0]
        else:
            values[k] = 0.0
            for i in range(rows.shape[1]):
                if weights[k, i] != 0.0:
                    values[k] += weights[k, i] * _at(rows[s, i], start, like)[0]
        if abs(values[k] - center) < radius:
            total += values[k]
            missing -= 1
    for k in range(values.shape[0]):
        if missing > 0 and abs(values[k] - center) == radius:
            total += values[k]
            missing -= 1
    return total / keep


def _store(value, base_weight, scale, base, out, s, start, like, replaced, width):
    """out = base_weight * base + scale * value; where that is not finite, the base. Counts those."""
    target = _at(out[s], start, like)
    if base[s] == 0:
        steps.store_value(value, scale, target, replaced, width)
    else:
        model = _at(base[s], start, like)
        steps.store_beside(model, base_weight, value, scale, target, replaced, width)


def _inner_products(rows, offsets, base, vector, like, lo, hi, scratch, result):
    """Add <row_i - base, vector> over columns lo to hi; without a vector, <row_i - base, row_i - base>."""
    x, y = _row(scratch, 0), _row(scratch, 1)
    column = lo
    while column < hi:
        s = _segment(offsets, column)
        start = column - offsets[s]
        width = min(scratch.shape[1], hi - column, offsets[s + 1] - column)
        if vector[s] != 0:
            steps.copy(_at(vector[s], start, like), y, width)
        for i in range(rows.shape[1]):
            source = _at(rows[s, i], start, like)
            if base[s] != 0:
                steps.copy_difference(source, _at(base[s], start, like), x, width)
            else:
                steps.copy(source, x, width)
            steps.add_products(x, y if vector[s] != 0 else x, _row(result, i), width)
        column += width


def _combine(
    rows, offsets, base, out, like, weights, chosen, base_weight, scale, lo, hi, scratch
):  # fmt: skip
    """out = base_weight * base + scale * sum of weights_i * row_i over columns lo to hi."""
    total, replaced = _row(scratch, 0), _row(scratch, 1)
    replaced[0] = 0.0
    column = lo
    while column < hi:
        s = _segment(offsets, column)
        start = column - offsets[s]
        width = min(scratch.shape[1], hi - column, offsets[s + 1] - column)
        _mix_row(rows, s, start, like, weights, chosen, 0, total, width)
        _store(total, base_weight, scale, base, out, s, start, like, replaced, width)
        column += width
    return replaced[0]


def _reduce(
    rows, offsets, base, out, like, weights, chosen, wild, pairs, trim, keep, base_weight, scale, lo, hi,
    x, loaded, mixed, scratch, values,
):  # fmt: skip
    """Reduce the rows, or the mixed rows ``weights @ rows``, column by column, over columns lo to hi.

    ``wild`` is above zero where mixed rows may hold values that are not finite although no row does.
    ``loaded`` (1, n) holds the addresses of the rows of ``x``. Without weights, ``mixed`` is ``x``. The
    result is the trimmed mean, or where ``keep`` is given the mean of the ``keep`` values nearest to it.
    numba leaves out the branches of an argument that is None.
    """
    k = mixed.shape[0]
    mean, center, tie, count = (
        _row(scratch, 0),
        _row(scratch, 1),
        _row(scratch, 2),
        _row(scratch, 3),
    )
    infinite, tied, replaced = _row(scratch, 4), _row(scratch, 5), _row(scratch, 6)
    replaced[0] = 0.0
    column = lo
    while column < hi:
        s = _segment(offsets, column)
        start = column - offsets[s]
        width = min(x.shape[1], hi - column, offsets[s + 1] - column)
        infinite[0] = wild
        for i in range(rows.shape[1]):
            steps.load(_at(rows[s, i], start, like), _row(x, i), infinite, width)
        if weights is not None:
            for i in range(k):
                _mix_row(loaded, 0, 0, like, weights, chosen, i, _row(mixed, i), width)
            if infinite[0] > 0.0 or like.itemsize == 8:  # no sum of float32 leaves float64's range
                infinite[0] = 0.0
                for i in range(k):
                    steps.load(_row(mixed, i), _row(mixed, i), infinite, width)
        ahead = min(x.shape[1], offsets[s + 1] - column - width)
        for p in range(pairs.shape[0]):
            for i in range(pairs[p, 2], pairs[p, 3]):
                _prefetch(rows[s, i], start + width, like, ahead)
            steps.exchange(_row(mixed, pairs[p, 0]), _row(mixed, pairs[p, 1]), width)
        if infinite[0] > 0.0:
            steps.clear(count, width)
            for i in range(k):
                steps.count_infinite(_row(mixed, i), count, width)
        if keep is None:
            _mean_of_rows(mixed, trim, k - trim, mean, width)
        else:
            # The window of ``keep`` values, consecutive in sorted order, starts at the first t whose
            # value is no farther from the center than value t + keep, which would replace it. Exactly
            # one value of each residue class modulo ``keep`` lies in it; it takes the place of the
            # first of its class. ``tie`` is above zero where different values are as near.
            _mean_of_rows(mixed, trim, k - trim, center, width)
            steps.clear(tie, width)
            for t in range(k - keep):
                left, right, place = _row(mixed, t), _row(mixed, t + keep), _row(mixed, t % keep)
                steps.slide(left, right, place, center, tie, width)
            _mean_of_rows(mixed, np.int64(0), keep, mean, width)  # not 0: a literal compiles anew
        if infinite[0] > 0.0:
            limit = trim if keep is None else min(trim, k - keep)
            steps.drop(count, float(limit), mean, tie, width)
        if keep is not None:
            tied[0] = 0.0
            steps.sum_columns(tie, tied, width)
            if tied[0] > 0.0:
                for c in range(width):
                    if tie[c] > 0.0:
                        mean[c] = _nearest(
                            rows, s, start + c, like, weights, keep, center[c], mixed, c, values
                        )
        _store(mean, base_weight, scale, base, out, s, start, like, replaced, width)
        column += width
    return replaced[0]


_mix_row = njit(**_HELPER)(_mix_row)
_mean_of_rows = njit(**_HELPER)(_mean_of_rows)
_nearest = njit(**_HELPER)(_nearest)
_store = njit(**_HELPER)(_store)
inner_products = _compile(_inner_products)
combine = _compile(_combine)
reduce = _compile(_reduce)

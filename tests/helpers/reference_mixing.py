"""Pre-aggregations and centered clipping once more, in plain loops over Python floats.

Written from Allouah et al. 2023 (NNM), Karimireddy, He, Jaggi 2021 and 2022 (centered clipping, bucketing)
and Allouah et al. 2025 (ARC). No code is shared with the library. An update with a value that is not finite
is infinitely far from every other, and is clipped to zero. Ties go to the lower index.
"""

import math

from reference import columns_of, rows_of, squared_distance


def nearest(rows, f):
    """The n - f rows that each row is mixed of: itself first, then those nearest to it."""
    n = len(rows)
    for i in range(n):
        order = sorted(
            range(n), key=lambda j: (-1.0 if i == j else squared_distance(rows[i], rows[j]), j)
        )
        yield sorted(order[: n - f])


def mean_of_rows(rows):
    """The mean of rows. NaN and opposite infinities count as +inf, as everywhere."""
    means = [sum(column) / len(column) for column in columns_of(rows)]
    return [math.inf if math.isnan(v) else v for v in means]


def nearest_neighbor_mixing(updates, f):
    rows = rows_of(updates)
    return [mean_of_rows([rows[j] for j in mixed]) for mixed in nearest(rows, f)]


def nearest_neighbor_weights(updates, f):
    """The share of each update in the mean of the mixed rows."""
    n = len(updates)
    chosen = [j for mixed in nearest(rows_of(updates), f) for j in mixed]
    return [chosen.count(j) / (n - f) / n for j in range(n)]


def bucketing(updates, order, size):
    """The means of consecutive buckets of the updates in the given order."""
    rows = rows_of(updates)
    in_order = [rows[i] for i in order]
    return [mean_of_rows(in_order[k : k + size]) for k in range(0, len(rows), size)]


def bucketing_weights(n, order, size):
    buckets = [list(order[k : k + size]) for k in range(0, n, size)]
    share = {i: 1 / len(bucket) / len(buckets) for bucket in buckets for i in bucket}
    return [share[i] for i in range(n)]


def length(vector):
    """The length of a row. It is infinite if a value is not finite."""
    return math.inf if any(not math.isfinite(v) for v in vector) else math.hypot(*vector)


def clipped(vector, threshold):
    size = length(vector)
    if math.isinf(size):
        return [0.0] * len(vector)
    return list(vector) if size <= threshold else [v * (threshold / size) for v in vector]


def less(a, b):
    return [x - y for x, y in zip(a, b, strict=True)]


def plus(a, b):
    return [x + y for x, y in zip(a, b, strict=True)]


def clipping(updates, threshold, model):
    return [plus(model, clipped(less(map(float, row), model), threshold)) for row in updates]


def adaptive_clipping(updates, f, model):
    n = len(updates)
    sizes = sorted((length(less(map(float, row), model)) for row in updates), reverse=True)
    k = math.floor(2 * (f / n) * (n - f) + 1e-12)
    return clipping(updates, sizes[k], model)


def clipping_weights(updates, threshold):
    """For clipping around the zero vector: the factors, divided by n."""
    sizes = [length(list(map(float, row))) for row in updates]
    factors = [0.0 if math.isinf(s) else min(1.0, threshold / s) if s else 1.0 for s in sizes]
    return [factor / len(sizes) for factor in factors]


def adaptive_clipping_weights(updates, f):
    n = len(updates)
    sizes = sorted((length(list(map(float, row))) for row in updates), reverse=True)
    k = math.floor(2 * (f / n) * (n - f) + 1e-12)
    return clipping_weights(updates, sizes[k])


def centered_clipping(updates, threshold, iterations, center):
    v = list(map(float, center))
    for _ in range(iterations):
        steps = [clipped(less(map(float, row), v), threshold) for row in updates]
        v = plus(v, [math.fsum(column) / len(steps) for column in columns_of(steps)])
    return v

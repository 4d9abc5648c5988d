"""Pre-aggregations and centered clipping once more, as slow as they read: plain loops over Python floats.

Written from Allouah et al. 2023 (NNM), Karimireddy, He, Jaggi 2021 and 2022 (centered clipping, bucketing)
and Allouah et al. 2025 (ARC); shares no code with the library. An update with a value that is not finite is
infinitely far from every other, and clipped to zero. Ties go to the lower index.
"""

import math

from reference import columns_of, rows_of, squared_distance


def mean_of_rows(rows):
    """NaN and opposite infinities count as +inf, as everywhere."""
    means = [sum(column) / len(column) for column in columns_of(rows)]
    return [math.inf if math.isnan(v) else v for v in means]


def nearest_neighbor_mixing(updates, f):
    rows = rows_of(updates)
    n = len(rows)
    mixed = []
    for i in range(n):
        order = sorted(
            range(n), key=lambda j: (-1.0 if i == j else squared_distance(rows[i], rows[j]), j)
        )
        mixed.append(mean_of_rows([rows[j] for j in sorted(order[: n - f])]))
    return mixed


def bucketing(updates, order, size):
    """Means of consecutive buckets of the updates in the given order."""
    rows = rows_of(updates)
    in_order = [rows[i] for i in order]
    return [mean_of_rows(in_order[k : k + size]) for k in range(0, len(rows), size)]


def length(vector):
    """Infinite where a value is not finite."""
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


def centered_clipping(updates, threshold, iterations, center):
    v = list(map(float, center))
    for _ in range(iterations):
        steps = [clipped(less(map(float, row), v), threshold) for row in updates]
        v = plus(v, [math.fsum(column) / len(steps) for column in columns_of(steps)])
    return v

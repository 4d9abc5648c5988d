"""The newer rules once more, in plain loops over Python floats, from their papers.

The conventions are those of `reference`: an update that is not finite is infinitely far from every other, and
ties go to the lower client index. Numbers that differ only by rounding tie. If too many updates are not
finite for a result, it is NaN.
"""

import itertools
import math

from reference import (
    NAN,
    average,
    columns_of,
    median_of,
    nearest_to,
    not_finite,
    rows_of,
    squared_distance,
)

# -- updates that are finite --------------------------------------------------------------------------


def finite_of(rows):
    return [i for i, row in enumerate(rows) if not not_finite(row) or len(rows) == 1]


def mixed(updates, weights):
    """The combination of the updates with these weights."""
    rows = rows_of(updates)
    if any(math.isnan(w) for w in weights):
        return [NAN] * len(rows[0])
    used = [(w, row) for w, row in zip(weights, rows, strict=True) if w]
    mixture = [math.fsum(w * row[j] for w, row in used) for j in range(len(rows[0]))]
    return [v if math.isfinite(v) else NAN for v in mixture]


def shares_of(chosen, n):
    return [1 / len(chosen) if i in chosen else 0.0 for i in range(n)]


# -- mean around the median ---------------------------------------------------------------------------


def mea_med(updates, f):
    return [
        nearest_to(median_of(column), column, len(column) - f)
        for column in columns_of(rows_of(updates))
    ]


# -- medoid and geometric median ----------------------------------------------------------------------


def distance(a, b):
    return math.sqrt(squared_distance(a, b))


def tied_medoids(rows, there):
    """The rows with the least sum of distances, including those that differ only by rounding."""
    sums = {i: math.fsum(distance(rows[i], rows[j]) for j in there if j != i) for i in there}
    least = min(sums.values())
    return [i for i in there if sums[i] <= least * (1 + 1e-12)]


def medoid_weights(updates, f=0):
    rows = rows_of(updates)
    n, there = len(rows), finite_of(rows)
    if n - len(there) > (n - 1) // 2:
        return [NAN] * n
    if n == 1:
        return [1.0]
    return shares_of(tied_medoids(rows, there)[:1], n)


def medoid(updates, f=0):
    return mixed(updates, medoid_weights(updates))


def length(v):
    return math.hypot(*v)


def pull_of(point, rows):
    """The sum of the directions from a point to the rows, and how many rows are at the point."""
    total, at = [0.0] * len(point), 0
    for row in rows:
        to = [x - y for x, y in zip(row, point, strict=True)]
        if not any(to):
            at += 1
            continue
        size = length(to)
        total = [t + v / size for t, v in zip(total, to, strict=True)]
    return length(total), at


def is_geometric_median(point, rows, slack):
    pull, at = pull_of(point, rows)
    return pull <= at + slack


def weiszfeld_weights(point, rows, floor):
    inverse = [1 / max(floor, distance(point, row)) for row in rows]
    total = math.fsum(inverse)
    return [w / total for w in inverse]


def geometric_median_weights(updates, f, iterations=None, smoothing=None):
    """Steps from the mean of the medoid's nearest majority; or an update that is the median itself."""
    rows = rows_of(updates)
    n, there = len(rows), finite_of(rows)
    if n - len(there) > (f or (n - 1) // 2):
        return [NAN] * n
    if n == 1:
        return [1.0]
    medoids = tied_medoids(rows, there)
    finite = [rows[i] for i in there]
    exact = iterations is None and smoothing is None
    medians = [i for i in medoids if is_geometric_median(rows[i], finite, 1e-9)]
    if exact and medians and medians[0] == medoids[0]:
        center = [average(column) for column in columns_of([rows[i] for i in medians])]
        if len({tuple(rows[i]) for i in medians}) == 1 or is_geometric_median(
            center, finite, 1e-6 * len(there)
        ):
            return shares_of(medians, n)
    nearest = sorted(there, key=lambda i: (distance(rows[medoids[0]], rows[i]), i))[: n // 2 + 1]
    spread = distance(rows[medoids[0]], rows[nearest[-1]])
    floor = smoothing or max(1e-9 * spread, 1e-150)
    point = [average(column) for column in columns_of([rows[i] for i in nearest])]
    if iterations is None:  # otherwise a point at an update would stay there
        point = [p + 1e-3 * (q - p) for p, q in zip(point, finite[-1], strict=True)]
    weights = []
    for step in range(iterations or 300):
        weights = weiszfeld_weights(point, finite, floor)
        before, point = point, mixed(finite, weights)
        if iterations is None and len(point) <= 8:
            point = newton_step(point, finite)
        if iterations is None and step > 20 and distance(before, point) <= 1e-15 * spread:
            break
    by_index = dict(zip(there, weights, strict=True))
    return [by_index.get(i, 0.0) for i in range(n)]


def sum_of_distances(point, rows):
    return math.fsum(distance(point, row) for row in rows)


def newton_step(point, rows):
    """A Newton step, halved until the sum of distances is smaller."""
    d = len(point)
    slope, curve = [0.0] * d, [[0.0] * d for _ in range(d)]
    for row in rows:
        size = distance(point, row)
        if size == 0:
            return point
        unit = [(p - x) / size for p, x in zip(point, row, strict=True)]
        for j in range(d):
            slope[j] += unit[j]
            for k in range(d):
                curve[j][k] += ((j == k) - unit[j] * unit[k]) / size
    step = solved(curve, slope)
    for halvings in range(30 if step else 0):
        lower = [p - v / 2**halvings for p, v in zip(point, step, strict=True)]
        if sum_of_distances(lower, rows) < sum_of_distances(point, rows):
            return lower
    return point


def solved(matrix, right):
    """The solution of a linear system by Gaussian elimination, or None if there is none."""
    rows, n = [[*row, r] for row, r in zip(matrix, right, strict=True)], len(right)
    for k in range(n):
        pivot = max(range(k, n), key=lambda i: abs(rows[i][k]))
        rows[k], rows[pivot] = rows[pivot], rows[k]
        if rows[k][k] == 0:
            return None
        for i in range(n):
            if i != k:
                factor = rows[i][k] / rows[k][k]
                rows[i] = [a - factor * b for a, b in zip(rows[i], rows[k], strict=True)]
    return [rows[i][n] / rows[i][i] for i in range(n)]


def geometric_median(updates, f, iterations=None, smoothing=None):
    return mixed(updates, geometric_median_weights(updates, f, iterations, smoothing))


# -- minimum diameter averaging -----------------------------------------------------------------------


def subsets_of(there, size):
    return itertools.combinations(there, size)


def minimum_diameter_weights(updates, f):
    rows = rows_of(updates)
    n, there = len(rows), finite_of(rows)
    if len(there) < n - f:
        return [NAN] * n
    apart = {(i, j): squared_distance(rows[i], rows[j]) for i in there for j in there}
    best = min(  # in a tie, the first
        subsets_of(there, n - f),
        key=lambda subset: max(apart[i, j] for i in subset for j in subset),
    )
    return shares_of(best, n)


def minimum_diameter(updates, f):
    return mixed(updates, minimum_diameter_weights(updates, f))

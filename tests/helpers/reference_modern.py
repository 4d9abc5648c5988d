"""Rules since 2018 once more, as slow as they read: plain loops over Python floats, from their papers.

As `reference`, with which conventions are shared: an update that is not finite is infinitely far from every
other, ties go to the lower client index, and numbers that only rounding tells apart tie. A result that too
many updates that are not finite leave none for is NaN.
"""

import itertools
import math

from reference import (
    INF,
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
    """The rows with the least sum of distances, and all whose sum is that but for rounding."""
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
    """Sum of the directions from a point to the rows, and how many are at the point."""
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
    if iterations is None:  # a point at an update would stay there
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
    """Down by the inverse of the second derivatives, halved until the sum of distances is smaller."""
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
    """Gaussian elimination; None where there is no solution."""
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
    best = min(  # the first of several
        subsets_of(there, n - f),
        key=lambda subset: max(apart[i, j] for i in subset for j in subset),
    )
    return shares_of(best, n)


def minimum_diameter(updates, f):
    return mixed(updates, minimum_diameter_weights(updates, f))


# -- rules by the largest variance --------------------------------------------------------------------


def about_mean(rows, shares):
    center = [
        math.fsum(p * v for p, v in zip(shares, column, strict=True)) for column in columns_of(rows)
    ]
    return [[v - c for v, c in zip(row, center, strict=True)] for row in rows]


def largest_variance(rows, shares):
    """The covariance's largest eigenvalue, and the squared lengths of the projections on its directions."""
    centered = about_mean(rows, shares)
    d = len(rows[0])
    if d <= len(rows):
        covariance = [
            [
                math.fsum(p * row[j] * row[k] for p, row in zip(shares, centered, strict=True))
                for k in range(d)
            ]
            for j in range(d)
        ]
        values, vectors = eigen(covariance)
    else:  # the same eigenvalues, of the products of the rows
        weighed = [[math.sqrt(p) * v for v in row] for p, row in zip(shares, centered, strict=True)]
        values, mixtures = eigen([[dot(a, b) for b in weighed] for a in weighed])
        vectors = []
        for mixture in mixtures:
            direction = [dot(mixture, column) for column in columns_of(weighed)]
            size = length(direction)
            vectors.append([v / size if size else 0.0 for v in direction])
    top = max(values, default=0.0)
    if top <= 0:
        return 0.0, [0.0] * len(rows)
    directions = [v for value, v in zip(values, vectors, strict=True) if value >= top * (1 - 1e-9)]
    return top, [math.fsum(dot(row, v) ** 2 for v in directions) for row in centered]


def dot(a, b):
    return math.fsum(x * y for x, y in zip(a, b, strict=True))


def eigen(matrix):
    """Eigenvalues and eigenvectors of a symmetric matrix, by Jacobi's rotations."""
    n = len(matrix)
    a = [list(row) for row in matrix]
    turned = [[float(i == j) for j in range(n)] for i in range(n)]  # eigenvectors, one a row
    for _ in range(50):
        off = max((abs(a[p][q]) for p in range(n) for q in range(p)), default=0.0)
        if off <= 1e-17 * max((abs(a[p][p]) for p in range(n)), default=0.0):
            break
        for p in range(n):
            for q in range(p + 1, n):
                if a[p][q] == 0:
                    continue
                angle = 0.5 * math.atan2(2 * a[p][q], a[q][q] - a[p][p])
                c, s = math.cos(angle), math.sin(angle)
                for k in range(n):
                    a[k][p], a[k][q] = c * a[k][p] - s * a[k][q], s * a[k][p] + c * a[k][q]
                for k in range(n):
                    a[p][k], a[q][k] = c * a[p][k] - s * a[q][k], s * a[p][k] + c * a[q][k]
                    turned[p][k], turned[q][k] = (
                        c * turned[p][k] - s * turned[q][k],
                        s * turned[p][k] + c * turned[q][k],
                    )
    return [a[i][i] for i in range(n)], turned


def covariance_filter_weights(updates, f):
    rows = rows_of(updates)
    n, there = len(rows), finite_of(rows)
    if len(there) < n - f:
        return [NAN] * n
    if n == 1:
        return [1.0]
    finite = [rows[i] for i in there]
    c = [1.0] * len(there)
    best, found = INF, [1 / len(there)] * len(there)
    while math.fsum(c) > n - 2 * f + 1e-10 * len(there):
        shares = [w / math.fsum(c) for w in c]
        used = [i for i, w in enumerate(c) if w > 0]
        largest, projections = largest_variance(
            [finite[i] for i in used], [shares[i] for i in used]
        )
        if largest < best:
            best, found = largest, shares
        farthest = max(projections)
        if farthest == 0:
            break
        for i, projection in zip(used, projections, strict=True):
            left = 1 - projection / farthest
            c[i] = c[i] * left if left > 1e-10 else 0.0
    by_index = dict(zip(there, found, strict=True))
    return [by_index.get(i, 0.0) for i in range(n)]


def covariance_filter(updates, f):
    return mixed(updates, covariance_filter_weights(updates, f))


def divide_and_conquer_weights(updates, f):
    rows = rows_of(updates)
    n, there = len(rows), finite_of(rows)
    if len(there) < n - f:
        return [NAN] * n
    if n == 1:
        return [1.0]
    finite = [rows[i] for i in there]
    _, projections = largest_variance(finite, [1 / len(finite)] * len(finite))
    last, tie = sorted(projections)[n - f - 1], 1e-10 * max(projections)
    below = [i for i, s in zip(there, projections, strict=True) if s < last - tie]
    tied = [i for i, s in zip(there, projections, strict=True) if abs(s - last) <= tie]
    return shares_of(below + tied[: n - f - len(below)], n)


def divide_and_conquer(updates, f):
    return mixed(updates, divide_and_conquer_weights(updates, f))


def smallest_maximum_eigenvalue_weights(updates, f):
    rows = rows_of(updates)
    n, there = len(rows), finite_of(rows)
    if len(there) < n - f:
        return [NAN] * n
    if n == 1:
        return [1.0]
    size = n - f
    largest = {
        subset: largest_variance([rows[i] for i in subset], [1 / size] * size)[0]
        for subset in subsets_of(there, size)
    }
    least = min(largest.values())
    return shares_of(next(s for s in largest if largest[s] <= least * (1 + 1e-10)), n)


def smallest_maximum_eigenvalue(updates, f):
    return mixed(updates, smallest_maximum_eigenvalue_weights(updates, f))

"""Rules by the largest variance once more, in plain loops over floats, from their papers.

Conventions are those of `reference_modern`.
"""

import math

from reference import INF, NAN, columns_of, rows_of
from reference_modern import finite_of, length, mixed, shares_of, subsets_of

# -- rules by the largest variance --------------------------------------------------------------------


def about_mean(rows, shares):
    center = [
        math.fsum(p * v for p, v in zip(shares, column, strict=True)) for column in columns_of(rows)
    ]
    return [[v - c for v, c in zip(row, center, strict=True)] for row in rows]


def largest_variance(rows, shares):
    """The largest eigenvalue of the covariance, and the squared projections on its directions."""
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
    else:  # the products of the rows have the same eigenvalues
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
    """The eigenvalues and eigenvectors of a symmetric matrix, by Jacobi's rotations."""
    n = len(matrix)
    a = [list(row) for row in matrix]
    turned = [[float(i == j) for j in range(n)] for i in range(n)]  # one eigenvector in each row
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

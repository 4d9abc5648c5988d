"""The rules once more, as slow as they are simple: plain loops over Python floats, straight from the papers.

Written from Phocas (definitions 3, 7, 8), Fall of Empires (definitions 2, 3), El Mhamdi et al. 2018 and
Multi-Bulyan with AggregaThor. No code is shared with the library. Conventions: NaN counts as +inf. An update
with a value that is not finite is infinitely far from every other. Ties go to the lower client index, and for
mixed rows to the earlier step. A result that would depend on values that are not finite is NaN.
"""

import math

INF, NAN = math.inf, math.nan


def rows_of(updates):
    """Lists of floats, in which NaN becomes +inf."""
    return [[INF if math.isnan(v) else float(v) for v in row] for row in updates]


def columns_of(rows):
    return [list(column) for column in zip(*rows, strict=True)]


def average(values):
    return math.fsum(values) / len(values)


def not_finite(values):
    return sum(math.isinf(v) for v in values)


# -- one coordinate -----------------------------------------------------------------------------------


def mean_of(values):
    return NAN if not_finite(values) else average(values)


def trimmed_mean_of(values, b):
    if not_finite(values) > b:
        return NAN
    in_order = sorted(values)
    return average(in_order[b : len(values) - b])


def median_of(values):
    n = len(values)
    if not_finite(values) > (n - 1) // 2:
        return NAN
    in_order = sorted(values)
    return in_order[n // 2] if n % 2 else (in_order[n // 2 - 1] + in_order[n // 2]) / 2


def nearest_to(center, values, count):
    """The mean of the ``count`` values nearest to the center. Of two as near, the first in the list."""
    if math.isnan(center):
        return NAN
    nearest = sorted(range(len(values)), key=lambda i: (abs(values[i] - center), i))[:count]
    return mean_of([values[i] for i in nearest])


def phocas_of(values, b):
    return nearest_to(trimmed_mean_of(values, b), values, len(values) - b)


# -- whole updates ------------------------------------------------------------------------------------


def squared_distance(a, b):
    if not_finite(a) or not_finite(b):
        return INF
    return math.fsum((x - y) * (x - y) for x, y in zip(a, b, strict=True))


def distances_of(rows):
    """The distances, by pair of client indices."""
    return {
        (i, j): squared_distance(rows[i], rows[j])
        for i in range(len(rows))
        for j in range(len(rows))
        if i != j
    }


def krum_scores(distances, clients, neighbours):
    """The score of each of the given clients among themselves."""
    scores = {}
    for i in clients:
        to_others = sorted(distances[i, j] for j in clients if j != i)
        scores[i] = math.fsum(to_others[:neighbours])
    return scores


def best_of(scores, count):
    return sorted(scores, key=lambda i: (scores[i], i))[:count]


def multi_krum_weights(updates, f, m=None):
    rows = rows_of(updates)
    n = len(rows)
    scores = krum_scores(distances_of(rows), range(n), n - f - 2)
    selected = best_of(scores, n - f - 2 if m is None else m)
    if any(math.isinf(scores[i]) for i in selected):
        return [NAN] * n
    return [1 / len(selected) if i in selected else 0.0 for i in range(n)]


def bulyan_selection(updates, f):
    """The theta = n - 2f clients that Krum picks one after the other, or None where it cannot choose."""
    rows = rows_of(updates)
    distances = distances_of(rows)
    remaining, selected = list(range(len(rows))), []
    while len(selected) < len(rows) - 2 * f:
        scores = krum_scores(distances, remaining, max(1, len(remaining) - f - 2))
        (winner,) = best_of(scores, 1)
        if math.isinf(scores[winner]):
            return None
        selected.append(winner)
        remaining.remove(winner)
    return selected


def multi_bulyan_selections(updates, f, m=None):
    """The clients averaged in each of the theta = n - 2f - 2 steps, or None for a step without a choice."""
    rows = rows_of(updates)
    distances = distances_of(rows)
    n = len(rows)
    m = n - 2 * f - 2 if m is None else m
    remaining, selections = list(range(n)), []
    for _ in range(n - 2 * f - 2):
        neighbours = len(remaining) - f - 2
        scores = krum_scores(distances, remaining, neighbours)
        best = best_of(scores, min(m, neighbours))
        selections.append(None if any(math.isinf(scores[i]) for i in best) else best)
        remaining.remove(best[0])
    return selections


# -- the rules: (updates, f) -> aggregate -------------------------------------------------------------


def mean(updates, f=0):
    return [mean_of(column) for column in columns_of(rows_of(updates))]


def median(updates, f=0):
    return [median_of(column) for column in columns_of(rows_of(updates))]


def trimmed_mean(updates, f):
    return [trimmed_mean_of(column, f) for column in columns_of(rows_of(updates))]


def phocas(updates, f):
    return [phocas_of(column, f) for column in columns_of(rows_of(updates))]


def multi_krum(updates, f, m=None):
    weights = multi_krum_weights(updates, f, m)
    rows = [row for row, weight in zip(rows_of(updates), weights, strict=True) if weight]
    if math.isnan(weights[0]):
        return [NAN] * len(rows[0])
    return [average(column) for column in columns_of(rows)]


def krum(updates, f):
    return multi_krum(updates, f, m=1)


def bulyan(updates, f):
    rows = rows_of(updates)
    selected = bulyan_selection(rows, f)
    if selected is None:
        return [NAN] * len(rows[0])
    beta = len(selected) - 2 * f
    chosen = columns_of([rows[i] for i in sorted(selected)])
    return [nearest_to(median_of(column), column, beta) for column in chosen]


def multi_bulyan(updates, f, m=None):
    rows = rows_of(updates)
    selections = multi_bulyan_selections(rows, f, m)
    mixed = [
        [INF] * len(rows[0])
        if best is None
        else [average(column) for column in columns_of([rows[i] for i in best])]
        for best in selections
    ]
    beta = len(mixed) - 2 * f
    return [nearest_to(median_of(column), column, beta) for column in columns_of(mixed)]


# -- the share of each update in the result -----------------------------------------------------------


def mean_weights(updates, f=0):
    return [1 / len(updates)] * len(updates)


def krum_weights(updates, f):
    return multi_krum_weights(updates, f, m=1)


def shares(n, selections):
    """The mean, over the selections, of 1/size for their members."""
    if any(best is None for best in selections):
        return [NAN] * n
    return [
        math.fsum(1 / len(best) for best in selections if i in best) / len(selections)
        for i in range(n)
    ]


def bulyan_weights(updates, f):
    selected = bulyan_selection(updates, f)
    return shares(len(updates), [None] if selected is None else [[i] for i in selected])


def multi_bulyan_weights(updates, f, m=None):
    return shares(len(updates), multi_bulyan_selections(updates, f, m))


# -- FLTrust (Cao, Fang, Liu, Gong 2021, algorithm 2) ---------------------------------------------------


def inner(a, b):
    return math.fsum(x * y for x, y in zip(a, b, strict=True))


def servers_update(model, gradient, steps, rate):
    """How much some steps of gradient descent change a model."""
    server = [float(v) for v in model]
    for _ in range(steps):
        server = [v - rate * g for v, g in zip(server, gradient(server), strict=True)]
    return [v - w for v, w in zip(server, model, strict=True)]


def trust_of(updates, own):
    """t_i: the cosine of each update with the server's update, if positive; 0 without a direction."""
    trust = []
    for u in rows_of(updates):
        lengths = math.sqrt(inner(own, own)) * (INF if not_finite(u) else math.sqrt(inner(u, u)))
        trust.append(max(0.0, inner(u, own) / lengths) if 0 < lengths < INF else 0.0)
    return trust


def fltrust_move(updates, own):
    """What FLTrust adds to the model, or None if no update has any trust."""
    trust = trust_of(updates, own)
    if not math.fsum(trust):
        return None
    move = [0.0] * len(own)
    for u, t in zip(updates, trust, strict=True):
        if t:
            factor = t * math.sqrt(inner(own, own)) / math.sqrt(inner(u, u))
            move = [m + factor * v for m, v in zip(move, u, strict=True)]
    return [m / math.fsum(trust) for m in move]

"""What several seeds say together: their mean, and how well it is known."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import combinations_with_replacement
from math import factorial, prod
from statistics import fmean

import numpy as np

from simulations.streams import Stream, generator

OUTSIDE = 0.025  # of the resamples, on each side of the interval
ALL = 8  # up to this many seeds, every resample is taken
DRAWN = 10_000  # resamples if there are more seeds


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Return the 95 % percentile bootstrap interval of the mean of some seeds' values.

    For two or three seeds it is their range. For up to eight seeds, every resample counts with its
    probability. For more seeds, 10,000 resamples are drawn, always the same ones.

    Examples
    --------
    >>> interval([90.0, 91.0]), interval([90.0]), interval([0.0, 0.0, 0.0, 4.0])
    ((90.0, 91.0), (90.0, 90.0), (0.0, 3.0))
    """
    counts, weights = _resamples(len(values))
    # Differences from the least value, so that equal seeds give exactly their value.
    least = min(values)
    means = counts @ (np.array(values, dtype=float) - least) / len(values) + least
    order = np.argsort(means)
    reached = np.cumsum(weights[order])
    low, high = np.searchsorted(reached, (OUTSIDE, 1 - OUTSIDE - 1e-12))
    return float(means[order[low]]), float(means[order[min(high, len(order) - 1)]])


def shown(values: Sequence[float], number: str = "{:.1f}") -> str:
    """Write the mean of the seeds' values and its interval. A single value has no interval.

    Examples
    --------
    >>> shown([90.0, 91.0]), shown([90.0])
    ('90.5 [90.0, 91.0]', '90.0')
    """
    mean = number.format(fmean(values))
    if len(values) < 2:
        return mean
    low, high = (number.format(bound) for bound in interval(values))
    return f"{mean} [{low}, {high}]"


def each(values: Sequence[float], number: str = "{:.1f}") -> str:
    """Write every seed's value.

    Examples
    --------
    >>> each([90.0, 91.0]), each([90.0])
    ('seeds: 90.0, 91.0', 'seed: 90.0')
    """
    kind = "seed" if len(values) == 1 else "seeds"
    return f"{kind}: {', '.join(number.format(value) for value in values)}"


@lru_cache
def _resamples(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return how often each of n values is in each resample, and how likely the resample is."""
    if n > ALL:
        drawn = generator(Stream.BOOTSTRAP, n).multinomial(n, np.full(n, 1 / n), size=DRAWN)
        return drawn, np.full(DRAWN, 1 / DRAWN)
    rows = [np.bincount(own, minlength=n) for own in combinations_with_replacement(range(n), n)]
    ways = [factorial(n) / prod(factorial(int(count)) for count in row) for row in rows]
    return np.array(rows), np.array(ways) / n**n

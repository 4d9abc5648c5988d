"""How much a rule used of each client, by coordinate or by whole updates.

For rules by coordinate, shares are counted on a sample of the coordinates. The sample is drawn in every round
from the operating system's entropy. So no attacker can behave well in those coordinates only.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from flwr_byzantine.kernels import Columns, Reduction

Values = npt.NDArray[np.float64]

SAMPLE = (
    256  # coordinates. Shares then have an error of about 3 %, and cost about 3 % of a round's time
)


class Shares(NamedTuple):
    """How much a rule by coordinate used of n clients.

    Parameters
    ----------
    kept : np.ndarray
        The fraction of the sampled coordinates in which each row's value was averaged, or was equal to an
        averaged value; shape (n,).
    used : np.ndarray
        The part of each row in the result. Rows with the same value share its part. The parts add up to
        1, except for coordinates without a robust value.
    """

    kept: Values
    used: Values


def kept_shares(groups: Sequence[Columns], reduction: Reduction) -> Values:
    """The part ``kept`` of :func:`shares`."""
    sample = _sample(groups)
    kept: Values = _kept(sample, reduction).mean(axis=1) if sample.size else np.ones(len(sample))
    return kept


def shares(groups: Sequence[Columns], reduction: Reduction) -> Shares:
    """How much of each row was used.

    Parameters
    ----------
    groups : Sequence[Columns]
        All columns of n rows, in one group for each dtype.
    reduction : Reduction
        The reduction of the columns.
    """
    sample = _sample(groups)
    if not sample.size:
        n = len(sample)
        return Shares(np.ones(n), np.full(n, 1 / n))
    return Shares(_kept(sample, reduction).mean(axis=1), _used(sample, reduction).mean(axis=1))


def among_copies(groups: Sequence[Columns], weights: Values) -> Values:
    """Weights of whole updates. Equal updates share their weights evenly."""
    sample, result = _sample(groups), weights.copy()
    first: dict[bytes, list[list[int]]] = {}
    for row, values in enumerate(sample):
        alike = first.setdefault(values.tobytes(), [])
        copies = next((rows for rows in alike if _equal(groups, rows[0], row)), None)
        if copies is None:
            alike.append([row])
        else:
            copies.append(row)
    for alike in first.values():
        for rows in alike:
            result[rows] = weights[rows].mean()
    return result


def _equal(groups: Sequence[Columns], one: int, other: int) -> bool:
    return all(
        np.array_equal(rows[one], rows[other], equal_nan=True)
        for columns in groups
        for rows in columns.segments
    )


def _sample(groups: Sequence[Columns]) -> Values:
    """Up to ``SAMPLE`` columns, shape (n, columns): one random column from each stretch."""
    step = max(1, -(-sum(columns.num_columns for columns in groups) // SAMPLE))
    drawn = np.random.default_rng()  # seeded from the operating system's entropy
    return np.concatenate([_one_of_every(columns, step, drawn) for columns in groups], axis=1)


def _one_of_every(columns: Columns, step: int, drawn: np.random.Generator) -> Values:
    """One column of each ``step``, shape (n, columns / step)."""
    offsets = columns.offsets
    starts = np.arange(0, columns.num_columns, step)
    ends = np.minimum(starts + step, columns.num_columns)
    positions = drawn.integers(starts, ends) if len(starts) else starts
    segments = np.searchsorted(offsets, positions, side="right") - 1
    parts = [np.empty((columns.num_rows, 0))]
    for s in np.unique(segments):
        inside = positions[segments == s] - offsets[s]
        parts.append(np.array([row[inside] for row in columns.segments[s]], np.float64))
    return np.concatenate(parts, axis=1)


def _kept(x: Values, reduction: Reduction) -> npt.NDArray[np.bool_]:
    """Which values of each column the reduction averages, shape (n, columns)."""
    n, trim, keep = len(x), reduction.trim, reduction.keep
    kept: npt.NDArray[np.bool_]
    infinite = (~np.isfinite(x)).sum(axis=0)
    x = np.where(np.isnan(x), np.inf, x)
    ordered = np.sort(x, axis=0)
    if keep is None:
        kept = (x >= ordered[trim]) & (x <= ordered[n - trim - 1]) & (infinite <= trim)
        return kept
    distance = _from_center(x, ordered, trim)
    farthest = np.sort(distance, axis=0)[keep - 1]
    kept = (distance <= farthest) & (infinite <= min(trim, n - keep))
    return kept


def _used(x: Values, reduction: Reduction) -> Values:
    """Part of each value in the mean of its column, shape (n, columns); equal values share theirs."""
    n, trim, keep = len(x), reduction.trim, reduction.keep
    infinite = (~np.isfinite(x)).sum(axis=0)
    x = np.where(np.isnan(x), np.inf, x)
    first, last, most = trim, n - trim, trim
    if keep is not None:
        x = _from_center(x, np.sort(x, axis=0), trim)
        first, last, most = 0, keep, min(trim, n - keep)
    order = np.argsort(x, axis=0, kind="stable")
    ordered = np.take_along_axis(x, order, axis=0)
    begins = np.ones(x.shape, bool)
    begins[1:] = ordered[1:] != ordered[:-1]
    groups = np.cumsum(begins.T).reshape(x.shape[::-1]).T - 1  # the columns follow one another
    inside = np.zeros(x.shape)
    inside[first:last] = 1 / (last - first)
    total = np.bincount(groups.ravel(), inside.ravel()) / np.bincount(groups.ravel())
    found = np.empty(x.shape)
    np.put_along_axis(found, order, total[groups], axis=0)
    return np.where(infinite <= most, found, 0.0)


def _from_center(x: Values, ordered: Values, trim: int) -> Values:
    """How far each value is from the trimmed mean of its column."""
    with np.errstate(invalid="ignore", over="ignore"):
        distance: Values = np.abs(x - ordered[trim : len(x) - trim].mean(axis=0))
    return distance

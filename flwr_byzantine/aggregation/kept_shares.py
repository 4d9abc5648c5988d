"""How much of each client a coordinate-wise rule kept, counted on a sample of the coordinates."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from flwr_byzantine.kernels import Columns, Reduction

Values = npt.NDArray[np.float64]

SAMPLE = 256  # coordinates, evenly spaced: shares are known to about 3 %, for 3 % of a round


def kept_shares(groups: Sequence[Columns], reduction: Reduction) -> Values:
    """Fraction of the sampled coordinates in which each row's value was among those averaged.

    Parameters
    ----------
    groups : Sequence[Columns]
        All columns of n rows, in one group for each dtype.
    reduction : Reduction
        What was done with them.

    Returns
    -------
    np.ndarray
        Shape (n,). A value equal to one that was averaged counts as kept. The sample is the same
        for the same shapes: up to ``SAMPLE`` evenly spaced coordinates.
    """
    step = max(1, -(-sum(columns.num_columns for columns in groups) // SAMPLE))
    sample = np.concatenate([_every(columns, step) for columns in groups], axis=1)
    shares: Values = _kept(sample, reduction).mean(axis=1) if sample.size else np.ones(len(sample))
    return shares


def _every(columns: Columns, step: int) -> Values:
    """Every ``step``-th column, shape (n, columns / step)."""
    offsets = columns.offsets
    positions = np.arange(0, columns.num_columns, step)
    segments = np.searchsorted(offsets, positions, side="right") - 1
    parts = [np.empty((columns.num_rows, 0))]
    for s, first in zip(*np.unique(segments, return_index=True), strict=True):
        start = positions[first] - offsets[s]
        parts.append(np.array([row[start::step] for row in columns.segments[s]], np.float64))
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
    with np.errstate(invalid="ignore", over="ignore"):
        distance = np.abs(x - ordered[trim : n - trim].mean(axis=0))
    farthest = np.sort(distance, axis=0)[keep - 1]
    kept = (distance <= farthest) & (infinite <= min(trim, n - keep))
    return kept

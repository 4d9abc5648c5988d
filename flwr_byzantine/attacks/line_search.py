"""A search for the number at which a function is largest. The function may jump."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

SMALLEST = 1e-2
PEAKS = 3
INSIDE = 4  # numbers tried in each gap beside a peak


def largest_at(
    function: Callable[[float], float], most: float, evaluations: int, both_sides: bool
) -> float:
    """Return the best number that was tried, at most ``most`` away from zero.

    Half of the evaluations go to numbers of growing size. The other half go to neighbourhoods of the best of
    them, which shrink from step to step. NaN counts as the smallest value.
    """
    values: dict[float, float] = {}

    def tried(t: float) -> float:
        if t not in values:
            found = function(t)
            values[t] = -np.inf if np.isnan(found) else found
        return values[t]

    per_side = max(3, evaluations // (4 if both_sides else 2))
    near = min(2 * per_side // 3, per_side - 1)
    sizes = [
        *np.geomspace(SMALLEST, 10.0, near),
        *np.geomspace(10.0, most, per_side - near + 1)[1:],
    ]
    sizes = [float(size) for size in sizes if size <= most] or [float(most)]
    grid = [0.0, *sizes, *([-size for size in sizes] if both_sides else [])]
    for t in grid:
        tried(t)
    while len(values) < evaluations:
        before = len(values)
        for t in _peaks(values):
            ordered = sorted(values)
            i = ordered.index(t)
            for a, b in ((ordered[max(i - 1, 0)], t), (t, ordered[min(i + 1, len(ordered) - 1)])):
                for inside in np.linspace(a, b, INSIDE + 2)[1:-1]:
                    if len(values) < evaluations and a < b:
                        tried(float(inside))
        if len(values) == before:
            break
    best = max(values.values())
    return min((t for t in values if values[t] == best), key=lambda t: (abs(t), t < 0))


def _peaks(values: dict[float, float]) -> list[float]:
    """The numbers whose values are at least those of both neighbours. The best one comes first."""
    ordered = sorted(values)
    heights = np.array([-np.inf, *(values[t] for t in ordered), -np.inf])
    inner = heights[1:-1]
    peaks = np.flatnonzero((inner >= heights[:-2]) & (inner >= heights[2:]))
    return [ordered[i] for i in peaks[np.argsort(-inner[peaks], kind="stable")][:PEAKS]]

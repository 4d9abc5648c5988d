"""Checks whether a rule's own length has the same order of magnitude as the updates' lengths."""

import numpy as np

from flwr_byzantine.rules.base import Rule
from flwr_byzantine.rules.centered_clipping import CenteredClipping
from flwr_byzantine.rules.clipping import Clipping
from flwr_byzantine.rules.composition import Composition
from flwr_byzantine.rules.distances import Distances
from flwr_byzantine.rules.geometric_median import GeometricMedian

OFF = 100.0  # a length that differs from the usual length by this factor does not fit


def out_of_scale(rule: Rule, distances: Distances | None) -> str | None:
    """Why a threshold or a smoothing does not fit the updates of a round; None if it fits.

    Parameters
    ----------
    rule : Rule
        The rule of the round. Its first step is checked, or the rule itself if it has no steps.
    distances : Distances or None
        The distances that the rule asks for.

    Examples
    --------
    >>> points = np.array([[1.0], [1.2], [0.9], [0.0]])
    >>> distances = Distances((points - points.T) ** 2, num_rows=3)
    >>> out_of_scale(CenteredClipping(2.0), distances) is None
    True
    >>> print(out_of_scale(CenteredClipping(500.0), distances)[:60])
    `threshold` of CenteredClipping(threshold=500.0, iterations=
    """
    first: object = rule.before[0] if isinstance(rule, Composition) else rule
    if distances is None:
        return None
    if isinstance(first, GeometricMedian):
        told, name, lengths = first.smoothing or 0.0, "smoothing", distances.rows
    elif isinstance(first, Clipping | CenteredClipping):
        origin = len(distances.squared) - 1 if first is rule else distances.n
        told, name, lengths = first.threshold, "threshold", distances.from_point(origin)
    else:
        return None
    lengths = np.sqrt(lengths[np.isfinite(lengths) & (lengths > 0)])
    if not lengths.size:
        return None
    usual = float(np.median(lengths))
    ratio = told / usual
    if ratio > OFF:
        return (
            f"`{name}` of {first} is too large for these updates: their usual length is {usual:.3g}, and an "
            f"attacker's update may be {ratio:.3g} times as long. Pass a smaller `{name}`"
        )
    if ratio < 1 / OFF and name == "threshold":
        return (
            f"`{name}` of {first} is too small for these updates: their usual length is {usual:.3g}, so the "
            f"model moves by at most {ratio:.3g} times that length. Pass a larger `{name}`"
        )
    return None

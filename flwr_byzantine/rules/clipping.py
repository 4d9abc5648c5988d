"""Clipping of long updates before a rule: to a given length, or to a length computed from the updates."""

import math
from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import ClassVar, Self

import numpy as np

from flwr_byzantine.checks import is_number, require
from flwr_byzantine.rules.base import Given, Matrix
from flwr_byzantine.rules.distances import Distances, Vector
from flwr_byzantine.rules.majority import ToldOfMinority
from flwr_byzantine.rules.preaggregation import PreAggregation


def shortened(squared: Vector, threshold: float) -> Vector:
    """The factors that make no vector longer than a threshold: min(1, threshold / length).

    Parameters
    ----------
    squared : np.ndarray
        Squared lengths, shape (n,). A vector that is not finite has length infinity and the factor 0.
    threshold : float
        The longest allowed length. Infinity changes only vectors that are not finite.
    """
    lengths = np.sqrt(squared)
    finite = np.isfinite(lengths)
    longer = finite & (lengths > threshold)
    factors = np.where(finite, 1.0, 0.0)
    factors[longer] = threshold / lengths[longer]
    return factors


def check_threshold(rule: object, threshold: object) -> None:
    """Raise ParameterError unless a threshold is a positive number."""
    holds = is_number(threshold) and not isinstance(threshold, bool) and threshold > 0  # type: ignore[operator]
    advice = "Pass a length of updates, in the unit of the model's values."
    require(holds, "threshold", "a positive number", threshold, advice, owner=type(rule).__name__)
    object.__setattr__(rule, "threshold", float(threshold))  # type: ignore[arg-type]


class _Clipped(PreAggregation):
    """Multiplies each update by a factor."""

    uses_model: ClassVar[bool] = True
    keeps_clients: ClassVar[bool] = True

    @abstractmethod
    def threshold_for(self, lengths: Vector) -> float:
        """The longest allowed length, from the lengths of the updates, shape (n,)."""

    def mixing(self, given: Given) -> Matrix:
        """The factors on the diagonal. The model gets the rest of each row."""
        assert given.distances is not None
        squared = given.distances.squared_norms
        return np.diag(shortened(squared, self.threshold_for(np.sqrt(squared))))

    def mixed(self, distances: Distances, mixing: Matrix) -> Distances:
        """Distances of the shortened updates."""
        return distances.of_scaled(np.diag(mixing))


@dataclass(frozen=True)
class Clipping(_Clipped):
    r"""Updates longer than a length C are shortened to C.

    .. math:: u_i' = u_i \min(1, C / |u_i|)

    An update that is not finite becomes zero. The update of a model is its difference from the
    global model. If you call the rule yourself, pass the global model as `model=`; without it the
    zero vector is taken.

    Parameters
    ----------
    threshold : float
        C, a positive length.

    Raises
    ------
    ValueError
        If ``threshold`` is not positive.

    Examples
    --------
    >>> Clipping(threshold=1.0)([[3.0, 4.0], [0.0, 0.5]])
    array([[0.6, 0.8],
           [0. , 0.5]])
    """

    threshold: float

    def __post_init__(self) -> None:
        """Check the parameter."""
        check_threshold(self, self.threshold)

    def scaled(self, factor: float) -> Self:
        """The same with C times the factor."""
        return replace(self, threshold=self.threshold * factor)

    def threshold_for(self, lengths: Vector) -> float:
        """C."""
        return self.threshold


@dataclass(frozen=True)
class AdaptiveClipping(ToldOfMinority, _Clipped):
    r"""ARC: the k = floor(2 (f / n) (n - f)) longest updates are shortened to the length of the next one.

    An update that is not finite is the longest, and becomes zero.

    Parameters
    ----------
    num_byzantine : int or float
        f, the number of Byzantine updates to survive; a fraction between 0 and 1 is that share of
        the n updates, rounded up. Give the rule behind it the same f.

    Raises
    ------
    ValueError
        If ``num_byzantine`` is neither a whole number >= 0 nor such a fraction. In a call, if n < 2f + 1.

    Examples
    --------
    >>> AdaptiveClipping(1)([[1.0], [2.0], [3.0], [100.0]])
    array([[1.],
           [2.],
           [3.],
           [3.]])

    References
    ----------
    Allouah et al. 2025, Adaptive gradient clipping for robust federated learning, algorithm 2.
    """

    def threshold_for(self, lengths: Vector) -> float:
        """The (k + 1)-th largest length; below the bound, for the largest f that n allows."""
        n = len(lengths)
        f = min(self.tolerated(n), (n - 1) // 2)
        k = math.floor(2 * f * (n - f) / n)
        return float(np.sort(lengths)[n - 1 - k])

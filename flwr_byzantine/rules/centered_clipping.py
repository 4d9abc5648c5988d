"""Centered clipping, which bounds how far each update moves the result of the last round."""

from dataclasses import dataclass, replace
from typing import ClassVar, Self

import numpy as np

from flwr_byzantine.checks import require_whole
from flwr_byzantine.rules.base import Given, Matrix, Rule
from flwr_byzantine.rules.clipping import check_threshold, shortened


@dataclass(frozen=True)
class CenteredClipping(Rule):
    r"""The last result plus the mean of the updates' differences from it, shortened to a length tau.

    .. math:: v \leftarrow v + \frac{1}{n} \sum_{i=1}^{n} (x_i - v) \min(1, \tau / |x_i - v|)

    v is the center. In a strategy the first center v_0 is the model plus the last round's aggregated
    update. The strategy keeps this update in its state and in checkpoints. If you call the rule on bare rows,
    v_0 is `model`, or the zero vector. An update that is not finite does not move the center.

    Parameters
    ----------
    threshold : float
        tau, a positive length. It should be of the order of the honest updates' distance from their mean.
    iterations : int
        How many times the center moves in a round.

    Raises
    ------
    ValueError
        If a parameter is out of range.

    Examples
    --------
    >>> CenteredClipping(threshold=1.0)([[0.5], [0.7], [100.0], [0.6]])
    array([0.7])

    Notes
    -----
    Without an attacker it averages all n updates, the long ones shortened. It fails under long updates,
    if the threshold is far above the honest updates' distances from their mean. It needs f far below n / 2.

    The rule has no f: in an iteration, each update moves the center by at most tau / n.

    References
    ----------
    Karimireddy, He, Jaggi 2021, Learning from history for Byzantine robust optimization, algorithm 2.
    """

    threshold: float = 10.0
    iterations: int = 1

    uses_model: ClassVar[bool] = True
    remembers: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Check the parameters."""
        check_threshold(self, self.threshold)
        advice = "The paper takes 1."
        require_whole("iterations", self.iterations, 1, advice, owner="CenteredClipping")
        object.__setattr__(self, "iterations", int(self.iterations))

    @property
    def uses_distances(self) -> bool:  # type: ignore[override]
        """Whether the center moves more than once. For the first move, lengths are enough."""
        return self.iterations > 1

    @property
    def min_updates(self) -> int:
        """One."""
        return 1

    def tolerated(self, n: int) -> int:
        """The largest f with n >= 2f + 1."""
        return (n - 1) // 2

    def scaled(self, factor: float) -> Self:
        """The same with tau times the factor."""
        return replace(self, threshold=self.threshold * factor)

    def mixing_of(self, given: Given) -> Matrix:
        """One row: each update's share, and the center's."""
        assert given.distances is not None
        n, m, center = given.n, given.num_points, given.num_points - 1
        squared = given.distances.from_point(center)
        products = given.distances.inner_products(center) if self.iterations > 1 else None
        shares = np.zeros(n)  # of the differences x_i - v_0, in v - v_0
        for _ in range(self.iterations):
            lengths = squared
            if products is not None and shares.any():
                towards = products @ shares
                lengths = np.maximum(0.0, squared - 2 * towards + shares @ towards)
            factors = shortened(lengths, self.threshold)
            shares = shares * (1 - factors.mean()) + factors / n
        mixing = np.zeros((1, m))
        mixing[0, :n], mixing[0, center] = shares, 1 - shares.sum()
        return mixing

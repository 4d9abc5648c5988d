"""Plain averaging, the rule that one Byzantine client breaks."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from flwr_byzantine.rules.base import Matrix, Rule


@dataclass(frozen=True)
class Mean(Rule):
    r"""Arithmetic mean of all updates, which one Byzantine client can ruin.

    .. math:: \mathrm{Mean}(u_1, \dots, u_n) = \frac{1}{n} \sum_{i=1}^{n} u_i

    It does not weigh updates by numbers of examples, because clients report these numbers.

    Examples
    --------
    >>> Mean()([[1.0, 2.0], [3.0, 4.0]])
    array([2., 3.])

    Notes
    -----
    Without an attacker it averages all n updates. It fails under a single Byzantine client.

    One client that sends a large enough value moves the average anywhere (Phocas, proposition 1). Use
    it as a baseline, or as the fastest rule if nobody is Byzantine.
    """

    averages: ClassVar[bool] = True

    @property
    def min_updates(self) -> int:
        """One."""
        return 1

    def tolerated(self, n: int) -> int:
        """0, because one Byzantine client can move the mean anywhere."""
        return 0

    def mixing(self, n: int, distances: Matrix | None) -> Matrix:
        """One row of 1/n."""
        return np.full((1, n), 1.0 / n)

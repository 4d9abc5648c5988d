"""Nearest-neighbour mixing, which brings honest updates together whose clients' data differ."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from flwr_byzantine.rules.base import Given, Matrix
from flwr_byzantine.rules.majority import ToldOfMinority
from flwr_byzantine.rules.preaggregation import PreAggregation


@dataclass(frozen=True)
class NearestNeighborMixing(ToldOfMinority, PreAggregation):
    r"""NNM: each update becomes the mean of the n - f updates nearest to it, itself included.

    .. math:: x_i' = \frac{1}{n - f} \sum_{j \in N_i} x_j

    Of two updates as near, the one with the lower index. A rule of single coordinates gives up what it
    survives by coordinate: a value that is not finite reaches every row that its update is mixed into.

    Parameters
    ----------
    num_byzantine : int or float
        f, the number of Byzantine updates to survive; a fraction between 0 and 1 is that share of the n
        updates, rounded up. The rule behind it is told the same f.

    Raises
    ------
    ValueError
        If ``num_byzantine`` is neither a whole number >= 0 nor such a fraction. In a call, if n < 2f + 1.

    Examples
    --------
    >>> NearestNeighborMixing(1)([[0.0], [2.0], [4.0], [100.0]])
    array([[ 2.        ],
           [ 2.        ],
           [ 2.        ],
           [35.33333333]])

    References
    ----------
    Allouah et al. 2023, Fixing by mixing, algorithm 2.
    """

    uses_distances: ClassVar[bool] = True

    def mixing(self, given: Given) -> Matrix:
        """1 / (n - f) on the n - f nearest, in each row."""
        assert given.distances is not None
        kept = self.kept(given.n)
        with_self = given.distances.rows.copy()
        np.fill_diagonal(with_self, -1.0)  # first of equal ones
        nearest = np.argsort(with_self, axis=1, kind="stable")[:, :kept]
        mixing = np.zeros((given.n, given.n))
        np.put_along_axis(mixing, nearest, 1.0 / kept, axis=1)
        return mixing

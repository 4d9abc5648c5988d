"""Nearest-neighbour mixing, which makes the updates of honest clients with different data more alike."""

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

    If two updates are equally near, the one with the lower index is taken. Behind this step, a rule by
    coordinate no longer survives single bad values: a value that is not finite reaches every row into which
    its update is mixed.

    Parameters
    ----------
    num_byzantine : int or float
        f, the number of Byzantine updates to survive. A fraction between 0 and 1 is that share of the n
        updates, rounded up. Give the rule behind it the same f.

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
        """In each row, 1 / (n - f) for the n - f nearest updates."""
        assert given.distances is not None
        kept = self.kept(given.n)
        with_self = given.distances.rows.copy()
        np.fill_diagonal(with_self, -1.0)  # an update is its own nearest neighbour
        nearest = np.argsort(with_self, axis=1, kind="stable")[:, :kept]
        mixing = np.zeros((given.n, given.n))
        np.put_along_axis(mixing, nearest, 1.0 / kept, axis=1)
        return mixing

"""Krum scores among the remaining updates, while one update after the other is taken out."""

import numpy as np
import numpy.typing as npt

from flwr_byzantine.rules.krum import krum_scores

Matrix = npt.NDArray[np.float64]


class Remaining:
    """The remaining updates, at first n. If r remain, each has r - f - 2 neighbours, and at least one.

    The distances of each update are sorted once. One update fewer means one neighbour fewer. So each
    remaining update loses the neighbour that was taken out, or else its farthest neighbour. A distance that
    no longer counts becomes zero, which does not change a sum. So the scores are the sums that sorting again
    would give, and nothing is subtracted.

    Parameters
    ----------
    distances : np.ndarray
        Squared distances, shape (n, n).
    num_byzantine : int
        f.

    Examples
    --------
    >>> x = np.array([0.0, 1.0, 3.0, 9.0])
    >>> remaining = Remaining((x[:, None] - x) ** 2, num_byzantine=1)
    >>> remaining.scores()
    array([ 1.,  1.,  4., 36.])
    >>> remaining.take(0)
    >>> remaining.clients, remaining.scores()
    (array([1, 2, 3]), array([ 4.,  4., 36.]))
    """

    def __init__(self, distances: Matrix, num_byzantine: int) -> None:
        n = len(distances)
        self._distances, self._f = distances, num_byzantine
        self._there = np.ones(n, bool)
        if not self._sorted:
            return
        with_self = distances.copy()
        np.fill_diagonal(with_self, -1.0)  # first in its row
        order = np.argsort(with_self, axis=1, kind="stable")[:, 1:]
        self._order = order.T  # column i: the other updates, those nearest to update i first
        self._place = np.empty((n, n), np.intp)  # [j, i]: where update j is in column i
        np.put_along_axis(self._place, self._order, np.arange(n - 1)[:, None], axis=0)
        self._counted = np.take_along_axis(distances, order, axis=1).T.copy()
        self._counted[n - num_byzantine - 2 :] = 0.0
        self._farthest = np.full(n, n - num_byzantine - 3)  # place of the last neighbour

    @property
    def clients(self) -> npt.NDArray[np.intp]:
        """Indices of the updates that remain."""
        return np.flatnonzero(self._there)

    @property
    def neighbours(self) -> int:
        """How many neighbours' distances a score adds up: r - f - 2, or 1."""
        return max(1, int(self._there.sum()) - self._f - 2)

    @property
    def _sorted(self) -> bool:
        """Whether each update that is taken out leaves the others with one neighbour fewer."""
        return int(self._there.sum()) - self._f - 2 >= 1

    def scores(self) -> npt.NDArray[np.float64]:
        """Krum scores of the updates that remain, shape (r,)."""
        clients = self.clients
        if not self._sorted:
            return krum_scores(self._distances[np.ix_(clients, clients)], 1)
        counted = self._counted[: self._farthest[clients].max() + 1]
        scores: npt.NDArray[np.float64] = counted.sum(axis=0)[clients]
        return scores

    def take(self, client: int) -> None:
        """Take an update out."""
        self._there[client] = False
        if not self._sorted:
            return
        columns = self.clients
        # If the removed update was no neighbour, the farthest neighbour is dropped instead.
        gone = np.minimum(self._place[client, columns], self._farthest[columns])
        self._counted[gone, columns] = 0.0
        columns = columns[gone == self._farthest[columns]]
        while len(columns):  # now the next remaining update is the farthest
            self._farthest[columns] -= 1
            others = self._order[self._farthest[columns], columns]
            columns = columns[~self._there[others]]

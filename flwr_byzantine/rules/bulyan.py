"""Rules that select first and trim afterwards: Bulyan and Multi-Bulyan."""

import math
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
import numpy.typing as npt

from flwr_byzantine.kernels import Reduction
from flwr_byzantine.rules.base import Matrix, Rule
from flwr_byzantine.rules.bounds import check_f, in_numbers, least_updates, lowered
from flwr_byzantine.rules.krum import krum_scores, lowest
from flwr_byzantine.rules.remaining import Remaining


@dataclass(frozen=True)
class Bulyan(Rule):
    r"""Bulyan over Krum: the best update n - 2f times, then the values nearest their median.

    .. math:: \mathrm{Bulyan}_f(u_1, \dots, u_n)_j =
        \frac{1}{\beta} \sum_{i=1}^{\beta} u_{i/\mathrm{Median}(S)_j}, \quad u \in S_j

    where u_{i/y} is the i-th nearest value to y, and S holds the selected updates.

    The rule selects theta = n - 2f updates by calling Krum theta times, each time among the remaining
    r updates with max(1, r - f - 2) neighbours. Then, in each coordinate, it takes the mean of the
    beta = theta - 2f selected values nearest the median of the selected values. If two values are
    equally near, it takes that of the client with the lower index.

    Parameters
    ----------
    num_byzantine : int or float
        f, the number of Byzantine updates to survive. A fraction between 0 and 1 is that share of the n
        updates, rounded up.

    Raises
    ------
    ValueError
        If ``num_byzantine`` is neither a whole number >= 0 nor such a fraction. In a call, if n < 4f + 3.

    Examples
    --------
    >>> Bulyan(num_byzantine=1)([[0.0], [0.1], [0.2], [0.3], [0.4], [0.5], [1e20]])
    array([0.2])

    Notes
    -----
    Without an attacker it averages n - 4f values. It fails under attackers inside the honest spread, more
    slowly than the others.

    It asks for 4f + 3 clients, almost twice as many as the others. With just that many it averages few
    values. An attacker can still hide inside the spread of the honest values, by O(1/√d) in a
    coordinate (Multi-Bulyan, theorem 2).

    References
    ----------
    El Mhamdi, Guerraoui, Rouault 2018, The hidden vulnerability of distributed learning in Byzantium.
    """

    num_byzantine: float

    uses_distances: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Check the parameter."""
        check_f(self, "num_byzantine", self.num_byzantine, self._bound)

    def _bound(self, f: int) -> int:
        return 4 * f + 3

    @property
    def min_updates(self) -> int:
        """4f + 3."""
        return least_updates(self.num_byzantine, self._bound)

    def at(self, received: int) -> Self:
        """The same rule with the number f."""
        return in_numbers(self, "num_byzantine", received)

    def scores(self, n: int, distances: Matrix | None) -> npt.NDArray[np.float64]:
        """Krum scores of the first step, over n - f - 2 neighbours."""
        assert distances is not None
        return krum_scores(distances, max(1, n - self.tolerated(n) - 2))

    def mixing(self, n: int, distances: Matrix | None) -> Matrix:
        """Theta one-hot rows, in the order of the clients. Below the bound there is at least one."""
        assert distances is not None
        f = self.tolerated(n)
        remaining = Remaining(distances, f)
        selected = []
        finite = True
        for _ in range(max(1, n - 2 * f)):
            scores = remaining.scores()
            best = int(np.argmin(scores))
            finite &= bool(np.isfinite(scores[best]))
            selected.append(int(remaining.clients[best]))
            remaining.take(selected[-1])
        rows = np.eye(n)[sorted(selected)]
        return rows if finite else rows * np.nan

    def reduction(self, k: int) -> Reduction:
        """Mean of the beta values nearest the median."""
        return Reduction(trim=(k - 1) // 2, keep=max(1, k - 2 * self.tolerated(k)))

    def without(self, dropped: int) -> Self:
        """The same rule with f - dropped."""
        return lowered(self, "num_byzantine", dropped)


@dataclass(frozen=True)
class MultiBulyan(Bulyan):
    r"""Bulyan over Multi-Krum, with averages of the m best in place of the best.

    .. math:: x_k = \frac{1}{m_k} \sum_{i \in \mathrm{argmin}^{m_k} s} u_i, \quad
        \text{Multi-Bulyan}_f(u_1, \dots, u_n)_j =
        \frac{1}{\beta} \sum_{i=1}^{\beta} x_{i/\mathrm{Median}(x_1, \dots, x_\theta)_j}

    where x_{i/y} is the i-th nearest value to y, and s are the Krum scores among the remaining r.

    With theta = n - 2f - 2: in each of theta steps, among the r remaining updates, average the
    min(m, r - f - 2) with the lowest Krum scores (r - f - 2 neighbours) into one mixed row, and
    remove the single best. Then, in each coordinate, take the mean of the beta = theta - 2f mixed
    values nearest their median. If two values are equally near, take the one of the earlier step.

    Parameters
    ----------
    num_byzantine : int or float
        f, the number of Byzantine updates to survive. A fraction between 0 and 1 is that share of the n
        updates, rounded up.
    num_selected : int or None
        m, 1 <= m <= n - 2f - 2. None is n - 2f - 2.

    Raises
    ------
    ValueError
        If a parameter is out of range. A call raises it if n < 4f + 3 or n < m + 2f + 2.

    Examples
    --------
    >>> MultiBulyan(num_byzantine=0)([[0.0], [1.0], [2.0], [3.0]])
    array([1.75])

    Notes
    -----
    Without an attacker it averages n - 4f - 2 averages of m. It fails under the same attacks as Bulyan; one
    bad value in every client.

    Its rows are averages, so their spread, in which an attacker can hide, is smaller than Bulyan's.

    References
    ----------
    El-Mhamdi, Guerraoui 2019, Fast and secure distributed learning in high dimension, section 4; Damaskinos
    et al. 2019, AggregaThor, for the steps.
    """

    num_selected: int | None = None

    def __post_init__(self) -> None:
        """Check the parameters."""
        if self.num_selected is not None:
            check_f(self, "num_selected", self.num_selected)
        super().__post_init__()

    def _bound(self, f: int) -> int:
        return max(4 * f + 3, (self.num_selected or 0) + 2 * f + 2)

    @property
    def min_updates(self) -> int:
        """4f + 3, or m + 2f + 2 if m is given and this is larger."""
        return super().min_updates

    def mixing(self, n: int, distances: Matrix | None) -> Matrix:
        """Theta rows, each the mean of a Multi-Krum selection. Below the bound there is at least one."""
        assert distances is not None
        f = self.tolerated(n)
        theta = max(1, n - 2 * f - 2)
        m = self.num_selected or theta
        remaining = Remaining(distances, f)
        rows = np.zeros((theta, n))
        for row in rows:
            scores, clients = remaining.scores(), remaining.clients
            best = lowest(scores, min(m, remaining.neighbours))
            finite = np.isfinite(scores[best]).all()
            row[clients[best]] = 1 / len(best) if finite else np.nan
            remaining.take(int(clients[best[0]]))
        return rows

    def relative_rate(self, n: int) -> float:
        """Convergence rate without an attack, as a share of averaging's: sqrt(m/n) (theorem 2)."""
        return math.sqrt((self.num_selected or n - 2 * self.tolerated(n) - 2) / n)

    slowdown = relative_rate  # its earlier name

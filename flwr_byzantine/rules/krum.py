"""Rules that choose whole updates by how near their neighbours are: Krum and Multi-Krum."""

import math
from dataclasses import dataclass, field
from typing import ClassVar, Self

import numpy as np
import numpy.typing as npt

from flwr_byzantine.rules.base import Matrix, Rule
from flwr_byzantine.rules.bounds import check_f, check_theorem, in_numbers, least_updates, lowered


def krum_scores(distances: Matrix, neighbours: int) -> npt.NDArray[np.float64]:
    """Sum of each update's ``neighbours`` smallest squared distances to other updates.

    Parameters
    ----------
    distances : np.ndarray
        Squared distances, shape (n, n).
    neighbours : int
        How many distances to add up; at most n - 1.

    Returns
    -------
    np.ndarray
        Shape (n,).
    """
    others = distances + np.diag(np.full(len(distances), np.inf))
    nearest = np.sort(others, axis=1)[:, : min(neighbours, len(others) - 1)]
    scores: npt.NDArray[np.float64] = nearest.sum(axis=1)
    return scores


def lowest(scores: npt.NDArray[np.float64], m: int) -> npt.NDArray[np.intp]:
    """Indices of the m lowest scores, best first. If scores are equal, the lower index comes first."""
    return np.argsort(scores, kind="stable")[:m]


@dataclass(frozen=True)
class MultiKrum(Rule):
    r"""Mean of the m updates with the lowest Krum scores.

    .. math:: s_i = \sum_{i \to j} \|u_i - u_j\|^2, \qquad
        \text{Multi-Krum} = \frac{1}{m} \sum_{i \in \mathrm{argmin}^m s} u_i

    where i -> j runs over the n - f - 2 updates nearest to u_i, without u_i itself. The mean is
    never weighed by the numbers of examples that clients claim. If even a chosen update's score is
    infinite, more than f updates are not finite, and the result is NaN.

    Parameters
    ----------
    num_byzantine : int or float
        f, the number of Byzantine updates to survive. A fraction between 0 and 1 is that share of the n
        updates, rounded up.
    num_selected : int or None
        m, 1 <= m <= n - f - 2. None is n - f - 2.

    Raises
    ------
    ValueError
        If a parameter is out of range. A call raises it if n < 2f + 3 or n < m + f + 2.

    Examples
    --------
    >>> rule = MultiKrum(num_byzantine=1, num_selected=2)
    >>> rule.weights([[0.0], [0.1], [0.3], [0.9], [1e20]])
    array([0.5, 0.5, 0. , 0. , 0. ])

    Notes
    -----
    Without an attacker it averages m clients. It fails under the same as Krum, less abruptly.

    Attackers within the m best take their share of the average.

    References
    ----------
    Blanchard, El Mhamdi, Guerraoui, Stainer 2017; El-Mhamdi, Guerraoui 2019, Multi-Bulyan, section 2.2 and
    theorem 1.
    """

    num_byzantine: float
    num_selected: int | None = None

    uses_distances: ClassVar[bool] = True
    averages: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Check the parameters."""
        if self.num_selected is not None:
            check_f(self, "num_selected", self.num_selected)
        check_f(self, "num_byzantine", self.num_byzantine, self._bound)

    def _bound(self, f: int) -> int:
        return max(2 * f + 3, (self.num_selected or 0) + f + 2)

    @property
    def min_updates(self) -> int:
        """2f + 3, or m + f + 2 if m is given and this is larger."""
        return least_updates(self.num_byzantine, self._bound)

    def at(self, received: int) -> Self:
        """The same rule with the number f."""
        return in_numbers(self, "num_byzantine", received)

    def neighbours(self, n: int) -> int:
        """n - f - 2, and below the bound at least 1."""
        return max(1, n - self.tolerated(n) - 2)

    def scores(self, n: int, distances: Matrix | None) -> npt.NDArray[np.float64]:
        """Krum scores, over n - f - 2 neighbours."""
        assert distances is not None
        return krum_scores(distances, self.neighbours(n))

    def mixing(self, n: int, distances: Matrix | None) -> Matrix:
        """One row: 1/m on each selected update."""
        scores = self.scores(n, distances)
        selected = lowest(scores, self.num_selected or self.neighbours(n))
        row = np.zeros((1, n))
        row[0, selected] = 1 / len(selected) if np.isfinite(scores[selected]).all() else np.nan
        return row

    def without(self, dropped: int) -> Self:
        """The same rule with f - dropped."""
        return lowered(self, "num_byzantine", dropped)

    def relative_rate(self, n: int) -> float:
        """Convergence rate without an attack, as a share of averaging's: sqrt(m/n).

        Multi-Bulyan, theorem 1.
        """
        return math.sqrt((self.num_selected or n - self.tolerated(n) - 2) / n)

    slowdown = relative_rate  # its earlier name


@dataclass(frozen=True)
class Krum(MultiKrum):
    r"""The update with the lowest Krum score: the one nearest its n - f - 2 neighbours.

    .. math:: \mathrm{Krum}(u_1, \dots, u_n) = u_k, \qquad
        k = \mathrm{argmin}_i \sum_{i \to j} \|u_i - u_j\|^2

    where i -> j runs over the n - f - 2 updates nearest to u_i, without u_i itself.

    Parameters
    ----------
    num_byzantine : int or float
        f, the number of Byzantine updates to survive. A fraction between 0 and 1 is that share of the n
        updates, rounded up.

    Raises
    ------
    ValueError
        If ``num_byzantine`` is neither a whole number >= 0 nor such a fraction. In a call, if n < 2f + 3.

    Examples
    --------
    >>> honest = [[0.0], [0.02], [0.14], [0.26], [0.38], [0.5]]
    >>> Krum(num_byzantine=3)([[-0.1], [-0.1], [-0.1], *honest])
    array([-0.1])

    Notes
    -----
    Without an attacker it averages one client. It fails under IPM of small ε; one bad value in every
    update.

    Attackers that all send the same update are each other's nearest neighbours. If this update is
    close enough to the honest ones, it wins, and the model moves the wrong way. Inner product
    manipulation with a small ε does this: in the paper with 11 of 25 clients for ε = 0.1, 0.5 and
    1, while ε = 10 does no harm (Fall of Empires, theorem 2 and section 6.3). If every client has a
    few bad values, such as bit flips in transit, no whole update is good (Phocas, section 5.1.3).
    Without an attacker the model learns from only one client in each round.

    References
    ----------
    Blanchard, El Mhamdi, Guerraoui, Stainer 2017; Xie, Koyejo, Gupta 2018, Phocas, definition 3; Xie,
    Koyejo, Gupta 2019, Fall of Empires, definition 3.
    """

    num_selected: int = field(default=1, init=False, repr=False)

    averages: ClassVar[bool] = False

    def variance_bound(self, n: int) -> float:
        """Factor D such that E|aggregate - g|^2 <= D V for honest updates of variance V.

        Phocas, lemma 1, after Blanchard et al. 2017, proposition 1. Raises ValueError unless 2f + 2 < n.
        """
        q = self.tolerated(n)
        check_theorem(2 * q + 2 < n, "2f + 2 < n", n=n, f=q)
        return 6 * n - 6 * q + (4 * q * (n - q - 2) + 4 * q**2 * (n - q - 1)) / (n - 2 * q - 2)

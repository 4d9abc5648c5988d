"""Min-Max and Min-Sum: as far from the honest mean as the honest updates are from each other."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

import numpy as np

from ..checks import require_choice
from .base import ColludingAttack, Floats, check_honest, same_row
from .spread import Line, farthest_pair, line
from .tensors import as_array, of_any_kind

DIRECTIONS = ("unit", "sign", "std")
BOUNDS = ("max", "min")
ADVICE = "The paper calls them inverse unit vector, inverse sign and inverse standard deviation."


class OnALine(ColludingAttack):
    """Attackers that move the honest mean along a line as far as a bound on their distances allows."""

    direction: str

    @abstractmethod
    def _distance(self, honest: Floats, known: Line) -> float:
        """How far they move the mean, if the honest updates are finite."""

    def gamma(self, honest: Floats) -> float:
        r"""Return :math:`\gamma` for honest updates, shape (h, d); 0 if the mean itself is sent."""
        honest = check_honest(as_array(honest)[0], 1)
        known = line(honest, self.direction)
        far = self._distance(honest[known.finite], known)
        with np.errstate(over="ignore"):
            gamma = float(np.divide(far, known.length)) if known.length > 0 else 0.0
        return gamma if np.isfinite(gamma) else 0.0

    @of_any_kind
    def __call__(self, honest: Floats, num_attackers: int, rng: np.random.Generator) -> Floats:
        """Return the same row for every attacker. ``rng`` is not used."""
        honest = check_honest(honest, num_attackers)
        known = line(honest, self.direction)
        row = known.at(self._distance(honest[known.finite], known))
        return same_row(row, num_attackers, honest)


@dataclass(frozen=True)
class MinMax(OnALine):
    r"""The honest mean, moved as far away as the largest distance between honest updates allows (Min-Max).

    .. math::

        u = \mu + \gamma p, \qquad
        \gamma = \max \Big\{ \gamma : \max_i |u - u_i|^2 \le \max_{i, j} D_{ij} \Big\}
        = \min_i \frac{-b_i + \sqrt{b_i^2 + |p|^2 (\max D - a_i)}}{|p|^2}

    with :math:`a_i = |u_i - \mu|^2`, :math:`b_i = \langle p, \mu - u_i \rangle`, and D the squared distances
    between honest updates. The attackers know all honest updates, or some of them. They know neither the rule
    nor the number of clients.

    Parameters
    ----------
    direction : {"unit", "sign", "std"}
        The direction p: :math:`-\mu / |\mu|`, which the paper calls the inverse unit vector;
        :math:`-\mathrm{sign}(\mu)`, the inverse sign; or :math:`-\sigma`, the inverse standard deviation. The
        default is that of the authors' functions.

    Raises
    ------
    ValueError
        If a parameter is out of range. For the call, see :class:`flwr_byzantine.attacks.ColludingAttack`.

    Notes
    -----
    :math:`\gamma` is the exact solution. The authors search for it from 10 with steps that halve, so they
    never get beyond 20.

    The mean itself is sent if there is no direction (a mean of zero, no spread), or if there is only one
    honest update or only equal ones. Honest updates that are not finite are left out. If none is left, zeros
    are sent.

    The cost is that of the distances between h updates: :math:`h^2 d / 2`.

    References
    ----------
    Shejwalkar, Houmansadr (2021), "Manipulating the Byzantine: optimizing model poisoning attacks and
    defenses for federated learning", section IV-C.

    Examples
    --------
    >>> import numpy as np
    >>> honest = np.array([[1.0, 0.0], [3.0, 0.0]])
    >>> MinMax().gamma(honest)
    1.0
    >>> MinMax()(honest, 1, np.random.default_rng(0))
    array([[1., 0.]])
    """

    direction: str = DIRECTIONS[0]

    def __post_init__(self) -> None:
        require_choice("direction", self.direction, DIRECTIONS, ADVICE)

    def _distance(self, honest: Floats, known: Line) -> float:
        if len(honest) < 2 or known.length == 0:
            return 0.0
        largest = farthest_pair(honest)
        if not 0 < largest < np.inf:
            return 0.0
        with np.errstate(over="ignore", invalid="ignore"):
            room = np.maximum(largest - known.squared, 0.0)
            b = known.products
            root = np.sqrt(b * b + room)
            far = np.where(b > 0, room / np.where(b > 0, b + root, 1.0), root - b)
        return float(far.min())


@dataclass(frozen=True)
class MinSum(OnALine):
    r"""The honest mean, moved as far away as the largest sum of honest distances allows (Min-Sum).

    .. math::

        u = \mu + \gamma p, \qquad
        \gamma = \max \Big\{ \gamma : \sum_i |u - u_i|^2 \le \max_i \sum_j D_{ij} \Big\}
        = \frac{\max_i |u_i - \mu|}{|p|}

    with D the squared distances between honest updates. Since :math:`\sum_j D_{ij} = \sum_j a_j + h a_i`
    with :math:`a_i = |u_i - \mu|^2`, the largest sum belongs to the update farthest from the mean. The
    attackers know all honest updates, or some of them. They know neither the rule nor the number of clients.

    Parameters
    ----------
    direction : {"unit", "sign", "std"}
        The direction p, as for :class:`flwr_byzantine.attacks.MinMax`.
    bound : {"max", "min"}
        Which honest update's sum is the bound: the largest, as in the paper, or the smallest, as in the
        authors' notebooks. :math:`\gamma` is then :math:`\min_i |u_i - \mu| / |p|`.

    Raises
    ------
    ValueError
        If a parameter is out of range. For the call, see :class:`flwr_byzantine.attacks.ColludingAttack`.

    Notes
    -----
    The mean itself is sent in the same cases as by :class:`flwr_byzantine.attacks.MinMax`. Honest updates
    that are not finite are left out. If none is left, zeros are sent. The cost is :math:`h d`.

    References
    ----------
    Shejwalkar, Houmansadr (2021), "Manipulating the Byzantine: optimizing model poisoning attacks and
    defenses for federated learning", section IV-C.

    Examples
    --------
    >>> import numpy as np
    >>> honest = np.array([[1.0, 0.0], [3.0, 0.0], [8.0, 0.0]])
    >>> MinSum().gamma(honest), MinSum(bound="min").gamma(honest)
    (4.0, 1.0)
    """

    direction: str = DIRECTIONS[0]
    bound: str = BOUNDS[0]

    def __post_init__(self) -> None:
        require_choice("direction", self.direction, DIRECTIONS, ADVICE)
        advice = "The paper takes the largest sum, and the authors' notebooks take the smallest."
        require_choice("bound", self.bound, BOUNDS, advice)

    def _distance(self, honest: Floats, known: Line) -> float:
        if len(honest) < 2 or known.length == 0:
            return 0.0
        squared = known.squared.max() if self.bound == "max" else known.squared.min()
        return float(np.sqrt(squared)) if np.isfinite(squared) else 0.0

"""Attacks that send a multiple of the honest mean, against it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..checks import require_finite
from .base import ColludingAttack, Floats, check_honest, same_row
from .tensors import of_any_kind


@dataclass(frozen=True)
class Omniscient(ColludingAttack):
    r"""The negative sum of the honest updates, times a large factor.

    .. math:: u = -c \sum_{i=1}^{h} u_i

    The attackers know all honest updates.

    Parameters
    ----------
    scale : float
        The factor :math:`c`.

    Raises
    ------
    ValueError
        If a parameter is out of range. For the call, see :class:`flwr_byzantine.attacks.ColludingAttack`.

    References
    ----------
    Xie, Koyejo, Gupta (2018), "Phocas: dimensional Byzantine-resilient stochastic gradient
    descent", section 5.1.2.

    Examples
    --------
    >>> import numpy as np
    >>> honest = np.array([[1.0, -1.0], [2.0, 0.5]])
    >>> Omniscient(scale=10)(honest, 2, np.random.default_rng(0))
    array([[-30.,   5.],
           [-30.,   5.]])
    """

    scale: float = 1e20

    def __post_init__(self) -> None:
        require_finite("scale", self.scale)

    @of_any_kind
    def __call__(self, honest: Floats, num_attackers: int, rng: np.random.Generator) -> Floats:
        """Return the same row for every attacker. ``rng`` is not used."""
        honest = check_honest(honest, num_attackers)
        with np.errstate(over="ignore", invalid="ignore"):
            row = honest.sum(axis=0, dtype=np.float64) * -self.scale
        return same_row(row, num_attackers, honest)


@dataclass(frozen=True)
class InnerProductManipulation(ColludingAttack):
    r"""A negative multiple of the honest mean (IPM).

    .. math:: u = -\frac{\epsilon}{h} \sum_{i=1}^{h} u_i

    The attackers know all honest updates.

    Parameters
    ----------
    epsilon : float
        The factor :math:`\epsilon`. The paper tries 10, 0.1, 0 and -10 on the median, where large factors
        are strong, and 0.1, 0.5, 1 and 10 on Krum, where small factors are strong. The default is the small
        factor in both lists.

    Raises
    ------
    ValueError
        If a parameter is out of range. For the call, see :class:`flwr_byzantine.attacks.ColludingAttack`.

    References
    ----------
    Xie, Koyejo, Gupta (2019), "Fall of empires: breaking Byzantine-tolerant SGD by inner product
    manipulation", sections 6.2 and 6.3.

    Examples
    --------
    >>> import numpy as np
    >>> honest = np.array([[1.0, -1.0], [3.0, 0.0]])
    >>> InnerProductManipulation(epsilon=0.5)(honest, 1, np.random.default_rng(0))
    array([[-1.  ,  0.25]])
    """

    epsilon: float = 0.1

    def __post_init__(self) -> None:
        require_finite("epsilon", self.epsilon)

    @of_any_kind
    def __call__(self, honest: Floats, num_attackers: int, rng: np.random.Generator) -> Floats:
        """Return the same row for every attacker. ``rng`` is not used."""
        honest = check_honest(honest, num_attackers)
        with np.errstate(over="ignore", invalid="ignore"):
            row = honest.mean(axis=0, dtype=np.float64) * -self.epsilon
        return same_row(row, num_attackers, honest)

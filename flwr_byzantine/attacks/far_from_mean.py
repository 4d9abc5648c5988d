"""Attacks that pull the average far from the honest mean."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..checks import require_finite
from .base import ColludingAttack, Floats, check_honest, same_row
from .tensors import of_any_kind


@dataclass(frozen=True)
class OneFarOneMean(ColludingAttack):
    r"""One attacker sends an update far away, and the others send the average that results (OFOM).

    .. math:: u_1 = \mu + c \mathbf{1}, \qquad
              u_2 = \dots = u_f = \frac{1}{h + 1} \left(\sum_{i=1}^{h} u_i^\text{honest}
              + u_1\right)

    with :math:`\mu` the mean of the honest updates. The attackers know all honest updates. A
    rule that looks for the central update selects one of the other attackers, which the first has moved.

    Parameters
    ----------
    distance : float
        The offset :math:`c` of every coordinate, in the unit of the update.

    Raises
    ------
    ValueError
        If a parameter is out of range. For the call, see :class:`flwr_byzantine.attacks.ColludingAttack`.

    Notes
    -----
    The source has two attackers. If there are more, this library lets all except the first send the mean. A
    single attacker is far away.

    References
    ----------
    Chang et al. (2019), "Cronus: robust and heterogeneous collaborative learning with black-box
    knowledge transfer", appendix.

    Examples
    --------
    >>> import numpy as np
    >>> OneFarOneMean(distance=30)(np.array([[1.0], [3.0]]), 2, np.random.default_rng(0))
    array([[32.],
           [12.]])
    """

    distance: float = 100.0

    def __post_init__(self) -> None:
        require_finite("distance", self.distance)

    @of_any_kind
    def __call__(self, honest: Floats, num_attackers: int, rng: np.random.Generator) -> Floats:
        """Return the far row, then mean rows; ``rng`` is not used."""
        honest = check_honest(honest, num_attackers)
        sent = np.empty((num_attackers, honest.shape[1]), dtype=honest.dtype)
        with np.errstate(over="ignore", invalid="ignore"):
            total = honest.sum(axis=0, dtype=np.float64)
            sent[0] = total / len(honest) + self.distance
            sent[1:] = (total + sent[0]) / (len(honest) + 1)
        return sent


@dataclass(frozen=True)
class PutAllFar(ColludingAttack):
    r"""The same update far away, from all attackers (PAF).

    .. math:: u = \mu + c \mathbf{1}

    with :math:`\mu` the mean of the honest updates. The attackers know all honest updates.

    Parameters
    ----------
    distance : float
        The offset :math:`c` of every coordinate, in the unit of the update.

    Raises
    ------
    ValueError
        If a parameter is out of range. For the call, see :class:`flwr_byzantine.attacks.ColludingAttack`.

    References
    ----------
    Chang et al. (2019), "Cronus: robust and heterogeneous collaborative learning with black-box
    knowledge transfer", appendix.

    Examples
    --------
    >>> import numpy as np
    >>> PutAllFar(distance=30)(np.array([[1.0], [3.0]]), 2, np.random.default_rng(0))
    array([[32.],
           [32.]])
    """

    distance: float = 100.0

    def __post_init__(self) -> None:
        require_finite("distance", self.distance)

    @of_any_kind
    def __call__(self, honest: Floats, num_attackers: int, rng: np.random.Generator) -> Floats:
        """Return the same row for every attacker. ``rng`` is not used."""
        honest = check_honest(honest, num_attackers)
        with np.errstate(over="ignore", invalid="ignore"):
            row = honest.mean(axis=0, dtype=np.float64) + self.distance
        return same_row(row, num_attackers, honest)

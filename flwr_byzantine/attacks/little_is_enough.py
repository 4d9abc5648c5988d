"""A Little Is Enough: hide inside the spread of the honest updates."""

from __future__ import annotations

from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Self

import numpy as np

from ..checks import require_finite, require_whole
from .base import ColludingAttack, Floats, check_honest, same_row
from .tensors import of_any_kind


@dataclass(frozen=True)
class LittleIsEnough(ColludingAttack):
    r"""The honest mean, moved by as many standard deviations as go unnoticed (LIE).

    .. math::

        u_j = \mu_j - z \sigma_j, \qquad
        z = \Phi^{-1}\!\left(\frac{n - f - s}{n - f}\right), \qquad
        s = \left\lfloor \frac{n}{2} + 1 \right\rfloor - f

    with :math:`\mu, \sigma` the coordinate-wise mean and standard deviation of the updates the
    attackers know, and :math:`s` the honest clients they need on their side for a majority. They
    know all honest updates, or only those they computed themselves: pass either.

    Parameters
    ----------
    z : float, optional
        The number of standard deviations. By default the formula above.
    num_clients : int, optional
        The number of clients :math:`n`. By default it is the number of known updates plus the number of
        attackers. That is right if the attackers know all honest updates. Attackers that know only each
        other need this number.

    Raises
    ------
    ValueError
        From the call, if the formula needs a quantile outside (0, 1). This happens if the attackers are a
        majority, and with two clients. Give `z` then.

    Notes
    -----
    The standard deviation divides by the number of updates, as in the authors' code.

    References
    ----------
    Baruch, Baruch, Goldberg (2019), "A little is enough: circumventing defenses for distributed
    learning", the attack that prevents convergence.

    Examples
    --------
    >>> import numpy as np
    >>> honest = np.array([[1.0, 0.0], [3.0, 0.0]])
    >>> LittleIsEnough(z=1.5)(honest, 1, np.random.default_rng(0))
    array([[0.5, 0. ]])
    >>> round(LittleIsEnough().deviations(n=50, f=24), 3)
    1.426
    """

    z: float | None = None
    num_clients: int | None = None

    def __post_init__(self) -> None:
        if self.z is not None:
            require_finite("z", self.z)
        if self.num_clients is not None:
            counted = "Count all clients, also the attackers."
            require_whole("num_clients", self.num_clients, 2, counted)

    def told(self, num_clients: int, num_attackers: int) -> Self:
        """Return the attack for a federation of this many clients, if ``num_clients`` was left out."""
        return replace(self, num_clients=num_clients) if self.num_clients is None else self

    def deviations(self, n: int, f: int) -> float:
        """Return :math:`z` for f attackers among n clients."""
        if self.z is not None:
            return float(self.z)
        h = n - f
        needed = n // 2 + 1 - f
        if not 0 < needed < h:
            raise ValueError(
                "Parameter `z` should be given if (n - f - s) / (n - f) is not in (0, 1). "
                f"Found `n = {n}`, `f = {f}`, `s = floor(n/2 + 1) - f = {needed}`. "
                "Pass a number, `z=1.5` for example, or fewer attackers."
            )
        return NormalDist().inv_cdf((h - needed) / h)

    @of_any_kind
    def __call__(self, honest: Floats, num_attackers: int, rng: np.random.Generator) -> Floats:
        """Return the same row for every attacker. ``rng`` is not used."""
        honest = check_honest(honest, num_attackers)
        n = len(honest) + num_attackers if self.num_clients is None else self.num_clients
        z = self.deviations(n, num_attackers)
        with np.errstate(over="ignore", invalid="ignore"):
            mean = honest.mean(axis=0, dtype=np.float64)
            row = mean - z * honest.std(axis=0, dtype=np.float64)
        return same_row(row, num_attackers, honest)

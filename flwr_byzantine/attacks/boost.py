"""Model replacement: an update so long that the average becomes the attacker's."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from ..checks import require, require_finite, require_whole, wrong
from .base import Floats, LocalAttack, check_update
from .tensors import of_any_kind


@dataclass(frozen=True)
class Boost(LocalAttack):
    r"""The client's own update times n / f, so that it becomes the average (model replacement).

    .. math:: u = \gamma \, u_\text{own}, \qquad \gamma = n / f

    The attacker knows its own update, and how many clients are averaged. Use it after training on
    poisoned data: the f attackers together then move the average by what each has trained.

    Parameters
    ----------
    scale : float, optional
        The factor :math:`\gamma`. By default n / f.
    num_clients : int, optional
        The number of clients :math:`n`. The simulation tells it.
    num_attackers : int, optional
        The number :math:`f` of clients that attack together; by default 1, or what the simulation tells.

    Raises
    ------
    ValueError
        If a parameter is out of range. For the call, see :class:`flwr_byzantine.attacks.LocalAttack`.
        It also raises an error if neither ``scale`` nor ``num_clients`` is known.

    Notes
    -----
    The paper has one attacker and the factor n / (server's step size); here that step is 1. FLPoison's
    default is the number 50, for 50 clients.

    References
    ----------
    Bagdasaryan, Veit, Hua, Estrin, Shmatikov (2020), "How to backdoor federated learning", section 4.2.

    Examples
    --------
    >>> import numpy as np
    >>> Boost(num_clients=20, num_attackers=4)(np.array([1.0, -2.0]), np.random.default_rng(0))
    array([  5., -10.])
    """

    scale: float | None = None
    num_clients: int | None = None
    num_attackers: int | None = None

    def __post_init__(self) -> None:
        if self.scale is not None:
            require_finite("scale", self.scale)
        if self.num_clients is not None:
            advice = "Count all clients, also the attackers."
            require_whole("num_clients", self.num_clients, 1, advice)
        if self.num_attackers is not None:
            require_whole("num_attackers", self.num_attackers, 1, "Count this client too.")
            n = self.num_attackers if self.num_clients is None else self.num_clients
            known = self.num_attackers <= n
            advice = "The attackers are clients too."
            require(known, "num_attackers", f"at most {n}", self.num_attackers, advice)

    def told(self, num_clients: int, num_attackers: int) -> Self:
        """Return the attack for a federation of this many clients, with this many attackers."""
        if self.scale is not None:
            return self
        n = num_clients if self.num_clients is None else self.num_clients
        f = num_attackers if self.num_attackers is None else self.num_attackers
        return replace(self, num_clients=n, num_attackers=max(1, min(n, f)))

    @property
    def factor(self) -> float:
        r"""The factor :math:`\gamma`."""
        if self.scale is not None:
            return float(self.scale)
        if self.num_clients is None:
            advice = "Pass `scale`, or `num_clients` and `num_attackers`, which `told` sets."
            raise wrong("scale", "given", None, advice)
        return self.num_clients / (self.num_attackers or 1)

    @of_any_kind
    def __call__(self, own: Floats, rng: np.random.Generator) -> Floats:
        """Return the update times the factor. ``rng`` is not used."""
        with np.errstate(over="ignore", invalid="ignore"):
            return check_update(own) * self.factor

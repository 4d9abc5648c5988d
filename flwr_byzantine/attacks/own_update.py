"""Attacks that need no knowledge of the other clients."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..checks import require, require_finite
from .base import Floats, LocalAttack, check_rng, check_update
from .tensors import of_any_kind


@dataclass(frozen=True)
class Gaussian(LocalAttack):
    r"""Noise in place of the update.

    .. math:: u_j \sim \mathcal{N}(0, s^2), \quad j = 1, \dots, d

    The attacker knows nothing.

    Parameters
    ----------
    std : float
        The standard deviation :math:`s` of every coordinate, in the unit of the update; at least 0.

    Raises
    ------
    ValueError
        If a parameter is out of range. For the call, see :class:`flwr_byzantine.attacks.LocalAttack`.

    References
    ----------
    Xie, Koyejo, Gupta (2018), "Phocas: dimensional Byzantine-resilient stochastic gradient
    descent", section 5.1.1; first in Blanchard et al. (2017), "Machine learning with adversaries:
    Byzantine tolerant gradient descent".

    Examples
    --------
    >>> import numpy as np
    >>> sent = Gaussian(std=200)(np.ones(10_000), np.random.default_rng(0))
    >>> int(sent.std().round(-1))
    200
    """

    std: float = 200.0

    def __post_init__(self) -> None:
        require_finite("std", self.std)
        require(self.std >= 0, "std", "at least 0", self.std, "The paper uses 200.")

    @of_any_kind
    def __call__(self, own: Floats, rng: np.random.Generator) -> Floats:
        """Return noise of the shape and precision of the update."""
        own = check_update(own)
        check_rng(rng)
        with np.errstate(over="ignore"):
            return rng.normal(0.0, self.std, own.shape).astype(own.dtype)


@dataclass(frozen=True)
class SignFlip(LocalAttack):
    r"""The client's own update with the opposite sign.

    .. math:: u = -c \, u_\text{own}

    The attacker knows its own update.

    Parameters
    ----------
    scale : float
        The factor :math:`c`. It is 1 in the ByGARS paper and 4 in RSA. With 100 the attack is also known as
        "reverse".

    Raises
    ------
    ValueError
        If a parameter is out of range. For the call, see :class:`flwr_byzantine.attacks.LocalAttack`.

    References
    ----------
    Regatti, Chen, Gupta (2020), "ByGARS: Byzantine SGD with arbitrary number of attackers",
    section 5; Li et al. (2019), "RSA: Byzantine-robust stochastic aggregation methods".

    Examples
    --------
    >>> import numpy as np
    >>> SignFlip(scale=4)(np.array([1.0, -2.0]), np.random.default_rng(0))
    array([-4.,  8.])
    """

    scale: float = 1.0

    def __post_init__(self) -> None:
        require_finite("scale", self.scale)

    @of_any_kind
    def __call__(self, own: Floats, rng: np.random.Generator) -> Floats:
        """Return the update times ``-scale``. ``rng`` is not used."""
        with np.errstate(over="ignore", invalid="ignore"):
            return check_update(own) * -float(self.scale)


@dataclass(frozen=True)
class RandomSignFlip(LocalAttack):
    r"""The client's own update times one random number a round.

    .. math:: u = r \, u_\text{own}, \quad r \sim \mathcal{N}(m, s^2)

    The attacker knows its own update. One :math:`r` is drawn for the whole update.

    Parameters
    ----------
    mean : float
        The mean :math:`m` of the factor.
    std : float
        The standard deviation :math:`s` of the factor; at least 0.

    Raises
    ------
    ValueError
        If a parameter is out of range. For the call, see :class:`flwr_byzantine.attacks.LocalAttack`.

    Notes
    -----
    The paper asks for "a fixed distribution" and does not name it. N(-2, 1) is the distribution in published
    code for client weighting.

    References
    ----------
    Regatti, Chen, Gupta (2020), "ByGARS: Byzantine SGD with arbitrary number of attackers",
    section 5.

    Examples
    --------
    >>> import numpy as np
    >>> RandomSignFlip(mean=-3, std=0)(np.array([1.0, -2.0]), np.random.default_rng(0))
    array([-3.,  6.])
    """

    mean: float = -2.0
    std: float = 1.0

    def __post_init__(self) -> None:
        require_finite("mean", self.mean)
        require_finite("std", self.std)
        require(self.std >= 0, "std", "at least 0", self.std, "0 fixes the factor at `mean`.")

    @of_any_kind
    def __call__(self, own: Floats, rng: np.random.Generator) -> Floats:
        """Return the update times a factor drawn from ``rng``."""
        check_rng(rng)
        with np.errstate(over="ignore", invalid="ignore"):
            return check_update(own) * float(rng.normal(self.mean, self.std))


@dataclass(frozen=True)
class Constant(LocalAttack):
    r"""The same value on every coordinate.

    .. math:: u_j = c, \quad j = 1, \dots, d

    The attacker knows nothing.

    Parameters
    ----------
    value : float
        The value :math:`c`, in the unit of the update.

    Raises
    ------
    ValueError
        If a parameter is out of range. For the call, see :class:`flwr_byzantine.attacks.LocalAttack`.

    References
    ----------
    Li et al. (2019), "RSA: Byzantine-robust stochastic aggregation methods", the same-value attack.

    Examples
    --------
    >>> import numpy as np
    >>> Constant(value=100)(np.array([1.0, -2.0]), np.random.default_rng(0))
    array([100., 100.])
    """

    value: float = 100.0

    def __post_init__(self) -> None:
        require_finite("value", self.value)

    @of_any_kind
    def __call__(self, own: Floats, rng: np.random.Generator) -> Floats:
        """Return ``value`` in the shape and precision of the update. ``rng`` is not used."""
        own = check_update(own)
        with np.errstate(over="ignore"):
            return np.full_like(own, np.float64(self.value).astype(own.dtype))

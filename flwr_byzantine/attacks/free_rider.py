"""Free riders: clients that take part and never train."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..checks import require, require_finite
from .base import Floats, LocalAttack, check_rng, check_update
from .tensors import of_any_kind


@dataclass(frozen=True)
class FreeRider(LocalAttack):
    r"""The global model itself, or the global model with a little noise.

    .. math:: u_j \sim \mathcal{N}(0, s^2), \quad j = 1, \dots, d

    With the default :math:`s = 0` the update is zero. The attacker knows nothing, and wants the model without
    work. It slows averaging down. A rule that selects it makes no progress at all.

    Parameters
    ----------
    std : float
        The standard deviation :math:`s` of every coordinate, in the unit of the update; at least 0.

    Raises
    ------
    ValueError
        If a parameter is out of range. For the call, see :class:`flwr_byzantine.attacks.LocalAttack`.

    Notes
    -----
    The noise here is absolute: it is the same for every coordinate, whatever the model's weights
    are. In the paper free riders also send random weights, or the difference of the last two global
    models with noise added. This attack does neither, because it remembers no model.

    References
    ----------
    Lin, Du, Liu (2019), "Free-riders in federated learning: attacks and defenses".

    Examples
    --------
    >>> import numpy as np
    >>> FreeRider()(np.array([1.0, -2.0]), np.random.default_rng(0))
    array([0., 0.])
    """

    std: float = 0.0

    def __post_init__(self) -> None:
        require_finite("std", self.std)
        advice = "0 sends the global model back."
        require(self.std >= 0, "std", "at least 0", self.std, advice)

    @of_any_kind
    def __call__(self, own: Floats, rng: np.random.Generator) -> Floats:
        """Return zeros, or noise, of the shape and precision of the update."""
        own = check_update(own)
        if self.std == 0:
            return np.zeros_like(own)
        check_rng(rng)
        with np.errstate(over="ignore"):
            return rng.normal(0.0, self.std, own.shape).astype(own.dtype)

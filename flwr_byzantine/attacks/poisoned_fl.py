"""PoisonedFL: a push in the same direction in every round, from past global models alone."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..checks import require, require_finite, require_whole
from .base import Floats, ModelAttack, Remembering, check_rng, check_update
from .spread import Vector
from .tensors import of_any_kind


@dataclass(frozen=True)
class PoisonedFL(ModelAttack, Remembering):
    r"""Updates with the same random signs in every round, so that their effects add up.

    .. math::

        u^t = c^t \, |g| \, \frac{v}{|v|} \odot s, \qquad
        v_j = \Big| g_j - \frac{|g|}{|u^{t - 1}|} u^{t - 1}_j \Big|, \qquad g = w^t - w^{t - 1}

    with :math:`w^t` the global model of the round, s signs that are drawn once, and :math:`u^{t -
    1}` what was sent in the round before. In coordinates in which the server has taken little of
    it, v is large, so the attack pushes there.

    Every ``period`` rounds the attackers test whether the attack works: whether more coordinates of
    the model have moved in the direction of s than chance allows. If not, :math:`c` is multiplied
    by ``decay``, because it was too conspicuous. The attackers know the global model of each round,
    but no data and no other client.

    Parameters
    ----------
    scale : float
        The first factor :math:`c`; above 0.
    decay : float
        The factor by which c is multiplied when a test fails; in (0, 1].
    smallest : float
        The smallest c.
    period : int
        The number of rounds between two tests; at least 1.
    significance : float
        The level of the test: how often it passes if the attack has no effect. In (0, 1).

    Raises
    ------
    ValueError
        If a parameter is out of range. For the call, see :class:`flwr_byzantine.attacks.ModelAttack`.

    Notes
    -----
    The defaults are those of the authors' code. In the first round there is no past model, so zeros are
    sent. The test counts the coordinates that moved, with the normal approximation of the binomial
    distribution. The authors' code has the bounds of this approximation only for four models. If a coordinate
    did not move, the authors' code counts it by the sign of the model itself. Differences of models that are
    not finite count as zero. If a model has another length than the one before, the attack begins anew, with
    a warning.

    Attackers that share the random numbers of the first round share the signs.

    References
    ----------
    Xie, Fang, Gong (2025), "Model poisoning attacks to federated learning via multi-round consistency".

    Examples
    --------
    >>> import numpy as np
    >>> attack, rng = PoisonedFL(scale=2), np.random.default_rng(0)
    >>> attack(np.zeros(2), rng)
    array([0., 0.])
    >>> np.abs(attack(np.array([3.0, 4.0]), rng))
    array([6., 8.])
    """

    scale: float = 8.0
    decay: float = 0.7
    smallest: float = 0.5
    period: int = 50
    significance: float = 0.01

    def __post_init__(self) -> None:
        for name in ("scale", "decay", "smallest", "significance"):
            require_finite(name, getattr(self, name))
        require(self.scale > 0, "scale", "above 0", self.scale, "The authors use 8.")
        require(0 < self.decay <= 1, "decay", "in (0, 1]", self.decay, "The authors use 0.7.")
        require(self.smallest >= 0, "smallest", "at least 0", self.smallest, "The authors use 0.5.")
        require_whole("period", self.period, 1, "The authors use 50 rounds.")
        within = 0 < self.significance < 1
        advice = "The authors use 0.01."
        require(within, "significance", "in (0, 1)", self.significance, advice)

    @of_any_kind
    def __call__(self, model: Floats, rng: np.random.Generator) -> Floats:
        """Return the update that every attacker sends. ``rng`` draws the signs in the first round."""
        model = check_update(model)
        past = self.memory
        if past:
            self.resized(past["model"].size, model.size)
        if "signs" not in past:
            check_rng(rng)
            signs = rng.integers(2, size=model.size, dtype=np.int8) * np.int8(2) - np.int8(1)
            past.update(rounds=0, factor=float(self.scale), signs=signs, tested=model.copy())
            past.update(model=model.copy(), sent=np.zeros_like(model))
            return np.zeros_like(model)
        past["rounds"] = int(past["rounds"]) + 1
        if past["rounds"] % self.period == 0:
            if not self.works(difference(model, past["tested"]), past["signs"]):
                lowered = past["factor"] * self.decay
                past["factor"] = lowered if lowered >= self.smallest else past["factor"]
            past["tested"] = model.copy()
        moved = difference(model, past["model"])
        with np.errstate(over="ignore", invalid="ignore"):
            sent = self._against(moved, past["sent"].astype(np.float64), past["signs"])
            sent = np.nan_to_num(sent, posinf=0.0, neginf=0.0).astype(model.dtype)
        past.update(model=model.copy(), sent=sent)
        return sent.copy()

    def works(self, moved: Vector, signs: NDArray[Any]) -> bool:
        """Return whether more coordinates moved in the direction of the signs than chance allows."""
        either = np.count_nonzero(moved)
        along = np.count_nonzero(np.sign(moved) == signs)
        bound = either / 2 + NormalDist().inv_cdf(1 - self.significance) * sqrt(either) / 2
        return bool(along >= bound and either > 0)

    def _against(self, moved: Vector, sent: Vector, signs: NDArray[Any]) -> Vector:
        """The update, computed from the model's last move and the last sent update."""
        length, before = np.linalg.norm(moved), np.linalg.norm(sent)
        away = np.abs(moved - (length / before * sent if before > 0 else 0.0))
        spread = np.linalg.norm(away)
        if not spread > 0:
            return np.zeros_like(moved)
        update: Vector = self.memory["factor"] * length * (away / spread) * signs
        return update


def difference(model: Floats, before: Floats) -> Vector:
    """How far a model moved. A difference that is not finite counts as 0."""
    with np.errstate(over="ignore", invalid="ignore"):
        moved = model.astype(np.float64) - before
    return np.nan_to_num(moved, posinf=0.0, neginf=0.0)

"""Mimic: all attackers copy one honest client, which then counts too much."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..checks import require, require_whole
from .base import ColludingAttack, Floats, Remembering, check_honest, check_rng, same_row
from .spread import Vector, finite_rows, mean_of, unit
from .tensors import of_any_kind


@dataclass(frozen=True)
class Mimic(ColludingAttack, Remembering):
    r"""A copy of one honest update, the one farthest out in the direction in which honest updates vary most.

    .. math::

        z \leftarrow \frac{t}{t + 1} z + \frac{1}{t + 1} \frac{w}{|w|}, \qquad
        w = \sum_i \langle u_i - \mu, z \rangle (u_i - \mu), \qquad
        i^* = \arg\max_i \langle z, u_i \rangle

    In each of the first rounds z takes one step of Oja's method towards the direction in which the
    honest updates vary most, with :math:`\mu` the mean of the honest means so far, t = 0, 1, ...,
    and z divided by its length after it. The client that is chosen in the last of these rounds is
    copied from then on. Before that, each round copies the client that it would choose. The
    attackers know all honest updates.

    Parameters
    ----------
    warmup : int
        The number of rounds in which z is learnt; at least 1.
    client : int, optional
        The row of the honest client to copy in all rounds, counted from 0. Then nothing is learnt.

    Raises
    ------
    ValueError
        If a parameter is out of range. For the call, see :class:`flwr_byzantine.attacks.ColludingAttack`.
        It also raises an error if there is no honest client ``client``.

    Notes
    -----
    The steps and the default of one round of warm-up are those of the authors' code. The first z is
    drawn at random, and affects only the first w. A client is a row of the honest updates. If their
    number changes later and this row is missing, the attack copies the row with the largest product
    with z in that round. Updates that are not finite do not change z and are not chosen. If updates
    have another length than before, the attack begins anew, with a warning.

    byzfl and FLPoison learn nothing. They copy a client with a given number, by default the first, as
    ``client=0`` does here.

    References
    ----------
    Karimireddy, He, Jaggi (2022), "Byzantine-robust learning on heterogeneous datasets via bucketing",
    section 3 and appendix.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> honest = np.array([[0.0, 1.0], [0.0, 2.0], [9.0, 0.0], [0.0, 3.0]])
    >>> attack = Mimic()
    >>> attack(honest, 1, rng), attack(honest + 1, 1, rng)
    (array([[9., 0.]]), array([[10.,  1.]]))
    >>> Mimic(client=1)(honest, 1, rng)
    array([[0., 2.]])
    """

    warmup: int = 1
    client: int | None = None

    def __post_init__(self) -> None:
        require_whole("warmup", self.warmup, 1, "The authors use 1 round.")
        if self.client is not None:
            require_whole("client", self.client, 0, "Rows are counted from 0.")

    @of_any_kind
    def __call__(self, honest: Floats, num_attackers: int, rng: np.random.Generator) -> Floats:
        """Return the same row for every attacker. ``rng`` draws the first z."""
        honest = check_honest(honest, num_attackers)
        chosen = self._learnt(honest, rng) if self.client is None else self.client
        expected, advice = (
            f"less than {len(honest)}",
            "It is a row of the known honest updates, counted from 0.",
        )
        require(chosen < len(honest), "client", expected, chosen, advice)
        return same_row(honest[chosen].copy(), num_attackers, honest)

    def _learnt(self, honest: Floats, rng: np.random.Generator) -> int:
        """Choose the row to copy in this round, and change the memory."""
        if self.memory:
            self.resized(self.memory["mean"].size, honest.shape[1])
        t = int(self.memory.get("rounds", 0))
        if t < self.warmup:
            self._learn(honest, t, rng)
            self.memory["rounds"] = t + 1
            self.memory["client"] = foremost(honest, self.memory["direction"])
        client = int(self.memory["client"])
        return client if client < len(honest) else foremost(honest, self.memory["direction"])

    def _learn(self, honest: Floats, t: int, rng: np.random.Generator) -> None:
        """One step of Oja's method."""
        known = honest[finite_rows(honest)]
        if t == 0:
            check_rng(rng)
            self.memory["mean"] = np.zeros(honest.shape[1])
            self.memory["direction"] = unit(np.asarray(rng.standard_normal(honest.shape[1])))[0]
        if not len(known):
            return
        share = 1 / (t + 1)
        mean = (1 - share) * self.memory["mean"] + share * mean_of(known)
        z = self.memory["direction"]
        step: Vector = np.zeros(len(z))
        with np.errstate(over="ignore", invalid="ignore"):
            for row in known:
                apart = row - mean
                step = step + float(apart @ z) * apart
        self.memory["mean"] = mean
        if np.isfinite(step).all() and step.any():
            self.memory["direction"] = unit(t * z + unit(step)[0])[0]


def foremost(honest: Floats, z: Vector) -> int:
    """The finite row with the largest product with z; the first row if none is finite."""
    with np.errstate(over="ignore", invalid="ignore"):
        products = np.array([z @ row.astype(np.float64) for row in honest])
    products[~finite_rows(honest)] = -np.inf
    return int(np.argmax(np.nan_to_num(products, nan=-np.inf, posinf=np.inf, neginf=-np.inf)))

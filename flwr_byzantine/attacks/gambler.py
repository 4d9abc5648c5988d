"""The gambler: a channel to one of several servers that now and then multiplies a value."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..checks import require, require_finite, require_whole
from .base import ChannelAttack, Floats, check_update, stream
from .tensors import of_any_kind

STREAM = 0x6AB
SERVER_STREAM = 0x6AC


@dataclass(frozen=True)
class Gambler(ChannelAttack):
    r"""Every value sent to one server is, with a small probability, multiplied by a huge number.

    .. math:: x_{i,j} \mapsto -c \, x_{i,j} \quad \text{with probability } p,
              \quad j \in \text{server}

    independently for every client, coordinate and round, where the d coordinates are split evenly
    over the servers, in order. The channel knows nothing but the values.

    Parameters
    ----------
    num_servers : int
        The number of servers the parameters are spread over; at least 1.
    probability : float
        The probability :math:`p`, in [0, 1].
    scale : float
        The factor :math:`c`.
    server : int, optional
        The attacked server, counted from 0. By default one drawn from the seed, the same in every
        round.

    Raises
    ------
    ValueError
        If a parameter is out of range. For the call, see :class:`flwr_byzantine.attacks.ChannelAttack`.

    Notes
    -----
    If d is no multiple of the number of servers, the first servers hold one coordinate more.

    References
    ----------
    Xie, Koyejo, Gupta (2018), "Phocas: dimensional Byzantine-resilient stochastic gradient
    descent", section 5.1.4.

    Examples
    --------
    >>> import numpy as np
    >>> channel = Gambler(num_servers=2, probability=1, scale=10, server=1)
    >>> channel(np.array([1.0, 2.0, 3.0]), client=0, num_clients=20, server_round=1)
    array([  1.,   2., -30.])
    """

    num_servers: int = 20
    probability: float = 0.0005
    scale: float = 1e20
    server: int | None = None

    def __post_init__(self) -> None:
        require_whole("num_servers", self.num_servers, 1, "The paper uses 20.")
        require_finite("probability", self.probability)
        paper = "The paper uses 0.0005."
        require(0 <= self.probability <= 1, "probability", "in [0, 1]", self.probability, paper)
        require_finite("scale", self.scale)
        if self.server is not None:
            require_whole("server", self.server, 0, "Leave it out to draw one from the seed.")
            bound = f"less than `num_servers = {self.num_servers}`"
            counted = "Servers are counted from 0."
            require(self.server < self.num_servers, "server", bound, self.server, counted)

    def share(self, num_coordinates: int, seed: int = 0) -> slice:
        """Return which of this many coordinates the attacked server holds."""
        server = self.server
        if server is None:
            server = int(stream(SERVER_STREAM, seed).integers(self.num_servers))
        size, larger = divmod(num_coordinates, self.num_servers)
        start = server * size + min(server, larger)
        return slice(start, start + size + (server < larger))

    @of_any_kind
    def __call__(
        self, values: Floats, client: int, num_clients: int, server_round: int, seed: int = 0
    ) -> Floats:
        """Return the values, some of them multiplied. ``num_clients`` is not used."""
        arrived = check_update(values).copy()
        at_server = arrived[self.share(arrived.size, seed)]
        rng = stream(STREAM, seed, server_round, client)
        unlucky = rng.random(at_server.size) < self.probability
        with np.errstate(over="ignore", invalid="ignore"):
            at_server[unlucky] *= -self.scale
        return arrived

"""Bit flips in single coordinates, which a channel causes even if all clients are honest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..checks import require, require_whole
from .base import ChannelAttack, Floats, check_update, stream
from .tensors import of_any_kind

STREAM = 0xB17


@dataclass(frozen=True)
class BitFlip(ChannelAttack):
    r"""In each of the first coordinates, some bits of one client's value are flipped.

    .. math:: x_{v(j), j} \mapsto x_{v(j), j} \oplus \sum_{b} 2^{b - 1}, \quad
              j = 1, \dots, \min(d, \text{num\_coordinates})

    on the 32 bits of the value as an IEEE 754 float32. The victim :math:`v(j)` is drawn uniformly
    from the n clients for each coordinate and round. The channel knows nothing but the values.

    Parameters
    ----------
    num_coordinates : int
        How many coordinates, from the first, are hit; at least 0.
    bits : tuple of int
        The bits to flip, counted from 1, the least significant, to 32, the sign: 1 to 23 are the
        fraction and 24 to 31 the exponent.

    Raises
    ------
    ValueError
        If a parameter is out of range. For the call, see :class:`flwr_byzantine.attacks.ChannelAttack`.

    Notes
    -----
    Values of other precisions are flipped in the float32 they round to, and converted back: the
    paper's bits are those of a float32. Coordinates that are not hit keep all their bits.

    References
    ----------
    Xie, Koyejo, Gupta (2018), "Phocas: dimensional Byzantine-resilient stochastic gradient
    descent", section 5.1.3.

    Examples
    --------
    >>> import numpy as np
    >>> BitFlip(bits=(32,))(np.array([1.5, -2.0]), client=0, num_clients=1, server_round=1)
    array([-1.5,  2. ])
    """

    num_coordinates: int = 1000
    bits: tuple[int, ...] = (22, 30, 31, 32)

    def __post_init__(self) -> None:
        require_whole("num_coordinates", self.num_coordinates, 0, "The paper uses 1000.")
        bits = self.bits
        require(
            isinstance(bits, tuple)
            and len(set(bits)) == len(bits)
            and all(isinstance(bit, int) and 1 <= bit <= 32 for bit in bits),
            "bits",
            "a tuple of different whole numbers from 1 to 32",
            bits,
            "1 is the least significant bit of a float32, 32 its sign; the paper uses "
            "(22, 30, 31, 32).",
        )

    def victims(self, num_clients: int, server_round: int, seed: int = 0) -> NDArray[np.int64]:
        """Return the client that is hit, for each of the first ``num_coordinates``."""
        rng = stream(STREAM, seed, server_round)
        return rng.integers(num_clients, size=self.num_coordinates, dtype=np.int64)

    @of_any_kind
    def __call__(
        self, values: Floats, client: int, num_clients: int, server_round: int, seed: int = 0
    ) -> Floats:
        """Return the values with the bits of this client's share of the coordinates flipped."""
        arrived = check_update(values).copy()
        victims = self.victims(num_clients, server_round, seed)[: arrived.size]
        hit = np.flatnonzero(victims == client)
        arrived[hit] = flip_bits(arrived[hit], self.bits)
        return arrived


def flip_bits(values: NDArray[Any], bits: tuple[int, ...]) -> Floats:
    """Return the values with these bits of their float32 flipped, in their own precision."""
    mask = np.uint32(sum(1 << (bit - 1) for bit in bits))
    with np.errstate(over="ignore", invalid="ignore"):
        flipped = (values.astype(np.float32).view(np.uint32) ^ mask).view(np.float32)
        return flipped.astype(values.dtype)

"""Step sizes that depend on the round."""

from dataclasses import dataclass

from flwr_byzantine.checks import is_number, require

_OTHERS = "For any other schedule, pass a function of the round."


@dataclass(frozen=True)
class PowerDecay:
    r"""A step size that decays with a power of the round.

    .. math:: s_t = s_1 \left(1 + \frac{t - 1}{\mathrm{offset}}\right)^{-\mathrm{power}}

    Parameters
    ----------
    initial : float
        :math:`s_1`, the value in round 1, which is positive.
    power : float
        A number above 0.5 and at most 1. Then the sum of the values is infinite, and the sum of their
        squares is finite.
    offset : float
        After this positive number of rounds, the value is 2^-power times the initial one.

    Raises
    ------
    ValueError
        If a parameter is out of range.

    Notes
    -----
    Two schedules meet theorem 2 if the model's has a larger power than the reputations'. Then
    gamma_t / alpha_t tends to 0.

    References
    ----------
    Regatti, Chen, Gupta 2020, ByGARS, theorem 2.

    Examples
    --------
    >>> PowerDecay(0.1, power=1.0, offset=10.0)(11)
    0.05
    """

    initial: float
    power: float = 1.0
    offset: float = 1.0

    def __post_init__(self) -> None:
        """Check the ranges."""
        for name, value in (("initial", self.initial), ("offset", self.offset)):
            holds = is_number(value) and not isinstance(value, bool) and value > 0
            require(holds, name, "a positive number", value, _OTHERS, owner="PowerDecay")
        holds = is_number(self.power) and 0.5 < self.power <= 1
        bound = "a number above 0.5 and at most 1, as theorem 2 asks"
        require(holds, "power", bound, self.power, _OTHERS, owner="PowerDecay")

    def __call__(self, server_round: int) -> float:
        """The value in a round. The first round is 1."""
        return float(self.initial * (1 + (server_round - 1) / self.offset) ** -self.power)

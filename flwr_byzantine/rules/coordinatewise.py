"""Rules that work coordinate by coordinate: median, trimmed mean, Phocas, mean around the median."""

from dataclasses import dataclass
from typing import Self

from flwr_byzantine.checks import is_number, require
from flwr_byzantine.kernels import Reduction
from flwr_byzantine.rules.base import Rule
from flwr_byzantine.rules.bounds import (
    check_f,
    check_theorem,
    in_numbers,
    least_updates,
    lowered,
    number_of,
)
from flwr_byzantine.rules.majority import MajorityRule


def _at_both_ends(b: int) -> int:
    return 2 * b + 1


@dataclass(frozen=True)
class Median(Rule):
    r"""Coordinate-wise median; for even n the mean of the two middle values.

    .. math:: \mathrm{Median}(u_1, \dots, u_n)_j = \mathrm{median}\{(u_i)_j : i \in [n]\}

    It tolerates f Byzantine values in a coordinate if n >= 2f + 1.

    Examples
    --------
    >>> Median()([[-0.1], [0.1], [0.3], [-4.0], [-2.0]])
    array([-0.1])

    Notes
    -----
    Without an attacker it averages one or two values of n. It fails under IPM of large ε.

    Byzantine values on one side of all honest ones move the median to the edge of the honest
    values. If the gradient is small against its spread, that edge has the wrong sign. Inner product
    manipulation with a large ε does this, with 12 of 25 clients in the paper (Fall of Empires,
    theorem 1 and section 6.2). Even with ε = 0 training stops. The median also loses the
    correlation between coordinates.

    References
    ----------
    Yin, Chen, Ramchandran, Bartlett 2018; Xie, Koyejo, Gupta 2019, Fall of Empires, definition 2.
    """

    @property
    def min_updates(self) -> int:
        """One."""
        return 1

    def tolerated(self, n: int) -> int:
        """The largest f with n >= 2f + 1."""
        return (n - 1) // 2

    def reduction(self, k: int) -> Reduction:
        """Trim all but the one or two middle values."""
        return Reduction(trim=(k - 1) // 2)


@dataclass(frozen=True)
class TrimmedMean(Rule):
    r"""Coordinate-wise mean without the b smallest and the b largest values.

    .. math:: \mathrm{Trmean}_b(u_1, \dots, u_n) = \frac{1}{n - 2b} \sum_{k=b+1}^{n-b} u_{k:n}

    where :math:`u_{k:n}` is the k-th smallest value of the coordinate.

    Parameters
    ----------
    trim : int or float
        b, the number of values left out at each end, 0 <= b <= ceil(n/2) - 1. A fraction between 0 and 1 is
        that share of the n values, rounded up.

    Raises
    ------
    ValueError
        If ``trim`` is neither a whole number >= 0 nor such a fraction. In a call, if n < 2b + 1.

    Examples
    --------
    >>> TrimmedMean(trim=1)([[1.0], [2.0], [3.0], [1e20]])
    array([2.5])

    Notes
    -----
    Without an attacker it averages n - 2b values. It fails under the omniscient attack, which slows
    training down.

    If all b attackers are on one side, b honest values on the other side are trimmed. So the result
    is biased towards the attackers by a part of the honest spread. The omniscient attack does this
    in every coordinate at once: the variance grows and training slows down (Phocas, section 5.1.2
    and its figure 7). Training still converges there. More than b Byzantine values in one
    coordinate break the rule.

    References
    ----------
    Xie, Koyejo, Gupta 2018, Phocas, definition 7.
    """

    trim: float

    def __post_init__(self) -> None:
        """Check the parameter."""
        check_f(self, "trim", self.trim, _at_both_ends)

    @property
    def min_updates(self) -> int:
        """2b + 1."""
        return least_updates(self.trim, _at_both_ends)

    def at(self, received: int) -> Self:
        """The same rule with the number b."""
        return in_numbers(self, "trim", received)

    def tolerated(self, n: int) -> int:
        """The number b."""
        return number_of(self.trim, n)

    def reduction(self, k: int) -> Reduction:
        """Trim b values at each end. If there are too few, trim all but the middle values."""
        return Reduction(trim=min(number_of(self.trim, k), (k - 1) // 2))

    def without(self, dropped: int) -> Self:
        """The same rule with b - dropped."""
        return lowered(self, "trim", dropped)

    def variance_bound(self, n: int, num_byzantine: int) -> float:
        """Factor D such that E|aggregate - g|^2 <= D V for honest updates of variance V (theorem 1).

        Parameters
        ----------
        n, num_byzantine : int
            The number of updates, and q, the number of Byzantine values in each coordinate.

        Raises
        ------
        ValueError
            Unless q <= b, which the proof uses without saying so, and 2b < n.
        """
        b, q = self.tolerated(n), num_byzantine
        check_theorem(0 <= q <= b and 2 * b < n, "q <= b and 2b < n", n=n, b=b, q=q)
        return 2 * (b + 1) * (n - q) / (n - b - q) ** 2


@dataclass(frozen=True)
class FlooredTrimmedMean(Rule):
    """Trimmed mean that leaves out a share of the values at each end, rounded down as Flower does.

    With fewer than 1 / beta updates it leaves out none, so it tolerates no Byzantine client.

    Parameters
    ----------
    beta : float
        The share, 0 <= beta < 0.5.

    Raises
    ------
    ValueError
        If ``beta`` is out of range.

    Examples
    --------
    >>> FlooredTrimmedMean(beta=0.25)([[1.0], [2.0], [3.0], [1e20]])
    array([2.5])
    """

    beta: float = 0.2

    def __post_init__(self) -> None:
        """Check the parameter."""
        holds = is_number(self.beta) and not isinstance(self.beta, bool) and 0 <= self.beta < 0.5
        advice = "Pass the share to leave out at each end, such as 0.2."
        require(holds, "beta", "at least 0 and below 0.5", self.beta, advice)

    @property
    def min_updates(self) -> int:
        """One."""
        return 1

    def at(self, received: int) -> TrimmedMean:
        """The trimmed mean with the number b."""
        return TrimmedMean(int(self.beta * received))

    def tolerated(self, n: int) -> int:
        """The number b."""
        return int(self.beta * n)


@dataclass(frozen=True)
class Phocas(TrimmedMean):
    r"""Coordinate-wise mean of the n - b values nearest the b-trimmed mean.

    .. math:: \mathrm{Phocas}_b(u_1, \dots, u_n) = \frac{1}{n - b} \sum_{i=1}^{n-b} u_{i/\mathrm{Trmean}_b}

    where :math:`u_{i/y}` is the i-th nearest value to y. If two values are equally near, the earlier row's
    counts as nearer.

    Parameters
    ----------
    trim : int or float
        b, the number of Byzantine values tolerated in a coordinate, 0 <= b <= ceil(n/2) - 1. A fraction
        between 0 and 1 is that share of the n values, rounded up.

    Raises
    ------
    ValueError
        If ``trim`` is neither a whole number >= 0 nor such a fraction. In a call, if n < 2b + 1.

    Examples
    --------
    >>> Phocas(trim=1)([[1.0], [2.0], [3.0], [1e20]])
    array([2.])

    Notes
    -----
    Without an attacker it averages n - b values. It fails under more than b bad values in one coordinate.

    Of the rules by coordinate, it is harmed least by the omniscient attack. The honest values that the
    trimmed mean leaves out are near it, so they are in the result again.

    References
    ----------
    Xie, Koyejo, Gupta 2018, Phocas, definition 8.
    """

    def reduction(self, k: int) -> Reduction:
        """Keep the n - b values nearest the trimmed mean."""
        trim = super().reduction(k).trim
        return Reduction(trim=trim, keep=k - trim)

    def variance_bound(self, n: int, num_byzantine: int) -> float:
        """The same as :meth:`TrimmedMean.variance_bound`, for Phocas (theorem 2)."""
        return 4 + 6 * super().variance_bound(n, num_byzantine)


@dataclass(frozen=True)
class MeaMed(MajorityRule):
    r"""Coordinate-wise mean of the n - f values nearest the median.

    .. math:: \mathrm{MeaMed}_f(u_1, \dots, u_n) = \frac{1}{n - f} \sum_{i=1}^{n-f} u_{i/\mathrm{Median}}

    where :math:`u_{i/y}` is the i-th nearest value to y, and the median of even n is the mean of the two
    middle values. If two values are equally near, the earlier row's counts as nearer.

    Parameters
    ----------
    num_byzantine : int or float
        f, the number of Byzantine values to survive in a coordinate, n >= 2f + 1. A fraction between 0 and
        1 is that share of the n values, rounded up.

    Raises
    ------
    ValueError
        If ``num_byzantine`` is neither a whole number >= 0 nor such a fraction. In a call, if n < 2f + 1.

    Examples
    --------
    >>> MeaMed(num_byzantine=1)([[1.0], [2.0], [6.0], [1e20]])
    array([3.])

    Notes
    -----
    Without an attacker it averages n - f values. It fails under more than f bad values in one coordinate.

    Attackers on one side move its center, the median, to the edge of the honest values. The average
    of the n - f values nearest to the center lies nearer to the middle of the honest values.

    References
    ----------
    Xie, Koyejo, Gupta 2018, Generalized Byzantine-tolerant SGD (mean around the median).
    """

    def reduction(self, k: int) -> Reduction:
        """Keep the n - f values nearest the median."""
        return Reduction(trim=(k - 1) // 2, keep=self.kept(k))

"""f for a sample of nodes: how many nodes of a round are Byzantine, if the population is known."""

import math
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from flwr_byzantine.checks import is_number, require, require_whole

NEGLIGIBLE = 40  # terms that are left out are less than exp(-40) of the result
TINIEST = -700  # the logarithm of a number just above the smallest floats
TIE = 1e-9  # a probability that exceeds the risk by a smaller relative error counts as equal to it


def assumed_byzantine(
    population: int, byzantine: int, sample: int, rounds: int, risk: float = 1e-3
) -> int:
    r"""The smallest f for which, except with a given risk, no round has more than f Byzantine nodes.

    Each round asks a sample of the nodes. It is drawn uniformly, without replacement and independently of
    the other rounds, as Flower's strategies do. So the number X of Byzantine nodes in a sample is
    hypergeometric, and f is the smallest number with

    .. math:: 1 - (1 - P(X > f))^R \le risk,
              \quad P(X > f) = \sum_{k > f} \binom{B}{k} \binom{N - B}{n - k} / \binom{N}{n}.

    This is the exact probability for R independent rounds, not a union bound. Sums of logarithms
    give it with a relative error below 1e-9. A probability that differs from the risk by no more
    than this error counts as equal to it.

    Parameters
    ----------
    population : int
        N, the number of nodes that a round may ask.
    byzantine : int
        B, how many of them are Byzantine.
    sample : int
        n, how many nodes each round asks.
    rounds : int
        R, the number of rounds.
    risk : float (default: 1e-3)
        The accepted probability, above 0 and below 1, that some round has more than f Byzantine nodes.

    Returns
    -------
    int
        f, from 0 to the smaller one of B and n. With n = N it is B.

    Raises
    ------
    ParameterError
        If a number is not whole, if the sample or B is larger than the population, or if the risk
        is not between 0 and 1.

    Examples
    --------
    >>> assumed_byzantine(population=100, byzantine=10, sample=20, rounds=200, risk=1e-3)
    8

    With 3 of 10 nodes Byzantine, 7 of the 210 samples of four have all three: over two rounds the risk is
    1 - (29/30)^2, which is 0.066.

    >>> assumed_byzantine(10, 3, 4, rounds=2, risk=0.1), assumed_byzantine(10, 3, 4, 2, risk=0.05)
    (2, 3)

    References
    ----------
    Hoeffding 1963, Probability inequalities for sums of bounded random variables, section 6. Its bound, which
    also holds for samples without replacement, says which terms far from the mean can be left out.
    """
    population, byzantine, sample, rounds = _checked(population, byzantine, sample, rounds)
    holds = is_number(risk) and not isinstance(risk, bool) and 0 < risk < 1
    require(holds, "risk", "a number above 0 and below 1", risk, "Write it as 0.001 or 1e-3.")
    return _assumed(population, byzantine, sample, rounds, float(risk))


def risk_of(population: int, byzantine: int, sample: int, rounds: int, f: int) -> float:
    """The probability that in at least one round the sample has more than f Byzantine nodes.

    Parameters
    ----------
    population, byzantine, sample, rounds : int
        See :func:`assumed_byzantine`.
    f : int
        The assumed number of Byzantine nodes.

    Examples
    --------
    >>> round(risk_of(10, 3, 4, rounds=2, f=2) * 900, 6)  # 1 - (29 / 30) ** 2
    59.0
    """
    population, byzantine, sample, rounds = _checked(population, byzantine, sample, rounds)
    require_whole("f", f, 0, "Pass the number of Byzantine nodes that you assume.")
    least, most = _support(population, byzantine, sample)
    if f < least:
        return 1.0
    if f >= most:
        return 0.0
    mean = sample * byzantine / population
    reach = abs(f + 1 - mean) + math.sqrt(sample / 2 * (NEGLIGIBLE + 1))
    low, tails = _log_tails(population, byzantine, sample, reach)
    more = min(0.0, float(tails[f + 1 - low]))
    return 1.0 if more == 0 else -math.expm1(rounds * math.log1p(-math.exp(more)))


@lru_cache(maxsize=4096)
def _assumed(population: int, byzantine: int, sample: int, rounds: int, risk: float) -> int:
    """Like :func:`assumed_byzantine`, for numbers that were checked before."""
    rate = math.log(-math.log1p(-risk)) - math.log(rounds)  # (1 - P)^R is exp(-R exp(rate))
    allowed = rate if rate < -NEGLIGIBLE else math.log(-math.expm1(-math.exp(rate)))  # of P(X > f)
    least, most = _support(population, byzantine, sample)
    reach = math.sqrt(sample / 2 * (NEGLIGIBLE + max(NEGLIGIBLE, -allowed)))
    low, tails = _log_tails(population, byzantine, sample, reach)
    found = np.flatnonzero(tails <= allowed + TIE)  # P(X > low - 1) is the first one
    f = low - 1 + int(found[0]) if len(found) else low - 1 + len(tails)
    return min(most, max(least, f))


def _log_tails(
    population: int, byzantine: int, sample: int, reach: float
) -> tuple[int, npt.NDArray[np.float64]]:
    """The smallest k that matters, and ln P(X >= k) from it on, as far from the mean as necessary."""
    least, most = _support(population, byzantine, sample)
    mean = sample * byzantine / population
    low, high = max(least, math.floor(mean - reach)), min(most, math.ceil(mean + reach))
    k = np.arange(low, high, dtype=np.float64)
    honest = float(population - byzantine - sample)
    ratios = (byzantine - k) * (sample - k) / ((k + 1) * (honest + k + 1))
    weights = np.concatenate([[0.0], np.cumsum(np.log(ratios))])
    weights -= weights.max()
    tails: npt.NDArray[np.float64]
    if weights.min() > TINIEST:
        tails = np.log(np.cumsum(np.exp(weights[::-1])))[::-1]
    else:  # several times slower
        tails = np.logaddexp.accumulate(weights[::-1])[::-1]
    return low, tails - tails[0]


def _support(population: int, byzantine: int, sample: int) -> tuple[int, int]:
    """The least and the largest number of Byzantine nodes in a sample."""
    return max(0, sample + byzantine - population), min(sample, byzantine)


def _checked(population: Any, byzantine: Any, sample: Any, rounds: Any) -> tuple[int, ...]:
    """Turn the arguments into Python numbers. Raise ParameterError for impossible numbers."""
    require_whole("population", population, 1, "Pass the number of nodes that a round may ask.")
    require_whole("byzantine", byzantine, 0, "Pass how many nodes of the population are Byzantine.")
    require_whole("sample", sample, 1, "Pass how many nodes a round asks.")
    require_whole("rounds", rounds, 1, "Pass how many rounds there are.")
    nodes = f"at most {population}, the size of the population"
    require(byzantine <= population, "byzantine", nodes, byzantine, "Pass a smaller number.")
    require(sample <= population, "sample", nodes, sample, "Pass a smaller number.")
    return int(population), int(byzantine), int(sample), int(rounds)

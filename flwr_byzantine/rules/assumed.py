"""f of a sample of nodes: how many of those that a round asks are Byzantine, where a population is known."""

import math
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from flwr_byzantine.checks import is_number, require, require_whole

NEGLIGIBLE = 40  # what is left out is less than exp(-40) of what is looked for
TINIEST = -700  # the logarithm of what is just above the smallest numbers
TIE = 1e-9  # relative: how far above the risk a probability counts as equal to it


def assumed_byzantine(
    population: int, byzantine: int, sample: int, rounds: int, risk: float = 1e-3
) -> int:
    r"""f to assume so that, except with a given risk, no round's sample has more Byzantine nodes.

    Each round asks a sample of the nodes, drawn uniformly, without replacement and independently of the
    other rounds, as Flower's strategies do. So the number X of Byzantine nodes in a sample is
    hypergeometric, and f is the smallest number with

    .. math:: 1 - (1 - P(X > f))^R \le risk,
              \quad P(X > f) = \sum_{k > f} \binom{B}{k} \binom{N - B}{n - k} / \binom{N}{n}.

    This is the exact probability for R independent rounds, not a union bound. Sums of logarithms
    give it with a relative error below 1e-9. A probability that differs from the risk by no more
    than this error counts as equal to it.

    Parameters
    ----------
    population : int
        N, the nodes that a round may ask.
    byzantine : int
        B, how many of them are Byzantine.
    sample : int
        n, how many each round asks.
    rounds : int
        R.
    risk : float (default: 1e-3)
        The accepted probability, above 0 and below 1, that some round has more than f.

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
    Hoeffding 1963, Probability inequalities for sums of bounded random variables, section 6: samples without
    replacement keep the bound with which what lies far from the mean is left out.
    """
    population, byzantine, sample, rounds = _checked(population, byzantine, sample, rounds)
    holds = is_number(risk) and not isinstance(risk, bool) and 0 < risk < 1
    require(holds, "risk", "a number above 0 and below 1", risk, "Write it as 0.001 or 1e-3.")
    return _assumed(population, byzantine, sample, rounds, float(risk))


def risk_of(population: int, byzantine: int, sample: int, rounds: int, f: int) -> float:
    """Probability that in any of the rounds a sample has more than f Byzantine nodes.

    Parameters
    ----------
    population, byzantine, sample, rounds : int
        As for :func:`assumed_byzantine`.
    f : int
        What is assumed.

    Examples
    --------
    >>> round(risk_of(10, 3, 4, rounds=2, f=2) * 900, 6)  # 1 - (29 / 30) ** 2
    59.0
    """
    population, byzantine, sample, rounds = _checked(population, byzantine, sample, rounds)
    require_whole("f", f, 0, "Pass the number of Byzantine nodes that is assumed.")
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
    """As :func:`assumed_byzantine`, of numbers that were checked."""
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
    """The smallest k that is looked at, and ln P(X >= k) from it on, as far from the mean as is asked."""
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
    """How many Byzantine nodes a sample has at least, and at most."""
    return max(0, sample + byzantine - population), min(sample, byzantine)


def _checked(population: Any, byzantine: Any, sample: Any, rounds: Any) -> tuple[int, ...]:
    """Python's own numbers; ParameterError for impossible ones."""
    require_whole("population", population, 1, "Pass the number of nodes that a round may ask.")
    require_whole("byzantine", byzantine, 0, "Pass how many nodes of the population are Byzantine.")
    require_whole("sample", sample, 1, "Pass how many nodes a round asks.")
    require_whole("rounds", rounds, 1, "Pass how many rounds there are.")
    nodes = f"at most {population}, the size of the population"
    require(byzantine <= population, "byzantine", nodes, byzantine, "There are no more nodes.")
    require(sample <= population, "sample", nodes, sample, "There are no more nodes to ask.")
    return int(population), int(byzantine), int(sample), int(rounds)

"""Bucketing, which averages updates in random groups before a rule."""

import secrets
from dataclasses import dataclass, replace
from typing import ClassVar, Self

import numpy as np

from flwr_byzantine.checks import require_whole
from flwr_byzantine.rules.base import Given, Matrix
from flwr_byzantine.rules.preaggregation import PreAggregation

SEED_BITS = 53  # JSON and every metric can hold a seed of this size exactly


def fresh_seed() -> int:
    """A seed from the operating system's entropy, which nobody can foresee."""
    return secrets.randbits(SEED_BITS)


@dataclass(frozen=True)
class Bucketing(PreAggregation):
    r"""Means of random buckets of s updates: ceil(n / s) rows, of which at most f hold a Byzantine update.

    .. math:: x_k' = \frac{1}{|B_k|} \sum_{i \in B_k} x_{\pi(i)}

    The permutation is drawn anew in each round, so that colluders cannot know who shares a bucket.

    Parameters
    ----------
    bucket_size : int
        s, at least 1. The last bucket holds what is left.
    seed : int or None
        None draws one from the operating system's entropy. A seed gives the same permutation in the
        same round of every run, so whoever knows the seed can foresee it. A strategy records the
        seed that it drew in the metric ``byzantine/seed`` and in the audit. With that seed you can
        repeat the round.

    Raises
    ------
    ValueError
        If a parameter is out of range.

    Examples
    --------
    >>> Bucketing(bucket_size=2, seed=1)([[0.0], [1.0], [2.0], [30.0], [40.0]]).shape
    (3, 1)

    References
    ----------
    Karimireddy, He, Jaggi 2022, Byzantine-robust learning on heterogeneous datasets via bucketing,
    algorithm 1.
    """

    bucket_size: int = 2
    seed: int | None = None

    order_matters: ClassVar[bool] = True  # chance decides

    def __post_init__(self) -> None:
        """Check the parameters."""
        advice = "The paper takes 2."
        require_whole("bucket_size", self.bucket_size, 1, advice, owner="Bucketing")
        object.__setattr__(self, "bucket_size", int(self.bucket_size))
        if self.seed is not None:
            advice = "Leave it out to draw from the system's entropy."
            require_whole("seed", self.seed, 0, advice, owner="Bucketing")
            object.__setattr__(self, "seed", int(self.seed))

    def rows_after(self, n: int) -> int:
        """ceil(n / s)."""
        return -(-n // self.bucket_size)

    def least_for(self, rows: int) -> int:
        """s (rows - 1) + 1."""
        return self.bucket_size * (rows - 1) + 1

    def drawn(self, seed: int) -> Self:
        """The same with a seed, if it has none."""
        return self if self.seed is not None else replace(self, seed=seed)

    def mixing(self, given: Given) -> Matrix:
        """One row for each bucket."""
        seed = fresh_seed() if self.seed is None else self.seed
        order = np.random.default_rng([seed, given.server_round]).permutation(given.n)
        mixing = np.zeros((self.rows_after(given.n), given.n))
        for k, row in enumerate(mixing):
            bucket = order[k * self.bucket_size : (k + 1) * self.bucket_size]
            row[bucket] = 1.0 / len(bucket)
        return mixing

"""The table of all rules. Every common test runs over it, so a new rule needs one line here."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pytest
import reference
import reference_mixing
import reference_modern
import reference_spectral
from hypothesis import settings

from flwr_byzantine import rules

quickly = settings(max_examples=30, deadline=None)


@dataclass(frozen=True, repr=False)
class Case:
    """A rule for f Byzantine updates, and facts about it that hold without running it.

    ``make`` and ``least`` (smallest n) take f. ``reference`` and ``weights`` take (updates, f). ``golden``
    holds (f, updates of one value each, aggregate), computed by hand. ``survives`` is the smallest n at
    which f arbitrary updates do no harm, if that is not ``least``. ``name`` is the strategy's name in both
    Flower APIs, which have keywords of their own for f and m. ``before`` makes a pre-aggregation for f. The
    strategies take it as `pre_aggregation`, and the rule then gets its rows.

    The other fields say that a rule lacks a common property, so that another test checks it instead:

    - ``untold``: it averages whole updates. Without an f, it survives as many attackers as n allows.
    - ``weighs_all``: no finite update has weight zero, so attackers far away have a small weight.
    - ``first_of_ties``: the order of the updates decides between results that are equally good.
    - ``absolute``: one of its parameters is a length, so scaled updates do not give a scaled result.
    - ``most_subsets``: its reference tries all subsets, so it is used only up to this number of them.
    - ``measures``: it measures updates from the model, which has to move along with the updates.
    - ``moves``: no update moves the result by more than this length, divided by n, and none is left out.
    - ``rtol``: the result is found by steps, or by an eigenvector, up to this part of the updates' spread.
    - ``options``: more keywords of both the rule and the strategy.
    """

    name: str
    make: Callable[[int], rules.Rule]
    least: Callable[[int], int]
    reference: Callable[..., list[float]]
    golden: tuple[tuple[int, list[float], float], ...]
    weights: Callable[..., list[float]] | None = None
    survives: Callable[[int], int] | None = None
    takes_f: bool = True
    m: int | None = None
    untold: bool = False
    weighs_all: bool = False
    first_of_ties: bool = False
    absolute: bool = False
    measures: bool = False
    moves: float | None = None
    most_subsets: int | None = None
    rtol: float = 1e-12
    options: tuple[tuple[str, Any], ...] = ()
    before: Callable[[int], rules.PreAggregation] | None = None

    def __repr__(self) -> str:
        marks = [] if self.m is None else [str(self.m)]
        first = [] if self.before is None else [type(self.before(0)).__name__]
        return "-".join(
            [*first, self.name, *marks, *(f"{name}={value}" for name, value in self.options)]
        )

    @property
    def fine(self) -> dict[str, float]:
        """How close the rule is to the reference, for updates of a length of about one."""
        return {"rtol": self.rtol, "atol": self.rtol}

    def largest_f(self, n: int) -> int:
        """The largest f for which n updates are enough, or -1 if not even f = 0 works."""
        known = self.most_subsets or math.inf
        return max(
            (f for f in range(n) if self.enough(f) <= n and math.comb(n, f) <= known), default=-1
        )

    def enough(self, f: int) -> int:
        return (self.survives or self.least)(f)


RFA = {"iterations": 3, "smoothing": 0.1}


def of_majority(f: int) -> int:
    return 2 * f + 1


TAU = 10.0  # longer than most updates of these tests


def zero(updates: Any) -> np.ndarray:
    return np.zeros(np.shape(updates)[1])


def buckets(updates: Any) -> np.ndarray:
    """The order of Bucketing(2, seed=7) for a rule outside of rounds. A strategy's first round is 1."""
    return np.random.default_rng([7, 0]).permutation(len(updates))


def mixed(before: Callable[[int], rules.PreAggregation], *of: Any, **told: Any) -> Case:
    """The trimmed mean behind a pre-aggregation."""
    return Case(
        "TrimmedMean", lambda f: before(f) >> rules.TrimmedMean(f), *of, before=before, **told
    )


CASES = [
    Case("Mean", lambda f: rules.Mean(), lambda f: 1, reference.mean, (
            (0, [1, 2, 6], 3),
        ), reference.mean_weights, takes_f=False),
    Case("Median", lambda f: rules.Median(), lambda f: 1, reference.median, (
            (0, [-0.1, 0.1, 0.3, -4, -2], -0.1),  # Fall of Empires, 5.2.1
            (0, [1, 10, 2, 4], 3), (0, [7, 3], 5), (0, [7], 7),
        ), survives=lambda f: 2 * f + 1, takes_f=False),
    Case("TrimmedMean", rules.TrimmedMean, lambda f: 2 * f + 1, reference.trimmed_mean, (
            (0, [1, 2, 6], 3), (1, [5, 1, 2, 9], 3.5), (2, [9, -7, 4, 1, 100], 4),
        )),
    Case("Phocas", rules.Phocas, lambda f: 2 * f + 1, reference.phocas, (
            (0, [1, 2, 6], 3), (1, [0, 1, 2, 9], 1),
            (1, [0, 2, 4], 1), (1, [4, 2, 0], 3),  # 0 and 4 are as near 2: the lower client counts
        )),
    Case("MeaMed", rules.MeaMed, of_majority, reference_modern.mea_med, (
            (0, [1, 2, 6], 3), (1, [0, 1, 2, 9], 1), (1, [5, 1, 2, 9], 8 / 3),  # medians 1.5, 3.5
            (1, [0, 2, 4], 1), (1, [4, 2, 0], 3),  # 0 and 4 are as near 2: the lower client counts
        )),
    Case("GeometricMedian", rules.GeometricMedian, of_majority, reference_modern.geometric_median, (
            (0, [1, 2, 6], 2), (1, [9, 4, 5], 5), (2, [9, -7, 4, 1, 100], 4),
            (0, [7, 3], 5), (0, [0, 1, 3, 50], 2),  # all points between two updates: their mean
        ), reference_modern.geometric_median_weights, untold=True, weighs_all=True, rtol=1e-7),
    Case("GeometricMedian", partial(rules.GeometricMedian, **RFA), of_majority,
         partial(reference_modern.geometric_median, **RFA), (
            (0, [0, 2], 1), (0, [5, 5, 5], 5),
        ), partial(reference_modern.geometric_median_weights, **RFA),
         untold=True, weighs_all=True, first_of_ties=True, absolute=True, rtol=1e-10,
         options=tuple(RFA.items())),
    Case("Medoid", lambda f: rules.Medoid(), lambda f: 1, reference_modern.medoid, (
            (0, [1, 2, 6], 2), (0, [0, 1, 3, 4, 100], 3),  # sums 108, 105, 103, 104, 392
            (0, [7, 3], 7), (0, [1, 10, 2, 4], 2),  # the sums of 2 and 4 are both 11
        ), reference_modern.medoid_weights, survives=of_majority, takes_f=False, untold=True,
         first_of_ties=True),
    Case("MinimumDiameterAveraging", rules.MinimumDiameterAveraging, of_majority,
         reference_modern.minimum_diameter, (
            (0, [1, 2, 6], 3), (1, [0, 4, 5, 9], 3),  # 0, 4, 5 and 4, 5, 9 tie: the first counts
            (2, [9, -7, 4, 1, 100], 14 / 3),  # the mean of 1, 4 and 9
        ), reference_modern.minimum_diameter_weights, first_of_ties=True, most_subsets=300),
    Case("CovarianceFilter", rules.CovarianceFilter, of_majority, reference_spectral.covariance_filter, (
            (0, [1, 2, 6], 3),
            (1, [-2, 0, 2], 0),  # one step, and the result is the mean of all three
            (1, [0, 0, 0, 9], 0),  # the mean is 9 / 4, and the projections are 1 : 1 : 1 : 9
        ), reference_spectral.covariance_filter_weights, rtol=1e-8),
    Case("DivideAndConquer", rules.DivideAndConquer, of_majority, reference_spectral.divide_and_conquer, (
            (0, [1, 2, 6], 3), (1, [0, 1, 2, 9], 1), (2, [9, -7, 4, 1, 14], 14 / 3),  # mean 4.2
            (1, [4, 0, 2], 3),  # 4 and 0 are as far from 2; the lower index stays
        ), reference_spectral.divide_and_conquer_weights),
    Case("SmallestMaximumEigenvalue", rules.SmallestMaximumEigenvalue, of_majority,
         reference_spectral.smallest_maximum_eigenvalue, (
            (0, [1, 2, 6], 3), (1, [0, 1, 2, 9], 1),  # variances 2/3, 12.7, 15.6, 14.9
            (1, [0, 2, 4], 1),  # 0, 2 and 2, 4 have the same variance; the first counts
        ), reference_spectral.smallest_maximum_eigenvalue_weights, most_subsets=130),
    Case("Krum", rules.Krum, lambda f: 2 * f + 3, reference.krum, (
            (1, [0, 1, 3, 7, 100], 1),  # scores 10, 5, 13, 52, 18058
            (3, [-0.1, -0.1, -0.1, 0, 0.02, 0.14, 0.26, 0.38, 0.5], -0.1),  # Fall of Empires, 5.3.1
            (0, [0, 3, 1], 0),  # scores 1, 4, 1
        ), reference.krum_weights),
    Case("MultiKrum", rules.MultiKrum, lambda f: 2 * f + 3, reference.multi_krum, (
            (1, [0, 1, 3, 7, 100], 0.5),
            (0, [0, 3, 1], 0),
        ), reference.multi_krum_weights),
    Case("MultiKrum", partial(rules.MultiKrum, num_selected=3), lambda f: max(2 * f + 3, f + 5),
         partial(reference.multi_krum, m=3), (
            (1, [0, 1, 3, 7, 100, 8], 11 / 3),  # scores 59, 41, 29, 53, .., 75
        ), partial(reference.multi_krum_weights, m=3), m=3),
    Case("Bulyan", rules.Bulyan, lambda f: 4 * f + 3, reference.bulyan, (
            (1, [0, 1, 2, 3, 10, 11, 100], 2),  # selects 3, 2, 1, 10, 0
            (1, [0, 4, 8, 12, 90, 12, 12], 8),  # selects 12, 8, 12, 0, 4; 4 and 12 are as near to 8
            (0, [1, 2, 6], 3),
        ), reference.bulyan_weights),
    Case("MultiBulyan", rules.MultiBulyan, lambda f: 4 * f + 3, reference.multi_bulyan, (
            (1, [0, 1, 2, 3, 10, 11, 100], 2),  # mixed rows 2, 1, 5.5
            (0, [0, 1, 2, 3], 1.75),  # mixed rows 1.5, 2
        ), reference.multi_bulyan_weights),
    Case("MultiBulyan", partial(rules.MultiBulyan, num_selected=2), lambda f: max(4 * f + 3, 2 * f + 4),
         partial(reference.multi_bulyan, m=2), (
            (1, [0, 1, 2, 3, 10, 11, 100], 2.5),  # mixed rows 2.5, 1.5, 5.5
        ), partial(reference.multi_bulyan_weights, m=2), m=2),
    Case("CenteredClipping", lambda f: rules.CenteredClipping(), lambda f: 1,
         lambda x, f: reference_mixing.centered_clipping(x, TAU, 1, zero(x)), (
            (0, [1, 2, 6], 3), (0, [1, 2, 100, -300], 0.75),  # 1, 2, 10 and -10
        ), lambda x, f: reference_mixing.clipping_weights(x, TAU),
         survives=of_majority, takes_f=False, absolute=True, measures=True, moves=TAU),
    mixed(rules.NearestNeighborMixing, of_majority, lambda x, f: reference.trimmed_mean(
            reference_mixing.nearest_neighbor_mixing(x, f), f), (
            (1, [0, 1, 3, 100], 4 / 3), (0, [1, 2, 6], 3),  # rows 4/3, 4/3, 4/3, 104/3
        ), reference_mixing.nearest_neighbor_weights),
    mixed(lambda f: rules.Bucketing(2, seed=7), lambda f: 4 * f + 1, lambda x, f: reference.trimmed_mean(
            reference_mixing.bucketing(x, buckets(x), 2), f), (
            (0, [1, 3], 2), (0, [1, 2, 6, 7], 4),
        ), lambda x, f: reference_mixing.bucketing_weights(len(x), buckets(x), 2), first_of_ties=True),
    mixed(lambda f: rules.Clipping(TAU), of_majority, lambda x, f: reference.trimmed_mean(
            reference_mixing.clipping(x, TAU, zero(x)), f), (
            (1, [1, 2, 6, 100], 4), (0, [1, 100], 5.5),
        ), lambda x, f: reference_mixing.clipping_weights(x, TAU), absolute=True, measures=True),
    mixed(rules.AdaptiveClipping, of_majority, lambda x, f: reference.trimmed_mean(
            reference_mixing.adaptive_clipping(x, f, zero(x)), f), (
            (1, [1, 2, 6, -100], 1.5), (0, [1, 100], 50.5),  # 1, 2, 6, -6
        ), reference_mixing.adaptive_clipping_weights, measures=True),
]  # fmt: skip

ROBUST = [case for case in CASES if str(case) != "Mean"]
WEIGHED = [case for case in CASES if case.weights is not None]
UNWEIGHED = [case for case in CASES if case.weights is None]

# Cases whose strategy gives the result of the rule alone, for every model and round. The others have
# tests of their own in tests/strategies/test_modern_keywords.py.
AS_BARE = [case for case in CASES if case.before is None and not case.measures]

every_rule = pytest.mark.parametrize("case", CASES, ids=str)
every_strategy = pytest.mark.parametrize("case", AS_BARE, ids=str)
every_robust_rule = pytest.mark.parametrize("case", ROBUST, ids=str)
every_weighed_rule = pytest.mark.parametrize("case", WEIGHED, ids=str)


def gaussian(n: int, d: int, seed: int = 0, dtype: Any = np.float64) -> np.ndarray:
    """n updates of d values around one. No two of their distances are equal."""
    return (1 + np.random.default_rng(seed).normal(size=(n, d))).astype(dtype)

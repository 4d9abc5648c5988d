"""Numbers that the papers state, or that can be computed by hand from their formulas."""

import math

import numpy as np
import pytest
import reference

from flwr_byzantine import rules
from flwr_byzantine.kernels import Columns, pairwise_distances
from flwr_byzantine.rules.krum import krum_scores

HONEST = [0, 0.02, 0.14, 0.26, 0.38, 0.5]
BYZANTINE = [-0.1, -0.1, -0.1]
KR = [0.0244, 0.0244, 0.0244, 0.0304, 0.0436, 0.1060, 0.1440, 0.2160, 0.4320]


def test_median_example_of_fall_of_empires():
    """Section 5.2.1: the median takes the other sign than the mean of the honest gradients."""
    honest, byzantine = [-0.1, 0.1, 0.3], [-4, -2]
    assert rules.Mean()(np.array(honest)[:, None]) == pytest.approx(0.1)
    assert rules.Median()(np.array(honest + byzantine)[:, None]) == [-0.1]


def test_krum_example_of_fall_of_empires():
    """Section 5.3.1: nine scores, and Krum takes a Byzantine gradient."""
    x = np.array(BYZANTINE + HONEST)
    distances = pairwise_distances(Columns([list(x[:, None])], x.dtype, len(x)))
    np.testing.assert_allclose(krum_scores(distances, 9 - 3 - 2), KR, atol=5e-5)
    scores = reference.krum_scores(reference.distances_of(x[:, None]), range(9), 4)
    np.testing.assert_allclose(list(scores.values()), KR, atol=5e-5)
    assert rules.Krum(3)(x[:, None]) == [-0.1]
    np.testing.assert_array_equal(rules.Krum(3).weights(x[:, None]), [1, *[0] * 8])


def test_omniscient_attack_of_phocas():
    """Section 5.1.2: attackers send minus the honest sum, times 1e20. b = 6 and n = 20."""
    honest = np.random.default_rng(0).normal(1, 0.1, (14, 50)).astype(np.float32)
    byzantine = np.tile(honest.sum(axis=0) * np.float32(-1e20), (6, 1))
    x = np.concatenate([byzantine, honest])
    for rule in (rules.Phocas(6), rules.TrimmedMean(6), rules.Krum(6), rules.MultiKrum(6)):
        assert abs(rule(x) - 1).max() < 0.5
    assert rules.Mean()(x).max() < -1e20
    np.testing.assert_allclose(rules.Phocas(6)(x), honest.mean(axis=0), rtol=1e-6)


def test_bit_flips_of_phocas():
    """Section 5.1.3: in each dimension one of 20 values is broken, each time another client's."""
    x = np.random.default_rng(0).normal(1, 0.1, (20, 100)).astype(np.float32)
    bits = x.view(np.uint32)
    bits[np.arange(100) % 20, np.arange(100)] ^= np.uint32(1 << 21 | 1 << 29 | 1 << 30 | 1 << 31)
    for rule in (rules.Phocas(1), rules.TrimmedMean(1), rules.Median()):
        assert abs(rule(x) - 1).max() < 0.3


def test_variance_bounds_of_phocas():
    # Lemma 1 for m = 9, q = 2: 54 - 12 + (8 * 5 + 16 * 6) / 3.
    assert rules.Krum(2).variance_bound(9) == pytest.approx(42 + 136 / 3)
    assert rules.Krum(0).variance_bound(5) == 30
    # Theorem 1 for m = 10, b = 2, q = 1: 2 * 3 * 9 / 7^2. Theorem 2: 4 + 12 * 3 * 9 / 7^2.
    assert rules.TrimmedMean(2).variance_bound(10, 1) == pytest.approx(54 / 49)
    assert rules.Phocas(2).variance_bound(10, 1) == pytest.approx(4 + 324 / 49)
    assert rules.TrimmedMean(0).variance_bound(8, 0) == 0.25


def test_slowdowns_of_multi_bulyan():
    # Theorem 1 with m = n - f - 2, and theorem 2 with m = n - 2f - 2.
    assert rules.MultiKrum(3).slowdown(20) == pytest.approx(math.sqrt(15 / 20))
    assert rules.MultiKrum(3, num_selected=5).slowdown(20) == 0.5
    assert rules.Krum(3).slowdown(16) == 0.25
    assert rules.MultiBulyan(3).slowdown(20) == pytest.approx(math.sqrt(12 / 20))
    assert rules.MultiBulyan(3, num_selected=5).slowdown(20) == 0.5


@pytest.mark.parametrize(
    "ask",
    [
        lambda: rules.Krum(2).variance_bound(6),
        lambda: rules.TrimmedMean(1).variance_bound(10, 2),
        lambda: rules.Phocas(5).variance_bound(10, 1),
    ],
)
def test_no_bound_where_the_theorems_say_nothing(ask):
    with pytest.raises(ValueError, match="should be used only if"):
        ask()

"""Properties of single rules: which rules are optimal or exact, and under which conditions."""

import itertools
import math

import numpy as np
import pytest
from cases import gaussian, quickly
from flower import every_api, replies_of
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from flwr_byzantine import rules
from flwr_byzantine.rules.minimum_diameter import Apart, nearest_together
from flwr_byzantine.rules.spectral import least_spread

AVERAGING = [
    rules.MinimumDiameterAveraging,
    rules.CovarianceFilter,
    rules.DivideAndConquer,
    rules.SmallestMaximumEigenvalue,
]


def distances_of(x):
    return ((x[:, None] - x[None]) ** 2).sum(axis=2)


# -- the geometric median -----------------------------------------------------------------------------


def excess(x, y):
    """How much the sum of unit vectors to the other updates exceeds the number of updates at the point."""
    to = x - y
    sizes = np.linalg.norm(to, axis=1)
    spread = np.median(np.linalg.norm(x - np.median(x, axis=0), axis=1)) or 1.0
    at = sizes <= 1e-9 * spread
    pull = (to[~at] / sizes[~at, None]).sum(axis=0)
    return np.linalg.norm(pull) - at.sum()


@given(
    st.integers(1, 25), st.integers(1, 8), st.integers(0, 2**32 - 1),
    st.sampled_from(["gaussian", "grid", "two clusters", "far", "nearly on a line"]),
)  # fmt: skip
@quickly
def test_directions_to_the_updates_cancel_at_the_geometric_median(n, d, seed, kind):
    random = np.random.default_rng(seed)
    x = random.normal(size=(n, d))
    if kind == "grid":
        x = np.round(2 * x)
    elif kind == "two clusters":
        x[: n // 2] *= 1e-3
    elif kind == "far":
        x[: (n - 1) // 2] *= 1e6
    elif kind == "nearly on a line":
        x = np.outer(x[:, 0], np.ones(d)) + 1e-3 * x
    assert excess(x, rules.GeometricMedian()(x)) <= 1e-6 * n


@pytest.mark.parametrize("more", [1e-2, 1e-5, 1e-8, 0.0, -1e-5])
def test_the_geometric_median_close_to_an_update(more):
    """Three updates surround one update. Their pulls add up to just more than one, or to less."""
    angle = math.acos(more / 2)  # two unit vectors and one opposite to them: 1 + more in all
    x = np.array(
        [[0, 0], [1, 0], [math.cos(angle), math.sin(angle)], [math.cos(angle), -math.sin(angle)]]
    )
    y = rules.GeometricMedian()(x)
    assert excess(x, y) <= 1e-6
    assert (np.abs(y).max() < 1e-12) == (more <= 0)


def test_where_the_diagonals_of_four_corners_cross():
    corners = np.array([[0.0, 0.0], [2.0, 0.0], [0.0, 2.0], [9.0, 9.0]])
    np.testing.assert_allclose(rules.GeometricMedian()(corners), [1, 1], rtol=1e-10)


@pytest.mark.parametrize("far", [1e6, 1e10, 1e12, 1e15, 1e20])
def test_far_updates_cost_digits_of_the_geometric_median(far):
    """There are 40 updates in 50 dimensions, and 19 of them are far away in a known direction."""
    x = gaussian(40, 50)
    honest, side = x[19:], np.ones(50) / np.sqrt(50)
    x[:19] = far * side
    y = rules.GeometricMedian()(x)
    near = honest.copy()
    # At this smaller distance, they pull in the same direction.
    near_enough = np.concatenate([np.tile(1e4 * side, (19, 1)), near])
    expected = rules.GeometricMedian()(near_enough)
    spread = np.linalg.norm(honest - honest.mean(axis=0), axis=1).max()
    error = np.linalg.norm(y - expected) / spread
    assert error < {1e6: 0.01, 1e10: 0.01}.get(far, 2.0)


def test_rfa_scales_with_its_smoothing():
    x = gaussian(9, 4)
    for power in (-30, 20):
        scale = 2.0**power
        large = rules.GeometricMedian(iterations=3, smoothing=0.1 * scale)(x * scale)
        np.testing.assert_array_equal(
            large, rules.GeometricMedian(iterations=3, smoothing=0.1)(x) * scale
        )


def test_a_geometric_median_that_is_told_nothing_survives_all_it_can():
    told_nothing = rules.GeometricMedian()
    assert [told_nothing.tolerated(n) for n in (1, 2, 3, 9, 10)] == [0, 0, 1, 4, 4]
    assert rules.GeometricMedian(2).tolerated(9) == 2
    assert (told_nothing.min_updates, rules.GeometricMedian(2).min_updates) == (1, 5)


@every_api
def test_few_replies_are_warned_of_where_the_geometric_median_survives_nobody(api, caplog):
    for n, warned in ((1, True), (2, True), (3, False)):
        caplog.clear()
        api.aggregate(api.ours.GeometricMedian(), replies_of(api, gaussian(n, 3)))
        said = [r for r in caplog.records if "protects from no attacker" in r.getMessage()]
        assert bool(said) == warned


@every_api
def test_keywords_of_the_geometric_median(api):
    strategy = api.ours.GeometricMedian(**{api.f_name: 1}, iterations=3, smoothing=0.1)
    assert strategy.rule == rules.GeometricMedian(1, iterations=3, smoothing=0.1)
    strategy.iterations = 5
    assert strategy.rule.iterations == 5
    for wrong in (
        {"iterations": 0},
        {"iterations": 1.5},
        {"smoothing": 0},
        {"smoothing": math.nan},
    ):
        with pytest.raises(ValueError, match=f"Parameter `{next(iter(wrong))}` of GeometricMedian"):
            api.ours.GeometricMedian(**wrong)


# -- subsets ------------------------------------------------------------------------------------------


def enumerated(distances, size):
    return min(
        itertools.combinations(range(len(distances)), size),
        key=lambda subset: distances[np.ix_(subset, subset)].max(),
    )


@given(st.integers(1, 10), st.integers(1, 3), st.booleans(), st.data())
@quickly
def test_the_least_diameter_is_exact(n, d, tied, data):
    size = data.draw(st.integers(n // 2 + 1, n))
    if tied:
        x = data.draw(hnp.arrays(np.float64, (n, d), elements=st.integers(-2, 2).map(float)))
    else:
        x = gaussian(n, d, data.draw(st.integers(0, 2**32 - 1)))
    found = nearest_together(distances_of(x), size)
    assert tuple(found) == enumerated(distances_of(x), size)


@pytest.mark.parametrize(
    "x",
    [np.eye(50), np.ones((50, 2)), gaussian(50, 2).round(), gaussian(50, 400), gaussian(25, 10)],
    ids=["equal distances", "equal", "grid", "many coordinates", "25"],
)
def test_many_subsets_are_not_tried(x):
    """With n = 50 and f = 24 there are 6e13 subsets."""
    d, size = distances_of(x), len(x) // 2 + 1
    found = nearest_together(d, size)
    assert len(found) == size
    others = [i for i in range(len(x)) if i not in found]
    diameter = d[np.ix_(found, found)].max()
    for out, into in itertools.product(found[:5], others):  # no exchange makes it smaller
        changed = [into if i == out else i for i in found]
        assert d[np.ix_(changed, changed)].max() >= diameter


def test_a_search_that_is_given_up_is_not_far_from_the_least(monkeypatch):
    d = distances_of(gaussian(11, 2))
    exact = enumerated(d, 6)
    monkeypatch.setattr("flwr_byzantine.rules.minimum_diameter.MOST_STEPS", 0)
    found = nearest_together(d, 6)
    assert len(found) == 6
    least = math.sqrt(d[np.ix_(exact, exact)].max())
    assert math.sqrt(d[np.ix_(found, found)].max()) <= 2 * least


@given(st.integers(2, 9), st.data())
@quickly
def test_the_least_eigenvalue_is_that_of_all_subsets(n, data):
    size = data.draw(st.integers(n // 2 + 1, n))
    x = gaussian(n, 3, data.draw(st.integers(0, 2**32 - 1)))
    by_subset = {
        subset: np.linalg.eigvalsh(np.cov(x[list(subset)].T, bias=True))[-1]
        for subset in itertools.combinations(range(n), size)
    }
    found = tuple(least_spread(distances_of(x), size))
    assert by_subset[found] <= min(by_subset.values()) * (1 + 1e-9) + 1e-15


def test_too_many_subsets_are_refused():
    rule = rules.SmallestMaximumEigenvalue(5)
    assert rule.max_updates == 31
    assert math.comb(31, 5) <= 200_000 < math.comb(32, 5)
    with pytest.raises(ValueError, match=r"at most 31 updates .* `n = 32`\. Sample fewer"):
        rule(gaussian(32, 2))
    with pytest.raises(ValueError, match=r"Parameter `num_byzantine` of Smallest.*200,000"):
        rules.SmallestMaximumEigenvalue(10)
    assert rules.SmallestMaximumEigenvalue(9).max_updates == 20
    mixed = rules.Bucketing(2, seed=0) >> rules.SmallestMaximumEigenvalue(9)
    assert mixed.max_updates == 40
    assert (rules.Bucketing(2, seed=0) >> rules.Median()).max_updates is None


@every_api
def test_a_strategy_that_would_look_at_too_many_subsets_says_so(api, caplog):
    asked = f"min_{'fit_clients' if api.name == 'fit' else 'train_nodes'}"
    make = api.ours.SmallestMaximumEigenvalue
    with pytest.raises(ValueError, match=f"Parameter `{asked}` of Smallest.* at most 31"):
        make(**{api.f_name: 5, asked: 32})
    with pytest.raises(ValueError, match=f"Parameter `{api.f_name}` of Smallest"):
        make(**{api.f_name: 10})
    strategy = make(**{api.f_name: 5}, bound="warn")
    api.hand_out(strategy, [np.zeros(2)], nodes=40)
    assert any("can handle at most 31" in record.getMessage() for record in caplog.records)
    tensors, metrics = api.aggregate(strategy, replies_of(api, gaussian(32, 2)))
    assert tensors is None
    assert metrics["byzantine/skipped"] == 1
    assert "31 at most" in strategy.aggregator.last.reason
    for server_round in (2, 3):
        api.aggregate(strategy, replies_of(api, gaussian(32, 2)), server_round)
    (error,) = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert f"Lower `fraction_{'fit' if api.name == 'fit' else 'train'}`, `{asked}`" in error
    assert api.aggregate(strategy, replies_of(api, gaussian(12, 2)))[0] is not None


# -- attackers at several distances -------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("make", [*AVERAGING, rules.GeometricMedian, lambda f: rules.Medoid()])
@pytest.mark.parametrize("worst", [[1e6, math.nan, math.inf], [-1e20, 1e20, math.nan]])
def test_attackers_of_several_kinds(make, worst, seed):
    x = gaussian(9, 30, seed, np.float32)
    x[np.random.default_rng(seed).permutation(9)[:3]] = np.array(worst, np.float32)[:, None]
    honest = x[np.abs(x).max(axis=1) < 100]
    center = honest.mean(axis=0)
    radius = np.linalg.norm(honest - center, axis=1).max()
    assert np.linalg.norm(make(3)(x) - center) <= 2 * radius


@pytest.mark.parametrize("make", [rules.CovarianceFilter, rules.MinimumDiameterAveraging])
def test_attackers_at_very_different_distances(make):
    """An update at 1e20 hides one at 1e6 from `DivideAndConquer`, which looks in one direction once."""
    x = gaussian(9, 30)
    x[0], x[1] = 1e20, 1e6
    assert np.abs(make(2)(x)).max() < 5
    assert np.abs(rules.DivideAndConquer(2)(x)).max() > 1e4


@pytest.mark.parametrize("make", [rules.GeometricMedian, lambda f: rules.Medoid()])
@pytest.mark.parametrize("far", [1e14, 1e20])
@pytest.mark.parametrize("place", [slice(0, 5), slice(6, 11)])
def test_far_attackers_do_not_hide_a_near_one(make, far, place):
    """Beside distances of 1e20, the distances of 1e6 and of 1 are all 0 after rounding."""
    x = 1.0 + 1e-4 * gaussian(11, 1)
    x[place] = np.array([1e6, -far, far, math.nan, math.inf])[:, None]
    honest = x[np.abs(x[:, 0]) < 100]
    assert honest.min() - 1e-4 < make(5)(x)[0] < honest.max() + 1e-4


@pytest.mark.parametrize("scale", [1e-100, 1e100])
def test_the_geometric_median_is_as_exact_at_any_scale(scale):
    x = gaussian(9, 6)
    found = rules.GeometricMedian()(scale * x) / scale
    np.testing.assert_allclose(found, rules.GeometricMedian()(x), rtol=1e-6, atol=1e-6)


def test_one_far_update_does_not_stall_the_filter():
    """If the maximum were over all updates, one that is already out would keep all others in."""
    x = gaussian(12, 5)
    x[0] = 1e4
    x[1] += 30
    weights = rules.CovarianceFilter(3).weights(x)
    assert not weights[:2].any()
    assert np.count_nonzero(weights) >= 6


@pytest.mark.parametrize("make", [*AVERAGING, rules.GeometricMedian, lambda f: rules.Medoid()])
def test_rows_whose_squares_overflow_are_out(make):
    """Two equal ones are at distance 0 of each other, and infinitely far from all others."""
    x = gaussian(7, 3)
    x[2] = x[5] = 1e200
    assert np.abs(make(2)(x)).max() < 5
    weights = make(2).weights(x)
    assert not weights[[2, 5]].any()
    x[[0, 1, 3]] = np.nan
    assert np.isnan(make(2)(x)).all()


@pytest.mark.parametrize("far", [1e100, 1e152])
@pytest.mark.parametrize("make", [*AVERAGING, rules.GeometricMedian, lambda f: rules.Medoid()])
def test_rows_whose_squares_do_not_overflow(make, far):
    x = gaussian(7, 3)
    x[2] = x[5] = far
    assert np.abs(make(2)(x)).max() < 5


@pytest.mark.parametrize("make", AVERAGING)
def test_operators_weights_weigh_what_is_averaged(make):
    assert make(1).averages


def test_all_searches_in_one_graph_share_the_steps(monkeypatch):
    """Otherwise n hard searches would follow each other, and attackers could make them very long."""
    monkeypatch.setattr("flwr_byzantine.rules.minimum_diameter.MOST_STEPS", 2)
    apart = Apart(np.zeros((3, 3), bool))
    assert [apart.subset(0, 0, 3) for _ in range(4)] == [0b111, 0b111, None, None]

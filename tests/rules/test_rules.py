"""What every rule must do. The cases are in one table."""

import cases
import numpy as np
import pytest
from cases import CASES, every_robust_rule, every_rule, every_weighed_rule, gaussian, quickly
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from flwr_byzantine import rules

FINE = {"rtol": 1e-12, "atol": 1e-12}
WORST = [1e6, 1e20, -1e20, np.nan, np.inf, -np.inf]


@st.composite
def sizes(draw, max_extra=9, min_f=0, max_f=3):
    """Draw (extra updates above the smallest number, d, f, seed)."""
    extra, f = draw(st.integers(0, max_extra)), draw(st.integers(min_f, max_f))
    return extra, draw(st.integers(1, 6)), f, draw(st.integers(0, 2**32 - 1))


def drawn(case, size):
    extra, d, f, seed = size
    return gaussian(case.enough(f) + extra, d, seed), f


@every_rule
def test_golden_values(case):
    for f, values, expected in case.golden:
        result = case.make(f)(np.array(values)[:, None])
        np.testing.assert_allclose(result, [expected], rtol=1e-15)


@every_rule
@given(sizes())
@quickly
def test_equals_the_reference(case, size):
    x, f = drawn(case, size)
    np.testing.assert_allclose(case.make(f)(x), case.reference(x, f), **case.fine)


@every_rule
@given(sizes(max_f=2), st.data())
@quickly
def test_equals_the_reference_with_values_that_are_not_finite(case, size, data):
    x, f = drawn(case, size)
    places = data.draw(hnp.arrays(np.bool_, x.shape, fill=st.just(False)))
    bad = data.draw(
        hnp.arrays(np.float64, x.shape, elements=st.sampled_from([np.nan, np.inf, -np.inf]))
    )
    x[places] = bad[places]
    np.testing.assert_allclose(case.make(f)(x), case.reference(x, f), **case.fine)


@every_rule
@given(st.integers(0, 5), st.integers(0, 1), st.data())
@quickly
def test_ties_go_to_the_lower_index(case, extra, f, data):
    shape = case.enough(f) + extra, data.draw(st.integers(1, 3))
    small = data.draw(hnp.arrays(np.int64, shape, elements=st.integers(-2, 2)))
    x = 2520.0 * small  # so that the mean of up to ten rows is a whole number
    np.testing.assert_allclose(case.make(f)(x), case.reference(x, f), **case.fine)
    if case.weights is not None:
        np.testing.assert_allclose(case.make(f).weights(x), case.weights(x, f), **case.fine)


@every_rule
@pytest.mark.parametrize("n", [*range(1, 66), 100])
def test_equals_the_reference_at_every_n(case, n):
    most = case.largest_f(n)
    for f in {most, most // 2} - {-1}:
        x = gaussian(n, 2, seed=n)
        np.testing.assert_allclose(case.make(f)(x), case.reference(x, f), **case.fine)


@every_rule
@given(sizes(min_f=3), st.randoms(use_true_random=False))
@quickly
def test_permutation_changes_nothing(case, size, random):
    x, f = drawn(case, size)  # f >= 3: a score that rests on one neighbour would make ties
    order = random.sample(range(len(x)), len(x))
    moved = case.make(f)(x[order])
    if case.first_of_ties:  # the order decides ties, so the reference gets the same order
        np.testing.assert_allclose(moved, case.reference(x[order], f), **case.fine)
    else:
        np.testing.assert_allclose(moved, case.make(f)(x), **case.fine)


@every_rule
@given(sizes(), st.floats(-100, 100))
@quickly
def test_translation_moves_the_result(case, size, by):
    x, f = drawn(case, size)
    model = {"model": np.full(x.shape[1], by)} if case.measures else {}
    moved = case.make(f)(x + by, **model)
    np.testing.assert_allclose(moved, case.make(f)(x) + by, rtol=1e-9, atol=1e-9)


@every_rule
@given(sizes(), st.integers(-200, 200))
@quickly
def test_scaling_by_a_power_of_two_is_exact(case, size, power):
    x, f = drawn(case, size)
    if case.absolute:
        power = 0  # test_modern_rules.py scales its length too
    scale = 2.0**power
    np.testing.assert_array_equal(case.make(f)(x * scale), case.make(f)(x) * scale)


@every_rule
@pytest.mark.parametrize("scale", [1e20, 1e-20, 3e37])
def test_float32_survives_scaling(case, scale):
    f = 2
    x = gaussian(case.enough(f) + 3, 50, dtype=np.float32) * np.float32(scale)
    np.testing.assert_allclose(case.make(f)(x), case.reference(x, f), rtol=1e-6)


@every_rule
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_identical_updates_give_that_update(case, dtype):
    row = gaussian(1, 40, dtype=dtype)[0]
    result = case.make(2)([row] * (case.enough(2) + 2))
    np.testing.assert_allclose(result, row, rtol=0 if dtype is np.float32 else 1e-15)


@every_robust_rule
@pytest.mark.parametrize("worst", WORST)
@pytest.mark.parametrize("f", [1, 3])
def test_byzantine_updates_stay_within_the_honest_range(case, worst, f):
    for extra in (0, 1, 4):
        x = gaussian(case.enough(f) + extra, 20, seed=extra, dtype=np.float32)
        honest = np.random.default_rng(extra).permutation(len(x))[f:]
        byzantine = np.setdiff1d(np.arange(len(x)), honest)
        for one_sided in (True, False):
            x[byzantine] = worst
            x[byzantine[::2]] *= 1 if one_sided else -1
            result = case.make(f)(x)
            if case.weighs_all:
                assert_near(result, x[honest], f)
                continue
            if case.moves is not None:
                center = x[honest].mean(axis=0, dtype=float)
                by = f / len(x) * (case.moves + np.linalg.norm(center))
                assert np.linalg.norm(result - center) <= by * (1 + 1e-6)
                continue
            assert (x[honest].min(axis=0) <= result).all()
            assert (result <= x[honest].max(axis=0)).all()


def assert_near(result, honest, f):
    """The bound is lemma 2.1 of Minsker 2015, Geometric median and robust estimation in Banach spaces."""
    n, center = len(honest) + f, honest.mean(axis=0, dtype=float)
    radius = np.linalg.norm(honest - center, axis=1).max()
    factor = (1 - f / n) / np.sqrt(1 - 2 * f / n)
    assert np.linalg.norm(result - center) <= factor * radius * (1 + 1e-6)


@pytest.mark.parametrize("case", cases.UNWEIGHED, ids=str)
@pytest.mark.parametrize("worst", WORST)
def test_coordinate_wise_rules_survive_values_spread_over_all_updates(case, worst):
    f, d = 2, 30
    x = gaussian(case.enough(f) + 2, d, dtype=np.float32)
    low, high = x.min(axis=0), x.max(axis=0)
    for j in range(d):
        x[np.random.default_rng(j).permutation(len(x))[:f], j] = worst
    result = case.make(f)(x)
    assert (low <= result).all()
    assert (result <= high).all()


@every_rule
@pytest.mark.parametrize("f", [0, 1, 4])
def test_smallest_number_of_updates(case, f):
    rule, least = case.make(f), case.least(f)
    assert rule.min_updates == least
    assert np.isfinite(rule(gaussian(least, 3))).all()
    with pytest.raises(ValueError, match=rf"at least (one|{least}) update"):
        rule(gaussian(least - 1, 3))


@every_rule
def test_dropping_recognised_updates_lowers_f(case):
    assert case.make(3).without(2) == case.make(1)
    assert case.make(3).without(0) == case.make(3)
    assert case.make(3).without(9) == case.make(0)


@every_rule
@pytest.mark.parametrize(
    ("given_as", "returned_as", "rtol"),
    [
        (np.float32, np.float32, 1e-6), (np.float64, np.float64, 1e-12), (np.float16, np.float16, 1e-3),
        (">f4", np.float32, 1e-6), (np.longdouble, np.float64, 1e-12), (np.int32, np.float64, 1e-12),
        (np.uint8, np.float64, 1e-12), (np.bool_, np.float64, 1e-12),
    ],
)  # fmt: skip
def test_dtype_of_the_result(case, given_as, returned_as, rtol):
    x = (20 * abs(gaussian(case.enough(1) + 1, 30, seed=3))).astype(given_as)
    result = case.make(1)(x)
    assert result.dtype == returned_as
    np.testing.assert_allclose(result, case.reference(x, 1), rtol=rtol)


@every_rule
@pytest.mark.parametrize(
    "layout",
    [
        list, tuple, np.asfortranarray, lambda x: np.repeat(x, 2, axis=1)[:, ::2],
        lambda x: np.repeat(x, 2, axis=0)[::2], lambda x: x[::-1, ::-1].copy()[::-1, ::-1],
        lambda x: [row.tolist() for row in x], lambda x: x.astype(">f8"),
    ],
    ids=["list", "tuple", "fortran", "columns", "rows", "reversed", "lists", "big-endian"],
)  # fmt: skip
def test_layout_of_the_input_does_not_matter(case, layout):
    x = gaussian(case.enough(1) + 1, 33)
    np.testing.assert_array_equal(case.make(1)(layout(x)), case.make(1)(x))


@every_rule
def test_input_is_untouched_and_results_repeat(case):
    x = gaussian(case.enough(2) + 1, 5000, dtype=np.float32)
    x[0, :9], x[1, 5:12] = np.nan, np.inf
    before = x.copy()
    x.flags.writeable = False
    first, second = case.make(2)(x), case.make(2)(x)
    np.testing.assert_array_equal(x, before)
    np.testing.assert_array_equal(first, second)
    assert not np.shares_memory(first, x)


@every_weighed_rule
@given(sizes())
@quickly
def test_weights_say_who_was_used(case, size):
    x, f = drawn(case, size)
    weights = case.make(f).weights(x)
    if case.measures:  # a shortened update leaves the rest of its weight to the model
        assert 0 < weights.sum() <= 1 + 1e-12
    else:
        np.testing.assert_allclose(weights.sum(), 1)
    np.testing.assert_allclose(weights, case.weights(x, f), **case.fine)
    if case.make(f).reduction(len(x)) is None:
        np.testing.assert_allclose(weights @ x, case.make(f)(x), **FINE)


@every_weighed_rule
def test_byzantine_updates_far_away_weigh_nothing(case):
    x = gaussian(case.enough(2) + 3, 4)
    x[[1, 3]] = [[1e9], [np.nan]]
    every_weight = case.make(2).weights(x)
    weights = every_weight[[1, 3]]
    if case.before is not None:  # a mixed update still has a share in its own row
        assert weights.max() <= np.median(every_weight)
    elif case.weighs_all or case.moves is not None:
        assert weights.max() < 1e-8
    else:
        assert weights.any() == (case.name == "Mean")


@pytest.mark.parametrize("case", cases.UNWEIGHED, ids=str)
def test_coordinate_wise_rules_have_no_weights(case):
    with pytest.raises(ValueError, match="coordinate"):
        case.make(1).weights(gaussian(9, 2))


@every_rule
@pytest.mark.parametrize("d", [0, 1])
def test_hardly_any_coordinates(case, d):
    x = gaussian(case.enough(1), d)
    result = case.make(1)(x)
    assert result.shape == (d,)
    np.testing.assert_allclose(result, case.reference(x, 1)[:d], **case.fine)


@every_rule
def test_models_close_together_are_told_apart(case):
    """The float32 parameters are between 1 and 100, and differ by 1e-4 of their size."""
    random = np.random.default_rng(5)
    n, d, f = case.enough(2) + 2, 2000, 2
    model = random.uniform(1, 100, d)
    # At a spread of 1e-6, rounding decides between a few mixed values.
    for spread, rtol in ((1e-4, 1e-7), (1e-6, 5e-7)):
        x = (model * (1 + spread * random.normal(size=(n, d)))).astype(np.float32)
        np.testing.assert_allclose(case.make(f)(x), case.reference(x, f), rtol=rtol)
        if case.weights is not None:
            np.testing.assert_allclose(case.make(f).weights(x), case.weights(x, f), **case.fine)


@every_rule
@pytest.mark.parametrize(
    ("updates", "match"),
    [
        ([], "at least one update"),
        (np.empty((0, 3)), "at least one update"),
        (np.zeros(9), "shape"),
        (np.zeros((9, 2, 2)), "shape"),
        ([np.zeros(3)] * 10 + [np.zeros(4)], "length"),
        ([np.zeros((1, 3))] * 11, "one-dimensional"),
        ([np.float64(3.0)] * 11, "one-dimensional"),
        (np.zeros((11, 3), complex), "real numbers"),
        (np.full((11, 3), "a"), "real numbers"),
        (np.full((11, 3), None), "real numbers"),
    ],
)
def test_what_is_not_n_rows_of_numbers_raises(case, updates, match):
    with pytest.raises(ValueError, match=match):
        case.make(1)(updates)


@pytest.mark.parametrize("name", [c.name for c in CASES if c.takes_f and c.m is None])
@pytest.mark.parametrize("f", [-1, 1.5, "1", None, True, np.nan])
def test_number_of_byzantine_updates_is_checked(name, f):
    with pytest.raises(ValueError, match=r"Parameter `\w+` of .* Found"):
        getattr(rules, name)(f)


@pytest.mark.parametrize("rule", [rules.MultiKrum, rules.MultiBulyan])
@pytest.mark.parametrize("m", [0, -1, 2.0, "2", True])
def test_number_of_selected_updates_is_checked(rule, m):
    with pytest.raises(ValueError, match=r"`num_selected` .* Found"):
        rule(1, m)


@every_rule
def test_a_rule_is_a_value(case):
    rule = case.make(1)
    assert rule == case.make(1)
    assert hash(rule) == hash(case.make(1))
    assert (rule != case.make(2)) == case.takes_f
    before = "" if case.before is None else f"{case.before(1)} >> "
    assert repr(rule).startswith(f"{before}{case.name}(")
    with pytest.raises(AttributeError):
        rule.trim = rule.num_byzantine = 7

"""Pre-aggregations against plain loops: alone, in front of rules, and several in a row."""

import numpy as np
import pytest
import reference
import reference_mixing
from cases import gaussian, quickly
from hypothesis import given
from hypothesis import strategies as st

import flwr_byzantine.serverapp
from flwr_byzantine.rules import (
    AdaptiveClipping,
    Bucketing,
    Bulyan,
    CenteredClipping,
    Clipping,
    Composition,
    Krum,
    Mean,
    Median,
    MultiBulyan,
    MultiKrum,
    NearestNeighborMixing,
    Phocas,
    PreAggregation,
    SmallestMaximumEigenvalue,
    TrimmedMean,
)
from flwr_byzantine.rules.points import Given

FINE = {"rtol": 1e-10, "atol": 1e-10}
WORST = [1e6, 1e20, -1e20, np.nan, np.inf, -np.inf]
seeds = st.integers(0, 2**32 - 1)


def order_of(seed, n, server_round=0):
    return np.random.default_rng([seed, server_round]).permutation(n)


STEPS = {
    "nnm": (
        NearestNeighborMixing,
        lambda x, f, model: reference_mixing.nearest_neighbor_mixing(x, f),
    ),
    "bucketing": (
        lambda f: Bucketing(2, seed=7),
        lambda x, f, model: reference_mixing.bucketing(x, order_of(7, len(x)), 2),
    ),
    "clipping": (
        lambda f: Clipping(1.5),
        lambda x, f, model: reference_mixing.clipping(x, 1.5, model),
    ),
    "arc": (AdaptiveClipping, reference_mixing.adaptive_clipping),
}
RULES = {
    "Mean": (lambda f: Mean(), reference.mean),
    "Median": (lambda f: Median(), reference.median),
    "TrimmedMean": (TrimmedMean, reference.trimmed_mean),
    "Phocas": (Phocas, reference.phocas),
    "Krum": (Krum, reference.krum),
    "MultiKrum": (MultiKrum, reference.multi_krum),
    "Bulyan": (Bulyan, reference.bulyan),
    "MultiBulyan": (MultiBulyan, reference.multi_bulyan),
}
every_step = pytest.mark.parametrize("step", STEPS)
every_rule = pytest.mark.parametrize("rule", RULES)


def finite(rows):
    """The rows with NaN for infinities, which mean "not finite" in the references' mixed rows."""
    return np.where(np.isfinite(rows), rows, np.nan)


def ties(step, rule):
    """Whether repeated selections meet mixed rows at the same distance, so that rounding decides."""
    return step == "nnm" and "Bulyan" in rule


def enough(composition, f):
    """Enough updates that f of them are less than half, also of the buckets."""
    return max(composition.min_updates, 4 * f + 1)


@every_step
@given(seeds, st.integers(0, 3), st.integers(0, 4))
@quickly
def test_rows_equal_the_reference(step, seed, f, extra):
    make, literal = STEPS[step]
    x = gaussian(2 * f + 1 + extra, 4, seed)
    model = gaussian(1, 4, seed + 1)[0]
    np.testing.assert_allclose(make(f)(x), literal(x, f, np.zeros(4)), **FINE)
    np.testing.assert_allclose(make(f)(x, model=model), literal(x, f, model), **FINE)


@every_step
@every_rule
@given(seeds, st.integers(1, 2), st.sampled_from([0, 2, 4]))
@quickly
def test_compositions_equal_the_reference(step, rule, seed, f, extra):
    """f is not 0, and the number of rows is odd: otherwise rounding would decide between several rows."""
    (make, mixed), (rule_of, literal) = STEPS[step], RULES[rule]
    f += 2 if "Bulyan" in rule else 0  # with fewer, two updates with one neighbour would tie
    composition = make(f) >> rule_of(f)
    x = gaussian(composition.min_updates + extra, 3, seed)
    model = gaussian(1, 3, seed + 1)[0]
    fine = {"atol": 0.5} if ties(step, rule) else FINE
    np.testing.assert_allclose(composition(x), literal(mixed(x, f, np.zeros(3)), f), **fine)
    np.testing.assert_allclose(composition(x, model=model), literal(mixed(x, f, model), f), **fine)


@every_step
@every_rule
@given(seeds, st.sampled_from(WORST))
@quickly
def test_compositions_with_far_rows_equal_the_reference(step, rule, seed, worst):
    """At 1e20, D loses the direction of a clipped row, so its inner products are measured."""
    f = 3 if "Bulyan" in rule else 2  # with fewer, two updates with one neighbour would tie
    (make, mixed), (rule_of, literal) = STEPS[step], RULES[rule]
    composition = make(f) >> rule_of(f)
    x = gaussian(enough(composition, f) + 1, 3, seed)
    x[[1, 4]] = worst
    expected = literal(mixed(x, f, np.zeros(3)), f)
    if step == "bucketing" and rule == "Mean":
        expected = finite(expected)
    found = composition(x)
    if rule == "Mean" and step in ("nnm", "bucketing"):  # the mean survives no attacker
        assert np.abs(finite(found)).max(initial=1e5, where=np.isfinite(found)) >= 1e5
    else:
        # Attackers that are clipped to zero are at the same distance from every update.
        fine = {"atol": 0.5} if ties(step, rule) or "Bulyan" in rule else FINE
        np.testing.assert_allclose(found, finite(expected), **fine)


@every_step
@pytest.mark.parametrize("rule", [name for name in RULES if name != "Mean"])
@pytest.mark.parametrize("worst", WORST)
def test_attackers_do_not_move_the_result_out_of_the_honest_range(step, rule, worst):
    """The result is in the honest range, widened by its own width: clipped attackers may be just outside."""
    f = 2
    first = Clipping(30.0) if step == "clipping" else STEPS[step][0](f)
    composition = first >> RULES[rule][0](f)
    for extra in (0, 1, 4):
        x = 5 + gaussian(enough(composition, f) + extra, 20, extra, np.float32)
        honest = np.random.default_rng(extra).permutation(len(x))[f:]
        byzantine = np.setdiff1d(np.arange(len(x)), honest)
        low, high = x[honest].min(axis=0), x[honest].max(axis=0)
        x[byzantine] = worst
        x[byzantine[0]] *= -1
        result = composition(x, model=np.full(20, 5.5, np.float32))
        assert (result >= low - (high - low)).all()
        assert (result <= high + (high - low)).all()


@every_step
@every_rule
def test_weights_are_the_columns_of_the_product(step, rule):
    composition = STEPS[step][0](1) >> RULES[rule][0](1)
    x = gaussian(composition.min_updates + 2, 6)
    mixed = STEPS[step][0](1)(x)
    rows = np.linalg.lstsq(x.T, mixed.T, rcond=None)[0].T if len(x) <= 6 else None
    weights = composition.weights(x)
    assert weights.shape == (len(x),)
    assert (weights >= 0).all()
    if step in ("nnm", "bucketing"):
        assert weights.sum() == pytest.approx(1)
    if rule in ("Mean", "Krum", "MultiKrum"):
        np.testing.assert_allclose(weights @ x, composition(x), **FINE)
    if rows is not None and rule == "Phocas":
        np.testing.assert_allclose(weights, rows.mean(axis=0), atol=1e-8)


def test_worked_by_hand():
    x = [[0.0], [1.0], [3.0], [100.0]]
    # Each row is mixed with its two nearest: {0,1,3}, {1,0,3}, {3,1,0} and {100,3,1}.
    assert NearestNeighborMixing(1)(x)[:, 0] == pytest.approx([4 / 3] * 3 + [104 / 3])
    assert (NearestNeighborMixing(1) >> TrimmedMean(1))(x) == pytest.approx([4 / 3])
    # k = floor(2 * 1/4 * 3) = 1, so the longest is clipped to the length of the next, 3.
    assert AdaptiveClipping(1)(x)[:, 0].tolist() == [0, 1, 3, 3]
    assert (AdaptiveClipping(1) >> Mean())(x) == pytest.approx([7 / 4])
    # Around the model 4, the updates are -4, -3, -1 and 96. They are clipped to 3.
    assert Clipping(3.0)(x, model=[4.0])[:, 0].tolist() == [1, 1, 3, 7]
    assert (Clipping(3.0) >> Median())(x, model=[4.0]) == [2]
    # A tie: 1 is as near to 0 as to 2, so the lower index is mixed in.
    assert NearestNeighborMixing(1)([[0.0], [1.0], [2.0]])[:, 0].tolist() == [0.5, 0.5, 1.5]
    assert len(Bucketing(3, seed=0)(np.zeros((7, 2)))) == 3


def test_arc_clips_as_many_as_its_formula_says():
    """The formula is k = floor(2 (f/n) (n - f)). For n = 10 and f = 1, 2, 3, 4 it gives 1, 3, 4, 4."""
    x = np.arange(1.0, 11)[:, None]
    for f, k in ((0, 0), (1, 1), (2, 3), (3, 4), (4, 4)):
        assert (AdaptiveClipping(f)(x)[:, 0] < x[:, 0]).sum() == k


# -- `>>` ----------------------------------------------------------------------------------------------


def test_it_is_associative():
    a, b, rule = Bucketing(2, seed=3), NearestNeighborMixing(1), Krum(1)
    left, right = (a >> b) >> rule, a >> (b >> rule)
    assert left == right
    assert hash(left) == hash(right)
    assert isinstance(left, Composition)
    assert repr(left) == (
        "Bucketing(bucket_size=2, seed=3) >> NearestNeighborMixing(num_byzantine=1) >> Krum(num_byzantine=1)"
    )
    assert (
        repr(a >> b) == "Bucketing(bucket_size=2, seed=3) >> NearestNeighborMixing(num_byzantine=1)"
    )
    c = Clipping(1.0)
    assert ((c >> a) >> b) >> rule == c >> (a >> (b >> rule)) == (c >> (a >> b)) >> rule
    x = gaussian(left.min_updates + 3, 5)
    np.testing.assert_array_equal(left(x), right(x))


@given(seeds)
@quickly
def test_several_in_a_row_equal_one_after_the_other(seed):
    x = gaussian(17, 5, seed)
    a, b, rule = Clipping(1.8), Bucketing(2, seed=1), MultiKrum(1)
    by_hand = rule(NearestNeighborMixing(1)(b(a(x))))
    np.testing.assert_allclose((a >> b >> NearestNeighborMixing(1) >> rule)(x), by_hand, **FINE)
    by_hand = rule(a(NearestNeighborMixing(1)(x)))
    np.testing.assert_allclose((NearestNeighborMixing(1) >> a >> rule)(x), by_hand, **FINE)


@pytest.mark.parametrize("after", [None, 3, Krum, "Krum"])
def test_only_rules_and_pre_aggregations_stand_behind_it(after):
    with pytest.raises(TypeError, match=r"`>>` should put .* Write `NearestNeighborMixing"):
        NearestNeighborMixing(1) >> after


@pytest.mark.parametrize("strategies", [flwr_byzantine, flwr_byzantine.serverapp])
def test_a_strategy_behind_it_is_refused_with_the_rule_of_its_name(strategies):
    with pytest.raises(
        TypeError, match=r"the strategy Median. Pass `pre_aggregation=Nearest.*\.rules\.Median`"
    ):
        NearestNeighborMixing(1) >> strategies.Median()


@pytest.mark.parametrize("before", [Krum(1), NearestNeighborMixing, 3])
@pytest.mark.parametrize("after", [Krum(1), NearestNeighborMixing(1) >> Krum(1)])
def test_only_pre_aggregations_stand_in_front_of_it(before, after):
    with pytest.raises(TypeError, match=r"follow a pre-aggregation. Found .* Write `Nearest"):
        before >> after


def test_a_rule_in_front_of_a_pre_aggregation_is_told_the_order():
    with pytest.raises(TypeError, match=r"follow a pre-aggregation. Found Krum\(num_byzantine=1\)"):
        Krum(1) >> NearestNeighborMixing(1)


@pytest.mark.parametrize(
    ("composition", "least"),
    [
        (NearestNeighborMixing(2) >> Median(), 5),
        (NearestNeighborMixing(2) >> Krum(1), 5),
        (NearestNeighborMixing(2) >> Krum(2), 7),
        (Bucketing(2) >> Krum(1), 9),  # five buckets, of 2 + 2 + 2 + 2 + 1 updates
        (Bucketing(3) >> Bucketing(2) >> TrimmedMean(1), 13),  # 13 updates, 5 buckets, 3 buckets
        (Bucketing(2) >> NearestNeighborMixing(2) >> Median(), 9),
        (AdaptiveClipping(3) >> Mean(), 7),
        (Clipping(1) >> Mean(), 1),
        (NearestNeighborMixing(0.2) >> Krum(0.2), Krum(0.2).min_updates),
        (Bucketing(2) >> TrimmedMean(0.2), 17),  # n = 16 gives f = 4 and 8 buckets, but it needs 9
    ],
)
def test_smallest_number_of_updates(composition, least):
    assert composition.min_updates == least
    assert np.isfinite(composition(gaussian(least, 3))).all()
    if least > 1:
        with pytest.raises(
            ValueError, match=f"at least {least if composition.at(9) is composition else ''}"
        ):
            composition(gaussian(least - 1, 3))


def test_what_no_number_of_updates_is_enough_for_raises_at_once():
    with pytest.raises(ValueError, match="Some number of updates should be enough"):
        Bucketing(3) >> Krum(0.2)


def test_f_of_a_composition():
    assert (NearestNeighborMixing(3) >> Phocas(2)).tolerated(20) == 2
    assert (NearestNeighborMixing(2) >> Phocas(3)).tolerated(20) == 2
    assert (Bucketing(2) >> Median()).tolerated(20) == 4  # of ten buckets
    assert (NearestNeighborMixing(0.2) >> Phocas(0.2)).tolerated(11) == 3
    lowered = (NearestNeighborMixing(3) >> Bucketing(2) >> Phocas(2)).without(1)
    assert lowered == NearestNeighborMixing(2) >> Bucketing(2) >> Phocas(1)
    plain = NearestNeighborMixing(3) >> Phocas(2)
    assert plain.at(9) is plain
    assert (NearestNeighborMixing(0.2) >> Phocas(2)).at(9) == NearestNeighborMixing(2) >> Phocas(2)


WRONG = {
    NearestNeighborMixing: [(-1,), (True,), (0.5,)],
    AdaptiveClipping: [(1.0,), ("1",), (None,)],
    Bucketing: [(0,), (2.0,), (2, -1), (2, 0.5), (2, True)],
    Clipping: [(0,), (-1,), (float("nan"),), (float("inf"),), ("1",), (True,)],
    CenteredClipping: [(0,), (1, 0), (1, 1.5), ("1",)],
}


@pytest.mark.parametrize(
    ("kind", "arguments"), [(kind, given) for kind, all_of in WRONG.items() for given in all_of]
)
def test_parameters_are_checked(kind, arguments):
    with pytest.raises(ValueError, match=r"Parameter `\w+` of \w+ should be .* Found"):
        kind(*arguments)


def test_an_own_pre_aggregation():
    class Twice(PreAggregation):
        """It repeats each update."""

        def mixing(self, given):
            return np.repeat(np.eye(given.n), 2, axis=0)

        def rows_after(self, n):
            return 2 * n

        def least_for(self, rows):
            return -(-rows // 2)

    rule = Twice() >> Krum(1)
    assert rule.min_updates == 3
    assert rule([[0.0], [1.0], [5.0]]) == [0]


# -- what each of them does ----------------------------------------------------------------------------


def scores_of(rule, x):
    points, _, _ = rule.points(x, None)
    return rule.checked_scores(Given(len(x), rule.distances_of([points])))


@pytest.mark.parametrize("first", [NearestNeighborMixing(1), Bucketing(1, seed=4), Clipping(99.0)])
def test_scores_of_a_composition_are_the_clients(first):
    x = np.array([[0.0], [0.1], [0.2], [0.3], [0.4], [50.0], [0.5]])
    scores = scores_of(first >> Krum(1), x)
    assert scores.shape == (7,)
    assert scores.argmax() == 5
    if not isinstance(first, NearestNeighborMixing):  # the row of a client does not matter
        np.testing.assert_allclose(scores, scores_of(Krum(1), x))
    assert scores_of(first >> Median(), x) is None


def test_mixing_first_gives_up_single_coordinates():
    """Each update has one NaN, each in another coordinate. The trimmed mean survives, mixed rows do not."""
    x = gaussian(9, 9)
    x[range(9), range(9)] = np.nan
    assert np.isfinite(TrimmedMean(1)(x)).all()
    assert np.isnan((NearestNeighborMixing(1) >> TrimmedMean(1))(x)).any()


def test_mixing_brings_different_clients_together():
    """Krum of mixed rows is a mean of n - f updates, far nearer to the honest mean than one update."""
    x = np.concatenate([gaussian(17, 50, seed=2), 1 - 0.1 * gaussian(3, 50, seed=3)])
    honest = x[:17].mean(axis=0)
    plain = np.linalg.norm(Krum(3)(x) - honest)
    mixed = np.linalg.norm((NearestNeighborMixing(3) >> Krum(3))(x) - honest)
    assert mixed < 0.5 * plain


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
def test_dtypes_and_models_close_together(dtype):
    model = np.random.default_rng(1).uniform(1, 2, 400).astype(dtype)
    spread = 1e-4 if dtype != np.float16 else 1e-2
    x = (model * (1 + spread * gaussian(9, 400))).astype(dtype)
    for rule in (NearestNeighborMixing(2) >> Krum(2), AdaptiveClipping(2) >> TrimmedMean(2)):
        found = rule(x, model=model)
        exact = rule(x.astype(np.float64), model=model.astype(np.float64))
        assert found.dtype == dtype
        np.testing.assert_allclose(found, exact.astype(dtype), rtol=2 * np.finfo(dtype).eps)


def test_the_model_is_one_row_of_values():
    with pytest.raises(ValueError, match="`model` should hold 3 values"):
        (Clipping(1.0) >> Mean())(np.zeros((4, 3)), model=np.zeros(2))
    for model in (np.zeros((1, 3)), 0.0):
        with pytest.raises(ValueError, match="`model` should be one-dimensional"):
            (Clipping(1.0) >> Mean())(np.zeros((4, 3)), model=model)


def test_inputs_stay_as_they_are():
    x = gaussian(9, 50, dtype=np.float32)
    x[2] = np.inf
    x.flags.writeable = False
    for step in (make(2) for make, _ in STEPS.values()):
        for rule in (step >> Phocas(2), step >> Krum(1)):
            np.testing.assert_array_equal(rule(x), rule(x))


# -- bucketing's random permutation ---------------------------------------------------------------------


def test_bucketing_is_drawn_from_the_systems_entropy():
    x = gaussian(20, 3)
    found = {tuple(Bucketing(2)(x).ravel()) for _ in range(5)}
    assert len(found) == 5
    same = {tuple(Bucketing(2, seed=3)(x).ravel()) for _ in range(5)}
    assert len(same) == 1


def test_bucketing_with_a_seed_changes_by_round_and_can_be_replayed():
    rule = Bucketing(2, seed=11)
    rounds = [rule.mixing(Given(20, server_round=t)).tobytes() for t in range(4)]
    assert len(set(rounds)) == 4
    assert rounds == [rule.mixing(Given(20, server_round=t)).tobytes() for t in range(4)]
    drawn = (Bucketing(2) >> Krum(1)).drawn(11)
    assert drawn == rule >> Krum(1)
    assert drawn.drawn(12) == drawn


def test_every_client_is_in_one_bucket():
    mixing = Bucketing(3, seed=5)
    for n in range(1, 12):
        w = mixing.mixing(Given(n))
        assert w.shape == (-(-n // 3), n)
        assert ((w > 0).sum(axis=0) == 1).all()
        np.testing.assert_allclose(w.sum(axis=1), 1)


# -- centered clipping ---------------------------------------------------------------------------------


@given(
    seeds,
    st.integers(1, 4),
    st.sampled_from([0.3, 1.0, 3.0, 100.0]),
    st.sampled_from([1e3, 1e6, 1e12, 1e20]),
)
@quickly
def test_centered_clipping_equals_the_reference(seed, iterations, threshold, far):
    x = gaussian(7, 4, seed)
    x[2], x[5] = x[2] * far, -far
    center = gaussian(1, 4, seed + 1)[0]
    rule = CenteredClipping(threshold, iterations)
    expected = reference_mixing.centered_clipping(x, threshold, iterations, np.zeros(4))
    np.testing.assert_allclose(rule(x), expected, rtol=1e-9, atol=1e-9)
    expected = reference_mixing.centered_clipping(x, threshold, iterations, center)
    np.testing.assert_allclose(rule(x, model=center), expected, rtol=1e-9, atol=1e-9)


@given(
    seeds, st.sampled_from([1e3, 1e6, 1e10, 1e12, 1e20]), st.sampled_from([np.float32, np.float64])
)
@quickly
def test_far_rows_keep_their_direction_when_they_are_clipped(seed, far, dtype):
    """This holds in front of rules that measure distances, for rows of 1e20 as for rows of 1."""
    x, model = gaussian(11, 6, seed, dtype), gaussian(1, 6, seed + 1, dtype)[0]
    x[2], x[7], x[9] = x[2] * dtype(far), -dtype(far), dtype(far) / 7
    clipped = reference_mixing.adaptive_clipping(x, 3, model)
    expected = reference.trimmed_mean(reference_mixing.nearest_neighbor_mixing(clipped, 3), 3)
    found = (AdaptiveClipping(3) >> NearestNeighborMixing(3) >> TrimmedMean(3))(x, model=model)
    np.testing.assert_allclose(
        found, expected, rtol=1e-9, atol=1e-5 if dtype is np.float32 else 1e-9
    )
    expected = reference.krum(reference_mixing.clipping(x, 2.0, model), 3)
    found = (Clipping(2.0) >> Krum(3))(x, model=model)
    np.testing.assert_allclose(
        found, expected, rtol=1e-9, atol=1e-5 if dtype is np.float32 else 1e-9
    )


@pytest.mark.parametrize("worst", WORST)
@pytest.mark.parametrize("iterations", [1, 3])
def test_centered_clipping_bounds_what_each_update_moves(worst, iterations):
    x = gaussian(9, 5, dtype=np.float32)
    without = CenteredClipping(1.0, iterations)(x[2:])
    x[:2] = worst
    moved = np.linalg.norm(CenteredClipping(1.0, iterations)(x) - without)
    assert moved <= iterations * 1.0 * 2 * 2 / 9 + 1e-6


@given(seeds)
@quickly
def test_centered_clipping_behind_other_steps(seed):
    """It clips around the model, and then around the same center. It also clips buckets."""
    x, model = gaussian(8, 4, seed), gaussian(1, 4, seed + 1)[0]
    for iterations in (1, 3):
        rule = CenteredClipping(0.8, iterations)
        clipped = reference_mixing.clipping(x, 1.2, model)
        expected = reference_mixing.centered_clipping(clipped, 0.8, iterations, model)
        np.testing.assert_allclose((Clipping(1.2) >> rule)(x, model=model), expected, **FINE)
        buckets = reference_mixing.bucketing(x, order_of(3, 8), 2)
        expected = reference_mixing.centered_clipping(buckets, 0.8, iterations, model)
        found = (Bucketing(2, seed=3) >> rule)(x, model=model)
        np.testing.assert_allclose(found, expected, **FINE)


def test_only_lengths_are_measured_where_they_suffice(monkeypatch):
    """Distances between all pairs take n readings of the updates. Lengths take one."""
    from flwr_byzantine.rules import points

    x, asked = gaussian(9, 4), []
    real = points.pairwise_distances
    monkeypatch.setattr(
        points, "pairwise_distances", lambda columns: asked.append(1) or real(columns)
    )
    for rule in (Clipping(1) >> Phocas(2), AdaptiveClipping(2) >> Median(), CenteredClipping(1)):
        rule(x)
    assert not asked
    for rule in (
        Clipping(1) >> Krum(2),
        CenteredClipping(1, 2),
        Bucketing(2) >> CenteredClipping(1),
    ):
        rule(x)
    assert len(asked) == 3


def test_centered_clipping_worked_by_hand():
    # Center 0, tau 1: (0.5 + 0.7 + 1 + 0.6) / 4 = 0.7. From 0.7: (-0.2 + 0 + 1 - 0.1) / 4 more.
    x = [[0.5], [0.7], [100.0], [0.6]]
    assert CenteredClipping(1.0)(x) == pytest.approx([0.7])
    assert CenteredClipping(1.0, 2)(x) == pytest.approx([0.7 + 0.7 / 4])
    assert CenteredClipping(1.0)([[1.0, 0.0], [np.nan, 0.0]]) == pytest.approx([0.5, 0])
    assert CenteredClipping().threshold == 10
    assert CenteredClipping().iterations == 1


@pytest.mark.parametrize(
    "rule", [Median(), NearestNeighborMixing(1) >> Median(), Clipping(1.0), Krum(1)]
)
def test_a_model_of_another_length_is_refused(rule):
    """This holds also for rules that need no model."""
    with pytest.raises(ValueError, match="`model` should hold 3 values"):
        rule(gaussian(7, 3), model=np.zeros(2))


@pytest.mark.parametrize("f", [1, 2, 3, 5])
@pytest.mark.parametrize("n", [1, 2, 3])
def test_adaptive_clipping_takes_any_number_of_updates_below_its_bound(n, f):
    """A round of `bound="warn"` may have fewer updates than f needs. Then f is the largest that n allows."""
    lengths = np.arange(1.0, n + 1)
    possible = min(f, (n - 1) // 2)
    assert AdaptiveClipping(f).threshold_for(lengths) == AdaptiveClipping(possible).threshold_for(
        lengths
    )


def test_the_most_updates_of_a_composition_are_found_at_once():
    rule = SmallestMaximumEigenvalue(2)
    assert (Bucketing(10**9) >> rule).max_updates == 10**9 * rule.max_updates
    assert (Bucketing(3) >> NearestNeighborMixing(1) >> rule).max_updates == 3 * rule.max_updates


def test_a_share_of_more_updates_than_a_rule_can_take_is_no_error():
    """When the share is given, the number of replies is not known yet."""
    rule = SmallestMaximumEigenvalue(0.2)
    for shared in (rule, NearestNeighborMixing(0.2) >> rule, Bucketing(2) >> rule):
        many = shared.at(1000)
        assert many.tolerated(1000) == 200
        assert many.max_updates < 1000

"""Buffers of a model stay in the honest range, with every rule and server optimiser."""

import numpy as np
import pytest
from cases import AS_BARE, every_strategy, gaussian, quickly
from flower import Sent, TrainApi, every_api, flat, replies_of, strategy_of
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from quadratic import Quadratic

from flwr_byzantine import rules
from flwr_byzantine.aggregation.buffers import clamp, find_buffers, honest_interval

NAN, INF = float("nan"), float("inf")
NAMES = ("conv.weight", "bn.running_mean", "bn.running_var", "bn.num_batches_tracked", "fc.bias")


def model_of(row):
    """A model with BatchNorm, made of ten numbers."""
    return {
        "conv.weight": row[:4].reshape(2, 2), "bn.running_mean": row[4:6],
        "bn.running_var": row[6:8], "bn.num_batches_tracked": np.array(3), "fc.bias": row[8:],
    }  # fmt: skip


def numbers_of(tensors):
    return flat([tensors[i] for i in (0, 1, 2, 4)])


def options(api):
    """In the `aggregate_fit` API tensors have no names, so positions name the buffers."""
    return {} if api.name == "train" else {"buffers": [1, 2]}


def spread_updates(n, f, seed=0):
    """Positive honest statistics. f clients pull them below zero as far as the honest range allows."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 10)).astype(np.float32)
    x[:, 4:8] = 0.05 * np.exp(1.5 * rng.normal(size=(n, 4)))
    honest = x[f:]
    x[:f] = honest.mean(axis=0) - 0.7 * honest.std(axis=0)
    return x


@every_api
@pytest.mark.parametrize("case", [c for c in AS_BARE if c.takes_f], ids=str)
def test_running_statistics_stay_in_the_honest_range(api, case):
    """This holds if all f clients are attackers, at the smallest n, and in every order of the replies."""
    left = 0
    f, n = 2, case.enough(2)
    for seed in range(30):
        x = spread_updates(n, f, seed)
        strategy = strategy_of(api, case, f, **options(api))
        api.hand_out(strategy, model_of(np.ones(10, np.float32)))
        tensors, metrics = api.aggregate(strategy, replies_of(api, x, model_of))
        found, plain = numbers_of(tensors), case.make(f)(x)
        low, high = np.sort(x, axis=0)[f], np.sort(x, axis=0)[n - 1 - f]
        assert (found[4:8] >= x[f:, 4:8].min(axis=0)).all()
        assert (found[4:8] <= x[f:, 4:8].max(axis=0)).all()
        assert (tensors[2] > 0).all()
        inside = (low <= plain) & (plain <= high)
        np.testing.assert_array_equal(found[inside], plain[inside])  # the rule's own value stays
        np.testing.assert_array_equal(found[4:8], plain[4:8].clip(low[4:8], high[4:8]))
        for other in (slice(0, 4), slice(8, 10)):
            np.testing.assert_array_equal(found[other], plain[other])
        assert metrics["byzantine/num_replaced"] == 0
        left += (~inside[4:8]).sum()
    if str(case) in ("Phocas", "Krum", "MultiKrum"):
        assert left > 0  # the rule alone leaves the range


@every_api
@every_strategy
def test_without_an_attacker_nothing_changes_that_is_inside(api, case):
    """Without an attacker, the mean, the median and the trimmed mean are never outside the range."""
    x = spread_updates(case.enough(1) + 2, 0)
    results = []
    for chosen in (options(api), {"buffers": ()}):
        strategy = strategy_of(api, case, 0, **chosen)
        api.hand_out(strategy, model_of(x[0]))
        results.append(flat(api.aggregate(strategy, replies_of(api, x, model_of))[0]))
    if case.untold:  # almost half may be attackers, so only the median is inside
        results[1][4:8] = np.median(x[:, 4:8], axis=0) if len(x) % 2 else results[0][4:8]
    np.testing.assert_array_equal(*results)


@every_api
def test_without_buffers_all_values_are_the_rules_own_as_in_0_1(api):
    """docs/migration.md says so."""
    left = 0
    for seed in range(10):
        x = spread_updates(7, 2, seed)
        strategy = api.ours.Phocas(**{api.f_name: 2}, buffers=())
        api.hand_out(strategy, model_of(np.ones(10, np.float32)))
        found = numbers_of(api.aggregate(strategy, replies_of(api, x, model_of))[0])
        np.testing.assert_array_equal(found, rules.Phocas(2)(x))
        left += (found[4:8] < np.sort(x, axis=0)[2, 4:8]).sum()
    assert left > 0  # of the range in which they are by default


WAYS = {
    "positions": [1, 2],
    "positions of numpy": (np.int64(2), np.int64(1)),
    "names": lambda names: [names[1], names[2]],
    "a function of the name": lambda names: lambda name: name in names[1:3],
}


@every_api
@pytest.mark.parametrize("way", WAYS)
def test_buffers_are_names_positions_or_a_function(api, way):
    names = NAMES if api.name == "train" else tuple("01234")
    chosen = WAYS[way](names) if callable(WAYS[way]) else WAYS[way]
    x = spread_updates(5, 2)
    x[:2, 6:8] = -9
    strategy = api.ours.Phocas(**{api.f_name: 2}, buffers=chosen)
    api.hand_out(strategy, model_of(x[0]))
    tensors, _ = api.aggregate(strategy, replies_of(api, x, model_of))
    assert (tensors[2] > 0).all()


@every_api
@pytest.mark.parametrize(
    "wrong", ["running_var", 3, [1.5], [True], [-1], [None], [["a"]], 1.0, {1: 2}.items()], ids=str
)
def test_what_says_which_is_checked(api, wrong):
    with pytest.raises(ValueError, match="Parameter `buffers` should be a list of names"):
        api.ours.Phocas(**{api.f_name: 1}, buffers=wrong)


@every_api
@pytest.mark.parametrize("missing", [["bn.running_vars"], [5], [0, 99]])
def test_a_buffer_that_the_model_lacks_is_a_mistake(api, missing):
    strategy = api.ours.Median(buffers=missing)
    with pytest.raises(ValueError, match=r"Parameter `buffers` should name tensors of the model"):
        api.hand_out(strategy, model_of(np.ones(10, np.float32)))


@every_api
def test_a_model_that_looks_like_batchnorm_is_pointed_out_where_names_are_unknown(api, caplog):
    """This holds in the Message API too, where an app may send a list of arrays."""
    model = list(model_of(np.ones(10, np.float32)).values())
    for chosen, warned in ((None, True), ((), False), ([1, 2], False)):
        caplog.clear()
        strategy = api.ours.Median(buffers=chosen)
        for t in (1, 2):
            api.hand_out(strategy, model, server_round=t)
        said = [r for r in caplog.records if "Tensor 3 looks like BatchNorm" in r.getMessage()]
        assert len(said) == warned
    caplog.clear()
    api.hand_out(api.ours.Median(), [np.ones(3), np.ones(3, np.int64)])
    TrainApi().hand_out(TrainApi().ours.Median(), model_of(np.ones(10, np.float32)))
    assert not any("BatchNorm" in r.getMessage() for r in caplog.records)


@every_api
def test_a_function_that_finds_no_buffer_is_warned_of(api, caplog):
    api.hand_out(api.ours.Median(buffers=lambda name: False), model_of(np.ones(10, np.float32)))
    assert any("`buffers` is true for no tensor" in r.getMessage() for r in caplog.records)


@every_api
def test_replies_decide_nothing_about_which_tensors_are_buffers(api):
    """Without a model, the replies determine the tensors. Buffers that they do not have raise no error."""
    strategy = api.ours.Median(buffers=[7, "bn.running_var"])
    x = spread_updates(5, 0)
    assert api.aggregate(strategy, replies_of(api, x, model_of))[0] is not None


@every_api
@pytest.mark.parametrize("optimiser", ["FedAdam", "FedYogi", "FedAdagrad", "FedAvgM"])
def test_server_optimisers_do_not_move_buffers(api, optimiser):
    first = model_of(np.full(10, 0.02, np.float32))
    given = {"eta": 0.1} if optimiser != "FedAvgM" else {"server_learning_rate": 1.5}
    if api.name == "fit":
        from flwr.common import ndarrays_to_parameters

        given["initial_parameters"] = ndarrays_to_parameters(list(first.values()))
    theirs = getattr(api.theirs, optimiser)(**given)
    strategy = api.ours.ByzantineRobust(theirs, rules.MultiKrum(1), **options(api))
    model, moved = first, False
    for t in range(1, 6):
        x = spread_updates(7, 1, t)
        x[:, 4:8] = 0.01 * np.abs(x[:, 4:8]) / t
        api.hand_out(strategy, model, server_round=t)
        tensors, _ = api.aggregate(strategy, replies_of(api, x, model_of), server_round=t)
        low, high = np.sort(x, axis=0)[1], np.sort(x, axis=0)[-2]
        expected = rules.MultiKrum(1)(x).clip(low, high)
        np.testing.assert_array_equal(numbers_of(tensors)[4:8], expected[4:8])
        moved |= not np.allclose(numbers_of(tensors)[:4], expected[:4])
        model = dict(zip(model, tensors, strict=True))
    assert moved  # the optimiser does move the other tensors


@every_api
@pytest.mark.parametrize("scale", [1.0, -0.5])
def test_gradients_of_buffers_are_clamped_before_the_step(api, scale):
    """With gradients, the interval is that of the steps that the clients' gradients would make."""
    x = spread_updates(5, 2)
    x[:2, 4:8] = 50
    strategy = api.ours.Phocas(
        **{api.f_name: 2}, payload="gradients", learning_rate=0.5, **options(api)
    )
    api.hand_out(strategy, model_of(np.ones(10, np.float32)))
    tensors, _ = api.aggregate(strategy, replies_of(api, x * np.float32(scale), model_of))
    steps = 1 - 0.5 * scale * x[2:, 4:8]
    found = numbers_of(tensors)[4:8]
    assert (found >= steps.min(axis=0) - 1e-6).all()
    assert (found <= steps.max(axis=0) + 1e-6).all()


@every_api
def test_values_that_are_not_finite_bound_nothing(api):
    x = spread_updates(7, 0)
    x[:2, 6:8] = [[NAN, INF], [-INF, NAN]]
    strategy = api.ours.Phocas(**{api.f_name: 2}, **options(api))
    api.hand_out(strategy, model_of(np.ones(10, np.float32)))
    tensors, metrics = api.aggregate(strategy, replies_of(api, x, model_of))
    assert metrics["byzantine/num_replaced"] == 0
    assert (tensors[2] >= x[2:, 6:8].min(axis=0)).all()
    assert (tensors[2] <= x[2:, 6:8].max(axis=0)).all()
    x[:6, 6] = NAN  # no interval is left, so the old value stays
    tensors, metrics = api.aggregate(strategy, replies_of(api, x, model_of))
    assert metrics["byzantine/num_replaced"] == 1
    assert tensors[2][0] == 1


@every_api
@pytest.mark.parametrize("name", ["ByGARS", "ByGARSPlusPlus"])
def test_reputations_move_no_buffers(api, name):
    """This holds even if the auxiliary loss has a gradient for them."""

    class Everything(Quadratic):
        def __call__(self, parameters, server_round):
            return [np.ones(np.shape(array)) for array in parameters]

    strategy = getattr(api.ours, name)(
        auxiliary=Everything(np.zeros(4)), initial_reputation=1.0, **options(api)
    )
    first = model_of(np.ones(10, np.float32))
    api.hand_out(strategy, first)
    tensors, _ = api.aggregate(strategy, replies_of(api, spread_updates(5, 1), model_of))
    assert (numbers_of(tensors)[4:8] == 1).all()
    assert (numbers_of(tensors)[:4] != 1).any()


@given(
    hnp.arrays(np.float32, st.tuples(st.integers(1, 9), st.integers(0, 5)), elements=st.floats(width=32)),
    st.data(),
)  # fmt: skip
@quickly
def test_the_interval_is_within_whichever_values_are_honest(values, data):
    n = len(values)
    f = data.draw(st.integers(0, (n - 1) // 2))
    low, high = honest_interval(list(values), f)
    assert (low <= high).all()
    honest = np.delete(values, data.draw(st.permutations(range(n)))[:f], axis=0)
    finite = np.isfinite(honest).all(axis=0)
    assert (low[finite] >= honest[:, finite].min(axis=0)).all()
    assert (high[finite] <= honest[:, finite].max(axis=0)).all()
    with np.errstate(invalid="ignore"):
        result = data.draw(hnp.arrays(np.float32, low.shape, elements=st.floats(-9, 9, width=32)))
    clamped = clamp(result, list(values), f, result, None)
    assert np.isfinite(clamped).all()
    inside = (low <= result) & (result <= high)
    np.testing.assert_array_equal(clamped[inside], result[inside])


def test_bounds_of_any_number_of_coordinates():
    """Some thousands of coordinates are sorted at a time."""
    x = gaussian(5, 40_000, dtype=np.float32).reshape(5, 200, 200)
    low, high = honest_interval(list(x), 1)
    ordered = np.sort(x, axis=0)
    np.testing.assert_array_equal(low, ordered[1])
    np.testing.assert_array_equal(high, ordered[-2])


def test_names_that_pytorch_and_keras_give():
    names = [
        "a.running_mean",
        "a.running_var",
        "b/moving_mean",
        "b/moving_variance",
        "running",
        "var",
    ]
    assert find_buffers(None, names) == (0, 1, 2, 3)
    assert find_buffers((), names) == ()
    assert find_buffers(["running", 0], names) == (0, 4)


@pytest.mark.parametrize("case", AS_BARE, ids=str)
def test_every_rule_says_how_many_it_tolerates(case):
    f = 2 if case.takes_f else 0
    expected = {"Median": 3, "Medoid": 3}.get(case.name, f)
    assert case.make(f).tolerated(7) == expected


@every_api
@pytest.mark.parametrize("known", [True, False])
def test_half_precision_overflows_to_the_old_value(api, known):
    """Finiteness is checked after the result was converted to the model's type."""
    model = {"w": np.full(3, 60000, np.float16)}
    strategy = api.ours.Median(payload="gradients", learning_rate=1.0)
    api.hand_out(strategy, model)
    sent = {"w": np.array([-60000, 1, 0], np.float16)}
    tensors, metrics = api.aggregate(strategy, [api.reply(Sent(i, sent)) for i in range(3)])
    np.testing.assert_array_equal(tensors[0], np.array([60000, 60000, 60000], np.float16))
    assert metrics["byzantine/num_replaced"] == 1

    model, doubled = {"w": np.zeros(3, np.float16)}, Doubled(num_byzantine=0)
    robust = api.ours.ByzantineRobust(api.theirs.FedAvg(), doubled)
    if known:
        api.hand_out(robust, model)
    sent = {"w": np.array([60000, 100, 0], np.float16)}
    tensors, metrics = api.aggregate(robust, [api.reply(Sent(i, sent)) for i in range(3)])
    assert np.isfinite(tensors[0]).all()
    assert metrics["byzantine/num_replaced"] == 1


class Doubled(rules.MultiKrum):
    """A rule that doubles the mean of the nearest values, which float16 cannot hold."""

    def mixing(self, n, distances):
        return 2 * super().mixing(n, distances)


def test_bare_rules_give_nan_where_their_type_cannot_hold_the_result():
    updates = np.array([[60000, 100]] * 3, np.float16)
    result = Doubled(num_byzantine=0)(updates)
    assert result.dtype == np.float16
    np.testing.assert_array_equal(result, np.array([NAN, 200], np.float16))


@pytest.mark.torch
def test_bare_rules_give_nan_in_bfloat16_too():
    torch = pytest.importorskip("torch")
    updates = torch.tensor([[3.0e38, 1.0], [3.0e38, 1.0], [3.0e38, 1.0]], dtype=torch.bfloat16)
    result = Doubled(num_byzantine=0)(updates)
    assert result.dtype == torch.bfloat16
    assert result[0].isnan()
    assert result[1] == 2

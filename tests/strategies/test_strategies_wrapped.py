"""`ByzantineRobust` in front of Flower's own strategies, which get one clean reply, made by the rule."""

import numpy as np
import pytest
from cases import every_strategy, gaussian
from flower import APIS, FitApi, Sent, TrainApi, every_api, flat, message, replies_of, strategy_of
from flwr.app import Array, ArrayRecord, MetricRecord, RecordDict
from flwr.common import ndarrays_to_parameters, parameters_to_ndarrays

from flwr_byzantine import rules

MODEL = np.linspace(-1, 1, 6)
RULE = rules.Phocas(2)


def split(row):
    return [row[:4].reshape(2, 2), row[4:]]


def plain(name, **kwargs):
    """A function that makes one of Flower's strategies."""

    def make(api, model=MODEL):
        given = dict(kwargs)
        if api.name == "fit":
            initial = split(model) if isinstance(model, np.ndarray) else model
            given["initial_parameters"] = ndarrays_to_parameters(initial)
        return getattr(api.theirs, name)(**given)

    return make


def private(name, **kwargs):
    """A function that makes FedAvg under differential privacy, without noise. It expects one reply."""
    if name.endswith("Adaptive"):
        kwargs["clipped_count_stddev"] = 0

    def make(api, model=MODEL):
        dp = getattr(api.theirs, f"DifferentialPrivacy{name}Clipping")
        return dp(api.theirs.FedAvg(), noise_multiplier=0, num_sampled_clients=1, **kwargs)

    return make


WRAPPED = {
    "FedAvg": plain("FedAvg"),
    "FedAvgM": plain("FedAvgM", server_learning_rate=0.5, server_momentum=0.9),
    "FedAdam": plain("FedAdam", eta=0.1, beta_1=0.9, beta_2=0.99),
    "FedYogi": plain("FedYogi", eta=0.1, beta_1=0.9, beta_2=0.99),
    "FedAdagrad": plain("FedAdagrad", eta=0.1),
    "FedProx": plain("FedProx", proximal_mu=0.1),
    "FedMedian": plain("FedMedian"),
    "DP server": private("ServerSideFixed", clipping_norm=0.25),
    "DP client": private("ClientSideFixed", clipping_norm=0.25),
    "DP server adaptive": private("ServerSideAdaptive", initial_clipping_norm=0.25),
}

every_wrapped = pytest.mark.parametrize("name", WRAPPED)


def updates(n=9, seed=0):
    x = gaussian(n, 6, seed)
    x[:2] = [[1e9], [np.nan]]
    return x


@every_api
@every_wrapped
def test_equals_the_wrapped_strategy_on_the_rules_result(api, name):
    robust = api.ours.ByzantineRobust(strategy=WRAPPED[name](api), rule=RULE)
    alone = WRAPPED[name](api)
    model = split(MODEL)
    for server_round in (1, 2, 3):
        x = updates(seed=server_round)
        for strategy in (robust, alone):
            sent = api.hand_out(strategy, model, server_round)
            assert len(sent) == 2
        got, metrics = api.aggregate(robust, replies_of(api, x, split), server_round)
        one = [api.reply(Sent(100, split(RULE(x))))]
        expected, _ = api.aggregate(alone, one, server_round)
        np.testing.assert_allclose(flat(got), flat(expected), rtol=1e-12)
        assert (
            metrics["byzantine/num_received"],
            metrics["byzantine/num_dropped"],
            metrics["byzantine/skipped"],
        ) == (9, 0, 0)
        assert not np.array_equal(flat(got), flat(model))
        model = got


@every_api
@every_strategy
def test_equals_the_strategy_of_the_rule_around_fedavg(api, case):
    x = updates(case.enough(2) + 1)
    robust = api.ours.ByzantineRobust(api.theirs.FedAvg(), case.make(2))
    direct = strategy_of(api, case, 2)
    replies = replies_of(api, x, split)
    for known in (False, True):
        if known:
            for strategy in (robust, direct):
                api.hand_out(strategy, split(MODEL))
        (one, metrics), (other, counts) = (api.aggregate(s, replies) for s in (robust, direct))
        np.testing.assert_array_equal(flat(one), flat(other))
        assert metrics == counts


@every_api
def test_differential_privacy_clips_the_rules_result(api):
    robust = api.ours.ByzantineRobust(WRAPPED["DP server"](api), RULE)
    api.hand_out(robust, split(MODEL))
    tensors, _ = api.aggregate(robust, replies_of(api, updates(), split))
    change = RULE(updates()) - MODEL
    np.testing.assert_allclose(flat(tensors) - MODEL, 0.25 * change / np.linalg.norm(change))


@every_api
@pytest.mark.parametrize("bit", [0, 1, True, False])
def test_client_side_adaptive_clipping_gets_its_bit(api, bit):
    """The strategy gets the median of the clients' bits. Flower's mods send booleans or whole numbers."""
    if api.name == "train":
        bit = int(bit)  # metric records hold no booleans
    adaptive = private("ClientSideAdaptive", initial_clipping_norm=1.0)(api)
    robust = api.ours.ByzantineRobust(adaptive, RULE)
    api.hand_out(robust, split(MODEL))
    replies = [
        api.reply(Sent(i, split(row), metrics={"norm_bit": bit if i < 7 else 1 - bit}))
        for i, row in enumerate(updates())
    ]
    tensors, _ = api.aggregate(robust, replies)
    np.testing.assert_allclose(flat(tensors), RULE(updates()), rtol=1e-12)
    assert (adaptive.clipping_norm < 1) == bool(bit)


@every_api
def test_differential_privacy_in_front_of_a_robust_strategy(api):
    """Here differential privacy is the outer strategy, so the rule gets clipped replies."""
    x = updates()[2:]
    dp = api.theirs.DifferentialPrivacyServerSideFixedClipping(
        api.ours.Krum(**{api.f_name: 2}),
        noise_multiplier=0,
        clipping_norm=1e9,
        num_sampled_clients=7,
    )
    api.hand_out(dp, split(MODEL))
    tensors, _ = api.aggregate(dp, replies_of(api, x, split))
    np.testing.assert_allclose(flat(tensors), rules.Krum(2)(x), rtol=1e-6)


@every_api
@every_wrapped
def test_dtypes_survive_round_after_round(api, name):
    """The next round checks replies against the model that the wrapped strategy made in this one."""
    model = [np.ones((2, 2), np.float32), np.array(3, np.int64), np.ones(2, np.float16)]
    robust = api.ours.ByzantineRobust(WRAPPED[name](api, model), rules.Median())
    dtypes = [tensor.dtype for tensor in model]
    for server_round in (1, 2):
        api.hand_out(robust, model, server_round)
        replies = [
            api.reply(Sent(i, [np.array(t + 1, d) for t, d in zip(model, dtypes, strict=True)]))
            for i in range(5)
        ]
        model, metrics = api.aggregate(robust, replies, server_round)
        assert metrics["byzantine/num_dropped"] == 0
        assert [tensor.dtype for tensor in model] == dtypes


def spying(api, seen):
    """A strategy that records what it gets: models, numbers of examples, metrics, and failures."""

    class Spy(api.theirs.FedAvg):
        def aggregate_fit(self, server_round, results, failures):
            seen.append(
                [
                    (flat(parameters_to_ndarrays(r.parameters)), r.num_examples, r.metrics)
                    for _, r in results
                ]
            )
            seen.append(failures)
            return super().aggregate_fit(server_round, results, failures)

        def aggregate_evaluate(self, server_round, results, failures):
            seen.append([(r.loss, r.num_examples, r.metrics) for _, r in results])
            seen.append(failures)
            return super().aggregate_evaluate(server_round, results, failures)

        def aggregate_train(self, server_round, replies):
            self.keep(replies)
            return super().aggregate_train(server_round, replies)

        def keep(self, replies):
            kept = []
            for reply in (r for r in replies if not r.has_error()):
                metrics = dict(reply.content["metrics"])
                arrays = reply.content.array_records.get("arrays", {})
                values = flat([np.zeros(0), *(array.numpy() for array in arrays.values())])
                kept.append((values, metrics.pop("num-examples"), metrics))
            seen.append(kept)
            seen.append([r for r in replies if r.has_error()])

    return Spy()


@every_api
@pytest.mark.parametrize(
    ("cap", "counted"), [(False, [10, 20, 30, 10**15, 0]), (True, [10, 20, 25, 25, 0])]
)
def test_the_wrapped_strategy_sees_a_clean_reply_for_each_accepted_one(api, cap, counted):
    seen, counts = [], [10, 20, 30, 10**15, -4]
    replies = [
        api.reply(Sent(i, [np.full(2, float(i))], count, {"loss": loss, f"own-{i}": 1.0}))
        for i, (count, loss) in enumerate(zip(counts, [0.1, 0.2, 0.3, 1e9, np.nan], strict=True))
    ]
    bad, error = api.reply(Sent(8, [np.ones(1)])), api.error(9)
    robust = api.ours.ByzantineRobust(spying(api, seen), rules.Median(), cap_examples=cap)
    tensors, _ = api.aggregate(robust, [*replies, bad, error])
    np.testing.assert_allclose(tensors[0], [2, 2])
    results, failures = seen
    assert failures == [error]
    assert [count for _, count, _ in results] == counted
    for model, _, metrics in results:
        np.testing.assert_array_equal(model, [2, 2])
        assert metrics == {"loss": 0.25}
    again, _ = api.aggregate(robust, replies)  # the replies themselves are not changed
    np.testing.assert_allclose(again[0], [2, 2])


@every_api
def test_counts_that_cannot_be_weights_move_nothing(api):
    """In Flower's average, the sum of these counts would be infinite, NaN or 0."""
    for lies in ([1e308, 1e308], [float("inf")] * 2, [float("nan")] * 2, [-10, 0]):
        if api.name == "fit":
            lies = [10**400, *lies]
        honest = [0, 0] if lies[-1] == 0 else [10, 10, 10]
        replies = [
            api.reply(Sent(i, [np.full(2, 3.0)], count)) for i, count in enumerate(honest + lies)
        ]
        tensors, _ = api.aggregate(
            api.ours.ByzantineRobust(api.theirs.FedAvg(), rules.Median()), replies
        )
        np.testing.assert_allclose(tensors[0], [3, 3])


@every_api
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("name", ["FedAvg", "FedProx", "FedMedian", "FedTrimmedAvg"])
def test_an_average_of_clean_results_is_the_rules_model_bit_for_bit(api, name, dtype):
    given = {"proximal_mu": 0.1} if name == "FedProx" else {}
    robust = api.ours.ByzantineRobust(getattr(api.theirs, name)(**given), rules.Median())
    x = gaussian(7, 200).astype(dtype)
    replies = [api.reply(Sent(i, [row], 7 ** (2 + i))) for i, row in enumerate(x)]
    tensors, _ = api.aggregate(robust, replies)
    assert tensors[0].dtype == dtype
    np.testing.assert_array_equal(tensors[0], np.median(x, axis=0))


def fault_tolerant(results, failures):
    """Play a round of Flower's FaultTolerantFedAvg behind a rule, with so many results and failures."""
    api = FitApi()
    tolerant = api.theirs.FaultTolerantFedAvg(
        min_completion_rate_fit=0.6, min_completion_rate_evaluate=0.6
    )
    robust = api.ours.ByzantineRobust(tolerant, rules.Median())
    replies = [api.reply(Sent(i, [np.ones(2)])) for i in range(results)]
    errors = [api.error(i) for i in range(failures)]
    evaluations = [api.evaluation(i, 0.5) for i in range(results)]
    tensors, _ = api.aggregate(robust, [*replies, *errors])
    loss, _ = robust.aggregate_evaluate(1, evaluations, errors)
    return tensors is not None, loss is not None


def test_a_strategy_that_counts_results_and_failures_sees_how_many_there_are(caplog):
    assert fault_tolerant(9, 1) == (True, True)
    assert "the old one stays" not in caplog.text
    assert fault_tolerant(1, 9) == (False, False)
    assert "FaultTolerantFedAvg gave no model, so the old one stays" in caplog.text


@pytest.mark.parametrize("accepts", [True, False])
def test_accept_failures_holds_for_evaluation_too(accepts):
    api = FitApi()
    wrapped = api.theirs.FedAvg(accept_failures=accepts)
    for strategy in (
        api.ours.ByzantineRobust(wrapped, rules.Median()),
        api.ours.Median(accept_failures=accepts),
    ):
        evaluations = [api.evaluation(i, 0.5) for i in range(3)]
        loss, _ = strategy.aggregate_evaluate(1, evaluations, [api.error(4)])
        assert (loss is not None) == accepts
        assert strategy.aggregate_evaluate(1, evaluations, [])[0] == 0.5


@pytest.mark.parametrize("name", ["QFedAvg", "FedMedian", "FedTrimmedAvg", "FedAvg", "FedAdagrad"])
def test_strategies_that_take_arrays_out_of_records_get_records_of_their_own(name):
    api = TrainApi()
    given = {"client_learning_rate": 0.1} if name == "QFedAvg" else {}
    robust = api.ours.ByzantineRobust(getattr(api.theirs, name)(**given), rules.Median())
    api.hand_out(robust, split(MODEL))
    replies = [
        api.reply(Sent(i, split(row), metrics={"train_loss": 0.5}))
        for i, row in enumerate(gaussian(5, 6))
    ]
    tensors, _ = api.aggregate(robust, replies)
    assert np.isfinite(flat(tensors)).all()


@every_api
@every_wrapped
def test_malformed_replies_and_too_few_keep_the_run_going(api, name):
    robust = api.ours.ByzantineRobust(WRAPPED[name](api), rules.TrimmedMean(2))
    api.hand_out(robust, split(MODEL))
    replies = replies_of(api, gaussian(5, 6), split)
    bad = api.reply(Sent(7, [np.ones(1)]))
    tensors, metrics = api.aggregate(robust, [bad, *replies[:4]])
    assert tensors is None
    assert metrics["byzantine/skipped"] == 1
    tensors, metrics = api.aggregate(robust, [bad, *replies])
    assert np.isfinite(flat(tensors)).all()
    assert metrics["byzantine/num_dropped"] == 1
    assert list(robust.aggregator.last.dropped) == ["7"]
    assert api.aggregate(robust, [api.error(1)])[0] is None
    assert api.aggregate(robust, [])[0] is None


@pytest.mark.parametrize("key", ["metrics", "arrays", "config", "weights"])
def test_names_of_records_do_not_reach_the_wrapped_strategy(key):
    api = TrainApi()
    replies = [
        message(i, RecordDict({
            key: ArrayRecord({"w": Array(np.full(2, float(i)))}),
            "numbers": MetricRecord({"num-examples": 10}),
        }))
        for i in range(3)
    ]  # fmt: skip
    robust = api.ours.ByzantineRobust(api.theirs.FedAvg(), rules.Median())
    api.hand_out(robust, {"w": np.zeros(2)})
    tensors, _ = api.aggregate(robust, replies)
    np.testing.assert_array_equal(tensors[0], [1, 1])


@every_api
def test_evaluation_is_robust_too(api):
    losses = [0.5, 0.6, 0.7, 1e30]
    replies = [api.evaluation(i, loss, accuracy=1 - loss) for i, loss in enumerate(losses)]
    robust = api.ours.ByzantineRobust(api.theirs.FedAvg(), RULE)
    result = api.evaluate(robust, replies)
    averages = {"accuracy": 0.35} if api.name == "train" else {}  # Flower's average
    assert result == pytest.approx({"loss": 0.65} | averages)
    assert api.evaluate(robust, []) == {}


@every_api
def test_gradients_through_a_wrapped_strategy(api):
    robust = api.ours.ByzantineRobust(
        api.theirs.FedAvg(), rules.Krum(2), payload="gradients", learning_rate=lambda t: 1 / t
    )
    api.hand_out(robust, split(MODEL), server_round=4)
    x = updates()
    tensors, _ = api.aggregate(robust, replies_of(api, x, split), server_round=4)
    np.testing.assert_allclose(flat(tensors), MODEL - rules.Krum(2)(x) / 4)


@every_api
def test_parameters_are_checked(api):
    other = next(a for a in APIS if a is not api)
    with pytest.raises(ValueError, match="`strategy`"):
        api.ours.ByzantineRobust(other.theirs.FedAvg(), RULE)
    with pytest.raises(ValueError, match="`rule`"):
        api.ours.ByzantineRobust(api.theirs.FedAvg(), "krum")
    with pytest.raises(ValueError, match="`payload`"):
        api.ours.ByzantineRobust(api.theirs.FedAvg(), RULE, payload="?")


def test_the_rest_is_the_wrapped_strategys():
    fit, train = APIS
    initial = ndarrays_to_parameters([np.zeros(1)])
    wrapped = fit.theirs.FedAvg(
        initial_parameters=initial, evaluate_fn=lambda server_round, arrays, config: (0.5, {})
    )
    robust = fit.ours.ByzantineRobust(wrapped, RULE)
    assert robust.initialize_parameters(None) is initial
    assert robust.evaluate(1, initial) == (0.5, {})
    assert "FedAvg" in repr(robust)
    train.ours.ByzantineRobust(train.theirs.FedAdam(), RULE).summary()

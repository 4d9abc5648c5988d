"""Strategies of both APIs with pre-aggregations, trusted weights, and a center that is remembered."""

import json
import logging

import numpy as np
import pytest
import reference_mixing
from cases import gaussian
from flower import Sent, every_api, replies_of

from flwr_byzantine import rules
from flwr_byzantine.audit import read_audit
from flwr_byzantine.rules import (
    AdaptiveClipping,
    Bucketing,
    CenteredClipping,
    Clipping,
    Krum,
    NearestNeighborMixing,
    Phocas,
)

NNM = NearestNeighborMixing(2)


def flat(tensors):
    return np.concatenate([np.ravel(t) for t in tensors])


def split(row):
    return [row[:3].copy(), row[3:].copy()]


def in_strategy(api, strategy, x, model, server_round=1):
    """The new model and the metrics of a round."""
    api.hand_out(strategy, split(model), server_round)
    tensors, metrics = api.aggregate(strategy, replies_of(api, x, split), server_round)
    return None if tensors is None else flat(tensors), metrics


@every_api
@pytest.mark.parametrize(
    "step", [NNM, Bucketing(2, seed=3), Clipping(1.2), AdaptiveClipping(2), Clipping(3.0) >> NNM]
)
def test_the_keyword_puts_it_in_front_of_the_rule(api, step):
    x, model = gaussian(11, 7, 1), gaussian(1, 7, 2)[0]
    strategies = [
        api.ours.Phocas(**{api.f_name: 2}, pre_aggregation=step),
        (api.ours.strategy if api.name == "fit" else api.ours).RobustFedAvg(rule=step >> Phocas(2)),
        api.ours.ByzantineRobust(api.theirs.FedAvg(), rule=Phocas(2), pre_aggregation=step),
    ]
    # Bucketing's permutation depends on the round. A rule alone has no round, so it is not compared.
    alone = None if isinstance(step, Bucketing) else (step >> Phocas(2))(x, model=model)
    found = [in_strategy(api, strategy, x, model)[0] for strategy in strategies]
    assert strategies[0].rule == strategies[1].rule == step >> Phocas(2)
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_allclose(found[2], found[1], rtol=1e-12)
    if alone is not None:
        np.testing.assert_allclose(found[0], alone, rtol=1e-12)


@every_api
def test_gradients_are_measured_from_zero(api):
    x, model = gaussian(9, 7, 1), gaussian(1, 7, 2)[0]
    strategy = api.ours.Phocas(
        **{api.f_name: 2}, pre_aggregation=Clipping(1.2), payload="gradients", learning_rate=0.5
    )
    found, _ = in_strategy(api, strategy, x, model)
    np.testing.assert_allclose(found, model - 0.5 * (Clipping(1.2) >> Phocas(2))(x), rtol=1e-12)


@every_api
def test_minimums_are_those_of_the_whole(api):
    strategy = api.ours.Krum(**{api.f_name: 1}, pre_aggregation=Bucketing(2))
    available = "min_available_clients" if api.name == "fit" else "min_available_nodes"
    assert getattr(strategy, available) == 9
    with pytest.raises(ValueError, match=rf"`{available}` of Krum should be at least 9"):
        api.ours.Krum(**{api.f_name: 1, available: 8}, pre_aggregation=Bucketing(2))
    x, model = gaussian(8, 7, 1), np.zeros(7)
    found, metrics = in_strategy(api, strategy, x, model)
    assert found is None
    assert metrics["byzantine/skipped"] == 1


@every_api
def test_f_can_be_read_and_set_behind_it(api):
    strategy = api.ours.Phocas(**{api.f_name: 2}, pre_aggregation=NNM)
    assert getattr(strategy, api.f_name) == 2
    setattr(strategy, api.f_name, 1)
    assert strategy.rule == NNM >> Phocas(1)
    with pytest.raises(ValueError, match=f"`{api.f_name}`"):
        setattr(strategy, api.f_name, -1)
    krum = api.ours.MultiKrum(**{api.f_name: 1}, pre_aggregation=NNM)
    setattr(krum, api.m_name, 2)
    assert krum.rule == NNM >> rules.MultiKrum(1, 2)


@every_api
@pytest.mark.parametrize("wrong", [4, "nnm", Krum(1), NearestNeighborMixing, [NNM]])
def test_anything_else_than_a_pre_aggregation_raises(api, wrong):
    with pytest.raises(ValueError, match=r"`pre_aggregation` should be a pre-aggregation such as"):
        api.ours.Phocas(**{api.f_name: 1}, pre_aggregation=wrong)
    with pytest.raises(ValueError, match=r"`pre_aggregation` should be"):
        api.ours.ByzantineRobust(api.theirs.FedAvg(), Phocas(1), pre_aggregation=wrong)


@every_api
def test_a_pre_aggregation_is_no_rule(api):
    with pytest.raises(ValueError, match=r"Put a rule behind it: `NearestNeighborMixing\(4\) >> "):
        api.ours.ByzantineRobust(api.theirs.FedAvg(), rule=NNM)


@every_api
@pytest.mark.parametrize("name", ["ByGARS", "ByGARSPlusPlus"])
@pytest.mark.parametrize("keyword", [{"pre_aggregation": NNM}, {"trusted_weights": {1: 2.0}}])
def test_reputations_take_neither(api, name, keyword):
    (word,) = keyword
    with pytest.raises(ValueError, match=f"`{word}` of {name} should be None"):
        getattr(api.ours, name)(auxiliary=lambda parameters, server_round: parameters, **keyword)


@every_api
def test_without_f_the_warning_names_the_keyword(api, caplog):
    api.ours.Phocas(pre_aggregation=NNM)
    assert f"Phocas protects from no attacker: its `{api.f_name}` is 0" in caplog.text


@every_api
def test_a_step_that_is_told_fewer_attackers_is_warned_of(api, caplog):
    api.ours.Phocas(**{api.f_name: 2}, pre_aggregation=NNM)
    api.ours.Phocas(**{api.f_name: 2}, pre_aggregation=NearestNeighborMixing(3))
    assert "survives" not in caplog.text
    api.ours.Phocas(**{api.f_name: 4}, pre_aggregation=NNM)
    assert f"Phocas survives only 2 attackers, although `{api.f_name}` is 4" in caplog.text
    strategy = api.ours.Phocas(**{api.f_name: 2}, pre_aggregation=NNM)
    caplog.clear()
    setattr(strategy, api.f_name, 3)
    assert "Phocas survives only 2 attackers, although" in caplog.text


@every_api
def test_a_step_told_nobody_before_a_rule_without_f_is_warned_of(api, caplog):
    api.ours.Median(pre_aggregation=NNM)
    assert "protects" not in caplog.text
    api.ours.Median(pre_aggregation=NearestNeighborMixing(0))
    assert (
        "Median protects from no attacker: `num_byzantine` of its pre-aggregation NearestNeighborMixing"
        in caplog.text
    )


@every_api
@pytest.mark.parametrize("name", ["CenteredClipping", "Median", "Medoid"])
def test_strategies_that_are_told_no_f_say_so(api, name):
    with pytest.raises(
        TypeError, match=f"{name}.. got an .*{api.f_name}.*: its rule takes no such"
    ):
        getattr(api.ours, name)(**{api.f_name: 1})
    with pytest.raises(TypeError, match=f"{api.f_name}.*: pass it to the rule"):
        api.ours.RobustFedAvg(rule=Krum(1), **{api.f_name: 1})


@every_api
def test_rules_that_measure_updates_need_the_model(api):
    strategy = api.ours.Phocas(**{api.f_name: 1}, pre_aggregation=Clipping(1.0))
    with pytest.raises(ValueError, match="need the global model"):
        api.aggregate(strategy, replies_of(api, gaussian(5, 7), split))


@every_api
def test_attackers_behind_a_clipping_end_no_round(api):
    x, model = gaussian(9, 7, dtype=np.float32), np.zeros(7, np.float32)
    x[0], x[1] = np.nan, 1e38
    for step in (Clipping(1.0), AdaptiveClipping(2), NNM, AdaptiveClipping(2) >> NNM):
        strategy = api.ours.Krum(**{api.f_name: 2}, pre_aggregation=step)
        found, metrics = in_strategy(api, strategy, x, model)
        assert np.abs(found).max() < 5
        assert metrics["byzantine/skipped"] == 0


@every_api
@pytest.mark.parametrize("step", [NNM, Bucketing(2, seed=1), Clipping(3.0)])
def test_the_audit_tells_each_clients_share_and_score(api, step):
    x, model = gaussian(13, 7, 1), np.zeros(7)
    x[4] = 1e6
    strategy = api.ours.MultiKrum(**{api.f_name: 2}, pre_aggregation=step)
    in_strategy(api, strategy, x, model)
    shares = np.array([record.share for record in strategy.audit])
    scores = np.array([record.score for record in strategy.audit])
    assert len(scores) == 13
    if isinstance(step, Clipping):  # shortened updates have a smaller share
        assert 0 < shares.sum() < 1
    else:
        assert shares.sum() == pytest.approx(1)
        assert scores[4] == scores.max() > 1e6
        assert shares[4] == 0
        assert strategy.audit[4].verdict == "not selected"


# -- the seed of bucketing ------------------------------------------------------------------------------


@every_api
def test_a_drawn_round_can_be_replayed(api, tmp_path):
    log = tmp_path / "audit.jsonl"
    x, model = gaussian(12, 7), np.zeros(7)
    strategy = api.ours.Krum(**{api.f_name: 1}, pre_aggregation=Bucketing(2), audit_log=log)
    for server_round in (1, 2):
        found, metrics = in_strategy(api, strategy, x, model, server_round)
        seed = metrics["byzantine/seed"]
        assert {record.seed for record in strategy.audit if record.round == server_round} == {seed}
        assert {json.loads(line)["seed"] for line in log.read_text().splitlines()[-12:]} == {seed}
        again = api.ours.Krum(**{api.f_name: 1}, pre_aggregation=Bucketing(2, seed=seed))
        replayed, told = in_strategy(api, again, x, model, server_round)
        np.testing.assert_array_equal(replayed, found)
        assert "byzantine/seed" not in told
    records, _ = read_audit(log)
    assert len({record.seed for record in records}) == 2


# -- centered clipping ---------------------------------------------------------------------------------


def rounds_of(payload, count=4, dtype=np.float64):
    """For each round, a function from the current model to what seven clients send."""
    for t in range(count):
        noise = gaussian(7, 7, seed=t, dtype=dtype)
        yield lambda model, noise=noise: noise if payload == "gradients" else model + noise


def by_hand(payload, gamma, threshold, iterations, model):
    """The models of a run. The center v_0 is the model plus the aggregated update of the last round."""
    last = np.zeros(7)
    for sent in rounds_of(payload):
        origin = np.zeros(7) if payload == "gradients" else model
        v = reference_mixing.centered_clipping(sent(model), threshold, iterations, origin + last)
        last = np.array(v) - origin
        model = model - gamma * last if payload == "gradients" else np.array(v)
        yield model


@every_api
@pytest.mark.parametrize("payload", ["parameters", "gradients"])
@pytest.mark.parametrize("iterations", [1, 3])
def test_the_center_is_where_the_last_round_led(api, payload, iterations):
    model = gaussian(1, 7, 9)[0]
    options = {"payload": payload} | ({"learning_rate": 0.5} if payload == "gradients" else {})
    strategy = api.ours.CenteredClipping(threshold=1.5, iterations=iterations, **options)
    expected = by_hand(payload, 0.5, 1.5, iterations, model)
    for t, (sent, wanted) in enumerate(zip(rounds_of(payload), expected, strict=True), 1):
        model, _ = in_strategy(api, strategy, sent(model), model, t)
        np.testing.assert_allclose(model, wanted, rtol=1e-9)


@every_api
def test_its_state_is_in_the_checkpoint(api, tmp_path):
    def strategy():
        return api.ours.CenteredClipping(threshold=1.5, checkpoint=tmp_path / "global.ckpt")

    models = list(by_hand("parameters", 1, 1.5, 1, gaussian(1, 7, 9)[0]))
    model, sent = gaussian(1, 7, 9)[0], list(rounds_of("parameters"))
    first = strategy()
    for t in (1, 2):
        model, _ = in_strategy(api, first, sent[t - 1](model), model, t)
    second = strategy()
    for t in (1, 2):  # the loop goes through the finished rounds again
        api.hand_out(second, split(gaussian(1, 7, 9)[0]), t)
        api.aggregate(second, [], t)
    for t in (3, 4):
        model, _ = in_strategy(api, second, sent[t - 1](model), model, t)
        np.testing.assert_allclose(model, models[t - 1], rtol=1e-9)


@every_api
def test_behind_another_strategy_it_is_the_rules_aggregate(api):
    """The center follows the rule's aggregate, not FedAdam's step."""
    name = "eta"
    inner = {"initial_parameters": None} if api.name == "fit" else {}
    if api.name == "fit":
        from flwr.common import ndarrays_to_parameters

        inner["initial_parameters"] = ndarrays_to_parameters(split(np.zeros(7)))
    wrapped = api.theirs.FedAdam(**{name: 0.01}, **inner)
    robust = api.ours.ByzantineRobust(wrapped, rule=CenteredClipping(1.5))
    model, last = np.zeros(7), np.zeros(7)
    for t, sent in enumerate(rounds_of("parameters"), 1):
        x = sent(model)
        v = np.array(reference_mixing.centered_clipping(x, 1.5, 1, model + last))
        before = model
        model, _ = in_strategy(api, robust, x, model, t)
        last = v - before
        np.testing.assert_allclose(flat(robust.aggregator.last_update), last, atol=1e-9)
        assert abs(model - v).max() > 1e-3  # FedAdam's model is another one


@every_api
def test_a_skipped_round_and_another_model_are_no_trouble(api):
    strategy = api.ours.CenteredClipping(threshold=1.5)
    in_strategy(api, strategy, gaussian(5, 7), np.zeros(7), 1)
    kept = flat(strategy.aggregator.last_update)
    in_strategy(api, strategy, np.empty((0, 7)), np.zeros(7), 2)
    np.testing.assert_array_equal(flat(strategy.aggregator.last_update), kept)
    found, _ = in_strategy(api, strategy, gaussian(5, 9), np.zeros(9), 3)
    np.testing.assert_allclose(found, CenteredClipping(1.5)(gaussian(5, 9)))


@every_api
def test_its_keywords_can_be_read_and_are_checked(api):
    strategy = api.ours.CenteredClipping(threshold=2.0, iterations=3)
    assert (strategy.threshold, strategy.iterations) == (2.0, 3)
    strategy.threshold = 4
    assert strategy.rule == CenteredClipping(4.0, 3)
    with pytest.raises(ValueError, match="`threshold` of CenteredClipping should be a positive"):
        api.ours.CenteredClipping(threshold=-1)


@every_api
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_low_precision_and_integers(api, dtype):
    """The center of a float16 model is exact up to its rounding, and integers have no center."""
    strategy = api.ours.CenteredClipping(threshold=1.5)
    model = [np.zeros(4, dtype), np.array(3)]
    for t in (1, 2):
        sent = [[model[0] + row, np.array(5)] for row in gaussian(5, 4, t, dtype)]
        api.hand_out(strategy, model, t)
        replies = [api.reply(Sent(i, tensors)) for i, tensors in enumerate(sent)]
        model, _ = api.aggregate(strategy, replies, t)
        assert model[0].dtype == dtype
        assert model[1] == 5
        assert np.isfinite(model[0]).all()


@every_api
@pytest.mark.parametrize(
    ("threshold", "said"),
    [
        (2.0, None),
        (1e4, "is too large for these updates"),
        (1e-3, "is too small for these updates"),
    ],
)
def test_a_threshold_of_another_scale_than_the_updates_is_warned_of_once(
    api, threshold, said, caplog
):
    x = gaussian(7, 7)
    x[0] = np.nan
    for strategy in (
        api.ours.CenteredClipping(threshold=threshold),
        api.ours.Median(pre_aggregation=Clipping(threshold)),
    ):
        caplog.clear()
        for t in (1, 2, 3):
            in_strategy(api, strategy, x, np.zeros(7), t)
        told = [r.getMessage() for r in caplog.records if "for these updates" in r.getMessage()]
        assert len(told) == (said is not None)
        assert all(f"{said}: their usual length is" in text for text in told)


@every_api
@pytest.mark.parametrize(("smoothing", "said"), [(0.1, 0), (1e-9, 0), (1e5, 1)])
def test_a_smoothing_that_makes_the_geometric_median_a_mean_is_warned_of(
    api, smoothing, said, caplog
):
    strategy = api.ours.GeometricMedian(**{api.f_name: 2}, iterations=3, smoothing=smoothing)
    for t in (1, 2):
        in_strategy(api, strategy, gaussian(7, 7), np.zeros(7), t)
    assert caplog.text.count("Pass a smaller `smoothing`") == said


# -- trusted weights ------------------------------------------------------------------------------------

TRUSTED = {"100": 1.0, 101: 2.0, 102: 1.0, 103: 4.0, 104: 1.0, 105: 1.0, 106: 1.0}
OF_CLIENTS = np.array([1.0, 2, 1, 4, 1, 1, 1])


@every_api
def test_a_mean_of_hospitals_is_weighed_by_their_size(api):
    x = gaussian(7, 7)
    strategy = api.ours.Mean(trusted_weights=TRUSTED)
    found, _ = in_strategy(api, strategy, x, np.zeros(7))
    np.testing.assert_allclose(found, OF_CLIENTS @ x / OF_CLIENTS.sum(), rtol=1e-12)
    shares = [record.share for record in strategy.audit]
    np.testing.assert_allclose(shares, OF_CLIENTS / OF_CLIENTS.sum())


@every_api
@pytest.mark.parametrize("payload", ["parameters", "gradients"])
def test_selected_updates_are_weighed(api, payload):
    x = gaussian(7, 7)
    x[2] = 1e6
    selected = rules.MultiKrum(1).weights(x) > 0
    weights = OF_CLIENTS * selected
    strategy = api.ours.MultiKrum(**{api.f_name: 1}, trusted_weights=TRUSTED, payload=payload)
    found, _ = in_strategy(api, strategy, x, np.zeros(7))
    sign = -1 if payload == "gradients" else 1
    np.testing.assert_allclose(found, sign * weights @ x / weights.sum(), rtol=1e-9)


@every_api
def test_clipped_updates_are_weighed(api):
    x = gaussian(7, 7)
    strategy = api.ours.Mean(trusted_weights=TRUSTED, pre_aggregation=Clipping(1.0))
    found, _ = in_strategy(api, strategy, x, np.zeros(7))
    np.testing.assert_allclose(found, OF_CLIENTS @ Clipping(1.0)(x) / OF_CLIENTS.sum(), rtol=1e-12)


@every_api
def test_claimed_numbers_of_examples_weigh_nothing(api):
    x = gaussian(7, 7)
    for trusted in (None, TRUSTED):
        strategy = api.ours.Mean(trusted_weights=trusted)
        api.hand_out(strategy, split(np.zeros(7)))
        replies = [api.reply(Sent(100 + i, split(row), 10**i)) for i, row in enumerate(x)]
        weights = np.ones(7) if trusted is None else OF_CLIENTS
        found = flat(api.aggregate(strategy, replies)[0])
        np.testing.assert_allclose(found, weights @ x / weights.sum(), rtol=1e-12)


@every_api
def test_an_unlisted_client_has_the_smallest_weight_and_is_named(api, caplog):
    x = gaussian(7, 7)
    listed = {client: weight for client, weight in TRUSTED.items() if client != 101}
    strategy = api.ours.Mean(trusted_weights=listed)
    with caplog.at_level(logging.WARNING):
        found, _ = in_strategy(api, strategy, x, np.zeros(7))
    weights = OF_CLIENTS.copy()
    weights[1] = 1
    np.testing.assert_allclose(found, weights @ x / weights.sum(), rtol=1e-12)
    assert (
        "`trusted_weights` lists no weight for 101, which gets the smallest one, 1.0" in caplog.text
    )


@every_api
@pytest.mark.parametrize(
    "name", ["Krum", "Median", "Phocas", "TrimmedMean", "Bulyan", "MultiBulyan"]
)
def test_rules_that_do_not_average_whole_updates_refuse_them(api, name):
    told = {} if name == "Median" else {api.f_name: 1}
    with pytest.raises(
        ValueError, match=r"`trusted_weights` should be None for a rule that does not"
    ):
        getattr(api.ours, name)(**told, trusted_weights=TRUSTED)
    strategy = api.ours.MultiKrum(**{api.f_name: 1}, trusted_weights=TRUSTED)
    with pytest.raises(ValueError, match=r"`trusted_weights` should be None"):
        strategy.rule = Krum(1)
    with pytest.raises(ValueError, match=r"`trusted_weights` should be None"):
        api.ours.MultiKrum(**{api.f_name: 1}, trusted_weights=TRUSTED, pre_aggregation=NNM)


@every_api
@pytest.mark.parametrize(
    "wrong",
    [
        {},
        3,
        [1.0],
        {"a": 0},
        {"a": -1},
        {"a": np.nan},
        {"a": "2"},
        {"a": True},
        {None: 1.0},
        {1.5: 1},
    ],
)
def test_trusted_weights_are_positive_numbers_by_client(api, wrong):
    with pytest.raises(ValueError, match="Parameter `trusted_weights` should be positive numbers"):
        api.ours.Mean(trusted_weights=wrong)


@every_api
def test_fewer_replies_than_f_raise_nothing(api, caplog):
    strategy = api.ours.Phocas(**{api.f_name: 3}, pre_aggregation=AdaptiveClipping(3), bound="warn")
    for n in (1, 2, 3):
        found, _ = in_strategy(api, strategy, gaussian(n, 7, 1), np.zeros(7))
        assert np.isfinite(found).all()
    assert 'It runs for `bound="warn"`' in caplog.text


@every_api
def test_more_replies_than_a_share_can_take_skip_the_round(api):
    strategy = api.ours.SmallestMaximumEigenvalue(**{api.f_name: 0.2})
    api.hand_out(strategy, split(np.zeros(7)), nodes=1000)
    replies = replies_of(api, gaussian(1000, 7, 1), split)
    found, metrics = api.aggregate(strategy, replies)
    assert found is None
    assert metrics["byzantine/skipped"] == 1


@every_api
def test_the_learning_rate_of_gradients_is_not_said_to_have_no_effect(api, caplog):
    api.ours.CenteredClipping(payload="gradients", learning_rate=0.5)
    assert "learning_rate" not in caplog.text
    api.ours.CenteredClipping(learning_rate=0.5)
    assert "`learning_rate` has no effect" in caplog.text


@every_api
@pytest.mark.parametrize("name", ["ByGARS", "FLTrust"])
def test_a_strategy_without_a_rule_takes_none(api, name):
    strategy = getattr(api.ours, name)(auxiliary=lambda parameters, server_round: parameters)
    with pytest.raises(ValueError, match=f"`rule` of {name} should be left unchanged"):
        strategy.rule = Krum(1)


@every_api
def test_setting_a_keyword_that_is_read_once_is_warned_of(api, caplog):
    strategies = [
        api.ours.Krum(**{api.f_name: 1}),
        api.ours.ByzantineRobust(api.theirs.FedAvg(), Krum(1)),
    ]
    for strategy in strategies:
        for name, value in (
            ("pre_aggregation", NNM),
            ("trusted_weights", {1: 2.0}),
            ("bound", "warn"),
        ):
            caplog.clear()
            setattr(strategy, name, value)
            assert f"Setting `{name}` has no effect on {type(strategy).__name__}" in caplog.text
        caplog.clear()
        strategy.cap_examples = True
        assert not caplog.text


@every_api
def test_numbers_of_numpy_are_numbers(api):
    weights = {np.int64(1): np.int64(3), 2: np.float32(0.5)}
    strategy = api.ours.MultiKrum(**{api.f_name: 1}, trusted_weights=weights)
    assert strategy.aggregator.trusted_weights == {"1": 3.0, "2": 0.5}
    assert api.ours.CenteredClipping(threshold=np.float32(0.5)).rule == CenteredClipping(0.5)


@every_api
def test_a_client_that_is_listed_twice_raises(api):
    with pytest.raises(
        ValueError, match=r"Found a client twice, as a number and as text, in `\{1: 2"
    ):
        api.ours.MultiKrum(**{api.f_name: 1}, trusted_weights={1: 2.0, "1": 3.0})


@every_api
def test_a_strategy_shows_its_rule(api):
    strategy = api.ours.Phocas(**{api.f_name: 2}, pre_aggregation=NNM)
    assert repr(strategy) == f"Phocas(rule={NNM >> Phocas(2)})"
    trust = api.ours.FLTrust(auxiliary=lambda parameters, server_round: parameters)
    assert repr(trust) == "FLTrust(server_steps=1)"


@every_api
def test_large_trusted_weights_are_a_matter_of_their_ratios(api):
    x, model = gaussian(7, 7, 1), np.zeros(7)
    results = []
    for unit in (1.0, 1.7e308):
        weights = {100 + i: unit * (1.0 if i % 2 else 0.5) for i in range(7)}
        strategy = api.ours.MultiKrum(**{api.f_name: 1}, trusted_weights=weights)
        results.append(in_strategy(api, strategy, x, model)[0])
    np.testing.assert_allclose(results[1], results[0], rtol=1e-12)
    assert np.abs(results[0]).max() > 0.1


@every_api
@pytest.mark.parametrize("weights", [[1e-320] * 7, [1e300, *[1e-300] * 6]])
def test_trusted_weights_of_any_ratio_give_a_model(api, weights):
    x = gaussian(7, 7)
    x[0] = 1e6  # too far away to be selected
    trusted = {100 + i: weight for i, weight in enumerate(weights)}
    strategy = api.ours.MultiKrum(**{api.f_name: 1}, trusted_weights=trusted)
    found, metrics = in_strategy(api, strategy, x, np.ones(7))
    assert metrics["byzantine/skipped"] == 0
    np.testing.assert_allclose(found, rules.MultiKrum(1)(x), rtol=1e-9)


@every_api
def test_an_unlisted_client_is_named_once(api, caplog):
    strategy = api.ours.Mean(trusted_weights={100: 2.0})
    for server_round, n in enumerate((3, 3, 3, 4), 1):
        in_strategy(api, strategy, gaussian(n, 7), np.zeros(7), server_round)
    named = [text for text in caplog.messages if "lists no weight" in text]
    assert len(named) == 2
    assert "for 101, 102," in named[0]
    assert "for 103," in named[1]

"""The report of a round: which clients failed, what users' functions get, and the names of metrics."""

import math

import numpy as np
import pytest
from flower import FitApi, Sent, TrainApi, counted, every_api
from flwr.app import MetricRecord

from flwr_byzantine.rules import Median

SHARED = "byzantine/"


def words(api):
    """The keywords of the user's metrics functions after training and after evaluation."""
    if api.name == "fit":
        return "fit_metrics_aggregation_fn", "evaluate_metrics_aggregation_fn"
    return "train_metrics_aggr_fn", "evaluate_metrics_aggr_fn"


@every_api
def test_our_metrics_have_one_prefix_and_the_users_theirs(api):
    def own(*arguments):
        return {"num_received": -1.0} if api.name == "fit" else MetricRecord({"num_received": -1.0})

    strategy = api.ours.MultiKrum(**{api.f_name: 1, words(api)[0]: own})
    replies = [api.reply(Sent(i, [np.full(3, float(i))])) for i in range(6)]
    _, metrics = api.aggregate(strategy, replies)
    assert metrics.pop("num_received") == -1
    assert {name for name in metrics if not name.startswith(SHARED)} == set()
    assert metrics[SHARED + "num_received"] == 6


@every_api
@pytest.mark.parametrize(
    "value",
    [math.nan, math.inf, -0.1, True, np.True_, None, "0.1", [0.1], [[1], [1, 2]], 1j, 10**400],
)
def test_a_function_has_to_give_a_step_size(api, value):
    """`tests/reputation/test_bygars.py` tests the same for ByGARS."""
    strategy = api.ours.Median(payload="gradients", learning_rate=lambda server_round: value)
    api.hand_out(strategy, [np.ones(2)])
    gradients = [api.reply(Sent(i, [np.ones(2)])) for i in range(3)]
    with pytest.raises(ValueError, match=r"Parameter `learning_rate` should give .* in round 1"):
        api.aggregate(strategy, gradients)


@every_api
@pytest.mark.parametrize("value", [0, 0.5, np.float32(0.5), np.array(0.5), np.int64(1)])
def test_a_step_size_may_be_0_and_of_any_type_of_number(api, value):
    strategy = api.ours.Median(payload="gradients", learning_rate=lambda server_round: value)
    api.hand_out(strategy, [np.ones(2)])
    tensors, _ = api.aggregate(strategy, [api.reply(Sent(i, [np.ones(2)])) for i in range(3)])
    np.testing.assert_array_equal(tensors[0], np.ones(2) * (1 - value))


@every_api
@pytest.mark.parametrize("rate", [True, math.nan, -1, 0])
def test_a_number_has_to_be_a_step_size(api, rate):
    given = {"auxiliary": lambda parameters, server_round: []}
    for name, more in (("Median", {"payload": "gradients"}), ("ByGARS", given)):
        with pytest.raises(ValueError, match="`learning_rate` should be a positive number"):
            getattr(api.ours, name)(learning_rate=rate, **more)
    with pytest.raises(ValueError, match="`meta_learning_rate` should be a positive number"):
        api.ours.ByGARSPlusPlus(meta_learning_rate=rate, **given)


@every_api
def test_a_learning_rate_without_effect_is_said(api, caplog):
    api.ours.Median(learning_rate=0.1, payload="gradients")
    api.ours.Median()
    assert "learning_rate" not in caplog.text
    api.ours.Median(learning_rate=0.1)
    assert "`learning_rate` has no effect" in caplog.text


def spying(api, seen):
    """A metrics function that records the number of examples and the metric `a` of each report."""

    def function(reports, key=None):
        if api.name == "fit":
            seen.append([(count, metrics.get("a")) for count, metrics in reports])
            return {"mine": 1.0}
        records = [next(iter(report.metric_records.values())) for report in reports]
        seen.append([(record[key], record.get("a")) for record in records])
        return MetricRecord({"mine": 1.0})

    return function


SIZES = [1000, 10, 10, -4, 0]


@every_api
@pytest.mark.parametrize("phase", [0, 1])
@pytest.mark.parametrize(("cap", "expected"), [(False, SIZES), (True, [10, 10, 10])])
def test_users_functions_see_counts_as_sent(api, phase, cap, expected):
    seen = []
    options = {words(api)[phase]: spying(api, seen)} | ({"cap_examples": True} if cap else {})
    strategy = api.ours.Median(**options)
    if phase:
        replies = [api.evaluation(i, 0.5, size, a=i) for i, size in enumerate(SIZES)]
        metrics = api.evaluate(strategy, replies)
    else:
        replies = [api.reply(Sent(i, [np.ones(2)], size, {"a": i})) for i, size in enumerate(SIZES)]
        _, metrics = api.aggregate(strategy, replies)
    assert metrics["mine"] == 1
    assert seen == [[(count, i) for i, count in enumerate(expected)]]


@every_api
def test_cap_examples_is_checked(api):
    for make in (
        api.ours.Median,
        lambda **o: api.ours.ByzantineRobust(api.theirs.FedAvg(), Median(), **o),
    ):
        with pytest.raises(ValueError, match="`cap_examples` should be True or False"):
            make(cap_examples=3)


@every_api
@pytest.mark.parametrize("phase", [0, 1])
def test_a_bug_in_a_users_function_is_logged_and_the_round_goes_on(api, phase, caplog):
    def average(reports, key=None):
        return reports[0]["acuracy"]

    for function in (average, lambda *arguments: 3):
        caplog.clear()
        strategy = api.ours.Median(**{words(api)[phase]: function})
        if phase:
            found = api.evaluate(strategy, [api.evaluation(i, 0.5) for i in range(3)])
            assert found == ({"loss": 0.5} if api.name == "fit" else {})
        else:
            replies = [api.reply(Sent(i, [np.ones(2)])) for i in range(3)]
            tensors, metrics = api.aggregate(strategy, replies)
            assert tensors is not None
            assert counted(metrics, "num_received") == (3,)
        if function is average:
            assert 'return reports[0]["acuracy"]' in caplog.text
        assert "Traceback" in caplog.text


def outlying(api, n=9, far=2):
    """Replies. The first few have models far from the others."""
    rows = np.random.default_rng(0).normal(size=(n, 3)) * 0.1
    rows[:far] += 50
    return [api.reply(Sent(i, [row], metrics={"a": i})) for i, row in enumerate(rows)]


@every_api
@pytest.mark.parametrize("name", ["Krum", "MultiKrum", "Bulyan", "Median", "TrimmedMean", "ByGARS"])
def test_metrics_of_refused_nodes_are_left_out_where_flower_leaves_them_out(api, name):
    """In the Message API, Flower's Krum, MultiKrum and Bulyan give the function only the selected reports."""
    seen = []
    f = {api.f_name: 1 if name == "Bulyan" else 2} if name not in ("Median", "ByGARS") else {}
    aux = {"auxiliary": lambda parameters, server_round: [np.ones(3)]} if name == "ByGARS" else {}
    strategy = getattr(api.ours, name)(**{words(api)[0]: spying(api, seen)}, **f, **aux)
    far = 1 if name == "Bulyan" else 2
    api.hand_out(strategy, [np.zeros(3)])
    api.aggregate(strategy, outlying(api, far=far))
    kept = {int(r.client) for r in strategy.audit if r.verdict == "kept"}
    reported = {number for _, number in seen[0]}
    if api.name == "train" and name in ("Krum", "MultiKrum", "Bulyan"):
        assert reported == kept
        assert reported.isdisjoint(range(far))
    else:
        assert reported == set(range(9))


def test_medians_are_of_those_a_rule_selected_where_attackers_cannot_be_most_of_them():
    api = TrainApi()
    replies = outlying(api, 12, 2)
    several, one = api.ours.MultiKrum(num_malicious_nodes=2), api.ours.Krum(num_malicious_nodes=2)
    _, metrics = api.aggregate(several, replies)
    kept = [int(r.client) for r in several.audit if r.verdict == "kept"]
    assert len(kept) == 8
    assert metrics["a"] == np.median(kept)
    assert api.aggregate(one, replies)[1]["a"] == 5.5


def test_a_wrapped_strategy_sees_text_that_clients_report():
    api, seen = FitApi(), []

    def devices(reports):
        seen.append([(metrics["device"], metrics["a"]) for _, metrics in reports])
        return {"most": max(device for device, _ in seen[-1])}

    given = dict.fromkeys(words(api), devices)
    robust = api.ours.ByzantineRobust(api.theirs.FedAvg(**given), Median())
    sent = [{"device": "cpu", "a": 1}, {"device": "gpu", "a": 2}, {"device": "cpu", "a": 3}]
    sent.append({"device": 1e30, "a": "text", "more": "text"})
    replies = [api.reply(Sent(i, [np.ones(2)], metrics=m)) for i, m in enumerate(sent)]
    assert api.aggregate(robust, replies)[1]["most"] == "gpu"
    evaluations = [api.evaluation(i, 0.5, **metrics) for i, metrics in enumerate(sent)]
    assert api.evaluate(robust, evaluations)["most"] == "gpu"
    assert seen == [[("cpu", 2), ("gpu", 2), ("cpu", 2), ("cpu", 2)]] * 2


@every_api
def test_a_bug_in_a_wrapped_strategys_function_is_logged_and_the_round_goes_on(api, caplog):
    def buggy(reports, key=None):
        raise KeyError("no such metric")

    given = dict.fromkeys(words(api), buggy)
    wrapped = api.theirs.FedAvg(**given)
    robust = api.ours.ByzantineRobust(wrapped, Median())
    tensors, _ = api.aggregate(robust, [api.reply(Sent(i, [np.ones(2)])) for i in range(3)])
    np.testing.assert_array_equal(tensors[0], np.ones(2))
    api.evaluate(robust, [api.evaluation(i, 0.5) for i in range(3)])
    logged = [r.getMessage() for r in caplog.records if r.levelname == "ERROR"]
    assert len(logged) == 2
    assert all("buggy" in m and "no such metric" in m and "test_rounds.py" in m for m in logged)
    assert [getattr(wrapped, name) for name in words(api)] == [buggy] * 2

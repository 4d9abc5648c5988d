"""The strategies of both Flower APIs compute what the rule alone computes, and obey FedAvg's arguments."""

import inspect

import numpy as np
import pytest
from cases import AS_BARE, every_strategy, gaussian
from flower import APIS, FitApi, Sent, TrainApi, counted, every_api, flat, replies_of, strategy_of
from flwr.common import ndarrays_to_parameters
from flwr.server.strategy.aggregate import aggregate_krum

from flwr_byzantine import rules

SHAPES = [(2, 3), (), (0,), (4, 1, 2), (9,)]  # 24 values in all


def split(row):
    """Split a row into the tensors of a model."""
    sizes = [int(np.prod(shape)) for shape in SHAPES]
    parts = np.split(row, np.cumsum(sizes)[:-1])
    return [part.reshape(shape) for part, shape in zip(parts, SHAPES, strict=True)]


@every_api
@every_strategy
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("known", [True, False])
def test_equals_the_bare_rule(api, case, dtype, known):
    f = 2
    x = gaussian(case.enough(f) + 2, 24, seed=case.enough(f), dtype=dtype)
    x[0] += 100
    strategy = strategy_of(api, case, f)
    if known:
        api.hand_out(strategy, split(x.mean(axis=0)))
    tensors, metrics = api.aggregate(strategy, replies_of(api, x, split))
    assert [(t.shape, t.dtype) for t in tensors] == [(shape, dtype) for shape in SHAPES]
    if case.rtol > 1e-12:  # the distances of several tensors are added in another order
        np.testing.assert_allclose(flat(tensors), case.make(f)(x), rtol=1e-10, atol=1e-10)
    else:
        np.testing.assert_array_equal(flat(tensors), case.make(f)(x))
    assert metrics["byzantine/num_received"] == len(x)
    assert (
        metrics["byzantine/num_dropped"]
        == metrics["byzantine/num_replaced"]
        == metrics["byzantine/skipped"]
        == 0
    )
    if case.weights is not None:
        assert metrics["byzantine/num_selected"] == np.count_nonzero(case.weights(x, f))


@every_api
@every_strategy
@pytest.mark.parametrize("rate", [0.5, lambda server_round: 1 / (server_round + 1)])
def test_gradients_move_the_model(api, case, rate):
    x, model = gaussian(case.enough(1) + 1, 24), np.arange(24.0)
    strategy = strategy_of(api, case, 1, payload="gradients", learning_rate=rate)
    api.hand_out(strategy, split(model), server_round=3)
    tensors, _ = api.aggregate(strategy, replies_of(api, x, split), server_round=3)
    gamma = rate(3) if callable(rate) else rate
    np.testing.assert_allclose(flat(tensors), model - gamma * case.make(1)(x), rtol=1e-12)


@every_api
def test_gradients_need_the_model(api):
    strategy = api.ours.Median(payload="gradients")
    with pytest.raises(ValueError, match="global model"):
        api.aggregate(strategy, replies_of(api, gaussian(3, 2)))


@every_api
@every_strategy
@pytest.mark.parametrize("order_by", [None, "partition-id"])
def test_order_of_arrival_changes_no_bit(api, case, order_by):
    x = gaussian(case.enough(2) + 3, 24)
    x[3] = x[1]  # a tie
    replies = [
        api.reply(Sent(1000 - i, split(row), metrics={"partition-id": (7 * i) % len(x)}))
        for i, row in enumerate(x)
    ]
    results = [
        flat(api.aggregate(strategy_of(api, case, 2, order_by=order_by), arrived)[0])
        for arrived in (replies, replies[::-1], replies[5:] + replies[:5])
    ]
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])


@every_api
def test_order_by_decides_ties(api):
    x = [[0.0], [3.0], [1.0], [2.0]]  # each score is the sum of two squared distances; 1 and 2 tie
    for partitions, expected in [([0, 1, 2, 3], 1), ([0, 1, 3, 2], 2), ([0, 1, 3, "?"], 1)]:
        replies = [
            api.reply(Sent(9 - i, [np.array(row)], metrics=_partition(p)))
            for i, (row, p) in enumerate(zip(x, partitions, strict=True))
        ]
        strategy = api.ours.Krum(order_by="partition-id")
        assert api.aggregate(strategy, replies)[0] == [[expected]]


def _partition(p):
    return {} if p == "?" else {"partition-id": p}


@every_api
def test_nodes_are_ordered_as_numbers(api):
    x = {"9": [1.0], "10": [2.0], "100": [0.0], "1000": [3.0]}
    replies = [api.reply(Sent(int(node), [np.array(row)])) for node, row in x.items()]
    assert api.aggregate(api.ours.Krum(), replies)[0] == [[1.0]]


@every_api
@every_strategy
def test_dtypes_and_whole_numbers_survive(api, case):
    """The model has normalisation layers and several precisions."""
    n = case.enough(1) + 1
    x = gaussian(n, 12)
    steps = np.random.default_rng(0).permutation(n)
    clients = [
        {
            "w": row[:4].astype(np.float32), "running_mean": row[4:8].astype(np.float64),
            "half": row[8:12].astype(np.float16), "steps": np.array(steps[i], np.int64),
            "mask": np.array([i % 2 == 0, i < n // 4, True]), "levels": np.full((2, 1), i, np.uint8),
        }
        for i, row in enumerate(x)
    ]  # fmt: skip
    strategy = strategy_of(api, case, 1)
    api.hand_out(strategy, clients[0])
    tensors, _ = api.aggregate(strategy, replies_of(api, clients, lambda client: client))
    assert [(t.dtype, t.shape) for t in tensors] == [
        (t.dtype, t.shape) for t in clients[0].values()
    ]
    rows = np.array([[v for t in list(c.values())[:3] for v in t.astype(float)] for c in clients])
    expected = np.array(case.reference(rows, 1))
    if api.name == "train" and case.takes_f:  # the tensor's name says that it is a buffer
        ordered = np.sort(rows[:, 4:8], axis=0)
        expected[4:8] = expected[4:8].clip(ordered[1], ordered[-2])
    np.testing.assert_allclose(flat(tensors[:3]).astype(float), expected, rtol=2e-3)
    middle = (n - 1) // 2  # the lower median
    assert tensors[3] == middle
    np.testing.assert_array_equal(tensors[4], [n % 2 == 1, False, True])
    np.testing.assert_array_equal(tensors[5], [[middle], [middle]])


@every_api
def test_float_precision_follows_the_model(api):
    """Clients may compute in another precision than that of the model."""
    strategy = api.ours.Median()
    api.hand_out(strategy, [np.zeros(2, np.float32)])
    dtypes = [np.float64, np.float16, ">f4", np.float32]
    replies = [api.reply(Sent(i, [np.full(2, i).astype(dtype)])) for i, dtype in enumerate(dtypes)]
    tensors, _ = api.aggregate(strategy, replies)
    assert tensors[0].dtype == np.float32
    np.testing.assert_array_equal(tensors[0], [1.5, 1.5])


@every_api
def test_model_of_whole_numbers_only(api):
    tensors, metrics = api.aggregate(api.ours.Krum(), replies_of(api, np.array([[1], [5], [9]])))
    assert tensors == [[5]]
    assert metrics["byzantine/skipped"] == 0


@every_api
def test_model_handed_out_is_the_one_kept_for_values_that_are_not_finite(api):
    x = np.ones((3, 4))
    x[:2, 1] = np.nan
    strategy = api.ours.Median()
    api.hand_out(strategy, [np.arange(4.0)])
    tensors, metrics = api.aggregate(strategy, replies_of(api, x))
    np.testing.assert_array_equal(tensors[0], [1, 1, 1, 1])
    assert metrics["byzantine/num_replaced"] == 1
    api.hand_out(strategy, [np.full(4, 7.0)], server_round=2)
    tensors, _ = api.aggregate(strategy, replies_of(api, x), server_round=2)
    np.testing.assert_array_equal(tensors[0], [1, 7, 1, 1])


@every_api
def test_everyone_not_finite_keeps_the_model(api):
    for case in AS_BARE:
        strategy = strategy_of(api, case, 1)
        x = np.full((case.enough(1), 3), np.nan)
        unknown, metrics = api.aggregate(strategy, replies_of(api, x))
        assert unknown is None
        assert metrics["byzantine/skipped"] == 1
        api.hand_out(strategy, [np.arange(3.0)])
        known, metrics = api.aggregate(strategy, replies_of(api, x))
        if case.name in (
            "Mean",
            "Median",
            "TrimmedMean",
            "Phocas",
            "MeaMed",
        ):  # coordinate by coordinate
            np.testing.assert_array_equal(known[0], np.arange(3))
            assert metrics["byzantine/num_replaced"] == 3
        else:  # there is no update to select
            assert known is None
            assert metrics["byzantine/skipped"] == 1


# -- FedAvg's own arguments ---------------------------------------------------------------------------


def arguments_of(strategy):
    """The names of the arguments of one of Flower's strategies, with their defaults."""
    parameters = list(inspect.signature(strategy).parameters.values())
    return {p.name: p.default for p in parameters if p.kind is not p.VAR_KEYWORD}


@every_api
@every_strategy
def test_every_argument_of_fedavg_is_taken(api, case):
    given = arguments_of(api.theirs.FedAvg)
    assert len(given) >= 10
    changed = {
        "fraction_evaluate": 0.25,
        f"min_{'fit' if api.name == 'fit' else 'train'}_{api.clients}": 8,
        f"min_available_{api.clients}": 9,
        "accept_failures": False,
    }
    given.update({name: value for name, value in changed.items() if name in given})
    strategy = strategy_of(api, case, 1, **given)
    plain = api.theirs.FedAvg(**given)
    for name, value in given.items():
        if value is not None:
            assert getattr(strategy, name) == getattr(plain, name)


@pytest.mark.parametrize(
    ("api", "name"),
    [(api, n) for api in APIS for n in ("Krum", "MultiKrum", "Bulyan") if hasattr(api.theirs, n)],
)
def test_arguments_of_flowers_own_robust_strategies_are_taken(api, name):
    given = arguments_of(getattr(api.theirs, name))
    given |= {key: 9 for key in given if key.startswith("min_")}  # Flower's default of 2 is too few
    strategy = getattr(api.ours, name)(**given)
    tensors, _ = api.aggregate(strategy, replies_of(api, gaussian(9, 4)))
    assert np.isfinite(tensors[0]).all()


@every_api
def test_flowers_number_of_models_to_keep(api):
    name = "Krum" if api.name == "fit" else "MultiKrum"
    x = gaussian(9, 5)
    for keep in (1, 3):
        strategy = getattr(api.ours, name)(**{api.f_name: 2, api.m_name: keep})
        tensors, metrics = api.aggregate(strategy, replies_of(api, x))
        np.testing.assert_array_equal(tensors[0], rules.MultiKrum(2, keep)(x))
        assert metrics["byzantine/num_selected"] == keep


def test_arguments_of_flowers_bulyan():
    x = gaussian(9, 5)
    strategies = [
        FitApi.ours.Bulyan(
            num_malicious_clients=1, first_aggregation_rule=aggregate_krum, to_keep=4
        ),
        TrainApi.ours.Bulyan(num_malicious_nodes=1, selection_rule=lambda records, f, m: records),
    ]
    for api, strategy in zip(APIS, strategies, strict=True):
        tensors, _ = api.aggregate(strategy, replies_of(api, x))
        np.testing.assert_array_equal(tensors[0], rules.Bulyan(1)(x))


@every_api
@every_strategy
def test_strategies_check_their_parameters(api, case):
    if not case.takes_f:
        with pytest.raises(TypeError):
            getattr(api.ours, case.name)(**{api.f_name: 1})
        return
    with pytest.raises(ValueError, match="Found"):
        getattr(api.ours, case.name)(**{api.f_name: -1})
    for wrong in ({"payload": "weights"}, {"learning_rate": 0}, {"learning_rate": "fast"}):
        with pytest.raises(ValueError, match=f"Parameter `{next(iter(wrong))}`"):
            strategy_of(api, case, 1, **wrong)


@every_api
def test_sampling(api):
    train = "fit" if api.name == "fit" else "train"
    fractions = {f"fraction_{train}": 0.5, f"min_{train}_{api.clients}": 3}
    assert len(api.hand_out(api.ours.Median(**fractions), [np.zeros(2)], nodes=10)) == 5
    assert len(api.hand_out(api.ours.Median(**fractions), [np.zeros(2)], nodes=4)) == 3


def test_configuration_of_the_fit_api():
    api = FitApi()
    initial = ndarrays_to_parameters([np.zeros(2)])
    strategy = api.ours.Krum(
        on_fit_config_fn=lambda server_round: {"round": server_round},
        initial_parameters=initial,
        evaluate_fn=lambda server_round, arrays, config: (float(sum(a.sum() for a in arrays)), {}),
        inplace=False,
    )
    sent = api.hand_out(strategy, [np.zeros(2)], server_round=4)
    assert [ins.config for _, ins in sent] == [{"round": 4}] * 3
    assert strategy.initialize_parameters(None) is initial
    assert strategy.evaluate(1, ndarrays_to_parameters([np.ones(3)])) == (3.0, {})


def test_configuration_of_the_message_api():
    api = TrainApi()
    keys = {"weighted_by_key": "n", "arrayrecord_key": "model", "configrecord_key": "settings"}
    strategy = api.ours.Median(**keys)
    contents = [
        message.content for message in api.hand_out(strategy, [np.zeros(2)], server_round=4)
    ]
    assert [set(content) for content in contents] == [{"model", "settings"}] * 2
    assert contents[0]["settings"]["server-round"] == 4
    replies = [api.reply(Sent(i, [np.full(2, float(i))], metrics={"n": 5})) for i in range(3)]
    replies += [api.reply(Sent(9, [np.full(2, 99.0)]))]  # it lacks the key, so it is dropped
    tensors, _ = api.aggregate(strategy, replies)
    np.testing.assert_array_equal(tensors[0], [1, 1])
    assert list(strategy.aggregator.last.dropped) == ["9"]
    strategy.summary()


@every_api
def test_failures(api):
    replies = [*replies_of(api, gaussian(5, 3)), api.error(200)]
    tensors, metrics = api.aggregate(api.ours.Krum(**{api.f_name: 1}), replies)
    assert tensors is not None
    assert counted(metrics, "num_received", "num_dropped") == (
        5,
        0,
    )  # f stays 1: n = 5 is enough
    tensors, metrics = api.aggregate(api.ours.Krum(**{api.f_name: 1}), replies[1:])
    assert tensors is None
    assert metrics["byzantine/skipped"] == 1
    assert api.aggregate(api.ours.Krum(), [api.error(1)])[0] is None
    assert api.aggregate(api.ours.Krum(), [])[0] is None
    if api.name == "fit":
        assert api.aggregate(api.ours.Krum(accept_failures=False), replies) == (None, {})


# -- metrics and evaluation ---------------------------------------------------------------------------


@every_api
def test_losses_and_metrics_are_medians(api):
    reports = [(0.5, 0.9), (0.6, 0.8), (0.7, 0.7), (1e30, 1e30), (float("nan"), float("nan"))]
    replies = [
        api.evaluation(i, loss, 10**15 if i == 3 else 10, accuracy=accuracy)
        for i, (loss, accuracy) in enumerate(reports)
    ]
    result = api.evaluate(api.ours.Krum(**{api.f_name: 1}), replies)
    assert result == pytest.approx({"loss": 0.65, "accuracy": 0.85})
    assert api.evaluate(api.ours.Krum(), []) == {}


@every_api
def test_public_names(api):
    names = {case.name for case in AS_BARE} | {"ByzantineRobust"}
    assert names <= set(api.ours.__all__)
    for name in names - {"ByzantineRobust"}:
        strategy = getattr(api.ours, name)
        assert issubclass(strategy, api.theirs.FedAvg)
        hook = "aggregate_fit" if api.name == "fit" else "aggregate_train"
        assert getattr(strategy, hook) is not getattr(api.theirs.FedAvg, hook)


@every_api
def test_replies_are_not_kept_between_rounds(api):
    strategy = api.ours.Median()
    api.aggregate(strategy, replies_of(api, gaussian(3, 3)))
    last = strategy.aggregator.last
    assert last.model is None
    assert [(reply.tensors, reply.source) for reply in last.accepted] == [((), None)] * 3

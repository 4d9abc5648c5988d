"""ByGARS and ByGARS++ against steps by hand and their theorems, and with clients that come and go."""

import asyncio
import json
import math
import threading
import time
from concurrent.futures import wait

import numpy as np
import pytest
from quadratic import Quadratic

from flwr_byzantine.aggregation.gate import Model, Reply
from flwr_byzantine.aggregation.npy import encode
from flwr_byzantine.reputation.bygars import ByGARSAggregator, ByGARSPlusPlusAggregator
from flwr_byzantine.reputation.rows import without_reversal
from flwr_byzantine.reputation.schedules import PowerDecay
from flwr_byzantine.rules import Median

SETTINGS = {
    "payload": "gradients",
    "learning_rate": 0.1,
    "meta_learning_rate": 0.5,
    "initial_reputation": 0.0,
    "max_norm_ratio": 10.0,
    "normalize": False,
    "forget_after": None,
    "order_by": None,
}


def plusplus(auxiliary, **settings):
    return ByGARSPlusPlusAggregator(auxiliary, **{**SETTINGS, **settings})


def bygars(auxiliary, **settings):
    steps = {"meta_steps": 1, "tolerance": None}
    return ByGARSAggregator(auxiliary, **{**SETTINGS, **steps, **settings})


both = pytest.mark.parametrize("make", [bygars, plusplus])


def play(aggregator, w, rows, server_round=1):
    """Play one round with the model w and a row of values for each client. Return the new w."""
    rows = rows if isinstance(rows, dict) else dict(enumerate(rows))
    if isinstance(w, Model):
        aggregator.model = w
    else:
        aggregator.model = Model(("w",), (np.array(w, np.float64),))
    replies = [
        Reply(str(client), [("w", encode(np.array(row, np.float64)))])
        for client, row in rows.items()
    ]
    return aggregator.aggregate(server_round, replies).model.arrays[0]


def scores(aggregator):
    return list(aggregator.reputations.values())


def test_plusplus_by_hand():
    """Equation 3 with gamma = 0.1, alpha = 0.5 and L = |w|^2 / 2, so that grad L(w) = w."""
    aggregator = plusplus(Quadratic([0, 0]))
    h = [[1, 0], [0, -1]]
    # q_1 = 0 moves nothing. H w = (1, -2). q_2 = 0.5 (1, -2).
    np.testing.assert_array_equal(play(aggregator, [1, 2], h, 1), [1, 2])
    assert scores(aggregator) == [0.5, -1]
    # w - 0.1 (0.5 (1, 0) - 1 (0, -1)) = (0.95, 1.9). q_3 = 0.5 q_2 + 0.5 (1, -2).
    np.testing.assert_allclose(play(aggregator, [1, 2], h, 2), [0.95, 1.9], rtol=1e-15)
    assert scores(aggregator) == [0.75, -1.5]
    # w - 0.1 (0.75, 1.5) = (0.875, 1.75). H (0.95, 1.9) = (0.95, -1.9).
    np.testing.assert_allclose(play(aggregator, [0.95, 1.9], h, 3), [0.875, 1.75], rtol=1e-15)
    np.testing.assert_allclose(scores(aggregator), [0.85, -1.7], rtol=1e-15)


def test_bygars_by_hand():
    """Equations 1 and 2 with gamma = 0.1, alpha = 5, two meta steps and grad L(w) = w."""
    aggregator = bygars(Quadratic([0, 0]), meta_learning_rate=5, meta_steps=2)
    # w_hat = w: q = 0.5 (H w) = (0.5, -1). w_hat = (1, 2) - 0.1 (0.5, 1) = (0.95, 1.9).
    # q = (0.5, -1) + 0.5 (0.95, -1.9) = (0.975, -1.95). w = (1, 2) - 0.1 (0.975, 1.95).
    moved = play(aggregator, [1, 2], [[1, 0], [0, -1]])
    np.testing.assert_allclose(moved, [0.9025, 1.805], rtol=1e-15)
    np.testing.assert_allclose(scores(aggregator), [0.975, -1.95], rtol=1e-15)


@both
def test_parameters_are_pseudo_gradients(make):
    """h_i = w - w_i is taken in float64, so it is exact for models that differ by 1e-6."""
    w, h = np.array([1.0, 2.0]), np.array([[1.0, 0], [0, -1], [2, 3]]) * 1e-6
    by_gradient = make(Quadratic([0, 0]), meta_learning_rate=1e5)
    by_model = make(Quadratic([0, 0]), meta_learning_rate=1e5, payload="parameters")
    for t in (1, 2):
        expected = play(by_gradient, w, h, t)
        np.testing.assert_allclose(play(by_model, w, w - h, t), expected, rtol=1e-9)
    np.testing.assert_allclose(scores(by_model), scores(by_gradient), rtol=1e-9)


def test_learning_rate_of_one_moves_by_the_weighted_updates():
    aggregator = plusplus(
        Quadratic([0]), payload="parameters", learning_rate=1, initial_reputation=0.5
    )
    np.testing.assert_allclose(play(aggregator, [1], [[2], [4]]), [1 + 0.5 * 1 + 0.5 * 3])


def test_tolerance_stops_before_the_loss_rises():
    settings = {"meta_learning_rate": 150, "meta_steps": 9, "tolerance": 0}
    auxiliary = Quadratic([0])
    aggregator = bygars(auxiliary, **settings)
    # w = 1, h = 1: q = 15, w_hat = -0.5. Then q = 7.5, w_hat = 0.25, so the loss falls. And so on.
    moved = play(aggregator, [1], [[1]])
    assert len(auxiliary.calls) == 10
    assert abs(moved[0]) == pytest.approx(0.5**9)
    auxiliary = Quadratic([0])
    wild = bygars(auxiliary, **{**settings, "meta_learning_rate": 250})  # w_hat = -1.5 is worse
    assert play(wild, [1], [[1]]) == [1]
    assert len(auxiliary.calls) == 2
    assert scores(wild) == [0]


@both
@pytest.mark.parametrize("payload", ["gradients", "parameters"])
def test_normalized_rows_have_the_gradient_s_length(make, payload):
    """Only directions count: q is the cosine, and rows with the length of the auxiliary gradient move w."""
    settings = {
        "normalize": True,
        "payload": payload,
        "learning_rate": 1.0,
        "meta_learning_rate": 1.0,
    }
    aggregator = make(Quadratic([0, 0]), **settings)
    w, h = np.array([3.0, 4.0]), np.array([[1e-9, 0], [0, -1e9], [0, 0], [np.nan, 0]])
    sent = h if payload == "gradients" else w - h
    moved = play(aggregator, w, sent)
    total = 1 if make is plusplus else 1.4  # ByGARS keeps shares
    np.testing.assert_allclose(scores(aggregator), np.array([0.6, -0.8, 0, 0]) / total, rtol=1e-6)
    if make is plusplus:
        np.testing.assert_array_equal(moved, w)
        moved = play(aggregator, w, sent, 2)
    # |w| = 5, and the shares are 0.6 / 1.4 and -0.8 / 1.4
    expected = [3 - 5 * 0.6 / 1.4, 4 - 5 * 0.8 / 1.4]
    np.testing.assert_allclose(moved, expected, rtol=1e-6, atol=1e-9)


def test_normalized_bygars_leaves_out_that_a_step_was_too_long():
    """Behind a minimum the gradient reverses along the step. Only its part across the step counts."""
    settings = {"normalize": True, "learning_rate": 3.0, "meta_steps": 4}
    aggregator = bygars(Quadratic([0, 0]), **settings)
    play(aggregator, [1.0, 0.0], [[1, 0], [2, 0], [0, 1]])
    np.testing.assert_allclose(scores(aggregator), [0.5, 0.5, 0], atol=1e-12)

    gradient, before = [np.array([-2.0, 3.0]), None], [np.array([4.0, 0.0]), None]
    np.testing.assert_array_equal(without_reversal(gradient, before)[0], [0, 3])
    assert without_reversal(gradient, gradient) is gradient
    assert without_reversal(gradient, [np.zeros(2), None]) is gradient


@both
def test_normalized_rounds_take_their_gradient_while_clients_compute(make):
    auxiliary = Slow([0, 0])
    aggregator = make(auxiliary, normalize=True, initial_reputation=1.0)
    models = [Model(("w",), (np.array(w),)) for w in ([1.0, 1.0], [3.0, 4.0])]
    for t, model in enumerate(models, start=1):  # the first round has no replies
        aggregator.begin(t, model)
    assert not auxiliary.calls
    auxiliary.may_go_on.set()
    play(aggregator, models[1], [[1, 0]], 2)
    assert aggregator.reputations.keys() == {"0"}
    expected = [1, 2] if make is plusplus else [1, 2, 2]  # ByGARS asks at w_hat too
    assert auxiliary.calls == expected
    play(aggregator, [0, 1], [[1, 0]], 3)  # it had not begun, so it is taken now, at this model
    aggregator.state_dict()
    assert auxiliary.calls[len(expected)] == 3


@both
def test_scaled_adversaries_alone_train_the_model(make):
    """Theorem 2, with a strongly convex loss and no honest client."""
    rng = np.random.default_rng(0)
    minimiser, curvature = rng.normal(size=5), np.array([0.5, 1, 1, 1.5, 2])
    kappa = np.array([-0.5, -1, -1, -2, -3, -1, -2])
    problem = Quadratic(minimiser, curvature)
    gamma = PowerDecay(0.05, power=1.0, offset=50)
    alpha = PowerDecay(0.2 if make is plusplus else 1.0, power=0.75, offset=50)
    aggregator = make(
        Quadratic(minimiser, curvature, noise=0.1), learning_rate=gamma, meta_learning_rate=alpha
    )
    w = majority = np.zeros(5)
    start = np.linalg.norm(minimiser)
    for t in range(1, 401):
        noise = 0.1 * rng.normal(size=(len(kappa), 5))
        w = play(aggregator, w, kappa[:, None] * (problem.gradient(w) + noise), t)
        if t <= 40:
            if 5 < t < 20:
                assert max(scores(aggregator)) < 0
            rows = kappa[:, None] * (problem.gradient(majority) + noise)
            majority = majority - 0.1 * Median()(rows)
    assert np.linalg.norm(w - minimiser) < 0.05 * start
    assert np.linalg.norm(majority - minimiser) > 10 * start


def test_theorem_1():
    """E <grad F(w_t), H^T q_t> >= 0, over benign, scaled and random clients."""
    values = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        problem = Quadratic(rng.normal(size=4))
        kappa = np.array([1, *rng.normal(0, 2, 3), 0, 0])
        w, aggregator = 3 * rng.normal(size=4), plusplus(problem, learning_rate=1e-4)
        for t in range(1, 7):
            gradient = problem.gradient(w)
            h = kappa[:, None] * (gradient + 0.5 * rng.normal(size=(6, 4)))
            h[4:] = rng.normal(0, 3, (2, 4))
            q = np.array(scores(aggregator) or np.zeros(6))
            values.append(gradient @ (q @ h))
            w = play(aggregator, w, h, t)
    assert np.mean(values) > 3 * np.std(values) / math.sqrt(len(values))
    assert np.mean(np.array(values) >= 0) > 0.9


@both
def test_clients_come_and_go(make):
    aggregator = make(Quadratic([0, 0]), initial_reputation=0.25)
    play(aggregator, [1, 2], {"a": [1, 0], "b": [0, 1]})
    before = aggregator.reputations
    play(aggregator, [1, 2], {"b": [0, 1], "c": [0, 0]}, 2)
    after = aggregator.reputations
    assert list(after) == ["a", "b", "c"]
    assert after["a"] == before["a"]
    assert after["b"] != before["b"]
    decayed = 0.5 if make is plusplus else 1
    assert after["c"] == 0.25 * decayed


@both
def test_names_come_from_the_server_alone(make):
    aggregator = make(Quadratic([0.0]))
    aggregator.model = Model(("w",), (np.ones(1),))
    lie = Reply("7", [("w", encode(np.ones(1)))], {"client": "1", "partition-id": 1, "cid": "1"})
    aggregator.aggregate(1, [lie])
    assert list(aggregator.reputations) == ["7"]


@both
def test_restored_aggregators_continue_bit_for_bit(make):
    rng = np.random.default_rng(0)
    settings = {"learning_rate": PowerDecay(0.1, offset=5), "order_by": None}
    rows = rng.normal(size=(6, 3, 4))

    def rounds(aggregator, w, numbers):
        for t in numbers:
            w = play(aggregator, w, rows[t - 1], t)
        return w

    whole = make(Quadratic(np.ones(4)), **settings)
    expected = rounds(whole, np.zeros(4), range(1, 7))
    first = make(Quadratic(np.ones(4)), **settings)
    w = rounds(first, np.zeros(4), range(1, 4))
    second = make(Quadratic(np.ones(4)), **settings)
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    np.testing.assert_array_equal(rounds(second, w, range(4, 7)), expected)
    assert second.state_dict() == whole.state_dict()


@pytest.mark.parametrize(
    "state",
    [
        {}, None, {"reputations": {}, "lengths": [], "trained": None},
        *[{"reputations": {}, "seen": {}, "lengths": lengths, "trained": trained} for lengths, trained in [
            ([1.0], None), ([1.0], [1]), ([-1.0], [True]), (3, None), ([], [True]), ([math.nan], [True]),
        ]],
        *[{"reputations": scores, "seen": seen, "lengths": [], "trained": None} for scores, seen in [
            ({"a": "x"}, {"a": 1}), ({1: 0.5}, {1: 1}), ({"a": 0.5}, {}), ({}, {"a": 1}),
            ({"a": 0.5}, {"a": 1.5}), ({"a": 0.5}, {"a": True}), ({"a": 0.5}, 3), ({"a": 0.5}, None),
        ]],
    ],
)  # fmt: skip
def test_refuses_foreign_states(state):
    with pytest.raises(ValueError, match="Parameter `state`"):
        plusplus(Quadratic([0])).load_state_dict(state)


@both
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, 1e200])
def test_updates_that_are_not_finite_have_no_part(make, bad):
    honest = {"a": [1, 0], "b": [0, -1]}
    alone, attacked = make(Quadratic([0, 0])), make(Quadratic([0, 0]))
    for t in (1, 2, 3):
        expected = play(alone, [1, 2], honest, t)
        np.testing.assert_array_equal(
            play(attacked, [1, 2], {**honest, "z": [bad, bad]}, t), expected
        )
    assert attacked.reputations == {**alone.reputations, "z": 0}


@both
def test_one_bad_round_does_not_reset_a_score(make):
    aggregator = make(Quadratic([0, 0]))
    play(aggregator, [1, 2], [[1, 0]])
    good = scores(aggregator)[0]
    play(aggregator, [1, 2], [[math.nan, 0]], 2)
    assert scores(aggregator)[0] == good * (0.5 if make is plusplus else 1)


@both
@pytest.mark.parametrize("factor", [1e3, 1e20, -1e20])
def test_absurd_lengths_are_cut(make, factor):
    """In the model and the scores, no row counts as longer than 10 auxiliary gradients."""
    g, ratio = np.array([3.0, 4.0]), 10
    cut, absurd = make(Quadratic([0, 0])), make(Quadratic([0, 0]))
    for t in (1, 2):
        expected = play(cut, g, [[1, 0], [0, ratio * 5 * np.sign(factor)]], t)
        np.testing.assert_allclose(
            play(absurd, g, [[1, 0], [0, 5 * factor]], t), expected, rtol=1e-12
        )
        if make is plusplus:
            np.testing.assert_allclose(scores(absurd), scores(cut), rtol=1e-12)


@both
def test_one_bad_step_does_not_loosen_the_limit(make):
    """In any one round, the auxiliary gradient may be a million times as long."""
    row = {"a": [1, 0], "z": [0, 1e9]}
    for bad in (1, 2, 5):
        aggregator = make(Quadratic([0, 0]), initial_reputation=1.0, meta_learning_rate=1e-30)
        for t in range(1, 9):
            w = [3e6, 4e6] if t == bad else [3, 4]
            moved = play(aggregator, w, row, t)
            if t > 2 and t != bad:
                np.testing.assert_allclose(moved, [3 - 0.1, 4 - 0.1 * 10 * 5], rtol=0.2)


def test_the_limit_follows_gradients_that_stay_long():
    aggregator = plusplus(Quadratic([0, 0]))
    for t in range(1, 20):
        play(aggregator, [3, 4] if t < 5 else [300, 400], {"a": [0, 0]}, t)
        assert aggregator.state_dict()["lengths"][-1] == (5 if t < 5 else 500)
        assert len(aggregator.state_dict()["lengths"]) == min(t, 9)
    play(aggregator, [3, 4], {"a": [0, 1e9]}, 20)
    np.testing.assert_allclose(scores(aggregator), [0.5 * 4 * 5000])


@both
@pytest.mark.parametrize("payload", ["gradients", "parameters"])
@pytest.mark.parametrize("size", [1.5e-162, 1e-200, 5e-324])
def test_a_row_too_short_to_be_squared_moves_nothing(make, payload, size):
    """Its norm is wrong by orders of magnitude, and so is the factor that scales it to the usual length."""
    d = 1000
    g = np.random.default_rng(0).normal(size=d)
    settings = {"normalize": True, "payload": payload, "initial_reputation": 0.5}
    alone, attacked = (make(Quadratic(np.zeros(d)), **settings) for _ in range(2))
    short = size * np.sign(g)
    short[0] *= 1.5
    w = np.zeros(d)
    for t in (1, 2, 3):
        for aggregator in (alone, attacked):
            aggregator.auxiliary = lambda parameters, server_round: [g]
        honest = g if payload == "gradients" else w - g
        evil = short if payload == "gradients" else w - short
        expected = play(alone, w, {"a": honest}, t)
        np.testing.assert_array_equal(play(attacked, w, {"a": honest, "z": evil}, t), expected)
    assert abs(attacked.reputations["z"]) <= 1


def test_no_limit():
    aggregator = plusplus(Quadratic([0]), max_norm_ratio=math.inf)
    play(aggregator, [1], [[1e6]])
    assert scores(aggregator) == [5e5]


@both
def test_only_tensors_with_a_gradient_move(make):
    names = ("w", "running_mean", "steps", "mask")
    model = Model(names, (np.ones(2), np.full(2, 7.0), np.array(3), np.array([True])))
    sent = {
        "w": np.zeros(2), "running_mean": np.full(2, 1e9), "steps": np.array(99),
        "mask": np.array([False]),
    }  # fmt: skip
    for payload in ("parameters", "gradients"):
        aggregator = make(Quadratic([0, 0]), payload=payload, initial_reputation=0.5)
        aggregator.model = model
        reply = Reply("1", [(name, encode(array)) for name, array in sent.items()])
        for t in (1, 2):
            moved = aggregator.aggregate(t, [reply]).model
            for new, old in zip(moved.arrays[1:], model.arrays[1:], strict=True):
                assert new.dtype == old.dtype
                np.testing.assert_array_equal(new, old)
        # running_mean is no part of the row, so its length is that of w alone
        assert abs(scores(aggregator)[0]) < 10


def test_half_precision():
    aggregator = plusplus(Quadratic([0, 0]), initial_reputation=1.0, learning_rate=0.5)
    aggregator.model = Model(("w",), (np.array([1, 2], np.float16),))
    outcome = aggregator.aggregate(1, [Reply("1", [("w", encode(np.array([1, 0], np.float16)))])])
    assert outcome.model.arrays[0].dtype == np.float16
    np.testing.assert_array_equal(outcome.model.arrays[0], [0.5, 2])
    assert scores(aggregator) == [0.5 + 0.5 * 1]


class Slow(Quadratic):
    """A loss that waits until it is told to go on."""

    def __init__(self, minimiser):
        super().__init__(minimiser)
        self.may_go_on = threading.Event()

    def __call__(self, parameters, server_round):
        assert self.may_go_on.wait(30)
        return super().__call__(parameters, server_round)


def test_plusplus_does_not_wait_for_the_auxiliary_gradient():
    auxiliary = Slow([0])
    aggregator = plusplus(auxiliary)
    play(aggregator, [1], [[1]])  # this returns, although the gradient is not there yet
    assert not auxiliary.calls
    readers = [
        threading.Thread(target=lambda: read.append(aggregator.reputations)) for _ in range(3)
    ]
    read = []
    for reader in readers:
        reader.start()
    time.sleep(0.05)
    assert not read
    auxiliary.may_go_on.set()
    for reader in readers:
        reader.join(30)
    assert read == [{"0": 0.5}] * 3
    assert auxiliary.calls == [1]


class Reading(Quadratic):
    """A loss that reads the scores in every possible way while they are computed with it."""

    aggregator = None
    read: list

    def __call__(self, parameters, server_round):
        self.read.append(self.aggregator.reputations)
        assert self.aggregator.state_dict()["reputations"] == self.read[-1]
        asyncio.run(asyncio.to_thread(lambda: self.aggregator.reputations))
        return super().__call__(parameters, server_round)

    def loss(self, parameters, server_round):
        self.read.append(self.aggregator.reputations)
        return super().loss(parameters, server_round)


@both
@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("tolerance", [None, 0.0])
@pytest.mark.timeout(30)
def test_the_auxiliary_loss_may_read_the_scores(make, normalize, tolerance):
    """It once waited for itself for ever. It gets the scores from before the update that it is part of."""
    auxiliary = Reading([0, 0])
    settings = {"normalize": normalize, "initial_reputation": 1.0}
    if make is bygars:
        settings["tolerance"] = tolerance
    auxiliary.aggregator, auxiliary.read = aggregator, _ = make(auxiliary, **settings), []
    before = {}
    for t in range(1, 5):
        aggregator.begin(t, Model(("w",), (np.array([1.0, 2.0]),)))
        play(aggregator, aggregator.model, [[1, 0], [0, -1]], t)
        after = aggregator.reputations  # waits for the update, and so for the loss
        assert after.keys() == {"0", "1"}
        assert after != before
        assert auxiliary.read == [before] * len(auxiliary.read)
        assert auxiliary.read
        auxiliary.read.clear()
        before = after


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("pause", [0.0, 0.05])
def test_the_auxiliary_loss_reads_the_scores_before_its_round(normalize, pause):
    """This holds whether the update before was over when the round began, or ended during the round."""
    auxiliary = Reading([0, 0])
    aggregator = plusplus(auxiliary, normalize=normalize, initial_reputation=1.0)
    auxiliary.aggregator, auxiliary.read, after = aggregator, [], {}
    for t in range(1, 6):
        aggregator.begin(t, Model(("w",), (np.array([1.0, 2.0]),)))
        time.sleep(pause)
        before = after
        play(aggregator, aggregator.model, [[1, 0], [0, -1]], t)
        assert auxiliary.read[-1] == before
        if t % 2:  # in every second round, the scores are read meanwhile
            after = aggregator.reputations
        else:
            wait([aggregator._pending])
            after = dict(aggregator._pending.result().reputations)


def test_errors_of_the_auxiliary_function_surface_in_the_next_call():
    def broken(parameters, server_round):
        raise ZeroDivisionError(f"round {server_round}")

    aggregator = plusplus(broken)
    play(aggregator, [1], [[1]])
    with pytest.raises(ZeroDivisionError, match="round 1"):
        play(aggregator, [1], [[1]], 2)
    assert aggregator.reputations == {}  # as before the round, and it can be used again
    play(aggregator, [1], [[1]], 3)
    for read in (lambda: aggregator.reputations, aggregator.state_dict):
        with pytest.raises(ZeroDivisionError, match=r"round [34]"):
            read()
        play(aggregator, [1], [[1]], 4)


@both
@pytest.mark.parametrize("gradient", [[np.zeros(3)], [], [np.zeros(2), None], [np.zeros((2, 1))]])
def test_names_a_gradient_of_the_wrong_shape(make, gradient):
    aggregator = make(lambda parameters, server_round: gradient, initial_reputation=1.0)
    with pytest.raises(ValueError, match="Parameter `auxiliary` should give arrays"):
        play(aggregator, [1, 2], [[1, 2]])


@both
def test_a_gradient_that_is_not_finite_teaches_nothing(make):
    aggregator = make(Quadratic([0]))
    play(aggregator, [1], [[1]])
    before = aggregator.state_dict()
    aggregator.auxiliary = lambda parameters, server_round: [np.array([math.nan])]
    moved = play(aggregator, [1], [[1]], 2)
    assert np.isfinite(moved).all()
    after = aggregator.state_dict()
    assert after["lengths"] == before["lengths"]
    assert np.isfinite(after["reputations"]["0"])


@both
def test_reputations_are_in_the_metrics(make):
    aggregator = make(Quadratic([0]), initial_reputation=0.5)
    play(aggregator, [1], {"3": [1], "4": [0]})
    metrics = aggregator.last.metrics
    used = {"3": 0.55, "4": 0.5} if make is bygars else {"3": 0.5, "4": 0.5}
    expected = {f"byzantine/reputation/{k}": v for k, v in used.items()}
    found = {k: v for k, v in metrics.items() if "reputation" in k}
    assert found == pytest.approx(expected, abs=0.01)


@both
def test_malformed_replies_keep_their_score(make):
    aggregator = make(Quadratic([0]))
    play(aggregator, [1], [[1], [1]])
    before = aggregator.reputations["1"]
    outcome_model = play(aggregator, [1], {0: [1], 1: [1, 2]}, 2)
    assert aggregator.last.dropped.keys() == {"1"}
    assert aggregator.reputations["1"] == before
    assert outcome_model.shape == (1,)


@both
def test_needs_the_model(make):
    with pytest.raises(ValueError, match="need the global model"):
        make(Quadratic([0]), payload="parameters").aggregate(1, [])


@pytest.mark.parametrize(
    ("name", "value"),
    [("learning_rate", 0), ("learning_rate", "fast"), ("meta_learning_rate", -1),
     ("meta_learning_rate", math.nan), ("initial_reputation", math.inf), ("initial_reputation", "1"),
     ("max_norm_ratio", 0), ("max_norm_ratio", math.nan), ("payload", "weights"), ("meta_steps", 0),
     ("meta_steps", 1.5), ("tolerance", -1), ("auxiliary", None)],
)  # fmt: skip
def test_parameters_out_of_range(name, value):
    settings = {"auxiliary": Quadratic([0]), name: value}
    with pytest.raises(ValueError, match=f"Parameter `{name}` should be .*Found `{name} = "):
        bygars(settings.pop("auxiliary"), **settings)


def test_tolerance_needs_a_loss():
    with pytest.raises(ValueError, match="Parameter `auxiliary` should have a method `loss"):
        bygars(lambda parameters, server_round: [], tolerance=0.0)


@both
@pytest.mark.parametrize("name", ["learning_rate", "meta_learning_rate"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -0.1, True, None, "0.1", [0.1], 1j, 10**400])
def test_functions_that_give_no_step_size(make, name, value):
    aggregator = make(Quadratic([0]), **{name: lambda server_round: value})
    with pytest.raises(ValueError, match=f"Parameter `{name}` should give finite numbers"):
        play(aggregator, [1], [[1]])


@both
def test_a_step_size_may_be_0(make):
    rates = dict.fromkeys(["learning_rate", "meta_learning_rate"], lambda server_round: 0)
    aggregator = make(Quadratic([0]), initial_reputation=1.0, **rates)
    assert play(aggregator, [1], [[1]]) == 1


def test_a_gradient_too_small_to_be_squared_is_no_reversal():
    gradient, before = [np.array([1e200])], [np.array([-1e-200])]
    assert without_reversal(gradient, before) is gradient


# -- clients that do not come back ---------------------------------------------------------------------


@both
def test_a_client_unseen_for_long_is_forgotten(make):
    aggregator = make(Quadratic([0]), forget_after=3, initial_reputation=0.5)
    play(aggregator, [1], {"a": [1], "b": [1]}, server_round=1)
    kept = aggregator.reputations
    for server_round in (2, 3):
        play(aggregator, [1], {"b": [1]}, server_round)
        assert aggregator.reputations["a"] == kept["a"]
    play(aggregator, [1], {"b": [1]}, server_round=4)
    assert list(aggregator.reputations) == ["b"]
    play(aggregator, [1], {"a": [1]}, server_round=5)
    again = make(Quadratic([0]), initial_reputation=0.5)
    play(again, [1], {"a": [1]}, server_round=5)
    assert aggregator.reputations["a"] == pytest.approx(again.reputations["a"])


@both
def test_nobody_is_forgotten_where_that_is_asked_for(make):
    aggregator = make(Quadratic([0]), forget_after=None)
    play(aggregator, [1], {"a": [1]}, server_round=1)
    play(aggregator, [1], {"b": [1]}, server_round=10**6)
    assert list(aggregator.reputations) == ["a", "b"]


@both
def test_a_round_costs_what_its_replies_do_however_many_ids_there_were(make):
    """This concerns metrics and memory, because nodes without keys get a new id at every start."""
    aggregator = make(Quadratic([0]), forget_after=5)
    for server_round in range(1, 21):
        play(aggregator, [1], {f"{server_round}-{i}": [1] for i in range(50)}, server_round)
        names = [name for name in aggregator.last.metrics if "reputation" in name]
        assert len(names) == 50
        assert all(f"/{server_round}-" in name for name in names)
    assert len(aggregator.reputations) == len(aggregator.state_dict()["seen"]) == 250


@both
@pytest.mark.parametrize("value", [0, -1, 2.5, True, "never"])
def test_when_to_forget_is_checked(make, value):
    with pytest.raises(ValueError, match="`forget_after` should be a whole number of at least 1"):
        make(Quadratic([0]), forget_after=value)

"""FLTrust against rounds by hand and a literal reference, and with updates that are made to mislead it."""

import copy
import math
import pickle
import threading

import numpy as np
import pytest
import reference
from quadratic import Quadratic

from flwr_byzantine.aggregation.gate import Model, Reply
from flwr_byzantine.aggregation.npy import encode
from flwr_byzantine.aggregation.outcome import TooFewUpdatesError
from flwr_byzantine.reputation.bygars import ByGARSAggregator, ByGARSPlusPlusAggregator
from flwr_byzantine.reputation.fltrust import FLTrustAggregator

PAYLOADS = ("parameters", "gradients")
each_payload = pytest.mark.parametrize("payload", PAYLOADS)


def make(auxiliary, **settings):
    usual = {
        "payload": "parameters",
        "learning_rate": 1.0,
        "order_by": None,
        "server_steps": 1,
    }
    return FLTrustAggregator(auxiliary, **{**usual, **settings})


def pointing(u0):
    """An auxiliary loss that gives the server the update u0, for any model."""
    return lambda parameters, server_round: [-np.asarray(u0, parameters[0].dtype)]


def play(aggregator, w, updates, server_round=1, names=None):
    """Play a round in which client i sends its update, and return the outcome."""
    w = np.asarray(w)
    dtype = w.dtype if w.dtype.kind == "f" else np.float64
    w = w.astype(dtype)
    aggregator.model = Model(("w",), (w,))
    updates = np.asarray(updates, np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        rows = w + updates if aggregator.payload == "parameters" else -updates
        sent = [encode(row.astype(dtype)) for row in rows]
    names = names or [str(i) for i in range(len(sent))]
    replies = [Reply(name, [("w", row)]) for name, row in zip(names, sent, strict=True)]
    return aggregator.aggregate(server_round, replies)


def moved(aggregator, w, updates):
    return play(aggregator, w, updates).model.arrays[0]


def trust_in(outcome):
    return list(outcome.trust.values())


@each_payload
def test_by_hand(payload):
    """u_0 = (3, 4), so |u_0| = 5. The cosines are 1, 3/5, -1, 24/25. The last two lengths are 10 and 5."""
    aggregator = make(pointing([3, 4]), payload=payload)
    outcome = play(aggregator, [0.0, 0.0], [[6, 8], [2, 0], [-3, -4], [4, 3]])
    np.testing.assert_allclose(trust_in(outcome), [1, 0.6, 0, 0.96], rtol=1e-15)
    total = 2.56
    expected = np.array([1 * 3 + 0.6 * 5 + 0.96 * 4, 1 * 4 + 0 + 0.96 * 3]) / total
    np.testing.assert_allclose(outcome.model.arrays[0], expected, rtol=1e-15)
    assert outcome.weights == pytest.approx({"0": 1 / 2.56, "1": 0.6 / 2.56, "2": 0, "3": 0.375})
    assert list(outcome.scores.values()) == pytest.approx([-1, -0.6, 1, -0.96], rel=1e-15)


def test_three_steps_by_hand():
    """L = |w|^2 / 2, so a step of 0.5 halves the model. After three steps u_0 = (1/8 - 1) w."""
    auxiliary = Quadratic([0, 0])
    aggregator = make(auxiliary, learning_rate=0.5, server_steps=3)
    np.testing.assert_allclose(moved(aggregator, [8.0, 0.0], [[-1, 0]]), [1, 0], rtol=1e-15)
    assert auxiliary.calls == [1, 1, 1]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_the_gradients_of_the_steps_are_added_in_arrays_of_their_own(dtype):
    """An auxiliary loss may return the same array each time. Neither it nor the model is changed."""
    same = -np.ones(2, dtype)
    aggregator = make(lambda parameters, server_round: [same], server_steps=4, learning_rate=0.5)
    found = moved(aggregator, np.zeros(2, dtype), [[1, 1]])
    np.testing.assert_array_equal(found, [2, 2])
    np.testing.assert_array_equal(same, [-1, -1])


def gaussian(n=11, d=30, seed=0):
    """A loss, a model, and updates of which most help."""
    rng = np.random.default_rng(seed)
    problem = Quadratic(rng.normal(size=d), curvature=rng.uniform(0.5, 1.5, d))
    w = rng.normal(size=d)
    updates = -0.1 * problem.gradient(w) + 0.2 * rng.normal(size=(n, d))
    return problem, w, updates


@each_payload
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("steps", [1, 3])
def test_equals_the_literal_reference(payload, seed, steps):
    problem, w, updates = gaussian(seed=seed)
    updates[0] *= -1
    updates[1] *= 1e20
    updates[2] *= 1e-6
    if payload == "gradients":
        steps = 1
    aggregator = make(problem, payload=payload, learning_rate=0.3, server_steps=steps)
    outcome = play(aggregator, w, updates)
    if payload == "parameters":
        with np.errstate(over="ignore"):
            updates = (w + updates) - w  # what a model in float64 keeps of them
    own = reference.servers_update(w, problem.gradient, steps, 0.3)
    np.testing.assert_allclose(trust_in(outcome), reference.trust_of(updates, own), rtol=1e-9)
    expected = w + reference.fltrust_move(updates, own)
    np.testing.assert_allclose(outcome.model.arrays[0], expected, rtol=1e-8, atol=1e-9)


def test_models_one_ten_thousandth_apart_in_float32():
    """Differences of sent values are taken in float64, so only the last rounding loses digits."""
    problem, w, updates = gaussian(d=200)
    w, updates = w.astype(np.float32), 1e-4 * updates
    aggregator = make(problem, learning_rate=1e-4, server_steps=3)
    outcome = play(aggregator, w, updates)
    exact = [(w + u).astype(np.float32).astype(float) - w.astype(float) for u in updates]
    own = reference.servers_update(w.astype(float), problem.gradient, 3, 1e-4)
    np.testing.assert_allclose(trust_in(outcome), reference.trust_of(exact, own), rtol=1e-5)
    expected = w.astype(float) + reference.fltrust_move(exact, own)
    np.testing.assert_allclose(outcome.model.arrays[0], expected, rtol=2**-23)
    assert outcome.model.arrays[0].dtype == np.float32


@each_payload
@pytest.mark.parametrize("length", [1e-6, 1.0, 1e20])
def test_only_the_direction_of_an_update_counts(payload, length):
    """In float32 the squares of 1e20 would overflow."""
    auxiliary = pointing([0.5, 0.0])
    updates = np.array([[1, 0], [length, length]])
    aggregator = make(auxiliary, payload=payload)
    cosine = math.sqrt(0.5)
    expected = np.array([0.5 + cosine * 0.5 * cosine, cosine * 0.5 * cosine]) / (1 + cosine)
    found = moved(aggregator, np.zeros(2, np.float32), updates)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@each_payload
@pytest.mark.parametrize("far", [1e6, 1e20, math.nan, math.inf, -math.inf, "zero", "flipped"])
def test_what_a_majority_of_attackers_sends_has_no_part(payload, far):
    """Nine of twelve clients send updates without a direction, or in the opposite one."""
    problem, w, updates = gaussian(n=3)
    w = w.astype(np.float32)
    alone = play(make(problem, payload=payload), w, updates)
    own = -problem.gradient(w)
    evil = {"zero": 0 * own, "flipped": -own}.get(far)
    if evil is None:
        evil = -far * np.sign(own) if far in (1e6, 1e20) else np.full_like(own, far)
    attacked = play(make(problem, payload=payload), w, [*updates, *[evil] * 9])
    np.testing.assert_array_equal(attacked.model.arrays[0], alone.model.arrays[0])
    assert trust_in(attacked)[3:] == [0] * 9
    assert [r.verdict for r in attacked.audit(1)] == ["kept"] * 3 + ["not selected"] * 9


def test_one_value_that_is_not_finite_is_enough_to_be_left_out():
    problem, w, updates = gaussian(n=4)
    alone = moved(make(problem), w, updates[:3])
    updates[3, 7] = math.nan
    np.testing.assert_array_equal(moved(make(problem), w, updates), alone)


def test_no_client_moves_the_model_farther_than_the_server():
    for seed in range(20):
        problem, w, updates = gaussian(seed=seed)
        updates *= np.random.default_rng(seed).lognormal(0, 5, (11, 1))
        found = moved(make(problem, learning_rate=0.1), w, updates)
        limit = 0.1 * np.linalg.norm(problem.gradient(w))
        assert np.linalg.norm(found - w) <= limit * (1 + 1e-9)


def test_the_order_of_the_clients_counts_for_nothing():
    problem, w, updates = gaussian()
    there = play(make(problem), w, updates)
    back = play(make(problem), w, updates[::-1])
    np.testing.assert_allclose(back.model.arrays[0], there.model.arrays[0], rtol=1e-12)
    np.testing.assert_allclose(trust_in(back)[::-1], trust_in(there), rtol=1e-12)
    again = play(make(problem), w, updates)
    np.testing.assert_array_equal(again.model.arrays[0], there.model.arrays[0])


def aggregators(auxiliary):
    """All three aggregators that scale updates to the length of the auxiliary gradient."""
    own = {
        "payload": "parameters", "learning_rate": 0.1, "meta_learning_rate": 0.5, "order_by": None,
        "initial_reputation": 0.5, "max_norm_ratio": 10.0, "normalize": True, "forget_after": None,
    }  # fmt: skip
    return {
        "fltrust": make(auxiliary, learning_rate=0.1),
        "bygars": ByGARSAggregator(auxiliary, meta_steps=1, tolerance=None, **own),
        "bygars++": ByGARSPlusPlusAggregator(auxiliary, **own),
    }


@pytest.mark.parametrize("name", ["fltrust", "bygars", "bygars++"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("change", [1e-12, 1e-20, 1e-38])
def test_a_copy_of_the_model_with_a_tiny_change_does_not_erase_it(name, dtype, change):
    """Scaled to the usual length, only the rounding of the model would be left: zeros."""
    w = np.array([1.0, 0.0, 1 / 3], dtype)
    auxiliary = Quadratic([0.0, 1.0, 0.0])
    honest = -0.1 * auxiliary.gradient(w)
    alone, attacked = (aggregators(auxiliary)[name] for _ in range(2))
    expected = moved(alone, w, [honest, honest])
    found = moved(attacked, w, [honest, honest, [0, change, 0]])
    shares = {"fltrust": 1.0, "bygars": 1.0, "bygars++": 2 / 3}  # of the honest; all scores are 0.5
    step = np.linalg.norm(expected - w)
    assert np.linalg.norm(found - w) <= step * 1.001 + 1e-6
    np.testing.assert_allclose(found, expected, atol=step / 2)
    assert shares[name] <= 1


@each_payload
def test_a_round_that_trusts_nobody_is_skipped(payload, caplog):
    aggregator = make(pointing([1, 0]), payload=payload)
    outcome = play(aggregator, [0.1, 0.2], [[-1, 0], [0, 1], [0, 0], [math.nan, 1]])
    assert outcome.model is None
    assert "no client's update points in the direction of the server's own" in outcome.reason
    assert "the model stays: no client's update" in caplog.text
    assert trust_in(outcome) == [0, 0, 0, 0]
    assert list(outcome.scores.values()) == pytest.approx([1, 0, math.inf, math.inf], abs=1e-9)
    assert [record.verdict for record in outcome.audit(1)] == ["skipped"] * 4
    assert outcome.metrics["byzantine/skipped"] == 1
    assert outcome.metrics["byzantine/trust/1"] == 0


@each_payload
@pytest.mark.parametrize(
    ("gradient", "rate", "what"),
    [([0, 0], 1.0, "0"), ([math.nan, 1], 1.0, "not finite"), ([math.inf, 0], 1.0, "not finite"),
     ([1, 1], lambda server_round: 0, "0"), ([1e-200, 0], 1.0, "0")],
)  # fmt: skip
def test_a_round_without_an_update_of_the_servers_is_skipped(payload, gradient, rate, what, caplog):
    gradient = np.array(gradient, np.float64)
    auxiliary = lambda parameters, server_round: [gradient]  # noqa: E731
    aggregator = make(auxiliary, payload=payload, learning_rate=rate)
    outcome = play(aggregator, [1.0, 2.0], [[1, 1], [1, 0]])
    assert outcome.model is None
    assert outcome.reason == f"the length of the server's own update is {what}"
    assert outcome.reason in caplog.text


def test_steps_that_diverge_skip_the_round():
    aggregator = make(Quadratic([0, 0], curvature=1e200), server_steps=3)
    assert "not finite" in play(aggregator, [1.0, 2.0], [[1, 1]]).reason


def test_a_skipped_round_raises_where_that_is_asked_for():
    aggregator = make(pointing([1, 0]), on_too_few="raise")
    with pytest.raises(TooFewUpdatesError, match="so none is trusted"):
        play(aggregator, [0.0, 0.0], [[-1, 0]])


def test_the_learning_rate_may_be_a_function_of_the_round():
    aggregator = make(pointing([1, 0]), learning_rate=lambda server_round: 1 / server_round)
    assert play(aggregator, [0.0, 0.0], [[9, 0]], server_round=4).model.arrays[0][0] == 0.25
    for steps in (1, 2):
        wrong = make(pointing([1, 0]), learning_rate=lambda server_round: -1.0, server_steps=steps)
        wrong.begin(7, Model(("w",), (np.zeros(2),)))
        with pytest.raises(ValueError, match=r"`learning_rate` should give .* in round 7"):
            wrong.aggregate(7, [Reply("1", [("w", encode(np.ones(2)))])])


def test_only_tensors_with_a_gradient_count_and_move():
    """A buffer that is a million away, a counter, and a tensor without an auxiliary gradient do not move."""
    names = ("w", "bn.running_mean", "steps", "frozen")
    old = (np.zeros(2), np.full(2, 7.0), np.array(3), np.ones(2, np.float32))

    def auxiliary(parameters, server_round):
        return [np.array([-1.0, 0.0]), np.ones(2), np.ones(()), None]

    for payload in PAYLOADS:
        aggregator = make(auxiliary, payload=payload)
        sent = [np.array([1.0, 1.0]), np.full(2, 1e6), np.array(99), np.zeros(2, np.float32)]
        if payload == "gradients":
            sent[0] = -sent[0]
        aggregator.begin(1, Model(names, old))
        tensors = [(name, encode(array)) for name, array in zip(names, sent, strict=True)]
        outcome = aggregator.aggregate(1, [Reply("1", tensors)])
        assert trust_in(outcome) == pytest.approx([math.sqrt(0.5)], rel=1e-15)
        new = outcome.model.arrays
        np.testing.assert_allclose(new[0], [math.sqrt(0.5)] * 2)
        for mine, before in zip(new[1:], old[1:], strict=True):
            assert mine.dtype == before.dtype
            np.testing.assert_array_equal(mine, before)


def test_several_tensors_and_types_are_one_update():
    old = (np.zeros(2, np.float32), np.zeros((1, 2)), np.zeros(1, np.float16))
    names = tuple("abc")

    def auxiliary(parameters, server_round):
        return [-np.array([1, 0], np.float32), -np.array([[2.0, 0]]), -np.array([2], np.float16)]

    aggregator = make(auxiliary, learning_rate=2.0)
    aggregator.begin(1, Model(names, old))
    sent = [np.array([0, 0], np.float32), np.array([[0.0, 0]]), np.array([4], np.float16)]
    tensors = [(name, encode(array)) for name, array in zip(names, sent, strict=True)]
    outcome = aggregator.aggregate(1, [Reply("1", tensors)])
    assert trust_in(outcome) == pytest.approx([2 / 3])  # the lengths are 3 and 4
    found = [array.ravel().tolist() for array in outcome.model.arrays]
    assert found == [[0, 0], [0, 0], [6]]


class Slow(Quadratic):
    """A loss that waits until it is told to go on."""

    def __init__(self, minimiser):
        super().__init__(minimiser)
        self.may_go_on, self.at = threading.Event(), []

    def __call__(self, parameters, server_round):
        assert self.may_go_on.wait(30)
        self.at.append(parameters[0].tolist())
        return super().__call__(parameters, server_round)


def test_the_servers_steps_are_taken_while_clients_compute():
    auxiliary = Slow([0.0])
    aggregator = make(auxiliary, learning_rate=0.5, server_steps=2)
    models = [Model(("w",), (np.array([w]),)) for w in (4.0, 8.0)]
    for t, model in enumerate(models, start=1):  # the first round has no replies
        aggregator.begin(t, model)
    assert not auxiliary.calls
    auxiliary.may_go_on.set()
    reply = Reply("1", [("w", encode(np.array([7.0])))])
    assert aggregator.aggregate(2, [reply]).model.arrays[0] == 2
    assert auxiliary.at == [[4], [2], [8], [4]]
    assert play(aggregator, [1.0], [[-1]], server_round=3).model.arrays[0] == 0.25  # not begun


def test_errors_of_the_auxiliary_loss_end_the_round():
    def broken(parameters, server_round):
        raise ZeroDivisionError(f"round {server_round}")

    aggregator = make(broken)
    aggregator.begin(3, Model(("w",), (np.zeros(1),)))
    with pytest.raises(ZeroDivisionError, match="round 3"):
        aggregator.aggregate(3, [Reply("1", [("w", encode(np.ones(1)))])])
    with pytest.raises(ValueError, match="Parameter `auxiliary` should give arrays"):
        play(make(lambda parameters, server_round: []), [1.0], [[1]])


@pytest.mark.parametrize("how", [copy.deepcopy, lambda a: pickle.loads(pickle.dumps(a))])
def test_copies_go_on(how):
    problem, w, updates = gaussian()
    aggregator = make(problem)
    aggregator.begin(1, Model(("w",), (w,)))
    first = moved(aggregator, w, updates)
    np.testing.assert_array_equal(moved(how(aggregator), w, updates), first)
    assert aggregator.state_dict() == {}


@pytest.mark.parametrize(
    ("name", "value"),
    [("server_steps", 0), ("server_steps", 1.5), ("server_steps", True), ("server_steps", None),
     ("learning_rate", 0), ("learning_rate", -1), ("learning_rate", math.nan), ("learning_rate", "fast"),
     ("learning_rate", None), ("payload", "weights"), ("auxiliary", None), ("auxiliary", 3)],
)  # fmt: skip
def test_parameters_out_of_range(name, value):
    settings = {"auxiliary": Quadratic([0]), name: value}
    with pytest.raises(ValueError, match=f"Parameter `{name}` should be .*Found `{name} = "):
        make(settings.pop("auxiliary"), **settings)


def test_clients_that_send_gradients_have_a_server_of_one_step():
    with pytest.raises(
        ValueError, match=r"Parameter `server_steps` should be 1 with `payload="
    ) as e:
        make(Quadratic([0]), payload="gradients", server_steps=3)
    assert "Found `server_steps = 3`" in str(e.value)


def test_malformed_replies_and_names():
    """A reply of another shape is dropped. Only the server names clients."""
    problem, w, updates = gaussian(n=2)
    aggregator = make(problem)
    aggregator.model = Model(("w",), (w,))
    bad = Reply("9", [("w", encode(np.ones(3)))])
    good = Reply("7", [("w", encode(w + updates[0]))], {"client": "1", "cid": "1"})
    outcome = aggregator.aggregate(1, [bad, good])
    assert outcome.dropped.keys() == {"9"}
    assert list(outcome.trust) == ["7"]
    with pytest.raises(ValueError, match="need the global model"):
        make(problem).aggregate(1, [])
    nobody = aggregator.aggregate(2, [bad])
    assert nobody.model is None
    assert "0 usable replies" in nobody.reason
